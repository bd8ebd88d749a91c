//! Keys in Redis: a hash of records by their ids, and a stream that names what changed. Both are written in one step.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::AsyncCommands as _;
use ::redis::aio::MultiplexedConnection;
use microgw_engine::Identity;
use microgw_engine::opaque::KeyHash;
use tokio::time::Instant;

use super::OpaqueKeys;
use super::record::{Record, RecordError};
use crate::redis::{Backoff, Redis, RedisError};

const RECORDS: &str = "keys";
const CHANGES: &str = "keys:changes";
/// Changes that are kept for those who are late; whoever is later reads everything.
const MAX_CHANGES: usize = 10_000;
/// Records of one answer.
const PAGE: usize = 500;
/// All is read again: somebody may have changed records by hand.
const REFRESH: Duration = Duration::from_mins(1);

/// Writes records, and names them as changed, if the first is still what it was.
const PUT: &str = "\
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'id', ARGV[i])
end
return 1";

#[derive(Clone, Debug)]
pub struct RedisKeys(Arc<Redis>);

#[derive(Debug, thiserror::Error)]
pub enum RedisKeysError {
    #[error("cannot reach the keys in Redis: {0}")]
    Redis(#[from] RedisError),
    #[error("the key `{0}` in Redis: {1}")]
    Record(String, RecordError),
}

/// By id.
type Kept = HashMap<String, (KeyHash, Arc<Identity>)>;

impl From<::redis::RedisError> for RedisKeysError {
    fn from(error: ::redis::RedisError) -> RedisKeysError {
        RedisError::from(error).into()
    }
}

// === impl RedisKeys ===

impl RedisKeys {
    pub fn new(redis: Arc<Redis>) -> RedisKeys {
        RedisKeys(redis)
    }

    pub(super) async fn all(&self) -> Result<Vec<Record>, RedisKeysError> {
        let mut records = Vec::new();
        scan(&mut self.0.connect().await?, &self.0.key(RECORDS), |id, text| {
            records.push(Record::parse(&text).map_err(|error| RedisKeysError::Record(id, error))?);
            Ok(())
        })
        .await?;
        Ok(records)
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<String>, RedisKeysError> {
        Ok(self.0.connect().await?.hget(self.0.key(RECORDS), id).await?)
    }

    /// Writes these if the record `id` is still what it was. `None`: there is none.
    pub(super) async fn put(&self, id: &str, was: Option<&str>, records: &[&Record]) -> Result<bool, RedisKeysError> {
        let mut script = ::redis::cmd("EVAL");
        script.arg(PUT).arg(2).arg(self.0.key(RECORDS)).arg(self.0.key(CHANGES));
        script.arg(id).arg(was.unwrap_or_default()).arg(MAX_CHANGES);
        for record in records {
            script.arg(&record.id).arg(record.to_json());
        }
        Ok(script.query_async::<u8>(&mut self.0.connect().await?).await? == 1)
    }

    pub(super) fn follow(&self, keys: &Arc<OpaqueKeys>) {
        tokio::spawn(follow(Arc::clone(&self.0), Arc::downgrade(keys)));
    }
}

async fn follow(redis: Arc<Redis>, keys: Weak<OpaqueKeys>) {
    let mut backoff = Backoff::default();
    while keys.strong_count() > 0 {
        if let Err(error) = session(&redis, &keys, &mut backoff).await
            && let Some(keys) = keys.upgrade()
        {
            keys.complain(&error.to_string());
        }
        backoff.wait().await;
    }
}

/// Reads everything, and then what changes, until the connection is lost or nobody wants to know any more.
async fn session(redis: &Redis, keys: &Weak<OpaqueKeys>, backoff: &mut Backoff) -> Result<(), RedisKeysError> {
    // First the stream, then the records: what changes in between is read twice rather than never.
    let mut changes = redis.follow(CHANGES).await?;
    let (mut connection, records) = (redis.connect().await?, redis.key(RECORDS));
    let (mut kept, mut refreshed) = (load(&mut connection, &records).await?, Instant::now());
    let Some(strong) = keys.upgrade() else { return Ok(()) };
    strong.replace(kept.values().cloned().collect());
    strong.hear();
    strong.content();
    drop(strong);
    backoff.reset();
    loop {
        let entries = changes.next().await?;
        let mut ids: Vec<&str> = entries.iter().filter_map(|entry| entry.field("id")).collect();
        ids.sort_unstable();
        ids.dedup();
        let refresh = refreshed.elapsed() > REFRESH;
        if refresh {
            (kept, refreshed) = (load(&mut connection, &records).await?, Instant::now());
        } else if !ids.is_empty() {
            let texts: Vec<Option<String>> =
                ::redis::cmd("HMGET").arg(&records).arg(&ids).query_async(&mut connection).await?;
            for (id, text) in ids.iter().zip(texts) {
                take_in(&mut kept, id, text.as_deref());
            }
        }
        let Some(strong) = keys.upgrade() else { return Ok(()) };
        if refresh || !ids.is_empty() {
            strong.replace(kept.values().cloned().collect());
        }
        strong.hear();
    }
}

async fn load(connection: &mut MultiplexedConnection, records: &str) -> Result<Kept, RedisKeysError> {
    let mut kept = Kept::new();
    scan(connection, records, |id, text| {
        take_in(&mut kept, &id, Some(&text));
        Ok(())
    })
    .await?;
    Ok(kept)
}

/// A record that cannot be read, or is another's, opens nothing, and takes no other along.
fn take_in(kept: &mut Kept, id: &str, text: Option<&str>) {
    let record = text.and_then(|text| match Record::parse(text) {
        Ok(record) if record.id == id => Some(record),
        Ok(_) => {
            tracing::error!(id, "API keys: the record in Redis has another id: it is not used");
            None
        }
        Err(error) => {
            tracing::error!(id, "API keys: the record in Redis is not used: {error}");
            None
        }
    });
    match record.and_then(|record| record.identity()) {
        Some(key) => kept.insert(id.to_owned(), key),
        None => kept.remove(id),
    };
}

async fn scan(
    connection: &mut MultiplexedConnection,
    records: &str,
    mut take: impl FnMut(String, String) -> Result<(), RedisKeysError>,
) -> Result<(), RedisKeysError> {
    let mut cursor = 0_u64;
    loop {
        let mut page = ::redis::cmd("HSCAN");
        page.arg(records).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, entries): (u64, Vec<(String, String)>) = page.query_async(connection).await?;
        for (id, text) in entries {
            take(id, text)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
