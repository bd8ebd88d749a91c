//! What answers both of Envoy's services: it finds the rule, lets the engine judge, and looks up what the engine asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use microgw_engine::client_address::client_address;
use microgw_engine::{Answer, Decision, Deny, Exchange, Flow, Lookup, Reason, Step};
use microgw_faults::RateLimitHeaders;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, field};

use crate::bandwidth::{Bandwidth, OWED};
use crate::clock::now;
use crate::description;
pub use crate::description::Description;
use crate::fact_cache::FactCache;
use crate::known::Known;
use crate::lookups::Lookups;
use crate::metrics::{LookupOutcome, Metrics, Outcome};
use crate::programs::{NoPrograms, Patience, Programs};
use crate::response_cache::ResponseCache;
use crate::room::{self, Room};
use crate::rule_store::{Armed, RuleStore};
use crate::seldom::Seldom;
use crate::traces;

/// Where a question names its rule.
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
    /// What backends answered, for others who ask the same.
    pub(crate) responses: Arc<ResponseCache>,
    /// For bodies that are collected.
    pub(crate) room: Arc<Room>,
    /// Runs what messages go through.
    pub programs: Arc<dyn Programs>,
    unknown_rules: Seldom,
}

/// What is looked up for one decision.
pub(crate) struct Asking<'r> {
    /// `x-forwarded-for`.
    forwarded: Option<&'r str>,
    span: &'r Span,
    /// Of all lookups together, from the first.
    deadline: Option<Instant>,
    /// For what the message goes through.
    patience: Option<Patience>,
    /// Something was.
    asked: bool,
}

/// Nothing more is to be looked up.
#[allow(clippy::large_enum_variant)] // Moved once.
pub(crate) enum Settled<'a> {
    Decided(Decision<'a>),
    /// The engine goes on once it has the request's body.
    NeedBody,
}

