//! `policies.yaml`: the throttling policies that tiers name.

use std::collections::{BTreeMap, HashSet};

use microgw_proto::limits::v1::{Fixed, Limit, Policy, Tiers, limit::Window};

use super::Report;
use crate::definition::{Library, Shape, unknown_key};
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::model::LimitId;
use crate::source::{Content, Value};

const PATH: &str = "policies.yaml";
const RESOURCE: &str = "resourcePolicies";
const SECTIONS: &[&str] = &[RESOURCE, "applicationPolicies", "subscriptionPolicies"];
const UNITS: &[&str] = &["min", "hour", "day", "week", "month", "year"];

const COUNT: Shape = Shape::Integer(1, u32::MAX as i64);
const POLICY: Shape = Shape::Object(&[("count", COUNT), ("unitTime", COUNT), ("timeUnit", Shape::Text)]);
const SUBSCRIPTION: Shape =
    Shape::Object(&[("count", COUNT), ("unitTime", COUNT), ("timeUnit", Shape::Text), ("stopOnQuota", Shape::Boolean)]);

/// The declared policies, and which of them a definition names.
#[derive(Default)]
pub(crate) struct Policies {
    resource: BTreeMap<String, Declared>,
    /// Those that definitions name, each once.
    used: Vec<Policy>,
    /// Of applications and subscriptions: chosen by the caller's token, never by a definition.
    tiers: Tiers,
}

struct Declared {
    policy: Policy,
    /// Among [`Policies::used`].
    id: Option<LimitId>,
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
                return policies;
            }
        };
        match document.root().content() {
            Content::Null => {}
            Content::Map => document.root().entries().for_each(|(key, value)| policies.section(report, key, value)),
            _ => report.say(Code::WrongType, document.root(), format!("`{PATH}` must be an object")),
        }
        policies
    }

    /// Marks a resource policy as used, if there is one of that name.
    pub(crate) fn use_resource_policy(&mut self, name: &str) -> Option<LimitId> {
        let declared = self.resource.get_mut(name)?;
        let next = LimitId(u32::try_from(self.used.len()).unwrap_or(u32::MAX));
        let id = *declared.id.get_or_insert(next);
        if id == next {
            self.used.push(declared.policy.clone());
        }
        Some(id)
    }

    /// Those that definitions name, and those of callers.
    pub(super) fn into_limits(self) -> (Vec<Policy>, Tiers) {
        (self.used, self.tiers)
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

    fn section(&mut self, report: &mut Report, key: Value<'_>, section: Value<'_>) {
        let name = key.text();
        if !SECTIONS.contains(&name) {
            unknown_key(report, PATH, key, SECTIONS.iter().copied());
            return;
        }
        if section.is_null() {
            return;
        }
        if !matches!(section.content(), Content::List) {
            let message = format!("`{name}` must be a list, not {}", section.type_name());
            report.say(Code::WrongType, section, message);
            return;
        }
        let mut seen = HashSet::new();
        for item in section.items().filter(|item| !item.is_map()) {
            report.say(Code::BadPolicy, item, format!("an entry of `{name}` must be `<name>: {{...}}`"));
        }
        for (policy, limit) in section.items().flat_map(Value::entries) {
            if !seen.insert(policy.text()) {
                let message = format!("`{name}` has the policy `{}` twice", policy.text());
                report.say(Code::DuplicatePolicy, policy, message);
            }
            let shape = if name == "subscriptionPolicies" { &SUBSCRIPTION } else { &POLICY };
            if shape.check(report, policy.text(), limit) {
                limit_is_whole(report, policy, limit);
            }
            let policy = policy_of(policy.text(), limit);
            match name {
                RESOURCE => {
                    self.resource.insert(policy.name.clone(), Declared { policy, id: None });
                }
                "applicationPolicies" => self.tiers.applications.push(policy),
                _ => self.tiers.subscriptions.push(policy),
            }
        }
    }
}

/// What is wrong in it has been reported.
fn policy_of(name: &str, declared: Value<'_>) -> Policy {
    let number = |key: &str| declared.get(key).and_then(|value| value.text().parse::<u64>().ok()).unwrap_or(1);
    let unit = declared.get("timeUnit").map(|unit| unit.text().to_ascii_lowercase()).unwrap_or_default();
    let seconds = match unit.as_str() {
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "month" => 30 * 86_400,
        "year" => 365 * 86_400,
        _ => 60,
    };
    let window = Window::Fixed(Fixed { seconds: number("unitTime").saturating_mul(seconds) });
    Policy {
        name: name.to_owned(),
        limits: vec![Limit { quota: number("count"), window: Some(window), ..Limit::default() }],
        pass_beyond_quota: declared.get("stopOnQuota").is_some_and(|stop| stop.text() == "false"),
        ..Policy::default()
    }
}

fn limit_is_whole(report: &mut Report, policy: Value<'_>, limit: Value<'_>) {
    for key in ["count", "unitTime", "timeUnit"] {
        if limit.get(key).is_none() {
            report.say(Code::BadPolicy, policy, format!("the policy `{}` has no `{key}`", policy.text()));
        }
    }
    if let Some(unit) = limit.get("timeUnit")
        && !UNITS.contains(&unit.text().to_ascii_lowercase().as_str())
    {
        let message = format!("`timeUnit` must be one of {}, not `{}`", UNITS.join(", "), unit.text());
        report.say(Code::BadPolicy, unit, message);
    }
}
