//! TLS with servers that are asked. Files are read each time: a certificate that is renewed is used from the next connection on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::settings::Tls;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read `{}`: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    #[error("`{}` is not PEM of what it should have", .0.display())]
    Pem(PathBuf),
    #[error("the system has no authorities that are trusted")]
    NoAuthorities,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Far more than a bundle of all authorities.
const MAX_FILE: u64 = 4 << 20;

pub(crate) fn client(tls: &Tls, protocol: &[u8]) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let pem = read(key)?;
            let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Pem(key.clone()))?;
            builder.with_client_auth_cert(certificates(chain)?, private)?
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Never empty.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or_else(|| TlsError::Pem(path.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::File(path.to_owned(), error);
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(TlsError::Pem(path.to_owned()));
    }
    fs::read(path).map_err(failed)
}
