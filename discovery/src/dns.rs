//! Asking DNS: as the system is configured, or other servers. Every answer is asked for anew; whoever asks remembers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::settings::{Dns as Settings, Family};
use crate::shared::Task;

/// Names that are asked about at the same time.
const IN_FLIGHT: usize = 256;
/// Addresses of a name that are used.
pub(crate) const MAX_ADDRESSES: usize = 256;
/// Records of a service that are used.
pub(crate) const MAX_SERVICES: usize = 64;
const MAX_FILE: u64 = 4 << 20;
/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);

/// Whoever resolves names.
pub(crate) struct Dns {
    resolving: Arc<Resolving>,
    permits: Semaphore,
    _files: Task,
}

struct Resolving {
    settings: Settings,
    current: Mutex<Arc<Configured>>,
    /// Counts how often the files have changed.
    changed: watch::Sender<u64>,
}

/// As the files were.
struct Configured {
    resolver: Option<TokioResolver>,
    search: Vec<Name>,
    ndots: usize,
    hosts: Hosts,
}

/// What DNS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// Never empty.
    Records { records: Vec<T>, ttl: Duration },
    /// There is no such name, or it has none of these.
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DnsError {
    #[error("it is no name of DNS")]
    Name,
    #[error("no name server is configured")]
    Unconfigured,
    #[error("{0}")]
    Failed(String),
}

/// What tells one state of a file from another.
type Print = Option<(u64, u64, u64, i64, i64)>;

// === impl Dns ===

impl Dns {
    pub(crate) fn new(settings: &Settings, runtime: &Handle) -> Dns {
        // Before they are read: a change in between is seen as one.
        let prints = prints(settings);
        let resolving = Arc::new(Resolving {
            settings: settings.clone(),
            current: Mutex::new(Arc::new(Configured::read(settings))),
            changed: watch::Sender::default(),
        });
        let files = Task::spawn(runtime, Resolving::look(resolving.clone(), prints));
        Dns { resolving, permits: Semaphore::new(IN_FLIGHT), _files: files }
    }

    /// Told whenever names may mean something else than what was said of them.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.resolving.changed.subscribe()
    }

    /// Sorted. An address is its own.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Answer<IpAddr>, DnsError> {
        let configured = self.resolving.current();
        let max_ttl = self.resolving.settings.max_ttl;
        if let Ok(address) = name.parse() {
            return Ok(Answer::Records { records: vec![address], ttl: max_ttl });
        }
        let family = self.resolving.settings.family;
        let parsed = Name::from_ascii(name).map_err(|_| DnsError::Name)?;
        if let Some(known) = configured.in_hosts(&parsed, family) {
            return Ok(Answer::Records { records: known, ttl: max_ttl });
        }
        let _permit = self.permits.acquire().await;
        for name in configured.candidates(&parsed) {
            let (ipv4, ipv6) = (configured.ask(&name, RecordType::A), configured.ask(&name, RecordType::AAAA));
            // Half an answer is none where the other half is as good.
            let answers: Vec<Lookup> = match family {
                Family::Ipv4 => ipv4.await?.into_iter().collect(),
                Family::Ipv6 => ipv6.await?.into_iter().collect(),
                Family::PreferIpv4 => match ipv4.await? {
                    Some(ipv4) => vec![ipv4],
                    None => ipv6.await?.into_iter().collect(),
                },
                Family::Both => {
                    let (ipv4, ipv6) = tokio::try_join!(ipv4, ipv6)?;
                    ipv4.into_iter().chain(ipv6).collect()
                }
            };
            if let Some(answer) = addresses_of(&answers) {
                return Ok(answer);
            }
        }
        Ok(Answer::Missing)
    }

    /// RFC 2782. The name is a whole one: no search domain is tried.
    pub(crate) async fn services(&self, name: &str) -> Result<Answer<SRV>, DnsError> {
        let configured = self.resolving.current();
        let mut name = Name::from_ascii(name).map_err(|_| DnsError::Name)?;
        name.set_fqdn(true);
        let _permit = self.permits.acquire().await;
        let Some(lookup) = configured.ask(&name, RecordType::SRV).await? else { return Ok(Answer::Missing) };
        let mut records: Vec<SRV> = lookup
            .answers()
            .iter()
            .filter_map(|record| if let RData::SRV(srv) = &record.data { Some(srv.clone()) } else { None })
            .collect();
        if records.is_empty() {
            return Ok(Answer::Missing);
        }
        records.sort_by_key(|srv| (srv.priority, srv.target.to_ascii(), srv.port, srv.weight));
        records.truncate(MAX_SERVICES);
        Ok(Answer::Records { records, ttl: ttl_of(&lookup) })
    }
}

// === impl Resolving ===

