//! What signs backend JWTs: configured, or made on the first run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microgw_engine::KeySet;
use microgw_extproc::backend_jwt::{BackendKey, BackendKeyError, SigningAlgorithm};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::expiry::{self, Expiry};
use super::identity::{key_pair, made_once};
use super::part::Part;
use super::{pem, store};
use crate::config::{BackendJwt, SigningKeyFile};

const BACKEND_KEYS: [(SigningAlgorithm, &str); 2] =
    [(SigningAlgorithm::Rs256, "backend-jwt-rs256.pem"), (SigningAlgorithm::Es256, "backend-jwt-es256.pem")];

/// What signs backend JWTs, and what is published with it.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendSigner {
    algorithm: SigningAlgorithm,
    private_key: String,
    certificate: Option<CertificateDer<'static>>,
    /// PEM.
    published: Option<Vec<u8>>,
}

pub fn load(configured: &BackendJwt, data: &Path) -> anyhow::Result<Part<BackendSigner>> {
    let (own, folder) = (configured.clone(), data.to_owned());
    Part::load("backend JWTs", files(configured, data), move || read(&own, &folder))
}

/// What is in the files.
fn read(configured: &BackendJwt, data: &Path) -> anyhow::Result<BackendSigner> {
    let algorithm = configured.algorithm;
    let signer = |private_key, certificate| BackendSigner { algorithm, private_key, certificate, published: None };
    let own = || {
        let path = own_backend_key(algorithm, data);
        made_once(&path, "backend JWTs", || BackendKey::generate(algorithm)).map(|pem| (signer(pem, None), path))
    };
    let (mut signer, path) = match &configured.key {
        None => own()?,
        Some(SigningKeyFile::Pem(path)) => {
            let pem = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            (signer(pem, None), path.clone())
        }
        Some(SigningKeyFile::Store(entry)) => match key_pair(entry)? {
            Some(pair) => {
                let label = if matches!(pair.key, PrivateKeyDer::Pkcs1(_)) { "RSA PRIVATE KEY" } else { "PRIVATE KEY" };
                let pem = pem(label, pair.key.secret_der());
                (signer(pem, pair.chain.into_iter().next()), entry.store.path.clone())
            }
            None => own()?,
        },
    };
    signer.published = match &configured.published {
        None => None,
        Some(path) => {
            let pem = store::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            KeySet::from_pem(&pem).with_context(|| format!("cannot use `{}`", path.display()))?;
            Some(pem)
        }
    };
    signer.key().with_context(|| format!("cannot sign backend JWTs with `{}`", path.display()))?;
    Ok(signer)
}

fn files(configured: &BackendJwt, data: &Path) -> Vec<PathBuf> {
    let key = match &configured.key {
        Some(SigningKeyFile::Pem(path)) => path.clone(),
        Some(SigningKeyFile::Store(entry)) => entry.store.path.clone(),
        None => own_backend_key(configured.algorithm, data),
    };
    [key].into_iter().chain(configured.published.clone()).collect()
}

fn own_backend_key(algorithm: SigningAlgorithm, data: &Path) -> PathBuf {
    let name = BACKEND_KEYS.iter().find(|(known, _)| *known == algorithm).map_or("", |(_, name)| name);
    data.join(name)
}

// === impl BackendSigner ===

impl BackendSigner {
    pub fn key(&self) -> Result<BackendKey, BackendKeyError> {
        BackendKey::from_pem(&self.private_key, self.algorithm, self.certificate.as_deref())
    }

    /// What is published beside the key's own.
    pub fn published(&self) -> KeySet {
        // It has been read once to see whether it can be.
        self.published.as_ref().and_then(|pem| KeySet::from_pem(pem).ok()).unwrap_or_default()
    }
}

impl Expiry for BackendSigner {
    fn expires(&self) -> Option<u64> {
        expiry::end(self.certificate.as_ref()?)
    }
}
