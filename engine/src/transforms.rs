//! What becomes of messages on their way: the transformations of a rule, with what an exchange knows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use microgw_expressions::{Value, Variable, Variables};
use microgw_proto::rules::v1 as proto;
use microgw_transforms::editable::is_credential;
use microgw_transforms::parameters::PathParameters;
use microgw_transforms::{Changes, Context, Direction, Failure, Message, Transform};

use crate::exchange::{Edits, Headers};
use crate::limits::{Interest, Request};
use crate::reason::Reason;
use crate::rules::{Api, LoadError};

/// Of one rule.
#[derive(Debug)]
pub(crate) struct Transforms {
    pub(crate) request: Option<Arc<Transform>>,
    pub(crate) response: Option<Arc<Transform>>,
    path: PathParameters,
}

/// Those of a book, each once.
pub(crate) struct Loaded(HashMap<(u32, bool), Arc<Transform>>);

/// What an exchange knows beside the message.
pub(crate) struct Known<'r> {
    pub(crate) request: Request<'r>,
    pub(crate) transforms: &'r Transforms,
    /// As the client sent it.
    pub(crate) path: &'r str,
    /// What a response answers.
    pub(crate) asked: Option<&'r Message>,
}

/// The gateway's own, which mean nothing to anybody else.
const OWN: &str = "x-microgw-";

// === impl Loaded ===

impl Loaded {
    pub(crate) fn load(book: &proto::RuleBook) -> Result<Loaded, LoadError> {
        let mut loaded = HashMap::new();
        for rule in &book.rules {
            for (index, direction) in
                [(rule.request_transform, Direction::Request), (rule.response_transform, Direction::Response)]
            {
                let Some(place) = index.checked_sub(1) else { continue };
                let key = (index, direction == Direction::Request);
                if loaded.contains_key(&key) {
                    continue;
                }
                let transform = book.transforms.get(place as usize).ok_or(LoadError::UnknownTransform)?;
                let transform = Transform::load(transform, direction);
                loaded.insert(key, Arc::new(transform.map_err(|error| LoadError::Transform(error.to_string()))?));
            }
        }
        Ok(Loaded(loaded))
    }

    /// Adds what they look at.
    pub(crate) fn looks_at(&self, interest: &mut Interest) {
        for mentions in self.0.values().map(|transform| transform.mentions()) {
            mentions.claims.iter().for_each(|name| interest.in_claim(name));
            interest.subscriptions |= mentions.subscriptions;
        }
    }

    /// `None`: its messages go on as they are.
    pub(crate) fn of(&self, rule: &proto::Rule, api: &Api) -> Option<Transforms> {
        let request = self.0.get(&(rule.request_transform, true)).cloned();
        let response = self.0.get(&(rule.response_transform, false)).cloned();
        if request.is_none() && response.is_none() {
            return None;
        }
        let path = rule.path.strip_prefix(&*api.base_path).unwrap_or(&rule.path);
        Some(Transforms { request, response, path: PathParameters::of(path) })
    }
}

/// Headers for whoever transforms: without credentials, and without what the gateway says to itself.
pub(crate) fn headers(headers: &dyn Headers, cuts: &[Box<str>]) -> microgw_transforms::Headers {
    let mut kept = Vec::new();
    headers.visit(&mut |name, value| {
        let hidden = is_credential(name) || name.starts_with(OWN) || cuts.iter().any(|cut| **cut == *name);
        if !hidden {
            kept.push((name.to_owned(), value.to_vec()));
        }
    });
    microgw_transforms::Headers::new(kept)
}

/// What was changed; `is_reserved`: nobody changes that.
pub(crate) fn edits(message: Message, is_reserved: impl Fn(&str) -> bool) -> Edits {
    let changes = message.changes();
    let has_new_body = changes.body.is_some();
    let mut edits = of_head(&changes, is_reserved);
    if has_new_body {
        // Not copied: it may be large.
        edits.body = message.into_body();
    }
    edits
}

fn of_head(changes: &Changes<'_>, is_reserved: impl Fn(&str) -> bool) -> Edits {
    let name = |name: &&str| !is_reserved(name);
    let removed = changes.removed.iter().copied().filter(|removed| name(removed)).map(|name| (name, Vec::new()));
    let set = changes.headers.iter().filter(|(set, _)| name(set)).map(|(name, values)| {
        let values = values.iter().map(|value| value.to_vec()).collect();
        (*name, values)
    });
    Edits {
        method: changes.method.map(str::to_owned),
        path: changes.path.map(str::to_owned),
        status: changes.status,
        headers: removed.chain(set).map(|(name, values)| (Cow::Owned(name.to_owned()), values)).collect(),
        body: None,
    }
}

/// Why nothing goes on.
pub(crate) fn reason(failure: Failure, direction: Direction) -> Reason {
    match (failure.status(direction), failure, direction) {
        (_, Failure::TooLarge, Direction::Response) => Reason::ResponseTooLarge,
        (502, ..) => Reason::UnusableResponse,
        (413, ..) => Reason::BodyTooLarge,
        (415, ..) => Reason::EncodedBody,
        (400, ..) => Reason::UnreadableBody,
        _ => Reason::NotTransformed,
    }
}

// === impl Known ===

impl Variables for Known<'_> {
    fn get(&self, variable: &Variable) -> Value<'_> {
        self.request.get(variable)
    }
}

impl Context for Known<'_> {
    fn request(&self) -> Option<&Message> {
        self.asked
    }

    fn path_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let below = self.path.strip_prefix(self.base_path()).unwrap_or(self.path);
        self.transforms.path.get(below, name)
    }

    fn base_path(&self) -> &str {
        &self.request.rule.api().base_path
    }
}
