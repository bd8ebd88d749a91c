//! What we present to Envoys on other hosts, and whom of them we take in.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

pub(super) const HTTP2: &[u8] = b"h2";

/// Can be replaced while connections are accepted. Those that are there stay.
#[derive(Debug)]
pub struct ServerTls {
    config: ArcSwap<ServerConfig>,
}

/// The private key is not shown.
pub struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Whose signature a client's certificate must bear.
    pub authorities: Vec<CertificateDer<'static>>,
    /// One of these must be in it: DNS names, URIs, IP addresses. None: anything.
    pub names: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate cannot be used with the key")]
    Identity(#[source] Error),
    #[error("a certificate of the clients' authorities cannot be used")]
    Authority(#[source] Error),
    #[error("the clients' authorities cannot be used")]
    Authorities(#[source] VerifierBuilderError),
    #[error("there is no TLS that both sides could speak")]
    Versions(#[source] Error),
}

/// The certificate is good, and somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("none of its names is expected: {}", .0.join(", "))]
struct NotInvited(Vec<String>);

/// Asks for a certificate that has one of some names.
#[derive(Debug)]
struct Invited {
    verifier: Arc<dyn ClientCertVerifier>,
    names: BTreeSet<String>,
}

// === impl ServerTls ===

impl ServerTls {
    pub fn new(credentials: Credentials) -> Result<ServerTls, TlsError> {
        Ok(ServerTls { config: ArcSwap::from_pointee(credentials.config()?) })
    }

    /// From the next connection on.
    pub fn replace(&self, credentials: Credentials) -> Result<(), TlsError> {
        self.config.store(Arc::new(credentials.config()?));
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

// === impl Credentials ===

impl Credentials {
    fn config(self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(self.authorities, &self.names, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)
            .map_err(TlsError::Identity)?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        // A session that is resumed brings a certificate along that nobody looks at again. Connections are few and long.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    names: &[String],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(TlsError::Authority)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(TlsError::Authorities)?;
    if names.is_empty() {
        return Ok(verifier);
    }
    Ok(Arc::new(Invited { verifier, names: names.iter().map(|name| canonical(name)).collect() }))
}

/// The subject's alternative names: a common name is none.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(canonical(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    // What is none of these kinds of name cannot be one of ours, and should not be in a log.
    let is_sound = |name: &String| !name.is_empty() && name.chars().all(|character| character.is_ascii_graphic());
    extension.value.general_names.iter().filter_map(name).filter(is_sound).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// As it is compared. DNS names do not mind case; of a URI the path does (RFC 3986 section 6.2.2.1).
fn canonical(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) if name.contains("://") => name.to_owned(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

// === impl Invited ===

impl ClientCertVerifier for Invited {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        let names = names(end_entity);
        if names.iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        let reason = OtherError(Arc::new(NotInvited(names)));
        Err(Error::InvalidCertificate(CertificateError::Other(reason)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
