//! Redis as the place of counters that gateways share.
//!
//! No request waits for a connection, and none for long: there is one that answers, or there is none and everybody is told so
//! at once. Who cannot be reached is tried in the background, and whoever finds out that it is lost leaves that to it.

mod crowd;
mod keeper;
mod place;
mod script;
mod trouble;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use arc_swap::{ArcSwap, ArcSwapOption};
use microgw_engine::limits::Micros;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

pub use self::crowd::Crowd;
use self::place::Connection;
pub use self::place::{Address, Login, Place, Servers};
pub use self::script::Script;
use self::trouble::Trouble;
use crate::clock;
use crate::metrics::{Metrics, StoreOutcome};
use crate::seldom::Seldom;

/// What gateways share. Kept connected by a task of its own for as long as anybody has it.
pub struct Store {
    place: Place,
    credentials: ArcSwap<Credentials>,
    /// Somebody needs it.
    wanted: watch::Sender<bool>,
    /// `None`: it cannot be reached.
    connection: ArcSwapOption<Connection>,
    /// Of ranges of slots; of a single server there is one.
    trouble: Box<[Trouble]>,
    /// The connection was given up.
    lost: Notify,
    /// Unlike that of every other process.
    gateway: String,
    crowd: Crowd,
    /// Microseconds by which its clock is ahead of ours.
    ahead: AtomicI64,
    /// When it became reachable, or ceased to be.
    since: AtomicU64,
    losses: AtomicU64,
    complaint: Mutex<Option<String>>,
    /// What is logged of connections.
    found: Seldom,
    given_up: Seldom,
    unreached: Seldom,
    metrics: Arc<Metrics>,
}

