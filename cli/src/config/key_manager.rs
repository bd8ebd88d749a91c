//! `[keyManager]` and `[keymanager.security]`: the authorization server of opaque tokens.

use std::num::NonZeroU32;

use microgw_compiler::{settings, url};
use microgw_extproc::introspection::{ClientAuthentication, Grant, GrantKind, IntrospectionConfig, Login, OwnToken};
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::issuers;
use super::values::Values;

/// Who is asked about opaque tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    pub settings: settings::Introspection,
    /// For the service alone: there are passwords in it.
    pub service: IntrospectionConfig,
}

const SERVER: &str = "keyManager.serverUrl";
const INTROSPECTION: &str = "keyManager.introspectionUrl";
const OAUTH2: &str = "keymanager.security.oauth2";

/// Only where a server was named: the old product's default, a server on this host with the password `admin`, is nobody's
/// intention. `None` also where a problem leaves nothing to go on with.
pub fn introspection(
    values: &Values,
    skew_seconds: u32,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<Introspection> {
    if values.text(SERVER).is_empty() && values.text(INTROSPECTION).is_empty() {
        without_effect(values, problems);
        return None;
    }
    let settings = settings::Introspection {
        user_claims: values.bool("keyManager.remoteUserClaimRetrievalEnabled"),
        issuer: values.text("keyManager.issuer"),
        audiences: values.list("keyManager.audience"),
        skew_seconds,
        failed_jwts: values.bool("keyManager.enableIntrospectForFailedJWT"),
        remember_milliseconds: values.number("keyManager.cacheExpiryTime"),
        validate_subscription: values.bool("security.validateSubscriptions"),
    };
    let url = if values.text(INTROSPECTION).is_empty() {
        endpoint(values, problems).map(|base| format!("{base}/introspect"))
    } else {
        safe_url(values, INTROSPECTION, problems).map(String::from)
    };
    let login = login(values, problems);
    let rate = NonZeroU32::new(values.number("keyManager.maxIntrospectionsPerSecond"))?;
    Some(Introspection { settings, service: IntrospectionConfig { url: url?, login: login?, rate } })
}

/// The endpoints for clients, where they are asked for. `None` also where a problem leaves nothing to go on with.
pub fn endpoints(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::OAuthEndpoints> {
    let (switch, port_path) = ("keyManager.oauthEndpoints", "listenerConfig.tokenListenerPort");
    let named = !values.text(SERVER).is_empty();
    let with_port = values.is_given(port_path) && !values.is_wrong(port_path);
    let wanted = if values.is_given(switch) { values.bool(switch) } else { with_port && named };
    if !wanted {
        if with_port {
            let missing = if named { format!("`{switch}` is `false`") } else { format!("there is no `{SERVER}`") };
            let message = format!("`{port_path}` has no effect: {missing}");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(port_path), message));
        }
        return None;
    }
    if !named {
        let message = format!("`{switch}` needs `{SERVER}`");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(switch), message));
        return None;
    }
    let port = with_port.then(|| values.number::<u16>(port_path));
    for other in ["listenerConfig.httpPort", "listenerConfig.httpsPort"] {
        if port.is_some_and(|port| port != 0 && port == values.number::<u16>(other)) {
            let message = format!("`{port_path}` and `{other}` are the same");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(port_path), message));
        }
    }
    // What is wrong with it is said once, where it is asked about tokens.
    let mut said = Vec::new();
    let base = endpoint(values, &mut said);
    if !values.text(INTROSPECTION).is_empty() {
        problems.append(&mut said);
    }
    match url::parse(&base?) {
        Ok(key_manager) => Some(settings::OAuthEndpoints { key_manager, port }),
        Err(error) => {
            let message = format!("`{SERVER}` cannot be passed on to: {error}");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(SERVER), message));
            None
        }
    }
}

/// `gateway.publicUrl`: scheme, host and port.
pub fn public_url(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<String> {
    let path = "gateway.publicUrl";
    let text = values.text(path);
    if text.is_empty() {
        return None;
    }
    let reason = match Url::parse(&text) {
        Err(_) => "is not a URL",
        Ok(url) if url.scheme() != "https" && !(url.scheme() == "http" && issuers::is_loopback(&url)) => {
            "must be `https:`, or `http:` on this host"
        }
        Ok(url)
            if url.path() != "/"
                || url.query().is_some()
                || url.fragment().is_some()
                || !url.username().is_empty()
                || url.password().is_some() =>
        {
            "must be scheme, host and port, and nothing else"
        }
        Ok(url) => return Some(url.origin().ascii_serialization()),
    };
    problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), format!("`{path}` {reason}")));
    None
}

