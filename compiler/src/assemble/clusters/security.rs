//! TLS to the backends of a cluster: that of all backends, or of the profile that the endpoint names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use microgw_proto::traffic::v1::EndpointPolicy;

use crate::assemble::tls::{Naming, Terms};
use crate::assemble::{names, secrets, tls};
use crate::model::{Api, Endpoint, EndpointId, Model, Operation};
use crate::settings::{Backends, Settings, TlsRange, Verification};
use crate::snapshot::{Resource, ResourceType};

/// What one cluster's backends are met with.
pub struct Security<'a> {
    /// `None`: nobody is verified.
    trust: Option<Cow<'static, str>>,
    identity: Option<Cow<'static, str>>,
    verification: Verification,
    range: Cow<'a, TlsRange>,
    /// Instead of each target's own.
    server_name: &'a str,
}

// === impl Security ===

impl<'a> Security<'a> {
    pub fn of(policy: &'a EndpointPolicy, backends: &'a Backends) -> Security<'a> {
        let server_name = policy.server_name.as_str();
        if policy.tls_profile.is_empty() {
            return Security {
                trust: (backends.verification != Verification::Nothing).then_some(names::BACKEND_TRUST_SECRET.into()),
                identity: backends.identity.is_some().then_some(names::BACKEND_IDENTITY_SECRET.into()),
                verification: backends.verification,
                range: Cow::Borrowed(&backends.tls),
                server_name,
            };
        }
        let name = &policy.tls_profile;
        let profile = backends.profiles.iter().find(|profile| profile.name == *name);
        Security {
            // Of a profile that is not there nobody has the secret: nothing is offered.
            trust: Some(trust(name).into()),
            identity: profile.is_some_and(|profile| profile.identity.is_some()).then(|| identity(name).into()),
            verification: Verification::Full,
            range: profile.map_or_else(Cow::default, |profile| Cow::Borrowed(&profile.tls)),
            server_name,
        }
    }

    pub fn socket(&self, host: &str) -> TransportSocket {
        let name = if self.server_name.is_empty() { host } else { self.server_name };
        tls::to_backend(name, &self.terms(), Naming::Fixed)
    }

    /// For hosts whose names are found out later, unless all have one.
    pub fn discovered(&self, host: &str) -> TransportSocket {
        if !self.server_name.is_empty() {
            return self.socket(host);
        }
        tls::to_backend(host, &self.terms(), Naming::ByHost)
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            range: &self.range,
            identity: self.identity.as_deref(),
            trust: self.trust.as_deref(),
            verification: self.verification,
        }
    }

    /// What the cluster needs.
    pub fn references(&self) -> impl Iterator<Item = (ResourceType, Arc<str>)> {
        let secrets = [self.trust.as_deref(), self.identity.as_deref()];
        secrets.into_iter().flatten().map(|name| (ResourceType::Secret, name.into()))
    }
}

fn trust(profile: &str) -> String {
    format!("{}/{profile}", names::BACKEND_TRUST_SECRET)
}

fn identity(profile: &str) -> String {
    format!("{}/{profile}", names::BACKEND_IDENTITY_SECRET)
}

/// Those of the profiles that `endpoints` use.
pub fn secrets<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, backends: &Backends) -> BTreeMap<Arc<str>, Resource> {
    let mut found = BTreeMap::new();
    for endpoint in endpoints.filter(|endpoint| endpoint.urls().any(|url| url.tls)) {
        let name = &endpoint.policy.tls_profile;
        let Some(profile) = backends.profiles.iter().find(|profile| profile.name == *name) else { continue };
        if let Some(store) = &profile.trust {
            let name = trust(name);
            found.entry(name.as_str().into()).or_insert_with(|| secrets::trust(&name, store));
        }
        if let Some(own) = &profile.identity {
            let name = identity(name);
            found.entry(name.as_str().into()).or_insert_with(|| secrets::identity(&name, own));
        }
    }
    found
}

/// An endpoint that asks for a profile that the settings do not have.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let profiles = &settings.backends.profiles;
    let unknown = |api: &Api, operation: &Operation| {
        let mirrors = operation.traffic.mirrors.iter().filter_map(|mirror| mirror.endpoint.checked_sub(1));
        let ids = [operation.production, operation.sandbox].into_iter().flatten().chain(mirrors.map(EndpointId));
        let names = ids.filter_map(|id| Some(&model.endpoint(id)?.policy.tls_profile));
        let mut unknown = names.filter(|name| !name.is_empty() && profiles.iter().all(|known| known.name != **name));
        let name = unknown.next()?;
        let known: Vec<String> = profiles.iter().map(|profile| format!("`{}`", profile.name)).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) };
        Some(format!(
            "{}: an endpoint of {} {} asks for the TLS profile `{name}`, which `[[httpClients.tlsProfiles]]` does not have: {known}",
            model.locate(operation.source),
            api.name,
            api.version,
        ))
    };
    model.apis.iter().find_map(|api| api.operations.iter().find_map(|operation| unknown(api, operation)))
}
