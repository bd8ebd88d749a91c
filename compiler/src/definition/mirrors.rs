//! Copies of requests: `x-microgw-mirror`.

use microgw_proto::traffic::v1::Mirror;

use super::EndpointTable;
use super::endpoints::{self, Declared, Named};
use super::fields::{object, text};
use super::servers::{self, Address};
use super::shape::{Words, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::Endpoint;
use crate::source::{Content, Value};
use crate::traffic::mirror::{MAX_MIRRORS, WHOLE, has_one_scheme};

pub(super) const MIRROR: &str = "x-microgw-mirror";
const KEYS: [&str; 3] = ["url", "endpoint", "percent"];

/// The mirrors that an operation or an API declares: an object, or a list of them.
pub(super) fn read<'d>(
    report: &mut Report,
    table: &mut EndpointTable,
    named: &Named<'d>,
    owner: Value<'d>,
) -> Option<Vec<(Mirror, Value<'d>)>> {
    let at = owner.get(MIRROR)?;
    let declared: Vec<Value<'d>> = match at.content() {
        Content::List => at.items().collect(),
        _ => vec![at],
    };
    if declared.len() > MAX_MIRRORS {
        report.say(Code::BadMirror, at, format!("`{MIRROR}` names more than {MAX_MIRRORS} mirrors"));
    }
    let mirrors = declared.into_iter().take(MAX_MIRRORS);
    Some(mirrors.filter_map(|mirror| Some((one(report, table, named, mirror)?, mirror))).collect())
}

fn one<'d>(report: &mut Report, table: &mut EndpointTable, named: &Named<'d>, at: Value<'d>) -> Option<Mirror> {
    let mirror = object(report, MIRROR, at)?;
    for (key, _) in mirror.entries().filter(|(key, _)| !KEYS.contains(&key.text())) {
        unknown_key(report, Words::Own, MIRROR, key, KEYS);
    }
    let share = match mirror.get("percent") {
        None => WHOLE,
        Some(percent) => share(report, percent)?,
    };
    let endpoint = match (mirror.get("url"), mirror.get("endpoint")) {
        (Some(url), None) => {
            let written = text(report, "url", url)?;
            match servers::absolute(report, url, written) {
                Address::Absolute(url) => Endpoint::of(vec![url]),
                Address::Relative(_) | Address::Broken => return None,
            }
        }
        (None, Some(_)) => match endpoints::from_extension(report, mirror, "endpoint", named, "") {
            Declared::Endpoint(endpoint) => (*endpoint).clone(),
            Declared::Nothing | Declared::Broken => return None,
        },
        _ => {
            report.say(Code::BadMirror, at, format!("`{MIRROR}` needs either `url` or `endpoint`"));
            return None;
        }
    };
    if endpoint.canary.is_some() {
        report.say(Code::BadMirror, at, "a mirror has no canary: its copies all go one way");
        return None;
    }
    if !has_one_scheme(&endpoint) {
        report.say(Code::BadMirror, at, "the URLs of a mirror are either all `http` or all `https`");
        return None;
    }
    Some(Mirror { endpoint: table.id(&endpoint).0 + 1, share })
}

/// Of 10,000 requests.
fn share(report: &mut Report, at: Value<'_>) -> Option<u32> {
    let percent = match at.content() {
        Content::Number(number) => number.parse::<f64>().ok(),
        _ => None,
    };
    let share = percent.map(|percent| percent * 100.0).filter(|share| (1.0..=f64::from(WHOLE)).contains(share));
    let Some(share) = share else {
        report.say(Code::BadValue, at, "`percent` must be a number from 0.01 to 100");
        return None;
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is from 1 to 10,000
    Some(share.round() as u32)
}
