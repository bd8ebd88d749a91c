use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::contracts::v1::{Body, Content, Contract, Mode, Parameter, Response, Schemas};
use microgw_proto::limits::v1::{Fixed, Limit, Policy, Tiers, limit::Window};
use microgw_proto::traffic::v1::{
    ApiTraffic, CircuitBreaker, EndpointPolicy, HealthCheck, OperationTraffic, Pool, Retry,
};
use proptest::prelude::*;
use prost::Message;

use super::{ArtifactError, HEADER, MAJOR, decode, digest, encode, id, proto};
use crate::error_template::{ErrorTemplate, Syntax};
use crate::model::{
    Access, Alternative, Api, BackendUrl, Endpoint, EndpointId, KeyLocation, LimitId, Method, Model, Operation,
    Position, Requirement, Transports, Unenforced,
};
use crate::path::PathTemplate;

fn policy_of(artifact: &mut proto::Artifact) -> &mut EndpointPolicy {
    artifact.endpoints[0].policy.get_or_insert_default()
}

fn policy(name: &str, quota: u64) -> Policy {
    let window = Some(Window::Fixed(Fixed { seconds: 60 }));
    let limits = vec![Limit { quota, window, ..Limit::default() }];
    Policy { name: name.to_owned(), limits, ..Policy::default() }
}

fn contract() -> Contract {
    let parameters = vec![Parameter { name: "limit".to_owned(), schema: 1, ..Parameter::default() }];
    let body = Body { required: true, contents: vec![Content { schema: 1, ..Content::default() }] };
    let responses = vec![Response { from: 200, to: 299, body: Some(body.clone()), headers: parameters.clone() }];
    let (request_mode, request) = (Mode::Enforce.into(), Some(body));
    Contract { parameters, request, responses, request_mode, ..Contract::default() }
}

fn contract_of(artifact: &mut proto::Artifact) -> &mut Contract {
    artifact.apis[0].operations[0].contract.as_mut().unwrap()
}

