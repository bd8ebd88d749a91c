//! Whose certificates clients may have, and the proxies that tell of theirs.

use std::path::PathBuf;

use anyhow::Context as _;
use microgw_compiler::settings::{
    ApiCertificates, CertificateHeader, CertificateRequest, CertificateRule, ClientCertificates, TrustStore,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::expiry::{self, Expiry};
use super::part::Part;
use super::{open, pem, store};
use crate::config::{self, Config, Good, Proxies, Store};

/// As read.
#[derive(PartialEq)]
pub struct Clients {
    pub settings: ClientCertificates,
    expires: Option<u64>,
}

/// What `Good` names.
#[derive(Default)]
struct Read {
    certificates: Vec<CertificateDer<'static>>,
    rule: CertificateRule,
}

pub fn load(config: &Config) -> anyhow::Result<Part<Clients>> {
    let (clients, store) = (config.client_certificates.clone(), config.trust.services.clone());
    let files = files(&clients, store.as_ref());
    Part::load("clients", files, move || read(&clients, store.as_ref()))
}

/// As the files are now.
pub fn settings(config: &Config) -> anyhow::Result<ClientCertificates> {
    read(&config.client_certificates, config.trust.services.as_ref()).map(|clients| clients.settings)
}

fn files(clients: &config::ClientCertificates, store: Option<&Store>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for good in goods(clients) {
        let aliases = !good.aliases.is_empty() || !good.authority_aliases.is_empty();
        let store = store.filter(|_| aliases).map(|store| &store.path);
        for file in store.into_iter().chain(&good.certificates).chain(&good.authorities) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
    }
    files
}

fn goods(clients: &config::ClientCertificates) -> impl Iterator<Item = &Good> {
    let proxies = match &clients.proxies {
        Some(Proxies::Certified(good)) => Some(good),
        Some(Proxies::At(_)) | None => None,
    };
    clients.apis.iter().map(|api| &api.good).chain(proxies)
}

fn read(clients: &config::ClientCertificates, store: Option<&Store>) -> anyhow::Result<Clients> {
    let aliases = goods(clients).any(|good| !good.aliases.is_empty() || !good.authority_aliases.is_empty());
    let opened = match store.filter(|_| aliases) {
        Some(store) => open(store)?,
        None => None,
    };
    let mut shown = Vec::new();
    let mut one = |good: &Good| -> anyhow::Result<CertificateRule> {
        let read = good_of(good, opened.as_ref(), store)?;
        shown.extend(read.certificates);
        Ok(read.rule)
    };
    let mut apis = Vec::new();
    for api in &clients.apis {
        let rule = one(&api.good).with_context(|| {
            format!(
                "cannot use the certificates for the API `{}` {} (mutualSSLConfig.api.certificates)",
                api.name, api.version
            )
        })?;
        apis.push(ApiCertificates { name: api.name.clone(), version: api.version.clone(), rule });
    }
    let name = clients.header.clone();
    let header = match &clients.proxies {
        None => None,
        Some(Proxies::At(addresses)) => Some(CertificateHeader { name, proxies: None, addresses: addresses.clone() }),
        Some(Proxies::Certified(good)) => {
            let proxies = one(good).context("cannot use the certificates of mutualSSLConfig.proxy")?;
            Some(CertificateHeader { name, proxies: Some(proxies), addresses: Vec::new() })
        }
    };
    let request = match clients.request {
        config::CertificateRequest::None => CertificateRequest::None,
        config::CertificateRequest::Optional => CertificateRequest::Optional,
        config::CertificateRequest::Required => {
            CertificateRequest::Required(TrustStore(shown.iter().map(|der| pem("CERTIFICATE", der)).collect()))
        }
    };
    let forbidden_header = if header.is_none() { clients.header.clone() } else { String::new() };
    let expires = shown.iter().filter_map(|der| expiry::end(der)).min();
    Ok(Clients { settings: ClientCertificates { request, apis, header, forbidden_header }, expires })
}

fn good_of(good: &Good, opened: Option<&store::TrustStore>, store: Option<&Store>) -> anyhow::Result<Read> {
    let of_aliases = |aliases: &[String]| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let mut found = Vec::new();
        for alias in aliases {
            let shown = store.map(|store| store.path.display().to_string()).unwrap_or_default();
            let opened = opened.with_context(|| format!("the trust store `{shown}` is not there"))?;
            found.push(opened.certificate(alias).with_context(|| format!("cannot use the trust store `{shown}`"))?);
        }
        Ok(found)
    };
    let of_file = |file: Option<&PathBuf>| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let Some(file) = file else { return Ok(Vec::new()) };
        store::read(file)
            .and_then(|bytes| store::certificates_from_pem(&bytes))
            .with_context(|| format!("cannot use the certificates of `{}`", file.display()))
    };
    let mut pinned = of_aliases(&good.aliases)?;
    pinned.extend(of_file(good.certificates.as_ref())?);
    let mut authorities = of_aliases(&good.authority_aliases)?;
    authorities.extend(of_file(good.authorities.as_ref())?);
    let rule = CertificateRule {
        pins: pinned.iter().map(|der| Sha256::digest(der).into()).collect(),
        authorities: authorities.iter().map(|der| der.to_vec()).collect(),
        names: good.names.clone(),
        subjects: good.subjects.clone(),
    };
    Ok(Read { certificates: pinned.into_iter().chain(authorities).collect(), rule })
}

impl Expiry for Clients {
    fn expires(&self) -> Option<u64> {
        self.expires
    }
}
