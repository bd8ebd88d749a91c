//! What requests ask: made anew when something has changed, so that none of them joins tables.

use std::collections::HashMap;
use std::sync::Arc;

use microgw_engine::{Api, Application, KeyType, Subscribed, Subscription};

use super::tables::{ApiRef, Record, Table, Tables};

#[derive(Default)]
pub(super) struct Index(HashMap<Box<str>, (Arc<Member>, Option<KeyType>)>);

/// Of one API.
type Versions = Vec<(Box<str>, Arc<Subscription>)>;

/// One application.
struct Member {
    /// To anything else: none.
    stranger: Arc<Subscription>,
    /// By name of the API, then by version.
    apis: HashMap<Box<str>, Versions>,
}

// === impl Index ===

impl Index {
    pub(super) fn of_tables(tables: &Tables) -> Index {
        let apis: HashMap<&str, (&str, &str)> = tables
            .records(Table::Apis)
            .filter_map(|(id, record)| match record {
                Record::Api { name, version } => Some((id, (&**name, &**version))),
                _ => None,
            })
            .collect();
        let mut members: HashMap<&str, Member> = tables
            .records(Table::Applications)
            .filter_map(|(id, record)| match record {
                Record::Application(application) => Some((id, Member::new(application))),
                _ => None,
            })
            .collect();
        for (_, record) in tables.records(Table::Subscriptions) {
            let Record::Subscription { application, api, state, tier } = record else { continue };
            let api = match api {
                ApiRef::Id(id) => apis.get(&**id).copied(),
                ApiRef::Name(name, version) => Some((&**name, &**version)),
            };
            // Of an application or an API that is not known (yet) nothing follows.
            let (Some((name, version)), Some(member)) = (api, members.get_mut(&**application)) else { continue };
            let subscription =
                Subscription { application: member.stranger.application.clone(), tier: tier.clone(), state: *state };
            let versions = member.apis.entry(name.into()).or_default();
            versions.push((version.into(), Arc::new(subscription)));
        }
        let members: HashMap<&str, Arc<Member>> =
            members.into_iter().map(|(id, member)| (id, Arc::new(member))).collect();
        let clients = tables.records(Table::Keys).filter_map(|(client, record)| match record {
            Record::Key { application, key_type } => {
                Some((client.into(), (Arc::clone(members.get(&**application)?), *key_type)))
            }
            _ => None,
        });
        Index(clients.collect())
    }

    pub(super) fn of(&self, client: &str, api: &Api) -> Subscribed {
        let Some((member, key_type)) = self.0.get(client) else { return Subscribed::Unknown };
        let versions = member.apis.get(&api.name).map_or(&[][..], Vec::as_slice);
        let own = versions.iter().find(|(version, _)| *version == api.version);
        Subscribed::Known(Arc::clone(own.map_or(&member.stranger, |(_, subscription)| subscription)), *key_type)
    }
}

// === impl Member ===

impl Member {
    fn new(application: &Application) -> Member {
        let stranger = Subscription { application: application.clone(), ..Subscription::default() };
        Member { stranger: Arc::new(stranger), apis: HashMap::new() }
    }
}
