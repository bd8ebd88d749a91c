//! `policies.yaml`: the throttling policies that tiers name, and those that apply to whoever calls.

mod callers;
mod condition;
mod idle;
mod limit;
mod policy;

use std::collections::{BTreeMap, HashMap, HashSet};

use microgw_proto::limits::v1::{Policy, Tiers};

use self::callers::{DeclaredCustom, DeclaredDeny, Unknown};
use super::Report;
use crate::definition::{Library, object, suggest};
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::interceptors::Interceptors;
use crate::model::{LimitId, Position};
use crate::source::{Content, Value};
use crate::transforms::Transformations;

const PATH: &str = "policies.yaml";
const RESOURCE: &str = "resourcePolicies";
const APPLICATION: &str = "applicationPolicies";
const SUBSCRIPTION: &str = "subscriptionPolicies";
const CUSTOM: &str = "customPolicies";
const DENY: &str = "denyPolicies";
const UNKNOWN_TIER: &str = "unknownTier";
const SECTIONS: &[&str] = &[RESOURCE, APPLICATION, SUBSCRIPTION, CUSTOM, DENY, UNKNOWN_TIER];

/// The declared policies, and which of them a definition names.
#[derive(Default)]
pub(crate) struct Policies {
    resource: BTreeMap<String, Declared>,
    /// Which there are cannot be told, and that is an error already.
    unreadable: bool,
    /// Those that definitions name, each once.
    used: Vec<Policy>,
    /// Of applications and subscriptions: chosen by the caller's token, never by a definition.
    applications: Vec<Declared>,
    subscriptions: Vec<Declared>,
    custom: Vec<DeclaredCustom>,
    deny: Vec<DeclaredDeny>,
    unknown: Unknown,
    /// Where an API or operation names its tier, by where it is itself.
    tiers: HashMap<Position, Place>,
    /// Where it says what its requests cost.
    costs: HashMap<Position, Place>,
    /// Policies of another kind: what becomes of messages.
    pub(crate) transforms: Transformations,
    /// Programs that they go through.
    pub(crate) interceptors: Interceptors,
}

/// A policy, and where its parts are.
struct Declared {
    policy: Policy,
    /// Its name.
    at: Place,
    /// As [`Policy::limits`].
    limits: Vec<Place>,
    /// As [`Policy::groups`].
    groups: Vec<DeclaredGroup>,
    /// Among [`Policies::used`].
    id: Option<LimitId>,
}

struct DeclaredGroup {
    when: Place,
    limits: Vec<Place>,
}

// === impl Policies ===

