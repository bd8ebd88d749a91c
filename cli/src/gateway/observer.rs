//! What the gateway says about itself: `/ready`, `/status`, `/metrics`, and the line on stdout when it is live.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use microgw_compiler::model::Model;
use microgw_envoy::Admin;
use microgw_extproc::admin::Status;
use microgw_xds::Publisher;
use serde_json::{Value, json};

use super::last_live::LastLive;
use super::probe;
use crate::args::Format;
use crate::output;

#[derive(Clone)]
pub struct Observer {
    publisher: Publisher,
    last_live: Arc<LastLive>,
    unenforced: Arc<ArcSwap<Vec<Value>>>,
}

// === impl Observer ===

impl Observer {
    pub fn new(publisher: Publisher, last_live: Arc<LastLive>) -> Observer {
        Observer { publisher, last_live, unenforced: Arc::default() }
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
                        "admin": admin,
                    })
                    .to_string(),
                    Format::Human => {
                        let mut line = format!("{} {live}", if degraded { "degraded" } else { "live" });
                        // Writing to a string does not fail.
                        if let Some(addresses) = addresses {
                            let _ = write!(line, "  http://{}  https://{}", addresses.http, addresses.https);
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

impl Status for Observer {
    fn ready(&self) -> bool {
        self.publisher.ready()
    }

    fn status(&self) -> Value {
        let mut status = serde_json::to_value(self.publisher.status()).unwrap_or_default();
        if let Some(fields) = status.as_object_mut() {
            fields.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
            fields.insert("unenforced".to_owned(), self.unenforced.load().as_ref().clone().into());
        }
        status
    }

    fn metrics(&self) -> String {
        let metrics = self.publisher.metrics();
        let mut text = String::new();
        let families = [
            ("xds_pushes", "counter", "Responses sent to Envoys", "_total", metrics.pushes),
            ("xds_acks", "counter", "Responses that Envoys accepted", "_total", metrics.acks),
            ("xds_nacks", "counter", "Responses that Envoys refused", "_total", metrics.nacks),
            ("xds_envoys", "gauge", "Connected Envoys", "", metrics.envoys),
            ("ready", "gauge", "Whether the generation is live", "", u64::from(self.ready())),
        ];
        for (name, kind, help, suffix, value) in families {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "# HELP microgw_{name} {help}.\n# TYPE microgw_{name} {kind}\nmicrogw_{name}{suffix} {value}\n"
            );
        }
        text
    }
}
