//! Revocations from a Redis that gateways share.
//!
//! ```text
//! revocations          stream: each revocation as it is made, and heartbeats between them
//! revocations:active   sorted set: what has not ended yet, scored by its end; for those who come later
//! ```
//!
//! Both are written in one transaction. A reader takes the end of the stream, then the set, then what follows in the
//! stream: whatever is revoked meanwhile is in one of them. On a lost connection it does all of this again.
//!
//! Clocks: ids of a stream, and so how much of it is kept, come of Redis' clock alone; staleness is measured by the time
//! that passes here. No two clocks are compared, but for the ends of tokens, which have a margin.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use ::redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::{Entry, MARGIN, Revocations};
use crate::clock::now;
use crate::redis::{self, Backoff, Redis, RedisError, Stream};
use crate::seldom::Seldom;
use microgw_engine::RevocationName;

const STREAM: &str = "revocations";
const ACTIVE: &str = "revocations:active";

/// Milliseconds, of Redis' clock, that entries of the stream are kept: many times what a reader may be behind.
const KEPT: u64 = 300_000;
/// A reader that was not awake for this long may have missed entries, and starts anew.
const ASLEEP: Duration = Duration::from_secs(30);
/// An answer that took longer tells of the time when it was asked for.
const SLOW: Duration = Duration::from_millis(1500);
/// Between two attempts to make room for all.
const AGAIN: Duration = Duration::from_secs(10);
/// Entries of one answer or command.
const BATCH: usize = 1000;

/// The first to find the stream silent says that it is not dead; to the others it is not silent any more.
const HEARTBEAT: &str = "
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    if last and last[1] ~= ARGV[1] then return 0 end
    redis.call('XADD', KEYS[1], 'MINID', '~', ARGV[2], '*', 'heartbeat', ARGV[3])
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
    return 1";

/// Why revocations are not written.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("an entry is none: {0}")]
    Entry(#[from] super::EntryError),
}

impl From<::redis::RedisError> for AnnounceError {
    fn from(error: ::redis::RedisError) -> AnnounceError {
        AnnounceError::Redis(error.into())
    }
}

/// Tells every gateway that listens.
pub async fn announce(redis: &Redis, entries: &[Value]) -> Result<(), AnnounceError> {
    let mut told = Vec::new();
    for value in entries {
        let entry = Entry::from_json(value)?;
        let members = value.as_object().into_iter().flatten();
        let kind = members.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let kind = kind.into_iter().find(|(name, text)| Entry::read([(*name, *text)]).is_ok());
        let (kind, text) = kind.ok_or(super::EntryError::Kind)?;
        told.push((kind.to_owned(), text.to_owned(), entry.end.filter(|end| *end != Entry::NEVER)));
    }
    let mut connection = redis.connect().await?;
    Ok(write(redis, &mut connection, &told).await?)
}

/// Kind, text and end of each.
async fn write(
    redis: &Redis,
    connection: &mut MultiplexedConnection,
    told: &[(String, String, Option<u64>)],
) -> Result<(), RedisError> {
    for told in told.chunks(BATCH) {
        let mut transaction = ::redis::pipe();
        transaction.atomic();
        for (kind, text, end) in told {
            let score = end.map_or("+inf".to_owned(), |end| end.to_string());
            transaction.cmd("ZADD").arg(redis.key(ACTIVE)).arg("GT").arg(score).arg(format!("{kind}:{text}")).ignore();
            let addition = transaction.cmd("XADD").arg(redis.key(STREAM)).arg("*").arg(kind).arg(text);
            if let Some(end) = end {
                addition.arg("exp").arg(*end);
            }
            addition.ignore();
        }
        transaction.exec_async(connection).await?;
    }
    Ok(())
}

/// Takes in what Redis tells, for as long as `revocations` is used.
pub(super) async fn follow(redis: Arc<Redis>, revocations: Weak<Revocations>) {
    let (mut backoff, seldom) = (Backoff::default(), Seldom::default());
    while revocations.strong_count() > 0 {
        if let Err(error) = listen(&redis, &revocations, &mut backoff).await
            && seldom.now()
        {
            tracing::warn!(%error, "revocations are not heard of: Redis does not answer");
        }
        backoff.wait().await;
    }
}