fn model() -> Model {
    let source = Position { file: 0, line: 3, column: 5 };
    let operation = |method, path: &str, access| Operation {
        method,
        path: PathTemplate::parse(path).unwrap(),
        operation_id: Some("op".to_owned()),
        access,
        production: Some(EndpointId(0)),
        sandbox: None,
        traffic: OperationTraffic::default(),
        bodies: OperationBodies::default(),
        transforms: crate::model::Transforms::default(),
        interceptors: microgw_proto::interceptors::v1::OperationInterceptors::default(),
        limit: None,
        cost: None,
        contract: Some(contract()),
        source,
    };
    let url = |host: &str| BackendUrl { tls: true, host: host.to_owned(), port: 443, path: "/v1".to_owned() };
    Model {
        project: "shop".to_owned(),
        files: vec!["api_definitions/shop.yaml".to_owned()],
        endpoints: vec![Endpoint::of(vec![url("a.example.com"), url("2001:db8::1")])],
        apis: vec![Api {
            name: "Shop".to_owned(),
            version: "1".to_owned(),
            base_path: "/shop".to_owned(),
            owner: None,
            transports: Transports { http: false, https: true },
            credential_header: Some("x-token".to_owned()),
            limit: Some(LimitId(0)),
            traffic: ApiTraffic::default(),
            schemas: Schemas { schemas: vec![r#"{"type":"integer"}"#.to_owned()] },
            source,
            operations: vec![
                operation(Method::Get, "/open", Access::Public),
                operation(Method::Put, "/shut", Access::Guarded(vec![])),
                operation(
                    Method::Post,
                    "/items/{id}",
                    Access::Guarded(vec![
                        Alternative(vec![Requirement::OAuth2 {
                            scopes: vec!["a".to_owned(), "b".to_owned()],
                            all_scopes: true,
                        }]),
                        Alternative(vec![
                            Requirement::Basic { scopes: vec!["read".to_owned()], all_scopes: false },
                            Requirement::ApiKey { location: KeyLocation::Query, name: "Key".to_owned() },
                            Requirement::ApiKey { location: KeyLocation::Header, name: "x-key".to_owned() },
                            Requirement::ClientCertificate { optional: true },
                            Requirement::Unenforceable("basic".to_owned()),
                        ]),
                    ]),
                ),
            ],
        }],
        unenforced: vec![Unenforced { code: "MGW-0702".to_owned(), message: "CORS".to_owned(), source }],
        error_templates: vec![ErrorTemplate {
            code: Some(404),
            problem: true,
            syntax: Syntax::Json,
            source: "{}".to_owned(),
        }],
        limits: vec![policy("10PerMin", 10)],
        tiers: Tiers { subscriptions: vec![policy("Gold", 5000)], ..Tiers::default() },
        transforms: Vec::new(),
        interceptors: Vec::new(),
    }
}

/// `payload` with a header that fits it.
fn sealed(major: u16, minor: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = super::MAGIC.to_vec();
    bytes.extend_from_slice(&major.to_be_bytes());
    bytes.extend_from_slice(&minor.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    let digest = digest(&bytes, payload);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(payload);
    bytes
}

fn payload() -> Vec<u8> {
    encode(&model())[HEADER..].to_vec()
}

#[test]
fn round_trip() {
    let bytes = encode(&model());
    assert_eq!(decode(&bytes).unwrap(), model());
    assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
    assert_eq!(id(&bytes).len(), 32);
    assert_ne!(id(&bytes), id(&encode(&Model::default())));
}

#[test]
fn every_damage_is_told_apart() {
    let bytes = encode(&model());
    assert_eq!(decode(b""), Err(ArtifactError::NotAnArtifact));
    assert_eq!(decode(b"PK\x03\x04 some jar that was renamed"), Err(ArtifactError::NotAnArtifact));
    assert_eq!(decode(&bytes[..bytes.len() - 3]), Err(ArtifactError::Truncated { missing: 3 }));
    assert_eq!(decode(&bytes[..12]), Err(ArtifactError::Truncated { missing: 40 }));
    assert_eq!(decode(&[&bytes[..], b"x"].concat()), Err(ArtifactError::TrailingBytes { extra: 1 }));
    let newer = sealed(MAJOR + 1, 3, &payload());
    assert_eq!(decode(&newer), Err(ArtifactError::UnknownMajor { major: MAJOR + 1, minor: 3 }));
    let mut huge = bytes;
    huge[12] = 0xFF;
    assert_eq!(decode(&huge), Err(ArtifactError::TooLarge));
    assert!(matches!(decode(&sealed(MAJOR, 0, b"\xff\xff")), Err(ArtifactError::Malformed(_))));
}

#[test]
fn a_later_minor_version_is_read() {
    // Field 999, which this version does not know.
    let later = [payload(), vec![0xBA, 0x3E, 0x01, b'x']].concat();
    assert_eq!(decode(&sealed(MAJOR, 7, &later)).unwrap(), model());
}

#[test]
fn what_a_reader_must_understand_is_not_passed_over() {
    let mut artifact = proto::Artifact::decode(payload().as_slice()).unwrap();
    artifact.requires.push("quotas".to_owned());
    let needs = ArtifactError::Requires("quotas".to_owned());
    assert_eq!(decode(&sealed(MAJOR, 7, &artifact.encode_to_vec())), Err(needs));
}

#[test]
fn every_altered_byte_is_noticed() {
    let bytes = encode(&model());
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut altered = bytes.clone();
            altered[at] ^= bit;
            assert!(decode(&altered).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_no_compiler_writes_is_refused() {
    let artifact = proto::Artifact::decode(payload().as_slice()).unwrap();
    let refused = |name: &str, change: fn(&mut proto::Artifact)| {
        let mut changed = artifact.clone();
        change(&mut changed);
        let result = decode(&sealed(MAJOR, 0, &changed.encode_to_vec()));
        assert!(matches!(result, Err(ArtifactError::Invalid(_))), "{name}: {result:?}");
    };
    refused("endpoint", |artifact| artifact.apis[0].operations[0].production = 2);
    refused("no endpoint", |artifact| artifact.apis[0].operations[0].production = 0);
    refused("file", |artifact| artifact.apis[0].source.as_mut().unwrap().file = 1);
    refused("line", |artifact| artifact.apis[0].source.as_mut().unwrap().line = 0);
    refused("no position", |artifact| artifact.unenforced[0].source = None);
    refused("path", |artifact| artifact.apis[0].operations[0].path = "open".to_owned());
    refused("method", |artifact| artifact.apis[0].operations[0].method = "TRACE".to_owned());
    refused("case of the method", |artifact| artifact.apis[0].operations[0].method = "get".to_owned());
    refused("base path", |artifact| artifact.apis[0].base_path = "/shop/".to_owned());
    refused("transports", |artifact| artifact.apis[0].https = false);
    refused("header", |artifact| artifact.apis[0].credential_header = "Host".to_owned());
    refused("host", |artifact| artifact.endpoints[0].targets[0].url.as_mut().unwrap().host = "a b".to_owned());
    refused("case of the host", |artifact| {
        artifact.endpoints[0].targets[0].url.as_mut().unwrap().host = "A".to_owned();
    });
    refused("port", |artifact| artifact.endpoints[0].targets[0].url.as_mut().unwrap().port = 65536);
    refused("port 0", |artifact| artifact.endpoints[0].targets[0].url.as_mut().unwrap().port = 0);
    refused("backend path", |artifact| {
        artifact.endpoints[0].targets[0].url.as_mut().unwrap().path = "/a/../b".to_owned();
    });
    refused("mixed failover", |artifact| {
        let endpoint = &mut artifact.endpoints[0];
        endpoint.targets[0].url.as_mut().unwrap().tls = false;
        endpoint.policy.get_or_insert_default().balance = 1;
    });
    refused("secret in the open", |artifact| {
        use microgw_proto::traffic::v1::{Credentials, credentials::Kind};
        let credentials = Credentials { kind: Some(Kind::Bearer("eyJhbGciOi".to_owned())) };
        artifact.endpoints[0].policy.get_or_insert_default().credentials = Some(credentials);
    });
    refused("idle canary", |artifact| {
        let targets = artifact.endpoints[0].targets.clone();
        artifact.endpoints[0].canary = Some(proto::Canary { targets, ..Default::default() });
    });
    refused("empty endpoint", |artifact| artifact.endpoints[0].targets.clear());
    refused("balance", |artifact| policy_of(artifact).balance = 2);
    refused("protocol", |artifact| policy_of(artifact).protocol = 3);
    refused("timeout", |artifact| policy_of(artifact).timeout = Some(u32::MAX));
    refused("profile", |artifact| policy_of(artifact).tls_profile = "a/b".to_owned());
    refused("server name", |artifact| policy_of(artifact).server_name = "A".to_owned());
    refused("retried status", |artifact| {
        policy_of(artifact).retry = Some(Retry { statuses: vec![600], ..Retry::default() });
    });
    refused("window", |artifact| policy_of(artifact).circuit_breaker = Some(CircuitBreaker::default()));
    refused("streams", |artifact| policy_of(artifact).pool = Some(Pool { max_streams: Some(0), ..Pool::default() }));
    refused("health check", |artifact| policy_of(artifact).health_check = Some(HealthCheck::default()));
    refused("same base path", |artifact| artifact.apis.push(artifact.apis[0].clone()));
    refused("empty alternative", |artifact| guard_of(artifact).alternatives[0].requirements.clear());
    refused("unknown requirement", |artifact| guard_of(artifact).alternatives[0].requirements[0].kind = None);
    refused("scope", |artifact| {
        let kind = proto::OAuth2 { scopes: vec!["a b".to_owned()], all_scopes: false };
        guard_of(artifact).alternatives[0].requirements[0].kind = Some(proto::requirement::Kind::Oauth2(kind));
    });
    refused("key", |artifact| {
        let kind = proto::ApiKey { name: "X-Key".to_owned(), ..Default::default() };
        guard_of(artifact).alternatives[0].requirements[0].kind = Some(proto::requirement::Kind::ApiKey(kind));
    });
    refused("a key in two places", |artifact| {
        let kind = proto::ApiKey { in_query: true, in_cookie: true, name: "key".to_owned() };
        guard_of(artifact).alternatives[0].requirements[0].kind = Some(proto::requirement::Kind::ApiKey(kind));
    });
    refused("schema of a parameter", |artifact| contract_of(artifact).parameters[0].schema = 2);
    refused("name of a parameter", |artifact| contract_of(artifact).parameters[0].name.clear());
    refused("schema of a body", |artifact| contract_of(artifact).request.as_mut().unwrap().contents[0].schema = 2);
    refused("schema of a header", |artifact| contract_of(artifact).responses[0].headers[0].schema = 2);
    refused("statuses", |artifact| contract_of(artifact).responses[0].from = 300);
    refused("parameters", |artifact| {
        let contract = contract_of(artifact);
        contract.parameters = vec![contract.parameters[0].clone(); 201];
    });
    refused("cookie", |artifact| {
        let kind = proto::ApiKey { in_cookie: true, name: "a b".to_owned(), ..Default::default() };
        guard_of(artifact).alternatives[0].requirements[0].kind = Some(proto::requirement::Kind::ApiKey(kind));
    });
}

fn guard_of(artifact: &mut proto::Artifact) -> &mut proto::Guard {
    artifact.apis[0].operations[2].guard.as_mut().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&sealed(MAJOR, 0, &bytes));
    }

    #[test]
    fn no_altered_payload_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut payload = payload();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(model) = decode(&sealed(MAJOR, 0, &payload)) {
            prop_assert_eq!(decode(&encode(&model)).unwrap(), model);
        }
    }
}
