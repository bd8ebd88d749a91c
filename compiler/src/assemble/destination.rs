//! Where the requests of an operation go in one environment: ways, each to one cluster and by one backend path, with
//! their shares.
//!
//! An endpoint whose URLs differ in scheme or path, or that has a canary, is several ways. Each is a sibling route, for
//! Envoy's weighted clusters rewrite no paths. Envoy draws one number for a request and compares all siblings with it, also when
//! it matches again after a decision: a request stays on its way.

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::RouteMatch;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};

use super::routes::{has_header, header_is};
use crate::model::{Endpoint, Target};

/// What the shares of ways add up to.
const ALL: u32 = 1_000_000;
/// A canary's share is of 10,000.
const CANARY_SHARE: u32 = ALL / 10_000;

/// Targets that one cluster and one rewriting of paths serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its targets are alike, and it has no canary.
    pub endpoint: Endpoint,
    pub choice: Choice,
}

/// For which requests a way is, of those that no way before it took.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Choice {
    /// Name, and value or any.
    header: Option<(String, Option<String>)>,
    /// Requests whose number is below this. `None`: all.
    below: Option<u32>,
}

/// The ways of an endpoint, in the order in which they are tried. The last one takes whatever comes to it.
pub fn ways(endpoint: &Endpoint) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut taken = 0;
    if let Some(canary) = &endpoint.canary {
        if canary.header.is_some() {
            add(&mut ways, endpoint, &canary.targets, canary.header.as_ref(), 0..ALL);
        }
        taken = canary.share.saturating_mul(CANARY_SHARE).min(ALL);
        add(&mut ways, endpoint, &canary.targets, None, 0..taken);
    }
    add(&mut ways, endpoint, &endpoint.targets, None, taken..ALL);
    ways
}

/// Ways to `targets`, which share the numbers in `span` by their weights.
fn add(
    ways: &mut Vec<Way>,
    endpoint: &Endpoint,
    targets: &[Target],
    header: Option<&(String, Option<String>)>,
    span: std::ops::Range<u32>,
) {
    if span.is_empty() {
        return;
    }
    let alike = alike(targets);
    let weight = |targets: &[Target]| targets.iter().map(|target| u64::from(target.weight)).sum::<u64>();
    let all = weight(targets).max(1);
    let mut so_far = 0;
    for targets in alike {
        so_far += weight(&targets);
        let width = u64::from(span.end - span.start) * so_far / all;
        let below = span.start + u32::try_from(width).unwrap_or(u32::MAX - span.start);
        ways.push(Way {
            endpoint: Endpoint { targets, canary: None, ..endpoint.clone() },
            choice: Choice { header: header.cloned(), below: (below < ALL).then_some(below) },
        });
    }
}

/// Targets by scheme and path, in the order in which these are first met.
fn alike(targets: &[Target]) -> Vec<Vec<Target>> {
    let mut groups: Vec<Vec<Target>> = Vec::new();
    for target in targets {
        let group = groups.iter_mut().find(|group| group.first().is_some_and(|first| first.url.is_like(&target.url)));
        match group {
            Some(group) => group.push(target.clone()),
            None => groups.push(vec![target.clone()]),
        }
    }
    groups
}

// === impl Choice ===

impl Choice {
    /// Has a route match only the requests that this is for.
    pub fn restrict(&self, matching: &mut RouteMatch) {
        if let Some((name, value)) = &self.header {
            matching.headers.push(value.as_ref().map_or_else(|| has_header(name), |value| header_is(name, value)));
        }
        matching.runtime_fraction = self.below.map(|numerator| RuntimeFractionalPercent {
            default_value: Some(FractionalPercent { numerator, denominator: DenominatorType::Million.into() }),
            ..Default::default()
        });
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
