//! Decisions by operation. A rule is given its counters' place when it is loaded, so that a request finds them without a
//! name; there are so many places and no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use microgw_engine::Rule;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use super::families::OPERATION_DECISIONS;

/// Operations that are counted by name.
pub const LIMIT: usize = 2000;
/// What is beyond the limit.
const OTHER: &str = "other";

/// Where an operation is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u16);

/// How a decision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// The caller's fault.
    Denied,
    /// Not the caller's fault.
    Failed,
}

#[derive(Debug)]
pub struct Operations {
    /// The first is that of [`OTHER`].
    counters: Box<[[AtomicU64; 3]]>,
    names: Mutex<Names>,
}

#[derive(Debug)]
struct Names {
    /// API, version and operation, each after the first preceded by a NUL.
    places: HashMap<Box<str>, Place>,
    free: Vec<Place>,
}

// === impl Place ===

impl Place {
    pub const OTHER: Place = Place(0);
}

// === impl Outcome ===

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Allowed, Outcome::Denied, Outcome::Failed];

    /// Of an HTTP status.
    pub(crate) fn of(status: u16) -> Outcome {
        if status >= 500 { Outcome::Failed } else { Outcome::Denied }
    }

    fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }
}

// === impl Operations ===

impl Default for Operations {
    fn default() -> Operations {
        let counters = std::iter::repeat_with(Default::default).take(LIMIT + 1).collect();
        // Taken from the end: the lowest first.
        let free = (1..=LIMIT).rev().filter_map(|place| u16::try_from(place).ok()).map(Place).collect();
        Operations { counters, names: Mutex::new(Names { places: HashMap::new(), free }) }
    }
}

