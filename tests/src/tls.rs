//! Certificates made for a test, stores to keep them in, and connections that tell whose certificate they met.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CipherSuite, ClientConfig, ConfigBuilder, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use rustls::{DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::raw::{RawAnswer, is_complete};
use crate::{PATIENCE, install_crypto};

/// A key and its certificate.
pub struct Identity {
    pub key: KeyPair,
    pub certificate: rcgen::Certificate,
    params: CertificateParams,
}

/// A connection that is kept open.
pub struct Connection {
    stream: TlsStream<TcpStream>,
}

/// Takes every certificate: a test looks at it itself.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

// === impl Identity ===

/// # Panics
/// All of these do when a key cannot be made.
impl Identity {
    /// Self-signed, for `name`.
    pub fn new(name: &str) -> Identity {
        Identity::made(name, &PKCS_ECDSA_P256_SHA256, None, false)
    }

    pub fn rsa(name: &str) -> Identity {
        Identity::made(name, &PKCS_RSA_SHA256, None, false)
    }

    pub fn authority(name: &str) -> Identity {
        Identity::made(name, &PKCS_ECDSA_P256_SHA256, None, true)
    }

    /// A certificate for `name` from this authority.
    #[must_use]
    pub fn issue(&self, name: &str) -> Identity {
        Identity::made(name, &PKCS_ECDSA_P256_SHA256, Some(self), false)
    }

    fn made(name: &str, algorithm: &'static SignatureAlgorithm, by: Option<&Identity>, authority: bool) -> Identity {
        let key = KeyPair::generate_for(algorithm).expect("a key can be made");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
        params.distinguished_name.push(DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        let certificate = match by {
            None => params.self_signed(&key),
            Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)),
        };
        Identity { certificate: certificate.expect("a certificate can be made"), key, params }
    }

    /// Whatever `change` makes of a client's certificate for `name`; self-signed without an authority.
    #[must_use]
    pub fn client(name: &str, by: Option<&Identity>, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = match by {
            None => params.self_signed(&key),
            Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)),
        };
        Identity { certificate: certificate.expect("a certificate can be made"), key, params }
    }

    /// `x5t#S256`.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.certificate.der()))
    }

    /// A client that shows this certificate, and `others` after it.
    #[must_use]
    pub fn https(&self, others: &[&Identity], http2: bool) -> reqwest::Client {
        let others: String = others.iter().map(|other| other.certificate_pem()).collect();
        let pem = format!("{}{}{others}", self.key_pem(), self.certificate_pem());
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("it is a key and its certificates");
        anonymous(http2).identity(identity).build().expect("a client can be made")
    }

    /// A client that shows this certificate and speaks one version of TLS.
    ///
    /// # Panics
    /// Never: the key is its own.
    #[must_use]
    pub fn config(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]);
        let config = config.expect("it is a version").dangerous();
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("it is PKCS#8");
        let config = config.with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        Arc::new(config.with_client_auth_cert(vec![self.der()], key).expect("they go together"))
    }

    /// One that ended long ago.
    #[must_use]
    pub fn issue_expired(&self, name: &str) -> Identity {
        let mut identity = self.issue(name);
        identity.params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let issuer = Issuer::from_params(&self.params, &self.key);
        identity.certificate = identity.params.signed_by(&identity.key, &issuer).expect("a certificate can be made");
        identity
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// What a server with this certificate accepts; from clients that present one of `clients`, if that is given.
    #[must_use]
    pub fn acceptor(&self, clients: Option<&Identity>) -> TlsAcceptor {
        self.acceptor_speaking(clients, &[])
    }

    /// The same, with what is spoken after it (ALPN).
    #[must_use]
    pub fn acceptor_speaking(&self, clients: Option<&Identity>, protocols: &[&[u8]]) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.expect("there are versions");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der()).expect("it is an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let mut config = config.with_single_cert(vec![self.der()], key.into()).expect("they go together");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// As an entry of a store.
    fn entry(&self, alias: &str) -> KeyStoreEntry {
        let key = PrivateKey::from_der(&self.key.serialize_der()).expect("it is PKCS#8");
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(alias, key, [self.public()]))
    }

    fn public(&self) -> Certificate {
        Certificate::from_der(self.certificate.der()).expect("it is a certificate")
    }
}

