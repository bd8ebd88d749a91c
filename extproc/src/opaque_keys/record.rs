//! What is kept of an opaque API key: never the key itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use microgw_engine::opaque::{self, KeyHash};
use microgw_engine::{ApiGrant, Application, Identity, KeyTerms, KeyType, UnixTime};
use serde::{Deserialize, Serialize};

/// Bytes of a record, as JSON.
pub const MAX_RECORD: usize = 8 * 1024;
/// Bytes that a new record leaves free for what becomes of the key: to revoke it must not make it too long.
const HEADROOM: usize = 512;
const MAX_TEXT: usize = 256;
const MAX_APIS: usize = 100;
const MAX_METADATA: usize = 16;

/// One key. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Names the key, and opens nothing.
    pub id: String,
    /// SHA-256 in hex.
    pub hash: String,
    pub owner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    #[serde(rename = "type", default)]
    pub key_type: KeyTypeRecord,
    /// `None`: every API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<Vec<ApiGrant>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    pub created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The key that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyTypeRecord {
    #[default]
    Production,
    Sandbox,
}

/// What a key is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Expired,
    Revoked,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    // Not serde's own text: it may quote what it stumbles over.
    #[error("it is no record of a key (JSON, column {0})")]
    Json(usize),
    #[error("the record has more than {MAX_RECORD} bytes")]
    TooLong,
    #[error("`{0}` is empty, has a control character, or is longer than {MAX_TEXT} bytes")]
    Text(&'static str),
    #[error("`hash` is no SHA-256 in hex")]
    Hash,
    #[error("there are more than {MAX_APIS} APIs")]
    Apis,
    #[error("there are more than {MAX_METADATA} metadata")]
    Metadata,
    #[error("the key `{0}` is revoked")]
    Revoked(String),
    #[error("the key `{0}` has expired")]
    Expired(String),
    #[error("the key `{0}` was replaced by `{1}` already: rotate that one")]
    Replaced(String, String),
    #[error("the key would end later than it does now")]
    Later,
    #[error("there is no randomness")]
    NoRandomness,
}

// === impl Record ===

