//! `[listenerConfig]`: what is listened on and presented, and how long connections may take.

use std::net::IpAddr;

use microgw_compiler::hosts;
use microgw_compiler::settings::{Balanced, Connections, TlsRange};
use microgw_transforms::overrides;
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::resolve::ip_address;
use super::tls::{self, IdentityFiles};
use super::values::Values;
use super::{ciphers, key_manager, mutual_tls};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    pub host: IpAddr,
    /// 0: any free port.
    pub http_port: u16,
    pub https_port: u16,
    /// Bytes.
    pub max_header_size: u32,
    /// Bytes of path and query. `None`: no limit of their own.
    pub max_uri_length: Option<u32>,
    /// Bytes. `None`: no limit.
    pub max_body_size: Option<u64>,
    /// What clients say of host and address, and backends are told.
    pub kept_headers: Vec<String>,
    pub http2: bool,
    pub connections: Connections,
    pub balanced: Balanced,
    /// Requests over http are led to HTTPS: there, to this port.
    pub https_redirect: Option<u16>,
    pub tls: TlsRange,
    /// `None`: a self-signed certificate.
    pub identity: Option<IdentityFiles>,
    /// Which setting says so, and where.
    pub identity_named: String,
    /// For clients that ask for certain names.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate for some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Empty: for those that are in it.
    pub server_names: Vec<String>,
    pub files: IdentityFiles,
    /// Which setting says so, and where.
    pub named: String,
}

const CERTIFICATES: &str = "listenerConfig.certificates";
const REDIRECT: &str = "listenerConfig.httpsRedirect";
const KEPT: &str = "listenerConfig.keepOverrideHeaders";
const BALANCED: &str = "listenerConfig.proxyProtocol";
const FROM: &str = "listenerConfig.proxyProtocolFrom";

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Listeners> {
    let host = ip_address(values, "listenerConfig.host", problems);
    let at = |key| format!("listenerConfig.{key}");
    let identity = tls::identity(values, "listenerConfig", problems);
    let (http_port, https_port) = (values.number::<u16>(&at("httpPort")), values.number::<u16>(&at("httpsPort")));
    if http_port == https_port && http_port != 0 {
        let message = format!("`{}` and `{}` are both {http_port}", at("httpPort"), at("httpsPort"));
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin("listenerConfig"), message));
    }
    Some(Listeners {
        host: host?,
        http_port,
        https_port,
        max_header_size: values.number(&at("maxHeaderSize")),
        max_uri_length: max_uri_length(values, problems),
        max_body_size: max_body_size(values, problems),
        kept_headers: kept_headers(values, problems),
        http2: values.bool("http2.enable"),
        connections: connections(values, problems),
        balanced: balanced(values, problems),
        https_redirect: https_redirect(values, https_port, problems),
        tls: ciphers::range(values, "mutualSSLConfig", problems),
        identity,
        identity_named: tls::named(values, "listenerConfig"),
        certificates: certificates(values, problems),
    })
}

