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

pub fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// What to say of a certificate with that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Expired,
    Days(u64),
}

fn notice(end: u64, now: u64) -> Option<Notice> {
    match end.checked_sub(now) {
        None | Some(0) => Some(Notice::Expired),
        Some(left) => (left < SOON).then_some(Notice::Days(left / 86_400)),
    }
}

pub fn is_over(end: u64) -> bool {
    notice(end, now()) == Some(Notice::Expired)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

pub fn warn(role: &str, end: u64) {
    match notice(end, now()) {
        Some(Notice::Expired) => tracing::warn!(role, "the certificate has expired"),
        Some(Notice::Days(days)) => tracing::warn!(role, days, "the certificate expires soon"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Made;
    use super::*;

    #[test]
    fn the_last_month_is_warned_of() {
        let now = 1_800_000_000;
        assert_eq!(notice(now - 1, now), Some(Notice::Expired));
        assert_eq!(notice(now, now), Some(Notice::Expired));
        assert_eq!(notice(now + 3 * 86_400 + 1, now), Some(Notice::Days(3)));
        assert_eq!((notice(now + SOON - 1, now), notice(now + SOON, now)), (Some(Notice::Days(29)), None));
    }

    #[test]
    fn the_end_is_the_first_certificates() {
        let until = |year| {
            let mut made = Made::ec("gw");
            made.params.not_after = rcgen::date_time_ymd(year, 1, 1);
            made.params.self_signed(&made.key).unwrap().pem()
        };
        let identity = |chain: String| TlsIdentity { certificate_chain: chain, private_key: String::new() }.expires();
        assert_eq!(identity(until(2030) + &until(2020)), Some(1_893_456_000));
        assert_eq!(identity(until(2020)), Some(1_577_836_800), "also one that is over");
        assert_eq!(identity(String::new()), None);
    }
}
