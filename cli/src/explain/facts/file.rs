//! The file of facts, and those that it names.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use microgw_engine::opaque::{self, KeyHash};
use microgw_engine::{ApiGrant, Identity};
use microgw_extproc::metrics::Metrics;
use microgw_extproc::opaque_keys::file::KeyFile;
use microgw_extproc::opaque_keys::record::{ApplicationRecord, KeyTypeRecord, Record};
use microgw_extproc::subscriptions::{Change, Subscriptions, Table, Tables};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Bytes of a file.
const MAX_SIZE: u64 = 16 << 20;
/// More than anybody explains one request with.
const MAX_SUBSCRIPTIONS: usize = 1_000_000;

pub(super) const API_KEY_KEYS: &str = "`apiKeyKeys`";
pub(super) const API_KEYS: &str = "`apiKeys`";
pub(super) const SUBSCRIPTIONS: &str = "`subscriptions`";
pub(super) const CERTIFICATE: &str = "`certificate`";
pub(super) const REVOKED: &str = "`revoked`";
pub(super) const USED_UP: &str = "`usedUp`";

/// JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct File {
    /// Seconds since 1970, UTC.
    pub now: Option<u64>,
    /// By issuer: a JWK Set, or the name of a file with one.
    pub keys: BTreeMap<String, Value>,
    /// Of the gateway's own API keys.
    pub api_key_keys: Option<Value>,
    /// Opaque ones: whom each stands for, or the name of the file that `micro-gw keys` keeps.
    api_keys: Option<Source<BTreeMap<String, Terms>>>,
    /// By token: what the authorization server answers, RFC 7662 section 2.2.
    pub introspection: BTreeMap<String, Value>,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// The lists of a store, or the name of a file with them.
    subscriptions: Option<Source<Map<String, Value>>>,
    /// The name of a file in PEM: the client's own, then those that lead from it to an authority.
    certificate: Option<String>,
    /// By name: what it answers, as an interceptor service does.
    pub interceptors: BTreeMap<String, Value>,
    /// Whatever is presented was revoked.
    pub revoked: bool,
    /// The stores of limits say that there is nothing left.
    pub used_up: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct User {
    pub password: String,
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// The name of a file, or what would be in it.
#[derive(Debug)]
enum Source<T> {
    File(String),
    Here(T),
}

/// What a record of an opaque key says, without what follows from the key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Terms {
    owner: String,
    id: Option<String>,
    application: Option<ApplicationRecord>,
    tier: Option<String>,
    #[serde(rename = "type", default)]
    key_type: KeyTypeRecord,
    apis: Option<Vec<ApiGrant>>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    expires: Option<u64>,
    revoked: Option<u64>,
}

/// As the listener hands it on.
pub(super) struct Certificate {
    pub thumbprint: [u8; 32],
    pub chain: String,
}

// === impl File ===

