//! `keys`: opaque API keys, in the store that the settings name.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use micro_gw::certificates;
use micro_gw::config::{self, Config};
use microgw_engine::ApiGrant;
use microgw_extproc::opaque_keys::Store;
use microgw_extproc::opaque_keys::file::KeyFile;
use microgw_extproc::opaque_keys::record::{ApplicationRecord, KeyTypeRecord, Record, State};
use microgw_extproc::opaque_keys::redis::RedisKeys;
use microgw_extproc::redis::Redis;
use serde_json::json;
use std::sync::Arc;

use crate::args::{CreateKey, End, ExpireKey, Format, Keys, KeysCommand, ListKeys, NamedKey, RotateKey};
use crate::{args, output, settings_of};

pub async fn keys(args: Keys) -> anyhow::Result<()> {
    match args.command {
        KeysCommand::Create(args) => create(&args).await,
        KeysCommand::List(args) => list(&args).await,
        KeysCommand::Rotate(args) => rotate(&args).await,
        KeysCommand::Expire(args) => expire(&args).await,
        KeysCommand::Revoke(args) => revoke(&args).await,
    }
}

/// The configured store. `redis` is the configured Redis.
pub fn store(
    config: &Config,
    redis: impl FnOnce() -> anyhow::Result<Option<Arc<Redis>>>,
) -> anyhow::Result<Option<Store>> {
    Ok(match &config.key_store {
        None => None,
        Some(config::KeyStore::File(path)) => Some(Store::File(KeyFile::new(path.clone()))),
        Some(config::KeyStore::Redis) => {
            let redis = redis()?.context("`apikey.store.redis` needs `redis.url`")?;
            Some(Store::Redis(RedisKeys::new(redis)))
        }
    })
}

fn opened(args: &args::Settings) -> anyhow::Result<Store> {
    let config = settings_of(None::<&Path>, args)?;
    let store = store(&config, || certificates::redis(&config))?;
    store.context("no store of API keys is configured: set `apikey.store.path` or `apikey.store.redis`")
}

