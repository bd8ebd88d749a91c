use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use microgw_engine::apikey::{Terms, claims};
use microgw_engine::{ApiGrant, UnixTime};
use microgw_extproc::decider::{Decider, Description};
use microgw_extproc::keys::KeyTiming;
use microgw_extproc::socket::PrivateListener;
use microgw_proto::rules::v1::{FaultBody, fault_body};

use crate::fixtures::{Idp, IdpKey, Page, Service, US, book, key_set, now};

async fn service() -> Service {
    Service::start(None, KeyTiming::default(), Decider::DEADLINE).await
}

fn api_key(service: &Service, apis: Vec<ApiGrant>) -> String {
    let terms = Terms { validity: Some(600), apis };
    service.signing.sign(&claims(US, "admin", "id", &terms, UnixTime(now()))).unwrap()
}

#[tokio::test]
async fn a_request_without_credentials_is_told_what_to_bring() {
    let service = service().await;
    let reply = service.ask("/v2/pet/1", &[("accept", "*/*")]).await;
    assert_eq!((reply.status, reply.code()), (401, 900_902));
    assert_eq!(reply.header("content-type"), ["application/json"]);
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    assert_eq!(reply.header("www-authenticate"), ["Bearer realm=\"micro-gw\"", "ApiKey realm=\"micro-gw\""]);
    assert_eq!(reply.metadata, metadata(&[("reason", "missing_credentials")]));
    let counted =
        "microgw_operation_decisions_total{api=\"pets\",version=\"1.0\",operation=\"GET /v2/pet/{petId}\",outcome=";
    assert_eq!(service.counter(&format!("{counted}\"denied\"}}")), 1);
    assert_eq!(service.counter("microgw_decision_duration_seconds_count"), 1);
    assert_eq!(service.counter("microgw_decisions_total{reason=\"missing_credentials\"}"), 1);
}

