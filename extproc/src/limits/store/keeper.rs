//! Keeps the store connected, tells other gateways that this one is there, and counts them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use microgw_engine::limits::Micros;
use tokio::time::{Instant, timeout};

use super::place::Connection;
use super::trouble::Trouble;
use super::{SLOTS, Script, Store, StoreError, slot};
use crate::clock;
use crate::redis::Backoff;

/// How often gateways say that they are there.
const BEAT: Duration = Duration::from_secs(1);
/// A gateway that was not heard for so long is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// How often those that are left alone are tried.
const PAUSE: Duration = Duration::from_millis(500);
/// Who was connected for so long is tried again at once.
const LASTING: Duration = Duration::from_secs(5);
/// For what no request waits for.
const PATIENCE: Duration = Duration::from_millis(500);
const GATEWAYS: &str = "gateways";
const TAG: &str = "all";
const KEYS: usize = 12;

/// Its clock, how many gateways there are, and which of them asks.
static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
local place = 0
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, other in ipairs(all) do
  if other < ARGV[1] then place = place + 1 end
end
return {now, #all, place}",
    )
});

static PING: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('EXISTS', KEYS[1])"));

static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('ZREM', KEYS[1], ARGV[1])"));

/// Until nobody has the store any more.
pub(super) async fn keep(store: Weak<Store>) {
    let mut backoff = Backoff::default();
    let Some(mut wanted) = store.upgrade().map(|store| store.wanted.subscribe()) else { return };
    // An error: there is no store any more.
    if wanted.wait_for(|wanted| *wanted).await.is_err() {
        return;
    }
    drop(wanted);
    loop {
        let Some(strong) = store.upgrade() else { return };
        if let Err(error) = connect(&strong).await {
            strong.unreached(&error.to_string());
            drop(strong);
            backoff.wait().await;
            continue;
        }
        let connected = Instant::now();
        while strong.is_reachable() {
            strong.crowd.save().await;
            let pause = if strong.trouble.iter().any(Trouble::is_left_alone) { PAUSE } else { BEAT };
            let beat = timeout(pause, strong.lost.notified()).await.is_err();
            // Nobody else has it any more.
            if beat && Arc::strong_count(&strong) == 1 {
                return;
            }
            // Who does not answer this is found out by it, too. Of a cluster it may be one node.
            if strong.is_reachable()
                && let Err(error) = announce(&strong).await
                && let Some(connection) = strong.connection.load_full().filter(|_| strong.is_cluster())
                && !answers(&strong, &connection).await
            {
                strong.give_up(&connection, &error.to_string());
            }
            probe(&strong).await;
        }
        // Who answers too late for requests is lost as soon as it is found.
        if connected.elapsed() < LASTING {
            drop(strong);
            backoff.wait().await;
        } else {
            backoff.reset();
        }
    }
}

/// Asks each range that is left alone, all at once: what is back counts again, whatever is not.
async fn probe(store: &Store) {
    let left_alone: Vec<usize> =
        store.trouble.iter().enumerate().filter(|(_, range)| range.is_left_alone()).map(|(index, _)| index).collect();
    let Some(connection) = store.connection.load_full().filter(|_| !left_alone.is_empty()) else { return };
    let tries = left_alone.into_iter().map(|index| probe_range(store, &connection, index));
    join_all(tries).await;
}

async fn probe_range(store: &Store, connection: &Arc<Connection>, index: usize) {
    let keys = (0..SLOTS).map(|number| store.key(GATEWAYS, &number));
    let Some(key) = keys.into_iter().find(|key| store.range(slot(key)) == index) else { return };
    let answered = matches!(timeout(PATIENCE, PING.run(connection, &[key], |_| {})).await, Ok(Ok(_)));
    match store.trouble.get(index) {
        Some(range) if answered => range.answered(),
        _ if !store.is_cluster() => store.give_up(connection, &StoreError::Timeout.to_string()),
        _ => {}
    }
}

/// Connects, and asks once: whoever accepts a connection may still be frozen.
async fn connect(store: &Store) -> Result<(), StoreError> {
    let connection = Arc::new(store.place.connect(&store.credentials.load_full()).await?);
    let keys = [store.key(GATEWAYS, &TAG)];
    let asked = Instant::now();
    let arguments = |command: &mut ::redis::Cmd| {
        command.arg(store.gateway()).arg(SILENCE.as_micros().to_string());
    };
    let answer = timeout(PATIENCE, ANNOUNCE.run(&connection, &keys, arguments)).await;
    let answer = answer.map_err(|_| StoreError::Timeout).and_then(|answer| Ok(answer?));
    match answer.and_then(|answer| take_in(store, answer, asked)) {
        Err(error) if !(store.is_cluster() && answers(store, &connection).await) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for range in &store.trouble {
        range.answered();
    }
    store.connection.store(Some(connection));
    store.since.store(clock::now().0, Ordering::Relaxed);
    *store.complaint.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    if store.found.now() {
        tracing::info!("limits: connected to Redis");
    }
    Ok(())
}

/// Whether any node of a cluster does: of so many keys some are elsewhere.
async fn answers(store: &Store, connection: &Connection) -> bool {
    let ask = |number: usize| async move {
        let key = [store.key(GATEWAYS, &number)];
        matches!(timeout(PATIENCE, PING.run(connection, &key, |_| {})).await, Ok(Ok(_)))
    };
    join_all((0..KEYS).map(ask)).await.contains(&true)
}

async fn announce(store: &Store) -> Result<(), StoreError> {
    let keys = [store.key(GATEWAYS, &TAG)];
    let asked = Instant::now();
    let answer = store
        .run_until(asked + PATIENCE, &ANNOUNCE, &keys, |command| {
            command.arg(store.gateway()).arg(SILENCE.as_micros().to_string());
        })
        .await?;
    take_in(store, answer, asked)
}

fn take_in(store: &Store, answer: ::redis::Value, asked: Instant) -> Result<(), StoreError> {
    let (now, gateways, rank): (u64, u32, u32) = ::redis::from_redis_value(answer).map_err(|_| StoreError::Answer)?;
    // It said so somewhere in between.
    let half = u64::try_from(asked.elapsed().as_micros() / 2).unwrap_or(0);
    store.learn(Micros(now.saturating_add(half)));
    store.crowd.learn(gateways, rank);
    Ok(())
}

pub(super) async fn leave(store: &Store) {
    let keys = [store.key(GATEWAYS, &TAG)];
    let until = Instant::now() + PATIENCE;
    let arguments = |command: &mut ::redis::Cmd| {
        command.arg(store.gateway());
    };
    let _ = store.run_until(until, &LEAVE, &keys, arguments).await;
}

/// A name that no other process has.
pub(super) fn name() -> String {
    let mut bytes = [0_u8; 8];
    // Without randomness the clock has to do.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes = clock::micros().0.to_be_bytes();
    }
    bytes.iter().fold(String::with_capacity(16), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}
