//! Looks at the gateway from outside: `/health` on each listener tells the generation that Envoy serves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use microgw_compiler::assemble::names;
use microgw_compiler::settings::{Balanced, TlsIdentity};
use microgw_compiler::snapshot::Generation;
use microgw_envoy::Admin;
use microgw_xds::Probe;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Where the listeners are.
pub enum Targets {
    /// Our own Envoy knows, also where port 0 was asked for.
    Envoy(Admin),
    /// An Envoy started elsewhere on this host: the HTTP listener and the HTTPS one, as far as their ports are known.
    Listeners([Option<SocketAddr>; 2]),
    /// Base URLs. Empty: an Envoy's ACK has to do.
    Urls(Vec<String>),
}

/// Addresses of our own Envoy's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Of the key manager's endpoints, if they have a listener.
    pub token: Option<SocketAddr>,
}

pub struct HealthProbe {
    client: reqwest::Client,
    targets: Targets,
    /// Whether connections to the HTTP listener, and to the HTTPS one, begin as those of a balancer.
    balanced: [bool; 2],
    /// Connections tried per listener: each may meet another worker of Envoy.
    rounds: usize,
}

/// A balancer for one look, which tells of nobody.
struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// The PROXY protocol, version 1: whoever connects is the client.
const NOBODY_ELSE: &[u8] = b"PROXY UNKNOWN\r\n";

// === impl HealthProbe ===

impl HealthProbe {
    /// `identity` is shown where the listener insists on a certificate: Envoy takes anybody's.
    pub fn new(
        targets: Targets,
        workers: usize,
        identity: Option<&TlsIdentity>,
        balanced: &Balanced,
    ) -> reqwest::Result<HealthProbe> {
        let mut builder = reqwest::Client::builder();
        if let Some(TlsIdentity { certificate_chain, private_key }) = identity {
            let pem = format!("{private_key}\n{certificate_chain}");
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
        }
        let client = builder
            // Nothing secret is sent, and the answer is only compared: the certificate may be anybody's.
            .danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(2))
            .no_proxy()
            .build()?;
        let balanced = [balanced.http, balanced.https];
        Ok(HealthProbe { client, targets, balanced, rounds: 2 * workers.max(1) })
    }

    /// Where to ask, over relays that must live as long.
    async fn urls(&self) -> Option<(Vec<String>, Vec<Relay>)> {
        let listeners = match &self.targets {
            Targets::Urls(urls) => return Some((urls.clone(), Vec::new())),
            Targets::Listeners(listeners) => *listeners,
            Targets::Envoy(admin) => {
                let Addresses { http, https, .. } = addresses(admin).await?;
                [Some(http), Some(https)]
            }
        };
        let (mut urls, mut relays) = (Vec::new(), Vec::new());
        for ((listener, scheme), balanced) in listeners.into_iter().zip(["http", "https"]).zip(self.balanced) {
            let Some(mut address) = listener.map(reachable) else { continue };
            if balanced {
                let relay = Relay::to(address).await.ok()?;
                address = relay.address;
                relays.push(relay);
            }
            urls.push(format!("{scheme}://{address}"));
        }
        Some((urls, relays))
    }

    async fn answers(&self, url: &str, generation: &Generation) -> bool {
        let Ok(response) = self.client.get(format!("{}/health", url.trim_end_matches('/'))).send().await else {
            return false;
        };
        let seen = response.headers().get(names::GENERATION_HEADER);
        response.status().is_success() && seen.is_some_and(|seen| seen.as_bytes() == generation.0.as_bytes())
    }
}

impl Probe for HealthProbe {
    fn sees<'a>(&'a self, generation: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let Some((urls, _relays)) = self.urls().await else { return false };
            for url in &urls {
                for _ in 0..self.rounds {
                    if !self.answers(url, generation).await {
                        return false;
                    }
                }
            }
            true
        })
    }
}

// === impl Relay ===

impl Relay {
    async fn to(listener: SocketAddr) -> io::Result<Relay> {
        let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = own.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = own.accept().await {
                // One look after the other; one that fails is seen by who looks.
                if let Ok(mut stream) = TcpStream::connect(listener).await
                    && stream.write_all(NOBODY_ELSE).await.is_ok()
                {
                    let _ = copy_bidirectional(&mut client, &mut stream).await;
                }
            }
        });
        Ok(Relay { address, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `None` until Envoy has both listeners.
pub async fn addresses(admin: &Admin) -> Option<Addresses> {
    let listeners = admin.listeners().await.ok()?;
    let find = |name: &str| listeners.iter().find(|(listener, _)| listener == name).map(|(_, address)| *address);
    Some(Addresses {
        http: find(names::HTTP_LISTENER)?,
        https: find(names::HTTPS_LISTENER)?,
        token: find(names::TOKEN_LISTENER),
    })
}

/// An address to connect to for one that was bound.
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
