//! `canary`: other URLs for some of the requests.

use super::urls;
use crate::compile::Report;
use crate::definition::fields::{object, text};
use crate::definition::shape::{Words, unknown_key};
use crate::diagnostic::Code;
use crate::model::Canary;
use crate::source::{Content, Value};
use crate::traffic::destination::{ALL_REQUESTS, is_canary_header, is_value};

const KEYS: [&str; 3] = ["urls", "percent", "header"];

pub(super) fn read(report: &mut Report, at: Value<'_>) -> Option<Canary> {
    let canary = object(report, "canary", at)?;
    for (key, _) in canary.entries().filter(|(key, _)| !KEYS.contains(&key.text())) {
        unknown_key(report, Words::Own, "canary", key, KEYS);
    }
    let written = urls::read(report, "canary", canary)?;
    let targets = urls::together(report, &written, false);
    let share = canary.get("percent").map_or(Some(0), |at| percent(report, at));
    let header = match canary.get("header") {
        None => None,
        Some(at) => Some(header(report, at)?),
    };
    let share = share?;
    if share == 0 && header.is_none() {
        report.advise(
            Code::BadValue,
            canary,
            "no request would reach the canary",
            "give it a `percent` of the requests, or a `header` that chooses it",
        );
        return None;
    }
    Some(Canary { targets: targets?, share, header })
}

/// In hundredths.
fn percent(report: &mut Report, at: Value<'_>) -> Option<u32> {
    let Content::Number(written) = at.content() else {
        report.say(Code::WrongType, at, format!("`percent` must be a number, not {}", at.type_name()));
        return None;
    };
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    let share = (!whole.is_empty() && whole.len() <= 3 && digits(whole) && fraction.len() <= 2 && digits(fraction))
        .then(|| format!("{whole}{fraction:0<2}").parse::<u32>().ok())
        .flatten()
        .filter(|share| *share <= ALL_REQUESTS);
    if share.is_none() {
        let message =
            format!("`percent` must be from 0 to 100, with two digits after the point at most, not {written}");
        report.say(Code::BadValue, at, message);
    }
    share
}

/// Its name, and its value or any.
fn header(report: &mut Report, at: Value<'_>) -> Option<(String, Option<String>)> {
    let header = object(report, "header", at)?;
    for (key, _) in header.entries().filter(|(key, _)| !["name", "value"].contains(&key.text())) {
        unknown_key(report, Words::Own, "header", key, ["name", "value"]);
    }
    let Some(name_at) = header.get("name") else {
        report.say(Code::BadValue, header, "`header` has no `name`");
        return None;
    };
    let name = text(report, "name", name_at)?.to_ascii_lowercase();
    if !is_canary_header(&name) {
        let message = format!("`{name}` is no header by which clients can choose a canary");
        report.say(Code::BadHeaderName, name_at, message);
        return None;
    }
    let Some(value_at) = header.get("value") else { return Some((name, None)) };
    let value = text(report, "value", value_at)?;
    if !is_value(value) {
        report.say(Code::BadValue, value_at, "`value` is empty, or cannot stand in a header");
        return None;
    }
    Some((name, Some(value.to_owned())))
}
