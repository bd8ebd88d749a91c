//! What is declared of transformations: the steps of APIs and operations, and the policies in `policies/` that they use.

mod parameters;
mod policy_files;
mod read;
mod tree;

use std::collections::{BTreeSet, HashMap, HashSet};

use microgw_proto::transforms::v1::{Step, Transform};
use microgw_transforms::{Direction, MAX_STEPS, Mentions};
use prost::Message as _;

pub(crate) use self::parameters::Parameters;
pub(crate) use self::policy_files::{Carrier, DIRECTORY, INTERCEPTOR, PolicyFile, PolicyFiles};
pub(crate) use self::read::read;
pub(crate) use self::tree::{Node, Tree};
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::model::{TransformId, Transforms};

pub(crate) const EXTENSION: &str = "x-microgw-transform";

/// What is found out while definitions are read.
#[derive(Default)]
pub(crate) struct Transformations {
    pub files: PolicyFiles,
    table: Vec<Transform>,
    ids: HashMap<Vec<u8>, TransformId>,
    /// A policy is read wherever it is used; what is wrong in it is said once.
    said: HashSet<(Place, String)>,
}

/// Steps of an API or an operation, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    list: Vec<Placed>,
    /// As [`Transform::parameters`].
    parameters: Vec<String>,
}

#[derive(Clone, Debug)]
struct Placed {
    step: Step,
    at: Place,
    mentions: Mentions,
    sets_method: bool,
    /// Another operation's route could match what it makes.
    reroutes: bool,
    /// The whole must be there.
    needs_body: bool,
}

/// Of both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Both {
    pub request: Steps,
    pub response: Steps,
}

/// What steps are checked against, once it is known whose they are.
#[derive(Clone)]
pub(crate) struct Owner<'a> {
    /// Method and path.
    pub label: &'a str,
    pub parameters: BTreeSet<&'a str>,
    /// Headers and query parameters with credentials, which are taken out before anything is transformed.
    pub credential_headers: BTreeSet<&'a str>,
    pub credential_parameters: BTreeSet<&'a str>,
    pub is_head: bool,
    /// Its route is looked for again, once it is known who calls.
    pub is_matched_again: bool,
    /// Its messages of this direction go on without an end.
    pub streams: bool,
}

/// Whether an artifact's transformation is one that a project can declare.
pub(crate) fn is_sound(transform: &Transform, direction: Direction) -> bool {
    !transform.steps.is_empty() && microgw_transforms::Transform::load(transform, direction).is_ok()
}

// === impl Transformations ===

impl Transformations {
    pub(crate) fn say(&mut self, report: &mut Report, diagnostic: Diagnostic) {
        let place = diagnostic.place.clone();
        if place.is_none_or(|place| self.said.insert((place, diagnostic.message.clone()))) {
            report.add(diagnostic);
        }
    }

    /// Of an operation's steps, once they are checked against it.
    pub(crate) fn ids(
        &mut self,
        report: &mut Report,
        both: &Both,
        owner: &Owner<'_>,
        streams: [bool; 2],
    ) -> Transforms {
        let [requests, responses] = streams;
        self.check(report, &both.request, &Owner { streams: requests, ..owner.clone() });
        // Nothing that arrives from a backend is a caller's credential.
        let of_response = Owner { credential_headers: BTreeSet::new(), streams: responses, ..owner.clone() };
        self.check(report, &both.response, &of_response);
        Transforms { request: self.id(&both.request), response: self.id(&both.response) }
    }

    /// `None`: there are no steps.
    fn id(&mut self, steps: &Steps) -> Option<TransformId> {
        if steps.list.is_empty() {
            return None;
        }
        let transform = Transform {
            steps: steps.list.iter().map(|placed| placed.step.clone()).collect(),
            parameters: steps.parameters.clone(),
        };
        let next = TransformId(u32::try_from(self.table.len()).unwrap_or(u32::MAX));
        let id = *self.ids.entry(transform.encode_to_vec()).or_insert(next);
        if id == next {
            self.table.push(transform);
        }
        Some(id)
    }

    pub(crate) fn take(&mut self) -> Vec<Transform> {
        std::mem::take(&mut self.table)
    }

    /// Reports what steps say that the operation does not have, or that is not to be changed.
    fn check(&mut self, report: &mut Report, steps: &Steps, owner: &Owner<'_>) {
        let mut problems = Vec::new();
        for Placed { at, mentions, sets_method, reroutes, needs_body, .. } in &steps.list {
            let mut wrong = |message: String| problems.push(Diagnostic::new(Code::BadTransform, at.clone(), message));
            for (_, name) in &mentions.path_parameters {
                if !owner.parameters.contains(name.as_str()) {
                    wrong(format!("`{}` has no path parameter `{name}`", owner.label));
                }
            }
            for (_, name) in &mentions.headers {
                if owner.credential_headers.iter().any(|header| alike(header) == alike(name)) {
                    wrong(format!("the header `{name}` has a credential of `{}`", owner.label));
                }
            }
            for (_, name) in &mentions.query {
                if owner.credential_parameters.contains(name.as_str()) {
                    wrong(format!("the query parameter `{name}` has a credential of `{}`", owner.label));
                }
            }
            if *needs_body && owner.streams {
                wrong(format!("`{}` is for streams, whose bodies nobody waits for", owner.label));
            }
            if *reroutes && owner.is_matched_again {
                wrong(format!(
                    "`{}` has production and sandbox endpoints: which of them is meant is found by path and method, which \
                     cannot be others then",
                    owner.label
                ));
            }
            if *sets_method && owner.is_head {
                wrong(format!("`{}` cannot be sent as another method: its response has no body", owner.label));
            }
        }
        if let Some(last) = steps.list.get(MAX_STEPS) {
            let message = format!("`{}` has more than {MAX_STEPS} steps", owner.label);
            problems.push(Diagnostic::new(Code::BadTransform, last.at.clone(), message));
        }
        for problem in problems {
            self.say(report, problem);
        }
    }
}

/// To CGI and its kin `-` and `_` are the same.
fn alike(name: &str) -> String {
    name.replace('_', "-")
}

// === impl Steps ===

impl Steps {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// These, then others.
    pub(crate) fn then(&self, others: &Steps) -> Steps {
        if others.list.is_empty() {
            return self.clone();
        }
        let offset = u32::try_from(self.parameters.len()).unwrap_or(u32::MAX);
        let mut all = self.clone();
        all.parameters.extend(others.parameters.iter().cloned());
        all.list.extend(others.list.iter().cloned().map(|mut placed| {
            if placed.step.parameters > 0 {
                placed.step.parameters = placed.step.parameters.saturating_add(offset);
            }
            placed
        }));
        all
    }
}

impl Both {
    pub(crate) fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }

    /// Where the first step is.
    pub(crate) fn place(&self) -> Option<Place> {
        self.request.list.iter().chain(&self.response.list).map(|placed| placed.at.clone()).next()
    }

    /// Of an operation whose API this is: requests meet the API's first, responses last.
    pub(crate) fn around(&self, own: &Both) -> Both {
        Both { request: self.request.then(&own.request), response: own.response.then(&self.response) }
    }
}
