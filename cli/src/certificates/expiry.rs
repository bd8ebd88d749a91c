//! When certificates end.

use std::time::{SystemTime, UNIX_EPOCH};

use microgw_compiler::settings::{TlsIdentity, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Seconds before the end of a certificate from which on it is warned of.
const SOON: u64 = 30 * 24 * 60 * 60;

pub trait Expiry {
    /// In seconds since the Unix epoch. `None`: it has no end of its own.
    fn expires(&self) -> Option<u64>;
}

/// The certificate itself; those above it are for whoever verifies it to judge.
impl Expiry for TlsIdentity {
    fn expires(&self) -> Option<u64> {
        end(&CertificateDer::from_pem_slice(self.certificate_chain.as_bytes()).ok()?)
    }
}

/// Of many authorities some have always ended.
impl Expiry for Option<TrustStore> {
    fn expires(&self) -> Option<u64> {
        None
    }
}

impl Expiry for Option<Vec<CertificateDer<'static>>> {
    fn expires(&self) -> Option<u64> {
        None
    }
}

/// A signer's key counts, whatever its certificate says.
impl Expiry for String {
    fn expires(&self) -> Option<u64> {
        None
    }
}

impl Expiry for Option<TlsIdentity> {
    fn expires(&self) -> Option<u64> {
        self.as_ref()?.expires()
    }
}

fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

pub fn warn(role: &str, end: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    if end <= now {
        tracing::warn!(role, "the certificate has expired");
    } else if end - now < SOON {
        tracing::warn!(role, days = (end - now) / 86_400, "the certificate expires soon");
    }
}
