use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use hyper_util::rt::TokioIo;
use microgw_engine::apikey::{Terms, claims};
use microgw_engine::{KeySource, UnixTime};
use microgw_extproc::{authz::*, fact_cache::*, keys::*, metrics::*, rule_store::*, signing::*, socket::*};
use microgw_proto::rules::v1 as proto;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn cpu(name: &str) -> u64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|t| {
            let p = t.unwrap().path();
            (std::fs::read_to_string(p.join("comm")).ok()?.trim() == name).then(|| {
                std::fs::read_to_string(p.join("schedstat")).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
            })
        })
        .sum()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let signing = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
    let metrics = Metrics::new();
    let keys = KeyStore::start(
        [IssuerKeys { source: KeySource::ApiKeys, location: None, pinned: signing.key_set() }],
        KeyTiming::default(),
        &metrics,
    )
    .unwrap();
    let rules = Arc::new(RuleStore::default());
    let key = proto::requirement::Kind::ApiKey(proto::ApiKey {
        location: proto::api_key::Location::Header.into(),
        name: "api_key".into(),
    });
    rules
        .load(&proto::RuleBook {
            generation: "g".into(),
            apis: vec![proto::Api { name: "pets".into(), version: "1".into(), base_path: "/v2".into() }],
            policies: vec![proto::Policy {
                alternatives: vec![proto::Alternative { requirements: vec![proto::Requirement { kind: Some(key) }] }],
                credential_header: "authorization".into(),
                remove_credentials: true,
                production: true,
                sandbox: true,
            }],
            rules: vec![proto::Rule {
                id: 1u128.to_be_bytes().to_vec(),
                method: "GET".into(),
                path: "/v2/pet/{petId}".into(),
                ..Default::default()
            }],
            api_keys: Some(proto::ApiKeys { issuer: "us".into(), ..Default::default() }),
            ..Default::default()
        })
        .unwrap();
    let decider = Arc::new(Decider::new(rules, FactCache::new(1000), keys, metrics, Decider::DEADLINE));
    let path = std::env::temp_dir().join(format!("load-{}.sock", std::process::id()));
    let _server = AuthzServer::start(PrivateListener::bind(&path).unwrap(), &decider, 1).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = signing
        .sign(&claims("us", "admin", "0123456789", &Terms { validity: Some(600), apis: vec![] }, UnixTime(now)))
        .unwrap();
    let socket = path.clone();
    let channel = Endpoint::from_static("http://authz")
        .connect_with_connector(tower::service_fn(move |_| {
            let s = socket.clone();
            async move { UnixStream::connect(s).await.map(TokioIo::new) }
        }))
        .await
        .unwrap();
    let client = AuthorizationClient::new(channel);
    let headers: HashMap<String, String> =
        [("api_key", token.as_str())].iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let question = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(HttpRequest {
                    id: "1234567890".into(),
                    method: "GET".into(),
                    path: "/v2/pet/1".into(),
                    host: "localhost:9095".into(),
                    scheme: "https".into(),
                    protocol: "HTTP/1.1".into(),
                    headers,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            context_extensions: HashMap::from([("rule".into(), "00000000000000000000000000000001".into())]),
            ..Default::default()
        }),
    };
    for round in 0..4 {
        let (start, before) = (Instant::now(), cpu("authz-0"));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (mut c, q) = (client.clone(), question.clone());
                tokio::spawn(async move {
                    let (mut n, t) = (0u64, Instant::now());
                    while t.elapsed() < Duration::from_secs(3) {
                        let a = c.check(q.clone()).await.unwrap().into_inner();
                        assert_eq!(a.status.unwrap().code, 0);
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        let mut n = 0;
        for t in tasks {
            n += t.await.unwrap();
        }
        println!(
            "round {round}: {:.0} rps, service {:.2} us/request",
            n as f64 / start.elapsed().as_secs_f64(),
            (cpu("authz-0") - before) as f64 / 1000.0 / n as f64
        );
    }
    std::fs::remove_file(path).unwrap();
}
