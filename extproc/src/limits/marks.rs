//! What is counted of limits beside what they count: quotas that are exceeded, and tiers that nobody has declared.

use std::sync::atomic::{AtomicU64, Ordering};

use microgw_engine::Decision;
use microgw_engine::limits::Level;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::families::{self, Family};
use crate::metrics::{Reading, Value};
use crate::seldom::Seldom;

/// Characters of a tier's name that the log shows: it is whatever a token says.
const MAX_NAME: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Marks {
    passed: ByLevel,
    unknown: ByLevel,
    told: Seldom,
}

/// Labels are levels: how many samples there are does not depend on what clients send.
#[derive(Debug, Default)]
struct ByLevel([AtomicU64; Level::ALL.len()]);

// === impl Marks ===

impl Marks {
    pub(crate) fn decided(&self, decision: &Decision<'_>) {
        if let Decision::Allow(allow) = decision {
            for balance in allow.limits.iter().filter(|balance| balance.usage.beyond) {
                self.passed.count(balance.limit.level);
            }
        }
    }

    pub(crate) fn unknown_tier(&self, level: Level, tier: &str) {
        self.unknown.count(level);
        if self.told.now() {
            let shown: String = tier.chars().take(MAX_NAME).collect();
            tracing::warn!(level = level.as_str(), tier = ?shown, "a tier is not in `policies.yaml`: `unknownTier` counts");
        }
    }
}

impl Collector for Marks {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let exceeded = self.passed.samples(&Level::ALL).map(|(level, count)| (vec![level], count));
        reading(&families::LIMITS_EXCEEDED, exceeded).encode(&mut encoder)?;
        let unknown = self.unknown.samples(&[Level::Subscription, Level::Application]);
        let unknown = unknown.map(|(level, count)| (vec![level], count));
        reading(&families::UNKNOWN_TIERS, unknown).encode(&mut encoder)
    }
}

fn reading(family: &'static Family, samples: impl Iterator<Item = (Vec<String>, Value)>) -> Reading {
    Reading { family, samples: samples.collect() }
}

// === impl ByLevel ===

impl ByLevel {
    fn count(&self, level: Level) {
        if let Some(count) = self.0.get(level as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn samples<'a>(&'a self, levels: &'a [Level]) -> impl Iterator<Item = (String, Value)> + 'a {
        levels.iter().filter_map(|level| {
            let count = self.0.get(*level as usize)?.load(Ordering::Relaxed);
            Some((level.as_str().to_owned(), Value::Integer(count)))
        })
    }
}
