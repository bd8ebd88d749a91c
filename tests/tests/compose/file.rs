//! `docker-compose.yml` as far as it is used. A key that is not known here is an error: what the file says and the test
//! passes over would be tested by nobody.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: String,
    pub services: BTreeMap<String, Service>,
    pub networks: BTreeMap<String, Option<Network>>,
    pub volumes: BTreeMap<String, Option<Value>>,
    pub secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub image: String,
    pub build: Option<String>,
    pub user: String,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub cap_drop: Vec<String>,
    #[serde(default)]
    pub security_opt: Vec<String>,
    pub restart: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "dependencies")]
    pub depends_on: BTreeMap<String, Condition>,
    pub healthcheck: Option<HealthCheck>,
    #[serde(default)]
    pub networks: Vec<String>,
    pub network_mode: Option<String>,
    #[serde(default)]
    pub ports: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub volumes: Vec<Mounted>,
    #[serde(default)]
    pub profiles: Vec<String>,
    /// How long it may take to end. Docker's own is ten seconds.
    pub stop_grace_period: Option<Seconds>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Condition {
    #[serde(rename = "service_started")]
    Started,
    #[serde(rename = "service_healthy")]
    Healthy,
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    pub test: Vec<String>,
    pub interval: Seconds,
    pub timeout: Seconds,
    pub start_period: Option<Seconds>,
    pub start_interval: Option<Seconds>,
}

/// `10s` or `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Seconds(pub u64);

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Seconds, String> {
        let (number, unit) = text.split_at(text.len().saturating_sub(1));
        let number: u64 = number.parse().map_err(|_| text.clone())?;
        match unit {
            "s" => Ok(Seconds(number)),
            "m" => Ok(Seconds(60 * number)),
            _ => Err(text),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    #[serde(default)]
    pub internal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub file: String,
}

/// A volume by name, or a directory of the machine.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Mounted {
    Short(String),
    Long(Bind),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    pub r#type: String,
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    #[serde(rename = "bind")]
    pub options: BindOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindOptions {
    pub create_host_path: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependency {
    condition: Condition,
}

/// `[a, b]`, or each with its condition.
fn dependencies<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Condition>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Names(Vec<String>),
        Conditions(BTreeMap<String, Dependency>),
    }
    Ok(match Either::deserialize(from)? {
        Either::Names(names) => names.into_iter().map(|name| (name, Condition::Started)).collect(),
        Either::Conditions(all) => all.into_iter().map(|(name, dependency)| (name, dependency.condition)).collect(),
    })
}

/// The file as the schema sees it.
pub fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// === impl File ===

impl File {
    /// Variables of the file that are not in `variables` have the values that it says.
    pub fn read(path: &Path, variables: &BTreeMap<&str, String>) -> File {
        let mut document = document(path);
        // Extensions are there to be referred to, and have been.
        document.as_object_mut().unwrap().retain(|key, _| !key.starts_with("x-"));
        interpolate(&mut document, variables);
        serde_json::from_value(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

fn interpolate(value: &mut Value, variables: &BTreeMap<&str, String>) {
    match value {
        Value::String(text) => *text = interpolated(text, variables),
        Value::Array(values) => values.iter_mut().for_each(|value| interpolate(value, variables)),
        Value::Object(fields) => fields.values_mut().for_each(|value| interpolate(value, variables)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `${NAME:-default}` and `$$`.
fn interpolated(text: &str, variables: &BTreeMap<&str, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (inside, after) = after.strip_prefix('{').and_then(|after| after.split_once('}')).expect(text);
        let (name, default) = inside.split_once(":-").unwrap_or_else(|| panic!("`{text}` has no default"));
        out.push_str(variables.get(name).map_or(default, String::as_str));
        rest = after;
    }
    out + rest
}
