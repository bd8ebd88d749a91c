//! URLs of backends, strictly: what two readers could take for different things is refused, not repaired.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::BackendUrl;

/// Why a URL cannot be used for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("it is relative: it names no host")]
    Relative,
    #[error("its scheme is neither `http` nor `https`")]
    Scheme,
    #[error("it has a user name or password")]
    UserInfo,
    #[error("its host is not valid")]
    Host,
    #[error("its host has letters outside ASCII")]
    International,
    #[error("its port is not a number from 1 to 65535")]
    Port,
    #[error("it has a query or a fragment")]
    Query,
    #[error("its path has an empty, `.` or `..` segment, or a character that cannot stand in a path")]
    Path,
}

/// An absolute `http` or `https` URL. The scheme may be in any case; the host is lower-cased; slashes at the end go.
pub fn parse(text: &str) -> Result<BackendUrl, UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Relative)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(UrlError::Scheme),
    };
    if rest.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']').ok_or(UrlError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or(UrlError::Host)?),
            };
            (address.to_string(), port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (named_host(host)?, Some(port)),
            None => (named_host(authority)?, None),
        },
    };
    let port = match port {
        None if tls => 443,
        None => 80,
        Some(port) => parse_port(port).ok_or(UrlError::Port)?,
    };
    let path = normal_path(path).ok_or(UrlError::Path)?;
    Ok(BackendUrl { tls, host, port, path })
}

/// `""` for the root, else `/...` without slashes at the end. `None` when it is not a concrete, normalised path.
pub fn normal_path(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    is_normal_path(path).then(|| path.to_owned())
}

/// `""`, or `/` and segments that are neither empty nor dots, of characters of RFC 3986 section 3.3.
pub fn is_normal_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return path.is_empty() };
    rest.split('/').all(|segment| {
        !matches!(segment, "" | "." | "..")
            && !encodes_dots(segment)
            && segment.bytes().all(is_path_byte)
            && escapes_are_whole(segment)
    })
}

/// A host as it stands in a URL.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A DNS name in lower case, or an address without brackets.
pub fn is_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return address.to_string() == host;
    }
    named_host(host).is_ok_and(|lower| lower == host)
}

fn named_host(host: &str) -> Result<String, UrlError> {
    if !host.is_ascii() {
        return Err(UrlError::International);
    }
    let host = host.to_ascii_lowercase();
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(&host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            // Not in RFC 1123, but in the names of many container networks.
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // `1.2.3` and `0x7f.1` are addresses to some resolvers and names to others.
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit()) || label.starts_with("0x");
    if name.len() > 253 || !name.split('.').all(label) || name.rsplit('.').next().is_none_or(numeric) {
        return Err(UrlError::Host);
    }
    Ok(name.to_owned())
}

fn parse_port(port: &str) -> Option<u16> {
    let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

/// RFC 3986 section 3.3: `pchar`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

fn escapes_are_whole(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

/// `%2e` is a dot to whoever decodes before looking.
fn encodes_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
