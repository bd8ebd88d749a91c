//! Where requests go: targets, their shares, `Host`, and by what backends know the gateway.

use std::net::IpAddr;

use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::{Balance, Credentials, Host, host};

use crate::model::{BackendUrl, Endpoint, Lookup, Target};
use crate::names;
use crate::secret::Reference;
use crate::url;

pub const MAX_TARGETS: usize = 256;
/// Each combination of scheme and path is a route of every operation.
pub const MAX_WAYS: usize = 16;
pub const MAX_WEIGHT: u32 = 10_000;
/// Of a canary, of 10,000 requests.
pub const ALL_REQUESTS: u32 = 10_000;
/// Characters of a key, a user's name, a header's value.
pub const MAX_TEXT: usize = 1024;

pub fn is_sound(endpoint: &Endpoint) -> bool {
    let failover = endpoint.policy.balance() == Balance::Failover;
    let canary = endpoint.canary.as_ref().is_none_or(|canary| {
        let header = canary.header.as_ref();
        are_sound(&canary.targets, false)
            && canary.share <= ALL_REQUESTS
            && (canary.share > 0 || header.is_some())
            && header.is_none_or(|(name, value)| is_canary_header(name) && value.as_deref().is_none_or(is_value))
    });
    are_sound(&endpoint.targets, failover)
        && canary
        && endpoint.policy.credentials.as_ref().is_none_or(credentials_are_sound)
        && endpoint.policy.host.as_ref().is_none_or(host_is_sound)
}

/// How many combinations of scheme and path there are.
pub fn ways<'u>(urls: impl IntoIterator<Item = &'u BackendUrl>) -> usize {
    let mut kinds: Vec<&BackendUrl> = Vec::new();
    for url in urls {
        if !kinds.iter().any(|kind| kind.is_like(url)) {
            kinds.push(url);
        }
    }
    kinds.len()
}

/// A header by which clients choose a canary. None that has a secret: the artifact would have one.
pub fn is_canary_header(name: &str) -> bool {
    names::is_credential_header(name) && !["authorization", "proxy-authorization", "cookie"].contains(&name)
}

/// What can stand in a header: visible ASCII, and spaces inside.
pub fn is_value(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
        && text.trim() == text
        && text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
}

/// RFC 7617 section 2.
pub fn is_user(name: &str) -> bool {
    (1..=MAX_TEXT).contains(&name.len()) && !name.contains(':') && !name.chars().any(char::is_control)
}

pub fn lookup_is_sound(lookup: &Lookup) -> bool {
    match lookup {
        Lookup::Host => true,
        Lookup::Etcd(key) => (1..=MAX_TEXT).contains(&key.len()) && !key.chars().any(char::is_control),
        Lookup::Srv(name) => url::is_host(name) && name.parse::<IpAddr>().is_err(),
        Lookup::Consul(service) => {
            (1..=MAX_TEXT).contains(&service.len())
                && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        }
    }
}

/// A secret is for the server of the token alone: in the clear it may only travel within this machine.
pub fn is_token_url(text: &str) -> bool {
    let here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url::parse(text).is_ok_and(|url| url.tls || here(&url.host))
}

fn are_sound(targets: &[Target], failover: bool) -> bool {
    let ways = ways(targets.iter().map(|target| &target.url));
    (1..=MAX_TARGETS).contains(&targets.len())
        && ways <= if failover { 1 } else { MAX_WAYS }
        && targets.iter().all(|target| (1..=MAX_WEIGHT).contains(&target.weight) && lookup_is_sound(&target.lookup))
}

fn host_is_sound(host: &Host) -> bool {
    match &host.kind {
        Some(host::Kind::AsSent(as_sent)) => *as_sent,
        Some(host::Kind::Name(name)) => host_name(name).is_some_and(|normal| normal == *name),
        None => false,
    }
}

/// A host and perhaps a port, as they stand in `Host`.
pub fn host_name(text: &str) -> Option<String> {
    let url = url::parse(&format!("http://{text}")).ok().filter(|url| url.path.is_empty() && !text.ends_with('/'))?;
    let port = text.rsplit(':').next().filter(|port| text.contains(':') && !port.ends_with(']'));
    let host = url::bracketed(&url.host);
    Some(port.map_or_else(|| host.clone(), |_| format!("{host}:{}", url.port)))
}

fn credentials_are_sound(credentials: &Credentials) -> bool {
    match &credentials.kind {
        Some(Kind::Basic(basic)) => {
            is_user(&basic.user) && (basic.password.is_empty() || Reference::is_one(&basic.password))
        }
        Some(Kind::Bearer(token)) => Reference::is_one(token),
        Some(Kind::ApiKey(key)) => names::is_credential_header(&key.header) && Reference::is_one(&key.value),
        Some(Kind::Oauth2(oauth2)) => {
            is_token_url(&oauth2.token_url)
                && is_value(&oauth2.client_id)
                && Reference::is_one(&oauth2.client_secret)
                && oauth2.scopes.iter().all(|scope| names::is_scope(scope))
        }
        None => false,
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