/// `<serverUrl>/<tokenContext>`.
fn endpoint(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<String> {
    let server = safe_url(values, SERVER, problems)?;
    if server.query().is_some() || server.fragment().is_some() {
        problems.push(ConfigDiagnostic::error(
            Code::BadValue,
            &values.origin(SERVER),
            format!("`{SERVER}` has a query or a fragment, and paths are appended to it"),
        ));
        return None;
    }
    let context = values.text("keyManager.tokenContext");
    let context = context.trim_matches('/');
    let base = server.as_str().trim_end_matches('/');
    Some(if context.is_empty() { base.to_owned() } else { format!("{base}/{context}") })
}

/// Tokens and passwords travel there.
pub fn safe_url(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<Url> {
    let text = values.text(path);
    let url = match Url::parse(&text) {
        Err(_) => Err("is not a URL"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err("has a user name or password in it"),
        Ok(url) => match url.scheme() {
            "https" => Ok(url),
            "http" if issuers::is_loopback(&url) => Ok(url),
            "http" => {
                Err("is `http:` to another host: whoever is on the way could read tokens and passwords. Use `https:`")
            }
            _ => Err("must be `https:`, or `http:` on this host"),
        },
    };
    match url {
        Ok(url) => Some(url),
        Err(_) if values.is_wrong(path) => None,
        Err(reason) => {
            let reason = if text.is_empty() { "is missing" } else { reason };
            let origin = if values.is_given(path) { values.origin(path) } else { section(values, path) };
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, format!("`{path}` {reason}")));
            None
        }
    }
}

fn section(values: &Values, path: &str) -> super::diagnostic::Origin {
    values.section_origin(path.rsplit_once('.').map_or(path, |(section, _)| section))
}

/// A user and a password, in a section that can have them.
enum Basic {
    Absent,
    /// That has been said.
    Wrong,
    Given(Login),
}

/// Who the gateway says that it is.
fn login(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Login> {
    let section = "keymanager.security.basic";
    match basic(values, "keyManager", problems) {
        Basic::Given(login) => return Some(login),
        Basic::Wrong => return None,
        Basic::Absent => {}
    }
    let enabled = format!("{section}.enabled");
    if values.bool(&format!("{OAUTH2}.enabled")) {
        if values.is_given(&enabled) && values.bool(&enabled) {
            let message = format!("`{OAUTH2}.enabled` and `{enabled}` are both `true`: the gateway logs in one way");
            let help = format!("set `{enabled} = false`");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&enabled), message).help(help));
            return None;
        }
        return own_token(values, problems).map(Login::Token);
    }
    if values.bool(&enabled) {
        match basic(values, section, problems) {
            Basic::Given(login) => return Some(login),
            Basic::Wrong => return None,
            Basic::Absent => {}
        }
    }
    let message =
        "the key manager is to be asked, and needs to know by whom: there is no user, and no token, for the gateway";
    let help = "give `keymanager.security.basic.username` and `.password` (a client's id and secret will do), or one of \
                `keymanager.security.oauth2`; `admin`/`admin` is not assumed";
    problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin("keyManager"), message).help(help));
    None
}

fn basic(values: &Values, section: &str, problems: &mut Vec<ConfigDiagnostic>) -> Basic {
    let (user_path, password_path) = (format!("{section}.username"), format!("{section}.password"));
    if values.is_wrong(&user_path) || values.is_wrong(&password_path) {
        return Basic::Wrong;
    }
    let (user, password) = (values.text(&user_path), values.text(&password_path));
    let (missing, given) = match (user.is_empty(), password.is_empty()) {
        (true, true) => return Basic::Absent,
        (true, false) => (user_path, password_path),
        (false, true) => (password_path, user_path),
        (false, false) if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) => {
            let message = format!("`{user_path}` has a colon in it, or one of the two a control character");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&user_path), message));
            return Basic::Wrong;
        }
        (false, false) => {
            if (user.as_str(), password.as_str()) == ("admin", "admin") {
                let message = format!("`{password_path}` is one that everybody knows");
                problems.push(ConfigDiagnostic::warning(Code::Insecure, &values.origin(&password_path), message));
            }
            return Basic::Given(Login::Basic { user, password });
        }
    };
    let message = format!("`{given}` needs `{missing}`");
    problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&given), message));
    Basic::Wrong
}

