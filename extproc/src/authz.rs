//! The ext_authz service: one question per request, answered from memory wherever possible.

mod answer;
mod certificate;
mod description;
mod rate_limit;
mod server;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use futures_util::FutureExt as _;
use microgw_engine::client_address::client_address;
use microgw_engine::{Answer, Balances, Decision, Deny, Exchange, Lookup, Reason, RequestHead, Rule, Step};
use microgw_faults::{Form, RateLimitHeaders};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span, field};

use crate::bandwidth::{Bandwidth, OWED};
use crate::clock::now;
use crate::fact_cache::FactCache;
use crate::known::Known;
use crate::lookups::Lookups;
use crate::metrics::{LookupOutcome, Metrics, Outcome};
use crate::rule_store::{Armed, RuleStore};
use crate::seldom::Seldom;
use crate::traces;
pub use description::Description;
pub use server::{AuthzServer, StartError};

/// The key of the route's context extensions that holds the rule's id.
pub const RULE_KEY: &str = "rule";

/// Everything that decisions are made from.
pub struct Decider {
    pub rules: Arc<RuleStore>,
    pub facts: Known,
    pub lookups: Lookups,
    pub metrics: Arc<Metrics>,
    /// For all lookups of one decision together.
    pub deadline: Duration,
    /// What Envoy is told about each decision.
    pub description: Description,
    /// Continue the traces that Envoy began.
    pub traced: bool,
    /// Proxies in front of Envoy that append to `x-forwarded-for`.
    pub trusted_hops: u32,
    /// Charges what bodies take. `None`: nobody measures that.
    pub bandwidth: Option<Arc<Bandwidth>>,
    /// In which headers clients are told of limits.
    pub rate_limits: RateLimitHeaders,
    unknown_rules: Seldom,
}

impl Decider {
    /// What all lookups of one decision may take together, unless said otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(2);

    pub fn new(
        rules: Arc<RuleStore>,
        facts: FactCache,
        lookups: Lookups,
        metrics: Arc<Metrics>,
        deadline: Duration,
    ) -> Decider {
        metrics.show(&facts, &rules);
        metrics.show_limits(&lookups.limits);
        lookups.limits.show_marks(&metrics);
        let mut facts = Known::new(facts, Arc::clone(&lookups.limits));
        facts.failed_expressions = metrics.failed_expressions();
        let (description, unknown_rules) = (Description::default(), Seldom::default());
        Decider {
            rules,
            facts,
            lookups,
            metrics,
            deadline,
            description,
            traced: false,
            trusted_hops: 0,
            bandwidth: None,
            rate_limits: RateLimitHeaders::default(),
            unknown_rules,
        }
    }

    /// Answers one question. Does not fail: what goes wrong is a fault in the answer.
    pub async fn check(&self, question: CheckRequest) -> CheckResponse {
        let untraced = Span::none();
        self.isolate(self.decide(question, &untraced)).await
    }

    /// The same as part of a trace.
    async fn check_within(&self, parent: traces::Parent, question: CheckRequest) -> CheckResponse {
        let span = tracing::info_span!(
            "decision",
            otel.kind = "server",
            otel.status_code = field::Empty,
            microgw.api = field::Empty,
            microgw.version = field::Empty,
            microgw.operation = field::Empty,
            microgw.reason = field::Empty,
            microgw.exceeded = field::Empty,
            microgw.denied_by = field::Empty,
            microgw.cached = field::Empty,
        );
        traces::continues(&span, parent);
        self.isolate(self.decide(question, &span)).instrument(span.clone()).await
    }

    /// A panic costs the request that caused it, and nothing else.
    async fn isolate(&self, decision: impl Future<Output = CheckResponse>) -> CheckResponse {
        AssertUnwindSafe(decision).catch_unwind().await.unwrap_or_else(|_| {
            self.metrics.panicked();
            tracing::error!("a request ended in a panic and was answered 500");
            self.refuse(Reason::Internal, None, Form::Fault)
        })
    }

