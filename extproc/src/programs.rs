//! Programs that messages go through, run by whoever hosts the service.

use std::pin::pin;
use std::time::Duration;

use envoy_types::pb::envoy::service::ext_proc::v3::ProcessingResponse;
use envoy_types::pb::google::protobuf::Duration as Longer;
use microgw_engine::Rule;
use microgw_engine::interceptors::{Interception, InterceptorFailure, Program, Verdict};
use microgw_transforms::Direction;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tracing::{Instrument as _, Span, field};

use crate::decider::Decider;

/// Runs programs. Each call has to end within what its program may take, and must not hold up others.
#[tonic::async_trait]
pub trait Programs: Send + Sync {
    async fn call(&self, interception: Interception) -> Verdict;
}

/// Where there are none.
pub struct NoPrograms;

/// Envoy waits as long for programs as they may take, and no longer than usual for anybody else: it is told once it has waited for a
/// while.
pub(crate) struct Patience {
    said: Saying,
    /// When it is told. `None`: it was.
    from: Option<Instant>,
    /// For all programs of the message, from the first.
    time: Duration,
    until: Option<Instant>,
    /// For what is done then, before Envoy hears of it.
    beside: Duration,
}

type Saying = mpsc::Sender<Result<ProcessingResponse, Status>>;

/// Envoy waits for twice as long without being told.
const WHILE: Duration = Duration::from_secs(1);
/// Whoever runs programs ends them in time, and says why.
const GRACE: Duration = Duration::from_millis(250);
/// Beside what programs may take: lookups have as long, and the answer is on its way.
const BESIDE: Duration = Decider::DEADLINE.saturating_add(Duration::from_millis(250));
/// Envoy takes no more of it: `LONGEST_WAIT` of its listeners.
const MOST: Duration = Duration::from_secs(125);

// === impl Patience ===

impl Patience {
    /// Since now, when Envoy asks. `wait`: for a response that is kept.
    pub(crate) fn of_request(said: &Saying, rule: &Rule, wait: Duration) -> Patience {
        // That goes through its programs while Envoy still waits for what becomes of the request.
        let answered = rule.keep().map_or(Duration::ZERO, |_| wait + rule.time_in_programs(Direction::Response));
        Patience::new(said, rule.time_in_programs(Direction::Request), BESIDE + answered)
    }

    pub(crate) fn of_response(said: &Saying, rule: &Rule) -> Patience {
        Patience::new(said, rule.time_in_programs(Direction::Response), BESIDE)
    }

    fn new(said: &Saying, time: Duration, beside: Duration) -> Patience {
        Patience { said: said.clone(), from: Some(Instant::now() + WHILE), time, until: None, beside }
    }

    /// `None`: their time is over.
    async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + self.time + GRACE);
        let mut work = pin!(timeout_at(until, work));
        if let Some(from) = self.from.filter(|from| *from < until) {
            match timeout_at(from, &mut work).await {
                Ok(done) => return done.ok(),
                Err(_) => self.from = None,
            }
            // Nobody is there to wait any more, otherwise.
            let (_, done) = tokio::join!(self.said.send(Ok(self.longer(until))), work);
            return done.ok();
        }
        work.await.ok()
    }

    fn longer(&self, until: Instant) -> ProcessingResponse {
        let left = (until.saturating_duration_since(Instant::now()) + self.beside).min(MOST);
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let nanos = i32::try_from(left.subsec_nanos()).unwrap_or_default();
        let longer = Some(Longer { seconds, nanos });
        ProcessingResponse { override_message_timeout: longer, ..ProcessingResponse::default() }
    }
}

// === impl Decider ===

impl Decider {
    pub(crate) async fn intercept(&self, interception: Interception, patience: &mut Patience, span: &Span) -> Verdict {
        let started = Instant::now();
        let kind = kind(&interception.interceptor.program);
        let verdict = if span.is_none() {
            patience.wait(self.programs.call(interception)).await
        } else {
            let name = &*interception.interceptor.name;
            let span = tracing::info_span!(parent: span, "interceptor", name, outcome = field::Empty);
            let verdict = patience.wait(self.programs.call(interception)).instrument(span.clone()).await;
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
