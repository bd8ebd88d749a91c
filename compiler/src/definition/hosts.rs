//! `x-microgw-hosts`: which `Host`s an API answers to.

use super::fields::{list, text};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::hosts::{self, HostError};
use crate::source::Value;

const KEY: &str = "x-microgw-hosts";

/// Sorted. Empty: all.
pub(super) fn read(report: &mut Report, root: Value<'_>) -> Vec<String> {
    let Some(listed) = root.get(KEY).and_then(|value| list(report, KEY, value)) else { return Vec::new() };
    let mut found = Vec::new();
    for at in listed.items() {
        let Some(written) = text(report, KEY, at) else { continue };
        match hosts::parse(written) {
            Ok(host) if found.contains(&host) => {
                report.say(Code::BadHost, at, format!("`{host}` is listed twice"));
            }
            Ok(host) => found.push(host),
            Err(error) => {
                // It is not for every host: whether others have its base path is another question.
                found.push(written.to_owned());
                let message = format!("`{}` is no host: {error}", written.escape_debug());
                match error {
                    HostError::Port => report.advise(Code::BadHost, at, message, "name the host alone"),
                    HostError::International => {
                        report.advise(Code::BadHost, at, message, "write it as clients send it: `xn--...`");
                    }
                    HostError::Wildcard => {
                        report.advise(
                            Code::BadHost,
                            at,
                            message,
                            format!("without `{KEY}` an API answers to every host"),
                        );
                    }
                    HostError::Malformed => report.say(Code::BadHost, at, message),
                }
            }
        }
    }
    if listed.items().next().is_none() {
        report.say(Code::BadHost, listed, format!("`{KEY}` is empty: nobody could reach the API"));
    }
    if found.len() > hosts::MOST {
        report.say(Code::BadHost, listed, format!("`{KEY}` has {} hosts, and may have {}", found.len(), hosts::MOST));
    }
    found.sort();
    found
}
