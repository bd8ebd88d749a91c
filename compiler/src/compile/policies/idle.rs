//! What is declared of limits and has no effect. Only what is certain is told.

use std::collections::{BTreeMap, HashSet};

use microgw_proto::limits::v1::{
    AddressRange, Condition, DenyPolicy, Limit, Policy, condition::Kind, cost, limit::Unit, limit::Window,
};

use super::{Declared, Policies};
use crate::compile::Report;
use crate::definition::Definition;
use crate::diagnostic::{Code, Diagnostic, LineColumn, Place, Severity};
use crate::limits::{DEFAULT, UNAUTHENTICATED, UNLIMITED, inside, is_comparable, is_idle, limit_in_words};
use crate::model::{Access, Api, LimitId, Operation, Position, Requirement};

// === impl Policies ===

impl Policies {
    /// Reports limits that are never reached, policies that never apply, and requests that never pass. `files` are the names of
    /// the definitions' files.
    pub(in crate::compile) fn report_idle(&self, definitions: &[Definition], files: &[String], report: &mut Report) {
        let idle = Idle { policies: self, files };
        for declared in idle.declared() {
            within(declared, report);
        }
        for definition in definitions {
            idle.below_api(&definition.api, report);
            idle.costs(&definition.api, report);
        }
        idle.denials(definitions, report);
        idle.versions(definitions, report);
        idle.names(definitions, report);
    }
}

struct Idle<'a> {
    policies: &'a Policies,
    files: &'a [String],
}

/// A limit of operations that another of their API is reached before.
struct Below<'a> {
    /// One of them.
    first: Position,
    operations: usize,
    policy: &'a Policy,
    limit: &'a Limit,
    other: &'a Limit,
}

// === impl Idle ===

impl<'a> Idle<'a> {
    fn declared(&self) -> impl Iterator<Item = &'a Declared> + use<'a> {
        let Policies { resource, applications, subscriptions, custom, .. } = self.policies;
        let custom = custom.iter().map(|custom| &custom.declared);
        resource.values().chain(applications).chain(subscriptions).chain(custom)
    }