// === impl Decider ===

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
            responses: Arc::new(ResponseCache::new(0, Duration::ZERO)),
            room: Room::new(room::MOST),
            programs: Arc::new(NoPrograms),
            unknown_rules,
        }
    }

    /// The same, with responses that are kept.
    #[must_use]
    pub fn keeping(self, responses: ResponseCache) -> Decider {
        let responses = Arc::new(responses);
        self.metrics.show_responses(&responses);
        Decider { responses, ..self }
    }

    /// The same, with room for collected bodies.
    #[must_use]
    pub fn collecting(self, room: Arc<Room>) -> Decider {
        self.metrics.show_bodies(&room);
        Decider { room, ..self }
    }

    /// The span of one decision, as part of a trace.
    pub(crate) fn span(parent: traces::Parent) -> Span {
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
        span
    }

    /// The rule that a route carries. `None`: nobody knows it, and the request is to be refused.
    pub(crate) fn armed(&self, id: &str, span: &Span) -> Option<Armed> {
        let armed = id.parse().ok().and_then(|id| self.rules.get(id));
        match &armed {
            Some(Armed { rule, .. }) => {
                span.record("microgw.api", &*rule.api().name);
                span.record("microgw.version", &*rule.api().version);
                span.record("microgw.operation", rule.operation());
            }
            None if self.unknown_rules.now() => {
                tracing::error!(rule = ?id, "a route carries a rule that is not loaded: its requests are answered 500");
            }
            None => {}
        }
        armed
    }

    /// Looks up whatever the engine asks for, until it knows.
    pub(crate) async fn settle<'a>(
        &self,
        exchange: &mut Exchange<'a>,
        mut step: Step<'a>,
        asking: &mut Asking<'_>,
    ) -> Settled<'a> {
        loop {
            let lookup = match step {
                Step::Done(decision) => return Settled::Decided(decision),
                Step::NeedBody => return Settled::NeedBody,
                Step::Ask(lookup) => lookup,
                Step::Intercept(call) => {
                    // Of a rule with programs the route leads to who has it.
                    let Some(patience) = &mut asking.patience else {
                        return Settled::Decided(exchange.refuse_request(Reason::Internal));
                    };
                    asking.asked = true;
                    let started = Instant::now();
                    // Few decisions come here: the others have no room for it.
                    let verdict = Box::pin(self.intercept(*call, patience, asking.span)).await;
                    // What is looked up has its own time.
                    asking.deadline = asking.deadline.map(|deadline| deadline + started.elapsed());
                    step = exchange.on_verdict_of_request(verdict, now());
                    continue;
                }
            };
            // Whoever guesses passwords is known by where they come from.
            let address = match &lookup {
                Lookup::Password { .. } => client_address(asking.forwarded.into_iter(), self.trusted_hops),
                _ => None,
            };
            let deadline = *asking.deadline.get_or_insert_with(|| Instant::now() + self.deadline);
            asking.asked = true;
            let answer = if asking.span.is_none() {
                self.look_up(&lookup, address, deadline, asking.span).await
            } else {
                let kind = lookup.kind();
                let span = tracing::info_span!(parent: asking.span, "lookup", kind, outcome = field::Empty);
                self.look_up(&lookup, address, deadline, &span).instrument(span.clone()).await
            };
            step = exchange.resume(answer, now());
        }
    }

    /// Counts it, and says so in its span.
    pub(crate) fn decided(&self, armed: &Armed, decision: &Decision<'_>, took: Duration, asking: &Asking<'_>) {
        self.count(armed, decision, took);
        tell(asking.span, decision, !asking.asked);
    }

    /// Counts and logs what is not as the definition says, and passed all the same.
    pub(crate) fn report(&self, armed: &Armed, exchange: &mut Exchange<'_>) {
        for (flow, violations) in exchange.reported() {
            self.metrics.violated(flow, true);
            tracing::info!(
                api = %armed.rule.api().name,
                version = %armed.rule.api().version,
                operation = armed.rule.operation(),
                flow = flow.as_str(),
                %violations,
                "let a message through that is not as the definition says"
            );
        }
    }

    /// A refusal of no rule's, counted.
    pub(crate) fn refusal(&self, reason: Reason) -> Deny<'static> {
        self.metrics.denied(reason);
        Deny::of(reason)
    }

    /// What Envoy is told beside the answer: for logs, and of what it has to measure.
    pub(crate) fn describe(&self, decision: &Decision<'_>) -> Option<Struct> {
        let description = self.description.of(decision);
        let limits = match decision {
            Decision::Allow(allow) => &allow.limits,
            Decision::Respond(respond) => &respond.limits,
            Decision::Deny(_) => return description,
        };
        let Some(owed) = self.bandwidth.as_ref().and_then(|bandwidth| bandwidth.owed(limits)) else {
            return description;
        };
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

    fn count(&self, Armed { rule, place, .. }: &Armed, decision: &Decision<'_>, took: Duration) {
        self.facts.limits.decided(decision);
        let outcome = match decision {
            // An answer is not refused, whatever its status.
            Decision::Allow(_) | Decision::Respond(_) => {
                self.metrics.allowed();
                Outcome::Allowed
            }
            Decision::Deny(deny) => {
                self.metrics.denied(deny.reason);
                if !deny.violations.is_empty() {
                    self.metrics.violated(Flow::Request, false);
                }
                if let Some(limit) = deny.limit {
                    self.facts.limits.refused(limit);
                }
                tracing::debug!(
                    api = %rule.api().name,
                    operation = rule.operation(),
                    reason = %deny.reason,
                    cause = deny.cause.map(tracing::field::display),
                    violations = Some(&deny.violations).filter(|found| !found.is_empty()).map(tracing::field::display),
                    policy = deny.policy.map(description::bounded),
                    "refused a request"
                );
                Outcome::of(deny.reason.fault().status())
            }
        };
        self.rules.operations().count(*place, outcome);
        self.metrics.decided(took);
    }
}

// === impl Asking ===

impl<'r> Asking<'r> {
    pub(crate) fn new(forwarded: Option<&'r str>, span: &'r Span) -> Asking<'r> {
        Asking { forwarded, span, deadline: None, patience: None, asked: false }
    }

    /// The message goes through programs.
    pub(crate) fn with(self, patience: Patience) -> Asking<'r> {
        Asking { patience: Some(patience), ..self }
    }

    /// What was waited for in between was the client's time.
    pub(crate) fn again(&mut self) {
        self.deadline = None;
    }
}

/// What a decision's span says at its end; `cached` only where a credential was genuine.
fn tell(span: &Span, decision: &Decision<'_>, cached: bool) {
    if let Some(limit) = decision.exceeded() {
        span.record("microgw.exceeded", &*limit.policy);
    }
    let genuine = match decision {
        Decision::Allow(_) | Decision::Respond(_) => true,
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
