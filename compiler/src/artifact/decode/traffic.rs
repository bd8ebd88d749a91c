//! Whether an artifact's endpoints, and what it says of traffic, are such as a project can declare.

use microgw_proto::artifact::v1 as proto;
use microgw_proto::traffic::v1::{ApiTraffic, OperationTraffic};

use super::{Bounds, Result, given, invalid};
use crate::model::{BackendUrl, Canary, Endpoint, Lookup, Target};
use crate::traffic;
use crate::url;

pub(super) fn endpoint(endpoint: proto::Endpoint) -> Result<Endpoint> {
    let endpoint = Endpoint {
        targets: endpoint.targets.into_iter().map(target).collect::<Result<_>>()?,
        name: endpoint.name,
        policy: endpoint.policy.unwrap_or_default(),
        canary: endpoint.canary.map(canary).transpose()?,
    };
    if traffic::endpoint_is_sound(&endpoint) { Ok(endpoint) } else { invalid("an endpoint is malformed") }
}

fn target(target: proto::Target) -> Result<Target> {
    use proto::target::Lookup as Found;
    let Some(url) = target.url else { return invalid("a target has no URL") };
    let lookup = match target.lookup {
        None => Lookup::Host,
        Some(Found::Etcd(key)) => Lookup::Etcd(key),
        Some(Found::Srv(name)) => Lookup::Srv(name),
        Some(Found::Consul(service)) => Lookup::Consul(service),
    };
    Ok(Target { url: backend(url)?, weight: target.weight.max(1), lookup })
}

fn canary(canary: proto::Canary) -> Result<Canary> {
    Ok(Canary {
        targets: canary.targets.into_iter().map(target).collect::<Result<_>>()?,
        share: canary.share,
        header: given(canary.header).map(|name| (name, given(canary.value))),
    })
}

fn backend(backend: proto::Url) -> Result<BackendUrl> {
    let port = u16::try_from(backend.port).ok().filter(|port| *port != 0);
    match port {
        Some(port) if url::is_host(&backend.host) && url::is_normal_path(&backend.path) => {
            Ok(BackendUrl { tls: backend.tls, host: backend.host, port, path: backend.path })
        }
        _ => invalid(format!("`{}`, port {}, path `{}` is no backend", backend.host, backend.port, backend.path)),
    }
}

pub(super) fn of_api(traffic: Option<ApiTraffic>) -> Result<ApiTraffic> {
    let traffic = traffic.unwrap_or_default();
    if traffic::api_is_sound(&traffic) { Ok(traffic) } else { invalid("what an API says of traffic is malformed") }
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn traffic(&self, traffic: Option<OperationTraffic>) -> Result<OperationTraffic> {
        let traffic = traffic.unwrap_or_default();
        let mirrors = traffic.mirrors.iter().map(|mirror| mirror.endpoint as usize);
        if !mirrors.into_iter().all(|index| (1..=self.endpoints).contains(&index)) {
            return invalid("an operation is mirrored to an endpoint that does not exist");
        }
        if traffic::operation_is_sound(&traffic) {
            Ok(traffic)
        } else {
            invalid("what an operation says of traffic is malformed")
        }
    }
}