    fn used(&self, id: Option<LimitId>) -> Option<&'a Policy> {
        self.policies.used.get(id?.0 as usize)
    }

    fn place(&self, Position { file, line, column }: Position) -> Place {
        let file = self.files.get(file as usize).map_or("", String::as_str);
        Place::point(file, LineColumn { line, column })
    }

    /// Where the tier of what is at `source` is named.
    fn tier(&self, source: Position) -> Place {
        self.policies.tiers.get(&source).cloned().unwrap_or_else(|| self.place(source))
    }

    /// Operations' limits that their API's are reached before. Once for each policy.
    fn below_api(&self, api: &Api, report: &mut Report) {
        let Some(of_api) = self.used(api.limit).filter(|policy| always_stops(policy)) else { return };
        let mut found: BTreeMap<(u32, usize), Below<'_>> = BTreeMap::new();
        for operation in &api.operations {
            let Some((id, policy)) = operation.limit.zip(self.used(operation.limit)) else { continue };
            if policy.sharing != of_api.sharing {
                continue;
            }
            let limits = policy.limits.iter().chain(policy.groups.iter().flat_map(|group| &group.limits));
            for (index, limit) in limits.enumerate() {
                if let Some(other) = of_api.limits.iter().find(|other| is_idle(limit, other)) {
                    let below = Below { first: operation.source, operations: 0, policy, limit, other };
                    found.entry((id.0, index)).or_insert(below).operations += 1;
                }
            }
        }
        for Below { first, operations, policy, limit, other } in found.into_values() {
            let others = match operations {
                1 => String::new(),
                2 => ", here and on another operation".to_owned(),
                count => format!(", here and on {} other operations", count - 1),
            };
            let message = format!(
                "the limit of `{}` ({}) is never reached{others}: `{}` of the whole API ({}) is reached first",
                policy.name,
                limit_in_words(limit),
                of_api.name,
                limit_in_words(other)
            );
            report.add(
                Diagnostic::new(Code::IdleLimit, self.tier(first), message)
                    .related(self.tier(api.source), "the API's limit")
                    .help("both apply: give the API a higher limit, or leave the operation's out"),
            );
        }
    }

    /// Operations whose requests are too much for a limit at once, and costs that nothing counts.
    fn costs(&self, api: &Api, report: &mut Report) {
        let Policies { applications, subscriptions, custom, .. } = self.policies;
        let callers = !applications.is_empty() || !subscriptions.is_empty() || !custom.is_empty();
        let mut said = HashSet::new();
        for operation in &api.operations {
            let own = self.policies.costs.get(&operation.source);
            let Some(at) = own.or_else(|| self.policies.costs.get(&api.source)) else { continue };
            if api.limit.is_none() && operation.limit.is_none() && !callers && own.is_some() {
                let message = "what a request costs has no effect: nothing limits this operation";
                report.add(Diagnostic::new(Code::IdlePolicy, at.clone(), message));
            }
            let Some(cost::Kind::Constant(cost)) = operation.cost.as_ref().and_then(|cost| cost.kind.as_ref()) else {
                continue;
            };
            for (id, source) in [(api.limit, api.source), (operation.limit, operation.source)] {
                let Some(policy) = self.used(id) else { continue };
                for (limit, always) in too_small(policy, *cost) {
                    let certain =
                        if always { "no request is ever let through" } else { "some requests never are let through" };
                    if !said.insert((at.clone(), policy.name.as_str())) {
                        continue;
                    }
                    let message =
                        format!("a request costs {cost}, and `{}` admits {}: {certain}", policy.name, at_once(limit));
                    let mut diagnostic = Diagnostic::new(Code::TooCostly, at.clone(), message)
                        .related(self.tier(source), "the limit that applies");
                    if !always {
                        diagnostic.severity = Severity::Warning;
                    }
                    report.add(diagnostic);
                }
            }
            // Where nothing is known of a caller, no tier is.
            let applies = |name: &str| match operation.access {
                Access::Public => name == UNAUTHENTICATED,
                Access::Guarded(_) => name != UNAUTHENTICATED || admits_nobody(operation),
            };
            let of_applications = applications.iter().filter(|_| operation.access != Access::Public);
            let of_subscriptions = subscriptions.iter().filter(|declared| applies(&declared.policy.name));
            for declared in of_applications.chain(of_subscriptions) {
                let policy = &declared.policy;
                let Some((limit, _)) = too_small(policy, *cost).next() else { continue };
                if !said.insert((at.clone(), policy.name.as_str())) {
                    continue;
                }
                let message = format!(
                    "a request costs {cost}, and `{}` admits {}: callers of that tier are never let through",
                    policy.name,
                    at_once(limit)
                );
                let mut diagnostic =
                    Diagnostic::new(Code::TooCostly, at.clone(), message).related(declared.at.clone(), "the tier");
                diagnostic.severity = Severity::Warning;
                report.add(diagnostic);
            }
        }
    }

    /// Deny policies that refuse what another refuses, or nothing.
    fn denials(&self, definitions: &[Definition], report: &mut Report) {
        let deny = &self.policies.deny;
        for (index, denied) in deny.iter().enumerate() {
            // Of two that are the same, the later one is named.
            let covering = deny.iter().enumerate().find(|(other, covering)| {
                *other != index
                    && covers(&covering.deny, &denied.deny)
                    && (*other < index || !covers(&denied.deny, &covering.deny))
            });
            if let Some((_, covering)) = covering {
                let message =
                    format!("`{}` has no effect: `{}` refuses all that it does", denied.deny.name, covering.deny.name);
                report.add(
                    Diagnostic::new(Code::IdlePolicy, denied.at.clone(), message)
                        .related(covering.at.clone(), "the other one"),
                );
            }
            let known = definitions.iter().any(|definition| is_api(&denied.deny.api, &definition.api));
            if let Some(at) = denied.api.as_ref().filter(|_| !known) {
                let message = format!("`{}` has no effect: no API is `{}`", denied.deny.name, denied.deny.api);
                report.add(Diagnostic::new(Code::IdlePolicy, at.clone(), message).help("write `/context/version`"));
            }
        }
    }

    /// Groups that ask for a version that no API has.
    fn versions(&self, definitions: &[Definition], report: &mut Report) {
        let known: HashSet<&str> = definitions.iter().map(|definition| definition.api.version.as_str()).collect();
        let Policies { custom, deny, .. } = self.policies;
        let groups = self.declared().flat_map(|declared| {
            let parts = declared.policy.groups.iter().zip(&declared.groups);
            parts.filter_map(|(group, at)| Some((group.name.as_str(), group.when.as_ref()?, &at.when)))
        });
        let customs = custom.iter().filter_map(|custom| {
            let name = custom.declared.policy.name.as_str();
            Some((name, custom.custom.when.as_ref()?, &custom.declared.at))
        });
        let denials =
            deny.iter().filter_map(|deny| Some((deny.deny.name.as_str(), deny.deny.when.as_ref()?, &deny.at)));
        for (name, when, at) in groups.chain(customs).chain(denials) {
            if let Some(versions) = missing_versions(when, &known) {
                let message = format!("`{name}` has no effect: no API has the version {versions}");
                report.add(Diagnostic::new(Code::IdlePolicy, at.clone(), message));
            }
        }
    }

    /// Names that have a meaning of their own, where they cannot have it.
    fn names(&self, definitions: &[Definition], report: &mut Report) {
        for declared in self.declared().filter(|declared| declared.policy.name == UNLIMITED) {
            // Of custom policies names are nothing but names.
            if self.policies.custom.iter().any(|custom| std::ptr::eq(&raw const custom.declared, declared)) {
                continue;
            }
            let message = format!("`{UNLIMITED}` is built in and limits nothing, whatever is declared");
            report.add(Diagnostic::new(Code::IdlePolicy, declared.at.clone(), message).help("give it another name"));
        }
        let operations = || definitions.iter().flat_map(|definition| &definition.api.operations);
        if operations().next().is_none() {
            return;
        }
        for declared in &self.policies.subscriptions {
            let why = match declared.policy.name.as_str() {
                UNAUTHENTICATED if !operations().any(admits_nobody) => "every operation asks for credentials",
                DEFAULT if operations().all(|operation| operation.access == Access::Public) => {
                    "every operation is public"
                }
                _ => continue,
            };
            let message = format!("`{}` limits no request: {why}", declared.policy.name);
            report.add(Diagnostic::new(Code::UnusedTier, declared.at.clone(), message));
        }
    }
}

