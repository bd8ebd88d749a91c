use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Request as Asked;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as proto;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::description::Description;
use crate::fact_cache::FactCache;
use crate::keys::{KeyStore, KeyTiming};
use crate::lookups::Lookups;
use crate::metrics::{Exposition, Metrics};
use crate::transport::Transport;

fn decider(metrics: &Arc<Metrics>) -> Decider {
    let keys = KeyStore::start([], KeyTiming::default(), &Transport::default(), metrics).unwrap();
    let facts = FactCache::new(0, Duration::ZERO);
    Decider::new(Arc::default(), facts, Lookups::new(keys), Arc::clone(metrics), Decider::DEADLINE)
}

#[tokio::test]
async fn a_panic_is_answered() {
    let metrics = Metrics::new();
    let decider = decider(&metrics);
    let answer = decider.isolate(async { panic!("a fault of ours") }).await;
    assert_ne!(answer.status.unwrap().code, 0);
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("not denied") };
    assert_eq!(denied.status.unwrap().code, 500);
    assert!(!denied.body.contains("a fault of ours"));
    assert!(metrics.render(Vec::new(), Exposition::OpenMetrics).contains("microgw_panics_total 1\n"));
}

/// Of a rule that nobody knows.
#[tokio::test]
async fn only_grpc_callers_are_told_a_status_of_grpc() {
    let decider = decider(&Metrics::new());
    for (kind, told) in [("application/grpc+proto", Some("13")), ("application/json", None)] {
        let http = HttpRequest { headers: [("content-type".into(), kind.into())].into(), ..Default::default() };
        let request = Some(Asked { http: Some(http), ..Default::default() });
        let question = CheckRequest { attributes: Some(AttributeContext { request, ..Default::default() }) };
        let answer = decider.check_within(traces::Parent::default(), question).await;
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("not denied") };
        let headers = denied.headers.into_iter().filter_map(|option| option.header);
        let status = headers.filter(|header| header.key == "grpc-status").map(|header| header.value);
        assert_eq!(status.collect::<Vec<_>>(), told.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{kind}");
    }
}

/// What events and spans say by name.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.lock().unwrap().push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Said {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

#[tokio::test]
async fn the_policy_that_denies_is_told_to_the_operator_and_not_to_the_client() {
    let (metrics, said) = (Metrics::new(), Said::default());
    let mut decider = decider(&metrics);
    decider.description = Description::Outcome;
    let name = format!("Abuser{}", "\u{e9}".repeat(300));
    let deny = limits::DenyPolicy { name: name.clone(), api: "/v2/1.0".into(), ..Default::default() };
    let book = proto::RuleBook {
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1.0".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![proto::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule { id: 1u128.to_be_bytes().to_vec(), ..Default::default() }],
        tiers: Some(limits::Tiers { deny: vec![deny], ..Default::default() }),
        ..Default::default()
    };
    decider.rules.load(&book).unwrap();
    let http = HttpRequest { method: "GET".into(), path: "/v2/pet".into(), ..Default::default() };
    let attributes = AttributeContext {
        request: Some(Asked { http: Some(http), ..Default::default() }),
        context_extensions: [(RULE_KEY.to_owned(), format!("{:032x}", 1))].into(),
        ..Default::default()
    };
    let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(said.clone()));
    let question = CheckRequest { attributes: Some(attributes) };
    let answer = decider.check_within(traces::Parent::default(), question).await;
    drop(listening);

    let told = answer.dynamic_metadata.unwrap().fields.remove("denied_by").and_then(|value| value.kind);
    let Some(Kind::StringValue(told)) = told else { panic!("{told:?}") };
    assert!(name.starts_with(&told) && (250..=256).contains(&told.len()), "cut off: {told}");
    let said = said.0.lock().unwrap();
    let of = |field: &str| said.iter().find(|(name, _)| *name == field).map(|(_, text)| text.as_str());
    assert_eq!((of("policy"), of("microgw.denied_by")), (Some(&*told), Some(&*told)));
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("not denied") };
    assert_eq!(denied.status.unwrap().code, 403);
    assert!(!format!("{:?}{}", denied.headers, denied.body).contains("Abuser"));
}
