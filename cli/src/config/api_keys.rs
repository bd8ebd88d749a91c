//! `[apikey]`: which API keys are accepted, which are made, and where opaque ones are kept.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

/// Where opaque API keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStore {
    File(PathBuf),
    /// That of `[redis]`.
    Redis,
}

const PATH: &str = "apikey.store.path";
const REDIS: &str = "apikey.store.redis";
const STALE_AFTER: &str = "apikey.store.staleAfter";

/// `None`: opaque keys are refused.
pub fn store(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<KeyStore> {
    let (path, redis) = (values.path(PATH), values.bool(REDIS));
    match (path, redis) {
        (Some(_), true) => {
            let message = format!("`{PATH}` and `{REDIS}` are two stores of API keys: give one");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(REDIS), message));
            None
        }
        (None, true) => {
            if values.text("redis.url").is_empty() {
                let message = format!("`{REDIS}` needs `redis.url`");
                problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(REDIS), message));
            }
            Some(KeyStore::Redis)
        }
        (path, false) => {
            if path.is_none() && values.is_given(STALE_AFTER) {
                let message = format!("`{STALE_AFTER}` has no effect: there is no store of API keys");
                problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(STALE_AFTER), message));
            }
            path.map(KeyStore::File)
        }
    }
}

/// `None`: never.
pub fn stale_after(values: &Values) -> Option<Duration> {
    Some(Duration::from_millis(values.number(STALE_AFTER))).filter(|limit| !limit.is_zero())
}
