//! `[subscriptions]`: who knows which application may call what.

use std::path::PathBuf;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

/// Where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    pub source: SubscriptionSource,
    /// Of all tables together.
    pub most: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionSource {
    File(PathBuf),
    Redis,
}

/// `None`: nowhere, and what tokens say themselves is all there is.
pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Subscriptions> {
    let (file, redis, most) = ("subscriptions.file", "subscriptions.redis", "subscriptions.maxEntries");
    let source = match (values.path(file), values.bool(redis)) {
        (None, false) => {
            if values.is_given(most) {
                let message = format!("`{most}` is given, and subscriptions are kept nowhere");
                let help = format!("name a `{file}`, or set `{redis} = true`");
                problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(most), message).help(help));
            }
            return None;
        }
        (Some(_), true) => {
            let message = format!("`{file}` and `{redis}` are two places that may say different things: give one");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(redis), message));
            return None;
        }
        (Some(path), false) => SubscriptionSource::File(path),
        (None, true) => SubscriptionSource::Redis,
    };
    if source == SubscriptionSource::Redis && values.text("redis.url").is_empty() {
        let message = format!("`{redis}` is set, and `[redis]` does not say where Redis is");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(redis), message));
    }
    Some(Subscriptions { source, most: values.number(most) })
}

#[cfg(test)]
#[path = "subscriptions_tests.rs"]
mod tests;
