//! Protected resource metadata, RFC 9728: whose tokens are taken where, for clients that know nothing but the API's URL.
//! Made once for each snapshot; Envoy answers.

use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::{Map, Value};

use super::routes::{self, Entry, Refusal};
use crate::model::{Access, Api, Model, Requirement, Transports};
use crate::path::PathTemplate;
use crate::settings::Settings;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a proof of possession may be signed with, as the engine's own challenges say it.
const PROOF_ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Whether the gateway answers there, if it is told where clients reach it.
pub fn is_below(path: &str) -> bool {
    path.strip_prefix(WELL_KNOWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where an API's metadata is. The path goes between the host and the resource's own, RFC 9728 section 3.1.
pub fn url(settings: &Settings, api: &Api) -> Option<String> {
    origin(settings, api).map(|public| format!("{public}{WELL_KNOWN}{}", api.base_path))
}

/// Where clients reach an API: on its first host that is a name, if it answers to some only.
pub fn origin(settings: &Settings, api: &Api) -> Option<String> {
    let public = settings.public_url.as_ref()?;
    let hosts = &api.traffic.hosts;
    if hosts.is_empty() {
        return Some(public.clone());
    }
    let host = hosts.iter().find(|host| !host.starts_with('*'))?;
    on_host(public, host)
}

/// The same place, with another host.
pub fn on_host(public: &str, host: &str) -> Option<String> {
    let (scheme, authority) = public.split_once("://")?;
    let named = authority.rfind(']').map_or(0, |end| end + 1);
    let port = authority.get(named..).and_then(|rest| rest.find(':').and_then(|at| rest.get(at..))).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

/// The answers, by the hosts that they are for, and the length of the longest.
pub fn entries(model: &Model, settings: &Settings) -> (Vec<(Vec<String>, Entry)>, usize) {
    let Some(public) = &settings.public_url else { return (Vec::new(), 0) };
    let mut all = BTreeSet::new();
    let mut answers = Vec::new();
    let mut headers = BTreeSet::new();
    for api in &model.apis {
        let Some(scopes) = scopes(api) else { continue };
        let header = api.credential_header.as_ref().unwrap_or(&settings.credentials.header).as_str();
        all.extend(scopes.iter().copied());
        headers.insert(header);
        if !api.base_path.is_empty() {
            // Below several names it has no name of its own that clients could compare.
            let Some(origin) = origin(settings, api) else { continue };
            let body = metadata(settings, &origin, &api.base_path, &scopes, header);
            answers.push((api.traffic.hosts.as_slice(), api.base_path.as_str(), body));
        }
    }
    if !headers.is_empty() {
        let header = if let [header] = headers.iter().copied().collect::<Vec<_>>()[..] { header } else { "" };
        answers.push((&[], "", metadata(settings, public, "", &all, header)));
    }
    let longest = answers.iter().map(|(_, _, body)| body.len()).max().unwrap_or(0);
    let entries = answers.iter().filter_map(|(hosts, base_path, body)| Some((hosts.to_vec(), entry(base_path, body)?)));
    (entries.collect(), longest)
}

fn entry(base_path: &str, body: &str) -> Option<Entry> {
    let template = PathTemplate::parse(&format!("{WELL_KNOWN}{base_path}")).ok()?;
    let mut matching = routes::path_match(&template);
    matching.headers.push(routes::header_is(":method", "GET"));
    let route = routes::direct(matching, 200, Some(body), &[]);
    let refusal = Some(Refusal::of("GET", Transports { http: true, https: true }));
    Some(Entry { template, routes: vec![route.encode_to_vec()], refusal })
}

/// The scopes that an API asks of access tokens. `None`: it takes none.
fn scopes(api: &Api) -> Option<BTreeSet<&str>> {
    let mut scopes = None;
    for operation in &api.operations {
        let Access::Guarded(alternatives) = &operation.access else { continue };
        for requirement in alternatives.iter().flat_map(|alternative| &alternative.0) {
            if let Requirement::OAuth2 { scopes: own, .. } = requirement {
                scopes.get_or_insert_with(BTreeSet::new).extend(own.iter().map(String::as_str));
            }
        }
    }
    scopes
}

fn metadata(settings: &Settings, public: &str, base_path: &str, scopes: &BTreeSet<&str>, header: &str) -> String {
    // Issuers are URLs to those who look for their metadata; other names say nothing to a client.
    let asked = settings.introspection.iter().map(|introspection| introspection.issuer.as_str());
    let issuers = settings.issuers.iter().map(|issuer| issuer.issuer.as_str()).chain(asked);
    let servers: BTreeSet<&str> = issuers.filter(|issuer| issuer.starts_with("https://")).collect();
    let mut metadata = Map::new();
    let mut say = |name: &str, value: Value| drop(metadata.insert(name.to_owned(), value));
    say("resource", format!("{public}{base_path}").into());
    // None: the token is sent in a way that RFC 6750 does not have.
    let methods: &[&str] = if header == "authorization" { &["header"] } else { &[] };
    say("bearer_methods_supported", methods.iter().copied().collect());
    if !servers.is_empty() {
        say("authorization_servers", servers.into_iter().collect());
    }
    if settings.client_certificates.can_arrive() {
        say("tls_client_certificate_bound_access_tokens", true.into());
    }
    if settings.introspection.is_none()
        && !settings.issuers.is_empty()
        && settings.issuers.iter().all(|issuer| issuer.require_dpop)
    {
        say("dpop_bound_access_tokens_required", true.into());
    }
    say("dpop_signing_alg_values_supported", PROOF_ALGORITHMS.into_iter().collect());
    if !scopes.is_empty() {
        say("scopes_supported", scopes.iter().copied().collect());
    }
    Value::Object(metadata).to_string()
}
