//! `[throttlingConfig.redis]`: where limits are counted that gateways share. Without one it is the Redis of `[redis]`.

use std::path::PathBuf;
use std::time::Duration;

use microgw_extproc::limits::store::{Address, Login, Place, Servers};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::redis::{self, Redis};
use super::values::Values;

/// Without what is read from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimits {
    pub place: Place,
    /// No fewer gateways are assumed to share it.
    pub gateways: u32,
    /// PEM, instead of the trust store.
    pub authorities: Option<PathBuf>,
    /// Chain and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

const SECTION: &str = "throttlingConfig.redis";
const SENTINEL_PORT: u16 = 26_379;
/// The three ways of saying where it is.
const PLACES: [&str; 3] = ["url", "sentinel.nodes", "cluster.nodes"];

/// `None` also where a problem leaves nothing to go on with.
pub fn read(values: &Values, main: Option<&Redis>, problems: &mut Vec<ConfigDiagnostic>) -> Option<SharedLimits> {
    let at = |key: &str| format!("{SECTION}.{key}");
    let places: Vec<&str> = PLACES.into_iter().filter(|key| !urls(values, &at(key)).is_empty()).collect();
    let gateways = values.number(&at("gateways"));
    let place = match places.as_slice() {
        [] => {
            // A place that is empty is none.
            let harmless = |member: &&str| PLACES.contains(member) || ["timeout", "gateways"].contains(member);
            for member in values.members(SECTION).into_iter().filter(|member| !harmless(member)) {
                let message = format!("`{}` has no effect without a `{}` of its own", at(member), at("url"));
                let help = "or `sentinel.nodes`, or `cluster.nodes`";
                problems
                    .push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&at(member)), message).help(help));
            }
            let place = inherited(main?, timeout(values));
            return Some(SharedLimits { place, gateways, authorities: None, identity: None });
        }
        [place] => *place,
        [first, second, ..] => {
            let message = format!("`{}` and `{}` are two places: give one", at(first), at(second));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at(second)), message));
            return None;
        }
    };
    for member in values.members(SECTION) {
        let of = PLACES.into_iter().find(|other| {
            other
                .split_once('.')
                .is_some_and(|(section, _)| member.split_once('.').is_some_and(|(own, _)| own == section))
        });
        if of.is_some_and(|of| of != place) {
            let message = format!("`{}` has no effect with `{}`", at(member), at(place));
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&at(member)), message));
        }
    }
    let (addresses, tls, numbers) = addresses(values, &at(place), place, problems)?;
    let database = database(values, place, &numbers, problems);
    let login = login(values, SECTION, problems);
    let servers = match place {
        "cluster.nodes" => Servers::Cluster(addresses),
        "sentinel.nodes" => {
            let master = values.text(&at("sentinel.master"));
            if master.is_empty() {
                let message = format!("`{}` needs `{}`, the name of the master", at(place), at("sentinel.master"));
                problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at(place)), message));
            }
            Servers::Sentinels { master, addresses, login: self::login(values, &at("sentinel"), problems) }
        }
        _ => Servers::One(addresses.into_iter().next()?),
    };
    let prefix = values.text(&at("keyPrefix"));
    if !redis::is_prefix(&prefix) {
        let message = format!("`{}` must be of letters, digits, `-`, `_`, `.` and `:`", at("keyPrefix"));
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&at("keyPrefix")), message));
    }
    let (authorities, identity) = files(values, tls, problems);
    let place = Place { servers, tls, database, login, prefix, timeout: timeout(values) };
    Some(SharedLimits { place, gateways, authorities, identity })
}

/// Of one server, or of several.
fn urls(values: &Values, path: &str) -> Vec<String> {
    let one = Some(values.text(path)).filter(|text| !text.is_empty());
    one.map_or_else(|| values.list(path), |one| vec![one])
}

fn inherited(main: &Redis, timeout: Duration) -> Place {
    let exposed = |secret: &Option<super::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    Place {
        servers: Servers::One((main.host.clone(), main.port)),
        tls: main.tls,
        database: main.database,
        login: Login { user: exposed(&main.user), password: exposed(&main.password) },
        prefix: main.prefix.clone(),
        timeout,
    }
}

