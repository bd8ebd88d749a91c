//! Which files certificates, keys and trusted authorities are in.

use std::path::PathBuf;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::users::Secret;
use super::values::Values;

/// What is presented: a certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityFiles {
    Pem { certificate_chain: PathBuf, private_key: PathBuf },
    Store(KeyEntry),
}

/// A key in a PKCS#12 store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    pub store: Store,
    /// `None`: the store has one key only.
    pub alias: Option<String>,
}

/// A PKCS#12 store. One without keys may be PEM, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub path: PathBuf,
    pub password: Secret,
    /// It is named as the ones that the old product ships with: it need not be there.
    pub shipped: bool,
}

/// What signs API keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKeyFile {
    Pem(PathBuf),
    Store(KeyEntry),
}

/// What verifies API keys beside the key that signs them: those that were made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// A certificate or public key, PEM.
    Certificate(PathBuf),
    /// In the trust store.
    Alias(String),
}

/// Whom to trust; `None`: the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// For what the gateway itself connects to. Its aliases name the keys of issuers.
    pub services: Option<Store>,
    pub backends: Option<Store>,
}

/// The public name and the public password of the key pair that the old product ships with.
pub const SHIPPED: &str = "ballerina";
const LISTENER: &str = "listenerConfig";
const OLD_HOME: &str = "${mgw-runtime.home}";

/// Of `section`, in PEM or in a store.
pub fn identity(values: &Values, section: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<IdentityFiles> {
    let at = |key| format!("{section}.{key}");
    let instead = match section {
        LISTENER => "a certificate of our own is presented",
        _ if section.starts_with(LISTENER) => "nobody should present it",
        _ => "backends are shown no certificate",
    };
    let store = store(values, &at("keyStorePath"), &at("keyStorePassword"), instead, problems);
    match (values.path(&at("certificatePath")), values.path(&at("privateKeyPath"))) {
        (Some(certificate_chain), Some(private_key)) => {
            needless(values, &at("keyStorePath"), &at("certificatePath"), problems);
            needless(values, &at("certificateAlias"), &at("certificatePath"), problems);
            Some(IdentityFiles::Pem { certificate_chain, private_key })
        }
        (None, None) => entry(values, section, store, problems).map(IdentityFiles::Store),
        (certificate, _) => {
            let (given, missing) = ("certificatePath", "privateKeyPath");
            let (given, missing) = if certificate.is_some() { (given, missing) } else { (missing, given) };
            let message = format!("`{}` needs `{}`", at(given), at(missing));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at(given)), message));
            None
        }
    }
}

/// Which setting of `section` names what is presented, and where it stands: for whoever has to mend it.
pub fn named(values: &Values, section: &str) -> String {
    let paths = ["certificatePath", "privateKeyPath", "keyStorePath"].map(|key| format!("{section}.{key}"));
    let given = paths.iter().find(|path| values.is_given(path));
    given.map_or_else(|| format!("`{section}`"), |path| format!("`{path}` ({})", values.origin(path)))
}

