//! Leases over Redis: who asks for them, who waits, and who gives them back. What they are and why they are sound says
//! [`microgw_engine::limits::lease`].
//!
//! A question about a key is a task, one at a time for each key: those who come while it is under way wait for the next, together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::redis::{Cmd, Value};
use microgw_engine::limits::lease::{Held, Leases, Outcome, Reply, Report, Spent, Sync, TRUST, Verdict, Waiting};
use microgw_engine::limits::{Algorithm, Charge, CounterKey, Micros, OwnedCharge, Spending, Usages};
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::store::{Script, Store, StoreError};
use crate::clock;

/// What this gateway has leased.
#[derive(Debug)]
pub(super) struct Leased {
    leases: Leases,
    store: Arc<Store>,
    waiters: Mutex<HashMap<u64, oneshot::Sender<Verdict>>>,
    tickets: AtomicU64,
    /// No more is taken than requests wait for: what is spare goes back.
    closing: AtomicBool,
    waited: AtomicU64,
    runtime: Handle,
}

/// Units that a request has waited for; they go back with it.
#[derive(Debug)]
pub(super) struct Grant {
    leased: Arc<Leased>,
    /// Of the charges.
    index: usize,
    key: CounterKey,
    held: Option<Held>,
}

/// A request that waits.
struct Ticket {
    leased: Arc<Leased>,
    key: CounterKey,
    number: u64,
    verdict: oneshot::Receiver<Verdict>,
    over: bool,
}

/// How often it is looked what is to go back.
const SWEEP: Duration = Duration::from_millis(250);
/// For what no request waits for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Keys that are asked about at a time where nobody waits.
const ABREAST: usize = 64;

static POT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leased/pot.lua")));
static SLOTS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leased/slots.lua")));

// === impl Leased ===

impl Leased {
    /// With room for that many leases. On a runtime, which keeps them up to date.
    pub(super) fn start(store: Arc<Store>, room: usize, secret: [u64; 2]) -> Arc<Leased> {
        let leased = Arc::new(Leased {
            leases: Leases::new(room, secret),
            store,
            waiters: Mutex::default(),
            tickets: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            waited: AtomicU64::new(0),
            runtime: Handle::current(),
        });
        tokio::spawn(keep(Arc::downgrade(&leased)));
        leased
    }

