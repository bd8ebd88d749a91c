//! The ext_authz service: one question per request, answered from memory wherever possible.

mod answer;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use futures_util::FutureExt as _;
use microgw_engine::{Decision, Exchange, Reason, RequestHead, Rule};
use microgw_faults::Form;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};

use crate::certificate;
use crate::clock::now;
use crate::decider::{Asking, Decider, RULE_KEY, Settled};
use crate::traces;

/// The service that tonic serves.
#[derive(Clone)]
pub(crate) struct Authz(pub(crate) Arc<Decider>);

// === impl Decider ===

impl Decider {
    /// Answers one question. Does not fail: what goes wrong is a fault in the answer.
    pub async fn check(&self, question: CheckRequest) -> CheckResponse {
        let untraced = Span::none();
        self.isolate(self.decide(question, &untraced)).await
    }

    /// The same as part of a trace.
    async fn check_within(&self, parent: traces::Parent, question: CheckRequest) -> CheckResponse {
        let span = Decider::span(parent);
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
        let Some(armed) = self.armed(id, span) else {
            let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
            return self.refuse(Reason::UnknownRule, None, http.map_or(Form::Fault, form));
        };
        let rule = &*armed.rule;
        let Some(http) = attributes.request.and_then(|request| request.http) else {
            return self.refuse(Reason::Internal, Some(rule), Form::Fault);
        };
        let mut exchange = Exchange::new(rule, &self.facts, now());
        let step = exchange.on_request_head(RequestHead {
            method: &http.method,
            scheme: &http.scheme,
            authority: &http.host,
            path: &http.path,
            headers: &http.headers,
            certificate: certificate::shown(&http.headers),
            peer: attributes.source.as_ref().map_or("", certificate::address),
            // Of a body that is asked for, its first byte comes along.
            has_body: (!http.body.is_empty() || !http.raw_body.is_empty()).then_some(true),
        });
        let mut asking = Asking::new(http.headers.get("x-forwarded-for").map(String::as_str), span);
        match self.settle(&mut exchange, step, &mut asking).await {
            Settled::Decided(decision) => {
                self.decided(&armed, &decision, started.elapsed(), &asking);
                self.report(&armed, &mut exchange);
                let dynamic_metadata = self.describe(&decision);
                let answer = match decision {
                    Decision::Allow(allow) => answer::allowed(allow, self.rate_limits),
                    Decision::Deny(deny) => answer::denied(&deny, form(&http), Some(rule), self.rate_limits),
                    // Of a rule with programs the route leads elsewhere.
                    Decision::Respond(_) => return self.refuse(Reason::Internal, Some(rule), form(&http)),
                };
                CheckResponse { dynamic_metadata, ..answer }
            }
            // Nobody brings a body here: the route of such a rule leads elsewhere.
            Settled::NeedBody => self.refuse(Reason::Internal, Some(rule), form(&http)),
        }
    }

    fn refuse(&self, reason: Reason, rule: Option<&Rule>, form: Form) -> CheckResponse {
        let deny = self.refusal(reason);
        let answer = answer::denied(&deny, form, rule, self.rate_limits);
        CheckResponse { dynamic_metadata: self.describe(&Decision::Deny(deny)), ..answer }
    }
}

/// The form in which the client wants to be told of a fault.
fn form(http: &HttpRequest) -> Form {
    let header = |name: &str| http.headers.get(name).map(String::as_str);
    Form::asked(header("accept"), header("content-type"))
}

// === impl Authz ===

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
