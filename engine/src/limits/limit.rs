//! One limit: how much, in which time, counted how and by whom.

use microgw_proto::limits::v1 as proto;

use super::{Calendar, CounterKey, Micros, Told};
use crate::reason::Reason;
use crate::rules::LoadError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The policy's name, as clients are told.
    pub policy: Box<str>,
    pub level: Level,
    /// Never 0.
    pub quota: u64,
    pub unit: Unit,
    pub algorithm: Algorithm,
    pub sharing: Sharing,
    /// `false`: what is beyond the quota is let through and marked, and not debited.
    pub stops: bool,
    /// What clients are told of it.
    pub told: Told,
    /// Of the counter that callers share for whom there is no room.
    pub overflow: CounterKey,
}

/// What a limit is for, in the order in which the levels are looked at: the first that has not enough left answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Api,
    Resource,
    Subscription,
    Application,
    /// Of an address whose requests say nothing of a caller.
    Unauthenticated,
    Custom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// What operations cost, which is 1 unless they say otherwise.
    Requests,
    /// Of bodies, once they are over.
    Bytes(Directions),
}

/// Whose bodies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directions {
    pub requests: bool,
    pub responses: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Windows of that length, one after the other since 1970.
    Fixed(Micros),
    /// Windows that begin as the calendar has it.
    Calendar(Calendar),
    /// Any interval of that length. What was used comes back late by one of the buckets at most.
    Sliding { period: Micros, buckets: u32 },
    /// GCRA: the quota in `period`, evenly, of which `burst` may come at once.
    Burst { period: Micros, burst: u64 },
}

/// How several gateways count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    pub mode: Mode,
    /// What leases may leave unused, in thousandths of the quota.
    pub max_undershoot_permille: u32,
    pub on_failure: OnFailure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each by itself.
    #[default]
    Local,
    /// Each in advance, a share at a time.
    Leased,
    /// Each request in the store.
    Exact,
}

/// What a gateway does that cannot reach the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// By itself, with its part of the quota.
    #[default]
    Part,
    Deny,
    Allow,
}

// === impl Limit ===

impl Limit {
    pub(crate) fn load(policy: &proto::Policy, level: Level, limit: &proto::Limit) -> Result<Limit, LoadError> {
        let seconds = |seconds: u64| {
            // Sums of times must not overflow.
            let fits = (1..=u64::from(u32::MAX)).contains(&seconds);
            if fits { Ok(Micros::of_seconds(seconds)) } else { Err(LoadError::Limit) }
        };
        let algorithm = match limit.window.as_ref().ok_or(LoadError::Limit)? {
            proto::limit::Window::Fixed(fixed) => Algorithm::Fixed(seconds(fixed.seconds)?),
            proto::limit::Window::Calendar(calendar) => Algorithm::Calendar(Calendar::load(calendar)?),
            proto::limit::Window::Sliding(sliding) => {
                let buckets = Some(sliding.buckets).filter(|buckets| (1..=1000).contains(buckets));
                Algorithm::Sliding { period: seconds(sliding.seconds)?, buckets: buckets.ok_or(LoadError::Limit)? }
            }
            proto::limit::Window::Burst(burst) => {
                let most = Some(burst.burst).filter(|most| (1..=u64::from(u32::MAX)).contains(most));
                Algorithm::Burst { period: seconds(burst.seconds)?, burst: most.ok_or(LoadError::Limit)? }
            }
        };
        let unit = match limit.unit() {
            proto::limit::Unit::Requests => Unit::Requests,
            proto::limit::Unit::Bytes => {
                Unit::Bytes(Directions { requests: !limit.responses_only, responses: !limit.requests_only })
            }
        };
        // In Redis counters are doubles.
        if limit.quota == 0 || limit.quota > 1 << 52 {
            return Err(LoadError::Limit);
        }
        let told = Told::new(policy, limit, level, (unit, &algorithm));
        Ok(Limit {
            told,
            policy: policy.name.as_str().into(),
            level,
            quota: limit.quota,
            unit,
            algorithm,
            sharing: policy.sharing.as_ref().map(Sharing::load).unwrap_or_default(),
            stops: !policy.pass_beyond_quota,
            overflow: CounterKey::default(),
        })
    }

    /// One of equal parts that are together what there is, by how many there are and which of them it is. Bursts: evenly, and one at
    /// once for each at least, for else those of one could not be parted.
    pub fn part(&self, (parts, rank): (u32, u32)) -> Option<Limit> {
        let (parts, rank) = (u64::from(parts.max(1)), u64::from(rank));
        let of = |amount: u64| amount / parts + u64::from(rank < amount % parts);
        let quota = of(self.quota);
        let algorithm = match self.algorithm {
            Algorithm::Burst { period, burst } => Algorithm::Burst { period, burst: of(burst).max(1) },
            other => other,
        };
        (quota > 0).then(|| Limit { quota, algorithm, ..self.clone() })
    }

    /// Which amounts in which windows, the same in every version: counters are called by it. How much is allowed is not part of
    /// it: who gets more keeps what was used.
    pub(crate) fn window_name(&self) -> String {
        let window = match &self.algorithm {
            Algorithm::Fixed(Micros(length)) => format!("fixed {length}"),
            Algorithm::Calendar(calendar) => calendar.name(),
            Algorithm::Sliding { period: Micros(period), buckets } => format!("sliding {period} in {buckets}"),
            Algorithm::Burst { period: Micros(period), .. } => format!("burst {period}"),
        };
        let unit = match self.unit {
            Unit::Requests => "requests",
            Unit::Bytes(Directions { requests: true, responses: true }) => "bytes",
            Unit::Bytes(Directions { requests: true, .. }) => "bytes of requests",
            Unit::Bytes(_) => "bytes of responses",
        };
        format!("{window} {unit}")
    }
}

// === impl Level ===

impl Level {
    pub const ALL: [Level; 6] =
        [Level::Api, Level::Resource, Level::Subscription, Level::Application, Level::Unauthenticated, Level::Custom];

    pub(crate) fn reason(self) -> Reason {
        match self {
            Level::Api => Reason::ApiLimit,
            Level::Resource => Reason::ResourceLimit,
            Level::Subscription | Level::Unauthenticated => Reason::SubscriptionLimit,
            Level::Application => Reason::ApplicationLimit,
            Level::Custom => Reason::CustomLimit,
        }
    }

    /// A stable name for counters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Api => "api",
            Level::Resource => "resource",
            Level::Subscription => "subscription",
            Level::Application => "application",
            Level::Unauthenticated => "unauthenticated",
            Level::Custom => "custom",
        }
    }
}

// === impl Sharing ===

impl Sharing {
    fn load(sharing: &proto::Sharing) -> Sharing {
        Sharing {
            mode: match sharing.mode() {
                proto::sharing::Mode::Local => Mode::Local,
                proto::sharing::Mode::Leased => Mode::Leased,
                proto::sharing::Mode::Exact => Mode::Exact,
            },
            max_undershoot_permille: sharing.max_undershoot_permille.min(1000),
            on_failure: match sharing.on_failure() {
                proto::sharing::Failure::Part => OnFailure::Part,
                proto::sharing::Failure::Deny => OnFailure::Deny,
                proto::sharing::Failure::Allow => OnFailure::Allow,
            },
        }
    }
}
