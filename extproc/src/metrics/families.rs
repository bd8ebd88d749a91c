//! Every family of `/metrics`: the page, its reference and the dashboard go by this list. Labels are never taken from
//! what a client sends.

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// One family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Without what the kind adds: `_total` of counters, `_info`, `_bucket` and so on.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One phrase without a full stop.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind, labels, help }
}

use Kind::{Counter, Gauge, Histogram, Info};

pub static DECISIONS: Family = family(
    "microgw_decisions",
    Counter,
    &["reason"],
    "Decisions on guarded operations: allowed, or the reason of the denial",
);
pub static OPERATION_DECISIONS: Family = family(
    "microgw_operation_decisions",
    Counter,
    &["api", "version", "operation", "outcome"],
    "The same by operation: allowed, denied (4xx) or failed (5xx); operations beyond 2,000 count together as `other`",
);
pub static VIOLATIONS: Family = family(
    "microgw_contract_violations",
    Counter,
    &["message", "outcome"],
    "Messages that are not as their definition says: a request or a response, refused, or reported and passed",
);
pub static DECISION_DURATION: Family = family(
    "microgw_decision_duration_seconds",
    Histogram,
    &[],
    "Time that a decision took in the service, lookups included",
);
pub static LOOKUPS: Family = family(
    "microgw_lookups",
    Counter,
    &["kind", "outcome"],
    "What a decision had to find out: found, refused, unavailable or timeout",
);
pub static LOOKUP_DURATION: Family =
    family("microgw_lookup_duration_seconds", Histogram, &["kind"], "Time that a decision waited for a lookup");
pub static INTERCEPTIONS: Family = family(
    "microgw_interceptions",
    Counter,
    &["kind", "outcome"],
    "Messages that an interceptor has seen: a component or a service; continued, responded, or how it failed",
);
pub static INTERCEPTION_DURATION: Family = family(
    "microgw_interception_duration_seconds",
    Histogram,
    &["kind"],
    "Time that a message waited for an interceptor",
);
pub static CACHE_HITS: Family =
    family("microgw_fact_cache_hits", Counter, &[], "Tokens and API keys that had been verified before");
pub static CACHE_MISSES: Family =
    family("microgw_fact_cache_misses", Counter, &[], "Tokens and API keys that had to be verified");
pub static CACHE_ENTRIES: Family =
    family("microgw_fact_cache_entries", Gauge, &[], "Verified tokens that are remembered");
pub static CACHE_BYTES: Family = family("microgw_fact_cache_bytes", Gauge, &[], "Memory that they are reckoned at");
pub static RESPONSE_CACHE_HITS: Family =
    family("microgw_response_cache_hits", Counter, &[], "Requests that a kept response has answered");
pub static RESPONSE_CACHE_MISSES: Family = family(
    "microgw_response_cache_misses",
    Counter,
    &[],
    "Requests that a kept response might have answered, and that went to the backend",
);
pub static RESPONSES_STORED: Family =
    family("microgw_response_cache_stored", Counter, &[], "Responses that were kept for others who ask the same");
pub static RESPONSES_REVALIDATED: Family = family(
    "microgw_response_cache_revalidated",
    Counter,
    &[],
    "Kept responses of which the backend said that they are good still",
);
pub static RESPONSE_CACHE_WAITING: Family = family(
    "microgw_response_cache_waiting",
    Gauge,
    &[],
    "Requests that wait for the response to another that asks the same",
);
pub static RESPONSE_CACHE_BYTES: Family =
    family("microgw_response_cache_bytes", Gauge, &[], "Memory that kept responses are reckoned at");
pub static BODY_BYTES: Family =
    family("microgw_body_bytes", Gauge, &[], "Memory that collected bodies take, of all requests together");
pub static KEY_FETCHES: Family =
    family("microgw_key_fetches", Counter, &["issuer", "outcome"], "Fetches of issuers' keys: ok or error");
pub static REVOCATION_LAG: Family = family(
    "microgw_revocation_lag_seconds",
    Gauge,
    &["feed"],
    "How old what is known of revocations is, by feed: `file` or `redis`; from 5 on it is stale",
);
pub static REVOCATIONS: Family =
    family("microgw_revocations", Gauge, &[], "Revocations that are remembered, until what they are about has ended");
