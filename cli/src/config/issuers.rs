//! `[[jwtTokenConfig]]`.

use std::path::PathBuf;

use microgw_compiler::settings;
use reqwest::Url;

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
    let settings = settings::Issuer { issuer: name, audiences: values.list(&at("audience")), algorithms, skew_seconds };
    (!settings.issuer.is_empty()).then_some(Issuer { settings, keys: keys? })
}

fn key_source(values: &Values, entry: &str, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Option<KeySource> {
    let at = |key| format!("{entry}.{key}");
    let (url, certificate) = (values.text(&at("jwksURL")), values.path(&at("certificatePath")));
    let alias = values.text(&at("certificateAlias"));
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
            let help = "give it a `jwksURL`, a `certificatePath`, or a `certificateAlias`";
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

pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[path = "issuers_tests.rs"]
mod tests;
