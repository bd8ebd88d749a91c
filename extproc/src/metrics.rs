//! Counters of the service, by stable names: a publish resets none of them.

use std::sync::Arc;

use microgw_engine::Reason;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 1];
type KeyFetchLabels = [(&'static str, String); 2];

/// Shared by everything in this crate.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    allowed: Counter,
    denied: Family<Labels, Counter>,
    logins: Family<Labels, Counter>,
    key_fetches: Family<KeyFetchLabels, Counter>,
    issued_keys: Counter,
    panics: Counter,
}

/// How an attempt to log in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    Accepted,
    Refused,
    /// Too many failures before; the password was not looked at.
    Slowed,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("microgw");
        let decisions = Family::<Labels, Counter>::default();
        registry.register("decisions", "Decisions of the engine, by reason", decisions.clone());
        let logins = Family::default();
        registry.register("logins", "Logins to the API-key issuer and the admin interface, by outcome", logins.clone());
        let key_fetches = Family::default();
        registry.register("key_fetches", "Fetches of issuers' keys, by issuer and outcome", key_fetches.clone());
        let issued_keys = Counter::default();
        registry.register("issued_keys", "API keys issued", issued_keys.clone());
        let panics = Counter::default();
        registry.register("panics", "Requests that ended in a panic and were answered 500", panics.clone());
        // Handed out once: the common case does not look it up by label.
        let allowed = decisions.get_or_create_owned(&[("reason", "allowed".to_owned())]);
        Metrics { registry, allowed, denied: decisions, logins, key_fetches, issued_keys, panics }
    }
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        Arc::default()
    }

    pub(crate) fn allowed(&self) {
        self.allowed.inc();
    }

    pub(crate) fn denied(&self, reason: Reason) {
        self.denied.get_or_create(&[("reason", reason.as_str().to_owned())]).inc();
    }

    pub(crate) fn login(&self, outcome: LoginOutcome) {
        let outcome = match outcome {
            LoginOutcome::Accepted => "accepted",
            LoginOutcome::Refused => "refused",
            LoginOutcome::Slowed => "slowed",
        };
        self.logins.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn key_fetch(&self, issuer: &str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.key_fetches.get_or_create(&[("issuer", issuer.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn issued_key(&self) {
        self.issued_keys.inc();
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// OpenMetrics text; `more` are families that others keep, without an end mark.
    pub fn render(&self, more: &str) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        text.push_str(more);
        let _ = encode_eof(&mut text);
        text
    }
}
