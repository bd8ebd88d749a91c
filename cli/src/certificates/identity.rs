//! What is presented and what signs: configured, or made on the first run.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use microgw_compiler::settings::{TlsIdentity, TlsRange, TlsVersion};
use microgw_envoy::sockets::write_private;
use microgw_extproc::signing::SigningKey;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use super::pem;
use super::store::{self, KeyPair, KeyStore};
use crate::config::{IdentityFiles, KeyEntry, SHIPPED, SigningKeyFile};

const CERTIFICATE: &str = "tls.crt";
const CERTIFICATE_KEY: &str = "tls.key";
const SIGNING_KEY: &str = "apikey-signing.pem";
/// Envoy refuses smaller ones.
const LEAST_RSA_BITS: usize = 2048;

pub const SHIPPED_NOTICE: &str = "everybody has the private key that the old product ships with";

/// What the HTTPS listener presents: `configured`, or a self-signed certificate that is made once.
pub fn tls(configured: Option<&IdentityFiles>, data: &Path) -> anyhow::Result<TlsIdentity> {
    match configured.map(presented).transpose()?.flatten() {
        Some(identity) => Ok(identity),
        None => own(data),
    }
}

/// `None`: it is the key pair that the old product ships with, which nobody should present.
pub fn presented(files: &IdentityFiles) -> anyhow::Result<Option<TlsIdentity>> {
    match files {
        IdentityFiles::Pem { certificate_chain, private_key } => {
            let (certificate, key) = (certificate_chain.display(), private_key.display());
            let chain = store::read(certificate_chain).and_then(|bytes| store::certificates_from_pem(&bytes));
            let chain = chain.with_context(|| format!("cannot use the certificate `{certificate}`"))?;
            let pair = store::read(private_key).and_then(|bytes| store::key_from_pem(&bytes));
            let pair = pair.with_context(|| format!("cannot use the private key `{key}`"))?;
            let identity = checked(&chain, &pair);
            identity
                .map(Some)
                .with_context(|| format!("cannot use the certificate `{certificate}` with the key `{key}`"))
        }
        IdentityFiles::Store(entry) => {
            let Some(pair) = key_pair(entry)? else { return Ok(None) };
            let shown = entry.store.path.display();
            checked(&pair.chain, &pair.key).map(Some).with_context(|| format!("cannot use the key store `{shown}`"))
        }
    }
}

/// `None`: it is what the old product ships with, and not there, or public.
pub fn key_pair(entry: &KeyEntry) -> anyhow::Result<Option<KeyPair>> {
    let (store, shown) = (&entry.store, entry.store.path.display());
    if store.shipped && !store.path.exists() {
        tracing::warn!(path = %shown, "the key store that the old product ships with is not here: it is done without");
        return Ok(None);
    }
    let password = store.password.expose();
    let pair = store::read(&store.path)
        .and_then(|bytes| KeyStore::from_pkcs12(&bytes, password))
        .and_then(|opened| opened.key_pair(entry.alias.as_deref()))
        .with_context(|| format!("cannot use the key store `{shown}`"))?;
    let leaf = pair.chain.first();
    if leaf.is_some_and(|leaf| is_shipped(pair.alias.as_deref().unwrap_or_default(), password, leaf)) {
        tracing::warn!(path = %shown, "{SHIPPED_NOTICE}: it is not used");
        return Ok(None);
    }
    Ok(Some(pair))
}

/// Whether it is the certificate that the old product ships with, by all that is known of it.
pub fn is_shipped(alias: &str, password: &str, certificate: &CertificateDer<'_>) -> bool {
    alias.eq_ignore_ascii_case(SHIPPED)
        && password == SHIPPED
        && common_name(certificate).as_deref() == Some("localhost")
}

