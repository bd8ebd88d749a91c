//! Names and their addresses, A and AAAA: each name is asked about once, however many backends have it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::backoff::{Backoff, about};
use crate::dns::{Answer, Dns};
use crate::health::{Health, SourceKind};
use crate::settings::Dns as Settings;
use crate::shared::{Following, Shared};

const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Whoever knows the addresses of names.
pub(crate) struct Hosts {
    asked: Arc<Asked>,
    names: Shared<Resolved>,
}

struct Asked {
    dns: Arc<Dns>,
    health: Health,
    min_ttl: Duration,
    max_ttl: Duration,
    keep_missing: Duration,
    max_pause: Duration,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Nothing so far.
    Pending,
    /// It has no address, or nobody says so, and it never had one.
    Nothing,
    /// Never empty; sorted. Stays when nobody answers any more.
    Addresses(Arc<[IpAddr]>),
    /// It had, and for some time now servers say that it has none.
    Gone,
}

// === impl Hosts ===

impl Hosts {
    pub(crate) fn new(dns: Arc<Dns>, settings: &Settings, runtime: &Handle) -> Hosts {
        let asked = Asked {
            dns,
            health: Health::new(SourceKind::Dns),
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl.max(settings.min_ttl),
            keep_missing: settings.keep_missing,
            max_pause: settings.max_pause,
        };
        Hosts { asked: Arc::new(asked), names: Shared::new(runtime) }
    }

    pub(crate) fn follow(&self, name: &str) -> Following<Resolved> {
        self.names.follow(name, Resolved::Pending, |name, told| Asked::about(self.asked.clone(), name, told))
    }

    pub(crate) fn health(&self) -> &Health {
        &self.asked.health
    }
}

// === impl Asked ===

impl Asked {
    async fn about(asked: Arc<Asked>, name: Arc<str>, told: watch::Sender<Resolved>) {
        let mut backoff = Backoff::new(FIRST_RETRY.min(asked.max_pause), asked.max_pause);
        let mut changed = asked.dns.changed();
        let mut missing_since: Option<Instant> = None;
        let never = |last: &Resolved| matches!(last, Resolved::Pending | Resolved::Nothing);
        loop {
            changed.mark_unchanged();
            let pause = match asked.dns.addresses(&name).await {
                Ok(Answer::Records { records, ttl }) => {
                    asked.health.succeeded();
                    backoff.reset();
                    missing_since = None;
                    tell(&told, Resolved::Addresses(records.into()));
                    about(ttl.clamp(asked.min_ttl, asked.max_ttl))
                }
                Ok(Answer::Missing) => {
                    asked.health.succeeded();
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    let left = asked.keep_missing.saturating_sub(since.elapsed());
                    let last = told.borrow().clone();
                    if never(&last) {
                        tell(&told, Resolved::Nothing);
                    } else if left.is_zero() {
                        tell(&told, Resolved::Gone);
                    }
                    let pause = backoff.pause();
                    if left.is_zero() { pause } else { pause.min(left) }
                }
                Err(error) => {
                    asked.health.failed(&name, &error);
                    // Whoever does not answer says nothing about the name.
                    missing_since = None;
                    let last = told.borrow().clone();
                    if never(&last) {
                        tell(&told, Resolved::Nothing);
                    }
                    backoff.pause()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = changed.changed() => backoff.reset(),
            }
        }
    }
}

fn tell(told: &watch::Sender<Resolved>, resolved: Resolved) {
    told.send_if_modified(|last| {
        let changed = *last != resolved;
        *last = resolved;
        changed
    });
}
