//! Certificates, keys and trusted authorities: read from files when the gateway starts, and again whenever the files
//! change. What cannot be used then leaves what was there in its place.

mod backend_signer;
mod clients;
mod counters;
mod expiry;
mod identity;
mod listed;
mod part;
mod profiles;
mod remote;
pub mod store;
mod watch;

#[cfg(test)]
mod fixtures;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use microgw_compiler::settings::{Settings, TlsIdentity, TrustStore};
use microgw_engine::{KeySet, KeySource};
use microgw_extproc::limits::store::Credentials;
use microgw_extproc::redis::Redis;
use rustls::pki_types::CertificateDer;

use crate::config::{self, Config, Material, Store, VerifyingKey};
pub use backend_signer::BackendSigner;
use clients::Clients;
pub use clients::settings as client_certificates;
use counters::CountersTls;
pub use identity::{SHIPPED_NOTICE, signing_key};
pub use listed::Listed;
pub use part::{Part, PartStatus};
pub use profiles::Profile;
pub use remote::RemoteTls;
pub use watch::Watch;

/// Where distributions keep the certificates of public authorities.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// All of the gateway's, as they are now.
pub struct Certificates {
    listener: Part<TlsIdentity>,
    /// For clients that ask for certain names.
    listed: Vec<Listed>,
    /// `None`: there is no bundle on this system.
    backends: Part<Option<TrustStore>>,
    /// `None`: nothing is presented to backends.
    backend_identity: Part<Option<TlsIdentity>>,
    profiles: Vec<Profile>,
    /// `None`: the system's, which are not read here.
    services: Part<Option<Vec<CertificateDer<'static>>>>,
    /// Certificates and public keys of those who sign tokens and API keys, PEM.
    signers: Vec<(KeySource, Part<String>)>,
    clients: Part<Clients>,
    /// `None`: Envoys of other hosts are not served, or without TLS.
    remote: Option<Part<RemoteTls>>,
    /// `None`: backends are sent no JWT of the gateway's own.
    backend_signer: Option<Part<BackendSigner>>,
    /// `None`: limits are not shared, or nothing is said of TLS.
    counters: Option<Part<CountersTls>>,
}

/// What is another than before.
#[allow(clippy::struct_excessive_bools)] // Each is a thing by itself: any of them may change alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of what Envoy is told.
    pub settings: bool,
    /// Of what the gateway's own connections trust.
    pub services: bool,
    /// The keys of these are.
    pub signers: Vec<KeySource>,
    /// Of what Envoys on other hosts are met with.
    pub remote: bool,
    /// What signs backend JWTs is.
    pub backend_signer: bool,
    /// What secures connections to where shared limits are counted is.
    pub counters: bool,
}

// === impl Certificates ===

impl Certificates {
    /// `data` is where what is not configured is made.
    pub fn load(config: &Config, data: &Path) -> anyhow::Result<Certificates> {
        let files = config.listeners.identity.clone();
        let backend_signer = config.backend_jwt.as_ref().map(|jwt| backend_signer::load(jwt, data)).transpose()?;
        let data = data.to_owned();
        let listener =
            Part::load("listener", files_of_identity(files.as_ref()), move || identity::tls(files.as_ref(), &data))
                .with_context(|| config.listeners.identity_named.clone())?;
        let listed = listed::load(&config.listeners.certificates)?;
        let range = &config.listeners.tls;
        identity::suits("listener", listener.value(), range)?;
        listed.iter().try_for_each(|listed| identity::suits(&listed.part.status().role, listed.part.value(), range))?;
        let (store, services_store) = (config.trust.backends.clone(), config.trust.services.clone());
        let backends =
            Part::load("backends' authorities", files_of(store.as_ref()), move || backend_trust(store.as_ref()))?;
        let presented = config.backend_identity.clone();
        let files = files_of_identity(presented.as_ref());
        let backend_identity = Part::load("client of backends", files, move || {
            presented.as_ref().map(identity::presented).transpose().map(Option::flatten)
        })
        .context("`httpClients.sslConfig`")?;
        let profiles = config.tls_profiles.iter().map(Profile::load).collect::<anyhow::Result<_>>()?;
        let services = Part::load("authorities", files_of(services_store.as_ref()), move || {
            services_store.as_ref().map(authorities).transpose().map(Option::flatten)
        })?;
        let mut signers = Vec::new();
        for issuer in &config.issuers {
            let name = issuer.settings.issuer.as_str();
            let source = || KeySource::Issuer(name.into());
            match &issuer.keys {
                config::KeySource::JwksUrl(_) | config::KeySource::JwksFile(_) | config::KeySource::Discovered(_) => {}
                config::KeySource::Certificate(path) => {
                    signers.push((source(), signer(name, &VerifyingKey::Certificate(path.clone()), config)?));
                }
                config::KeySource::Alias(alias) => {
                    signers.push((source(), signer(name, &VerifyingKey::Alias(alias.clone()), config)?));
                }
            }
        }
        if let Some(verifier) = &config.api_key_verifier {
            signers.push((KeySource::ApiKeys, signer("API keys", verifier, config)?));
        }
        let tls = config.remote.tls.clone().filter(|_| config.remote.host.is_some());
        let remote = tls.map(remote::load).transpose()?;
        let clients = clients::load(config)?;
        let shared = config.shared_limits.as_ref().map(counters::load).transpose();
        let counters = shared.context("cannot share limits (throttlingConfig.redis)")?.flatten();
        Ok(Certificates {
            listener,
            listed,
            backends,
            backend_identity,
            profiles,
            services,
            signers,
            clients,
            remote,
            backend_signer,
            counters,
        })
    }

