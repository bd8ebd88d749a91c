//! One policy: its limits, the groups of requests that have others, and how gateways count together.

use std::collections::HashSet;

use microgw_proto::limits::v1::{Group, Limit, Policy, Sharing, sharing};

use super::{Declared, DeclaredGroup, bad, condition, known_keys, limit};
use crate::compile::Report;
use crate::definition::{boolean, list, object, one_of, scalar, text};
use crate::limits::MAX_GROUPS;
use crate::source::{Content, Value};

pub(super) const KEYS: &[&str] = &["limits", "stopOnQuota", "shared", "maxUndershoot", "onStoreFailure"];
/// What it says of groups, where there can be any.
pub(super) const GROUPS: &[&str] = &["conditions"];

const GROUP_KEYS: &[&str] = &["name", "when", "limits"];
const SHARED: &[&str] = &["local", "leased", "exact"];
const FAILURES: &[&str] = &["local", "deny", "allow"];
/// 1 %.
const DEFAULT_UNDERSHOOT: u32 = 10;

/// What the policy that `key` names says. What is wrong in it has been reported.
pub(super) fn read(report: &mut Report, key: Value<'_>, at: Value<'_>) -> Declared {
    let name = key.text();
    let limits = limit::limits(report, name, at);
    let groups = at.get("conditions").map(|groups| self::groups(report, name, groups)).unwrap_or_default();
    let says = |key: Value<'_>| ["limits", "conditions"].contains(&key.text()) || limit::KEYS.contains(&key.text());
    if !at.entries().any(|(key, _)| says(key)) {
        bad(report, at, format!("the policy `{name}` limits nothing: it needs `count`, `unitTime` and `timeUnit`"));
    }
    let stops = at.get("stopOnQuota").and_then(|stop| boolean(report, "stopOnQuota", stop)).unwrap_or(true);
    let places = limits.iter().map(|(_, at)| at.place()).collect();
    let (groups, declared): (Vec<Group>, Vec<DeclaredGroup>) = groups.into_iter().unzip();
    Declared {
        policy: Policy {
            name: name.to_owned(),
            limits: limits.into_iter().map(|(limit, _)| limit).collect(),
            groups,
            pass_beyond_quota: !stops,
            sharing: sharing(report, at),
        },
        at: key.place(),
        limits: places,
        groups: declared,
        id: None,
    }
}

fn groups(report: &mut Report, policy: &str, at: Value<'_>) -> Vec<(Group, DeclaredGroup)> {
    let items: Vec<Value<'_>> = list(report, "conditions", at).into_iter().flat_map(Value::items).collect();
    if items.is_empty() && matches!(at.content(), Content::List) {
        bad(report, at, format!("`conditions` of `{policy}` is empty"));
    }
    if items.len() > MAX_GROUPS {
        bad(report, at, format!("`{policy}` has more than {MAX_GROUPS} groups"));
    }
    let mut seen = HashSet::new();
    let mut read = |item| {
        let item = object(report, "conditions", item)?;
        known_keys(report, "conditions", item, &[GROUP_KEYS, limit::KEYS]);
        let Some(name_at) = item.get("name") else {
            bad(report, item, format!("a group of `{policy}` has no `name`"));
            return None;
        };
        let name = scalar(report, "name", name_at)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            bad(report, name_at, "a group's `name` is empty or has control characters");
        }
        if !seen.insert(name) {
            bad(report, name_at, format!("`{policy}` has the group `{name}` twice"));
        }
        let limits: Vec<(Limit, Value<'_>)> = limit::limits(report, name, item);
        if limits.is_empty() && item.get("limits").is_none() {
            bad(report, item, format!("the group `{name}` of `{policy}` has no limit"));
        }
        let Some(when) = item.get("when") else {
            bad(report, item, format!("the group `{name}` of `{policy}` has no `when`"));
            return None;
        };
        let condition = condition::when(report, when)?;
        let declared = DeclaredGroup { when: when.place(), limits: limits.iter().map(|(_, at)| at.place()).collect() };
        let limits = limits.into_iter().map(|(limit, _)| limit).collect();
        Some((Group { name: name.to_owned(), when: Some(condition), limits }, declared))
    };
    items.into_iter().filter_map(&mut read).collect()
}

/// `None`: each gateway counts by itself.
fn sharing(report: &mut Report, owner: Value<'_>) -> Option<Sharing> {
    let shared = match owner.get("shared") {
        None => "local",
        Some(shared) => one_of(report, "shared", shared, SHARED)?,
    };
    let undershoot = owner.entry("maxUndershoot");
    let failure = owner.entry("onStoreFailure");
    if let Some((key, _)) = undershoot.filter(|_| shared != "leased") {
        bad(report, key, "`maxUndershoot` has a meaning with `shared: leased` only");
    }
    if let Some((key, _)) = failure.filter(|_| shared == "local") {
        bad(report, key, "`onStoreFailure` has a meaning with `shared: leased` and `shared: exact` only");
    }
    let permille = undershoot.map_or(Some(DEFAULT_UNDERSHOOT), |(_, value)| self::undershoot(report, value));
    let failure = failure.map_or(Some("local"), |(_, value)| one_of(report, "onStoreFailure", value, FAILURES));
    let failure = match failure? {
        "deny" => sharing::Failure::Deny,
        "allow" => sharing::Failure::Allow,
        _ => sharing::Failure::Part,
    };
    let mode = match shared {
        "leased" => sharing::Mode::Leased,
        "exact" => sharing::Mode::Exact,
        _ => return None,
    };
    let leased = mode == sharing::Mode::Leased;
    Some(Sharing {
        mode: mode.into(),
        max_undershoot_permille: if leased { permille? } else { 0 },
        on_failure: failure.into(),
    })
}

/// `1 %`, `0.5 %`: in thousandths.
fn undershoot(report: &mut Report, at: Value<'_>) -> Option<u32> {
    let written = text(report, "maxUndershoot", at)?;
    let permille = written.strip_suffix('%').and_then(|number| {
        let (whole, tenths) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
        let tenths = tenths.parse::<u32>().ok().filter(|_| tenths.len() == 1)?;
        whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(tenths)
    });
    let permille = permille.filter(|permille| (1..=500).contains(permille));
    if permille.is_none() {
        bad(report, at, format!("`maxUndershoot` must be from `0.1 %` to `50 %`, not `{written}`"));
    }
    permille
}