/// Limits of one policy that others of it are reached before, and groups that ask for the same.
fn within(declared: &Declared, report: &mut Report) {
    let Declared { policy, limits, groups, .. } = declared;
    let lists = policy.groups.iter().zip(groups).map(|(group, at)| (&group.limits, &at.limits));
    let stops = !policy.pass_beyond_quota && is_comparable(policy.sharing.as_ref());
    for (list, places) in [(&policy.limits, limits)].into_iter().chain(lists).filter(|_| stops) {
        for (index, (limit, at)) in list.iter().zip(places).enumerate() {
            // Of two that are the same, the later one is named.
            let other = list.iter().zip(places).enumerate().find(|(other_index, (other, _))| {
                *other_index != index && is_idle(limit, other) && (*other_index < index || !is_idle(other, limit))
            });
            if let Some((_, (other, other_at))) = other {
                let message = format!(
                    "the limit of {} is never reached: {} is reached first",
                    limit_in_words(limit),
                    limit_in_words(other)
                );
                report.add(
                    Diagnostic::new(Code::IdleLimit, at.clone(), message).related(other_at.clone(), "the other one"),
                );
            }
        }
    }
    for (index, (group, at)) in policy.groups.iter().zip(groups).enumerate() {
        let mut before = policy.groups.iter().zip(groups).take(index);
        if let Some((other, other_at)) = before.find(|(other, _)| other.when == group.when) {
            let message = format!(
                "the group `{}` asks for the same as `{}`: the limits of both apply, to the same requests",
                group.name, other.name
            );
            report.add(
                Diagnostic::new(Code::IdlePolicy, at.when.clone(), message)
                    .related(other_at.when.clone(), "the other one")
                    .help("make one group of them"),
            );
        }
    }
}