    /// Reads everything again.
    pub fn reload(&mut self) -> Changes {
        // Not `||`: each must be asked.
        let identities = [self.listener.reload(), self.backend_identity.reload()];
        let listed = self.listed.iter_mut().map(|listed| listed.part.reload()).fold(false, |any, one| any | one);
        let profiles = self.profiles.iter_mut().map(Profile::reload).fold(false, |any, one| any | one);
        let settings = [self.backends.reload(), self.clients.reload(), listed, profiles]
            .into_iter()
            .chain(identities)
            .any(|changed| changed);
        let services = self.services.reload();
        let mut signers = Vec::new();
        for (source, part) in &mut self.signers {
            if part.reload() {
                signers.push(source.clone());
            }
        }
        let remote = self.remote.as_mut().is_some_and(Part::reload);
        let backend_signer = self.backend_signer.as_mut().is_some_and(Part::reload);
        let counters = self.counters.as_mut().is_some_and(Part::reload);
        Changes { settings, services, signers, remote, backend_signer, counters }
    }

    /// What changed last for Envoy is used now.
    pub fn accepted(&mut self) {
        self.listener.accepted();
        self.listed.iter_mut().for_each(|listed| listed.part.accepted());
        self.backends.accepted();
        self.backend_identity.accepted();
        self.profiles.iter_mut().for_each(Profile::accepted);
        self.clients.accepted();
    }

    /// Envoy does not take what changed last: what was there before stays.
    pub fn refused(&mut self, reason: &str) {
        self.listener.refused(reason);
        self.listed.iter_mut().for_each(|listed| listed.part.refused(reason));
        self.backends.refused(reason);
        self.backend_identity.refused(reason);
        self.profiles.iter_mut().for_each(|profile| profile.refused(reason));
        self.clients.refused(reason);
    }

    pub fn files(&self) -> Vec<PathBuf> {
        self.status().into_iter().flat_map(|part| part.files).collect()
    }

    pub fn status(&self) -> Vec<PartStatus> {
        let mut status = vec![self.listener.status(), self.backends.status()];
        status.extend([self.backend_identity.status(), self.services.status()]);
        status.extend(self.profiles.iter().flat_map(Profile::status));
        status.extend(self.signers.iter().map(|(_, part)| part.status()));
        status.extend(self.listed.iter().map(|listed| listed.part.status()));
        status.push(self.clients.status());
        status.extend(self.remote.iter().map(Part::status));
        status.extend(self.backend_signer.iter().map(Part::status));
        status.extend(self.counters.iter().map(Part::status));
        status
    }

    pub fn settings(&self, config: &Config) -> Settings {
        config.settings(Material {
            identity: self.listener.value().clone(),
            certificates: self.listed.iter().map(Listed::settings).collect(),
            backend_trust: self.backends.value().clone(),
            backend_identity: self.backend_identity.value().clone(),
            tls_profiles: self.profiles.iter().map(Profile::settings).collect(),
            client_certificates: self.clients.value().settings.clone(),
        })
    }

    /// Whom our own connections trust; `None`: whom the system trusts.
    pub fn services(&self) -> Option<&[CertificateDer<'static>]> {
        self.services.value().as_deref()
    }

    /// The configured Redis, verified by what [`Self::services`] trusts. `None`: there is none.
    pub fn redis(&self, config: &Config) -> anyhow::Result<Option<Arc<Redis>>> {
        connect_to(config, self.services())
    }

    /// What a Redis is verified by from now on.
    pub fn trust_for(&self, redis: &Redis) -> anyhow::Result<()> {
        redis.trust(self.services().map(bundle).as_deref()).context("cannot connect to Redis")
    }

    /// What secures connections to where limits are counted that gateways share.
    pub fn shared_limits(&self) -> Credentials {
        let own = self.counters.as_ref().map(Part::value);
        let authorities = own.and_then(|tls| tls.authorities.as_deref()).or_else(|| self.services());
        let identity = own.and_then(|tls| tls.identity.as_ref());
        Credentials {
            trust: authorities.map(bundle),
            identity: identity.map(|pair| (pair.certificate_chain.clone(), pair.private_key.clone())),
        }
    }

    /// What Envoys on other hosts are met with.
    pub fn remote(&self) -> Option<&RemoteTls> {
        self.remote.as_ref().map(Part::value)
    }

