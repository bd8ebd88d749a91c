//! What templates may name, and what a template does.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use regex::Regex;

use super::TemplateError;
use crate::editable::Direction;

/// What a template names, so that nothing else is made for it.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// `request.method`, `caller.subject` ...
    pub(crate) fields: BTreeSet<&'static str>,
    pub(crate) claims: BTreeSet<String>,
    pub(crate) path: BTreeSet<String>,
    /// Of a policy; all of them are there.
    pub(crate) parameters: BTreeSet<String>,
    pub(crate) body: bool,
}

/// Fields that are values, or maps of which all is there.
pub(crate) const FIELDS: [&str; 20] = [
    "request.id",
    "request.method",
    "request.path",
    "request.host",
    "request.scheme",
    "request.headers",
    "request.query",
    "client.ip",
    "caller.subject",
    "caller.client",
    "caller.application",
    "caller.tier",
    "caller.scopes",
    "caller.keyType",
    "api.name",
    "api.version",
    "api.basePath",
    "operation",
    "response.status",
    "response.headers",
];
/// Functions of the language.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// `claims["name"]`: the language does not tell of it.
static QUOTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\b(claims|path)\s*\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]"#).ok());

// === impl Uses ===

impl Uses {
    pub(crate) fn of(names: HashSet<String>, source: &str, direction: Direction) -> Result<Uses, TemplateError> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        let mut uses = Uses::default();
        names.iter().try_for_each(|name| uses.take(name, source, direction))?;
        Ok(uses)
    }

    fn take(&mut self, name: &str, source: &str, direction: Direction) -> Result<(), TemplateError> {
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["body", ..] => self.body = true,
            ["caller", "claims"] => self.claims.extend(quoted("claims", "caller.claims", source)?),
            ["caller", "claims", claim, ..] => {
                self.claims.insert((*claim).to_owned());
            }
            ["path"] => self.path.extend(quoted("path", "path", source)?),
            ["path", parameter, ..] => {
                self.path.insert((*parameter).to_owned());
            }
            ["parameters"] => {}
            ["parameters", parameter, ..] => {
                self.parameters.insert((*parameter).to_owned());
            }
            ["response", ..] if direction == Direction::Request => {
                return Err(TemplateError::Unknown(name.to_owned()));
            }
            [function] if FUNCTIONS.contains(function) => {}
            [root @ ("request" | "response" | "caller" | "client" | "api")] => {
                return Err(TemplateError::NoName((*root).to_owned()));
            }
            parts => {
                let is_meant = |field: &&&str| {
                    let mut field = field.split('.');
                    let mut parts = parts.iter();
                    field.all(|part| parts.next() == Some(&part))
                };
                let field = FIELDS.iter().find(is_meant).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                self.fields.insert(field);
            }
        }
        Ok(())
    }
}

/// Names in brackets after `map`.
fn quoted(map: &str, whole: &str, source: &str) -> Result<Vec<String>, TemplateError> {
    let found = QUOTED.iter().flat_map(|pattern| pattern.captures_iter(source));
    let named = found.filter(|found| found.get(1).is_some_and(|name| name.as_str() == map));
    let names: Vec<String> =
        named.filter_map(|found| found.get(2).or_else(|| found.get(3))).map(|name| name.as_str().to_owned()).collect();
    if names.is_empty() { Err(TemplateError::NoName(whole.to_owned())) } else { Ok(names) }
}