impl File {
    /// Of one token, of which the authorization server says this.
    pub(super) fn of_token(token: &str, answer: Value) -> File {
        File { introspection: [(token.to_owned(), answer)].into(), ..File::default() }
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<File> {
        Ok(serde_json::from_slice(&read(path)?)?)
    }

    /// What it says, by names that have no secret in them. `now` is a setting.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.keys.keys().map(|issuer| keys(issuer)).collect();
        names.extend((0..self.introspection.len()).map(introspection));
        names.extend(self.users.keys().map(|name| user(name)));
        names.extend(self.interceptors.keys().map(|name| interceptor(name)));
        let whole = [
            (API_KEY_KEYS, self.api_key_keys.is_some()),
            (API_KEYS, self.api_keys.is_some()),
            (SUBSCRIPTIONS, self.subscriptions.is_some()),
            (CERTIFICATE, self.certificate.is_some()),
            (REVOKED, self.revoked),
            (USED_UP, self.used_up),
        ];
        names.extend(whole.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()));
        names
    }

    /// Whom opaque keys stand for, as a store would have it.
    pub(super) fn opaque_keys(&self, beside: &Path) -> anyhow::Result<Option<HashMap<KeyHash, Arc<Identity>>>> {
        let records = match &self.api_keys {
            None => return Ok(None),
            Some(Source::File(name)) => {
                let path = beside.join(name);
                // A store that is not there yet has no keys; a fact is there or is none.
                fs::metadata(&path).with_context(|| format!("{API_KEYS}: `{}`", path.display()))?;
                KeyFile::new(path).read().context(API_KEYS)?
            }
            Some(Source::Here(keys)) => {
                let records = keys.iter().enumerate().map(|(index, (key, terms))| {
                    terms.record(key, index).map_err(|error| anyhow!("{API_KEYS}, entry {}: {error}", index + 1))
                });
                records.collect::<anyhow::Result<_>>()?
            }
        };
        Ok(Some(records.iter().filter_map(Record::identity).collect()))
    }

    pub(super) fn subscriptions(&self, beside: &Path) -> anyhow::Result<Option<Arc<Subscriptions>>> {
        let tables = match &self.subscriptions {
            None => return Ok(None),
            Some(Source::Here(lists)) => tables(lists).context(SUBSCRIPTIONS)?,
            Some(Source::File(name)) => {
                let path = beside.join(name);
                let of_file = || format!("{SUBSCRIPTIONS}: `{}`", path.display());
                let lists: Map<String, Value> =
                    read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?)).with_context(of_file)?;
                tables(&lists).with_context(of_file)?
            }
        };
        let store = Subscriptions::new(MAX_SUBSCRIPTIONS, &Metrics::new());
        store.replace(tables);
        Ok(Some(store))
    }

    pub(super) fn certificate(&self, beside: &Path) -> anyhow::Result<Option<Certificate>> {
        let Some(name) = &self.certificate else { return Ok(None) };
        let path = beside.join(name);
        let read = || {
            let blocks = pem::parse_many(read(&path)?).context("it is no PEM")?;
            // What else is in such a file, a private key above all, is nobody's concern.
            let blocks: Vec<pem::Pem> = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE").collect();
            let Some(own) = blocks.first() else { bail!("it has no certificate") };
            let thumbprint = Sha256::digest(own.contents()).into();
            Ok(Certificate { thumbprint, chain: pem::encode_many(&blocks) })
        };
        read().with_context(|| format!("{CERTIFICATE}: `{}`", path.display())).map(Some)
    }
}

pub(super) fn keys(issuer: &str) -> String {
    format!("`keys` of `{issuer}`")
}

/// Tokens are secrets: they are told by their order.
pub(super) fn introspection(index: usize) -> String {
    format!("`introspection`, token {}", index + 1)
}

pub(super) fn user(name: &str) -> String {
    format!("`users`: `{name}`")
}

pub(super) fn interceptor(name: &str) -> String {
    format!("`interceptors`: `{name}`")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_SIZE {
        bail!("it is longer than {MAX_SIZE} bytes");
    }
    Ok(fs::read(path)?)
}

/// The lists of a file of subscriptions, each as it is or as API Manager answers it.
fn tables(lists: &Map<String, Value>) -> anyhow::Result<Tables> {
    let mut tables = Tables::default();
    for (name, list) in lists {
        let table = Table::named(name).with_context(|| format!("there is no list `{name}`"))?;
        let records = list.get("list").unwrap_or(list).as_array();
        for (index, record) in records.with_context(|| format!("`{name}` is no list"))?.iter().enumerate() {
            let change = Change::record(table, record);
            tables.apply(change.map_err(|error| anyhow!("`{name}`, entry {}: {error}", index + 1))?);
        }
    }
    Ok(tables)
}

// === impl Terms ===

impl Terms {
    fn record(&self, key: &str, index: usize) -> anyhow::Result<Record> {
        let Some(KeyHash(hash)) = opaque::hash(key) else {
            bail!("it is no key of `micro-gw keys`: those begin with `{}` and have a checksum", opaque::PREFIX)
        };
        let terms = self.clone();
        let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let record = Record {
            id: terms.id.unwrap_or_else(|| format!("key_{}", index + 1)),
            hash: digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect(),
            application: terms.application,
            tier: terms.tier,
            key_type: terms.key_type,
            apis: terms.apis,
            metadata: terms.metadata,
            expires: terms.expires,
            revoked: terms.revoked,
            ..Record::terms(&terms.owner)
        };
        // What a store would not take.
        Ok(Record::parse(&record.to_json())?)
    }
}

// === impl Source ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Source<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Source<T>, D::Error> {
        deserializer.deserialize_any(SourceVisitor(PhantomData))
    }
}

struct SourceVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SourceVisitor<T> {
    type Value = Source<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a file, or what would be in it")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Source<T>, E> {
        if name.is_empty() { Err(E::custom("a file must have a name")) } else { Ok(Source::File(name.to_owned())) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Source::Here).map_err(A::Error::custom)
    }
}
