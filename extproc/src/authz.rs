//! The ext_authz service: one question per request, answered from memory wherever possible.

mod answer;
mod server;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use futures_util::FutureExt as _;
use microgw_engine::{Answer, Decision, Exchange, Lookup, Reason, RequestHead, Rule, Step};
use microgw_faults::Form;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::clock::now;
use crate::fact_cache::FactCache;
use crate::keys::KeyStore;
use crate::metrics::{LookupOutcome, Metrics, Outcome};
use crate::rule_store::{Armed, RuleStore};
use crate::seldom::Seldom;
pub use server::{AuthzServer, StartError};

/// The key of the route's context extensions that holds the rule's id.
pub const RULE_KEY: &str = "rule";

/// Everything that decisions are made from.
pub struct Decider {
    pub rules: Arc<RuleStore>,
    pub facts: FactCache,
    pub keys: KeyStore,
    pub metrics: Arc<Metrics>,
    /// For all lookups of one decision together.
    pub deadline: Duration,
    unknown_rules: Seldom,
}

impl Decider {
    /// What all lookups of one decision may take together, unless said otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(2);

    pub fn new(
        rules: Arc<RuleStore>,
        facts: FactCache,
        keys: KeyStore,
        metrics: Arc<Metrics>,
        deadline: Duration,
    ) -> Decider {
        metrics.show(&facts, &rules);
        Decider { rules, facts, keys, metrics, deadline, unknown_rules: Seldom::default() }
    }

    /// Answers one question. Does not fail: what goes wrong is a fault in the answer.
    pub async fn check(&self, question: CheckRequest) -> CheckResponse {
        self.isolate(self.decide(question)).await
    }

    /// A panic costs the request that caused it, and nothing else.
    async fn isolate(&self, decision: impl Future<Output = CheckResponse>) -> CheckResponse {
        AssertUnwindSafe(decision).catch_unwind().await.unwrap_or_else(|_| {
            self.metrics.panicked();
            tracing::error!("a request ended in a panic and was answered 500");
            self.refuse(Reason::Internal, None)
        })
    }

    async fn decide(&self, question: CheckRequest) -> CheckResponse {
        let started = Instant::now();
        let Some(attributes) = question.attributes else { return self.refuse(Reason::Internal, None) };
        let id = attributes.context_extensions.get(RULE_KEY).map_or("", String::as_str);
        let Some(armed) = id.parse().ok().and_then(|id| self.rules.get(id)) else {
            if self.unknown_rules.now() {
                tracing::error!(rule = ?id, "a route carries a rule that is not loaded: its requests are answered 500");
            }
            return self.refuse(Reason::UnknownRule, None);
        };
        let rule = &*armed.rule;
        let Some(http) = attributes.request.and_then(|request| request.http) else {
            return self.refuse(Reason::Internal, Some(rule));
        };
        let mut exchange = Exchange::new(rule, &self.facts, now());
        let mut step = exchange.on_request_head(RequestHead { path: &http.path, headers: &http.headers });
        let mut deadline = None;
        loop {
            match step {
                Step::Done(decision) => {
                    self.count(&armed, &decision, started);
                    return match decision {
                        Decision::Allow(allow) => answer::allowed(allow, rule),
                        Decision::Deny(deny) => {
                            let header = |name: &str| http.headers.get(name).map(String::as_str);
                            let form = Form::asked(header("accept"), header("content-type"));
                            answer::denied(&deny, form, Some(rule))
                        }
                    };
                }
                Step::Ask(lookup) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.deadline);
                    step = exchange.resume(self.look_up(&lookup, deadline).await, now());
                }
            }
        }
    }

    async fn look_up(&self, lookup: &Lookup, deadline: Instant) -> Answer {
        let started = Instant::now();
        let answer = timeout_at(deadline, self.keys.answer(lookup)).await;
        let outcome = match &answer {
            Ok(Answer::Keys(_)) => LookupOutcome::Found,
            Ok(Answer::Unavailable) => LookupOutcome::Unavailable,
            Err(_) => LookupOutcome::Timeout,
        };
        self.metrics.looked_up(lookup, outcome, started.elapsed());
        answer.unwrap_or(Answer::Unavailable)
    }

    fn count(&self, Armed { rule, place }: &Armed, decision: &Decision<'_>, started: Instant) {
        let outcome = match decision {
            Decision::Allow(_) => {
                self.metrics.allowed();
                Outcome::Allowed
            }
            Decision::Deny(deny) => {
                self.metrics.denied(deny.reason);
                tracing::debug!(
                    api = %rule.api().name,
                    operation = rule.operation(),
                    reason = %deny.reason,
                    cause = deny.cause.map(tracing::field::display),
                    "refused a request"
                );
                Outcome::of(deny.reason.fault().status())
            }
        };
        self.rules.operations().count(*place, outcome);
        self.metrics.decided(started.elapsed());
    }

    fn refuse(&self, reason: Reason, rule: Option<&Rule>) -> CheckResponse {
        self.metrics.denied(reason);
        let deny = microgw_engine::Deny { reason, cause: None, challenges: &[] };
        answer::denied(&deny, Form::Fault, rule)
    }
}

/// The service that tonic serves.
#[derive(Clone)]
pub(crate) struct Authz(pub(crate) Arc<Decider>);

#[tonic::async_trait]
impl Authorization for Authz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.check(request.into_inner()).await))
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;

    use super::*;
    use crate::keys::{KeyTiming, Transport};
    use crate::metrics::Exposition;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let metrics = Metrics::new();
        let keys = KeyStore::start([], KeyTiming::default(), &Transport::default(), &metrics).unwrap();
        let decider = Decider::new(
            Arc::default(),
            FactCache::new(0, Duration::ZERO),
            keys,
            Arc::clone(&metrics),
            Decider::DEADLINE,
        );
        let answer = decider.isolate(async { panic!("a fault of ours") }).await;
        assert_ne!(answer.status.unwrap().code, 0);
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("not denied") };
        assert_eq!(denied.status.unwrap().code, 500);
        assert!(!denied.body.contains("a fault of ours"));
        assert!(metrics.render(Vec::new(), Exposition::OpenMetrics).contains("microgw_panics_total 1\n"));
    }
}
