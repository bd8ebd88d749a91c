//! Programs that messages go through, run by whoever hosts the service.

use microgw_engine::interceptors::{Interception, InterceptorFailure, Program, Verdict};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, field};

use crate::decider::Decider;

/// Runs programs. Each call has to end within what its program may take, and must not hold up others.
#[tonic::async_trait]
pub trait Programs: Send + Sync {
    async fn call(&self, interception: Interception) -> Verdict;
}

/// Where there are none.
pub struct NoPrograms;

// === impl Decider ===

impl Decider {
    /// `deadline`: of all that a message goes through.
    pub(crate) async fn intercept(&self, interception: Interception, deadline: Instant, span: &Span) -> Verdict {
        let started = Instant::now();
        let kind = kind(&interception.interceptor.program);
        let verdict = if span.is_none() {
            timeout_at(deadline, self.programs.call(interception)).await
        } else {
            let name = &*interception.interceptor.name;
            let span = tracing::info_span!(parent: span, "interceptor", name, outcome = field::Empty);
            let verdict = timeout_at(deadline, self.programs.call(interception)).instrument(span.clone()).await;
            span.record("outcome", verdict.as_ref().map_or(InterceptorFailure::Late.as_str(), outcome));
            verdict
        };
        let verdict = verdict.unwrap_or(Verdict::Failed(InterceptorFailure::Late));
        self.metrics.intercepted(kind, outcome(&verdict), started.elapsed());
        verdict
    }
}

fn kind(program: &Program) -> &'static str {
    match program {
        Program::Component { .. } => "component",
        Program::Service { .. } => "service",
    }
}

fn outcome(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Continue { .. } => "continued",
        Verdict::Respond(_) => "responded",
        Verdict::Failed(failure) => failure.as_str(),
    }
}

// === impl NoPrograms ===

#[tonic::async_trait]
impl Programs for NoPrograms {
    async fn call(&self, _: Interception) -> Verdict {
        Verdict::Failed(InterceptorFailure::NotHosted)
    }
}