/// Backends are verified by a store of their own, or by the one for everything.
pub fn trust(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Trust {
    let instead = "the system's authorities are trusted";
    let (path, password) = ("listenerConfig.trustStorePath", "listenerConfig.trustStorePassword");
    let services = store(values, path, password, instead, problems);
    let (path, password) = ("httpClients.sslConfig.trustStorePath", "httpClients.sslConfig.trustStorePassword");
    let own = store(values, path, password, instead, problems);
    let backends = if values.path(path).is_some() { own } else { services.clone() };
    Trust { services, backends }
}

pub fn signing_key(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<SigningKeyFile> {
    let section = "apikey.issuer.tokenConfig";
    let at = |key| format!("{section}.{key}");
    let instead = "a key of our own signs API keys";
    let store = store(values, &at("keyStorePath"), &at("keyStorePassword"), instead, problems);
    if let Some(pem) = values.path(&at("privateKeyPath")) {
        needless(values, &at("keyStorePath"), &at("privateKeyPath"), problems);
        needless(values, &at("certificateAlias"), &at("privateKeyPath"), problems);
        return Some(SigningKeyFile::Pem(pem));
    }
    entry(values, section, store, problems).map(SigningKeyFile::Store)
}

pub fn verifying_key(values: &Values, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Option<VerifyingKey> {
    let at = |key| format!("apikey.tokenConfigs.{key}");
    let alias = given_text(values, &at("certificateAlias"));
    if let Some(path) = values.path(&at("certificatePath")) {
        needless(values, &at("certificateAlias"), &at("certificatePath"), problems);
        return Some(VerifyingKey::Certificate(path));
    }
    let alias = alias?;
    if trust.services.is_some() {
        return Some(VerifyingKey::Alias(alias));
    }
    if alias == SHIPPED {
        without_effect(values, &at("certificateAlias"), "the gateway's own key verifies API keys", problems);
    } else {
        problems.push(no_store_for(values, &at("certificateAlias")));
    }
    None
}

/// An alias that cannot be found anywhere.
pub fn no_store_for(values: &Values, path: &str) -> ConfigDiagnostic {
    let message = format!(
        "`{path}` names a certificate of a trust store, and there is none: `listenerConfig.trustStorePath` is not given, \
         or is the one that the old product ships with"
    );
    let help = "copy the store here, or export the certificate (`keytool -exportcert -rfc -alias ALIAS`) and name the file \
                in `certificatePath`";
    ConfigDiagnostic::error(Code::Conflict, &values.origin(path), message).help(help)
}

/// The key in `store` that `section` names.
fn entry(
    values: &Values,
    section: &str,
    store: Option<Store>,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<KeyEntry> {
    let path = format!("{section}.certificateAlias");
    let alias = given_text(values, &path);
    if store.is_none() && alias.is_some() {
        without_effect(values, &path, "it names a key of `keyStorePath`", problems);
    }
    store.map(|store| KeyEntry { store, alias })
}

/// The store at `path`. Where `password` is not given, that of the listener's stores counts. `instead` is what happens
/// without a store.
pub fn store(
    values: &Values,
    path: &str,
    password: &str,
    instead: &str,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<Store> {
    let Some(file) = values.path(path) else {
        // The listener's are for all stores.
        if password.rsplit_once('.').is_none_or(|(section, _)| section != LISTENER) {
            without_effect(values, password, &format!("`{path}` is not given"), problems);
        }
        return None;
    };
    let text = values.text(path);
    let shipped = text.contains("ballerinaKeystore") || text.contains("ballerinaTruststore");
    if text.contains(OLD_HOME) {
        if shipped {
            without_effect(values, path, &format!("what the old product ships with is public: {instead}"), problems);
        } else {
            let message = format!("`{path}` has `{OLD_HOME}` in it, which nothing stands for here");
            let help = "write the folder itself, or a path relative to this file";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help(help));
        }
        return None;
    }
    let name = password.rsplit('.').next().unwrap_or_default();
    let password = if values.is_given(password) { password.to_owned() } else { format!("listenerConfig.{name}") };
    Some(Store { path: file, password: Secret::new(values.text(&password)), shipped })
}

/// As it was given, and not by default.
pub fn given_text(values: &Values, path: &str) -> Option<String> {
    Some(values.text(path)).filter(|text| values.is_given(path) && !text.is_empty())
}

/// Says that `path` has no effect beside `other`.
pub fn needless(values: &Values, path: &str, other: &str, problems: &mut Vec<ConfigDiagnostic>) {
    without_effect(values, path, &format!("`{other}` is given too"), problems);
}

/// Says that `path` has no effect.
pub fn without_effect(values: &Values, path: &str, reason: &str, problems: &mut Vec<ConfigDiagnostic>) {
    if values.is_given(path) {
        let message = format!("`{path}` has no effect: {reason}");
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(path), message));
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
