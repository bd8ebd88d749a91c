//! What is said of endpoints in the place of definitions: `<id>_prod_endpoint_<n>` and so on. Whether they exist is for the
//! artifact to say.

use std::collections::BTreeMap;

use microgw_compiler::model::{Lookup, Model};
use microgw_compiler::secret::Reference;
use microgw_compiler::settings::{Change, EndpointOverride, OverrideSubject, Secrets, Settings};
use microgw_compiler::traffic::destination::{is_user, lookup_is_sound};
use microgw_compiler::{assemble, url};

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::references;
use super::values::Values;

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> (Vec<EndpointOverride>, Secrets) {
    let (mut overrides, mut secrets) = (Vec::new(), BTreeMap::new());
    for path in values.given() {
        let Some((id, environment, subject)) = OverrideSubject::of(path.trim_matches('"')) else { continue };
        if values.is_wrong(path) {
            continue;
        }
        let (text, origin) = (values.text(path), values.origin(path));
        let change = match subject {
            OverrideSubject::Url(index) => url::parse(&text).map(|url| Change::Url(index, url)).map_err(|error| {
                // It may have a password in it.
                format!("`{path}` is no URL that can be used: {error}")
            }),
            OverrideSubject::User if is_user(&text) => Ok(Change::User(text.clone())),
            OverrideSubject::User => Err(format!("`{path}` is empty, or has a colon or a control character")),
            OverrideSubject::Password if text.is_empty() => Err(format!("`{path}` is empty")),
            OverrideSubject::Password => Ok(Change::Password),
            OverrideSubject::EtcdKey(index) if lookup_is_sound(&Lookup::Etcd(text.clone())) => {
                Ok(Change::EtcdKey(index, text.clone()))
            }
            OverrideSubject::EtcdKey(_) => Err(format!("`{path}` is no key that can be looked up")),
        };
        match change {
            Ok(change) => {
                let loose = matches!(origin, Origin::Environment(_));
                let one = EndpointOverride { id: id.to_owned(), loose, environment, change };
                if one.change == Change::Password {
                    secrets.insert(one.password(), Ok(text));
                }
                overrides.push(one);
            }
            Err(message) => problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message)),
        }
    }
    // The command line has the last word.
    overrides.sort_by_key(|one| !one.loose);
    (overrides, Secrets(secrets))
}

/// `settings` with what the endpoints of `models` refer to.
pub fn with_secrets<'m>(settings: &Settings, models: impl IntoIterator<Item = &'m Model>) -> Settings {
    filled(settings, models, |reference| match Reference::parse(reference) {
        Ok(Some(reference)) => Some(references::look_up(reference)),
        _ => None,
    })
}

/// The same where nothing is sent to backends: whatever they refer to is there.
pub fn with_pretended_secrets(settings: &Settings, model: &Model) -> Settings {
    filled(settings, [model], |_| Some(Ok("pretended".to_owned())))
}

fn filled<'m>(
    settings: &Settings,
    models: impl IntoIterator<Item = &'m Model>,
    look_up: impl Fn(&str) -> Option<Result<String, String>>,
) -> Settings {
    let mut filled = settings.clone();
    for model in models {
        let (model, _) = assemble::overridden(model, settings);
        for reference in assemble::secret_references(&model).into_keys() {
            if !filled.secrets.0.contains_key(&reference)
                && let Some(value) = look_up(&reference)
            {
                filled.secrets.0.insert(reference, value);
            }
        }
    }
    filled
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
