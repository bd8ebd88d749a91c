//! Which TLS is offered: versions and cipher suites, as Java calls them.

use microgw_compiler::settings::{TlsRange, TlsVersion};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

/// Suites of TLS 1.2 with forward secrecy and authenticated encryption, as IANA (and Java) and as BoringSSL call them.
const SUITES: [(&str, &str); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];
/// TLS 1.3 has these, and nothing to choose.
const SUITES_OF_1_3: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const NO_LONGER: [&str; 5] = ["TLSv1.1", "TLSv1.0", "TLSv1", "SSLv3", "SSLv2Hello"];

/// Of `section`. What is asked for and not offered is warned of; with nothing left it is an error.
pub fn range(values: &Values, section: &str, problems: &mut Vec<ConfigDiagnostic>) -> TlsRange {
    let (versions, ciphers) = (format!("{section}.protocolVersions"), format!("{section}.ciphers"));
    let mut range = TlsRange::default();
    if let Some((least, most)) = offered(values, &versions, problems) {
        (range.least, range.most) = (least, most);
    }
    suites(values, &ciphers, &mut range, problems);
    range
}

/// The lowest and the highest that are named. `None`: none are.
fn offered(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<(TlsVersion, TlsVersion)> {
    let (names, origin) = (values.list(path), values.origin(path));
    let (mut versions, mut dropped) = (Vec::new(), Vec::new());
    for name in &names {
        match name.as_str() {
            "TLSv1.2" => versions.push(TlsVersion::V12),
            "TLSv1.3" => versions.push(TlsVersion::V13),
            old if NO_LONGER.contains(&old) => dropped.push(old),
            other => {
                let message = format!("`{path}` has `{other}` in it, which is no version of TLS");
                problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message).help("TLSv1.2, TLSv1.3"));
                return None;
            }
        }
    }
    let range = versions.iter().min().copied().zip(versions.iter().max().copied());
    if range.is_none() {
        let message = format!("`{path}` leaves no version that is offered: TLSv1.2 and TLSv1.3 are");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message));
    } else if !dropped.is_empty() {
        let message = format!("`{path}`: {} is not offered", dropped.join(", "));
        let help = if versions.contains(&TlsVersion::V13) { "" } else { "name TLSv1.3, too, to offer it" };
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &origin, message).help(help));
    }
    range
}

fn suites(values: &Values, path: &str, range: &mut TlsRange, problems: &mut Vec<ConfigDiagnostic>) {
    let (names, origin) = (values.list(path), values.origin(path));
    if names.is_empty() {
        return;
    }
    let mut dropped = Vec::new();
    for name in &names {
        let known = SUITES.iter().find(|(java, boring)| java == name || boring == name);
        match known {
            Some((_, boring)) if !range.ciphers.iter().any(|cipher| cipher == boring) => {
                range.ciphers.push((*boring).to_owned());
            }
            Some(_) => {}
            None if SUITES_OF_1_3.contains(&name.as_str()) => {}
            None => dropped.push(name.as_str()),
        }
    }
    let only_1_3 = range.ciphers.is_empty() && names.iter().any(|name| SUITES_OF_1_3.contains(&name.as_str()));
    if only_1_3 && range.most == TlsVersion::V13 {
        range.least = TlsVersion::V13;
    } else if range.ciphers.is_empty() && range.least == TlsVersion::V12 {
        let message = format!("`{path}` leaves no cipher suite of TLS 1.2 that is offered");
        let offered = SUITES.map(|(java, _)| java).join(", ");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message).help(format!("offered are {offered}")));
        return;
    }
    if !dropped.is_empty() {
        let message = format!("`{path}`: {} of {} suites are not offered", dropped.len(), names.len());
        let help = format!("without forward secrecy or authenticated encryption, or unknown: {}", dropped.join(", "));
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &origin, message).help(help));
    }
}

#[cfg(test)]
#[path = "ciphers_tests.rs"]
mod tests;
