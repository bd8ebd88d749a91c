//! `[discovery]`: who knows where backends are.

use std::net::{IpAddr, SocketAddr};

use microgw_discovery::{Dns, Settings};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

const DNS_PORT: u16 = 53;

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Settings {
    let path = "discovery.nameservers";
    let mut nameservers = Vec::new();
    for text in values.list(path) {
        let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
        match text.parse().or(address) {
            Ok(address) => nameservers.push(address),
            Err(_) => {
                let message = format!("`{path}` has `{text}` in it, which is no IP address, nor one with a port");
                problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
            }
        }
    }
    Settings { dns: Dns { nameservers, ..Dns::default() }, ..Settings::default() }
}
