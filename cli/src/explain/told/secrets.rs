//! Credentials, which an explanation does not repeat.

use std::borrow::Cow;
use std::collections::BTreeSet;

use microgw_compiler::model::{Access, KeyLocation, Model, Requirement};
use microgw_compiler::settings::Settings;
use microgw_transforms::query::decode_bytes;

/// Where definitions and settings have them.
pub struct Secrets<'m> {
    headers: BTreeSet<String>,
    query: BTreeSet<&'m str>,
}

const HEADERS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "x-api-key", "dpop"];

// === impl Secrets ===

impl<'m> Secrets<'m> {
    /// Of whatever operation: which one is meant may not be known.
    pub fn of(model: &'m Model, settings: &Settings) -> Secrets<'m> {
        let own = model.apis.iter().filter_map(|api| api.credential_header.as_ref());
        let headers = own.chain([&settings.credentials.header]).map(|name| name.to_ascii_lowercase());
        let mut secrets = Secrets { headers: headers.collect(), query: BTreeSet::new() };
        for operation in model.apis.iter().flat_map(|api| &api.operations) {
            let Access::Guarded(alternatives) = &operation.access else { continue };
            for requirement in alternatives.iter().flat_map(|alternative| &alternative.0) {
                match requirement {
                    Requirement::ApiKey { location: KeyLocation::Header, name } => {
                        secrets.headers.insert(name.to_ascii_lowercase());
                    }
                    Requirement::ApiKey { location: KeyLocation::Query, name } => {
                        secrets.query.insert(name);
                    }
                    _ => {}
                }
            }
        }
        secrets
    }

    /// A path with its query.
    pub fn masked(&self, target: &str) -> String {
        let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if self.query.contains(&*decoded(name)) => format!("{name}=(as-it-was-sent)"),
            _ => pair.to_owned(),
        });
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// The value of a header.
    pub fn shown<'v>(&self, name: &str, value: &'v str) -> &'v str {
        if HEADERS.contains(&name) || self.headers.contains(name) { "(as it was sent)" } else { value }
    }
}

fn decoded(name: &str) -> Cow<'_, str> {
    match decode_bytes(name) {
        Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        None => Cow::Borrowed(name),
    }
}
