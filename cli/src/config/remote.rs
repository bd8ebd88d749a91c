//! Where Envoys on other hosts are served, and which of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::resolve::ip_address;
use super::tls::{self, IdentityFiles};
use super::values::Values;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `None`: Envoys of this host only.
    pub host: Option<IpAddr>,
    /// 0: any free port.
    pub xds_port: u16,
    pub authz_port: u16,
    pub issuer_port: u16,
    /// `None`: not configured, and nothing to be served without being told so.
    pub tls: Option<MutualTls>,
}

/// What is presented, and who is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualTls {
    pub identity: IdentityFiles,
    /// Authorities, PEM.
    pub client_ca: PathBuf,
    /// Empty: every client whose certificate is of an authority.
    pub client_names: Vec<String>,
}

const SECTION: &str = "remoteConfig";
const HOST: &str = "remoteConfig.host";
const CLIENT_CA: &str = "remoteConfig.clientCaPath";
const CLIENT_NAMES: &str = "remoteConfig.clientNames";
const PORTS: [&str; 3] = ["remoteConfig.xdsPort", "remoteConfig.authzPort", "remoteConfig.issuerPort"];
const TLS: [&str; 4] = ["remoteConfig.certificatePath", "remoteConfig.privateKeyPath", CLIENT_CA, CLIENT_NAMES];

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Remote> {
    let host = if values.text(HOST).is_empty() { None } else { Some(ip_address(values, HOST, problems)?) };
    let ports = PORTS.map(|path| values.number::<u16>(path));
    let mut taken = BTreeMap::new();
    for (port, path) in ports.into_iter().zip(PORTS).filter(|(port, _)| *port != 0) {
        if let Some(other) = taken.insert(port, path) {
            let message = format!("`{other}` and `{path}` are both {port}");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin(SECTION), message));
        }
    }
    if host.is_none() {
        for path in TLS.into_iter().filter(|path| values.is_given(path)) {
            let message = format!("`{path}` has no effect: `{HOST}` is not given");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(path), message));
        }
    }
    let [xds_port, authz_port, issuer_port] = ports;
    Some(Remote { host, xds_port, authz_port, issuer_port, tls: mutual_tls(values, problems) })
}

/// All of it or nothing: half of it would be less than was asked for.
fn mutual_tls(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<MutualTls> {
    let identity = tls::identity(values, SECTION, problems);
    let client_ca = values.path(CLIENT_CA);
    let client_names = values.list(CLIENT_NAMES);
    for name in client_names.iter().filter(|name| !is_whole_name(name)) {
        let message =
            format!("`{CLIENT_NAMES}` has {name:?} in it: names are compared whole, and have no `*` or blanks");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(CLIENT_NAMES), message));
    }
    let mut needs = |given: &str, missing: &str| {
        let message = format!("`{given}` needs `{missing}`");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(given), message));
    };
    if !client_names.is_empty() && client_ca.is_none() {
        needs(CLIENT_NAMES, CLIENT_CA);
    }
    match (identity, client_ca) {
        (Some(identity), Some(client_ca)) => Some(MutualTls { identity, client_ca, client_names }),
        (None, Some(_)) => {
            needs(CLIENT_CA, "remoteConfig.certificatePath");
            None
        }
        (Some(_), None) => {
            needs("remoteConfig.certificatePath", CLIENT_CA);
            None
        }
        (None, None) => None,
    }
}

/// Any other would keep everybody out.
fn is_whole_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('*') && name.chars().all(|character| character.is_ascii_graphic())
}

// === impl Remote ===

impl Remote {
    /// xDS, decisions, the API-key issuer.
    pub fn ports(&self) -> [u16; 3] {
        [self.xds_port, self.authz_port, self.issuer_port]
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