impl Resolving {
    fn current(&self) -> Arc<Configured> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looked at rather than watched: both are often mounted into containers, which tells of no changes.
    async fn look(resolving: Arc<Resolving>, mut last: [Print; 2]) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = prints(&resolving.settings);
            if now != last {
                last = now;
                let configured = Arc::new(Configured::read(&resolving.settings));
                *resolving.current.lock().unwrap_or_else(PoisonError::into_inner) = configured;
                resolving.changed.send_modify(|changes| *changes += 1);
            }
        }
    }
}

fn prints(settings: &Settings) -> [Print; 2] {
    let print = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    [print(&settings.hosts_file), print(&settings.resolv_conf)]
}

// === impl Configured ===

impl Configured {
    fn read(settings: &Settings) -> Configured {
        let read = |path: &Path| {
            let small = fs::metadata(path).is_ok_and(|file| file.len() <= MAX_FILE);
            small.then(|| fs::read(path).ok()).flatten()
        };
        let system = read(&settings.resolv_conf).and_then(|text| parse_resolv_conf(text).ok());
        let (mut config, mut options) = system.unwrap_or_else(|| {
            // As resolv.conf(5) has it where there is none.
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        if !settings.nameservers.is_empty() {
            config.name_servers = settings.nameservers.iter().copied().map(name_server).collect();
        }
        let search = config.search().to_vec();
        options.timeout = settings.timeout;
        options.attempts = options.attempts.min(2);
        options.cache_size = 0;
        // We look there ourselves: what is in it is never asked about.
        options.use_hosts_file = ResolveHosts::Never;
        options.max_active_requests = 2 * IN_FLIGHT;
        let ndots = options.ndots;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut hosts = Hosts::default();
        if let Some(text) = read(&settings.hosts_file)
            && let Err(error) = hosts.read_hosts_conf(text.as_slice())
        {
            tracing::warn!(file = %settings.hosts_file.display(), %error, "cannot be read to its end");
        }
        Configured { resolver: builder.build().ok(), search, ndots, hosts }
    }

    /// `None`: it is not there. Names of this host are, whether it says so or not (RFC 6761 section 6.3).
    fn in_hosts(&self, name: &Name, family: Family) -> Option<Vec<IpAddr>> {
        let of = |kind| {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            let addresses = lookup.iter().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr());
            addresses.collect::<Vec<_>>()
        };
        let (mut ipv4, mut ipv6) = (of(RecordType::A), of(RecordType::AAAA));
        if ipv4.is_empty() && ipv6.is_empty() && name.is_localhost() {
            ipv4.push(Ipv4Addr::LOCALHOST.into());
            ipv6.push(Ipv6Addr::LOCALHOST.into());
        }
        let found = match family {
            Family::PreferIpv4 if ipv4.is_empty() => ipv6,
            Family::PreferIpv4 | Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
            Family::Both => ipv4.into_iter().chain(ipv6).collect(),
        };
        (!found.is_empty()).then(|| in_order(found))
    }

    /// As resolv.conf(5) has it: a name with few dots is tried below the search domains first.
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let whole = |name: &Name| {
            let mut name = name.clone();
            name.set_fqdn(true);
            name
        };
        if name.is_fqdn() {
            return vec![name.clone()];
        }
        let below = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let below = below.map(|name| whole(&name));
        // `num_labels` of a name with as many dots is one more.
        if usize::from(name.num_labels()) > self.ndots {
            [whole(name)].into_iter().chain(below).collect()
        } else {
            below.chain([whole(name)]).collect()
        }
    }

    /// `None`: there are none.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Option<Lookup>, DnsError> {
        let resolver = self.resolver.as_ref().ok_or(DnsError::Unconfigured)?;
        match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(Some(lookup)),
            Err(error) if error.is_no_records_found() => missing_or_failed(&error),
            Err(error) => Err(DnsError::Failed(error.to_string())),
        }
    }
}

/// An answer without records says that there are none if whoever gave it could tell.
fn missing_or_failed(error: &NetError) -> Result<Option<Lookup>, DnsError> {
    use hickory_resolver::net::{DnsError as Semantic, NoRecords};
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(Semantic::NoRecordsFound(NoRecords { response_code, .. })) => match response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(None),
            code => Err(DnsError::Failed(format!("the server answered {code}"))),
        },
        _ => Err(DnsError::Failed(error.to_string())),
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// `None`: there are none.
fn addresses_of(answers: &[Lookup]) -> Option<Answer<IpAddr>> {
    let records = answers.iter().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr());
    let records = in_order(records.collect());
    let ttl = answers.iter().map(ttl_of).min().unwrap_or_default();
    (!records.is_empty()).then_some(Answer::Records { records, ttl })
}

/// Servers tell them in another order each time. An address that means nobody is none.
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|address| !address.is_unspecified() && !address.is_multicast());
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// Of all that led to the answer.
fn ttl_of(lookup: &Lookup) -> Duration {
    let seconds = lookup.answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(seconds.unwrap_or_default().into())
}