    /// What signs backend JWTs.
    pub fn backend_signer(&self) -> Option<&BackendSigner> {
        self.backend_signer.as_ref().map(Part::value)
    }

    /// The keys that are known for `source`: none where they are fetched.
    pub fn signer(&self, source: &KeySource) -> KeySet {
        let found = self.signers.iter().find(|(known, _)| known == source);
        // They have been read once to see whether they can be.
        found.and_then(|(_, part)| KeySet::from_pem(part.value().as_bytes()).ok()).unwrap_or_default()
    }
}

/// The configured Redis, for a command that needs no other certificates. `None`: there is none.
pub fn redis(config: &Config) -> anyhow::Result<Option<Arc<Redis>>> {
    let trust = config.trust.services.as_ref().filter(|_| config.redis.is_some());
    connect_to(config, trust.map(authorities).transpose()?.flatten().as_deref())
}

fn connect_to(config: &Config, trust: Option<&[CertificateDer<'static>]>) -> anyhow::Result<Option<Arc<Redis>>> {
    let redis = config.redis.as_ref().map(|redis| Redis::new(redis.into(), trust.map(bundle).as_deref()));
    redis.transpose().context("cannot connect to Redis")
}

fn bundle(authorities: &[CertificateDer<'static>]) -> String {
    authorities.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// Whom backends' certificates must come from: the store, which is all there is if it is given, or the system's.
pub fn backend_trust(store: Option<&Store>) -> anyhow::Result<Option<TrustStore>> {
    Ok(match store.map(authorities).transpose()?.flatten() {
        Some(authorities) => Some(TrustStore(authorities.iter().map(|der| pem("CERTIFICATE", der)).collect())),
        None => system_trust(),
    })
}

/// The system's certificate authorities.
pub fn system_trust() -> Option<TrustStore> {
    BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok()).map(TrustStore)
}

/// `None`: it is the store that the old product ships with, and not there.
fn open(store: &Store) -> anyhow::Result<Option<store::TrustStore>> {
    let shown = store.path.display();
    if store.shipped && !store.path.exists() {
        tracing::warn!(path = %shown, "the trust store that the old product ships with is not here: the system's authorities are trusted");
        return Ok(None);
    }
    let password = store.password.expose();
    let opened = store::read(&store.path).and_then(|bytes| store::TrustStore::read(&bytes, password));
    let mut opened = opened.with_context(|| format!("cannot use the trust store `{shown}`"))?;
    opened.remove(|alias, certificate| {
        let shipped = identity::is_shipped(alias, password, certificate);
        if shipped {
            tracing::warn!(path = %shown, alias, "{SHIPPED_NOTICE}: this entry is not trusted");
        }
        shipped
    });
    Ok(Some(opened))
}

fn authorities(store: &Store) -> anyhow::Result<Option<Vec<CertificateDer<'static>>>> {
    let Some(opened) = open(store)? else { return Ok(None) };
    let shown = store.path.display();
    opened.authorities().map(Some).with_context(|| format!("cannot use the trust store `{shown}`"))
}

/// What verifies signatures of `name`.
fn signer(name: &str, key: &VerifyingKey, config: &Config) -> anyhow::Result<Part<String>> {
    let role = format!("signer {name}");
    match key.clone() {
        VerifyingKey::Certificate(path) => {
            let file = path.clone();
            Part::load(role, vec![file], move || {
                let shown = path.display();
                let text = store::read(&path).with_context(|| format!("cannot read certificate `{shown}`"))?;
                usable(&text).with_context(|| format!("cannot use certificate `{shown}`"))
            })
        }
        VerifyingKey::Alias(alias) => {
            let store = config.trust.services.clone().context("an alias needs a trust store")?;
            Part::load(role, vec![store.path.clone()], move || {
                let shown = store.path.display();
                let opened = open(&store)?.with_context(|| format!("the trust store `{shown}` is not there"))?;
                let found =
                    opened.certificate(&alias).with_context(|| format!("cannot use the trust store `{shown}`"))?;
                identity::warn_of_public_key(&alias, &found);
                usable(pem("CERTIFICATE", &found).as_bytes())
                    .with_context(|| format!("cannot use the certificate `{alias}` of `{shown}`"))
            })
        }
    }
}

/// The text, if it can verify signatures.
fn usable(text: &[u8]) -> anyhow::Result<String> {
    KeySet::from_pem(text)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn files_of(store: Option<&Store>) -> Vec<PathBuf> {
    store.map(|store| store.path.clone()).into_iter().collect()
}

fn files_of_identity(files: Option<&config::IdentityFiles>) -> Vec<PathBuf> {
    match files {
        None => Vec::new(),
        Some(config::IdentityFiles::Pem { certificate_chain, private_key }) => {
            vec![certificate_chain.clone(), private_key.clone()]
        }
        Some(config::IdentityFiles::Store(entry)) => vec![entry.store.path.clone()],
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
#[path = "certificates/tests.rs"]
mod tests;
