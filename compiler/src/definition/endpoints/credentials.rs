//! `securityConfig`: by what a backend knows the gateway. Secrets are references; they are looked up when the gateway starts.

use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::{ApiKey, Basic, Credentials, OAuth2};

use crate::compile::Report;
use crate::definition::fields::{list, object, text};
use crate::definition::shape::{Words, one_of, unknown_key};
use crate::diagnostic::Code;
use crate::names;
use crate::secret::Reference;
use crate::source::Value;
use crate::traffic::destination::{is_token_url, is_user, is_value};

const TYPES: &[&str] = &["basic", "bearer", "apikey", "oauth2", "digest"];
const REFERENCE: &str = "write where it is kept: `$env{NAME}` or `$file{PATH}`";

/// `named`: settings can name a password.
pub(super) fn read(report: &mut Report, at: Value<'_>, named: bool) -> Option<Credentials> {
    let security = object(report, "securityConfig", at)?;
    let Some(kind_at) = security.get("type") else {
        report.say(Code::BadCredentials, security, "`securityConfig` has no `type`");
        return None;
    };
    let kind = one_of(report, "type", kind_at, TYPES)?;
    let keys: &[&str] = match kind {
        "bearer" => &["type", "token"],
        "apikey" => &["type", "header", "value"],
        "oauth2" => &["type", "tokenUrl", "clientId", "clientSecret", "scopes"],
        _ => &["type", "username", "password"],
    };
    for (key, _) in security.entries().filter(|(key, _)| !keys.contains(&key.text())) {
        unknown_key(report, Words::Old, "securityConfig", key, keys.iter().copied());
    }
    let kind = match kind {
        "basic" => Kind::Basic(basic(report, security, named)?),
        "bearer" => Kind::Bearer(secret(report, security, "token")?),
        "apikey" => Kind::ApiKey(api_key(report, security)?),
        "oauth2" => Kind::Oauth2(oauth2(report, security)?),
        _ => {
            let message = "digest authentication is not done: its hashes need an answer of the backend first";
            report.advise(Code::BadCredentials, kind_at, message, "use `basic` over TLS");
            return None;
        }
    };
    Some(Credentials { kind: Some(kind) })
}

fn basic(report: &mut Report, security: Value<'_>, named: bool) -> Option<Basic> {
    let (user_at, user) = part(report, security, "username")?;
    if !is_user(user) {
        report.say(
            Code::BadCredentials,
            user_at,
            "`username` is empty, too long, or has a colon or a control character",
        );
        return None;
    }
    let password = match security.get("password") {
        None => String::new(),
        Some(at) => {
            let written = text(report, "password", at)?;
            match Reference::parse(written) {
                Ok(Some(reference)) => reference.to_string(),
                Ok(None) => {
                    if !written.is_empty() {
                        report.advise(Code::IgnoredPassword, at, "a password in a definition is not used", REFERENCE);
                    }
                    String::new()
                }
                Err(error) => {
                    report.say(Code::BadCredentials, at, format!("`password` {error}"));
                    return None;
                }
            }
        }
    };
    if password.is_empty() && !named {
        let message = "nothing can name the password: settings call endpoints of APIs and of `x-wso2-endpoints` only";
        report.advise(Code::BadCredentials, security, message, "give `password`: `$env{NAME}` or `$file{PATH}`");
        return None;
    }
    Some(Basic { user: user.to_owned(), password })
}

fn api_key(report: &mut Report, security: Value<'_>) -> Option<ApiKey> {
    let (at, name) = part(report, security, "header")?;
    let header = match names::credential_header(name) {
        Ok(header) => header,
        Err(error) => {
            report.say(Code::BadHeaderName, at, format!("`{name}` cannot carry credentials: {error}"));
            return None;
        }
    };
    Some(ApiKey { header, value: secret(report, security, "value")? })
}

fn oauth2(report: &mut Report, security: Value<'_>) -> Option<OAuth2> {
    let (at, url) = part(report, security, "tokenUrl")?;
    if !is_token_url(url) {
        let message = "`tokenUrl` must be an `https://` URL without a query (`http://` only on this machine)";
        report.say(Code::BadCredentials, at, message);
        return None;
    }
    let (at, client) = part(report, security, "clientId")?;
    if !is_value(client) {
        report.say(Code::BadCredentials, at, "`clientId` is empty, or has characters that cannot be sent");
        return None;
    }
    let mut scopes = Vec::new();
    if let Some(listed) = security.get("scopes") {
        for item in list(report, "scopes", listed)?.items() {
            let scope = text(report, "scopes", item)?;
            if !names::is_scope(scope) {
                report.say(Code::BadCredentials, item, format!("`{scope}` is no scope"));
                return None;
            }
            scopes.push(scope.to_owned());
        }
    }
    let client_secret = secret(report, security, "clientSecret")?;
    Some(OAuth2 { token_url: url.to_owned(), client_id: client.to_owned(), client_secret, scopes })
}

/// A reference. What is written instead is not repeated.
fn secret(report: &mut Report, security: Value<'_>, key: &str) -> Option<String> {
    let (at, written) = part(report, security, key)?;
    match Reference::parse(written) {
        Ok(Some(reference)) => return Some(reference.to_string()),
        Ok(None) => {
            report.advise(Code::BadCredentials, at, format!("`{key}` is a secret and no reference to one"), REFERENCE);
        }
        Err(error) => report.say(Code::BadCredentials, at, format!("`{key}` {error}")),
    }
    None
}

fn part<'d>(report: &mut Report, security: Value<'d>, key: &str) -> Option<(Value<'d>, &'d str)> {
    let Some(at) = security.get(key) else {
        report.say(Code::BadCredentials, security, format!("`securityConfig` has no `{key}`"));
        return None;
    };
    Some((at, text(report, key, at)?))
}