impl Policies {
    /// Reads the file, if there is one.
    pub(super) fn read(files: &dyn Files, library: &mut Library<'_>, report: &mut Report) -> Policies {
        let mut policies = Policies::default();
        if files.read(PATH, 0).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return policies;
        }
        let document = match library.open(PATH) {
            Ok(document) => document,
            Err(diagnostics) => {
                report.extend(diagnostics);
                policies.unreadable = report.has_errors();
                return policies;
            }
        };
        let root = document.root();
        match root.content() {
            Content::Null => {}
            Content::Map => {
                known_keys(report, PATH, root, &[SECTIONS]);
                root.entries().for_each(|(key, value)| policies.section(report, key.text(), value));
            }
            _ => {
                report.say(Code::WrongType, root, format!("`{PATH}` must be an object"));
                policies.unreadable = true;
            }
        }
        // It names what may stand behind it.
        if let Some(unknown) = root.get(UNKNOWN_TIER).filter(|unknown| !unknown.is_null()) {
            policies.unknown = Unknown::read(report, unknown, &policies.applications, &policies.subscriptions);
        }
        policies
    }

    /// Marks a resource policy as used by what is at `owner`, if there is one of that name.
    pub(crate) fn use_resource_policy(&mut self, name: &str, at: Place, owner: Position) -> Option<LimitId> {
        let declared = self.resource.get_mut(name)?;
        let next = LimitId(u32::try_from(self.used.len()).unwrap_or(u32::MAX));
        let id = *declared.id.get_or_insert(next);
        if id == next {
            self.used.push(declared.policy.clone());
        }
        self.tiers.insert(owner, at);
        Some(id)
    }

    /// Remembers where what is at `owner` says what its requests cost.
    pub(crate) fn cost_of(&mut self, owner: Position, at: Place) {
        self.costs.insert(owner, at);
    }

    /// Those that definitions name, and those of callers.
    pub(super) fn into_limits(self) -> (Vec<Policy>, Tiers) {
        let policies =
            |declared: Vec<Declared>| declared.into_iter().map(|declared| declared.policy).collect::<Vec<_>>();
        let (applications, subscriptions) = (policies(self.applications), policies(self.subscriptions));
        let (unknown_application, unknown_subscription) = self.unknown.resolve(&applications, &subscriptions);
        let tiers = Tiers {
            applications,
            subscriptions,
            unknown_application,
            unknown_subscription,
            custom: self.custom.into_iter().map(|declared| declared.custom).collect(),
            deny: self.deny.into_iter().map(|declared| declared.deny).collect(),
        };
        (self.used, tiers)
    }

    /// Whether a tier that is not there is one that nobody declared.
    pub(crate) fn are_known(&self) -> bool {
        !self.unreadable
    }

    pub(crate) fn resource_policies(&self) -> impl Iterator<Item = &str> {
        self.resource.keys().map(String::as_str)
    }

    /// One note for all that nothing uses.
    pub(super) fn report_unused(&self, report: &mut Report) {
        let unused = self.resource.values().filter(|declared| declared.id.is_none()).count();
        if unused > 0 {
            let policies = if unused == 1 { "1 policy is" } else { &format!("{unused} policies are") };
            let message = format!("{policies} declared and not used");
            report.add(Diagnostic::new(Code::UnusedPolicies, Place::whole(PATH), message));
        }
    }

    fn section(&mut self, report: &mut Report, name: &str, section: Value<'_>) {
        if section.is_null() || name == UNKNOWN_TIER || !SECTIONS.contains(&name) {
            return;
        }
        if !matches!(section.content(), Content::List) {
            let message = format!("`{name}` must be a list, not {}", section.type_name());
            report.say(Code::WrongType, section, message);
            self.unreadable |= name == RESOURCE;
            return;
        }
        let mut seen = HashSet::new();
        for item in section.items() {
            if item.entries().next().is_none() {
                bad(report, item, format!("an entry of `{name}` must be `<name>: {{...}}`"));
            }
        }
        for (key, value) in section.items().flat_map(Value::entries) {
            let policy = key.text();
            if policy.is_empty() || policy.chars().any(char::is_control) {
                bad(report, key, format!("`{name}` has a policy whose name is empty or has control characters"));
            }
            if !seen.insert(policy) {
                let message = format!("`{name}` has the policy `{policy}` twice");
                report.say(Code::DuplicatePolicy, key, message);
            }
            let Some(value) = object(report, policy, value) else { continue };
            match name {
                CUSTOM => self.custom.extend(callers::custom(report, key, value)),
                DENY => self.deny.extend(callers::deny(report, key, value)),
                _ => {
                    known_keys(report, policy, value, &[limit::KEYS, policy::KEYS, policy::GROUPS]);
                    let declared = policy::read(report, key, value);
                    match name {
                        RESOURCE => {
                            self.resource.insert(policy.to_owned(), declared);
                        }
                        APPLICATION => self.applications.push(declared),
                        _ => self.subscriptions.push(declared),
                    }
                }
            }
        }
    }
}

/// Every key must be known: what a misspelt one says would not be enforced.
fn known_keys(report: &mut Report, owner: &str, object: Value<'_>, known: &[&[&str]]) {
    for (key, _) in object.entries() {
        let mut words = known.iter().copied().flatten().copied();
        if !words.clone().any(|word| word == key.text()) {
            let message = format!("`{owner}` has no key `{}`", key.text());
            suggest(report, Code::BadPolicy, key, message, key.text(), &mut words);
        }
    }
}

fn bad(report: &mut Report, at: Value<'_>, message: impl Into<String>) {
    report.say(Code::BadPolicy, at, message);
}