/// Until it is better to start anew, or has to be.
async fn listen(redis: &Redis, revocations: &Weak<Revocations>, backoff: &mut Backoff) -> Result<(), RedisError> {
    let mut stream = redis.follow(STREAM).await?;
    let mut connection = redis.connect().await?;
    let Some(whole) = revocations.upgrade() else { return Ok(()) };
    let fits = synchronise(redis, &mut connection, &whole).await?;
    if let Some(feed) = &whole.stream {
        feed.set_full(!fits);
    }
    drop(whole);
    backoff.reset();
    let (started, mut awake, unread) = (Instant::now(), SystemTime::now(), Seldom::default());
    // Those who wait for us need not wait for somebody to be revoked.
    beat(redis, &mut connection, &stream).await?;
    loop {
        let asked = Instant::now();
        let entries = stream.next().await?;
        let Some(revocations) = revocations.upgrade() else { return Ok(()) };
        let Some(feed) = &revocations.stream else { return Ok(()) };
        // Time that passes while a machine is suspended is seen by this clock alone.
        if awake.elapsed().map_or(true, |asleep| asleep > ASLEEP) {
            return Ok(());
        }
        awake = SystemTime::now();
        for entry in entries.iter().filter(|entry| entry.field("heartbeat").is_none()) {
            match Entry::read(entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
                Ok(entry) => {
                    if !revocations.take_in(&entry) {
                        feed.set_full(true);
                    }
                }
                Err(error) => {
                    if unread.now() {
                        tracing::error!(entry = entry.id, %error, "a revocation cannot be read");
                    }
                    // Whom it means nobody can tell, until all are read anew.
                    feed.set_full(true);
                }
            }
        }
        if entries.is_empty() {
            beat(redis, &mut connection, &stream).await?;
        } else if entries.len() < redis::BATCH {
            let now = Instant::now();
            feed.complete_at(if now - asked > SLOW { asked } else { now });
        }
        if feed.is_full() && started.elapsed() > AGAIN && revocations.len() < revocations.settings.most {
            return Ok(());
        }
    }
}

/// Learns what was revoked before, and tells what Redis has forgotten. `false`: there is no room for all of it.
async fn synchronise(
    redis: &Redis,
    connection: &mut MultiplexedConnection,
    revocations: &Revocations,
) -> Result<bool, RedisError> {
    let (mut cursor, mut fits, mut unread) = (0u64, true, 0usize);
    let mut known = HashSet::new();
    loop {
        let (next, page): (u64, Vec<(String, f64)>) = ::redis::cmd("ZSCAN")
            .arg(redis.key(ACTIVE))
            .arg(cursor)
            .arg("COUNT")
            .arg(BATCH)
            .query_async(connection)
            .await
            .map_err(RedisError::from)?;
        for (member, score) in page {
            // Infinity: none was said.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let end = score.is_finite().then_some(score.max(0.0) as u64);
            match member.split_once(':').map(|field| Entry::read([field])) {
                Some(Ok(Entry { name, end: own })) => {
                    // More than there is room for is not remembered here either.
                    if known.len() < revocations.settings.most {
                        known.insert(name);
                    }
                    fits &= revocations.take_in(&Entry { name, end: end.or(own) });
                }
                Some(Err(_)) | None => unread += 1,
            }
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    if unread > 0 {
        tracing::error!(entries = unread, "some of what was revoked cannot be read");
        fits = false;
    }
    let forgotten: Vec<(RevocationName, u64)> =
        revocations.told.entries().into_iter().filter(|(name, _)| !known.contains(name)).collect();
    if !forgotten.is_empty() && fits {
        tracing::warn!(entries = forgotten.len(), "Redis has lost revocations: it is told again");
        let told = forgotten.into_iter().map(|(name, end)| {
            let end = (end != Entry::NEVER).then(|| end.saturating_sub(MARGIN));
            ("name".to_owned(), format!("{:032x}", name.to_bits()), end)
        });
        write(redis, connection, &told.collect::<Vec<_>>()).await?;
    }
    Ok(fits)
}

async fn beat(redis: &Redis, connection: &mut MultiplexedConnection, stream: &Stream) -> Result<(), RedisError> {
    let position = stream.position();
    let time: u64 = position.split('-').next().and_then(|time| time.parse().ok()).unwrap_or_default();
    let _: u64 = ::redis::cmd("EVAL")
        .arg(HEARTBEAT)
        .arg(2)
        .arg(redis.key(STREAM))
        .arg(redis.key(ACTIVE))
        .arg(position)
        .arg(time.saturating_sub(KEPT))
        .arg("1")
        // Whose clock is ahead shall not have others forget: a day is more than clocks are wrong by.
        .arg(now().0.saturating_sub(86_400))
        .query_async(connection)
        .await
        .map_err(RedisError::from)?;
    Ok(())
}
