//! Services of DNS, RFC 2782: each record names a host and a port, with a priority and a weight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::rdata::SRV;
use microgw_compiler::url;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::backoff::{Backoff, about};
use crate::dns::{Answer, Dns};
use crate::health::{Health, SourceKind};
use crate::settings::Dns as Settings;
use crate::shared::{Following, Shared};
use crate::source::{Place, Said, Source, tell};

const FIRST_RETRY: Duration = Duration::from_millis(500);
/// A weight of 0 is next to none beside others (RFC 2782), not none.
const SMALL: u32 = 1;
const WEIGHT: u32 = 100;

pub(crate) struct Srv {
    asked: Arc<Asked>,
    names: Shared<Said>,
}

struct Asked {
    dns: Arc<Dns>,
    health: Health,
    min_ttl: Duration,
    max_ttl: Duration,
    keep_missing: Duration,
    max_pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of its records names a host and a port")]
struct Unusable;

// === impl Srv ===

impl Srv {
    pub(crate) fn new(dns: Arc<Dns>, settings: &Settings, runtime: &Handle) -> Srv {
        let asked = Asked {
            dns,
            health: Health::new(SourceKind::Srv),
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl.max(settings.min_ttl),
            keep_missing: settings.keep_missing,
            max_pause: settings.max_pause,
        };
        Srv { asked: Arc::new(asked), names: Shared::new(runtime) }
    }
}

impl Source for Srv {
    fn follow(&self, name: &str) -> Following<Said> {
        self.names.follow(name, Said::Pending, |name, told| Asked::about(self.asked.clone(), name, told))
    }

    fn health(&self) -> &Health {
        &self.asked.health
    }
}

// === impl Asked ===

impl Asked {
    async fn about(asked: Arc<Asked>, name: Arc<str>, told: watch::Sender<Said>) {
        let mut backoff = Backoff::new(FIRST_RETRY.min(asked.max_pause), asked.max_pause);
        let mut changed = asked.dns.changed();
        let mut missing_since: Option<Instant> = None;
        loop {
            changed.mark_unchanged();
            let pause = match asked.dns.services(&name).await {
                Ok(Answer::Records { records, ttl }) => {
                    asked.health.succeeded();
                    backoff.reset();
                    missing_since = None;
                    match places(&records) {
                        Ok(places) => tell(&told, Said::Places(places.into())),
                        Err(unusable) => {
                            asked.health.refused(&name, &unusable);
                            Said::nothing_new(&told);
                        }
                    }
                    about(ttl.clamp(asked.min_ttl, asked.max_ttl))
                }
                Ok(Answer::Missing) => {
                    asked.health.succeeded();
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    let left = asked.keep_missing.saturating_sub(since.elapsed());
                    let known = matches!(*told.borrow(), Said::Places(_));
                    if !known || left.is_zero() {
                        tell(&told, Said::Missing);
                    }
                    let pause = backoff.pause();
                    if known && !left.is_zero() { pause.min(left) } else { pause }
                }
                Err(error) => {
                    asked.health.failed(&name, &error);
                    missing_since = None;
                    Said::nothing_new(&told);
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

/// None: a record says that the service is not to be had here. Those without a name or a port are left out.
fn places(records: &[SRV]) -> Result<Vec<Place>, Unusable> {
    // "A Target of '.' means that the service is decidedly not available at this domain."
    if records.iter().all(|record| record.target.is_root()) {
        return Ok(Vec::new());
    }
    let place = |record: &SRV| {
        let host = record.target.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let weight = if record.weight == 0 { SMALL } else { u32::from(record.weight) * WEIGHT };
        let sound = url::is_host(&host) && record.port != 0;
        sound.then(|| Place { priority: record.priority.into(), host, port: record.port, weight })
    };
    let mut places: Vec<Place> = records.iter().filter_map(place).collect();
    places.sort();
    places.dedup();
    if places.is_empty() { Err(Unusable) } else { Ok(places) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::Name;

    fn record(priority: u16, weight: u16, port: u16, target: &str) -> SRV {
        SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())
    }

    #[test]
    fn records_are_places_in_order() {
        let records = [
            record(20, 0, 81, "backup.example."),
            record(10, 3, 80, "B.Example."),
            record(10, 0, 80, "a.example."),
            record(10, 1, 0, "no-port.example."),
            record(10, 1, 80, "bad-.example."),
        ];
        let place = |priority, host: &str, port, weight| Place { priority, host: host.to_owned(), port, weight };
        let expected =
            vec![place(10, "a.example", 80, 1), place(10, "b.example", 80, 300), place(20, "backup.example", 81, 1)];
        assert_eq!(places(&records), Ok(expected));
    }

    #[test]
    fn a_dot_means_none_and_nothing_usable_is_no_answer() {
        assert_eq!(places(&[record(0, 0, 0, ".")]), Ok(Vec::new()));
        assert_eq!(places(&[record(0, 0, 0, "a.example.")]), Err(Unusable));
        assert_eq!(places(&[record(0, 0, 0, "."), record(0, 0, 1, "a.example.")]).unwrap().len(), 1);
    }
}