pub static REVOCATIONS_FULL: Family = family(
    "microgw_revocations_full",
    Gauge,
    &["feed"],
    "1 while a feed has more revocations than are remembered: credentials that can be revoked are then refused",
);
pub static INTROSPECTIONS: Family = family(
    "microgw_introspections",
    Counter,
    &["outcome"],
    "Opaque tokens that were asked about: active, inactive or failed; or not, as somebody had just asked (shared, remembered), for want of budget (over_budget), or with the circuit open (circuit_open)",
);
pub static INTROSPECTION_CIRCUIT: Family = family(
    "microgw_introspection_circuit",
    Gauge,
    &[],
    "Whether the authorization server is left alone, as it fails: 0 no, 1 about to be tried, 2 yes",
);
pub static INTROSPECTION_REFUSED: Family = family(
    "microgw_introspection_refused_entries",
    Gauge,
    &[],
    "Opaque tokens that are remembered for a moment to be refused",
);
pub static SUBSCRIPTIONS_LOADED: Family = family(
    "microgw_subscriptions_loaded",
    Gauge,
    &[],
    "1 while it is known who is subscribed: 0 before it was loaded, and while there is more than is remembered",
);
pub static SUBSCRIPTION_RECORDS: Family = family(
    "microgw_subscription_records",
    Gauge,
    &[],
    "Applications, keys, APIs and subscriptions that are remembered",
);
pub static LIMIT_COUNTERS: Family = family(
    "microgw_limit_counters",
    Gauge,
    &[],
    "Counters of limits that this gateway holds; those that have expired go as others come",
);
pub static LIMIT_OVERFLOWS: Family = family(
    "microgw_limit_overflows",
    Counter,
    &[],
    "Draws that were counted with those of other callers, for want of room: `throttlingConfig.maxCounters` is too small, or somebody makes up names",
);
pub static LIMIT_REFUSALS: Family = family(
    "microgw_limit_refusals",
    Counter,
    &["level", "policy"],
    "Requests that a limit refused; policies beyond 1,000 count together as `other`",
);
pub static LIMIT_STORE_REACHABLE: Family =
    family("microgw_limit_store_reachable", Gauge, &[], "1 while the Redis of shared limits can be reached");
pub static LIMIT_STORE_LOSSES: Family =
    family("microgw_limit_store_losses", Counter, &[], "How often that Redis was lost");
pub static LIMIT_STORE_OPERATIONS: Family = family(
    "microgw_limit_store_operations",
    Counter,
    &["outcome"],
    "Questions to that Redis: answered, failed or timeout",
);
pub static LIMIT_STORE_DURATION: Family =
    family("microgw_limit_store_duration_seconds", Histogram, &[], "Time that such a question took");
pub static LIMIT_GATEWAYS: Family =
    family("microgw_limit_gateways", Gauge, &[], "Gateways that share limits, as far as was last known");
pub static LIMIT_FALLBACKS: Family = family(
    "microgw_limit_fallbacks",
    Counter,
    &["policy"],
    "Draws on shared limits that were decided without the store, as `onStoreFailure` says: local, deny or allow",
);
pub static LIMIT_DEBTS: Family =
    family("microgw_limit_debts", Gauge, &[], "Counters of shared limits that the store is yet to be told about");
pub static LIMIT_DEBTS_FORGOTTEN: Family =
    family("microgw_limit_debts_forgotten", Counter, &[], "What the store will not be told about, for want of room");
pub static LIMIT_LEASE_UNITS: Family = family(
    "microgw_limit_lease_units",
    Counter,
    &["outcome"],
    "Units of leased limits: taken from the store in advance, returned to it, or stranded (neither spent nor returned in their time)",
);
pub static LIMIT_LEASES: Family =
    family("microgw_limit_leases", Gauge, &[], "Counters of leased limits that this gateway has to do with");
pub static LIMIT_LEASE_SPARE: Family = family(
    "microgw_limit_lease_spare_units",
    Gauge,
    &[],
    "Units that this gateway has leased and not spent: what it keeps from others now",
);
pub static LIMIT_LEASE_UNDERSHOOT: Family = family(
    "microgw_limit_lease_undershoot_ratio",
    Gauge,
    &[],
    "The largest part of a quota that this gateway had stranded at the end of a window, since its start; `maxUndershoot` bounds the sum over gateways",
);
pub static LIMIT_LEASE_WAITS: Family =
    family("microgw_limit_lease_waits", Counter, &[], "Draws on leased limits that had to wait for the store");
