//! A gateway's service on a socket, an issuer that publishes keys, and what they exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use microgw_engine::{KeySet, KeySource};
use microgw_extproc::decider::{Decider, Description};
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{IssuerKeys, KeyLocation, KeyStore, KeyTiming};
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::{Exposition, Metrics};
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::server::AuthzServer;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::socket::PrivateListener;
use microgw_extproc::transport::Transport;
use microgw_proto::rules::v1 as proto;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

pub const IDP: &str = "https://idp.example/";
pub const US: &str = "https://localhost:9095/apikey";
/// Nothing in a test takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One key of an issuer.
pub struct IdpKey {
    kid: &'static str,
    key: EncodingKey,
}

impl IdpKey {
    pub fn new(kid: &'static str) -> IdpKey {
        let pem = SigningKey::generate().unwrap();
        IdpKey { kid, key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap() }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token that passes, with this scope.
    pub fn token(&self, scope: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        let claims = json!({"iss": IDP, "sub": "alice", "exp": now() + 600, "scope": scope});
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

pub fn key_set(keys: &[&IdpKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// What the issuer's server answers.
#[derive(Clone)]
pub enum Page {
    Body(String),
    Status(StatusCode),
    Redirect(String),
    /// No answer, ever.
    Silence,
}

/// A server that publishes keys, on a port of its own.
pub struct Idp {
    pub url: String,
    page: Arc<Mutex<Page>>,
    hits: watch::Receiver<u64>,
}

impl Idp {
    pub async fn start(page: Page) -> Idp {
        let page = Arc::new(Mutex::new(page));
        let (sender, hits) = watch::channel(0);
        let current = Arc::clone(&page);
        let answer = async move || -> Response {
            let page = current.lock().unwrap().clone();
            sender.send_modify(|hits| *hits += 1);
            match page {
                Page::Body(body) => body.into_response(),
                Page::Status(status) => status.into_response(),
                Page::Redirect(to) => Redirect::temporary(&to).into_response(),
                Page::Silence => std::future::pending().await,
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/jwks", get(answer))).await });
        Idp { url, page, hits }
    }

    pub fn publish(&self, page: Page) {
        *self.page.lock().unwrap() = page;
    }

    pub fn hits(&self) -> u64 {
        *self.hits.borrow()
    }

    pub async fn wait_for_hits(&self, count: u64) {
        let mut hits = self.hits.clone();
        tokio::time::timeout(PATIENCE, hits.wait_for(|hits| *hits >= count)).await.unwrap().unwrap();
    }
}

pub fn requirement(kind: proto::requirement::Kind) -> proto::Alternative {
    proto::Alternative { requirements: vec![proto::Requirement { kind: Some(kind) }] }
}

/// One API: rule 1 asks for a token with scope `read` or a key in `api_key` (header or query).
pub fn book(generation: &str) -> proto::RuleBook {
    let key = |location: proto::api_key::Location| {
        proto::requirement::Kind::ApiKey(proto::ApiKey { location: location.into(), name: "api_key".into() })
    };
    let oauth2 = proto::OAuth2 { scopes: vec!["read".into()], all_scopes: false };
    proto::RuleBook {
        certificate_header: None,
        generation: generation.into(),
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1.0".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![proto::Policy {
            alternatives: vec![
                requirement(proto::requirement::Kind::Oauth2(oauth2)),
                requirement(key(proto::api_key::Location::Header)),
                requirement(key(proto::api_key::Location::Query)),
            ],
            credential_header: "authorization".into(),
            remove_credentials: true,
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule {
            id: 1u128.to_be_bytes().to_vec(),
            method: "GET".into(),
            path: "/v2/pet/{petId}".into(),
            ..Default::default()
        }],
        issuers: vec![proto::Issuer { issuer: IDP.into(), algorithms: vec!["ES256".into()], ..Default::default() }],
        api_keys: Some(proto::ApiKeys { issuer: US.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A running service with [`book`] loaded.
pub struct Service {
    pub decider: Arc<Decider>,
    pub metrics: Arc<Metrics>,
    pub signing: Arc<SigningKey>,
    pub client: AuthorizationClient<Channel>,
    pub directory: tempfile::TempDir,
    _server: AuthzServer,
}

impl Service {
    pub async fn start(location: Option<KeyLocation>, timing: KeyTiming, deadline: Duration) -> Service {
        Service::describing(Description::Caller, location, timing, deadline).await
    }

    pub async fn describing(
        description: Description,
        location: Option<KeyLocation>,
        timing: KeyTiming,
        deadline: Duration,
    ) -> Service {
        let signing = Arc::new(SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap());
        let metrics = Metrics::new();
        let issuers = [
            IssuerKeys { source: KeySource::Issuer(IDP.into()), location, pinned: KeySet::default() },
            IssuerKeys { source: KeySource::ApiKeys, location: None, pinned: signing.key_set() },
        ];
        let keys = KeyStore::start(issuers, timing, &Transport::default(), &metrics).unwrap();
        let rules = Arc::new(RuleStore::default());
        rules.load(&book("one")).unwrap();
        let facts = FactCache::new(1000, Duration::from_secs(900));
        let mut decider = Decider::new(rules, facts, Lookups::new(keys), Arc::clone(&metrics), deadline);
        decider.description = description;
        let decider = Arc::new(decider);
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("authz.sock");
        let server = AuthzServer::start(PrivateListener::bind(&socket).unwrap(), &decider, 2).unwrap();
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://authz").connect_with_connector(connect).await.unwrap();
        let client = AuthorizationClient::new(channel);
        Service { decider, metrics, signing, client, directory, _server: server }
    }

    pub async fn with_idp(idp: &Idp, timing: KeyTiming) -> Service {
        Service::start(Some(KeyLocation::Url(idp.url.clone())), timing, Decider::DEADLINE).await
    }

    /// Asks about `GET` of this path with these headers, under rule 1.
    pub async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask_as("00000000000000000000000000000001", path, headers).await
    }

    pub async fn ask_as(&self, rule: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Service::question(rule, path, headers)).await
    }

    /// As Envoy asks.
    pub fn question(rule: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
        let http = HttpRequest {
            method: "GET".into(),
            path: path.into(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Default::default()
        };
        let attributes = AttributeContext {
            request: Some(Request { http: Some(http), ..Default::default() }),
            context_extensions: HashMap::from([("rule".to_owned(), rule.to_owned())]),
            ..Default::default()
        };
        CheckRequest { attributes: Some(attributes) }
    }

    pub async fn send(&self, question: CheckRequest) -> Reply {
        let answer = tokio::time::timeout(PATIENCE, self.client.clone().check(question)).await.unwrap();
        Reply::read(answer.unwrap().into_inner())
    }

    pub async fn bearer(&self, token: &str) -> Reply {
        self.ask("/v2/pet/1", &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Asks until it is so: for what happens in the background.
    pub async fn bearer_until(&self, token: &str, status: u32) {
        let asking = async { while self.bearer(token).await.status != status {} };
        tokio::time::timeout(PATIENCE, asking).await.expect("it never came to be");
    }

    /// The value of a counter's line in `/metrics`.
    pub fn counter(&self, line: &str) -> u64 {
        let text = self.metrics.render(Vec::new(), Exposition::OpenMetrics);
        let value = text.lines().find_map(|candidate| candidate.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}

/// An answer as Envoy understands it.
#[derive(Debug)]
pub struct Reply {
    /// 200: let through.
    pub status: u32,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub removed: Vec<String>,
    pub metadata: HashMap<String, String>,
}

impl Reply {
    fn read(answer: CheckResponse) -> Reply {
        let text = |value: envoy_types::pb::google::protobuf::Value| match value.kind {
            Some(Kind::StringValue(text)) => text,
            other => panic!("{other:?}"),
        };
        let metadata = answer.dynamic_metadata.unwrap_or_default().fields;
        let metadata = metadata.into_iter().map(|(name, value)| (name, text(value))).collect();
        let code = answer.status.unwrap().code;
        let (status, headers, body, removed) = match answer.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(code, 0);
                (200, ok.headers, String::new(), ok.headers_to_remove)
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(code, 0, "Envoy would let it through");
                (denied.status.unwrap().code.cast_unsigned(), denied.headers, denied.body, vec![])
            }
            HttpResponse::ErrorResponse(other) => panic!("{other:?}"),
        };
        let headers = headers.into_iter().map(|option| option.header.unwrap());
        let headers = headers.map(|header| (header.key, header.value)).collect();
        Reply { status, headers, body, removed, metadata }
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn code(&self) -> u64 {
        serde_json::from_str::<Value>(&self.body).unwrap()["fault"]["code"].as_u64().unwrap()
    }
}
