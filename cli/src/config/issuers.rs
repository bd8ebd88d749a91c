//! `[[jwtTokenConfig]]`.

use std::path::PathBuf;

use microgw_compiler::settings;
use microgw_extproc::keys::Discovery;
pub use microgw_extproc::keys::is_loopback;
use reqwest::Url;

use super::claims;
use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::tls::{self, Trust};
use super::values::Values;

/// An issuer of access tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub settings: settings::Issuer,
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `https:`, or `http:` where that was allowed.
    JwksUrl(String),
    /// Where the issuer says.
    Discovered(Discovery),
    JwksFile(PathBuf),
    /// A certificate or public key, PEM.
    Certificate(PathBuf),
    /// A certificate of the trust store.
    Alias(String),
}

const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

pub fn read(values: &Values, skew_seconds: u32, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for entry in values.entries("jwtTokenConfig") {
        let Some(issuer) = read_one(values, &entry, skew_seconds, trust, problems) else { continue };
        let name = &issuer.settings.issuer;
        if issuers.iter().any(|other| other.settings.issuer == *name) {
            let origin = values.origin(&format!("{entry}.issuer"));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &origin, format!("issuer `{name}` is listed twice")));
        } else {
            issuers.push(issuer);
        }
    }
    issuers
}

fn read_one(
    values: &Values,
    entry: &str,
    skew_seconds: u32,
    trust: &Trust,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<Issuer> {
    let at = |key| format!("{entry}.{key}");
    let name = values.text(&at("issuer"));
    if name.is_empty() {
        problems.push(ConfigDiagnostic::error(
            Code::BadValue,
            &values.section_origin(entry),
            format!("`{}` is missing: it must equal the tokens' `iss`", at("issuer")),
        ));
    }
    let algorithms = values.list(&at("algorithms"));
    let unknown: Vec<_> = algorithms.iter().filter(|name| !ALGORITHMS.contains(&name.as_str())).collect();
    if !unknown.is_empty() || algorithms.is_empty() {
        let message = format!("`{}` must list some of {}", at("algorithms"), ALGORITHMS.join(", "));
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&at("algorithms")), message));
    }
    let keys = key_source(values, entry, trust, problems);
    let audiences = values.list(&at("audience"));
    let rfc9068 = values.text(&at("profile")) == "rfc9068";
    if rfc9068 && audiences.is_empty() {
        let message = format!("`{}` is missing: RFC 9068 has each token say whom it is meant for", at("audience"));
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&at("profile")), message));
    }
    let validates = at("validateSubscription");
    let validates = if values.is_given(&validates) { validates } else { "security.validateSubscriptions".to_owned() };
    let settings = settings::Issuer {
        issuer: name,
        audiences,
        algorithms,
        skew_seconds,
        claims: claims::read(values, entry, problems),
        client_claim: values.text(&at("consumerKeyClaim")),
        rfc9068,
        require_dpop: values.bool(&at("requireDpop")),
        user_claims: values.bool(&at("remoteUserClaimRetrievalEnabled")),
        validate_subscription: values.bool(&validates),
    };
    (!settings.issuer.is_empty()).then_some(Issuer { settings, keys: keys? })
}

fn key_source(values: &Values, entry: &str, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Option<KeySource> {
    let at = |key| format!("{entry}.{key}");
    let (url, certificate) = (values.text(&at("jwksURL")), values.path(&at("certificatePath")));
    let alias = values.text(&at("certificateAlias"));
    if values.bool(&at("discovery")) || !values.text(&at("discoveryURL")).is_empty() {
        return discovery(values, entry, problems);
    }
    if !url.is_empty() && certificate.is_some() {
        problems.push(ConfigDiagnostic::error(
            Code::Conflict,
            &values.origin(&at("certificatePath")),
            format!("`{}` and `{}` are two sources of keys: give one", at("jwksURL"), at("certificatePath")),
        ));
        return None;
    }
    if let Some(certificate) = certificate {
        tls::needless(values, &at("certificateAlias"), &at("certificatePath"), problems);
        return Some(KeySource::Certificate(certificate));
    }
    if url.is_empty() && !alias.is_empty() {
        if trust.services.is_some() {
            return Some(KeySource::Alias(alias));
        }
        problems.push(tls::no_store_for(values, &at("certificateAlias")));
        return None;
    }
    if url.is_empty() {
        if !values.is_wrong(&at("jwksURL")) {
            let message = format!("`{entry}` has no keys to verify tokens with");
            let help = "give it `discovery = true`, a `jwksURL`, a `certificatePath`, or a `certificateAlias`";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(entry), message).help(help));
        }
        return None;
    }
    tls::needless(values, &at("certificateAlias"), &at("jwksURL"), problems);
    let origin = values.origin(&at("jwksURL"));
    match jwks(&url, values.bool(&at("allowInsecureJwks")), &origin) {
        Ok(source) => Some(source),
        Err(reason) => {
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, format!("`{}` {reason}", at("jwksURL"))));
            None
        }
    }
}

/// The issuer is asked for its keys, and no other source is named.
fn discovery(values: &Values, entry: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<KeySource> {
    let at = |key| format!("{entry}.{key}");
    let document = values.text(&at("discoveryURL"));
    let own = if document.is_empty() { at("discovery") } else { at("discoveryURL") };
    let others = ["jwksURL", "certificatePath", "certificateAlias"].map(at);
    if let Some(other) = others.iter().find(|other| values.is_given(other)) {
        let message = format!("`{own}` and `{other}` are two sources of keys: give one");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(other), message));
        return None;
    }
    let issuer = values.text(&at("issuer"));
    let insecure = values.bool(&at("allowInsecureJwks"));
    let (path, url) = if document.is_empty() { (at("issuer"), &issuer) } else { (own, &document) };
    let origin = values.origin(&path);
    let discovery = match jwks(url, insecure, &origin) {
        Ok(KeySource::JwksUrl(_)) if document.is_empty() => Discovery::of(&issuer, insecure),
        Ok(KeySource::JwksUrl(url)) => Ok(Discovery { issuer, documents: vec![url], allow_insecure: insecure }),
        Ok(_) => Err("must be `https:` or `http:`"),
        Err(reason) => Err(reason),
    };
    match discovery {
        Ok(discovery) => Some(KeySource::Discovered(discovery)),
        Err(reason) => {
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, format!("`{path}` {reason}")));
            None
        }
    }
}

/// Read by the parser that will fetch it: two readers of one URL may see two hosts.
fn jwks(text: &str, allow_insecure: bool, origin: &Origin) -> Result<KeySource, &'static str> {
    if let Some(path) = text.strip_prefix("file:").filter(|path| !path.starts_with("//")) {
        return Ok(KeySource::JwksFile(origin.resolve(path)));
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it");
    }
    match url.scheme() {
        "https" => Ok(KeySource::JwksUrl(text.to_owned())),
        "http" if allow_insecure || is_loopback(&url) => Ok(KeySource::JwksUrl(text.to_owned())),
        "http" => Err(
            "is `http:` to another host: whoever is on the way could replace the keys. Use `https:`, or set `allowInsecureJwks = true`",
        ),
        "file" => url.to_file_path().map(KeySource::JwksFile).map_err(|()| "is not a file of this host"),
        _ => Err("must be `https:`, `http:` or `file:`"),
    }
}

#[cfg(test)]
#[path = "issuers_tests.rs"]
mod tests;
