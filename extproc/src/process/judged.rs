//! What the rule makes of responses, and what clients are told of it.

use envoy_types::pb::envoy::service::ext_proc::v3::ProcessingRequest;
use futures_util::Stream;
use microgw_engine::{Edits, Exchange, Flow, ResponseStep, Rule};
use microgw_faults::Form;
use tonic::Status;
use tracing::Span;

use super::{CacheKey, Conversation, Outcome, answer, message, out_of_turn};
use crate::programs::Patience;

/// A response that goes on, changed like this.
pub(super) struct Passed(pub(super) Option<Box<Edits>>);

impl<A: Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin> Conversation<A> {
    /// What becomes of the response. `None`: the client was told something else in its place. `asked`: it may be kept for others.
    pub(super) async fn judged(
        &self,
        step: ResponseStep<'_>,
        told: &[(&'static str, String)],
        rule: &Rule,
        form: Form,
        asked: Option<&CacheKey>,
    ) -> Outcome<Option<Passed>> {
        match step {
            ResponseStep::Pass(edits) => return Ok(Some(Passed(edits))),
            ResponseStep::Refuse(deny) => {
                self.decider.metrics.denied(deny.reason);
                if let Some(asked) = asked {
                    self.decider.responses.refused(asked);
                }
                let violations = Some(&deny.violations).filter(|violations| !violations.is_empty());
                if let Some(violations) = violations {
                    // Clients are not told, so whoever runs the backend is.
                    self.decider.metrics.violated(Flow::Response, false);
                    tracing::warn!(api = %rule.api().name, operation = rule.operation(), %violations, "refused a response");
                } else {
                    tracing::debug!(api = %rule.api().name, operation = rule.operation(), reason = %deny.reason, "refused a response");
                }
                self.refuse(deny, form, Some(rule)).await?;
            }
            ResponseStep::Respond(responded) => {
                self.say(message(answer::responded(&responded, told.iter().cloned()))).await?;
            }
            ResponseStep::NeedBody | ResponseStep::Intercept(_) => return Err(out_of_turn()),
        }
        Ok(None)
    }

    pub(super) async fn through_programs<'a>(
        &self,
        exchange: &mut Exchange<'a>,
        mut step: ResponseStep<'a>,
        rule: &Rule,
        span: &Span,
    ) -> ResponseStep<'a> {
        let mut patience = Patience::of_response(&self.said, rule);
        while let ResponseStep::Intercept(call) = step {
            let verdict = self.decider.intercept(*call, &mut patience, span).await;
            step = exchange.on_verdict_of_response(verdict);
        }
        step
    }
}