pub static LIMITS_EXCEEDED: Family = family(
    "microgw_limits_exceeded",
    Counter,
    &["level"],
    "Requests beyond a quota that passed, as the policy has `stopOnQuota: false`",
);
pub static UNKNOWN_TIERS: Family = family(
    "microgw_unknown_tiers",
    Counter,
    &["level"],
    "Requests whose token, key or store names a tier that `policies.yaml` does not have: `unknownTier` counts for them",
);
pub static LOGINS: Family = family(
    "microgw_logins",
    Counter,
    &["outcome"],
    "Logins to operations, the API-key issuer and the admin interface, unless they are cached: accepted, refused, slowed or busy",
);
pub static ISSUED_KEYS: Family = family("microgw_issued_keys", Counter, &[], "API keys issued");
pub static FAILED_EXPRESSIONS: Family = family(
    "microgw_expression_failures",
    Counter,
    &[],
    "Expressions of conditions and costs that had no result for a request: the condition counts as what lets less through, the cost as all that a limit has",
);
pub static PANICS: Family =
    family("microgw_panics", Counter, &[], "Requests that ended in a panic and were answered 500");
pub static RULES: Family = family("microgw_rules", Gauge, &[], "Rules that are armed, of all generations in use");
pub static RULE_GENERATIONS: Family =
    family("microgw_rule_generations", Gauge, &[], "Generations whose rules are armed: two while one takes over");

pub static SPANS: Family = family(
    "microgw_spans",
    Counter,
    &["outcome"],
    "The service's own spans, where traces are exported: exported, dropped for want of room, or failed at the collector",
);

pub static READY: Family = family("microgw_ready", Gauge, &[], "1 while a generation is live on a connected Envoy");
pub static GENERATION: Family =
    family("microgw_generation", Info, &["project", "generation"], "The generation that is live");
pub static CERTIFICATE_EXPIRY: Family = family(
    "microgw_certificate_expiry_timestamp_seconds",
    Gauge,
    &["role"],
    "When a certificate that is presented ends, in seconds since the Unix epoch",
);
pub static PUBLISHES: Family = family(
    "microgw_publishes",
    Counter,
    &["outcome"],
    "Publishes that ended: live, degraded, rejected, unchanged, superseded, or failed where there was nothing to offer",
);
pub static PUBLISH_DURATION: Family = family(
    "microgw_publish_duration_seconds",
    Histogram,
    &[],
    "Time from the reading of an artifact, or the building of a project, to how its publish ended",
);
pub static DEGRADED_APIS: Family =
    family("microgw_degraded_apis", Gauge, &[], "APIs that are not served with their own content");
pub static XDS_PUSHES: Family = family("microgw_xds_pushes", Counter, &[], "Responses sent to Envoys");
pub static XDS_ACKS: Family =
    family("microgw_xds_acks", Counter, &["type"], "Responses that Envoys accepted, by resource type");
pub static XDS_NACKS: Family =
    family("microgw_xds_nacks", Counter, &["type"], "Responses that Envoys refused, by resource type");
pub static XDS_ENVOYS: Family =
    family("microgw_xds_envoys", Gauge, &["dialect"], "Connected Envoys, by the dialect of xDS: `delta` or `sotw`");
pub static XDS_OUT_OF_SYNC: Family =
    family("microgw_xds_envoys_out_of_sync", Gauge, &[], "Connected Envoys that publishes do not wait for");

pub static BACKEND_TARGETS: Family = family(
    "microgw_backend_targets",
    Gauge,
    &["state"],
    "Backends that are looked up: `found`, or `unknown` while no address is known",
);
pub static ADDRESS_CHANGES: Family = family(
    "microgw_backend_address_changes",
    Counter,
    &[],
    "Times that Envoy was to be told of other addresses of a cluster",
);
pub static DISCOVERY_REACHABLE: Family = family(
    "microgw_discovery_reachable",
    Gauge,
    &["source"],
    "1 unless what says where backends are does not answer, or is not configured and would be asked: dns, srv, etcd or consul",
);
pub static DISCOVERY_FAILURES: Family = family(
    "microgw_discovery_failures",
    Counter,
    &["source"],
    "Questions about where backends are that had no answer: what was known last is used",
);
pub static DISCOVERY_REFUSED: Family = family(
    "microgw_discovery_refused",
    Counter,
    &["source"],
    "Answers about where backends are that could not be used, as a URL with another scheme or path",
);