/// Nothing beyond its limits passes, whatever the request.
fn always_stops(policy: &Policy) -> bool {
    !policy.pass_beyond_quota && policy.groups.is_empty() && is_comparable(policy.sharing.as_ref())
}

/// Limits that never admit a request of that cost, and whether they apply to every request.
fn too_small(policy: &Policy, cost: u64) -> impl Iterator<Item = (&Limit, bool)> {
    let always = policy.groups.is_empty();
    let groups = policy.groups.iter().flat_map(|group| &group.limits).map(|limit| (limit, false));
    let limits = policy.limits.iter().map(move |limit| (limit, always)).chain(groups);
    limits.filter(move |(limit, _)| {
        !policy.pass_beyond_quota && limit.unit() == Unit::Requests && most_at_once(limit) < cost
    })
}

fn most_at_once(limit: &Limit) -> u64 {
    match &limit.window {
        Some(Window::Burst(burst)) => burst.burst,
        _ => limit.quota,
    }
}

fn at_once(limit: &Limit) -> String {
    match &limit.window {
        Some(Window::Burst(burst)) => format!("{} at once", burst.burst),
        _ => limit_in_words(limit),
    }
}

/// Whether all that `other` refuses is refused by `deny`.
fn covers(deny: &DenyPolicy, other: &DenyPolicy) -> bool {
    let wider = |own: &str, other: &str| own.is_empty() || own == other;
    let when = match (&deny.when, &other.when) {
        (None, _) => true,
        (Some(own), Some(other)) => own == other || contains(own, other),
        (Some(_), None) => false,
    };
    wider(&deny.api, &other.api)
        && wider(&deny.application, &other.application)
        && wider(&deny.user, &other.user)
        && when
}

/// Whether addresses are all within others.
fn contains(own: &Condition, other: &Condition) -> bool {
    let (Some(Kind::Addresses(own)), Some(Kind::Addresses(other))) = (&own.kind, &other.kind) else { return false };
    let within = |inner: &AddressRange, outer: &AddressRange| {
        inner.first.len() == outer.first.len() && outer.first <= inner.first && inner.last <= outer.last
    };
    other.ranges.iter().all(|inner| own.ranges.iter().any(|outer| within(inner, outer)))
}

/// Whether a deny policy's `/context/version` is that API's.
fn is_api(named: &str, api: &Api) -> bool {
    let (base, named) = (api.base_path.trim_end_matches('/'), named.trim_end_matches('/'));
    let versioned = named.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) == Some(api.version.as_str());
    versioned || base.rsplit('/').next() == Some(api.version.as_str()) && named == base
}

/// The versions that a condition asks for, if it cannot be met without one that no API has.
fn missing_versions(when: &Condition, known: &HashSet<&str>) -> Option<String> {
    match &when.kind {
        Some(Kind::Versions(names)) => {
            let missing = !names.names.iter().any(|name| known.contains(name.as_str()));
            missing.then(|| names.names.join(" or "))
        }
        Some(Kind::All(_)) => inside(when).iter().find_map(|inner| missing_versions(inner, known)),
        _ => None,
    }
}

/// Whether requests that say nothing of a caller are served.
fn admits_nobody(operation: &Operation) -> bool {
    let optional = |requirement: &Requirement| matches!(requirement, Requirement::ClientCertificate { optional: true });
    match &operation.access {
        Access::Public => true,
        Access::Guarded(alternatives) => alternatives.iter().any(|alternative| alternative.0.iter().all(optional)),
    }
}
