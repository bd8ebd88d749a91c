//! Counters of the service, by stable names: a publish resets none of them.

pub mod families;
mod histogram;
mod operations;
mod process;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use microgw_engine::{Flow, Lookup, Reason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Metric, Registry};

use crate::fact_cache::FactCache;
use crate::introspection::{Circuit, Watch};
use crate::limits::{self, Limits, Store};
use crate::response_cache::{self, ResponseCache};
use crate::revocations::{Revocations, Shown};
use crate::room::{self, Room};
use crate::rule_store::RuleStore;
use crate::subscriptions::{self, Subscriptions};
use crate::traces::SpanCounts;
use families::{Family, Kind};
use histogram::Histogram;
pub use operations::{LIMIT as MAX_OPERATIONS, Operations, Outcome, Place};

type By<const N: usize, M> = prometheus_client::metrics::family::Family<[(&'static str, String); N], M, fn() -> M>;

/// Shared by everything in this crate.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    allowed: Counter,
    /// By reason. Handed out once: no decision looks its counter up by label.
    denied: Box<[Counter]>,
    decision: Histogram,
    lookups: By<2, Counter>,
    lookup: By<1, Histogram>,
    interceptions: By<2, Counter>,
    interception: By<1, Histogram>,
    logins: By<1, Counter>,
    key_fetches: By<2, Counter>,
    introspections: By<1, Counter>,
    issued_keys: Counter,
    panics: Counter,
    failed_expressions: Counter,
    publishes: By<1, Counter>,
    publish: Histogram,
    store_operations: By<1, Counter>,
    violations: By<2, Counter>,
    store: Histogram,
}

/// How an attempt to log in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    Accepted,
    Refused,
    /// Too many failures before; the password was not looked at.
    Slowed,
    /// Too many others at the time; it was not looked at either.
    Busy,
}

/// What became of a question about an opaque token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntrospectionOutcome {
    Active,
    /// The server says so, or the token is not for us.
    Inactive,
    /// No answer, or none that can be used.
    Failed,
    /// Somebody else's question was under way.
    Shared,
    /// Not asked: the answer was known by then.
    Remembered,
    OverBudget,
    CircuitOpen,
}

/// How a question to the store of counters ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreOutcome {
    Answered,
    /// With an error, or with none since the connection broke.
    Failed,
    Timeout,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    Found,
    /// The credential is not genuine.
    Refused,
    /// Too many wrong ones came from the same place: it was not looked at.
    Slowed,
    Unavailable,
    /// The decision could not wait any longer.
    Timeout,
}

/// What a family says now, read from where it is kept.
#[derive(Clone, Debug)]
pub struct Reading {
    pub family: &'static Family,
    /// Values of the family's labels, in its order.
    pub samples: Vec<(Vec<String>, Value)>,
}

/// Of a counter or a gauge; what an info says is in its labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Integer(u64),
    Float(f64),
}

/// The two forms of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Plain,
}

#[derive(Debug)]
struct Readings(Vec<Reading>);

