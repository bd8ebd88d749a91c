//! Why a request is refused: what the client is told, and under which name it is counted.

use std::fmt;

use microgw_faults::Fault;

/// Why a request was refused, in the order of how far it got: of several alternatives that fail, the greatest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No credential that any alternative asks for.
    MissingCredentials,
    /// A credential of a kind that no alternative accepts.
    InvalidScheme,
    /// A name and password that cannot be read.
    MalformedLogin,
    /// A wrong password, or a user that is not known.
    LoginFailed,
    /// Not ours, forged, malformed or not yet valid.
    InvalidCredentials,
    Expired,
    /// Genuine, and taken back.
    Revoked,
    /// The caller does not prove to have the key that the token is bound to.
    InvalidProof,
    /// An API key that is valid for other APIs.
    ApiForbidden,
    /// The caller's application is not subscribed to the API.
    NotSubscribed,
    /// Its subscription is on hold.
    SubscriptionInactive,
    /// Its subscription is blocked.
    SubscriptionBlocked,
    /// A production credential, and the operation has no production endpoint.
    NoProductionEndpoint,
    /// A sandbox credential, and the operation has no sandbox endpoint.
    NoSandboxEndpoint,
    InsufficientScope,
    /// A policy of the project refuses such requests.
    Blocked,
    /// The API's quota is used up.
    ApiLimit,
    /// The operation's is.
    ResourceLimit,
    /// That of the subscription is; or of those who have none.
    SubscriptionLimit,
    ApplicationLimit,
    /// That of a policy with a key of its own is.
    CustomLimit,
    /// The request is not as the definition says.
    InvalidRequest,
    /// Its body has a media type that is not declared.
    UnsupportedMediaType,
    /// The backend's response is not as the definition says.
    InvalidResponse,
    /// The body would have to be decoded before it could be looked at.
    EncodedBody,
    /// The body is longer than what is collected of one.
    BodyTooLarge,
    /// The response is.
    ResponseTooLarge,
    /// There is no room for bodies, of all requests together.
    NoRoom,
    /// The backend's response is encoded all the same.
    UnreadableResponse,
    /// The request's body is not what the operation's transformation needs.
    UnreadableBody,
    /// The backend's response is not.
    UnusableResponse,
    /// A transformation fails, whatever the body says.
    NotTransformed,
    /// A program that messages go through fails.
    InterceptorFailed,
    /// It takes too long.
    InterceptorTimeout,
    /// It cannot be reached, or not now.
    InterceptorUnavailable,
    /// Too many logins from the caller's address have failed: the password was not looked at.
    TooManyLogins,
    /// A lookup failed: nobody can tell whether the credential is valid.
    Unavailable,
    /// Nobody can tell whether the credential was revoked: the feed of revocations is stale or full.
    RevocationsUnknown,
    /// Nobody can tell whether the caller is subscribed: the stores have not been loaded.
    SubscriptionsUnknown,
    /// Nobody can tell what was used: the store of counters does not answer.
    LimitsUnknown,
    /// The route carries a rule that the service does not know.
    UnknownRule,
    /// A fault of the gateway itself.
    Internal,
}

// === impl Reason ===

impl Reason {
    pub const ALL: [Reason; 42] = [
        Reason::MissingCredentials,
        Reason::InvalidScheme,
        Reason::MalformedLogin,
        Reason::LoginFailed,
        Reason::InvalidCredentials,
        Reason::Expired,
        Reason::Revoked,
        Reason::InvalidProof,
        Reason::ApiForbidden,
        Reason::NotSubscribed,
        Reason::SubscriptionInactive,
        Reason::SubscriptionBlocked,
        Reason::NoProductionEndpoint,
        Reason::NoSandboxEndpoint,
        Reason::InsufficientScope,
        Reason::Blocked,
        Reason::ApiLimit,
        Reason::ResourceLimit,
        Reason::SubscriptionLimit,
        Reason::ApplicationLimit,
        Reason::CustomLimit,
        Reason::InvalidRequest,
        Reason::UnsupportedMediaType,
        Reason::InvalidResponse,
        Reason::EncodedBody,
        Reason::BodyTooLarge,
        Reason::ResponseTooLarge,
        Reason::NoRoom,
        Reason::UnreadableResponse,
        Reason::UnreadableBody,
        Reason::UnusableResponse,
        Reason::NotTransformed,
        Reason::InterceptorFailed,
        Reason::InterceptorTimeout,
        Reason::InterceptorUnavailable,
        Reason::TooManyLogins,
        Reason::Unavailable,
        Reason::RevocationsUnknown,
        Reason::SubscriptionsUnknown,
        Reason::LimitsUnknown,
        Reason::UnknownRule,
        Reason::Internal,
    ];

