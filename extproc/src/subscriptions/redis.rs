//! Subscriptions in a Redis that gateways share.
//!
//! ```text
//! subscriptions:apis ...   a hash for each table: id -> record, as JSON
//! subscriptions            stream: `table`, `record` (JSON), and `op`, which is `set` or `remove`
//! ```

use std::sync::{Arc, Weak};

use ::redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::{Change, Loader, RecordError, Subscriptions, Table, Tables};
use crate::redis::{Backoff, Entry, Redis, RedisError};
use crate::seldom::Seldom;

const STREAM: &str = "subscriptions";
/// Records of one answer.
const BATCH: usize = 1000;

#[derive(Clone, Debug)]
pub struct FromRedis(pub Arc<Redis>);

impl Loader for FromRedis {
    async fn load(self, store: Arc<Subscriptions>) {
        let weak = Arc::downgrade(&store);
        drop(store);
        let (mut backoff, seldom) = (Backoff::default(), Seldom::default());
        while weak.strong_count() > 0 {
            // What was known stays known while Redis is away.
            if let Err(error) = listen(&self.0, &weak, &mut backoff).await
                && seldom.now()
            {
                tracing::warn!(%error, "subscriptions are not up to date: Redis does not answer");
            }
            backoff.wait().await;
        }
    }
}

async fn listen(redis: &Redis, store: &Weak<Subscriptions>, backoff: &mut Backoff) -> Result<(), RedisError> {
    let mut stream = redis.follow(STREAM).await?;
    let mut connection = redis.connect().await?;
    let Some(whole) = store.upgrade() else { return Ok(()) };
    whole.merge(snapshot(redis, &mut connection, whole.most()).await?);
    drop((whole, connection));
    backoff.reset();
    let unread = Seldom::default();
    loop {
        let entries = stream.next().await?;
        let Some(store) = store.upgrade() else { return Ok(()) };
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            match change(&entry) {
                Ok(change) => changes.push(change),
                Err(error) if unread.now() => {
                    tracing::error!(entry = entry.id, %error, "a change of subscriptions cannot be read and has no effect");
                }
                Err(_) => {}
            }
        }
        if !changes.is_empty() {
            // Of many records a new index takes a while.
            let applied = tokio::task::spawn_blocking(move || store.apply(changes)).await;
            if applied.is_err() {
                tracing::error!("a change of subscriptions ended in a panic");
            }
        }
    }
}

/// No more than it takes to see that there is no room for all.
async fn snapshot(redis: &Redis, connection: &mut MultiplexedConnection, most: usize) -> Result<Tables, RedisError> {
    let mut tables = Tables::default();
    let mut unread = 0usize;
    for table in Table::ALL {
        let mut cursor = 0u64;
        loop {
            let (next, page): (u64, Vec<(String, String)>) = ::redis::cmd("HSCAN")
                .arg(redis.key(&format!("{STREAM}:{}", table.name())))
                .arg(cursor)
                .arg("COUNT")
                .arg(BATCH)
                .query_async(connection)
                .await?;
            for (_, text) in page {
                match read(table, &text) {
                    Ok(change) => {
                        tables.apply(change);
                    }
                    Err(_) => unread += 1,
                }
            }
            cursor = next;
            if cursor == 0 || tables.len() > most {
                break;
            }
        }
    }
    if unread > 0 {
        tracing::error!(records = unread, "records of subscriptions cannot be read and have no effect");
    }
    Ok(tables)
}

fn read(table: Table, text: &str) -> Result<Change, RecordError> {
    let value: Value = serde_json::from_str(text).map_err(|_| RecordError::Form)?;
    Change::record(table, &value)
}

fn change(entry: &Entry) -> Result<Change, RecordError> {
    let table = entry.field("table").and_then(Table::named).ok_or(RecordError::Table)?;
    let value: Value =
        entry.field("record").and_then(|text| serde_json::from_str(text).ok()).ok_or(RecordError::Form)?;
    match entry.field("op") {
        Some("remove") => Change::removal(table, &value),
        Some("set") => Change::record(table, &value),
        _ => Err(RecordError::Member("op")),
    }
}
