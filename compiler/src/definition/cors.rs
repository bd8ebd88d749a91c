//! What an API lets scripts of other origins do: `x-wso2-cors`.

use microgw_proto::traffic::v1::Cors;

use super::fields::{boolean, list, object, text};
use super::shape::{Words, integer, one_of, same_key, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::Method;
use crate::names;
use crate::source::Value;
use crate::traffic::cors::{
    self, ANY, MAX_AGE, MAX_HEADERS, MAX_ORIGINS, MAX_PATTERNS, OriginError, has_loose_dot, is_listed,
    matches_strangers,
};

const EXTENSION: &str = "x-wso2-cors";
const ENABLED: &str = "corsConfigurationEnabled";
const ORIGINS: &str = "accessControlAllowOrigins";
const PATTERNS: &str = "accessControlAllowOriginPatterns";
const METHODS: &str = "accessControlAllowMethods";
const HEADERS: &str = "accessControlAllowHeaders";
const CREDENTIALS: &str = "accessControlAllowCredentials";
const EXPOSED: &str = "accessControlExposeHeaders";
const AGE: &str = "accessControlMaxAge";
/// Each in camel, snake and kebab case.
const KEYS: [&str; 8] = [ENABLED, ORIGINS, PATTERNS, METHODS, HEADERS, CREDENTIALS, EXPOSED, AGE];

/// `None` where there is nothing of it, or it is switched off; then it is checked all the same.
pub(super) fn read(report: &mut Report, root: Value<'_>) -> Option<Cors> {
    let at = root.get(EXTENSION)?;
    let written = object(report, EXTENSION, at)?;
    for (key, _) in written.entries().filter(|(key, _)| !KEYS.iter().any(|known| same_key(known, key.text()))) {
        unknown_key(report, Words::Old, EXTENSION, key, KEYS);
    }
    let mut part = |key: &'static str| {
        let mut spelled = written.entries().filter(|(name, _)| same_key(key, name.text()));
        let value = spelled.next().map(|(_, value)| value);
        if let Some((again, _)) = spelled.next() {
            report.say(Code::BadCors, again, format!("`{key}` is there twice, in two spellings"));
        }
        value
    };
    let [enabled, origins, patterns, methods, headers, credentials, exposed, age] = KEYS.map(&mut part);
    let enabled = enabled.is_none_or(|value| boolean(report, ENABLED, value) != Some(false));
    let credentials_at = credentials;
    let credentials = credentials.is_some_and(|value| boolean(report, CREDENTIALS, value) == Some(true));
    let cors = Cors {
        origins: origins.map(|value| read_origins(report, value)).unwrap_or_default(),
        origin_patterns: patterns.map(|value| read_patterns(report, value, credentials)).unwrap_or_default(),
        methods: methods.map(|value| read_methods(report, value)).unwrap_or_default(),
        headers: headers.map(|value| read_names(report, HEADERS, value)).unwrap_or_default(),
        exposed: exposed.map(|value| read_names(report, EXPOSED, value)).unwrap_or_default(),
        credentials,
        max_age: age
            .and_then(|value| integer(report, AGE, value, 0, MAX_AGE.into()))
            .and_then(|seconds| u32::try_from(seconds).ok()),
    };
    if !enabled {
        return None;
    }
    if let Some(value) = credentials_at.filter(|_| credentials) {
        if cors.origins.iter().any(|origin| origin == ANY || origin == "null") {
            report.advise(
                Code::BadCors,
                value,
                "any site could act for whoever is logged in: credentials are allowed to every origin",
                "name the origins, or leave the credentials out",
            );
        }
        if let Some(exposed) = exposed.filter(|_| cors.exposed.iter().any(|name| name == ANY)) {
            report.advise(
                Code::BadCors,
                exposed,
                format!("with credentials browsers take `*` in `{EXPOSED}` for a header of that name"),
                "name the headers",
            );
        }
    }
    // A list of bad ones has been reported.
    if [origins, patterns].into_iter().flatten().all(|list| list.items().next().is_none()) {
        report.advise(
            Code::BadCors,
            at,
            format!("`{EXTENSION}` names no origin: nothing is allowed to any"),
            format!("add `{ORIGINS}`, or `{ENABLED}: false`"),
        );
    }
    Some(cors)
}