fn metadata(fields: &[(&str, &str)]) -> HashMap<String, String> {
    fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn envoy_is_told_who_called_and_never_with_what() {
    let (idp, other) = (IdpKey::new("one"), IdpKey::new("one"));
    let server = Idp::start(Page::Body(key_set(&[&idp]))).await;
    let service = Service::with_idp(&server, KeyTiming::default()).await;
    let key = api_key(&service, vec![]);
    let by_key = service.ask("/v2/pet/1", &[("api_key", &key)]).await.metadata;
    assert_eq!(by_key, metadata(&[("caller", "admin"), ("key_id", "id"), ("key_type", "PRODUCTION")]));
    let by_token = service.bearer(&idp.token("read")).await.metadata;
    assert_eq!(by_token, metadata(&[("caller", "alice"), ("key_type", "PRODUCTION")]));
    // A genuine token that is not enough says whose it is; a forged one says nothing.
    let narrow = service.bearer(&idp.token("write")).await.metadata;
    let told = [("caller", "alice"), ("key_type", "PRODUCTION"), ("reason", "insufficient_scope")];
    assert_eq!(narrow, metadata(&told));
    let forged = service.bearer(&other.token("read")).await.metadata;
    assert_eq!(forged, metadata(&[("reason", "invalid_credentials")]));
    let long = Terms { validity: Some(600), apis: vec![] };
    let subject = "\u{e9}\"\n".repeat(200);
    let key = service.signing.sign(&claims(US, &subject, "id", &long, UnixTime(now()))).unwrap();
    let caller = service.ask("/v2/pet/1", &[("api_key", &key)]).await.metadata["caller"].clone();
    assert!(caller.len() <= 256 && subject.starts_with(&caller) && caller.len() > 250, "{caller}");
}

#[tokio::test]
async fn what_nobody_reads_is_not_told() {
    for (description, told) in
        [(Description::Nothing, metadata(&[])), (Description::Outcome, metadata(&[("key_type", "PRODUCTION")]))]
    {
        let service = Service::describing(description, None, KeyTiming::default(), Decider::DEADLINE).await;
        let key = api_key(&service, vec![]);
        assert_eq!(service.ask("/v2/pet/1", &[("api_key", &key)]).await.metadata, told);
    }
}

#[tokio::test]
async fn a_refusal_has_the_form_that_was_asked_for() {
    let service = service().await;
    let accept = ("accept", "text/html, application/problem+json");
    let reply = service.ask("/v2/pet/1", &[accept]).await;
    assert_eq!((reply.status, reply.header("content-type")), (401, vec!["application/problem+json"]));
    assert!(reply.header("grpc-status").is_empty());
    assert!(reply.body.starts_with(r#"{"type":"urn:micro-gw:error:missing-credentials","#), "{}", reply.body);
    let reply = service.ask("/v2/pet/1", &[accept, ("content-type", "application/grpc+proto")]).await;
    assert_eq!((reply.header("content-type"), reply.header("grpc-status")), (vec!["text/plain"], vec!["16"]));
    assert!(reply.body.starts_with("Missing Credentials."), "{}", reply.body);
    // A route whose rule nobody knows.
    let reply = service.ask_as("00000000000000000000000000000009", "/v2/pet/1", &[]).await;
    assert_eq!((reply.status, reply.code()), (500, 900_900));
}

#[tokio::test]
async fn a_refusal_is_in_the_words_of_the_rules_own_generation() {
    let service = service().await;
    let mut worded = book("two");
    worded.rules[0].id = 2u128.to_be_bytes().to_vec();
    worded.fault_bodies.push(FaultBody {
        fault: "missing-credentials".into(),
        form: fault_body::Form::Fault.into(),
        content_type: "text/html".into(),
        body: "<p>no key".into(),
        ..FaultBody::default()
    });
    service.decider.rules.load(&worded).unwrap();
    let own = service.ask_as("00000000000000000000000000000002", "/v2/pet/1", &[]).await;
    assert_eq!((own.status, own.header("content-type"), own.body.as_str()), (401, vec!["text/html"], "<p>no key"));
    let usual = service.ask("/v2/pet/1", &[]).await;
    assert_eq!((usual.status, usual.code()), (401, 900_902));
}

/// Counts the spans that are made.
#[derive(Clone, Default)]
struct Spans(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(
        &self,
        _: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_decision_makes_no_span_where_none_is_exported() {
    let (service, spans) = (service().await, Spans::default());
    let key = api_key(&service, vec![]);
    let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), spans.clone());
    let traced = tracing::subscriber::set_default(subscriber);
    let probe = tracing::info_span!("counted");
    for path in ["/v2/pet/1", "/v2/pet/2"] {
        let question = Service::question("00000000000000000000000000000001", path, &[("api_key", &key)]);
        let answer = service.decider.check(question).await;
        assert_eq!(answer.status.unwrap().code, 0);
    }
    drop((probe, traced));
    assert_eq!(spans.0.load(std::sync::atomic::Ordering::Relaxed), 1, "of the test alone");
}

#[tokio::test]
async fn an_api_key_opens_and_does_not_reach_the_backend() {
    let service = service().await;
    let key = api_key(&service, vec![]);
    for _ in 0..2 {
        let reply = service.ask("/v2/pet/1?a=b", &[("api_key", &key)]).await;
        assert_eq!((reply.status, reply.headers.len()), (200, 0));
        assert_eq!(reply.removed, ["authorization", "api_key"]);
        assert!(reply.metadata.values().all(|value| !value.contains(&key)));
    }
    let reply = service.ask(&format!("/v2/pet/1?a=b&api%5fkey={key}&c"), &[]).await;
    assert_eq!((reply.status, reply.header(":path")), (200, vec!["/v2/pet/1?a=b&c"]));
    assert_eq!(service.decider.facts.cache.len(), 1, "one key, however presented");
    let cache = ["hits", "misses"].map(|what| service.counter(&format!("microgw_fact_cache_{what}_total")));
    assert_eq!(cache, [2, 1]);
    assert_eq!(service.counter("microgw_fact_cache_entries"), 1);
    assert_eq!(service.counter("microgw_lookups_total{kind=\"keys\",outcome=\"found\"}"), 1);
    assert_eq!(service.counter("microgw_rules "), 1);
    assert_eq!(service.counter("microgw_decisions_total{reason=\"allowed\"}"), 3);
}

#[tokio::test]
async fn a_key_for_other_apis_is_forbidden() {
    let service = service().await;
    let grant = |name: &str| vec![ApiGrant { name: name.into(), version: "1.0".into() }];
    let reply = service.ask("/v2/pet/1", &[("api_key", &api_key(&service, grant("others")))]).await;
    assert_eq!((reply.status, reply.code(), reply.header("www-authenticate").len()), (403, 900_908, 0));
    let reply = service.ask("/v2/pet/1", &[("api_key", &api_key(&service, grant("pets")))]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_token_is_judged_by_signature_and_scope() {
    let key = IdpKey::new("one");
    let idp = Idp::start(Page::Body(key_set(&[&key]))).await;
    let service = Service::with_idp(&idp, KeyTiming::default()).await;
    assert_eq!(service.bearer(&key.token("read write")).await.status, 200);
    let reply = service.bearer(&key.token("write")).await;
    assert_eq!((reply.status, reply.code()), (403, 900_910));
    let challenge = "Bearer realm=\"micro-gw\", error=\"insufficient_scope\", scope=\"read\"";
    assert_eq!(reply.header("www-authenticate"), [challenge]);
    let reply = service.bearer(&IdpKey::new("one").token("read")).await;
    assert_eq!((reply.status, reply.code()), (401, 900_901));
    assert!(reply.header("www-authenticate")[0].ends_with("error=\"invalid_token\""));
    assert_eq!(idp.hits(), 1);
}

#[tokio::test]
async fn an_unknown_rule_is_a_fault_and_lets_nobody_in() {
    let service = service().await;
    let key = api_key(&service, vec![]);
    for rule in ["00000000000000000000000000000002", "1", "", "0000000000000000000000000000000G"] {
        let reply = service.ask_as(rule, "/v2/pet/1", &[("api_key", &key)]).await;
        assert_eq!((reply.status, reply.code()), (500, 900_900), "{rule}");
    }
    assert_eq!(service.send(CheckRequest::default()).await.status, 500);
    let asked = [("accept", "application/problem+json")];
    let problem = service.ask_as("1", "/v2/pet/1", &asked).await;
    assert!(problem.body.contains("urn:micro-gw:error:internal"), "{}", problem.body);
    assert_eq!(service.counter("microgw_decisions_total{reason=\"unknown_rule\"}"), 5);
}

#[tokio::test]
async fn generations_come_and_go_while_rules_are_used() {
    let service = service().await;
    let key = api_key(&service, vec![]);
    let second = "00000000000000000000000000000002";
    let mut book = book("two");
    book.rules[0].id = 2u128.to_be_bytes().to_vec();
    service.decider.rules.load(&book).unwrap();
    assert_eq!(service.ask("/v2/pet/1", &[("api_key", &key)]).await.status, 200);
    assert_eq!(service.ask_as(second, "/v2/pet/1", &[("api_key", &key)]).await.status, 200);
    service.decider.rules.retire("one");
    assert_eq!(service.ask("/v2/pet/1", &[("api_key", &key)]).await.status, 500);
    assert_eq!(service.ask_as(second, "/v2/pet/1", &[("api_key", &key)]).await.status, 200);
}

#[tokio::test]
async fn a_question_that_finds_no_answer_in_time_is_not_a_refusal() {
    let key = IdpKey::new("one");
    let idp = Idp::start(Page::Silence).await;
    let location = microgw_extproc::keys::KeyLocation::Url(idp.url.clone());
    let service = Service::start(Some(location), KeyTiming::default(), Duration::from_millis(20)).await;
    let reply = service.bearer(&key.token("read")).await;
    assert_eq!((reply.status, reply.code(), reply.header("retry-after")), (503, 900_900, vec!["1"]));
    // A key needs nobody else.
    let api_key = api_key(&service, vec![]);
    let bearer = format!("Bearer {}", key.token("read"));
    let reply = service.ask("/v2/pet/1", &[("authorization", &bearer), ("api_key", &api_key)]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn many_connections_and_questions_at_once() {
    let service = std::sync::Arc::new(service().await);
    let key = std::sync::Arc::new(api_key(&service, vec![]));
    let asking = (0..200).map(|index| {
        let (service, key) = (service.clone(), key.clone());
        tokio::spawn(async move {
            let headers: &[(&str, &str)] = if index % 2 == 0 { &[("api_key", &key)] } else { &[] };
            service.ask("/v2/pet/1", headers).await.status
        })
    });
    for (index, reply) in asking.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(reply.await.unwrap(), if index % 2 == 0 { 200 } else { 401 });
    }
}

#[tokio::test]
async fn the_socket_is_private_and_replaces_only_sockets() {
    let service = service().await;
    let socket = service.directory.path().join("authz.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let file = service.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(PrivateListener::bind(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let stale = service.directory.path().join("stale.sock");
    drop(PrivateListener::bind(&stale).unwrap());
    assert!(stale.exists());
    assert!(PrivateListener::bind(&stale).is_ok());
}
