//! `x-microgw-redirect`.

use microgw_proto::traffic::v1::Redirect;

use super::REDIRECT;
use crate::compile::Report;
use crate::definition::fields::{object, text};
use crate::definition::shape::{Words, unknown_key};
use crate::diagnostic::Code;
use crate::source::{Content, Value};
use crate::traffic::answer::{REDIRECTS, check_location};

const KEYS: [&str; 2] = ["to", "status"];
/// Found, for now: what is not said to be permanent is not remembered by browsers.
const STATUS: u32 = 302;

/// Of an operation at `path`.
pub(super) fn read(report: &mut Report, at: Value<'_>, path: &str) -> Option<Redirect> {
    let redirect = object(report, REDIRECT, at)?;
    for (key, _) in redirect.entries().filter(|(key, _)| !KEYS.contains(&key.text())) {
        unknown_key(report, Words::Own, REDIRECT, key, KEYS);
    }
    let status = redirect.get("status").map_or(Some(STATUS), |status| read_status(report, status));
    let Some(to) = redirect.get("to") else {
        report.advise(
            Code::BadAnswer,
            at,
            format!("`{REDIRECT}` has no `to`"),
            "name a URL, or a path on this gateway",
        );
        return None;
    };
    let location = text(report, "to", to)?;
    if let Err(error) = check_location(location) {
        let message = format!("`{location}` is no target of a redirect: {error}");
        if location.contains(['{', '}']) {
            report.advise(Code::BadAnswer, to, message, "parameters of the path are not put into it");
        } else {
            report.say(Code::BadAnswer, to, message);
        }
        return None;
    }
    if location == path {
        report.say(Code::BadAnswer, to, format!("`{location}` is the very path that is redirected"));
        return None;
    }
    Some(Redirect { status: status?, location: location.to_owned() })
}

fn read_status(report: &mut Report, at: Value<'_>) -> Option<u32> {
    let known = match at.content() {
        Content::Number(number) => number.parse().ok().filter(|status| REDIRECTS.contains(status)),
        _ => None,
    };
    if known.is_none() {
        let known = REDIRECTS.map(|status| status.to_string()).join(", ");
        report.say(Code::BadValue, at, format!("`status` of a redirect must be one of {known}"));
    }
    known
}