pub static BUILD: Family = family("microgw_build", Info, &["version"], "The version that runs");
pub static RESIDENT_MEMORY: Family =
    family("process_resident_memory_bytes", Gauge, &[], "Memory of the service, Envoy's not included");
pub static START_TIME: Family =
    family("process_start_time_seconds", Gauge, &[], "When the service started, in seconds since 1970");
pub static CPU: Family =
    family("process_cpu_seconds", Counter, &[], "Processor time of the service, Envoy's not included");

pub static ALL: &[&Family] = &[
    &DECISIONS,
    &VIOLATIONS,
    &OPERATION_DECISIONS,
    &DECISION_DURATION,
    &LOOKUPS,
    &LOOKUP_DURATION,
    &CACHE_HITS,
    &CACHE_MISSES,
    &CACHE_ENTRIES,
    &CACHE_BYTES,
    &RESPONSE_CACHE_HITS,
    &RESPONSE_CACHE_MISSES,
    &RESPONSES_STORED,
    &RESPONSES_REVALIDATED,
    &RESPONSE_CACHE_WAITING,
    &RESPONSE_CACHE_BYTES,
    &BODY_BYTES,
    &KEY_FETCHES,
    &REVOCATION_LAG,
    &REVOCATIONS,
    &REVOCATIONS_FULL,
    &INTROSPECTIONS,
    &INTROSPECTION_CIRCUIT,
    &INTROSPECTION_REFUSED,
    &SUBSCRIPTIONS_LOADED,
    &SUBSCRIPTION_RECORDS,
    &LIMIT_COUNTERS,
    &LIMIT_OVERFLOWS,
    &LIMIT_REFUSALS,
    &LIMIT_STORE_REACHABLE,
    &LIMIT_STORE_LOSSES,
    &LIMIT_STORE_OPERATIONS,
    &LIMIT_STORE_DURATION,
    &LIMIT_GATEWAYS,
    &LIMIT_FALLBACKS,
    &LIMIT_DEBTS,
    &LIMIT_DEBTS_FORGOTTEN,
    &LIMIT_LEASE_UNITS,
    &LIMIT_LEASES,
    &LIMIT_LEASE_SPARE,
    &LIMIT_LEASE_UNDERSHOOT,
    &LIMIT_LEASE_WAITS,
    &LIMITS_EXCEEDED,
    &UNKNOWN_TIERS,
    &LOGINS,
    &ISSUED_KEYS,
    &FAILED_EXPRESSIONS,
    &PANICS,
    &RULES,
    &RULE_GENERATIONS,
    &SPANS,
    &READY,
    &GENERATION,
    &CERTIFICATE_EXPIRY,
    &PUBLISHES,
    &PUBLISH_DURATION,
    &DEGRADED_APIS,
    &XDS_PUSHES,
    &XDS_ACKS,
    &XDS_NACKS,
    &XDS_ENVOYS,
    &XDS_OUT_OF_SYNC,
    &BACKEND_TARGETS,
    &ADDRESS_CHANGES,
    &DISCOVERY_REACHABLE,
    &DISCOVERY_FAILURES,
    &DISCOVERY_REFUSED,
    &BUILD,
    &RESIDENT_MEMORY,
    &START_TIME,
    &CPU,
];

// === impl Family ===

impl Family {
    /// Begins it on a page. A registry ends the help of what is registered with a full stop, and so do we.
    pub(super) fn describe<'a>(
        &self,
        encoder: &'a mut DescriptorEncoder<'_>,
    ) -> Result<MetricEncoder<'a>, std::fmt::Error> {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        encoder.encode_descriptor(self.name, &format!("{}.", self.help), None, kind)
    }

    /// The names that its samples have.
    pub fn samples(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
            Kind::Info => &["_info"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }
}

// === impl Kind ===

impl Kind {
    /// As OpenMetrics calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}
