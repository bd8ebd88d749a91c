//! How an Envoy puts it, in each dialect.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc;
use microgw_compiler::snapshot::ResourceType;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::{Client, Held, News};

/// A request, with what belongs to it.
pub(super) trait Speech: Sized + Send + 'static {
    type Response: Send + 'static;

    fn open(
        client: &mut Client,
        requests: UnboundedReceiverStream<Self>,
    ) -> impl Future<Output = Streaming<Self::Response>> + Send;
    fn subscribe(kind: ResourceType, names: &[&str], node: Option<Node>, held: &Held) -> Self;
    fn read(response: Self::Response, held: &Held) -> News;
    fn answer(news: &News, refusal: Option<rpc::Status>, names: &[&str], held: &Held) -> Self;
}

impl Speech for DeltaDiscoveryRequest {
    type Response = DeltaDiscoveryResponse;

    async fn open(
        client: &mut Client,
        requests: UnboundedReceiverStream<DeltaDiscoveryRequest>,
    ) -> Streaming<DeltaDiscoveryResponse> {
        client.delta_aggregated_resources(requests).await.unwrap().into_inner()
    }

    fn subscribe(kind: ResourceType, names: &[&str], node: Option<Node>, held: &Held) -> DeltaDiscoveryRequest {
        let resources = held.resources.lock().unwrap();
        let versions = resources.get(&kind).into_iter().flatten();
        DeltaDiscoveryRequest {
            node,
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: owned(names),
            initial_resource_versions: versions.map(|(name, (version, _))| (name.clone(), version.clone())).collect(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn read(response: DeltaDiscoveryResponse, _: &Held) -> News {
        let changed = response.resources.into_iter().map(|one| (one.name, (one.version, text(one.resource.unwrap()))));
        News {
            kind: ResourceType::from_type_url(&response.type_url).unwrap(),
            nonce: response.nonce,
            version: String::new(),
            changed: changed.collect(),
            removed: response.removed_resources,
        }
    }

    fn answer(news: &News, refusal: Option<rpc::Status>, _: &[&str], _: &Held) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: news.kind.type_url().to_owned(),
            response_nonce: news.nonce.clone(),
            error_detail: refusal,
            ..DeltaDiscoveryRequest::default()
        }
    }
}

impl Speech for DiscoveryRequest {
    type Response = DiscoveryResponse;

    async fn open(
        client: &mut Client,
        requests: UnboundedReceiverStream<DiscoveryRequest>,
    ) -> Streaming<DiscoveryResponse> {
        client.stream_aggregated_resources(requests).await.unwrap().into_inner()
    }

    fn subscribe(kind: ResourceType, names: &[&str], node: Option<Node>, held: &Held) -> DiscoveryRequest {
        DiscoveryRequest {
            node,
            type_url: kind.type_url().to_owned(),
            resource_names: owned(names),
            version_info: held.versions.lock().unwrap().get(&kind).cloned().unwrap_or_default(),
            ..DiscoveryRequest::default()
        }
    }

    fn read(response: DiscoveryResponse, held: &Held) -> News {
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        let mut changed: std::collections::BTreeMap<_, _> = response
            .resources
            .into_iter()
            .map(|any| {
                let body = text(any);
                (name(kind, &body), (body.clone(), body))
            })
            .collect();
        let mut removed = Vec::new();
        if matches!(kind, ResourceType::Cluster | ResourceType::Listener) {
            let resources = held.resources.lock().unwrap();
            let before = resources.get(&kind).cloned().unwrap_or_default();
            removed = before.keys().filter(|name| !changed.contains_key(*name)).cloned().collect();
            changed.retain(|name, resource| before.get(name) != Some(resource));
        }
        News { kind, nonce: response.nonce, version: response.version_info, changed, removed }
    }

    fn answer(news: &News, refusal: Option<rpc::Status>, names: &[&str], held: &Held) -> DiscoveryRequest {
        DiscoveryRequest {
            response_nonce: news.nonce.clone(),
            error_detail: refusal,
            ..DiscoveryRequest::subscribe(news.kind, names, None, held)
        }
    }
}

/// As the fixture has it: a real Envoy finds the name inside, too.
fn name(kind: ResourceType, body: &str) -> String {
    match kind {
        ResourceType::Cluster => body.replace('=', "-"),
        ResourceType::Endpoint => body.split('@').next().unwrap().to_owned(),
        ResourceType::Secret => "identity".to_owned(),
        ResourceType::Listener => "http".to_owned(),
        ResourceType::Route => "routes".to_owned(),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn text(any: Any) -> String {
    String::from_utf8(any.value).unwrap()
}