    /// Debits all charges, which are of leased limits, and what `others` do; or none. `lost`: some of `charges` could not be asked
    /// about just now.
    pub(super) fn spend(
        self: &Arc<Leased>,
        charges: &[Charge<'_>],
        grants: &mut [Grant],
        lost: bool,
        others: impl FnOnce() -> Spending,
    ) -> (Spent, Usages) {
        let held: SmallVec<[(usize, Held); 4]> =
            grants.iter().filter_map(|grant| Some((grant.index, grant.held?))).collect();
        let lost = (lost || !self.store.is_reachable()).then(|| self.store.gateways());
        let mut low: SmallVec<[CounterKey; 4]> = SmallVec::new();
        let answer = self.leases.spend(charges, &held, clock::both(), lost, others, |key| low.push(key));
        if matches!(answer.0, Spent::Done(Spending::Granted(_))) {
            for grant in grants {
                grant.held = None;
            }
        }
        for key in low {
            self.ask(key);
        }
        answer
    }

    /// Has a request wait for these of its charges. Fewer grants than waits: the store has no more, or cannot be asked (`true`).
    pub(super) async fn wait(
        self: &Arc<Leased>,
        charges: &[OwnedCharge],
        waits: &[(usize, u64)],
        deadline: Instant,
    ) -> (Vec<Grant>, bool) {
        let mut tickets = Vec::with_capacity(waits.len());
        for (index, cost) in waits {
            let Some(charge) = charges.get(*index) else { continue };
            tickets.push((*index, self.ticket(&charge.as_charge(), *cost)));
        }
        let (mut grants, mut lost) = (Vec::with_capacity(tickets.len()), false);
        for (index, mut ticket) in tickets {
            match ticket.verdict(deadline).await {
                Verdict::Granted(held) => {
                    grants.push(Grant { leased: Arc::clone(self), index, key: ticket.key, held: Some(held) });
                }
                Verdict::Exhausted => {}
                Verdict::Lost => lost = true,
            }
        }
        (grants, lost)
    }

    /// Counts what was used without having been asked for.
    pub(super) fn add(self: &Arc<Leased>, charge: &Charge<'_>) {
        let mut low = None;
        self.leases.add(charge, clock::both(), |key| low = Some(key));
        if let Some(key) = low {
            self.ask(key);
        }
    }

    /// Gives back all that is spare, as far as the store can be told within that time.
    pub(super) async fn close(self: &Arc<Leased>, patience: Duration) {
        self.closing.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        while self.store.is_reachable() && Instant::now() < deadline {
            let keys = self.leases.sweep(clock::both(), true);
            if keys.is_empty() && self.leases.spare() == 0 {
                break;
            }
            // Whatever becomes of it is found out, also if it takes longer.
            let leased = Arc::clone(self);
            let asking = self.runtime.spawn(async move { leased.ask_all(keys).await });
            let told = timeout_at(deadline, asking).await;
            if told.is_err() {
                break;
            }
            // A question that is under way has to end first.
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// How often a request had to wait.
    pub(super) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    fn ticket(self: &Arc<Leased>, charge: &Charge<'_>, cost: u64) -> Ticket {
        let number = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (sender, verdict) = oneshot::channel();
        self.waiters().insert(number, sender);
        self.waited.fetch_add(1, Ordering::Relaxed);
        let key = self.leases.wait(charge, Waiting { ticket: number, cost }, clock::both());
        self.ask(key);
        Ticket { leased: Arc::clone(self), key, number, verdict, over: false }
    }

    /// Unless somebody does already.
    fn ask(self: &Arc<Leased>, key: CounterKey) {
        if let Some(sync) = self.leases.begin(key, clock::both()) {
            let leased = Arc::clone(self);
            self.runtime.spawn(async move { leased.fly(sync).await });
        }
    }

    async fn ask_all(self: &Arc<Leased>, keys: Vec<CounterKey>) {
        for keys in keys.chunks(ABREAST) {
            let begin = |key: &CounterKey| self.leases.begin(*key, clock::both());
            let questions: Vec<Sync> = keys.iter().filter_map(begin).collect();
            futures_util::future::join_all(questions.into_iter().map(|sync| self.fly(sync))).await;
        }
    }

    /// Asks, and asks on as long as somebody waits.
    async fn fly(self: &Arc<Leased>, mut sync: Sync) {
        loop {
            let key = sync.key;
            let reply = self.question(&sync).await.ok();
            let (verdicts, more) = self.leases.finish(sync, reply, clock::steady());
            for (ticket, verdict) in verdicts {
                self.tell(key, ticket, verdict);
            }
            let next = if more { self.leases.begin(key, clock::both()) } else { None };
            match next {
                Some(next) => sync = next,
                None => return,
            }
        }
    }

    async fn question(&self, sync: &Sync) -> Result<Reply, StoreError> {
        let keys = [self.store.key("leases", &sync.key)];
        let deadline = if sync.need > 0 { self.store.deadline() } else { Instant::now() + PATIENCE };
        let wish = if self.closing.load(Ordering::Relaxed) { 0 } else { sync.wish };
        let script = if matches!(sync.report, Report::Pot { .. }) { &POT } else { &SLOTS };
        let arguments = |command: &mut Cmd| arguments(command, sync, self.store.gateway(), wish);
        reply(self.store.run_until(deadline, script, &keys, arguments).await?)
    }

    /// Who waits no longer leaves it to others.
    fn tell(&self, key: CounterKey, ticket: u64, verdict: Verdict) {
        let waiter = self.waiters().remove(&ticket);
        let unheard = match waiter {
            Some(waiter) => waiter.send(verdict).err(),
            None => Some(verdict),
        };
        if let Some(Verdict::Granted(held)) = unheard {
            self.leases.take_back(key, held);
        }
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Verdict>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back what nobody uses, and tells a store that may have lost its memory, until nobody has leases any more.
async fn keep(leased: Weak<Leased>) {
    let mut losses = 0;
    loop {
        sleep(SWEEP).await;
        let Some(leased) = leased.upgrade() else { return };
        if !leased.store.is_reachable() {
            continue;
        }
        let now = leased.store.state().losses;
        let keys = if losses == now { leased.leases.sweep(clock::both(), false) } else { leased.leases.all() };
        losses = now;
        leased.ask_all(keys).await;
    }
}

/// As the scripts take them.
fn arguments(command: &mut Cmd, sync: &Sync, gateway: &str, wish: u64) {
    command.arg(gateway).arg(sync.number);
    let quota = sync.limit.quota;
    match sync.report {
        Report::Pot { start, end, oldest, taken, before, spare, most_spare } => {
            command.arg(&[start.0, end.0, oldest.0, quota, most_spare, taken, before.0.0, before.1]);
            command.arg(&[sync.need, wish, spare, TRUST.0]);
        }
        Report::Slots { debt, back, arrival } => {
            let (period, burst) = match sync.limit.algorithm {
                Algorithm::Burst { period, burst } => (period, burst),
                _ => (Micros(1), 1),
            };
            command.arg(&[quota, period.0, burst, debt, sync.need, wish]);
            command.arg(&[back.0 / 1000, back.0 % 1000, back.1, arrival / 1000, arrival % 1000]);
        }
    }
}

fn reply(value: Value) -> Result<Reply, StoreError> {
    let numbers: Vec<u64> = ::redis::from_redis_value(value).map_err(|_| StoreError::Answer)?;
    let (time, outcome) = match numbers[..] {
        [0, time] => (time, Outcome::Elsewhen),
        [1, time] => (time, Outcome::Late),
        [2, time, granted, spare, left, elsewhere, at] => {
            (time, Outcome::Debited { granted, spare, left, elsewhere, at })
        }
        [2, time, granted, spare, left, elsewhere, micros, nanos] => {
            let at = micros.saturating_mul(1000).saturating_add(nanos);
            (time, Outcome::Debited { granted, spare, left, elsewhere, at })
        }
        _ => return Err(StoreError::Answer),
    };
    Ok(Reply { time: Micros(time), outcome })
}

// === impl Ticket ===

impl Ticket {
    async fn verdict(&mut self, deadline: Instant) -> Verdict {
        match timeout_at(deadline, &mut self.verdict).await {
            Ok(verdict) => {
                self.over = true;
                verdict.unwrap_or(Verdict::Lost)
            }
            Err(_) => Verdict::Lost,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.leased.leases.give_up(self.key, self.number);
        // Nothing is sent from now on that nobody hears.
        self.verdict.close();
        if self.leased.waiters().remove(&self.number).is_none()
            && let Ok(Verdict::Granted(held)) = self.verdict.try_recv()
        {
            self.leased.leases.take_back(self.key, held);
        }
    }
}

// === impl Grant ===

impl Grant {
    /// Of which of the charges it is, if they are counted otherwise.
    pub(super) fn counted(&mut self, place: impl Fn(usize) -> Option<usize>) {
        self.index = place(self.index).unwrap_or(usize::MAX);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.leased.leases.take_back(self.key, held);
        }
    }
}
