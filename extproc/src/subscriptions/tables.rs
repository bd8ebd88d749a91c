//! Records as API Manager writes them.

use std::collections::BTreeMap;

use microgw_engine::subscription::State;
use microgw_engine::{Application, KeyType};
use serde_json::{Map, Value};

/// Bytes of a text in a record.
const MAX_TEXT: usize = 1024;

/// All records, by table and id. Of removed ones the time stays, so that an older event does not bring them back; but of the
/// last ones only, as there is no end to what can be removed.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    rows: BTreeMap<(Table, Box<str>), Row>,
    removed: usize,
}

const MAX_REMOVED: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Apis,
    Applications,
    Subscriptions,
    Keys,
}

/// What happened to one record.
#[derive(Clone, Debug)]
pub struct Change {
    table: Table,
    id: Box<str>,
    row: Row,
}

#[derive(Clone, Debug)]
struct Row {
    /// Milliseconds since 1970 by the clock of whoever made it; 0: it does not say.
    time: u64,
    /// `None`: removed.
    record: Option<Record>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Api {
        name: Box<str>,
        version: Box<str>,
    },
    Application(Box<Application>),
    Subscription {
        application: Box<str>,
        api: ApiRef,
        state: State,
        tier: Option<Box<str>>,
    },
    /// The id of a key is the client's.
    Key {
        application: Box<str>,
        key_type: Option<KeyType>,
    },
}

/// How a subscription names its API.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ApiRef {
    Id(Box<str>),
    Name(Box<str>, Box<str>),
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("there is no table of this name")]
    Table,
    #[error("a record is no object")]
    Form,
    #[error("`{0}` is missing, too long, or neither text nor a number")]
    Member(&'static str),
    #[error("`keyType` is neither PRODUCTION nor SANDBOX")]
    KeyType,
}

// === impl Table ===

impl Table {
    pub const ALL: [Table; 4] = [Table::Apis, Table::Applications, Table::Subscriptions, Table::Keys];

    /// In files, events and Redis.
    pub fn name(self) -> &'static str {
        match self {
            Table::Apis => "apis",
            Table::Applications => "applications",
            Table::Subscriptions => "subscriptions",
            Table::Keys => "applicationKeyMappings",
        }
    }

    pub fn named(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }
}

// === impl Change ===

impl Change {
    /// A record as it is now.
    pub fn record(table: Table, value: &Value) -> Result<Change, RecordError> {
        let members = value.as_object().ok_or(RecordError::Form)?;
        let need = |name| text(members, name)?.ok_or(RecordError::Member(name));
        let either = |first, second| Ok(text(members, first)?.or(text(members, second)?));
        let (id, record) = match table {
            Table::Apis => (need("apiId")?, Record::Api { name: need("name")?, version: need("version")? }),
            Table::Applications => {
                let id = need("id")?;
                let application = Application {
                    id: Some(id.clone()),
                    uuid: text(members, "uuid")?,
                    name: text(members, "name")?,
                    tier: either("policy", "tier")?,
                    owner: either("subName", "owner")?,
                };
                (id, Record::Application(Box::new(application)))
            }
            Table::Subscriptions => {
                let application = need("appId")?;
                let api = match text(members, "apiId")? {
                    Some(id) => ApiRef::Id(id),
                    None => ApiRef::Name(need("apiName")?, need("apiVersion")?),
                };
                // An application has one subscription to an API, whatever ids its subscriptions have had.
                let id = match &api {
                    ApiRef::Id(id) => format!("{application}/{id}"),
                    ApiRef::Name(name, version) => format!("{application}/{name}/{version}"),
                };
                let state = State::named(&need("subscriptionState")?);
                let tier = either("policyId", "tier")?;
                (id.into(), Record::Subscription { application, api, state, tier })
            }
            Table::Keys => {
                let key_type = match text(members, "keyType")?.as_deref() {
                    None => None,
                    Some("PRODUCTION") => Some(KeyType::Production),
                    Some("SANDBOX") => Some(KeyType::Sandbox),
                    Some(_) => return Err(RecordError::KeyType),
                };
                (need("consumerKey")?, Record::Key { application: need("applicationId")?, key_type })
            }
        };
        Ok(Change { table, id, row: Row { time: time(members), record: Some(record) } })
    }

    /// The record is no more. Of it only what names it need be there.
    pub fn removal(table: Table, value: &Value) -> Result<Change, RecordError> {
        let members = value.as_object().ok_or(RecordError::Form)?;
        let mut complete = members.clone();
        // What does not name it does not matter.
        for name in ["name", "version", "subscriptionState", "applicationId"] {
            complete.entry(name).or_insert_with(|| "-".into());
        }
        complete.remove("keyType");
        let change = Change::record(table, &Value::Object(complete))?;
        Ok(Change { row: Row { record: None, ..change.row }, ..change })
    }
}

/// Ids are numbers in some of API Manager's lists and texts in others: they are compared as texts.
fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<Box<str>>, RecordError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(Some(text.as_str().into())),
        Some(Value::Number(number)) => Ok(Some(number.to_string().into())),
        Some(_) => Err(RecordError::Member(name)),
    }
}

fn time(members: &Map<String, Value>) -> u64 {
    ["timeStamp", "timestamp"].iter().find_map(|name| members.get(*name)?.as_u64()).unwrap_or_default()
}

// === impl Tables ===

impl Tables {
    /// `true`: something is other than it was.
    pub fn apply(&mut self, change: Change) -> bool {
        let Change { table, id, row } = change;
        let (key, removed) = ((table, id), row.record.is_none());
        match self.rows.get(&key) {
            // Of two at the same time the one that comes later counts.
            Some(known) if known.time > row.time => return false,
            Some(known) => self.removed -= usize::from(known.record.is_none()),
            None => {}
        }
        self.rows.insert(key, row);
        self.removed += usize::from(removed);
        if self.removed > MAX_REMOVED {
            self.forget_removed();
        }
        true
    }

    /// The older half.
    fn forget_removed(&mut self) {
        let removed = self.rows.values().filter(|row| row.record.is_none());
        let mut times: Vec<u64> = removed.map(|row| row.time).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        self.rows.retain(|_, row| row.record.is_some() || row.time > middle);
        self.removed = self.rows.values().filter(|row| row.record.is_none()).count();
    }

    /// What `other` lacks has been removed.
    pub(super) fn merge(&mut self, other: Tables) {
        self.rows.retain(|key, row| row.record.is_none() || other.rows.contains_key(key));
        for ((table, id), row) in other.rows {
            self.apply(Change { table, id, row });
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len().saturating_sub(self.removed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn records(&self, table: Table) -> impl Iterator<Item = (&str, &Record)> {
        let rows = self.rows.iter().filter(move |((own, _), _)| *own == table);
        rows.filter_map(|((_, id), row)| Some((&**id, row.record.as_ref()?)))
    }
}