fn own_token(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<OwnToken> {
    let enabled = |kind: &str| values.bool(&format!("{OAUTH2}.{kind}.enabled"));
    let chosen: Vec<_> =
        ["clientCredential", "password", "directToken"].into_iter().filter(|kind| enabled(kind)).collect();
    let refresh = enabled("refresh");
    if let [one, other, ..] = chosen[..] {
        let message =
            format!("`{OAUTH2}.{one}` and `{OAUTH2}.{other}` are both enabled: the gateway gets its token one way");
        let origin = values.origin(&format!("{OAUTH2}.{other}.enabled"));
        problems.push(ConfigDiagnostic::error(Code::Conflict, &origin, message));
        return None;
    }
    match chosen.first() {
        Some(&"directToken") => {
            let first = required(values, &format!("{OAUTH2}.directToken.accessToken"), problems)?;
            if !refresh {
                return Some(OwnToken::Fixed(first));
            }
            let grant = refresh_grant(values, problems)?;
            Some(OwnToken::Granted { first: Some(first), grant })
        }
        Some(kind) => {
            if refresh {
                let path = format!("{OAUTH2}.refresh.enabled");
                let message = format!("`{path}` has no effect: `{OAUTH2}.{kind}` gets another token by itself");
                problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&path), message));
            }
            let section = format!("{OAUTH2}.{kind}");
            let url = safe_url(values, &format!("{OAUTH2}.tokenUrl"), problems);
            let (granted, anonymous) = if *kind == "password" {
                let user = required(values, &format!("{section}.username"), problems)?;
                let password = required(values, &format!("{section}.password"), problems)?;
                (GrantKind::Password { user, password }, true)
            } else {
                (GrantKind::ClientCredentials, false)
            };
            let grant = grant(values, &section, url?, granted, anonymous, problems)?;
            Some(OwnToken::Granted { first: None, grant })
        }
        None if refresh => Some(OwnToken::Granted { first: None, grant: refresh_grant(values, problems)? }),
        None => {
            let message = format!("`{OAUTH2}.enabled` needs a way to a token");
            let help = "set `enabled = true` in one of `clientCredential`, `password`, `directToken` and `refresh`";
            let origin = values.origin(&format!("{OAUTH2}.enabled"));
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message).help(help));
            None
        }
    }
}

fn refresh_grant(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Grant> {
    let section = format!("{OAUTH2}.refresh");
    let url = safe_url(values, &format!("{section}.refreshUrl"), problems);
    let token = required(values, &format!("{section}.refreshToken"), problems)?;
    grant(values, &section, url?, GrantKind::Refresh { token }, true, problems)
}

/// `anonymous`: the grant is worth something without a client's secret.
fn grant(
    values: &Values,
    section: &str,
    url: Url,
    kind: GrantKind,
    anonymous: bool,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<Grant> {
    let (id, secret) =
        (either(values, section, "clientId", "client_id"), either(values, section, "clientSecret", "client_secret"));
    let bearer = format!("{OAUTH2}.credentialBearer");
    let given = ["clientId", "client_id", "clientSecret", "client_secret"].map(|name| format!("{section}.{name}"));
    if given.iter().chain([&bearer]).any(|path| values.is_wrong(path)) {
        return None;
    }
    let client = match (values.text(&bearer).as_str(), id, secret) {
        ("NO_BEARER", id, _) if anonymous => ClientAuthentication::Nothing { id },
        ("NO_BEARER", ..) => {
            let message =
                format!("`{bearer}` is `NO_BEARER`, and `{section}` is about nothing but the client's credentials");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&bearer), message));
            return None;
        }
        ("POST_BODY_BEARER", Some(id), Some(secret)) => ClientAuthentication::Body { id, secret },
        (_, Some(id), Some(secret)) => ClientAuthentication::Header { id, secret },
        _ => {
            let message = format!("`{section}` needs `clientId` and `clientSecret`");
            let help = if anonymous { "a client without a secret: `credentialBearer = \"NO_BEARER\"`" } else { "" };
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(section), message).help(help));
            return None;
        }
    };
    Some(Grant { url: url.into(), kind, client, scopes: values.list(&format!("{section}.scopes")) })
}

/// The template of the old product and its code spell these differently.
fn either(values: &Values, section: &str, one: &str, other: &str) -> Option<String> {
    let text = |name| Some(values.text(&format!("{section}.{name}"))).filter(|text| !text.is_empty());
    text(one).or_else(|| text(other))
}

fn required(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<String> {
    let text = values.text(path);
    if text.is_empty() && !values.is_wrong(path) {
        let message = format!("`{path}` is missing");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &section(values, path), message));
    }
    Some(text).filter(|text| !text.is_empty())
}

/// Nothing is asked: that must not go unsaid where somebody expects it.
fn without_effect(values: &Values, problems: &mut Vec<ConfigDiagnostic>) {
    let failed_jwts = "keyManager.enableIntrospectForFailedJWT";
    if values.bool(failed_jwts) {
        let message = format!("`{failed_jwts}` needs `{SERVER}`, or `{INTROSPECTION}`: nobody can be asked");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(failed_jwts), message));
    }
    for path in
        ["keyManager.issuer", "keyManager.audience", "keyManager.username", "keymanager.security.oauth2.enabled"]
    {
        if values.is_given(path) && !values.is_wrong(path) {
            let message =
                format!("`{path}` has no effect without `{SERVER}` or `{INTROSPECTION}`: opaque tokens are refused");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(path), message));
        }
    }
}

#[cfg(test)]
#[path = "key_manager_tests.rs"]
mod tests;
