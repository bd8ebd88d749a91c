//! The URLs of an endpoint object: each by itself, with a weight, or with where it is looked up.

use crate::compile::Report;
use crate::definition::fields::{list, object};
use crate::definition::servers::{self, Address};
use crate::definition::shape::{Words, integer, unknown_key};
use crate::diagnostic::Code;
use crate::model::{Lookup, Target};
use crate::source::{Content, Value};
use crate::traffic::destination::{MAX_TARGETS, MAX_WAYS, MAX_WEIGHT, lookup_is_sound, ways};

/// A target as it was written.
pub(super) struct Written<'d> {
    pub target: Target,
    pub at: Value<'d>,
    /// Where its weight is.
    pub weight: Option<Value<'d>>,
}

/// Those of `owner`, which `key` says what it is. Empty is reported, too.
pub(super) fn read<'d>(report: &mut Report, key: &str, owner: Value<'d>) -> Option<Vec<Written<'d>>> {
    let Some(urls) = owner.get("urls") else {
        report.say(Code::NoEndpoint, owner, format!("`{key}` has no `urls`"));
        return None;
    };
    let urls = list(report, "urls", urls)?;
    let read: Vec<Option<Written<'_>>> = urls.items().map(|item| one(report, item)).collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    if read.is_empty() {
        report.say(Code::NoEndpoint, urls, format!("the `urls` of `{key}` are empty"));
        return None;
    }
    Some(read)
}

/// Each target once. `alike`: they must agree in scheme and path.
pub(super) fn together(report: &mut Report, urls: &[Written<'_>], alike: bool) -> Option<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    let mut sound = true;
    let mut say = |code: Code, at: Value<'_>, message: String| {
        report.say(code, at, message);
        sound = false;
    };
    for Written { target, at, .. } in urls {
        let twin = targets.iter().find(|other| (&other.url, &other.lookup) == (&target.url, &target.lookup));
        match twin {
            Some(twin) if twin.weight != target.weight => {
                say(
                    Code::BadValue,
                    *at,
                    format!("the URL is there twice, with weights {} and {}", twin.weight, target.weight),
                );
            }
            Some(_) => {}
            None if alike && targets.first().is_some_and(|first| !first.url.is_like(&target.url)) => {
                let message = "URLs that fail over to each other must agree in scheme and path";
                say(Code::MixedFailover, *at, message.to_owned());
            }
            None => targets.push(target.clone()),
        }
    }
    if let Some(last) = urls.last() {
        if targets.len() > MAX_TARGETS {
            say(Code::BadValue, last.at, format!("an endpoint has {MAX_TARGETS} URLs at most, not {}", targets.len()));
        }
        let ways = ways(targets.iter().map(|target| &target.url));
        if ways > MAX_WAYS {
            let message =
                format!("the URLs of an endpoint have {MAX_WAYS} combinations of scheme and path at most, not {ways}");
            say(Code::BadValue, last.at, message);
        }
    }
    (sound && !targets.is_empty()).then_some(targets)
}

/// A URL, or an object with one.
fn one<'d>(report: &mut Report, item: Value<'d>) -> Option<Written<'d>> {
    if let Content::Text(_) = item.content() {
        return Some(Written { target: target(report, item)?, at: item, weight: None });
    }
    let weighted = object(report, "urls", item)?;
    for (key, _) in weighted.entries().filter(|(key, _)| !["url", "weight"].contains(&key.text())) {
        unknown_key(report, Words::Own, "urls", key, ["url", "weight"]);
    }
    let Some(at) = weighted.get("url") else {
        report.say(Code::NoEndpoint, weighted, "the entry of `urls` has no `url`");
        return None;
    };
    let mut target = target(report, at)?;
    let weight = weighted.get("weight");
    if let Some(weight) = weight {
        let number = integer(report, "weight", weight, 1, MAX_WEIGHT.into())?;
        target.weight = u32::try_from(number).unwrap_or(1);
    }
    Some(Written { target, at, weight })
}

/// `https://...`, or `etcd(key, default)`, `srv(name, default)`, `consul(service, default)`.
fn target(report: &mut Report, at: Value<'_>) -> Option<Target> {
    let written = crate::definition::text(report, "urls", at)?.trim();
    let looked_up = ["etcd", "srv", "consul"].into_iter().find_map(|form| {
        let arguments = written.strip_prefix(form)?.trim_start().strip_prefix('(')?;
        Some((form, arguments))
    });
    let Some((form, arguments)) = looked_up else {
        return url(report, at, written).map(Target::of);
    };
    let parts: Vec<&str> = arguments.strip_suffix(')').unwrap_or_default().split(',').map(str::trim).collect();
    let advice = format!("write `{form}({}, default URL)`", part(form));
    let [name, default] = *parts.as_slice() else {
        report.advise(Code::BadEtcd, at, format!("`{form}(...)` must have exactly two parts"), advice);
        return None;
    };
    if name.is_empty() || default.is_empty() {
        report.advise(Code::BadEtcd, at, format!("a part of `{form}(...)` is empty"), advice);
        return None;
    }
    let lookup = match form {
        "etcd" => Lookup::Etcd(name.to_owned()),
        "srv" => Lookup::Srv(name.to_ascii_lowercase()),
        _ => Lookup::Consul(name.to_owned()),
    };
    if !lookup_is_sound(&lookup) {
        report.say(Code::BadEtcd, at, format!("`{name}` is no {} that can be looked up", part(form)));
        return None;
    }
    let url = url(report, at, default)?;
    Some(Target { lookup, ..Target::of(url) })
}

fn part(form: &str) -> &'static str {
    match form {
        "etcd" => "key",
        "srv" => "name",
        _ => "service",
    }
}

fn url(report: &mut Report, at: Value<'_>, text: &str) -> Option<crate::model::BackendUrl> {
    match servers::absolute(report, at, text) {
        Address::Absolute(url) => Some(url),
        Address::Relative(_) | Address::Broken => None,
    }
}
