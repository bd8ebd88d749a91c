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
    /// Too many logins from the caller's address have failed: the password was not looked at.
    TooManyLogins,
    /// A lookup failed: nobody can tell whether the credential is valid.
    Unavailable,
    /// Nobody can tell whether the credential was revoked: the feed of revocations is stale or full.
    RevocationsUnknown,
    /// Nobody can tell whether the caller is subscribed: the stores have not been loaded.
    SubscriptionsUnknown,
    /// The route carries a rule that the service does not know.
    UnknownRule,
    /// A fault of the gateway itself.
    Internal,
}

// === impl Reason ===

impl Reason {
    pub const ALL: [Reason; 21] = [
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
        Reason::TooManyLogins,
        Reason::Unavailable,
        Reason::RevocationsUnknown,
        Reason::SubscriptionsUnknown,
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
            Reason::TooManyLogins => "too_many_logins",
            Reason::Unavailable => "unavailable",
            Reason::RevocationsUnknown => "revocations_unknown",
            Reason::SubscriptionsUnknown => "subscriptions_unknown",
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
            Reason::TooManyLogins => Fault::TooManyLogins,
            Reason::Unavailable | Reason::RevocationsUnknown | Reason::SubscriptionsUnknown => Fault::CannotVerify,
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
