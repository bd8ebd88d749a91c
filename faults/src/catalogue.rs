//! The list. Names are stable: they end `type`, and templates and dashboards refer to them.

macro_rules! catalogue {
    ($($variant:ident $name:literal $status:literal $code:literal $message:literal $suffix:literal $when:literal)+) => {
        /// One answer of the gateway.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $when] $variant,)+
        }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$variant,)+];

            /// `missing-credentials` and so on.
            pub fn name(self) -> &'static str {
                match self { $(Fault::$variant => $name,)+ }
            }

            /// HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Fault::$variant => $status,)+ }
            }

            /// Error code of micro-gateway 3.2, or the status where it had none.
            pub fn code(self) -> u32 {
                match self { $(Fault::$variant => $code,)+ }
            }

            pub fn message(self) -> &'static str {
                match self { $(Fault::$variant => $message,)+ }
            }

            /// Starts with the message, as in 3.2, unless it is written with `=` before it. Says nothing about how the gateway
            /// found out.
            pub fn description(self) -> &'static str {
                match self { $(Fault::$variant => $suffix.strip_prefix('=').unwrap_or(concat!($message, $suffix)),)+ }
            }

            /// When it is answered: one sentence for the reference page.
            pub fn when(self) -> &'static str {
                match self { $(Fault::$variant => $when,)+ }
            }
        }
    };
}

