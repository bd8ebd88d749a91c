//! What secures connections to where limits are counted that gateways share.

use anyhow::Context as _;
use microgw_compiler::settings::TlsIdentity;
use rustls::pki_types::CertificateDer;

use super::expiry::Expiry;
use super::part::Part;
use super::{identity, store};
use crate::config::{IdentityFiles, SharedLimits};

#[derive(PartialEq)]
pub struct CountersTls {
    /// `None`: whom the gateway's own connections trust.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    pub identity: Option<TlsIdentity>,
}

/// `None`: there are no files for it.
pub fn load(limits: &SharedLimits) -> anyhow::Result<Option<Part<CountersTls>>> {
    let (authorities, pair) = (limits.authorities.clone(), limits.identity.clone());
    let chain_and_key = pair.iter().flat_map(|(chain, key)| [chain, key]);
    let files: Vec<_> = authorities.iter().chain(chain_and_key).cloned().collect();
    if files.is_empty() {
        return Ok(None);
    }
    let pair = pair.map(|(certificate_chain, private_key)| IdentityFiles::Pem { certificate_chain, private_key });
    let read = move || {
        let authorities = authorities.as_ref().map(|path| {
            let read = store::read(path).and_then(|bytes| store::certificates_from_pem(&bytes));
            read.with_context(|| format!("cannot use the certificates of `{}`", path.display()))
        });
        let identity = pair.as_ref().map(identity::presented).transpose()?.flatten();
        Ok(CountersTls { authorities: authorities.transpose()?, identity })
    };
    Part::load("shared limits", files, read).map(Some)
}

// === impl CountersTls ===

impl Expiry for CountersTls {
    fn expires(&self) -> Option<u64> {
        self.identity.expires()
    }
}
