//! `[discovery]`, and what the old product called `etcdurl` and so on: who knows where backends are.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use microgw_discovery::{Consul, Dns, Etcd, Family, Settings, Tls};
use microgw_extproc::keys::is_loopback;
use reqwest::Url;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

const DNS_PORT: u16 = 53;
const ETCD: &str = "discovery.etcd";
const CONSUL: &str = "discovery.consul";
/// As in the old product.
const OLD_URL: &str = "etcdurl";

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Settings {
    let dns = dns(values, problems);
    let consul = consul(values, &dns, problems);
    Settings { etcd: etcd(values, problems), consul, dns }
}

fn dns(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Dns {
    let path = "discovery.nameservers";
    let mut nameservers = Vec::new();
    for text in values.list(path) {
        let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
        if let Ok(address) = text.parse().or(address) {
            nameservers.push(address);
        } else {
            let message = format!("`{path}` has `{text}` in it, which is no IP address, nor one with a port");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
        }
    }
    let family = match values.text("discovery.addressFamily").as_str() {
        "ipv4" => Family::Ipv4,
        "ipv6" => Family::Ipv6,
        "both" => Family::Both,
        _ => Family::PreferIpv4,
    };
    let (min_ttl, max_ttl) = (milliseconds(values, "discovery.minTtl"), milliseconds(values, "discovery.maxTtl"));
    if min_ttl > max_ttl {
        let message = "`discovery.minTtl` is more than `discovery.maxTtl`";
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin("discovery.minTtl"), message));
    }
    let keep_missing = milliseconds(values, "discovery.keepMissing");
    let timeout = milliseconds(values, "discovery.timeout");
    Dns { nameservers, family, min_ttl, max_ttl, keep_missing, timeout, ..Dns::default() }
}

/// `None` also where a problem leaves nothing to go on with.
fn etcd(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Etcd> {
    let path = format!("{ETCD}.urls");
    let (own, old) = (values.list(&path), values.list(OLD_URL));
    if !own.is_empty() && !old.is_empty() {
        let message = format!("`{path}` and `{OLD_URL}` both say where etcd is");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(OLD_URL), message));
    }
    let (path, urls) = if own.is_empty() { (OLD_URL.to_owned(), old) } else { (path, own) };
    // Each has its old name.
    let secret = |new: &str, old: &str| {
        let given = [format!("{ETCD}.{new}"), old.to_owned()].map(|path| (values.text(&path), path));
        given.into_iter().find(|(text, _)| !text.is_empty())
    };
    let (user, password) = (secret("username", "etcdusername"), secret("password", "etcdpassword"));
    if urls.is_empty() {
        let path = format!("{ETCD}.urls");
        if values.is_given(&path) && !values.is_wrong(&path) {
            let message = format!("`{path}` names no server of etcd");
            let help = "leave it out, and defaults are used";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), message).help(help));
            return None;
        }
        let members = values.members(ETCD).into_iter().map(|member| format!("{ETCD}.{member}"));
        for path in members.chain(["etcdusername", "etcdpassword"].map(str::to_owned)) {
            without_effect(values, &path, &format!("{ETCD}.urls"), problems);
        }
        return None;
    }
    let credentials = match (user, password) {
        (Some((user, _)), Some((password, _))) => Some((user, password)),
        (None, None) => None,
        // That has been said.
        _ if ["username", "password"].iter().any(|name| values.is_wrong(&format!("{ETCD}.{name}"))) => return None,
        (Some((_, path)), None) | (None, Some((_, path))) => {
            let message = format!("`{path}` needs a user and a password of etcd, and there is only one of them");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&path), message));
            None
        }
    };
    let urls: Option<Vec<String>> = urls.iter().map(|url| server(values, url, &path, ETCD, problems)).collect();
    let urls = urls?;
    Some(Etcd { tls: tls(values, ETCD, urls.iter(), problems), urls, credentials })
}

fn consul(values: &Values, dns: &Dns, problems: &mut Vec<ConfigDiagnostic>) -> Option<Consul> {
    let path = format!("{CONSUL}.url");
    let url = values.text(&path);
    if url.is_empty() {
        for member in values.members(CONSUL) {
            without_effect(values, &format!("{CONSUL}.{member}"), &path, problems);
        }
        return None;
    }
    let some = |key: &str| Some(values.text(&format!("{CONSUL}.{key}"))).filter(|text| !text.is_empty());
    let token = some("token");
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        let path = format!("{CONSUL}.token");
        let message = format!("`{path}` has a character that no token of Consul has");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), message));
    }
    let url = server(values, &url, &path, CONSUL, problems)?;
    let tls = tls(values, CONSUL, [&url].into_iter(), problems);
    let keep_missing = dns.keep_missing;
    Some(Consul { token, datacenter: some("datacenter"), tls, keep_missing, ..Consul::at(url) })
}

fn without_effect(values: &Values, path: &str, without: &str, problems: &mut Vec<ConfigDiagnostic>) {
    if values.is_given(path) {
        let message = format!("`{path}` has no effect without `{without}`");
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(path), message));
    }
}

/// `http://HOST:PORT` or `https://HOST:PORT`. Never shown: it may have a password in it.
fn server(
    values: &Values,
    text: &str,
    path: &str,
    section: &str,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<String> {
    match judged(text, values.bool(&format!("{section}.allowInsecure"))) {
        Ok(url) => Some(url),
        Err((reason, help)) => {
            let help = help.replace("{}", section);
            let message = format!("`{path}` {reason}");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help(help));
            None
        }
    }
}

/// Or what is wrong with it, and what to do.
fn judged(text: &str, allow_insecure: bool) -> Result<String, (&'static str, &'static str)> {
    let form = "it must be `https://HOST:PORT` or `http://HOST:PORT`";
    let url = Url::parse(text).map_err(|_| ("is not a URL", form))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(("is no `https:` or `http:` URL", form));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("has a user name or password in it", "they have settings of their own"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(("has more in it than a host and a port", form));
    }
    if url.scheme() == "http" && !allow_insecure && !is_loopback(&url) {
        let reason =
            "is `http:` to another host: whoever is on the way could say where requests go, and read the password";
        return Err((reason, "use `https:`, or set `{}.allowInsecure = true`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn tls<'a>(
    values: &Values,
    section: &str,
    mut urls: impl Iterator<Item = &'a String>,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Tls {
    let at = |key: &str| format!("{section}.{key}");
    let read = |key: &str| values.path(&at(key));
    let (authorities, certificate, key) = (read("caPath"), read("certificatePath"), read("privateKeyPath"));
    for (key, path) in [("caPath", &authorities), ("certificatePath", &certificate), ("privateKeyPath", &key)] {
        let Some(path) = path else { continue };
        if let Err(error) = std::fs::File::open(path) {
            let message = format!("`{}`: cannot read `{}`: {error}", at(key), path.display());
            problems.push(ConfigDiagnostic::error(Code::Unreadable, &values.origin(&at(key)), message));
        }
    }
    let given = [&authorities, &certificate, &key].into_iter().any(|path: &Option<PathBuf>| path.is_some());
    if given && !urls.any(|url| url.starts_with("https:")) {
        let message = format!("`[{section}]` has certificates, and no `https:` URL that they would be for");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin(section), message));
    }
    if certificate.is_some() != key.is_some() {
        let message = format!("`{}` and `{}` are only of use together", at("certificatePath"), at("privateKeyPath"));
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin(section), message));
    }
    Tls { authorities, identity: certificate.zip(key) }
}

fn milliseconds(values: &Values, path: &str) -> Duration {
    Duration::from_millis(values.number(path))
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