impl Operations {
    /// The places of all rules that are in use from now on, in their order. Operations keep theirs from publish to publish;
    /// those that are no more lose it, and their counts with it. (A decision under way may still be counted there.)
    pub(crate) fn assign<'a>(&self, rules: impl Iterator<Item = &'a Rule> + Clone) -> Vec<Place> {
        let mut names = self.lock();
        let mut name = String::new();
        let mut used = vec![false; self.counters.len()];
        let mut places: Vec<Option<Place>> = Vec::new();
        for rule in rules.clone() {
            let place = names.places.get(named(&mut name, rule)).copied();
            if let Some(used) = place.and_then(|place| used.get_mut(usize::from(place.0))) {
                *used = true;
            }
            places.push(place);
        }
        let Names { places: by_name, free } = &mut *names;
        let is_used = |place: Place| used.get(usize::from(place.0)).is_some_and(|used| *used);
        by_name.retain(|_, place| {
            let keep = is_used(*place);
            if !keep {
                self.clear(*place);
                free.push(*place);
            }
            keep
        });
        let assigned = rules.zip(places).map(|(rule, place)| {
            place.unwrap_or_else(|| {
                // Of several rules for one operation the first has taken it.
                let name = named(&mut name, rule);
                let Some(place) = by_name.get(name).copied().or_else(|| free.pop()) else { return Place::OTHER };
                by_name.entry(name.into()).or_insert(place);
                place
            })
        });
        assigned.collect()
    }

    pub(crate) fn count(&self, Place(place): Place, outcome: Outcome) {
        if let Some(counter) = self.counters.get(usize::from(place)).and_then(|counters| counters.get(outcome as usize))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn clear(&self, Place(place): Place) {
        for counter in self.counters.get(usize::from(place)).into_iter().flatten() {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Nothing between lock and unlock can leave names and places at odds for longer than until the next publish.
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Operations {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let names = self.lock();
        let mut sorted: Vec<(&str, Place)> = names.places.iter().map(|(name, place)| (&**name, *place)).collect();
        sorted.sort_unstable();
        let mut metric = OPERATION_DECISIONS.describe(&mut encoder)?;
        let other = (OTHER, Place::OTHER);
        for (name, Place(place)) in sorted.into_iter().chain([other]) {
            let mut parts = name.split('\0');
            let [api, version, operation] = std::array::from_fn(|_| parts.next().unwrap_or(OTHER));
            let counters = self.counters.get(usize::from(place)).into_iter().flatten();
            for (outcome, counter) in Outcome::ALL.into_iter().zip(counters) {
                let count = counter.load(Ordering::Relaxed);
                // Of three series most operations need one.
                if count > 0 || outcome == Outcome::Allowed {
                    let labels =
                        [("api", api), ("version", version), ("operation", operation), ("outcome", outcome.as_str())];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }
}

/// The rule's name, in a buffer that is used again.
fn named<'a>(buffer: &'a mut String, rule: &Rule) -> &'a str {
    buffer.clear();
    for (index, part) in [&rule.api().name, &rule.api().version, rule.operation()].into_iter().enumerate() {
        if index > 0 {
            buffer.push('\0');
        }
        buffer.extend(part.chars().filter(|c| *c != '\0'));
    }
    buffer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use microgw_proto::rules::v1 as proto;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn rules(operations: impl Iterator<Item = usize>) -> Vec<Arc<Rule>> {
        let rule = |index: usize| proto::Rule {
            id: (index as u128).to_be_bytes().to_vec(),
            method: "GET".into(),
            path: format!("/{index}"),
            ..Default::default()
        };
        let book = proto::RuleBook {
            apis: vec![proto::Api { name: "a \"b\"".into(), version: "1".into(), ..Default::default() }],
            policies: vec![proto::Policy { credential_header: "authorization".into(), ..Default::default() }],
            rules: operations.map(rule).collect(),
            ..Default::default()
        };
        Rule::load(&book).unwrap().into_iter().map(|(_, rule)| rule).collect()
    }

    fn assign(operations: &Operations, rules: &[Arc<Rule>]) -> Vec<Place> {
        operations.assign(rules.iter().map(|rule| &**rule))
    }

    fn page(operations: &Arc<Operations>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(operations)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn two_thousand_have_a_name_and_the_rest_share_one() {
        let operations = Arc::new(Operations::default());
        let rules = rules(0..2500);
        let places = assign(&operations, &rules);
        assert_eq!(places.iter().filter(|place| **place == Place::OTHER).count(), 500);
        for place in &places {
            operations.count(*place, Outcome::Denied);
        }
        let text = page(&operations);
        assert_eq!(text.matches("outcome=\"denied\"} 1\n").count(), 2000);
        let other = "{api=\"other\",version=\"other\",operation=\"other\",outcome=\"denied\"} 500\n";
        assert!(text.contains(other), "{}", &text[text.len() - 500..]);
        assert!(text.contains(r#"{api="a \"b\"",version="1",operation="GET /7",outcome="denied"} 1"#));
        // Each operation twice, as while one generation takes over from another.
        let twice = [rules.clone(), rules].concat();
        assert_eq!(assign(&operations, &twice), [places.clone(), places].concat());
    }

    #[test]
    fn what_is_retired_makes_room() {
        let operations = Arc::new(Operations::default());
        let first = assign(&operations, &rules(0..2000));
        operations.count(first[0], Outcome::Allowed);
        operations.count(first[1999], Outcome::Allowed);
        let both = assign(&operations, &rules(0..3000));
        assert_eq!(both[..2000], first);
        assert!(both[2000..].iter().all(|place| *place == Place::OTHER));
        let second = assign(&operations, &rules(1999..3000));
        assert_eq!(second[0], first[1999], "it keeps its place");
        assert!(second.iter().all(|place| *place != Place::OTHER));
        let text = page(&operations);
        assert!(!text.contains("GET /0\""));
        assert!(text.contains("operation=\"GET /1999\",outcome=\"allowed\"} 1\n"));
        assert!(text.contains("operation=\"GET /2000\",outcome=\"allowed\"} 0\n"), "the old count is gone");
        assert!(assign(&operations, &[]).is_empty());
        assert_eq!(page(&operations).matches("microgw_operation_decisions_total{").count(), 1);
    }
}