fn texts<'d>(report: &mut Report, key: &str, value: Value<'d>, most: usize) -> Vec<(Value<'d>, &'d str)> {
    let Some(listed) = list(report, key, value) else { return Vec::new() };
    if listed.items().count() > most {
        report.say(Code::BadCors, value, format!("`{key}` has more than {most} entries"));
        return Vec::new();
    }
    listed.items().filter_map(|item| Some((item, text(report, key, item)?))).collect()
}

fn read_origins(report: &mut Report, value: Value<'_>) -> Vec<String> {
    let listed = texts(report, ORIGINS, value, MAX_ORIGINS);
    let alone = listed.len() == 1;
    let mut origins = Vec::new();
    for (at, written) in listed {
        // Browsers send it so, whatever was typed.
        let origin = written.to_ascii_lowercase();
        match (written == ANY, cors::origin(&origin)) {
            (true, _) if !alone => {
                report.advise(Code::BadCors, at, "`*` stands among other origins", "`*` alone is every origin");
            }
            (true, _) | (false, Ok(())) => origins.push(origin),
            (false, Err(error)) => {
                let message = format!("`{written}` is no origin: {error}");
                if written.contains('*') {
                    report.advise(Code::BadCors, at, message, format!("for many origins there is `{PATTERNS}`"));
                } else {
                    report.say(Code::BadCors, at, message);
                }
            }
        }
    }
    origins.sort_unstable();
    origins.dedup();
    origins
}

fn read_patterns(report: &mut Report, value: Value<'_>, credentials: bool) -> Vec<String> {
    let mut patterns = Vec::new();
    for (at, written) in texts(report, PATTERNS, value, MAX_PATTERNS) {
        match cors::pattern(written) {
            Err(OriginError::Star) => {
                let help = format!("`{ORIGINS}: ['*']` allows any origin");
                report.advise(Code::BadCors, at, format!("`{written}` cannot be used: {}", OriginError::Star), help);
            }
            Err(error) => report.say(Code::BadCors, at, format!("`{written}` cannot be used: {error}")),
            Ok(()) if matches_strangers(written) && credentials => {
                report.advise(
                    Code::BadCors,
                    at,
                    format!("`{written}` matches origins of anybody, and credentials are allowed to them"),
                    "name the domain, up to its end, or leave the credentials out",
                );
            }
            Ok(()) => {
                if matches_strangers(written) {
                    report.say(Code::LooseOrigin, at, format!("`{written}` matches origins of anybody"));
                } else if has_loose_dot(written) {
                    let message = format!("a `.` of `{written}` stands for any character");
                    report.advise(Code::LooseOrigin, at, message, "a dot itself is `\\.`");
                }
                patterns.push(written.to_owned());
            }
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

fn read_methods(report: &mut Report, value: Value<'_>) -> Vec<String> {
    let mut methods = Vec::new();
    for (at, written) in texts(report, METHODS, value, 2 * Method::ALL.len()) {
        match Method::parse(written) {
            _ if written == ANY => methods.extend(Method::ALL),
            Some(method) => methods.push(method),
            None => {
                let known = Method::ALL.map(Method::as_str);
                let _ = one_of(report, METHODS, at, &known);
            }
        }
    }
    methods.sort_unstable();
    methods.dedup();
    methods.into_iter().map(|method| method.as_str().to_owned()).collect()
}

/// Lower-case; `*` alone is any.
fn read_names(report: &mut Report, key: &str, value: Value<'_>) -> Vec<String> {
    let listed = texts(report, key, value, MAX_HEADERS);
    if listed.iter().any(|(_, name)| *name == ANY) {
        return vec![ANY.to_owned()];
    }
    let mut headers = Vec::new();
    for (at, written) in listed {
        match names::header(written.trim()) {
            Ok(name) if is_listed(&name) => headers.push(name),
            Ok(_) => report.say(Code::BadCors, at, format!("the header name `{written}` is too long")),
            Err(error) => report.say(Code::BadCors, at, format!("`{written}` is no header: {error}")),
        }
    }
    headers.sort_unstable();
    headers.dedup();
    headers
}
