//! What the gateway says about itself: `/ready`, `/status`, `/metrics`, and the line on stdout when it is live.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use micro_gw::certificates::{Certificates, PartStatus};
use microgw_compiler::model::Model;
use microgw_compiler::snapshot::ResourceType;
use microgw_envoy::Admin;
use microgw_extproc::admin::Status;
use microgw_extproc::limits::Limits;
use microgw_extproc::metrics::{Reading, Value, families};
use microgw_extproc::opaque_keys::OpaqueKeys;
use microgw_xds::{Dialect, Metrics, Publisher, TypeCounts};
use serde_json::json;

use super::addresses::Addresses;
use super::last_live::LastLive;
use super::probe;
use crate::args::Format;
use crate::config::Config;
use crate::output;

#[derive(Clone)]
pub struct Observer {
    publisher: Publisher,
    last_live: Arc<LastLive>,
    certificates: Arc<Mutex<Certificates>>,
    opaque_keys: Option<Arc<OpaqueKeys>>,
    limits: Arc<Limits>,
    addresses: Option<Addresses>,
    insecure: Arc<[String]>,
    unenforced: Arc<ArcSwap<Vec<serde_json::Value>>>,
}

// === impl Observer ===

impl Observer {
    pub fn new(
        publisher: Publisher,
        last_live: Arc<LastLive>,
        certificates: Arc<Mutex<Certificates>>,
        config: &Config,
    ) -> Observer {
        let insecure = config.insecure.as_slice().into();
        Observer {
            publisher,
            last_live,
            certificates,
            opaque_keys: None,
            limits: Arc::default(),
            addresses: None,
            insecure,
            unenforced: Arc::default(),
        }
    }

    /// Tells of opaque API keys, too.
    #[must_use]
    pub fn with_opaque_keys(self, opaque_keys: Option<Arc<OpaqueKeys>>) -> Observer {
        Observer { opaque_keys, ..self }
    }

    /// Tells of limits that are shared, too.
    #[must_use]
    pub fn with_limits(self, limits: &Arc<Limits>) -> Observer {
        Observer { limits: Arc::clone(limits), ..self }
    }

    /// Tells of backends that are called by names, too.
    #[must_use]
    pub fn with_addresses(self, addresses: &Addresses) -> Observer {
        Observer { addresses: Some(addresses.clone()), ..self }
    }

