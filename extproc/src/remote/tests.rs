use std::net::Ipv4Addr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;

/// Signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

// === impl Authority ===

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    fn client(&self, name: &str) -> Pair {
        self.issue(&[name], |_| {})
    }

    /// Presents what this authority signed, and takes clients of `clients`.
    fn credentials(&self, clients: &Authority, names: &[&str]) -> Credentials {
        let (certificate, key) = self.issue(&["localhost"], |_| {});
        let names = names.iter().map(ToString::to_string).collect();
        Credentials { chain: vec![certificate], key, authorities: vec![clients.der()], names }
    }
}

/// Admits, and says so with one byte.
struct Host {
    address: SocketAddr,
    tls: Arc<ServerTls>,
    peers: mpsc::Receiver<Peer>,
}

impl Host {
    async fn start(credentials: Credentials, places: usize) -> Host {
        let tls = Arc::new(ServerTls::new(credentials).unwrap());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = RemoteListener::bind(any, "test", Some(tls.clone()), places).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut guests = listener.guests();
        let (sender, peers) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Some(mut guest) = guests.recv().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    guest.write_all(b"!").await.unwrap();
                    guest.flush().await.unwrap();
                    sender.send(guest.peer().clone()).await.unwrap();
                    // Until it leaves.
                    let _ = guest.read(&mut [0]).await;
                });
            }
        });
        Host { address, tls, peers }
    }

    /// Connects, and stays until dropped; or why it may not.
    async fn visit(&self, authority: &Authority, client: Option<&Pair>) -> io::Result<Visit> {
        self.visit_as(visitor(authority, client, &[b"h2"])).await
    }

    async fn visit_as(&self, config: Arc<ClientConfig>) -> io::Result<Visit> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        // In TLS 1.3 a client hears only now that it is refused.
        match stream.read(&mut [0]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(stream),
        }
    }
}

fn visitor(authority: &Authority, client: Option<&Pair>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

type Visit = tokio_rustls::client::TlsStream<TcpStream>;

#[tokio::test]
async fn a_client_with_a_certificate_of_the_authority_comes_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let mut host = Host::start(ours.credentials(&theirs, &[]), 10).await;
    let visit = host.visit(&ours, Some(&theirs.client("edge-1.example.com"))).await.unwrap();
    assert_eq!(visit.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let peer = host.peers.recv().await.unwrap();
    assert_eq!(peer.name.as_deref(), Some("edge-1.example.com"));
    assert_eq!(peer.to_string(), format!("edge-1.example.com at {}", peer.address));
}

#[tokio::test]
async fn others_do_not() {
    let (ours, theirs, others) = (Authority::new("ours"), Authority::new("theirs"), Authority::new("theirs"));
    let host = Host::start(ours.credentials(&theirs, &[]), 10).await;
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (what, client) in [
        ("none", None),
        ("of another authority that has the same name", Some(others.client("edge-1"))),
        ("of our own authority", Some(ours.client("edge-1"))),
        ("expired", Some(theirs.issue(&["edge-1"], expired))),
        ("not valid yet", Some(theirs.issue(&["edge-1"], early))),
        ("for servers", Some(theirs.issue(&["edge-1"], server))),
        ("for authorities", Some(theirs.issue(&["edge-1"], authority))),
    ] {
        assert!(host.visit(&ours, client.as_ref()).await.is_err(), "{what}");
    }
    host.visit(&ours, Some(&theirs.client("edge-1"))).await.unwrap();
}

#[tokio::test]
async fn names_are_compared_whole() {
    let authority = Authority::new("all");
    let names = ["Edge-1.example.com", "spiffe://mesh/edge", "10.0.0.7", "2001:db8::7"];
    let host = Host::start(authority.credentials(&authority, &names), 10).await;
    let uri = |uri: &str| {
        let name = SanType::URI(uri.try_into().unwrap());
        authority.issue(&[], move |params| params.subject_alt_names.push(name))
    };
    let common_name = authority.issue(&["edge-2.example.com"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "edge-1.example.com");
    });
    for (what, client, welcome) in [
        ("listed", authority.client("edge-1.example.com"), true),
        ("one of two", authority.issue(&["other.example.com", "edge-1.EXAMPLE.com"], |_| {}), true),
        ("a URI", uri("spiffe://mesh/edge"), true),
        ("an address", authority.client("10.0.0.7"), true),
        ("another address", authority.client("10.0.0.8"), false),
        ("an IPv6 address", authority.client("2001:DB8:0::7"), true),
        ("not listed", authority.client("edge-2.example.com"), false),
        ("a wildcard", authority.client("*.example.com"), false),
        ("a longer one", authority.client("edge-1.example.com.evil"), false),
        ("another URI", uri("spiffe://mesh/edge/2"), false),
        ("a URI of another case", uri("spiffe://mesh/EDGE"), false),
        ("no name", authority.issue(&[], |_| {}), false),
        ("a common name", common_name, false),
    ] {
        assert_eq!(host.visit(&authority, Some(&client)).await.is_ok(), welcome, "{what}");
    }
}

