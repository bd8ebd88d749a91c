//! What backends of some endpoints are met with.

use microgw_compiler::settings::{self, TlsIdentity, TlsRange, TrustStore};

use super::{Part, PartStatus, backend_trust, files_of, files_of_identity, identity};
use crate::config;

/// One `[[httpClients.tlsProfiles]]`, as its files are now.
pub struct Profile {
    name: String,
    range: TlsRange,
    /// `None`: there is no bundle on this system.
    trust: Part<Option<TrustStore>>,
    /// `None`: nothing is presented.
    identity: Part<Option<TlsIdentity>>,
}

// === impl Profile ===

impl Profile {
    pub fn load(profile: &config::TlsProfile) -> anyhow::Result<Profile> {
        let name = profile.name.clone();
        let (store, presented) = (profile.trust.clone(), profile.identity.clone());
        let role = format!("authorities of TLS profile {name}");
        let trust = Part::load(role, files_of(store.as_ref()), move || backend_trust(store.as_ref()))?;
        let (role, files) = (format!("client of TLS profile {name}"), files_of_identity(presented.as_ref()));
        let identity = Part::load(role, files, move || {
            presented.as_ref().map(identity::presented).transpose().map(Option::flatten)
        })?;
        Ok(Profile { name, range: profile.range.clone(), trust, identity })
    }

    /// Whether there is another value now.
    pub fn reload(&mut self) -> bool {
        // Not `||`: each must be asked.
        self.trust.reload() | self.identity.reload()
    }

    pub fn accepted(&mut self) {
        self.trust.accepted();
        self.identity.accepted();
    }

    pub fn refused(&mut self, reason: &str) {
        self.trust.refused(reason);
        self.identity.refused(reason);
    }

    pub fn status(&self) -> [PartStatus; 2] {
        [self.trust.status(), self.identity.status()]
    }

    pub fn settings(&self) -> settings::TlsProfile {
        settings::TlsProfile {
            name: self.name.clone(),
            trust: self.trust.value().clone(),
            identity: self.identity.value().clone(),
            tls: self.range.clone(),
        }
    }
}
