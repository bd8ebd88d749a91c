//! `[redis]`: where it is. What it is used for is set elsewhere; limits that gateways share are kept there, too, unless
//! `[throttlingConfig.redis]` says where else.

use std::time::Duration;

use microgw_extproc::keys::is_loopback;
use microgw_extproc::redis::Place;
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::users::Secret;
use super::values::Values;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Name or IP address, without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub database: u32,
    pub user: Option<Secret>,
    pub password: Option<Secret>,
    pub timeout: Duration,
    pub prefix: String,
}

const URL: &str = "redis.url";
const PREFIX: &str = "redis.keyPrefix";
pub const PORT: u16 = 6379;

/// `None` also where a problem leaves nothing to go on with.
pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Redis> {
    let url = values.text(URL);
    if url.is_empty() {
        for member in values.members("redis").into_iter().filter(|member| *member != "url") {
            let path = format!("redis.{member}");
            let message = format!("`{path}` has no effect without `{URL}`");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&path), message));
        }
        return None;
    }
    let prefix = values.text(PREFIX);
    if !is_prefix(&prefix) {
        let message = format!("`{PREFIX}` must be of letters, digits, `-`, `_`, `.` and `:`");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(PREFIX), message));
    }
    let secret = |path: &str| Some(values.text(path)).filter(|text| !text.is_empty()).map(Secret::new);
    let (user, password) = (secret("redis.username"), secret("redis.password"));
    if user.is_some() && password.is_none() {
        let message = "`redis.username` needs `redis.password`";
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin("redis.username"), message));
    }
    match place(&url, values.bool("redis.allowInsecure"), PORT) {
        Ok((host, port, tls, database)) => {
            let timeout = Duration::from_millis(values.number("redis.timeout"));
            Some(Redis { host, port, tls, database, user, password, timeout, prefix })
        }
        // Not the URL itself: it may have a password in it.
        Err(reason) => {
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(URL), format!("`{URL}` {reason}")));
            None
        }
    }
}

/// A brace would make it a hash tag of Redis Cluster, and the rest is for people to type.
pub fn is_prefix(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Host, port, whether by TLS, and database. `port`: where the URL has none.
pub fn place(text: &str, allow_insecure: bool, port: u16) -> Result<(String, u16, bool, u32), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let tls = match url.scheme() {
        "rediss" => true,
        "redis" if allow_insecure || is_loopback(&url) => false,
        "redis" => {
            return Err(
                "is `redis:` to another host: whoever is on the way could read and change what is kept there. Use `rediss:`, or set `redis.allowInsecure = true`",
            );
        }
        _ => return Err("must be `rediss://HOST:PORT/DATABASE` or `redis://HOST:PORT/DATABASE`"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it: they are `redis.username` and `redis.password`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has more in it than a host, a port and the number of a database");
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err("names no host");
    }
    let database = match url.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| "ends in what is not the number of a database")?,
    };
    Ok((host, url.port().unwrap_or(port), tls, database))
}

// === impl Redis ===

impl From<&Redis> for Place {
    fn from(redis: &Redis) -> Place {
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        Place {
            host: redis.host.clone(),
            port: redis.port,
            tls: redis.tls,
            database: redis.database,
            user: exposed(&redis.user),
            password: exposed(&redis.password),
            timeout: redis.timeout,
            prefix: redis.prefix.clone(),
        }
    }
}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