impl Record {
    /// A new key with these terms, and its record. The key is nowhere else.
    pub fn create(terms: Record, now: u64) -> Result<(Record, String), RecordError> {
        let (mut secret, mut id) = ([0; 32], [0; 8]);
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| RecordError::NoRandomness)?;
        aws_lc_rs::rand::fill(&mut id).map_err(|_| RecordError::NoRandomness)?;
        let key = opaque::key(secret);
        let KeyHash(hash) = opaque::hash(&key).ok_or(RecordError::Hash)?;
        let id = format!("key_{}", hex(&id));
        let record = Record { id, hash: hex(&hash), created: now, revoked: None, replaced_by: None, ..terms };
        record.check()?;
        if record.to_json().len() > MAX_RECORD - HEADROOM {
            return Err(RecordError::TooLong);
        }
        Ok((record, key))
    }

    /// Terms alone.
    pub fn terms(owner: &str) -> Record {
        Record {
            id: String::new(),
            hash: String::new(),
            owner: owner.to_owned(),
            application: None,
            tier: None,
            key_type: KeyTypeRecord::default(),
            apis: None,
            metadata: BTreeMap::new(),
            created: 0,
            expires: None,
            revoked: None,
            replaced_by: None,
        }
    }

    pub fn parse(text: &str) -> Result<Record, RecordError> {
        if text.len() > MAX_RECORD {
            return Err(RecordError::TooLong);
        }
        let record: Record = serde_json::from_str(text).map_err(|error| RecordError::Json(error.column()))?;
        record.check()?;
        Ok(record)
    }

    /// On one line.
    pub fn to_json(&self) -> String {
        // Texts and numbers alone: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn state(&self, now: u64) -> State {
        match (self.revoked, self.expires) {
            (Some(_), _) => State::Revoked,
            (None, Some(expires)) if now >= expires => State::Expired,
            _ => State::Live,
        }
    }

    /// Another key with the same terms. This one lives until `overlap` has passed, at most.
    pub fn rotate(&mut self, expires: Option<u64>, overlap: u64, now: u64) -> Result<(Record, String), RecordError> {
        self.is_live(now)?;
        if let Some(replaced_by) = &self.replaced_by {
            return Err(RecordError::Replaced(self.id.clone(), replaced_by.clone()));
        }
        let (successor, key) = Record::create(Record { expires, ..self.clone() }, now)?;
        let end = now.saturating_add(overlap);
        self.expires = Some(self.expires.map_or(end, |expires| expires.min(end)));
        self.replaced_by = Some(successor.id.clone());
        Ok((successor, key))
    }

    /// A key can only end sooner than it would.
    pub fn expire(&mut self, at: u64, now: u64) -> Result<(), RecordError> {
        self.is_live(now)?;
        if self.expires.is_some_and(|expires| at > expires) {
            return Err(RecordError::Later);
        }
        self.expires = Some(at);
        Ok(())
    }

    /// Again is no error.
    pub fn revoke(&mut self, now: u64) {
        self.revoked.get_or_insert(now);
    }

    /// Whom it stands for. `None`: it is revoked.
    pub fn identity(&self) -> Option<(KeyHash, Arc<Identity>)> {
        let hash = unhex(&self.hash).filter(|_| self.revoked.is_none())?;
        let boxed = |text: &Option<String>| text.as_deref().map(Box::from);
        let application = self.application.as_ref().map(|application| Application {
            id: boxed(&application.id),
            uuid: boxed(&application.uuid),
            name: boxed(&application.name),
            tier: boxed(&application.tier),
            owner: boxed(&application.owner),
        });
        let metadata = self.metadata.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        let identity = Identity::opaque_key(KeyTerms {
            id: self.id.as_str().into(),
            owner: self.owner.as_str().into(),
            application,
            tier: boxed(&self.tier),
            key_type: match self.key_type {
                KeyTypeRecord::Production => KeyType::Production,
                KeyTypeRecord::Sandbox => KeyType::Sandbox,
            },
            apis: self.apis.clone().map(Vec::into_boxed_slice),
            metadata: metadata.collect(),
            expires: self.expires.map(UnixTime),
        });
        Some((KeyHash(hash), Arc::new(identity)))
    }

    fn is_live(&self, now: u64) -> Result<(), RecordError> {
        match self.state(now) {
            State::Live => Ok(()),
            State::Expired => Err(RecordError::Expired(self.id.clone())),
            State::Revoked => Err(RecordError::Revoked(self.id.clone())),
        }
    }

    /// Whether it can be read again.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        let sound = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
        let application = self.application.clone().unwrap_or_default();
        let ApplicationRecord { id, uuid, name, tier, owner } = &application;
        let texts = [
            ("id", Some(&self.id)),
            ("owner", Some(&self.owner)),
            ("tier", self.tier.as_ref()),
            ("replacedBy", self.replaced_by.as_ref()),
            ("application", id.as_ref()),
            ("application", uuid.as_ref()),
            ("application", name.as_ref()),
            ("application", tier.as_ref()),
            ("application", owner.as_ref()),
        ];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.is_some_and(|text| !sound(text))) {
            return Err(RecordError::Text(name));
        }
        let apis = self.apis.iter().flatten();
        if apis.clone().any(|api| !sound(&api.name) || !sound(&api.version)) {
            return Err(RecordError::Text("apis"));
        }
        if apis.count() > MAX_APIS {
            return Err(RecordError::Apis);
        }
        if self.metadata.len() > MAX_METADATA {
            return Err(RecordError::Metadata);
        }
        let value = |text: &str| text.is_empty() || sound(text);
        if self.metadata.iter().any(|(name, text)| !sound(name) || !value(text)) {
            return Err(RecordError::Text("metadata"));
        }
        unhex(&self.hash).ok_or(RecordError::Hash)?;
        if self.to_json().len() > MAX_RECORD { Err(RecordError::TooLong) } else { Ok(()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Lower case: there is one way to write a hash.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.bytes().all(digits) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> (Record, String) {
        Record::create(Record::terms("alice"), 1000).unwrap()
    }

    #[test]
    fn a_record_has_no_key_and_finds_it() {
        let (record, key) = created();
        let text = record.to_json();
        assert!(!text.contains(&key) && !text.contains("null"), "{text}");
        assert_eq!(Record::parse(&text), Ok(record.clone()));
        let (hash, identity) = record.identity().unwrap();
        assert_eq!((Some(hash), identity.key_id()), (opaque::hash(&key), Some(&*record.id)));
        assert_ne!(created().1, key);
    }

    #[test]
    fn two_are_live_until_the_old_ones_end() {
        let (mut old, _) = created();
        let (mut new, _) = old.rotate(Some(9000), 100, 2000).unwrap();
        assert_eq!((old.expires, old.replaced_by.as_deref(), new.expires), (Some(2100), Some(&*new.id), Some(9000)));
        assert_eq!((old.state(2099), old.state(2100), new.state(2100)), (State::Live, State::Expired, State::Live));
        assert!(new.identity().unwrap().0 != old.identity().unwrap().0);
        assert!(matches!(old.rotate(None, 1, 2050), Err(RecordError::Replaced(..))));
        assert!(matches!(old.rotate(None, 1, 3000), Err(RecordError::Expired(_))));
        assert_eq!((new.expire(9001, 2000), new.expire(5000, 2000)), (Err(RecordError::Later), Ok(())));
        new.revoke(3000);
        new.revoke(4000);
        assert_eq!((new.revoked, new.identity().is_none()), (Some(3000), true));
        assert!(matches!(new.expire(4000, 3500), Err(RecordError::Revoked(_))));
    }

    #[test]
    fn what_is_no_record_is_refused_without_being_quoted() {
        let (record, _) = created();
        let change = |change: &dyn Fn(&mut Record)| {
            let mut record = record.clone();
            change(&mut record);
            Record::parse(&record.to_json()).unwrap_err()
        };
        assert_eq!(change(&|it| it.owner = String::new()), RecordError::Text("owner"));
        assert_eq!(change(&|it| it.owner = "x".repeat(257)), RecordError::Text("owner"));
        assert_eq!(change(&|it| it.tier = Some("a\nb".into())), RecordError::Text("tier"));
        assert_eq!(change(&|it| it.hash = it.hash.to_uppercase()), RecordError::Hash);
        assert_eq!(
            change(&|it| it.metadata = (0..17).map(|n| (n.to_string(), String::new())).collect()),
            RecordError::Metadata
        );
        let grant = ApiGrant { name: "a".into(), version: "1".into() };
        assert_eq!(change(&|it| it.apis = Some(vec![grant.clone(); 101])), RecordError::Apis);
        let long = "x".repeat(256);
        assert_eq!(
            change(&|it| it.apis = Some(vec![ApiGrant { name: long.as_str().into(), version: "1".into() }; 90])),
            RecordError::TooLong
        );
        for text in ["", "{}", "[]", "{\"secret\":\"sesame\"}", &record.to_json().replace("\"owner\"", "\"sesame\"")] {
            let error = Record::parse(text).unwrap_err().to_string();
            assert!(error.contains("no record") && !error.contains("sesame"), "{error}");
        }
    }
}
