//! Copies of requests.

use microgw_proto::traffic::v1::{Mirror, OperationTraffic};

use crate::model::{Endpoint, Operation};

/// Of one operation: each is another request for every one that comes.
pub const MAX_MIRRORS: usize = 4;
/// All requests.
pub const WHOLE: u32 = 10_000;

pub fn are_sound(traffic: &OperationTraffic) -> bool {
    let sound = |mirror: &Mirror| mirror.endpoint > 0 && (1..=WHOLE).contains(&mirror.share);
    traffic.mirrors.len() <= MAX_MIRRORS
        && traffic.mirrors.iter().all(sound)
        // What has no end would be copied without end, and nobody reads the answer.
        && (traffic.mirrors.is_empty() || !(traffic.websocket || traffic.timeout == Some(0) || traffic.answer.is_some()))
}

/// Copies go to one cluster, which has TLS or has none.
pub fn has_one_scheme(mirror: &Endpoint) -> bool {
    let mut schemes = mirror.targets.iter().map(|target| target.url.tls);
    schemes.next().is_none_or(|first| schemes.all(|other| other == first))
}

/// Whether copies have a path that the mirror knows: they have that of the backend, whatever the mirror's URL says.
pub fn fits(mirror: &Endpoint, production: &Endpoint) -> bool {
    let paths = |endpoint: &Endpoint| {
        let canary = endpoint.canary.iter().flat_map(|canary| &canary.targets);
        let targets = endpoint.targets.iter().chain(canary);
        targets.map(|target| target.url.path.clone()).collect::<Vec<_>>()
    };
    let production = paths(production);
    paths(mirror).iter().all(|path| path.is_empty() || production.iter().all(|own| own == path))
}

/// Those of an operation that has a production endpoint.
pub fn of(operation: &Operation) -> &[Mirror] {
    if operation.production.is_some() { &operation.traffic.mirrors } else { &[] }
}
