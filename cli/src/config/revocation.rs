//! `[revocation]`.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

/// Who says what was revoked, and what applies while nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub file: Option<PathBuf>,
    pub redis: bool,
    /// While a feed is stale, let in who is not known to be revoked.
    pub allow_stale: bool,
    pub most: usize,
    /// `None`: for good.
    pub retention: Option<Duration>,
}

/// `None`: nothing can be revoked.
pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Revocation> {
    let at = |key| format!("revocation.{key}");
    let (file, redis) = (values.path(&at("file")), values.bool(&at("redis")));
    let allow_stale = values.text(&at("onStale")) == "allow";
    if file.is_none() && !redis {
        let given = ["onStale", "maxEntries", "retentionTime"].into_iter().map(at).find(|path| values.is_given(path));
        if let Some(path) = given {
            let message = format!("`{path}` is given, and nobody says what is revoked");
            let help = "name a `revocation.file`, or set `revocation.redis = true`";
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&path), message).help(help));
        }
        return None;
    }
    if redis && values.text("redis.url").is_empty() {
        let message = "`revocation.redis` is set, and `[redis]` does not say where Redis is".to_owned();
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at("redis")), message));
    }
    if allow_stale {
        let message = format!(
            "`{}` is `allow`: while no news of revocations come, those of that time are not obeyed",
            at("onStale")
        );
        problems.push(ConfigDiagnostic::warning(Code::Insecure, &values.origin(&at("onStale")), message));
    }
    let retention = u64::try_from(values.integer(&at("retentionTime"))).ok().map(Duration::from_secs);
    outlives_keys(values, retention, problems);
    Some(Revocation { file, redis, allow_stale, most: values.number(&at("maxEntries")), retention })
}

/// An API key that is revoked by its id alone would come back when that is forgotten.
fn outlives_keys(values: &Values, retention: Option<Duration>, problems: &mut Vec<ConfigDiagnostic>) {
    let validity_path = "apikey.issuer.tokenConfig.validityTime";
    let validity = u64::try_from(values.integer(validity_path)).ok().map(Duration::from_secs);
    let too_short = match (retention, validity) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(retention), Some(validity)) => retention < validity,
    };
    if too_short {
        let path = "revocation.retentionTime";
        let message = format!(
            "`{path}` is shorter than API keys live (`{validity_path}`): a revoked one would be accepted again"
        );
        let help = "make it longer, or -1";
        let origin = values.origin(path).max(values.origin(validity_path));
        problems.push(ConfigDiagnostic::error(Code::Conflict, &origin, message).help(help));
    }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