catalogue! {
    MissingCredentials "missing-credentials" 401 900_902
        "Missing Credentials" ". Make sure your API request provides required credentials"
        "The request carries no credential that the operation asks for."
    InvalidScheme "invalid-scheme" 401 900_917
        "Invalid Authentication scheme" ". API can not be used with this authentication scheme"
        "The credential is of a kind that the operation does not take."
    InvalidCredentials "invalid-credentials" 401 900_901
        "Invalid Credentials" ". Make sure you have given the correct access token"
        "The credential is forged, malformed, not yet valid, or not ours."
    TokenExpired "token-expired" 401 900_903
        "Access Token Expired" ". Renew the access token and try again"
        "The credential was valid once."
    ApiForbidden "api-forbidden" 403 900_908
        "Resource forbidden" ". The API key does not allow access to this API"
        "The API key is valid for other APIs."
    NotSubscribed "not-subscribed" 403 900_908
        "Resource forbidden" ". The application is not subscribed to this API"
        "Subscriptions are validated, and the token's application has none to the API, or the token names no client."
    SubscriptionInactive "subscription-inactive" 401 900_909
        "The subscription to the API is inactive" ""
        "The subscription is on hold."
    SubscriptionBlocked "subscription-blocked" 401 900_907
        "The requested API is temporarily blocked" ""
        "The subscription is blocked, for all keys or for production keys."
    NoProductionEndpoint "no-production-endpoint" 403 900_901
        "Production key offered to the API with no production endpoint" ""
        "The caller's key is for production, and the operation has a sandbox endpoint only."
    NoSandboxEndpoint "no-sandbox-endpoint" 403 900_901
        "Sandbox key offered to the API with no sandbox endpoint" ""
        "The caller's key is for the sandbox, and the operation has a production endpoint only."
    InsufficientScope "insufficient-scope" 403 900_910
        "The access token does not allow you to access the requested resource" ""
        "The access token is valid and lacks the scopes that the operation asks for."
    Blocked "blocked" 403 900_805
        "Message blocked" "=You have been blocked from accessing the resource"
        "A policy among the `denyPolicies` of `policies.yaml` is meant for the request."
    ApiLimit "api-limit" 429 900_800
        "Message throttled out" "=You have exceeded your quota"
        "The API's throttling tier is used up."
    ResourceLimit "resource-limit" 429 900_802
        "Message throttled out" "=You have exceeded your quota"
        "The operation's throttling tier is used up."
    ApplicationLimit "application-limit" 429 900_803
        "Message throttled out" "=You have exceeded your quota"
        "The application's tier is used up by this user."
    SubscriptionLimit "subscription-limit" 429 900_804
        "Message throttled out" "=You have exceeded your quota"
        "The subscription's tier is used up; or `Default`, or `Unauthenticated`, by callers without one."
    CustomLimit "custom-limit" 429 900_806
        "Message throttled out" "=You have exceeded your quota"
        "A policy among the `customPolicies` of `policies.yaml` is used up for the request's key."
    LimitsUnknown "limits-unknown" 503 900_808
        "Service Unavailable" ". Your quota can not be checked at the moment"
        "The store of counters does not answer, and the policy says that nobody is let in then (`onStoreFailure: deny`)."
    CannotVerify "cannot-verify" 503 900_900
        "Unclassified Authentication Failure" ". The credentials cannot be verified at the moment, try again later"
        "Something needed to verify the credential cannot be reached, such as the issuer's keys."
    NoDecision "no-decision" 503 900_900
        "Unclassified Authentication Failure" ". No decision could be made at the moment, try again later"
        "The service that decides does not answer."
    Internal "internal" 500 900_900
        "Unclassified Authentication Failure" ""
        "A fault of the gateway itself."

    LoginFailed "login-failed" 401 900_911
        "Invalid Credentials" ". Make sure you have given the correct username and password"
        "The user is not known, or the password is wrong."
    MalformedLogin "malformed-login" 401 900_912
        "Invalid Format" ". Make sure you have given the credentials in correct format with \":\" character"
        "The Basic credentials cannot be read."
    TooManyLogins "too-many-logins" 429 429
        "Too Many Requests" ". Too many failed logins, try again later"
        "Too many logins from one address have failed."

    BadRequest "bad-request" 400 400
        "Bad Request" ". The request is malformed"
        "The request breaks the rules of HTTP, or its body cannot be read (`/apikey`, [transformations.md](transformations.md))."
    BadPath "bad-path" 400 400
        "Bad Request" ". The path has encoded slashes, characters that cannot be used, or is encoded where it should not be"
        "The path cannot be normalised, as with `%2F`, `%00` or `%zz`, or it is another spelling of a declared one ([paths.md](paths.md))."
    BadHost "bad-host" 400 400
        "Bad Request" ". The request must name one host"
        "`Host` is empty, there are several, or it is no host name or address, with a port or without."
    UpgradeRefused "upgrade-refused" 403 403
        "Forbidden" ". The connection cannot be upgraded to the requested protocol"
        "The request asks for another protocol, such as WebSocket, where none is offered."
    NotFound "not-found" 404 404
        "Not Found" ". No matching resource found for given API Request"
        "No operation has this path."
    MethodNotAllowed "method-not-allowed" 405 405
        "Method Not Allowed" ". Method not allowed for given API resource"
        "The path is known with other methods; `Allow` lists them."
    RequestTimeout "request-timeout" 408 408
        "Request Timeout" ". The request was not received in time"
        "The request's head took longer than `listenerConfig.requestHeaderTimeout`, all of it longer than `requestTimeout`, or its body stopped coming for `streamIdleTimeout`."
    PayloadTooLarge "payload-too-large" 413 413
        "Payload Too Large" ". The request's body is too long"
        "The body is longer than `listenerConfig.maxEntityBodySize`, or than the operation looks at."
    InvalidRequest "invalid-request" 400 400
        "Bad Request" ". The request is not as the definition of the API says"
        "The request is validated, and something in it is not as the definition says: the description, and `errors`, say what."
    UnsupportedMediaType "unsupported-media-type" 415 415
        "Unsupported Media Type" ". The operation does not take a body of this media type"
        "The request is validated, and its body has a media type or charset that the definition does not declare."
    EncodedBody "encoded-body" 415 415
        "Unsupported Media Type" ". The request's body must not be encoded"
        "The operation looks at bodies, and this one has a `Content-Encoding` such as `gzip`."
    UriTooLong "uri-too-long" 414 414
        "URI Too Long" ". The path and query are too long"
        "Path and query together are longer than `listenerConfig.maxUriLength`."
    MisdirectedRequest "misdirected-request" 421 421
        "Misdirected Request" ". The request is not for this service"
        "The admin interface without a password: `Host` is neither an IP address nor `localhost`."
    UpgradeRequired "upgrade-required" 426 426
        "Upgrade Required" ". Use HTTP/1.1 or HTTP/2"
        "The request is of HTTP/1.0 or older."
    HeadersTooLarge "headers-too-large" 431 431
        "Request Header Fields Too Large" ". The request's line and headers are too long, or too many"
        "The head is longer than `listenerConfig.maxHeaderSize`, or has more than 100 headers."

    PolicyFailed "policy-failed" 500 500
        "Internal Server Error" ". A policy of the API failed"
        "An interceptor that the message goes through crashed, took too much memory or said something that makes no sense, or a transformation failed, whatever the message says. The log says which."
    PolicyUnavailable "policy-unavailable" 503 503
        "Service Unavailable" ". A policy of the API can not be applied at the moment"
        "An interceptor that the message goes through cannot be reached, or there is too much under way to ask it."
    PolicyTimeout "policy-timeout" 504 504
        "Gateway Timeout" ". A policy of the API did not answer in time"
        "An interceptor that the message goes through took longer than its `timeoutMs`."
    NotImplemented "not-implemented" 501 501
        "Not Implemented" ". The transfer coding is not supported"
        "The request's body has a transfer coding other than `chunked`."
    BackendFailed "backend-failed" 502 101_503
        "Runtime Error" ". Error connecting to the back end"
        "The backend closed the connection before it answered, or what it answered is not HTTP."
    InvalidResponse "invalid-response" 500 500
        "Bad Response" ". The response of the back end is not as the definition of the API says"
        "The response is validated, and something in it is not as the definition says. The log says what."
    ResponseTooLarge "response-too-large" 502 101_503
        "Runtime Error" ". The response of the back end is too long"
        "The operation looks at responses, and this one is longer than it looks at."
    UnreadableResponse "unreadable-response" 502 101_503
        "Runtime Error" ". The response of the back end cannot be read"
        "The operation looks at responses, and the backend has encoded this one though it was asked not to, or it is not what a transformation needs."
    BackendUnavailable "backend-unavailable" 503 101_503
        "Runtime Error" ". Error connecting to the back end"
        "The backend cannot be reached: no connection, no address, or none left that works."
    BackendTimeout "backend-timeout" 504 101_504
        "Runtime Error" ". Connection timed out"
        "The backend did not answer in time."
    ApiUnavailable "api-unavailable" 503 503
        "Service Unavailable" ". The API could not be published"
        "Envoy refused the API, and there is no older content of it."
    Overloaded "overloaded" 503 503
        "Service Unavailable" ". The gateway is overloaded, try again later"
        "The gateway is near its limits of memory or connections."
}