fn timeout(values: &Values) -> Duration {
    Duration::from_millis(values.number(&format!("{SECTION}.timeout")))
}

/// Whether all are reached by TLS, and the databases that they name.
fn addresses(
    values: &Values,
    path: &str,
    place: &str,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<(Vec<Address>, bool, Vec<u32>)> {
    let allow_insecure = values.bool(&format!("{SECTION}.allowInsecure"));
    let port = if place == "sentinel.nodes" { SENTINEL_PORT } else { redis::PORT };
    let insecure = format!("{SECTION}.allowInsecure");
    let mut refuse = |reason: &str| {
        // Not the URL itself: it may have a password in it.
        let message = format!("`{path}` {reason}");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    };
    let (mut addresses, mut tls, mut databases) = (Vec::new(), None, Vec::new());
    for url in urls(values, path) {
        match redis::place(&url, allow_insecure, port) {
            Ok((host, port, by_tls, database)) => {
                if tls.is_some_and(|tls| tls != by_tls) {
                    refuse("has servers with TLS and without");
                    return None;
                }
                tls = Some(by_tls);
                addresses.push((host, port));
                databases.push(database);
            }
            Err(reason) => {
                refuse(&reason.replace("redis.allowInsecure", &insecure).replace("`redis.", &format!("`{SECTION}.")));
                return None;
            }
        }
    }
    Some((addresses, tls?, databases))
}

fn database(values: &Values, place: &str, named: &[u32], problems: &mut Vec<ConfigDiagnostic>) -> u32 {
    let path = format!("{SECTION}.database");
    let named = named.iter().copied().max().unwrap_or(0);
    let database = if values.is_given(&path) { values.number(&path) } else { named };
    let problem = match place {
        "url" if values.is_given(&path) && named != 0 => Some("is said twice: in the URL, and by itself"),
        "cluster.nodes" if database != 0 => Some("must be 0: a cluster has one"),
        "sentinel.nodes" if named != 0 => Some("is said by itself, and not in the URLs of Sentinels"),
        _ => None,
    };
    if let Some(problem) = problem {
        let origin = if values.is_given(&path) { values.origin(&path) } else { values.section_origin(SECTION) };
        problems.push(ConfigDiagnostic::error(Code::Conflict, &origin, format!("`{path}` {problem}")));
    }
    database
}

fn login(values: &Values, section: &str, problems: &mut Vec<ConfigDiagnostic>) -> Login {
    let text = |key: &str| Some(values.text(&format!("{section}.{key}"))).filter(|text| !text.is_empty());
    let login = Login { user: text("username"), password: text("password") };
    if login.user.is_some() && login.password.is_none() {
        let path = format!("{section}.username");
        let message = format!("`{path}` needs `{section}.password`");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&path), message));
    }
    login
}

fn files(
    values: &Values,
    tls: bool,
    problems: &mut Vec<ConfigDiagnostic>,
) -> (Option<PathBuf>, Option<(PathBuf, PathBuf)>) {
    let at = |key: &str| format!("{SECTION}.{key}");
    let (authorities, chain, key) =
        (values.path(&at("caPath")), values.path(&at("certificatePath")), values.path(&at("privateKeyPath")));
    for key in ["caPath", "certificatePath", "privateKeyPath"] {
        if !tls && values.is_given(&at(key)) {
            let message = format!("`{}` has no effect without TLS: use `rediss:`", at(key));
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&at(key)), message));
        }
    }
    let identity = match (chain, key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        (chain, _) => {
            let (given, missing) = ("certificatePath", "privateKeyPath");
            let (given, missing) = if chain.is_some() { (given, missing) } else { (missing, given) };
            let message = format!("`{}` needs `{}`", at(given), at(missing));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at(given)), message));
            None
        }
    };
    (authorities, identity)
}

#[cfg(test)]
#[path = "shared_limits_tests.rs"]
mod tests;
