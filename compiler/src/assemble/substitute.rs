//! A model with some APIs as they were before, for when Envoy refuses their new content.

use super::key;
use crate::hosts;
use crate::model::{Api, EndpointId, LimitId, Model};
use crate::snapshot::{Fallback, Fallbacks};

/// `model` with the APIs in fallback as they are in `previous`. Left out are those without a predecessor, and those whose
/// old base path belongs to another API by now: below a base path only its own API is served, of each host.
pub fn substitute(model: &Model, fallbacks: &Fallbacks, previous: Option<&Model>) -> Model {
    let mut result = model.clone();
    let own: Vec<Api> = std::mem::take(&mut result.apis);
    let serves = |api: &&Api| !fallbacks.contains_key(&key(api));
    let taken: Vec<(String, Vec<String>)> =
        own.iter().filter(serves).map(|api| (api.base_path.clone(), api.traffic.hosts.clone())).collect();
    let is_free = |old: &Api| {
        !taken.iter().any(|(base, hosts)| *base == old.base_path && hosts::overlap(hosts, &old.traffic.hosts))
    };
    let mut before = previous.map(|previous| appended(&mut result, previous)).unwrap_or_default();
    for api in own {
        match fallbacks.get(&key(&api)) {
            None => result.apis.push(api),
            Some(Fallback::Previous) => {
                let at = before.iter().position(|old| key(old) == key(&api) && is_free(old));
                result.apis.extend(at.map(|at| before.swap_remove(at)));
            }
            Some(Fallback::Unavailable) => {}
        }
    }
    result.apis.sort_by(|a, b| a.base_path.cmp(&b.base_path));
    result
}

/// Adds what `previous`'s APIs refer to, and returns those APIs with their references adjusted.
fn appended(model: &mut Model, previous: &Model) -> Vec<Api> {
    let index = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let (files, endpoints) = (index(model.files.len()), index(model.endpoints.len()));
    let limits = index(model.limits.len());
    model.files.extend(previous.files.iter().cloned());
    model.endpoints.extend(previous.endpoints.iter().cloned());
    model.limits.extend(previous.limits.iter().cloned());
    let mut apis = previous.apis.clone();
    for api in &mut apis {
        api.source.file += files;
        api.limit = api.limit.map(|limit| LimitId(limit.0 + limits));
        for operation in &mut api.operations {
            operation.source.file += files;
            operation.limit = operation.limit.map(|limit| LimitId(limit.0 + limits));
            for endpoint in [&mut operation.production, &mut operation.sandbox].into_iter().flatten() {
                *endpoint = EndpointId(endpoint.0 + endpoints);
            }
            for mirror in &mut operation.traffic.mirrors {
                mirror.endpoint += endpoints;
            }
        }
    }
    apis
}