/// A client without a certificate, that takes everybody's.
pub fn anonymous(http2: bool) -> reqwest::ClientBuilder {
    install_crypto();
    let builder = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().timeout(PATIENCE);
    if http2 { builder } else { builder.http1_only() }
}

/// A PKCS#12 store as Java 8 makes it.
///
/// # Panics
/// Never: the certificates are our own.
pub fn old_store(keys: &[(&str, &Identity)], certificates: &[(&str, &Identity)], password: &str) -> Vec<u8> {
    let mut store = KeyStore::new();
    for (alias, identity) in keys {
        store.add_entry(alias, identity.entry(alias));
    }
    for (alias, identity) in certificates {
        store.add_entry(alias, KeyStoreEntry::Certificate(identity.public()));
    }
    let writer = store.writer(password).encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc);
    writer.mac_algorithm(MacAlgorithm::HmacSha1).encryption_iterations(1024).write().expect("it can be written")
}

/// Whether a server that speaks HTTP/2 to clients with certificates speaks to this one.
///
/// # Panics
/// When nobody listens, or says nothing at all.
pub async fn is_admitted(address: SocketAddr, client: Option<&Identity>) -> bool {
    let builder = trusting();
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::try_from(client.key.serialize_der()).expect("it is PKCS#8");
            builder.with_client_auth_cert(vec![client.der()], key).expect("they go together")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    let name = ServerName::try_from("localhost").expect("it is a name");
    let spoken_to = async {
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // Its settings: a server that refuses the certificate sends none.
        stream.read_exact(&mut [0]).await
    };
    timeout(PATIENCE, spoken_to).await.expect("it says yes or no").is_ok()
}

fn trusting() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
}

// === impl Connection ===

impl Connection {
    /// # Panics
    /// When nobody listens, or not with TLS.
    pub async fn open(address: SocketAddr) -> Connection {
        Connection::open_as(address, &Arc::new(trusting().with_no_client_auth())).await
    }

    /// As the client that `config` is; its connections resume each other's sessions.
    ///
    /// # Panics
    /// When nobody listens, or not with TLS.
    pub async fn open_as(address: SocketAddr, config: &Arc<ClientConfig>) -> Connection {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Connection::over(stream, "localhost", config).await
    }

    /// Asks for that name (an address is none), and says `before` first, in the clear.
    ///
    /// # Panics
    /// When nobody listens, or not with TLS.
    pub async fn open_for(address: SocketAddr, name: &str, before: &[u8]) -> Connection {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(before).await.expect("it is open");
        Connection::over(stream, name, &Arc::new(trusting().with_no_client_auth())).await
    }

    /// Whether TLS is spoken there to whoever says nothing else first.
    ///
    /// # Panics
    /// When nobody listens, or it stays undecided.
    pub async fn is_possible(address: SocketAddr) -> bool {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let name = ServerName::try_from("localhost").expect("it is a name");
        let stream = TlsConnector::from(Arc::new(trusting().with_no_client_auth())).connect(name, stream);
        timeout(PATIENCE, stream).await.expect("in time").is_ok()
    }

    async fn over(stream: TcpStream, name: &str, config: &Arc<ClientConfig>) -> Connection {
        let name = ServerName::try_from(name.to_owned()).expect("it is a name");
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        Connection { stream: timeout(PATIENCE, stream).await.expect("in time").expect("it speaks TLS") }
    }

    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the other side presented.
    ///
    /// # Panics
    /// When that is nothing.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let certificates = self.stream.get_ref().1.peer_certificates().expect("it presented something");
        certificates[0].clone().into_owned()
    }

    pub fn version(&self) -> Option<ProtocolVersion> {
        self.stream.get_ref().1.protocol_version()
    }

    pub fn suite(&self) -> Option<CipherSuite> {
        self.stream.get_ref().1.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// A GET over this connection, which stays open.
    ///
    /// # Panics
    /// When there is no answer in time.
    pub async fn get(&mut self, path: &str) -> RawAnswer {
        let exchange = async {
            let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n");
            self.stream.write_all(request.as_bytes()).await.expect("it is open");
            let mut bytes = Vec::new();
            while !is_complete(&bytes) && self.stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            bytes
        };
        RawAnswer::read(&timeout(PATIENCE, exchange).await.expect("there is an answer"))
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
