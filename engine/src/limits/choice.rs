//! What applies to a request: what it would draw on anyway, or what is there for requests like it.

use std::sync::Arc;

use super::Request;
use super::condition::{Condition, Undecided};

/// Each of the groups that a request matches; if it matches none, the rest.
#[derive(Debug)]
pub(crate) struct Choice<T> {
    pub(super) groups: Box<[(Arc<Condition>, T)]>,
    pub(super) otherwise: T,
}

// === impl Choice ===

impl<T> Choice<T> {
    /// Where it cannot be told whether a group is meant, it applies, and the rest does not give way to it.
    pub(super) fn each<'a>(&'a self, request: &Request<'_>, mut apply: impl FnMut(&'a T)) {
        let mut decided = false;
        for (when, group) in &self.groups {
            match when.judge(request) {
                Ok(false) => continue,
                Ok(true) => decided = true,
                Err(Undecided) => {}
            }
            apply(group);
        }
        if !decided {
            apply(&self.otherwise);
        }
    }

    pub(super) fn map<U>(&self, change: impl Fn(&T) -> U) -> Choice<U> {
        let group = |(when, group): &(Arc<Condition>, T)| (Arc::clone(when), change(group));
        Choice { groups: self.groups.iter().map(group).collect(), otherwise: change(&self.otherwise) }
    }
}
