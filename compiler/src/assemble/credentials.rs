//! By what backends know the gateway: put into requests on their way out, from secrets. Whatever a client sent in that
//! header is overwritten; without the secret nothing is sent at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{HttpUri, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::http::injected_credentials::oauth2::v3::OAuth2 as Injected;
use envoy_types::pb::envoy::extensions::http::injected_credentials::oauth2::v3::o_auth2::{
    AuthType, ClientCredentials, FlowType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use envoy_types::pb::google::protobuf::Any;
use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::{Credentials, OAuth2};
use prost::Message as _;

use super::wire::{any, digest, hex, seconds};
use super::{ads, clusters, secrets};
use crate::model::Endpoint;
use crate::settings::{Backends, Secrets, Verification};
use crate::snapshot::{Assignment, Resource, ResourceType};
use crate::url;

const TOKEN_SECONDS: i64 = 10;

/// Where tokens come from.
pub struct TokenServer {
    pub tls: bool,
    pub cluster: Resource,
    /// `None`: its addresses are in the cluster.
    pub assignment: Option<Assignment>,
}

/// The filters of a cluster whose backends get `credentials`. The codec must be the last where there is another.
pub fn filters(credentials: &Credentials) -> Vec<HttpFilter> {
    let Some(kind) = &credentials.kind else { return Vec::new() };
    let secret = Some(SdsSecretConfig { name: secret_name(credentials), sds_config: Some(ads()) });
    let (name, config) = match kind {
        Kind::Basic(_) | Kind::Bearer(_) => ("generic", any(&Generic { credential: secret, ..Default::default() })),
        Kind::ApiKey(key) => {
            ("generic", any(&Generic { credential: secret, header: key.header.clone(), ..Default::default() }))
        }
        Kind::Oauth2(oauth2) => ("oauth2", any(&token(oauth2, secret))),
    };
    let injected =
        TypedExtensionConfig { name: format!("envoy.http.injected_credentials.{name}"), typed_config: Some(config) };
    let injector = CredentialInjector { overwrite: true, credential: Some(injected), ..Default::default() };
    let filter = |name: &str, config: Any| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    vec![
        filter("envoy.filters.http.credential_injector", any(&injector)),
        filter("envoy.filters.http.upstream_codec", any(&UpstreamCodec {})),
    ]
}

/// What a cluster with [`filters`] refers to.
pub fn references(credentials: &Credentials) -> Vec<(ResourceType, Arc<str>)> {
    let server = match &credentials.kind {
        Some(Kind::Oauth2(oauth2)) => Some((ResourceType::Cluster, token_cluster(oauth2).into())),
        _ => None,
    };
    std::iter::once((ResourceType::Secret, secret_name(credentials).into())).chain(server).collect()
}

/// The secrets of `endpoints`. One that cannot be had is missing: what refers to it is not offered.
pub fn secrets<'e>(endpoints: impl IntoIterator<Item = &'e Endpoint>, known: &Secrets) -> BTreeMap<Arc<str>, Resource> {
    let credentials = endpoints.into_iter().filter_map(|endpoint| endpoint.policy.credentials.as_ref());
    credentials
        .filter_map(|credentials| {
            let reference = super::overrides::reference(credentials)?;
            let value = known.0.get(reference)?.as_ref().ok()?;
            let text = match credentials.kind.as_ref()? {
                Kind::Basic(basic) => {
                    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{value}", basic.user)))
                }
                Kind::Bearer(_) => format!("Bearer {value}"),
                Kind::ApiKey(_) | Kind::Oauth2(_) => value.clone(),
            };
            let name = secret_name(credentials);
            let secret = secrets::generic(&name, &text);
            Some((name.into(), secret))
        })
        .collect()
}

/// The servers that tokens for `endpoints` come from. They are verified whatever is said of backends: secrets go there.
pub fn token_servers<'e>(
    endpoints: impl IntoIterator<Item = &'e Endpoint>,
    backends: &Backends,
) -> BTreeMap<Arc<str>, TokenServer> {
    let backends = Backends { verification: Verification::Full, identity: None, ..backends.clone() };
    let credentials = endpoints.into_iter().filter_map(|endpoint| endpoint.policy.credentials.as_ref());
    credentials
        .filter_map(|credentials| {
            let Some(Kind::Oauth2(oauth2)) = &credentials.kind else { return None };
            let url = url::parse(&oauth2.token_url).ok()?;
            let (name, tls, endpoint) = (token_cluster(oauth2), url.tls, Endpoint::of(vec![url]));
            let server = TokenServer {
                tls,
                cluster: clusters::named(name.clone(), &endpoint, &backends),
                assignment: clusters::assignment(&endpoint, &backends),
            };
            Some((name.into(), server))
        })
        .collect()
}

fn token(oauth2: &OAuth2, secret: Option<SdsSecretConfig>) -> Injected {
    let uri = HttpUri {
        uri: oauth2.token_url.clone(),
        timeout: seconds(TOKEN_SECONDS),
        http_upstream_type: Some(HttpUpstreamType::Cluster(token_cluster(oauth2))),
    };
    let client = ClientCredentials {
        client_id: oauth2.client_id.clone(),
        client_secret: secret,
        // Envoy 1.40 sends both in the form, whatever is asked for.
        auth_type: AuthType::UrlEncodedBody.into(),
    };
    Injected {
        token_endpoint: Some(uri),
        scopes: oauth2.scopes.clone(),
        token_fetch_retry_interval: seconds(1),
        flow_type: Some(FlowType::ClientCredentials(client)),
        ..Default::default()
    }
}

/// By where the secret is kept, not by what it is.
fn secret_name(credentials: &Credentials) -> String {
    let id = hex(&digest(&[&credentials.encode_to_vec()]));
    format!("credentials-{}", id.get(..16).unwrap_or(&id))
}

fn token_cluster(oauth2: &OAuth2) -> String {
    let id = hex(&digest(&[oauth2.token_url.as_bytes()]));
    format!("token-{}", id.get(..16).unwrap_or(&id))
}
