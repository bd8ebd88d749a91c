//! What the settings say of endpoints: URLs and users in the place of those that definitions have, and the secrets by
//! which backends know the gateway.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::BackendUrl;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    Production,
    Sandbox,
}

/// One setting such as `shop_prod_endpoint_0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOverride {
    /// What the endpoint is called.
    pub id: String,
    /// `id` stands for every name that is the same but for characters that variables cannot have.
    pub loose: bool,
    pub environment: Environment,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of the target with this index.
    Url(usize, BackendUrl),
    /// The target with this index is looked up by this key.
    EtcdKey(usize, String),
    User(String),
    /// It is in [`Secrets`], as [`EndpointOverride::password`] says.
    Password,
}

/// What the name of a setting is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Url(usize),
    EtcdKey(usize),
    User,
    Password,
}

/// What references to secrets come to, or why to nothing. Part of the snapshot, never of its generation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub BTreeMap<String, Result<String, String>>);

// === impl Environment ===

impl Environment {
    /// As it stands in settings.
    pub fn short(self) -> &'static str {
        match self {
            Environment::Production => "prod",
            Environment::Sandbox => "sand",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// `<id>_prod_endpoint_0`, `<id>_sand_basic_username`, `<id>_prod_0_etcdKey` and so on, taken apart.
    pub fn of(name: &str) -> Option<(&str, Environment, Subject)> {
        let of = |environment: Environment| {
            let (id, rest) = name.rsplit_once(&format!("_{}_", environment.short()))?;
            let index = |text: &str| {
                let plain = text == "0" || (!text.starts_with('0') && text.len() < 4);
                text.parse().ok().filter(|_| plain && text.bytes().all(|byte| byte.is_ascii_digit()))
            };
            let subject = match rest {
                "basic_username" => Subject::User,
                "basic_password" => Subject::Password,
                _ => match rest.strip_prefix("endpoint_") {
                    Some(number) => Subject::Url(index(number)?),
                    None => Subject::EtcdKey(index(rest.strip_suffix("_etcdKey")?)?),
                },
            };
            (!id.is_empty()).then_some((id, environment, subject))
        };
        of(Environment::Production).or_else(|| of(Environment::Sandbox))
    }
}

// === impl EndpointOverride ===

impl EndpointOverride {
    pub fn is_for(&self, name: &str, environment: Environment) -> bool {
        let same = if self.loose { plain(name).eq(plain(&self.id)) } else { name == self.id };
        !name.is_empty() && same && self.environment == environment
    }

    /// The setting's name.
    pub fn key(&self) -> String {
        let change = match &self.change {
            Change::Url(index, _) => format!("endpoint_{index}"),
            Change::EtcdKey(index, _) => format!("{index}_etcdKey"),
            Change::User(_) => "basic_username".to_owned(),
            Change::Password => "basic_password".to_owned(),
        };
        format!("{}_{}_{change}", self.id, self.environment.short())
    }

    /// What stands for its password in [`Secrets`].
    pub fn password(&self) -> String {
        password(&self.id, self.environment)
    }
}

/// What stands in [`Secrets`] for a password that a setting names. No definition can have it.
pub fn password(id: &str, environment: Environment) -> String {
    format!("$setting{{{id}_{}_basic_password}}", environment.short())
}

fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
}

/// Nothing of them, nor how many there are: equal settings have one generation.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
