//! What Envoys on other hosts are met with: our certificate, and whose certificates they must have.

use anyhow::Context as _;
use microgw_compiler::settings::TlsIdentity;
use microgw_extproc::remote::{Credentials, ServerTls};
use rustls::pki_types::CertificateDer;

use super::expiry::Expiry;
use super::part::Part;
use super::{files_of_identity, identity, store};
use crate::config::MutualTls;

#[derive(PartialEq)]
pub struct RemoteTls {
    identity: TlsIdentity,
    authorities: Vec<CertificateDer<'static>>,
    names: Vec<String>,
}

pub fn load(files: MutualTls) -> anyhow::Result<Part<RemoteTls>> {
    let mut paths = files_of_identity(Some(&files.identity));
    paths.push(files.client_ca.clone());
    Part::load("remote Envoys", paths, move || {
        let tls = read(&files)?;
        // That it can be used, too.
        ServerTls::new(tls.credentials()?).with_context(|| {
            format!("cannot serve remote Envoys with the authorities of `{}`", files.client_ca.display())
        })?;
        Ok(tls)
    })
}

fn read(files: &MutualTls) -> anyhow::Result<RemoteTls> {
    let identity =
        identity::presented(&files.identity)?.context("there is no certificate to present to remote Envoys")?;
    let authorities = store::read(&files.client_ca).and_then(|bytes| store::certificates_from_pem(&bytes));
    let authorities = authorities.with_context(|| {
        format!("cannot use the certificates of `{}` (remoteConfig.clientCaPath)", files.client_ca.display())
    })?;
    Ok(RemoteTls { identity, authorities, names: files.client_names.clone() })
}

// === impl RemoteTls ===

impl RemoteTls {
    pub fn credentials(&self) -> anyhow::Result<Credentials> {
        Ok(Credentials {
            chain: store::certificates_from_pem(self.identity.certificate_chain.as_bytes())?,
            key: store::key_from_pem(self.identity.private_key.as_bytes())?,
            authorities: self.authorities.clone(),
            names: self.names.clone(),
        })
    }
}

impl Expiry for RemoteTls {
    fn expires(&self) -> Option<u64> {
        self.identity.expires()
    }
}