async fn create(args: &CreateKey) -> anyhow::Result<()> {
    let store = opened(&args.settings)?;
    let now = seconds(SystemTime::now());
    let application = args.application.as_ref().map(|name| ApplicationRecord {
        id: args.application_id.clone(),
        uuid: args.application_uuid.clone(),
        name: Some(name.clone()),
        tier: args.application_tier.clone(),
        owner: Some(args.application_owner.clone().unwrap_or_else(|| args.owner.clone())),
    });
    let apis = args.apis.iter().map(|api| grant(api)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut metadata = BTreeMap::new();
    for pair in &args.metadata {
        let (name, value) = pair.split_once('=').with_context(|| format!("`--metadata {pair}` has no `=`"))?;
        ensure!(metadata.insert(name.to_owned(), value.to_owned()).is_none(), "the metadata `{name}` is given twice");
    }
    let terms = Record {
        application,
        tier: args.tier.clone(),
        key_type: if args.sandbox { KeyTypeRecord::Sandbox } else { KeyTypeRecord::Production },
        apis: (!apis.is_empty()).then_some(apis),
        metadata,
        expires: end(&args.end, now)?,
        ..Record::terms(&args.owner)
    };
    let (record, key) = Record::create(terms, now).context("the key is not made")?;
    store.add(&record).await.context("the key is not made")?;
    show(&record, &key, args.output, "");
    Ok(())
}

async fn list(args: &ListKeys) -> anyhow::Result<()> {
    let mut records = opened(&args.settings)?.all().await?;
    records.retain(|record| args.owner.as_ref().is_none_or(|owner| *owner == record.owner));
    let now = seconds(SystemTime::now());
    if args.output == Format::Json {
        let shown = records.iter().map(|record| {
            let mut shown = serde_json::to_value(record).unwrap_or_default();
            if let Some(fields) = shown.as_object_mut() {
                // It opens nothing, and is of use to nobody who reads this.
                fields.remove("hash");
                fields.insert("state".to_owned(), state(record, now).into());
            }
            shown
        });
        output::line(&shown.collect::<serde_json::Value>().to_string());
        return Ok(());
    }
    let header = ["ID", "STATE", "OWNER", "APPLICATION", "TYPE", "EXPIRES", "APIS"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(records.iter().map(|record| row(record, now))).collect();
    output::table(&rows);
    Ok(())
}

async fn rotate(args: &RotateKey) -> anyhow::Result<()> {
    let store = opened(&args.settings)?;
    let now = seconds(SystemTime::now());
    let expires = end(&args.end, now)?;
    let rotated = store.change(&args.id, |old| {
        let (record, key) = old.rotate(expires, args.overlap.as_secs(), now)?;
        Ok((Some(record.clone()), (record, key, old.expires)))
    });
    let (record, key, old_end) = rotated.await.context("the key is not rotated")?;
    let old = format!("; {} is accepted until {}", args.id, shown_time(old_end));
    show(&record, &key, args.output, &old);
    Ok(())
}

async fn expire(args: &ExpireKey) -> anyhow::Result<()> {
    let store = opened(&args.settings)?;
    let now = seconds(SystemTime::now());
    let at = match (args.end.after, args.end.at) {
        (Some(after), _) => now.saturating_add(after.as_secs()),
        (None, Some(at)) => seconds(at),
        (None, None) => bail!("say when: --in or --at"),
    };
    store
        .change(&args.id, |record| record.expire(at, now).map(|()| (None, ())))
        .await
        .context("the key stays as it is")?;
    output::note(&format!("{} ends at {}", args.id, shown_time(Some(at))));
    Ok(())
}

async fn revoke(args: &NamedKey) -> anyhow::Result<()> {
    let store = opened(&args.settings)?;
    let now = seconds(SystemTime::now());
    let revoke = |record: &mut Record| {
        record.revoke(now);
        Ok((None, ()))
    };
    store.change(&args.id, revoke).await.context("the key is not revoked")?;
    output::note(&format!("{} is revoked", args.id));
    Ok(())
}

/// The key on stdout, all else on stderr: what reads the one does not get the other.
fn show(record: &Record, key: &str, format: Format, more: &str) {
    match format {
        Format::Json => {
            output::line(&json!({ "id": record.id, "key": key, "expires": record.expires }).to_string());
        }
        Format::Human => {
            output::line(key);
            let end = record.expires.map_or_else(String::new, |end| format!(", ends at {}", shown_time(Some(end))));
            output::note(&format!("{}{end}{more}. The key is shown this once and kept nowhere.", record.id));
        }
    }
}

fn row(record: &Record, now: u64) -> [String; 7] {
    let apis = record.apis.as_ref().map_or_else(
        || "all".to_owned(),
        |apis| apis.iter().map(|api| format!("{}:{}", api.name, api.version)).collect::<Vec<_>>().join(","),
    );
    let application = record.application.as_ref().and_then(|application| application.name.clone());
    let kind = if record.key_type == KeyTypeRecord::Sandbox { "sandbox" } else { "production" };
    [
        record.id.clone(),
        state(record, now).to_owned(),
        record.owner.clone(),
        application.unwrap_or_else(|| "-".to_owned()),
        kind.to_owned(),
        shown_time(record.expires),
        apis,
    ]
}

fn state(record: &Record, now: u64) -> &'static str {
    match record.state(now) {
        State::Live => "live",
        State::Expired => "expired",
        State::Revoked => "revoked",
    }
}

/// The version comes behind the last colon: names may have some.
fn grant(text: &str) -> anyhow::Result<ApiGrant> {
    let parts = text.rsplit_once(':').filter(|(name, version)| !name.is_empty() && !version.is_empty());
    let (name, version) = parts.with_context(|| format!("`--api {text}` must be NAME:VERSION, or NAME:* for all"))?;
    Ok(ApiGrant { name: name.into(), version: version.into() })
}

fn end(end: &End, now: u64) -> anyhow::Result<Option<u64>> {
    let at = match (end.expires_in, end.expires_at) {
        (Some(after), _) => Some(now.saturating_add(after.as_secs())),
        (None, at) => at.map(seconds),
    };
    ensure!(at.is_none_or(|at| at > now), "the key would have expired already");
    Ok(at)
}

fn shown_time(seconds: Option<u64>) -> String {
    let time = seconds.map(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    match time {
        None => "never".to_owned(),
        // Beyond the end of calendars.
        Some(time) => time
            .filter(|time| seconds_fit(*time))
            .map_or_else(|| "the end of time".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string()),
    }
}

/// Of the year 9999 and before: what can be written as a date.
fn seconds_fit(time: SystemTime) -> bool {
    seconds(time) < 253_402_300_800
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