    /// A stable name for logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MissingCredentials => "missing_credentials",
            Reason::InvalidScheme => "invalid_scheme",
            Reason::MalformedLogin => "malformed_login",
            Reason::LoginFailed => "login_failed",
            Reason::InvalidCredentials => "invalid_credentials",
            Reason::Expired => "expired",
            Reason::Revoked => "revoked",
            Reason::InvalidProof => "invalid_proof",
            Reason::ApiForbidden => "api_forbidden",
            Reason::NotSubscribed => "not_subscribed",
            Reason::SubscriptionInactive => "subscription_inactive",
            Reason::SubscriptionBlocked => "subscription_blocked",
            Reason::NoProductionEndpoint => "no_production_endpoint",
            Reason::NoSandboxEndpoint => "no_sandbox_endpoint",
            Reason::InsufficientScope => "insufficient_scope",
            Reason::Blocked => "blocked",
            Reason::ApiLimit => "api_limit",
            Reason::ResourceLimit => "resource_limit",
            Reason::SubscriptionLimit => "subscription_limit",
            Reason::ApplicationLimit => "application_limit",
            Reason::CustomLimit => "custom_limit",
            Reason::InvalidRequest => "invalid_request",
            Reason::UnsupportedMediaType => "unsupported_media_type",
            Reason::InvalidResponse => "invalid_response",
            Reason::EncodedBody => "encoded_body",
            Reason::BodyTooLarge => "body_too_large",
            Reason::ResponseTooLarge => "response_too_large",
            Reason::NoRoom => "no_room",
            Reason::UnreadableResponse => "unreadable_response",
            Reason::UnreadableBody => "unreadable_body",
            Reason::UnusableResponse => "unusable_response",
            Reason::NotTransformed => "not_transformed",
            Reason::InterceptorFailed => "interceptor_failed",
            Reason::InterceptorTimeout => "interceptor_timeout",
            Reason::InterceptorUnavailable => "interceptor_unavailable",
            Reason::TooManyLogins => "too_many_logins",
            Reason::Unavailable => "unavailable",
            Reason::RevocationsUnknown => "revocations_unknown",
            Reason::SubscriptionsUnknown => "subscriptions_unknown",
            Reason::LimitsUnknown => "limits_unknown",
            Reason::UnknownRule => "unknown_rule",
            Reason::Internal => "internal",
        }
    }

    /// What the client is told. Says nothing about how the gateway found out.
    pub fn fault(self) -> Fault {
        match self {
            Reason::MissingCredentials => Fault::MissingCredentials,
            Reason::InvalidScheme => Fault::InvalidScheme,
            Reason::MalformedLogin => Fault::MalformedLogin,
            Reason::LoginFailed => Fault::LoginFailed,
            Reason::InvalidCredentials | Reason::Revoked | Reason::InvalidProof => Fault::InvalidCredentials,
            Reason::Expired => Fault::TokenExpired,
            Reason::ApiForbidden => Fault::ApiForbidden,
            Reason::NotSubscribed => Fault::NotSubscribed,
            Reason::SubscriptionInactive => Fault::SubscriptionInactive,
            Reason::SubscriptionBlocked => Fault::SubscriptionBlocked,
            Reason::NoProductionEndpoint => Fault::NoProductionEndpoint,
            Reason::NoSandboxEndpoint => Fault::NoSandboxEndpoint,
            Reason::InsufficientScope => Fault::InsufficientScope,
            Reason::Blocked => Fault::Blocked,
            Reason::ApiLimit => Fault::ApiLimit,
            Reason::ResourceLimit => Fault::ResourceLimit,
            Reason::SubscriptionLimit => Fault::SubscriptionLimit,
            Reason::ApplicationLimit => Fault::ApplicationLimit,
            Reason::CustomLimit => Fault::CustomLimit,
            Reason::LimitsUnknown => Fault::LimitsUnknown,
            Reason::InvalidRequest => Fault::InvalidRequest,
            Reason::UnsupportedMediaType => Fault::UnsupportedMediaType,
            Reason::InvalidResponse => Fault::InvalidResponse,
            Reason::EncodedBody => Fault::EncodedBody,
            Reason::BodyTooLarge => Fault::PayloadTooLarge,
            Reason::ResponseTooLarge => Fault::ResponseTooLarge,
            Reason::NoRoom => Fault::Overloaded,
            Reason::UnreadableResponse | Reason::UnusableResponse => Fault::UnreadableResponse,
            Reason::UnreadableBody => Fault::BadRequest,
            Reason::TooManyLogins => Fault::TooManyLogins,
            Reason::Unavailable | Reason::RevocationsUnknown | Reason::SubscriptionsUnknown => Fault::CannotVerify,
            Reason::NotTransformed | Reason::InterceptorFailed => Fault::PolicyFailed,
            Reason::InterceptorTimeout => Fault::PolicyTimeout,
            Reason::InterceptorUnavailable => Fault::PolicyUnavailable,
            Reason::UnknownRule | Reason::Internal => Fault::Internal,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