    fn certificates(&self) -> Vec<PartStatus> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).status()
    }

    /// What the artifact on offer declares and does not enforce.
    pub fn offering(&self, model: &Model) {
        let list = model.unenforced.iter().map(|unenforced| {
            json!({
                "code": unenforced.code,
                "message": unenforced.message,
                "location": model.locate(unenforced.source),
            })
        });
        self.unenforced.store(Arc::new(list.collect()));
    }

    /// Says on stdout, once for each generation, that it is live, and keeps it for the next start.
    pub async fn announce(self, format: Format, envoy: Option<Admin>, admin: Option<SocketAddr>) {
        let mut publications = self.publisher.subscribe();
        let mut announced = None;
        loop {
            let publication = publications.borrow_and_update().clone();
            if let Some(live) = publication.live.filter(|live| announced.as_ref() != Some(live)) {
                if let Err(error) = self.last_live.became_live(&live) {
                    tracing::error!("cannot keep what is live for the next start: {error:#}");
                }
                let addresses = match &envoy {
                    Some(envoy) => probe::addresses(envoy).await,
                    None => None,
                };
                // Set with `live`, unlike the state, which follows.
                let degraded = !publication.faults.is_empty();
                let line = match format {
                    Format::Json => json!({
                        "state": if degraded { "degraded" } else { "live" },
                        "generation": live.to_string(),
                        "http": addresses.map(|addresses| addresses.http),
                        "https": addresses.map(|addresses| addresses.https),
                        "token": addresses.and_then(|addresses| addresses.token),
                        "admin": admin,
                    })
                    .to_string(),
                    Format::Human => {
                        let mut line = format!("{} {live}", if degraded { "degraded" } else { "live" });
                        // Writing to a string does not fail.
                        if let Some(addresses) = addresses {
                            let _ = write!(line, "  http://{}  https://{}", addresses.http, addresses.https);
                            if let Some(token) = addresses.token {
                                let _ = write!(line, "  token https://{token}");
                            }
                        }
                        if let Some(admin) = admin {
                            let _ = write!(line, "  admin http://{admin}");
                        }
                        line
                    }
                };
                output::line(&line);
                announced = Some(live);
            }
            if publications.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Those whose addresses an Envoy refuses.
fn name_apis(envoy: &mut serde_json::Value, addresses: &Addresses) {
    let refused = envoy.get_mut("refused_endpoints").and_then(|refused| refused.as_array_mut());
    for refused in refused.into_iter().flatten().filter_map(|refused| refused.as_object_mut()) {
        let apis = refused.get("cluster").and_then(|cluster| cluster.as_str()).map(|cluster| addresses.apis(cluster));
        refused.insert("apis".to_owned(), apis.into());
    }
}

impl Status for Observer {
    fn ready(&self) -> bool {
        self.publisher.ready()
    }

    fn status(&self) -> serde_json::Value {
        let mut status = serde_json::to_value(self.publisher.status()).unwrap_or_default();
        if let Some(fields) = status.as_object_mut() {
            fields.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
            fields.insert("certificates".to_owned(), serde_json::to_value(self.certificates()).unwrap_or_default());
            if let Some(keys) = &self.opaque_keys {
                fields.insert("apiKeys".to_owned(), serde_json::to_value(keys.status()).unwrap_or_default());
            }
            if let Some(shared) = self.limits.status() {
                fields.insert("sharedLimits".to_owned(), serde_json::to_value(shared).unwrap_or_default());
            }
            let counters = serde_json::json!({ "held": self.limits.counters(), "overflows": self.limits.overflows() });
            fields.insert("limitCounters".to_owned(), counters);
            if let Some(addresses) = &self.addresses {
                if let Some(envoys) = fields.get_mut("envoys").and_then(|envoys| envoys.as_array_mut()) {
                    for envoy in envoys {
                        name_apis(envoy, addresses);
                    }
                }
                fields.insert("discovery".to_owned(), addresses.status());
            }
            fields.insert("insecure".to_owned(), self.insecure.as_ref().into());
            fields.insert("unenforced".to_owned(), self.unenforced.load().as_ref().clone().into());
        }
        status
    }

    fn metrics(&self) -> Vec<Reading> {
        let status = self.publisher.status();
        let Metrics { pushes, by_type, .. } = status.metrics;
        let out_of_sync = status.envoys.iter().filter(|envoy| envoy.out_of_sync).count() as u64;
        let numbers = [
            (&families::READY, u64::from(status.ready)),
            (&families::DEGRADED_APIS, status.publication.faults.len() as u64),
            (&families::XDS_PUSHES, pushes),
            (&families::XDS_OUT_OF_SYNC, out_of_sync),
        ];
        let by_type = |count: fn(&TypeCounts) -> u64| {
            let types = ResourceType::ALL.iter().zip(&by_type);
            types.map(|(kind, counts)| (vec![format!("{kind:?}")], Value::Integer(count(counts)))).collect()
        };
        let envoys = Dialect::ALL.map(|dialect| {
            let speakers = status.envoys.iter().filter(|envoy| envoy.dialect == dialect).count() as u64;
            (vec![dialect.as_str().to_owned()], Value::Integer(speakers))
        });
        let live = status.publication.live.map(|live| (vec![status.project, live.to_string()], Value::Integer(1)));
        let ends =
            self.certificates().into_iter().filter_map(|part| Some((vec![part.role], Value::Integer(part.expires?))));
        let labelled = [
            Reading { family: &families::GENERATION, samples: live.into_iter().collect() },
            Reading { family: &families::XDS_ENVOYS, samples: envoys.into() },
            Reading { family: &families::XDS_ACKS, samples: by_type(|counts| counts.acks) },
            Reading { family: &families::XDS_NACKS, samples: by_type(|counts| counts.nacks) },
            Reading { family: &families::CERTIFICATE_EXPIRY, samples: ends.collect() },
        ];
        numbers
            .map(|(family, number)| Reading::of(family, Value::Integer(number)))
            .into_iter()
            .chain(labelled)
            .chain(self.addresses.iter().flat_map(Addresses::metrics))
            .collect()
    }
}
