//! Keys that the gateway makes for itself on its first run, in its data directory.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use microgw_compiler::settings::{TlsIdentity, TrustStore};
use microgw_envoy::sockets::write_private;
use microgw_extproc::signing::SigningKey;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

const CERTIFICATE: &str = "tls.crt";
const CERTIFICATE_KEY: &str = "tls.key";
const SIGNING_KEY: &str = "apikey-signing.pem";
/// Where distributions keep the certificates of public authorities.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Creates the data directory, for our own user alone. One that is there already is taken as it is, since volumes often
/// come open to a group or to everybody; but who can write to it can put keys of theirs in the place of ours.
pub fn data_directory(data: &Path) -> anyhow::Result<()> {
    let shown = data.display();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot create `{shown}` (gateway.dataDir)"))?;
    let mode =
        fs::metadata(data).with_context(|| format!("cannot look at `{shown}` (gateway.dataDir)"))?.mode() & 0o777;
    if mode & 0o022 != 0 {
        tracing::warn!(path = %shown, "others can write to the data directory (mode {mode:03o}), and so replace keys in it");
    }
    Ok(())
}

/// What the HTTPS listener presents: `configured` (certificate chain and key), or a self-signed certificate that is made
/// once.
pub fn tls(configured: Option<(&Path, &Path)>, data: &Path) -> anyhow::Result<TlsIdentity> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()));
    if let Some((certificate, key)) = configured {
        let identity = TlsIdentity { certificate_chain: read(certificate)?, private_key: read(key)? };
        check(&identity).with_context(|| {
            format!("cannot use the certificate `{}` with the key `{}`", certificate.display(), key.display())
        })?;
        return Ok(identity);
    }
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

/// That the key belongs to the certificate: Envoy would refuse the snapshot for it, and name no file.
fn check(identity: &TlsIdentity) -> anyhow::Result<()> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate chain is not PEM")?;
    if chain.is_empty() {
        bail!("there is no certificate in it");
    }
    let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes()).context("the key is not PEM")?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map(drop).context("they do not go together")
}

/// What signs API keys: `configured`, or a key that is made once.
pub fn signing_key(configured: Option<&Path>, data: &Path) -> anyhow::Result<SigningKey> {
    let made = data.join(SIGNING_KEY);
    let path = configured.unwrap_or(&made);
    let pem = match fs::read_to_string(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound && configured.is_none() => {
            let pem = SigningKey::generate()?;
            write_private(&made, pem.as_bytes())?;
            tracing::warn!(
                path = %made.display(),
                "made a key that signs API keys: gateways behind one balancer must share it"
            );
            pem
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    };
    SigningKey::from_pem(&pem).with_context(|| format!("cannot use `{}`", path.display()))
}

/// The system's certificate authorities.
pub fn system_trust() -> Option<TrustStore> {
    BUNDLES.iter().find_map(|path| fs::read_to_string(path).ok()).map(TrustStore)
}