/// API Manager's own certificate comes with its installation, and its key with it.
pub fn warn_of_public_key(alias: &str, certificate: &CertificateDer<'_>) {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return };
    let organisation = parsed.subject().iter_organization().next().and_then(|name| name.as_str().ok());
    if organisation == Some("WSO2") && common_name(certificate).as_deref() == Some("localhost") {
        tracing::warn!(
            alias,
            "this looks like the certificate that API Manager ships with: everybody has its key, and can sign tokens"
        );
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    parsed.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

/// That Envoy will take the pair: it would refuse the snapshot for it, and name no file.
fn checked(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> anyhow::Result<TlsIdentity> {
    let Some(leaf) = chain.first() else { bail!("there is no certificate in it") };
    let (_, parsed) = X509Certificate::from_der(leaf)?;
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < LEAST_RSA_BITS => {
            bail!("its RSA key has {} bits, and must have {LEAST_RSA_BITS}", rsa.key_size());
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => {}
        _ => bail!("its key is of a kind that is not supported: RSA and EC are"),
    }
    CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &aws_lc_rs::default_provider())
        .context("certificate and key do not go together")?;
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(TlsIdentity {
        certificate_chain: chain.iter().map(|der| pem("CERTIFICATE", der)).collect(),
        private_key: pem(label, key.secret_der()),
    })
}

/// A suite of TLS 1.2 is for one kind of key.
pub fn suits(role: &str, identity: &TlsIdentity, range: &TlsRange) -> anyhow::Result<()> {
    if range.least != TlsVersion::V12 || range.ciphers.is_empty() {
        return Ok(());
    }
    let Some(leaf) = store::certificates_from_pem(identity.certificate_chain.as_bytes())?.into_iter().next() else {
        return Ok(());
    };
    let (_, parsed) = X509Certificate::from_der(&leaf)?;
    let kind = if matches!(parsed.public_key().parsed(), Ok(PublicKey::RSA(_))) { "RSA" } else { "ECDSA" };
    if range.ciphers.iter().any(|suite| suite.contains(&format!("-{kind}-"))) {
        return Ok(());
    }
    if range.most == TlsVersion::V12 {
        bail!(
            "`mutualSSLConfig.ciphers` has no suite for the {kind} key of the {role}'s certificate: nobody could connect"
        );
    }
    tracing::warn!(
        role,
        "`mutualSSLConfig.ciphers` has no suite of TLS 1.2 for the {kind} key of this certificate: it is for clients of TLS 1.3 only"
    );
    Ok(())
}

/// A self-signed certificate, made once.
fn own(data: &Path) -> anyhow::Result<TlsIdentity> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()));
    let (certificate, key) = (data.join(CERTIFICATE), data.join(CERTIFICATE_KEY));
    if certificate.exists() && key.exists() {
        return Ok(TlsIdentity { certificate_chain: read(&certificate)?, private_key: read(&key)? });
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let identity = TlsIdentity { certificate_chain: made.cert.pem(), private_key: made.signing_key.serialize_pem() };
    write_private(&key, identity.private_key.as_bytes())?;
    write_private(&certificate, identity.certificate_chain.as_bytes())?;
    tracing::warn!(path = %certificate.display(), "made a self-signed certificate: configure one before others connect");
    Ok(identity)
}

/// What signs API keys: `configured`, or a key that is made once.
pub fn signing_key(configured: Option<&SigningKeyFile>, data: &Path) -> anyhow::Result<SigningKey> {
    match configured {
        Some(SigningKeyFile::Pem(path)) => {
            let pem = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            SigningKey::from_pem(&pem).with_context(|| format!("cannot use `{}`", path.display()))
        }
        Some(SigningKeyFile::Store(entry)) => match key_pair(entry)? {
            Some(pair) => {
                let pem = pem("PRIVATE KEY", pair.key.secret_der());
                // As the old product does.
                let key = match pair.alias {
                    Some(alias) => SigningKey::from_pem_as(&pem, &alias),
                    None => SigningKey::from_pem(&pem),
                };
                key.with_context(|| format!("cannot use the key store `{}`", entry.store.path.display()))
            }
            None => own_signing_key(data),
        },
        None => own_signing_key(data),
    }
}

fn own_signing_key(data: &Path) -> anyhow::Result<SigningKey> {
    let path = data.join(SIGNING_KEY);
    let pem = made_once(&path, "API keys", SigningKey::generate)?;
    SigningKey::from_pem(&pem).with_context(|| format!("cannot use `{}`", path.display()))
}

/// The private key in `path`; `generate` makes it where there is none.
pub fn made_once<E>(path: &Path, signs: &str, generate: impl FnOnce() -> Result<String, E>) -> anyhow::Result<String>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match fs::read_to_string(path) {
        Ok(pem) => Ok(pem),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pem = generate()?;
            write_private(path, pem.as_bytes())?;
            tracing::warn!(
                path = %path.display(),
                "made a key that signs {signs}: gateways behind one balancer must share it"
            );
            Ok(pem)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}
