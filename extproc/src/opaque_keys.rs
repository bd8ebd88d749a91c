//! Opaque API keys: kept as hashes in a file or in Redis, live in memory. A decision looks here and nowhere else.
//!
//! ```text
//! micro-gw keys -> Store (file: replaced whole | Redis: hash and stream of changes)
//!                    └-> follower of each gateway -> OpaqueKeys::replace -> decisions
//! ```

pub mod file;
pub mod record;
pub mod redis;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use microgw_engine::opaque::KeyHash;
use microgw_engine::{Identity, OpaqueKey};

use self::file::KeyFile;
use self::record::{Record, RecordError};
use self::redis::RedisKeys;

/// The keys that are accepted now.
#[derive(Debug)]
pub struct OpaqueKeys {
    /// `None`: they have not been read yet.
    table: ArcSwapOption<HashMap<KeyHash, Arc<Identity>>>,
    started: Instant,
    /// Milliseconds since `started` when the store was last heard of.
    heard: AtomicU64,
    /// When nobody can tell any more which are good. `None`: what is known stays good.
    stale_after: Option<Duration>,
    problem: Mutex<Option<String>>,
}

/// What there is to say of the keys.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeysStatus {
    /// Keys that are accepted, unless they have expired. `None`: they have not been read yet.
    pub keys: Option<usize>,
    /// The store has not been heard of for too long: keys are answered 503.
    pub stale: bool,
    /// Why what is in the store is not used.
    pub problem: Option<String>,
}

/// Where keys are kept.
#[derive(Clone, Debug)]
pub enum Store {
    File(KeyFile),
    Redis(RedisKeys),
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] file::FileError),
    #[error(transparent)]
    Redis(#[from] redis::RedisKeysError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("there is no key `{0}`")]
    Unknown(String),
    #[error("others change the keys all the time: try again")]
    Contended,
}

// === impl OpaqueKeys ===

impl OpaqueKeys {
    pub fn new(stale_after: Option<Duration>) -> Arc<OpaqueKeys> {
        Arc::new(OpaqueKeys {
            table: ArcSwapOption::empty(),
            started: Instant::now(),
            heard: AtomicU64::new(0),
            stale_after,
            problem: Mutex::default(),
        })
    }

    /// Without waiting for anybody.
    pub fn get(&self, hash: &KeyHash) -> OpaqueKey {
        let table = self.table.load();
        let Some(table) = &*table else { return OpaqueKey::Unavailable };
        if self.is_stale() {
            return OpaqueKey::Unavailable;
        }
        table.get(hash).map_or(OpaqueKey::Unknown, |identity| OpaqueKey::Known(Arc::clone(identity)))
    }

    /// These are the keys from now on.
    pub fn replace(&self, keys: HashMap<KeyHash, Arc<Identity>>) {
        self.table.store(Some(Arc::new(keys)));
    }

    /// The store was reached: what is known is as it is there.
    pub fn hear(&self) {
        self.heard.store(self.elapsed(), Ordering::Relaxed);
    }

    pub fn status(&self) -> KeysStatus {
        KeysStatus {
            keys: self.table.load().as_ref().map(|table| table.len()),
            stale: self.is_stale(),
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Says so once.
    fn complain(&self, problem: &str) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(problem) {
            tracing::error!("API keys: {problem}");
            *known = Some(problem.to_owned());
        }
    }

    fn content(&self) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if known.take().is_some() {
            tracing::info!("API keys: read again");
        }
    }

    fn is_stale(&self) -> bool {
        let age = Duration::from_millis(self.elapsed().saturating_sub(self.heard.load(Ordering::Relaxed)));
        self.stale_after.is_some_and(|limit| age > limit)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Store ===

impl Store {
    /// In the order in which they were made.
    pub async fn all(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = match self {
            Store::File(file) => file.read()?,
            Store::Redis(redis) => redis.all().await?,
        };
        records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(records)
    }

    pub async fn add(&self, record: &Record) -> Result<(), StoreError> {
        match self {
            Store::File(file) => Ok(file.edit(|records| {
                records.push(record.clone());
                Ok(())
            })?),
            Store::Redis(redis) if redis.put(&record.id, None, &[record]).await? => Ok(()),
            Store::Redis(_) => Err(StoreError::Contended),
        }
    }

    /// Changes the key `id`; `change` may make another one, which is added in the same step.
    pub async fn change<T>(
        &self,
        id: &str,
        change: impl Fn(&mut Record) -> Result<(Option<Record>, T), RecordError>,
    ) -> Result<T, StoreError> {
        match self {
            Store::File(file) => file.edit(|records| {
                let record = records.iter_mut().find(|record| record.id == id);
                let record = record.ok_or_else(|| StoreError::Unknown(id.to_owned()))?;
                let (another, result) = change(record)?;
                record.check()?;
                records.extend(another);
                Ok(result)
            }),
            Store::Redis(redis) => {
                const ATTEMPTS: usize = 5;
                for _ in 0..ATTEMPTS {
                    let text = redis.get(id).await?.ok_or_else(|| StoreError::Unknown(id.to_owned()))?;
                    let mut record = Record::parse(&text)?;
                    let (another, result) = change(&mut record)?;
                    record.check()?;
                    let changed: Vec<&Record> = std::iter::once(&record).chain(&another).collect();
                    if redis.put(id, Some(&text), &changed).await? {
                        return Ok(result);
                    }
                }
                Err(StoreError::Contended)
            }
        }
    }

    /// Keeps `keys` as the store has them, for as long as somebody has `keys`. What cannot be read now is an error only where
    /// nobody else can have made it so: a file.
    pub fn follow(&self, keys: &Arc<OpaqueKeys>) -> Result<(), StoreError> {
        match self {
            Store::File(file) => Ok(file.follow(keys)?),
            Store::Redis(redis) => {
                redis.follow(keys);
                Ok(())
            }
        }
    }
}

/// The keys of these records that somebody may use.
fn table<'r>(records: impl IntoIterator<Item = &'r Record>) -> HashMap<KeyHash, Arc<Identity>> {
    records.into_iter().filter_map(Record::identity).collect()
}
