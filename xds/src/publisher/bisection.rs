//! Which APIs does Envoy refuse? Group testing, without its I/O.
//!
//! Each trial serves the APIs that are known to be good together with one group; the others are in fallback. A
//! refused group is halved. What has been accepted stays in, so that the last accepted trial is the answer, even
//! where two APIs are refused only together. One fault among n costs about log2(n) trials.

use std::collections::BTreeSet;

use microgw_compiler::snapshot::{ApiKey, Fallback, Fallbacks};

/// Each trial sends Envoy a route table. What is undecided after these stays in fallback.
const MAX_TRIALS: usize = 256;

#[derive(Debug)]
pub(super) struct Bisection {
    suspects: Vec<(ApiKey, Fallback)>,
    /// Without any suspect: is what they have in common accepted?
    common: Common,
    /// Indices of suspects.
    good: BTreeSet<usize>,
    faulty: Vec<Faulty>,
    /// Groups to decide; the last is on trial.
    groups: Vec<Group>,
    trials: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Common {
    Untried,
    Good,
    Faulty(String),
}

/// An API that Envoy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Faulty {
    pub(super) api: ApiKey,
    pub(super) fallback: Fallback,
    pub(super) text: String,
}

#[derive(Debug)]
struct Group {
    members: Vec<usize>,
    /// Envoy's text, if it is known to be refused beside what is good now.
    refused: Option<String>,
    /// Why the group was refused that this one is half of.
    parent: String,
    /// The first half: if it is good, the second, next on the stack, must be at fault.
    first_half: bool,
}

// === impl Bisection ===

impl Bisection {
    /// `text` is why all suspects together were refused.
    pub(super) fn new(suspects: Vec<(ApiKey, Fallback)>, text: String) -> Bisection {
        let common = if suspects.is_empty() { Common::Faulty(text.clone()) } else { Common::Untried };
        let all = Group {
            members: (0..suspects.len()).collect(),
            refused: Some(text),
            parent: String::new(),
            first_half: false,
        };
        Bisection { suspects, common, good: BTreeSet::new(), faulty: Vec::new(), groups: vec![all], trials: 0 }
    }

    /// What to offer next; `None` when all is decided. To be followed by `accepted` or `refused`.
    pub(super) fn trial(&mut self) -> Option<Fallbacks> {
        match self.common {
            Common::Faulty(_) => return None,
            Common::Untried => return Some(self.fallbacks(&[])),
            Common::Good => {}
        }
        if self.trials >= MAX_TRIALS {
            self.give_up();
        }
        while let Some(group) = self.groups.pop_if(|group| group.refused.is_some()) {
            self.split(group);
        }
        self.groups.last().map(|group| self.fallbacks(&group.members))
    }

    pub(super) fn accepted(&mut self) {
        self.trials += 1;
        if self.common == Common::Untried {
            self.common = Common::Good;
            return;
        }
        let Some(group) = self.groups.pop() else { return };
        self.good.extend(group.members);
        if group.first_half
            && let Some(second) = self.groups.last_mut()
        {
            // Both halves together were refused beside the same good ones.
            second.refused = Some(second.parent.clone());
        }
    }

    pub(super) fn refused(&mut self, text: String) {
        self.trials += 1;
        if self.common == Common::Untried {
            self.common = Common::Faulty(text);
        } else if let Some(group) = self.groups.last_mut() {
            group.refused = Some(text);
        }
    }

    /// The APIs at fault, in the order of the suspects; or Envoy's text, if it refuses what they have in common.
    pub(super) fn finish(mut self) -> Result<Vec<Faulty>, String> {
        match self.common {
            Common::Faulty(text) => Err(text),
            Common::Untried | Common::Good => {
                self.faulty.sort_by(|a, b| a.api.cmp(&b.api));
                Ok(self.faulty)
            }
        }
    }

    fn fallbacks(&self, group: &[usize]) -> Fallbacks {
        let in_fallback = |index: &usize| !self.good.contains(index) && !group.contains(index);
        let suspects = self.suspects.iter().enumerate();
        suspects.filter(|(index, _)| in_fallback(index)).map(|(_, (api, fallback))| (api.clone(), *fallback)).collect()
    }

    fn split(&mut self, group: Group) {
        let text = group.refused.unwrap_or_default();
        if group.members.len() <= 1 {
            self.blame(&group.members, &text);
            return;
        }
        let (first, second) = group.members.split_at(group.members.len() / 2);
        let half = |members: &[usize], first_half| Group {
            members: members.to_vec(),
            refused: None,
            parent: text.clone(),
            first_half,
        };
        let (first, second) = (half(first, true), half(second, false));
        self.groups.extend([second, first]);
    }

    fn give_up(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            let text = group.refused.unwrap_or(group.parent);
            self.blame(&group.members, &format!("not tried alone; with others: {text}"));
        }
    }

    fn blame(&mut self, members: &[usize], text: &str) {
        let suspects = members.iter().filter_map(|index| self.suspects.get(*index));
        self.faulty.extend(suspects.map(|(api, fallback)| Faulty {
            api: api.clone(),
            fallback: *fallback,
            text: text.to_owned(),
        }));
    }
}

#[cfg(test)]
mod tests;