#[tokio::test]
async fn only_http_2_is_spoken() {
    let authority = Authority::new("all");
    let host = Host::start(authority.credentials(&authority, &[]), 10).await;
    let client = authority.client("edge-1");
    for protocols in [&[][..], &[b"http/1.1".as_slice()]] {
        assert!(host.visit_as(visitor(&authority, Some(&client), protocols)).await.is_err());
    }
    host.visit_as(visitor(&authority, Some(&client), &[b"http/1.1", b"h2"])).await.unwrap();
}

#[tokio::test]
async fn what_is_presented_and_trusted_can_be_replaced() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let host = Host::start(before.credentials(&before, &[]), 10).await;
    let (old, new) = (before.client("edge-1"), after.client("edge-1"));
    let mut stays = host.visit(&before, Some(&old)).await.unwrap();
    host.tls.replace(after.credentials(&after, &[])).unwrap();
    assert!(host.visit(&before, Some(&old)).await.is_err());
    assert!(host.visit(&after, Some(&old)).await.is_err());
    host.visit(&after, Some(&new)).await.unwrap();
    stays.write_all(b".").await.unwrap();

    // What cannot be used changes nothing.
    let Credentials { chain, authorities, names, .. } = after.credentials(&after, &[]);
    let (_, stranger) = after.client("edge-2");
    assert!(host.tls.replace(Credentials { chain, key: stranger, authorities, names }).is_err());
    assert!(host.tls.replace(Credentials { authorities: Vec::new(), ..after.credentials(&after, &[]) }).is_err());
    host.visit(&after, Some(&new)).await.unwrap();
}

#[tokio::test]
async fn places_are_counted() {
    let authority = Authority::new("all");
    let host = Host::start(authority.credentials(&authority, &[]), 1).await;
    let client = authority.client("edge-1");
    let first = host.visit(&authority, Some(&client)).await.unwrap();
    assert!(host.visit(&authority, Some(&client)).await.is_err());
    drop(first);
    while host.visit(&authority, Some(&client)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn strangers_are_counted_and_have_little_time() {
    let authority = Authority::new("all");
    let host = Host::start(authority.credentials(&authority, &[]), 10).await;
    let mut strangers = Vec::new();
    for _ in 0..MAX_STRANGERS {
        strangers.push(TcpStream::connect(host.address).await.unwrap());
    }
    let mut turned_away = TcpStream::connect(host.address).await.unwrap();
    assert_eq!(turned_away.read(&mut [0]).await.unwrap_or(0), 0);
    let mut first = strangers.swap_remove(0);
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0);
    let client = authority.client("edge-1");
    while host.visit(&authority, Some(&client)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_resumed() {
    let authority = Authority::new("all");
    let host = Host::start(authority.credentials(&authority, &[]), 10).await;
    // One that remembers its sessions.
    let visitor = visitor(&authority, Some(&authority.client("edge-1")), &[b"h2"]);
    for _ in 0..2 {
        let visit = host.visit_as(Arc::clone(&visitor)).await.unwrap();
        assert_eq!(visit.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}
