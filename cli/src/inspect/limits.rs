//! What an artifact says of limits.

use std::fmt::Write as _;

use microgw_compiler::limits::{condition_in_words, cost_in_words, limit_in_words, sharing_in_words};
use microgw_compiler::model::{Api, Model, Operation};
use microgw_proto::limits::v1::{CustomPolicy, DenyPolicy, Limit, Policy};
use serde_json::{Value, json};

/// Below an operation's own line.
const INDENT: &str = "          ";

/// Of an operation, beside its API's.
pub fn of_operation(text: &mut String, model: &Model, operation: &Operation) {
    if let Some(policy) = operation.limit.and_then(|id| model.limit(id)) {
        policy_as_text(text, INDENT, "limit", policy);
    }
    if operation.cost.is_some() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{INDENT}costs {}", cost_in_words(operation.cost.as_ref()));
    }
}

pub fn of_api(text: &mut String, model: &Model, api: &Api) {
    if let Some(policy) = api.limit.and_then(|id| model.limit(id)) {
        policy_as_text(text, "  ", "limit of the whole API", policy);
    }
}

/// What applies to callers, whatever they call.
pub fn of_callers(text: &mut String, model: &Model) {
    let tiers = &model.tiers;
    let sections = [("application", &tiers.applications), ("subscription", &tiers.subscriptions)]
        .map(|(kind, policies)| policies.iter().map(move |policy| (format!("{kind} tier"), policy)));
    let mut lines = String::new();
    for (what, policy) in sections.into_iter().flatten() {
        policy_as_text(&mut lines, "  ", &what, policy);
    }
    for CustomPolicy { policy, key, when } in &tiers.custom {
        let when = when.as_ref().map(|when| format!(", when {}", condition_in_words(when))).unwrap_or_default();
        policy_as_text(&mut lines, "  ", &format!("by {key}{when}"), &policy.clone().unwrap_or_default());
    }
    for deny in &tiers.deny {
        let _ = writeln!(lines, "  denied {}: {}", deny.name, denied(deny));
    }
    let unknown = [("application", &tiers.unknown_application), ("subscription", &tiers.unknown_subscription)];
    for (kind, name) in unknown.into_iter().filter(|(_, name)| !name.is_empty()) {
        let _ = writeln!(lines, "  an unknown {kind} tier counts as {name}");
    }
    if !lines.is_empty() {
        let _ = write!(text, "\nlimits of callers\n{lines}");
    }
}

/// All that applies to an operation whoever calls it, in the order in which it is looked at.
pub fn of_operation_as_json(model: &Model, api: &Api, operation: &Operation) -> Value {
    let levels = [("api", api.limit), ("resource", operation.limit)];
    let limits = levels.into_iter().filter_map(|(level, id)| Some(policy_as_json(level, model.limit(id?)?)));
    limits.collect()
}

pub fn cost_as_json(operation: &Operation) -> Value {
    json!(cost_in_words(operation.cost.as_ref()))
}

pub fn of_callers_as_json(model: &Model) -> Value {
    let tiers = &model.tiers;
    let section = |level, policies: &[Policy]| policies.iter().map(|policy| policy_as_json(level, policy)).collect();
    let applications: Vec<Value> = section("application", &tiers.applications);
    let subscriptions: Vec<Value> = section("subscription", &tiers.subscriptions);
    let custom = tiers.custom.iter().map(|CustomPolicy { policy, key, when }| {
        let mut shown = policy_as_json("custom", &policy.clone().unwrap_or_default());
        if let Some(members) = shown.as_object_mut() {
            members.insert("key".to_owned(), json!(key));
            members.insert("when".to_owned(), json!(when.as_ref().map(condition_in_words)));
        }
        shown
    });
    let deny = tiers.deny.iter().map(|deny| json!({ "name": deny.name, "denied": denied(deny) }));
    let given = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    json!({
        "applications": applications,
        "subscriptions": subscriptions,
        "custom": custom.collect::<Vec<_>>(),
        "deny": deny.collect::<Vec<_>>(),
        "unknownTier": {
            "application": given(&tiers.unknown_application),
            "subscription": given(&tiers.unknown_subscription),
        },
    })
}

fn policy_as_text(text: &mut String, indent: &str, what: &str, policy: &Policy) {
    let _ = write!(text, "{indent}{what}: {}", policy.name);
    if !policy.limits.is_empty() {
        let _ = write!(text, ": {}", in_words(&policy.limits));
    }
    let marks = policy.pass_beyond_quota.then(|| "lets through what is beyond".to_owned());
    for more in marks.into_iter().chain(sharing_in_words(policy.sharing.as_ref())) {
        let _ = write!(text, "; {more}");
    }
    text.push('\n');
    for group in &policy.groups {
        let when = group.when.as_ref().map(condition_in_words).unwrap_or_default();
        let limits = in_words(&group.limits);
        let _ = writeln!(text, "{indent}  but {limits}, when {when} ({})", group.name);
    }
}

fn policy_as_json(level: &str, policy: &Policy) -> Value {
    let words = |limits: &[Limit]| limits.iter().map(limit_in_words).collect::<Vec<_>>();
    let groups = policy.groups.iter().map(|group| {
        json!({
            "name": group.name,
            "when": group.when.as_ref().map(condition_in_words),
            "limits": words(&group.limits),
        })
    });
    json!({
        "level": level,
        "policy": policy.name,
        "limits": words(&policy.limits),
        "conditions": groups.collect::<Vec<_>>(),
        "stopOnQuota": !policy.pass_beyond_quota,
        "shared": sharing_in_words(policy.sharing.as_ref()),
    })
}

fn in_words(limits: &[Limit]) -> String {
    limits.iter().map(limit_in_words).collect::<Vec<_>>().join(", and ")
}

fn denied(deny: &DenyPolicy) -> String {
    let named = [("API", &deny.api), ("application", &deny.application), ("user", &deny.user)];
    let named = named.into_iter().filter(|(_, name)| !name.is_empty()).map(|(kind, name)| format!("{kind} {name}"));
    named.chain(deny.when.as_ref().map(condition_in_words)).collect::<Vec<_>>().join(" and ")
}
