//! The headers that tell clients of limits.

/// Which of them are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// As draft-ietf-httpapi-ratelimit-headers-11 has them.
    #[default]
    Standard,
    /// `X-RateLimit-*`, of one limit.
    Legacy,
    Both,
    None,
}

/// What limits there are.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// What is left of them.
pub const RATE_LIMIT: &str = "ratelimit";
/// The quota of the limit that leaves least.
pub const X_LIMIT: &str = "x-ratelimit-limit";
/// What is left of it.
pub const X_REMAINING: &str = "x-ratelimit-remaining";
/// Seconds until there is more.
pub const X_RESET: &str = "x-ratelimit-reset";
pub const RETRY_AFTER: &str = "retry-after";

// === impl RateLimitHeaders ===

impl RateLimitHeaders {
    pub const ALL: [RateLimitHeaders; 4] =
        [RateLimitHeaders::Standard, RateLimitHeaders::Legacy, RateLimitHeaders::Both, RateLimitHeaders::None];

    /// As settings call it.
    pub fn as_str(self) -> &'static str {
        match self {
            RateLimitHeaders::Standard => "standard",
            RateLimitHeaders::Legacy => "legacy",
            RateLimitHeaders::Both => "both",
            RateLimitHeaders::None => "none",
        }
    }

    pub fn named(name: &str) -> Option<RateLimitHeaders> {
        RateLimitHeaders::ALL.into_iter().find(|headers| headers.as_str() == name)
    }

    pub fn standard(self) -> bool {
        matches!(self, RateLimitHeaders::Standard | RateLimitHeaders::Both)
    }

    pub fn legacy(self) -> bool {
        matches!(self, RateLimitHeaders::Legacy | RateLimitHeaders::Both)
    }

    /// What scripts of other origins must be allowed to read (`Access-Control-Expose-Headers`).
    pub fn exposed(self) -> &'static [&'static str] {
        match self {
            RateLimitHeaders::Standard => &[RETRY_AFTER, RATE_LIMIT_POLICY, RATE_LIMIT],
            RateLimitHeaders::Legacy => &[RETRY_AFTER, X_LIMIT, X_REMAINING, X_RESET],
            RateLimitHeaders::Both => &[RETRY_AFTER, RATE_LIMIT_POLICY, RATE_LIMIT, X_LIMIT, X_REMAINING, X_RESET],
            RateLimitHeaders::None => &[RETRY_AFTER],
        }
    }
}