/// `None`: as long as a head may be.
fn max_uri_length(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<u32> {
    let (path, heads) = ("listenerConfig.maxUriLength", "listenerConfig.maxHeaderSize");
    let (longest, head) = (values.number::<u32>(path), values.number::<u32>(heads));
    if longest > head.next_multiple_of(1024) {
        let reason = format!("a whole head has {head} bytes at most (`{heads}`), and a longer one is answered 431");
        tls::without_effect(values, path, &reason, problems);
    }
    Some(longest).filter(|longest| *longest > 0)
}

/// `None` for -1, the one negative value.
fn max_body_size(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<u64> {
    let path = "listenerConfig.maxEntityBodySize";
    let size = values.integer(path);
    if size == 0 {
        let message = format!("`{path}` is 0, and Envoy has no limit below one byte");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help("-1: no limit"));
    }
    u64::try_from(size).ok()
}

fn certificates(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<CertificateFiles> {
    let mut found: Vec<CertificateFiles> = Vec::new();
    let mut taken = Vec::new();
    for entry in values.entries(CERTIFICATES) {
        let before = problems.len();
        let server_names = server_names(values, &format!("{entry}.serverNames"), &taken, problems);
        taken.extend_from_slice(&server_names);
        match tls::identity(values, &entry, problems) {
            Some(files) => {
                let named = tls::named(values, &entry);
                found.push(CertificateFiles { server_names, files, named });
            }
            None if problems.iter().skip(before).any(ConfigDiagnostic::is_error) => {}
            None => {
                let message = format!("`{entry}` names no certificate");
                let help = "`certificatePath` and `privateKeyPath`, or `keyStorePath`";
                let origin = values.section_origin(&entry);
                problems.push(ConfigDiagnostic::error(Code::Conflict, &origin, message).help(help));
            }
        }
    }
    found
}

fn kept_headers(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<String> {
    let mut kept = Vec::new();
    for text in values.list(KEPT) {
        let name = text.to_ascii_lowercase();
        if overrides::keepable().any(|known| known == name) {
            kept.push(name);
            continue;
        }
        let reason = if overrides::OPERATION.contains(&name.as_str()) {
            "makes backends run another operation than the one that was let through: it is always taken out"
        } else {
            "is none of the headers that are taken out"
        };
        let message = format!("`{KEPT}` has `{}` in it, which {reason}", text.escape_debug());
        let known: Vec<&str> = overrides::keepable().collect();
        let help = format!("one of {}", known.join(", "));
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(KEPT), message).help(help));
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Each once. `taken` are those of other certificates.
fn server_names(values: &Values, path: &str, taken: &[String], problems: &mut Vec<ConfigDiagnostic>) -> Vec<String> {
    let given = values.list(path);
    let mut names = Vec::new();
    for text in &given {
        // An address is no server name (RFC 6066 section 3).
        let name = hosts::parse(text).ok();
        let Some(name) = name.filter(|name| !name.starts_with('[') && name.parse::<IpAddr>().is_err()) else {
            let message = format!("`{path}` has `{}` in it, which is no name of a server", text.escape_debug());
            let help = "a DNS name, or `*.` with one for all below it";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help(help));
            continue;
        };
        if taken.contains(&name) {
            let message = format!("`{path}` has `{name}` in it, which another certificate is for");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(path), message));
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    if given.is_empty() && values.is_given(path) && !values.is_wrong(path) {
        let message = format!("`{path}` is empty: leave it out, and the certificate is for the names that are in it");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    names
}

/// The port that clients are led to.
fn https_redirect(values: &Values, https_port: u16, problems: &mut Vec<ConfigDiagnostic>) -> Option<u16> {
    if !values.bool(REDIRECT) {
        return None;
    }
    // What is wrong with it is said where it is read.
    let public = key_manager::public_url(values, &mut Vec::new()).and_then(|url| Url::parse(&url).ok());
    let reason = match public {
        Some(url) if url.scheme() == "https" => return url.port_or_known_default(),
        None if https_port != 0 => return Some(https_port),
        Some(_) => "leads to HTTPS, and `gateway.publicUrl` says that clients use http",
        None => "needs a port to lead to: `listenerConfig.httpsPort`, or that of `gateway.publicUrl`",
    };
    let message = format!("`{REDIRECT}` {reason}");
    problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(REDIRECT), message));
    None
}

fn balanced(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Balanced {
    let mut balanced = Balanced::default();
    for listener in values.list(BALANCED) {
        match listener.as_str() {
            "http" => balanced.http = true,
            "https" => balanced.https = true,
            "token" => balanced.token = true,
            other => {
                let message = format!("`{BALANCED}` has `{}` in it, which is no listener", other.escape_debug());
                let problem = ConfigDiagnostic::error(Code::BadValue, &values.origin(BALANCED), message);
                problems.push(problem.help("http, https, token"));
            }
        }
    }
    if balanced.token && !values.is_given("listenerConfig.tokenListenerPort") {
        let message = format!("`{BALANCED}` has `token` in it, and there is no `listenerConfig.tokenListenerPort`");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(BALANCED), message));
    }
    for text in values.list(FROM) {
        if let Some(range) = mutual_tls::range(&text) {
            if range.1 == 0 {
                let message = format!("`{FROM}` has `{text}` in it: whoever can connect says who he is");
                let problem = ConfigDiagnostic::warning(Code::Insecure, &values.origin(FROM), message);
                problems.push(problem.help("only where balancers connect from, as in `10.0.0.0/8`"));
            }
            balanced.from.push(range);
        } else {
            let message = format!(
                "`{FROM}` has `{}` in it, which is neither an address nor a range such as `10.0.0.0/8`",
                text.escape_debug()
            );
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(FROM), message));
        }
    }
    let any = balanced.http || balanced.https || balanced.token;
    if any && values.list(FROM).is_empty() && !values.is_wrong(FROM) {
        let message = format!("`{BALANCED}` needs `{FROM}`: otherwise anybody could say to be anybody");
        let help = "where the balancers connect from, as in `10.0.0.0/8`";
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(BALANCED), message).help(help));
    }
    if !any {
        tls::without_effect(values, FROM, &format!("`{BALANCED}` names no listener"), problems);
    }
    balanced
}

fn connections(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Connections {
    let at = |key: &str| format!("listenerConfig.{key}");
    let (keep_alive, most) = (at("keepAlive"), at("maxRequestsPerConnection"));
    let mut max_requests = Some(values.number(&most)).filter(|most| *most > 0);
    match values.text(&keep_alive).as_str() {
        "ALWAYS" => {
            let reason = "a client that asks for the end of its connection gets it; otherwise it stays, as with `AUTO`";
            tls::without_effect(values, &keep_alive, reason, problems);
        }
        "NEVER" => {
            if max_requests.is_some_and(|most| most > 1) {
                tls::without_effect(values, &most, &format!("`{keep_alive}` is `NEVER`"), problems);
            }
            max_requests = Some(1);
        }
        _ => {}
    }
    Connections {
        idle: values.number(&at("idleTimeout")),
        stream_idle: values.number(&at("streamIdleTimeout")),
        head: values.number(&at("requestHeaderTimeout")),
        request: values.number(&at("requestTimeout")),
        lifetime: values.number(&at("maxConnectionAge")),
        max_requests,
        max_streams: values.number("http2.maxConcurrentStreams"),
    }
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
