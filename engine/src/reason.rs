//! Why a request is refused: what the client is told, and under which name it is counted.

use std::fmt;

/// Why a request was refused, in the order of how far it got: of several alternatives that fail, the greatest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No credential that any alternative asks for.
    MissingCredentials,
    /// A credential of a kind that no alternative accepts.
    InvalidScheme,
    /// Not ours, forged, malformed or not yet valid.
    InvalidCredentials,
    Expired,
    /// An API key that is valid for other APIs.
    ApiForbidden,
    /// A production credential, and the operation has no production endpoint.
    NoProductionEndpoint,
    /// A sandbox credential, and the operation has no sandbox endpoint.
    NoSandboxEndpoint,
    InsufficientScope,
    /// A lookup failed: nobody can tell whether the credential is valid.
    Unavailable,
    /// The route carries a rule that the service does not know.
    UnknownRule,
    /// A fault of the gateway itself.
    Internal,
}

/// An answer of the gateway itself, in the shape of micro-gateway 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// Error code of 3.2.
    pub code: u32,
    /// The JSON body.
    pub body: &'static str,
}

macro_rules! fault {
    ($status:literal, $code:literal, $message:literal, $description:expr) => {
        Fault {
            status: $status,
            code: $code,
            body: concat!(
                "{\"fault\":{\"code\":",
                $code,
                ",\"message\":\"",
                $message,
                "\",\"description\":\"",
                $description,
                "\"}}"
            ),
        }
    };
}

// === impl Reason ===

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::MissingCredentials,
        Reason::InvalidScheme,
        Reason::InvalidCredentials,
        Reason::Expired,
        Reason::ApiForbidden,
        Reason::NoProductionEndpoint,
        Reason::NoSandboxEndpoint,
        Reason::InsufficientScope,
        Reason::Unavailable,
        Reason::UnknownRule,
        Reason::Internal,
    ];

    /// A stable name for logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MissingCredentials => "missing_credentials",
            Reason::InvalidScheme => "invalid_scheme",
            Reason::InvalidCredentials => "invalid_credentials",
            Reason::Expired => "expired",
            Reason::ApiForbidden => "api_forbidden",
            Reason::NoProductionEndpoint => "no_production_endpoint",
            Reason::NoSandboxEndpoint => "no_sandbox_endpoint",
            Reason::InsufficientScope => "insufficient_scope",
            Reason::Unavailable => "unavailable",
            Reason::UnknownRule => "unknown_rule",
            Reason::Internal => "internal",
        }
    }

    /// What the client is told. Says nothing about how the gateway found out.
    pub fn fault(self) -> &'static Fault {
        match self {
            Reason::MissingCredentials => &MISSING_CREDENTIALS,
            Reason::InvalidScheme => &INVALID_SCHEME,
            Reason::InvalidCredentials => &INVALID_CREDENTIALS,
            Reason::Expired => &EXPIRED,
            Reason::ApiForbidden => &API_FORBIDDEN,
            Reason::NoProductionEndpoint => &NO_PRODUCTION_ENDPOINT,
            Reason::NoSandboxEndpoint => &NO_SANDBOX_ENDPOINT,
            Reason::InsufficientScope => &INSUFFICIENT_SCOPE,
            Reason::Unavailable => &UNAVAILABLE,
            Reason::UnknownRule | Reason::Internal => &INTERNAL,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

static MISSING_CREDENTIALS: Fault = fault!(
    401,
    900_902,
    "Missing Credentials",
    "Missing Credentials. Make sure your API request provides required credentials"
);
static INVALID_SCHEME: Fault = fault!(
    401,
    900_917,
    "Invalid Authentication scheme",
    "Invalid Authentication scheme. API can not be used with this authentication scheme"
);
static INVALID_CREDENTIALS: Fault = fault!(
    401,
    900_901,
    "Invalid Credentials",
    "Invalid Credentials. Make sure you have given the correct access token"
);
static EXPIRED: Fault =
    fault!(401, 900_903, "Access Token Expired", "Access Token Expired. Renew the access token and try again");
static API_FORBIDDEN: Fault =
    fault!(403, 900_908, "Resource forbidden", "Resource forbidden. The API key does not allow access to this API");
static NO_PRODUCTION_ENDPOINT: Fault = fault!(
    403,
    900_901,
    "Production key offered to the API with no production endpoint",
    "Production key offered to the API with no production endpoint"
);
static NO_SANDBOX_ENDPOINT: Fault = fault!(
    403,
    900_901,
    "Sandbox key offered to the API with no sandbox endpoint",
    "Sandbox key offered to the API with no sandbox endpoint"
);
static INSUFFICIENT_SCOPE: Fault = fault!(
    403,
    900_910,
    "The access token does not allow you to access the requested resource",
    "The access token does not allow you to access the requested resource"
);
static UNAVAILABLE: Fault = fault!(
    503,
    900_900,
    "Unclassified Authentication Failure",
    "Unclassified Authentication Failure. The credentials cannot be verified at the moment, try again later"
);
static INTERNAL: Fault =
    fault!(500, 900_900, "Unclassified Authentication Failure", "Unclassified Authentication Failure");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_json_of_the_documented_shape() {
        for reason in Reason::ALL {
            let fault = reason.fault();
            let body: serde_json::Value = serde_json::from_str(fault.body).unwrap();
            let inner = body["fault"].as_object().unwrap();
            assert_eq!(inner["code"], fault.code);
            assert_eq!(inner.len(), 3);
            let message = inner["message"].as_str().unwrap();
            assert!(inner["description"].as_str().unwrap().starts_with(message), "{reason}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
