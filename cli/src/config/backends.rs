//! `[httpClients]`: how backends are reached, and the gateway's own services.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_compiler::settings::{self, Backends, SecretHeader, Verification};
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::users::Secret;
use super::values::Values;
use super::{ciphers, tls};

/// A forward proxy for what the gateway itself fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicesProxy {
    pub proxy: settings::Proxy,
    pub user: Option<String>,
    pub password: Secret,
}

/// Without what is read from files.
pub fn backends(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Backends {
    unused_proxy(values, problems);
    let at = |key: &str| format!("httpClients.{key}");
    Backends {
        trust: None,
        identity: None,
        profiles: Vec::new(),
        verification: verification(values, problems),
        tls: ciphers::range(values, "httpClients.sslConfig", problems),
        http2: values.bool(&at("enableHttp2")),
        max_connections: limit(values, &at("poolConfig.maxActiveConnections"), problems),
        max_streams: limit(values, &at("poolConfig.maxActiveStreamsPerConnection"), problems),
        max_response_header: Some(values.number(&at("responseLimits.maxHeaderSize"))),
        health_events: None,
        proxy: if values.bool(&at("proxy.enable")) { proxy_of_backends(values, problems) } else { None },
    }
}

/// A proxy that is named, and that nothing says whether to use, would be thought to be used.
fn unused_proxy(values: &Values, problems: &mut Vec<ConfigDiagnostic>) {
    let (host, switches) =
        ("httpClients.proxy.host", ["httpClients.proxy.enable", "httpClients.proxy.enableInternalServices"]);
    if values.is_given(host) && !switches.iter().any(|switch| values.is_given(switch)) {
        let message = format!("`{host}` has no effect: `{}` is `false`", switches[0]);
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(host), message));
    }
}

pub fn services_proxy(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<ServicesProxy> {
    if !values.bool("httpClients.proxy.enableInternalServices") {
        return None;
    }
    let user = Some(values.text("httpClients.proxy.username")).filter(|user| !user.is_empty());
    let password = Secret::new(values.text("httpClients.proxy.password"));
    Some(ServicesProxy { proxy: proxy(values, problems)?, user, password })
}

/// What was asked for in so many words is done, and told to everybody who looks.
fn verification(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Verification {
    let (nothing, names) = ("httpClients.disableSslVerification", "httpClients.verifyHostname");
    let help = format!(
        "name the backends' certificates in `httpClients.sslConfig.trustStorePath`, and leave `{nothing}` alone"
    );
    if values.bool(nothing) {
        let message = format!("`{nothing}`: backends are not verified, and whoever is on the way can be one");
        problems.push(ConfigDiagnostic::warning(Code::Insecure, &values.origin(nothing), message).help(help));
        return Verification::Nothing;
    }
    if !values.bool(names) {
        let message = format!("`{names}`: whoever has any certificate of a trusted authority can be a backend");
        let help = "have the backends' certificates name their hosts";
        problems.push(ConfigDiagnostic::warning(Code::Insecure, &values.origin(names), message).help(help));
        return Verification::AnyName;
    }
    Verification::Full
}

/// `None` for -1.
fn limit(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<u32> {
    let limit = values.integer(path);
    if limit == 0 && values.is_given(path) {
        let message = format!("`{path}` is 0: nothing would reach a backend");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help("-1: no limit"));
    }
    u32::try_from(limit).ok().filter(|limit| *limit > 0)
}

fn proxy_of_backends(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::Proxy> {
    let login = login(values, problems);
    Some(settings::Proxy { login, ..proxy(values, problems)? })
}

/// Basic, RFC 7617.
fn login(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<SecretHeader> {
    let (user_path, password_path) = ("httpClients.proxy.username", "httpClients.proxy.password");
    let (user, password) = (values.text(user_path), values.text(password_path));
    let mut refuse = |path: &str, reason: &str| {
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), format!("`{path}` {reason}")));
    };
    // Section 2.
    if user.contains(':') {
        refuse(user_path, "has a colon in it, which ends a user's name");
    }
    for (path, text) in [(user_path, &user), (password_path, &password)] {
        if text.chars().any(char::is_control) {
            refuse(path, "has control characters in it");
        }
    }
    if user.is_empty() && !password.is_empty() {
        refuse(password_path, "needs `httpClients.proxy.username`");
    }
    (!user.is_empty()).then(|| SecretHeader {
        name: "proxy-authorization".to_owned(),
        value: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
    })
}

fn proxy(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::Proxy> {
    let (host_path, port_path) = ("httpClients.proxy.host", "httpClients.proxy.port");
    let (text, port) = (values.text(host_path), values.number::<u16>(port_path));
    // Also `::1`, as in Java.
    let bracketed = if text.contains(':') && !text.starts_with('[') { format!("[{text}]") } else { text.clone() };
    let url = Url::parse(&format!("http://{bracketed}:{port}")).ok();
    let host = url.as_ref().and_then(Url::host_str).map(|host| host.trim_matches(['[', ']']).to_owned());
    let plain = !text.contains(['/', '@', '?', '#']);
    let Some(host) = host.filter(|host| plain && !host.is_empty()) else {
        // It may have a password in it.
        let message = format!("`{host_path}` must be the name or IP address of the proxy");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(host_path), message));
        return None;
    };
    if port == 0 {
        let message = format!("`{port_path}` is missing: a proxy has a port");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin("httpClients.proxy"), message));
        return None;
    }
    Some(settings::Proxy { host, port, login: None })
}

/// What is presented to backends.
pub fn identity(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<tls::IdentityFiles> {
    tls::identity(values, "httpClients.sslConfig", problems)
}

#[cfg(test)]
#[path = "backends_tests.rs"]
mod tests;