    async fn decide(&self, question: CheckRequest, span: &Span) -> CheckResponse {
        let started = Instant::now();
        let Some(attributes) = question.attributes else { return self.refuse(Reason::Internal, None, Form::Fault) };
        let id = attributes.context_extensions.get(RULE_KEY).map_or("", String::as_str);
        let Some(armed) = id.parse().ok().and_then(|id| self.rules.get(id)) else {
            if self.unknown_rules.now() {
                tracing::error!(rule = ?id, "a route carries a rule that is not loaded: its requests are answered 500");
            }
            let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
            return self.refuse(Reason::UnknownRule, None, http.map_or(Form::Fault, form));
        };
        let rule = &*armed.rule;
        span.record("microgw.api", &*rule.api().name);
        span.record("microgw.version", &*rule.api().version);
        span.record("microgw.operation", rule.operation());
        let Some(http) = attributes.request.and_then(|request| request.http) else {
            return self.refuse(Reason::Internal, Some(rule), Form::Fault);
        };
        let mut exchange = Exchange::new(rule, &self.facts, now());
        let mut step = exchange.on_request_head(RequestHead {
            method: &http.method,
            scheme: &http.scheme,
            authority: &http.host,
            path: &http.path,
            headers: &http.headers,
            certificate: certificate::shown(&http.headers),
            peer: attributes.source.as_ref().map_or("", certificate::address),
        });
        let mut deadline = None;
        loop {
            match step {
                Step::Done(decision) => {
                    self.count(&armed, &decision, started);
                    tell(span, &decision, deadline.is_none());
                    let dynamic_metadata = self.describe(&decision);
                    let answer = match decision {
                        Decision::Allow(allow) => answer::allowed(allow, self.rate_limits),
                        Decision::Deny(deny) => answer::denied(&deny, form(&http), Some(rule), self.rate_limits),
                    };
                    return CheckResponse { dynamic_metadata, ..answer };
                }
                Step::Ask(lookup) => {
                    // Whoever guesses passwords is known by where they come from.
                    let address = match &lookup {
                        Lookup::Password { .. } => {
                            let forwarded = http.headers.get("x-forwarded-for").map(String::as_str);
                            client_address(forwarded.into_iter(), self.trusted_hops)
                        }
                        _ => None,
                    };
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.deadline);
                    let answer = if span.is_none() {
                        self.look_up(&lookup, address, deadline, span).await
                    } else {
                        let kind = lookup.kind();
                        let lookup_span = tracing::info_span!(parent: span, "lookup", kind, outcome = field::Empty);
                        self.look_up(&lookup, address, deadline, &lookup_span).instrument(lookup_span.clone()).await
                    };
                    step = exchange.resume(answer, now());
                }
            }
        }
    }

    /// What Envoy is told beside the answer: for logs, and of what it has to measure.
    fn describe(&self, decision: &Decision<'_>) -> Option<Struct> {
        let description = self.description.of(decision);
        let (Some(bandwidth), Decision::Allow(allow)) = (&self.bandwidth, decision) else { return description };
        let Some(owed) = bandwidth.owed(&allow.limits) else { return description };
        let mut description = description.unwrap_or_default();
        description.fields.insert(OWED.to_owned(), Value { kind: Some(Kind::StringValue(owed)) });
        Some(description)
    }

    async fn look_up(&self, lookup: &Lookup, address: Option<IpAddr>, deadline: Instant, span: &Span) -> Answer {
        let started = Instant::now();
        let answer = timeout_at(deadline, self.lookups.answer(lookup, address)).await;
        let outcome = match &answer {
            Ok(Answer::Keys(_) | Answer::Identity(_) | Answer::Assertion(_) | Answer::Spent(_)) => LookupOutcome::Found,
            Ok(Answer::Refused(_)) => LookupOutcome::Refused,
            Ok(Answer::Slowed { .. }) => LookupOutcome::Slowed,
            Ok(Answer::Unavailable) => LookupOutcome::Unavailable,
            Err(_) => LookupOutcome::Timeout,
        };
        self.metrics.looked_up(lookup, outcome, started.elapsed());
        span.record("outcome", outcome.as_str());
        answer.unwrap_or(Answer::Unavailable)
    }

    fn count(&self, Armed { rule, place }: &Armed, decision: &Decision<'_>, started: Instant) {
        self.facts.limits.decided(decision);
        let outcome = match decision {
            Decision::Allow(_) => {
                self.metrics.allowed();
                Outcome::Allowed
            }
            Decision::Deny(deny) => {
                self.metrics.denied(deny.reason);
                if let Some(limit) = deny.limit {
                    self.facts.limits.refused(limit);
                }
                tracing::debug!(
                    api = %rule.api().name,
                    operation = rule.operation(),
                    reason = %deny.reason,
                    cause = deny.cause.map(tracing::field::display),
                    policy = deny.policy.map(description::bounded),
                    "refused a request"
                );
                Outcome::of(deny.reason.fault().status())
            }
        };
        self.rules.operations().count(*place, outcome);
        self.metrics.decided(started.elapsed());
    }

    fn refuse(&self, reason: Reason, rule: Option<&Rule>, form: Form) -> CheckResponse {
        self.metrics.denied(reason);
        let deny = Deny {
            reason,
            cause: None,
            challenges: &[],
            identity: None,
            retry_after: None,
            limit: None,
            limits: Balances::new(),
            policy: None,
        };
        let answer = answer::denied(&deny, form, rule, self.rate_limits);
        CheckResponse { dynamic_metadata: self.description.of(&Decision::Deny(deny)), ..answer }
    }
}

/// The form in which the client wants to be told of a fault.
fn form(http: &HttpRequest) -> Form {
    let header = |name: &str| http.headers.get(name).map(String::as_str);
    Form::asked(header("accept"), header("content-type"))
}

/// What a decision's span says at its end; `cached` only where a credential was genuine.
fn tell(span: &Span, decision: &Decision<'_>, cached: bool) {
    if let Some(limit) = decision.exceeded() {
        span.record("microgw.exceeded", &*limit.policy);
    }
    let genuine = match decision {
        Decision::Allow(_) => true,
        Decision::Deny(deny) => {
            span.record("microgw.reason", deny.reason.as_str());
            if let Some(policy) = deny.policy {
                span.record("microgw.denied_by", description::bounded(policy));
            }
            if Outcome::of(deny.reason.fault().status()) == Outcome::Failed {
                span.record("otel.status_code", "ERROR");
            }
            deny.identity.is_some()
        }
    };
    if genuine {
        span.record("microgw.cached", cached);
    }
}

/// The service that tonic serves.
#[derive(Clone)]
pub(crate) struct Authz(pub(crate) Arc<Decider>);

#[tonic::async_trait]
impl Authorization for Authz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let (metadata, _, question) = request.into_parts();
        let parent = if self.0.traced { traces::parent(metadata.as_ref()) } else { None };
        let answer = match parent {
            None => self.0.check(question).await,
            Some(parent) => self.0.check_within(parent, question).await,
        };
        Ok(Response::new(answer))
    }
}

#[cfg(test)]
mod tests;