/// What connections are secured by, PEM.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Whom to trust instead of the system's authorities.
    pub trust: Option<String>,
    /// Presented to who asks for it: chain and key.
    pub identity: Option<(String, String)>,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreState {
    /// `single`, `sentinel` or `cluster`.
    pub kind: &'static str,
    pub reachable: bool,
    /// Seconds since 1970.
    pub since: u64,
    /// How often it was lost.
    pub losses: u64,
    /// Of 64 ranges of a cluster's slots, those that are left alone.
    pub troubled: usize,
    /// The last known number of gateways that use it.
    pub gateways: u32,
    pub error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it did not answer in time")]
    Timeout,
    #[error("it answered what it should not")]
    Answer,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// Nodes have slots one after the other: these fail together.
const RANGES: usize = 64;

// === impl Store ===

impl Store {
    /// Connects on the current runtime, from the time on that it is wanted.
    pub fn start(place: Place, credentials: Credentials, crowd: Crowd, metrics: &Arc<Metrics>) -> Arc<Store> {
        let ranges = if place.is_cluster() { RANGES } else { 1 };
        let store = Arc::new(Store {
            place,
            credentials: ArcSwap::from_pointee(credentials),
            wanted: watch::Sender::new(false),
            connection: ArcSwapOption::empty(),
            trouble: std::iter::repeat_with(Trouble::default).take(ranges).collect(),
            lost: Notify::new(),
            gateway: keeper::name(),
            crowd,
            ahead: AtomicI64::new(0),
            since: AtomicU64::new(clock::now().0),
            losses: AtomicU64::new(0),
            complaint: Mutex::default(),
            found: Seldom::default(),
            given_up: Seldom::default(),
            unreached: Seldom::default(),
            metrics: Arc::clone(metrics),
        });
        metrics.show_store(&store);
        tokio::spawn(keeper::keep(Arc::downgrade(&store)));
        store
    }

    /// Connections that are made from now on are secured by these.
    pub fn secure_by(&self, credentials: Credentials) {
        self.credentials.store(Arc::new(credentials));
    }

    /// Limits are shared from now on. Nothing connects before that.
    pub fn want(&self) {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
    }

    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// How something of ours is called there. What has the same `tag` is in one slot of a cluster.
    pub fn key(&self, kind: &str, tag: &impl fmt::Display) -> String {
        format!("{}:{kind}:{{{tag}}}", self.place.prefix)
    }

    /// Runs a script within the time that a decision has. All keys must have one tag; `arguments` adds `ARGV`, and may be asked
    /// twice.
    pub async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value, StoreError> {
        self.run_until(self.deadline(), script, keys, arguments).await
    }

    /// When a decision that begins now must have its answer.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.place.timeout
    }

    /// The same for one of several steps.
    pub async fn run_until(
        &self,
        deadline: Instant,
        script: &Script,
        keys: &[String],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let started = Instant::now();
        let trouble = self.trouble(keys);
        let connection = self.connection.load_full().filter(|_| !trouble.is_some_and(Trouble::is_left_alone));
        let Some(connection) = connection else {
            return Err(StoreError::Unreachable);
        };
        let answer = timeout_at(deadline, script.run(&connection, keys, arguments)).await;
        let (outcome, answer) = match answer {
            Ok(Ok(value)) => (StoreOutcome::Answered, Ok(value)),
            Ok(Err(error)) => (StoreOutcome::Failed, Err(StoreError::Redis(error))),
            Err(_) => (StoreOutcome::Timeout, Err(StoreError::Timeout)),
        };
        self.metrics.stored(outcome, started.elapsed());
        match (&answer, trouble) {
            (Ok(_), Some(range)) => range.answered(),
            (Err(error), range) => self.failed(&connection, error, range),
            (Ok(_), None) => {}
        }
        answer
    }

    /// Keys of several slots take several scripts.
    pub fn is_cluster(&self) -> bool {
        self.place.is_cluster()
    }

    /// Whether there is any use in asking.
    pub fn is_reachable(&self) -> bool {
        self.connection.load().is_some()
    }

    /// The last known number of gateways, at least one, and which of them this one is, from 0 on.
    pub fn gateways(&self) -> (u32, u32) {
        self.crowd.now()
    }

    /// What this gateway is called among those that share the store.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Its clock, as far as it is known.
    pub fn now(&self) -> Micros {
        let ours = clock::micros();
        Micros(ours.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    /// It was `theirs` a moment ago.
    pub(super) fn learn(&self, theirs: Micros) {
        let signed = |micros: Micros| i64::try_from(micros.0).unwrap_or(i64::MAX);
        self.ahead.store(signed(theirs) - signed(clock::micros()), Ordering::Relaxed);
    }

    pub fn state(&self) -> StoreState {
        StoreState {
            kind: self.place.servers.kind(),
            reachable: self.is_reachable(),
            since: self.since.load(Ordering::Relaxed),
            losses: self.losses.load(Ordering::Relaxed),
            troubled: self.trouble.iter().filter(|range| range.is_left_alone()).count(),
            gateways: self.gateways().0,
            error: self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Other gateways no longer count on this one. Waits for it, but not for long.
    pub async fn leave(&self) {
        keeper::leave(self).await;
    }

    /// Waits until it can be reached, but not longer than that.
    pub async fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.is_reachable() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The range that these keys are in.
    fn trouble(&self, keys: &[String]) -> Option<&Trouble> {
        if self.trouble.len() == 1 {
            return self.trouble.first();
        }
        self.trouble.get(self.range(slot(keys.first()?)))
    }

    fn range(&self, slot: u16) -> usize {
        usize::from(slot) * self.trouble.len() / usize::from(SLOTS)
    }

    fn failed(&self, connection: &Arc<Connection>, error: &StoreError, range: Option<&Trouble>) {
        let broken = match error {
            // A script that fails is no reason to think that there is no Redis.
            StoreError::Redis(error) => match error.kind() {
                ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::NoPerm
                    | ServerErrorKind::ClusterDown,
                ) => true,
                ErrorKind::Server(_) => false,
                _ => !error.is_timeout(),
            },
            _ => false,
        };
        let suspect = self.trouble.iter().any(Trouble::is_left_alone);
        let given_up = range.is_none_or(|range| range.failed(suspect));
        // A cluster's other nodes may be well: its connection finds out by itself.
        if !self.place.is_cluster() && (broken || given_up) {
            self.give_up(connection, &error.to_string());
        } else {
            self.complain(&error.to_string());
        }
    }

    /// Unless there is a newer one.
    fn give_up(&self, connection: &Arc<Connection>, why: &str) {
        let was = self.connection.compare_and_swap(connection, None);
        if !was.as_ref().is_some_and(|was| Arc::ptr_eq(was, connection)) {
            return;
        }
        self.since.store(clock::now().0, Ordering::Relaxed);
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.complain(why);
        if self.given_up.now() {
            tracing::warn!("limits: Redis is lost: {why}; limits that are shared do as their `onStoreFailure` says");
        }
        self.lost.notify_one();
    }

    /// It cannot be connected to, again maybe: a reason is logged when it is a new one.
    fn unreached(&self, why: &str) {
        let known = self.complain(why);
        if known.as_deref() != Some(why) && self.unreached.now() {
            tracing::warn!(
                "limits: Redis cannot be reached: {why}; limits that are shared do as their `onStoreFailure` says"
            );
        }
    }

    /// What was wrong before.
    fn complain(&self, why: &str) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).replace(why.to_owned())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?}, reachable: {})", self.place, self.is_reachable())
    }
}

/// Of a key with a tag.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_tag_is_in_one_slot() {
        // The example of Redis' own specification.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("microgw:limits:{123456789}"), 0x31C3);
        assert_eq!(slot("{}x"), slot("{}x"));
    }

    #[tokio::test]
    async fn no_password_is_shown() {
        let login = || Login { user: Some("gateway".into()), password: Some("sesame".into()) };
        let place = Place {
            servers: Servers::Sentinels {
                master: "mymaster".into(),
                addresses: vec![("127.0.0.1".into(), 1)],
                login: login(),
            },
            tls: false,
            database: 0,
            login: login(),
            prefix: "microgw".into(),
            timeout: Duration::from_millis(40),
        };
        let store = Store::start(place, Credentials::default(), Crowd::default(), &Metrics::new());
        let shown = format!("{store:?}");
        assert!(shown.contains("mymaster") && !shown.contains("sesame") && !shown.contains("gateway"), "{shown}");
        assert_eq!(store.key("limits", &"x"), "microgw:limits:{x}");
        assert!(matches!(store.run(&Script::new("return 1"), &[], |_| {}).await, Err(StoreError::Unreachable)));
        assert!(!store.state().reachable);
    }
}
