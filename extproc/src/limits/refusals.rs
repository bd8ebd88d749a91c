//! How often limits refused, by level and policy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use microgw_engine::limits::{Level, Limit};

/// By policies, which projects declare: clients make up none. A gateway that sees many projects keeps the first of them apart.
#[derive(Debug, Default)]
pub(super) struct Refusals(RwLock<HashMap<Box<str>, ByLevel>>);

type ByLevel = [AtomicU64; LEVELS.len()];

const LEVELS: [Level; 6] =
    [Level::Api, Level::Resource, Level::Subscription, Level::Application, Level::Unauthenticated, Level::Custom];
const MOST: usize = 1000;
const OTHER: &str = "other";

// === impl Refusals ===

impl Refusals {
    pub(super) fn count(&self, limit: &Limit) {
        if self.add(&limit.policy, limit.level) {
            return;
        }
        let name = {
            let mut policies = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let name = if policies.len() < MOST { &*limit.policy } else { OTHER };
            policies.entry(name.into()).or_default();
            name
        };
        self.add(name, limit.level);
    }

    /// Level, policy, how often; in a stable order.
    pub(super) fn read(&self) -> Vec<(&'static str, String, u64)> {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let each = policies.iter().flat_map(|(policy, counts)| {
            let levels = LEVELS.iter().zip(counts);
            levels.map(|(level, count)| (level.as_str(), policy.to_string(), count.load(Ordering::Relaxed)))
        });
        let mut counts: Vec<_> = each.filter(|(_, _, count)| *count > 0).collect();
        counts.sort_unstable();
        counts
    }

    fn add(&self, policy: &str, level: Level) -> bool {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = policies.get(policy) else { return false };
        if let Some(count) = LEVELS.iter().zip(counts).find_map(|(own, count)| (*own == level).then_some(count)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}