/// Sizes that are read when they are asked for.
struct Sizes {
    facts: FactCache,
    rules: Arc<RuleStore>,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let counter: fn() -> Counter = Counter::default;
        let decisions = By::<1, Counter>::new_with_constructor(counter);
        let of = |reason: &str| decisions.get_or_create_owned(&[("reason", reason.to_owned())]);
        let (allowed, denied) = (of("allowed"), Reason::ALL.iter().map(|reason| of(reason.as_str())).collect());
        let metrics = Metrics {
            allowed,
            denied,
            decision: Histogram::new(&histogram::DECISION),
            lookups: By::new_with_constructor(counter),
            lookup: By::new_with_constructor(|| Histogram::new(&histogram::DECISION)),
            interceptions: By::new_with_constructor(counter),
            interception: By::new_with_constructor(|| Histogram::new(&histogram::DECISION)),
            logins: By::new_with_constructor(counter),
            key_fetches: By::new_with_constructor(counter),
            introspections: By::new_with_constructor(counter),
            issued_keys: Counter::default(),
            panics: Counter::default(),
            failed_expressions: Counter::default(),
            publishes: By::new_with_constructor(counter),
            publish: Histogram::new(&histogram::PUBLISH),
            store_operations: By::new_with_constructor(counter),
            violations: By::new_with_constructor(counter),
            store: Histogram::new(&histogram::DECISION),
            registry: Mutex::default(),
        };
        register(&mut registry, &families::DECISIONS, decisions);
        register(&mut registry, &families::VIOLATIONS, metrics.violations.clone());
        register(&mut registry, &families::DECISION_DURATION, metrics.decision.clone());
        register(&mut registry, &families::LOOKUPS, metrics.lookups.clone());
        register(&mut registry, &families::LOOKUP_DURATION, metrics.lookup.clone());
        register(&mut registry, &families::INTERCEPTIONS, metrics.interceptions.clone());
        register(&mut registry, &families::INTERCEPTION_DURATION, metrics.interception.clone());
        register(&mut registry, &families::KEY_FETCHES, metrics.key_fetches.clone());
        register(&mut registry, &families::INTROSPECTIONS, metrics.introspections.clone());
        register(&mut registry, &families::LOGINS, metrics.logins.clone());
        register(&mut registry, &families::ISSUED_KEYS, metrics.issued_keys.clone());
        register(&mut registry, &families::PANICS, metrics.panics.clone());
        register(&mut registry, &families::FAILED_EXPRESSIONS, metrics.failed_expressions.clone());
        register(&mut registry, &families::PUBLISHES, metrics.publishes.clone());
        register(&mut registry, &families::PUBLISH_DURATION, metrics.publish.clone());
        register(&mut registry, &families::LIMIT_STORE_OPERATIONS, metrics.store_operations.clone());
        register(&mut registry, &families::LIMIT_STORE_DURATION, metrics.store.clone());
        let version = vec![env!("CARGO_PKG_VERSION").to_owned()];
        let build = Reading { family: &families::BUILD, samples: vec![(version, Value::Integer(1))] };
        registry.register_collector(Box::new(Readings(vec![build])));
        registry.register_collector(Box::new(process::Process::new()));
        Metrics { registry: registry.into(), ..metrics }
    }
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        Arc::default()
    }

    /// Shows what is kept elsewhere, too.
    pub(crate) fn show(&self, facts: &FactCache, rules: &Arc<RuleStore>) {
        let mut registry = self.lock();
        register(&mut registry, &families::CACHE_HITS, facts.hits.clone());
        register(&mut registry, &families::CACHE_MISSES, facts.misses.clone());
        registry.register_collector(Box::new(Arc::clone(rules.operations())));
        registry.register_collector(Box::new(Sizes { facts: facts.clone(), rules: Arc::clone(rules) }));
    }

    /// Shows what kept responses are good for.
    pub(crate) fn show_responses(&self, responses: &Arc<ResponseCache>) {
        let mut registry = self.lock();
        register(&mut registry, &families::RESPONSE_CACHE_HITS, responses.hits.clone());
        register(&mut registry, &families::RESPONSE_CACHE_MISSES, responses.misses.clone());
        register(&mut registry, &families::RESPONSES_STORED, responses.stored.clone());
        register(&mut registry, &families::RESPONSES_REVALIDATED, responses.revalidated.clone());
        registry.register_collector(Box::new(response_cache::Shown(Arc::clone(responses))));
    }

    /// Shows what collected bodies take.
    pub(crate) fn show_bodies(&self, room: &Arc<Room>) {
        self.lock().register_collector(Box::new(room::Shown(Arc::clone(room))));
    }

    /// Shows how much was revoked, and how far that is known.
    pub(crate) fn show_revocations(&self, revocations: &Arc<Revocations>) {
        self.lock().register_collector(Box::new(Shown(Arc::clone(revocations))));
    }

    /// Shows how much is known of subscriptions.
    pub(crate) fn show_subscriptions(&self, store: &Arc<Subscriptions>) {
        self.lock().register_collector(Box::new(subscriptions::Shown(Arc::clone(store))));
    }

    /// Shows how things stand with the store of counters, for as long as there is one.
    pub(crate) fn show_store(&self, store: &Arc<Store>) {
        self.lock().register_collector(Box::new(limits::StoreShown(Arc::downgrade(store))));
    }

    /// Shows what became of limits that are shared.
    pub(crate) fn show_limits(&self, limits: &Arc<Limits>) {
        self.lock().register_collector(Box::new(limits::Shown(Arc::downgrade(limits))));
    }

    pub(crate) fn stored(&self, outcome: StoreOutcome, duration: Duration) {
        let outcome = match outcome {
            StoreOutcome::Answered => "answered",
            StoreOutcome::Failed => "failed",
            StoreOutcome::Timeout => "timeout",
        };
        self.store_operations.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        self.store.observe(duration);
    }

    /// Shows what is beyond quotas.
    pub(crate) fn show_marks(&self, marks: impl Collector) {
        self.lock().register_collector(Box::new(marks));
    }

    /// Shows what became of spans.
    pub fn show_spans(&self, counts: &SpanCounts) {
        self.lock().register_collector(Box::new(counts.clone()));
    }

    /// Expressions without a result: shared by whoever meets some.
    pub(crate) fn failed_expressions(&self) -> Counter {
        self.failed_expressions.clone()
    }

    pub(crate) fn allowed(&self) {
        self.allowed.inc();
    }

    pub(crate) fn denied(&self, reason: Reason) {
        // In the order of `ALL`, which is that of the declaration.
        if let Some(counter) = self.denied.get(reason as usize) {
            counter.inc();
        }
    }

    /// A message that is not as its contract says; `passed`: all the same.
    pub(crate) fn violated(&self, flow: Flow, passed: bool) {
        let outcome = if passed { "reported" } else { "refused" };
        self.violations.get_or_create(&[("message", flow.as_str().to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn decided(&self, duration: Duration) {
        self.decision.observe(duration);
    }

    pub(crate) fn intercepted(&self, kind: &'static str, outcome: &'static str, duration: Duration) {
        self.interception.get_or_create(&[("kind", kind.to_owned())]).observe(duration);
        self.interceptions.get_or_create(&[("kind", kind.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn looked_up(&self, lookup: &Lookup, outcome: LookupOutcome, duration: Duration) {
        let (kind, outcome) = (lookup.kind().to_owned(), outcome.as_str().to_owned());
        self.lookup.get_or_create(&[("kind", kind.clone())]).observe(duration);
        self.lookups.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
    }

    pub(crate) fn login(&self, outcome: LoginOutcome) {
        let outcome = match outcome {
            LoginOutcome::Accepted => "accepted",
            LoginOutcome::Refused => "refused",
            LoginOutcome::Slowed => "slowed",
            LoginOutcome::Busy => "busy",
        };
        self.logins.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn key_fetch(&self, issuer: &str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.key_fetches.get_or_create(&[("issuer", issuer.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn introspected(&self, outcome: IntrospectionOutcome) {
        let outcome = match outcome {
            IntrospectionOutcome::Active => "active",
            IntrospectionOutcome::Inactive => "inactive",
            IntrospectionOutcome::Failed => "failed",
            IntrospectionOutcome::Shared => "shared",
            IntrospectionOutcome::Remembered => "remembered",
            IntrospectionOutcome::OverBudget => "over_budget",
            IntrospectionOutcome::CircuitOpen => "circuit_open",
        };
        self.introspections.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// Shows how things stand with the authorization server, too.
    pub(crate) fn show_introspection(&self, watch: Watch) {
        self.lock().register_collector(Box::new(watch));
    }

    pub(crate) fn issued_key(&self) {
        self.issued_keys.inc();
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// How a publish ended, and how long that took.
    pub fn published(&self, outcome: &'static str, duration: Duration) {
        self.publishes.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        self.publish.observe(duration);
    }

    /// The page; `more` are families that others keep.
    pub fn render(&self, more: Vec<Reading>, exposition: Exposition) -> String {
        let mut others = Registry::default();
        others.register_collector(Box::new(Readings(more)));
        let (mut text, mut rest) = (String::new(), String::new());
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.lock());
        let _ = encode(&mut rest, &others);
        if let Some(open) = text.strip_suffix("# EOF\n") {
            text.truncate(open.len());
        }
        text.push_str(&rest);
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Plain => text::plain(&text, families::ALL),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn register(registry: &mut Registry, family: &'static Family, metric: impl Metric) {
    registry.register(family.name, family.help, metric);
}

// === impl LookupOutcome ===

impl LookupOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            LookupOutcome::Found => "found",
            LookupOutcome::Refused => "refused",
            LookupOutcome::Slowed => "slowed",
            LookupOutcome::Unavailable => "unavailable",
            LookupOutcome::Timeout => "timeout",
        }
    }
}

// === impl Exposition ===

impl Exposition {
    /// By `Accept`: Prometheus asks for OpenMetrics, others for plain text; who says nothing is given OpenMetrics.
    pub fn accepted(accept: &str) -> Exposition {
        let plain = accept.contains("text/plain") && !accept.contains("application/openmetrics-text");
        if plain { Exposition::Plain } else { Exposition::OpenMetrics }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Exposition::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

// === impl Reading ===

impl Reading {
    /// A family without labels.
    pub fn of(family: &'static Family, value: Value) -> Reading {
        Reading { family, samples: vec![(Vec::new(), value)] }
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Reading { family, samples } = self;
        let mut metric = family.describe(encoder)?;
        for (values, value) in samples {
            let labels: Vec<(&str, &str)> =
                family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
            if family.kind == Kind::Info {
                metric.encode_info(&labels)?;
            } else if labels.is_empty() {
                value.encode(family.kind, &mut metric)?;
            } else {
                value.encode(family.kind, &mut metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(self, kind: Kind, metric: &mut MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match (kind, self) {
            (Kind::Counter, Value::Integer(value)) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
            (Kind::Counter, Value::Float(value)) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
            (_, Value::Integer(value)) => metric.encode_gauge(&value),
            (_, Value::Float(value)) => metric.encode_gauge(&value),
        }
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        self.0.iter().try_for_each(|reading| reading.encode(&mut encoder))
    }
}

impl Collector for SpanCounts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counts = [("exported", &self.exported), ("dropped", &self.dropped), ("failed", &self.failed)];
        let samples = counts.map(|(outcome, count)| (vec![outcome.to_owned()], Value::Integer(count.get())));
        Reading { family: &families::SPANS, samples: samples.into() }.encode(&mut encoder)
    }
}

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some((circuit, refused)) = self.look() else { return Ok(()) };
        let circuit = match circuit {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        };
        let readings =
            [(&families::INTROSPECTION_CIRCUIT, circuit), (&families::INTROSPECTION_REFUSED, refused as u64)];
        readings
            .into_iter()
            .try_for_each(|(family, value)| Reading::of(family, Value::Integer(value)).encode(&mut encoder))
    }
}

// === impl Sizes ===

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let sizes = [
            (&families::CACHE_ENTRIES, self.facts.len() as u64),
            (&families::CACHE_BYTES, self.facts.weight()),
            (&families::RULES, self.rules.len() as u64),
            (&families::RULE_GENERATIONS, self.rules.generations().len() as u64),
        ];
        let readings = sizes.map(|(family, size)| Reading::of(family, Value::Integer(size)));
        readings.iter().try_for_each(|reading| reading.encode(&mut encoder))
    }
}

impl std::fmt::Debug for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sizes")
    }
}

#[cfg(test)]
mod tests;
