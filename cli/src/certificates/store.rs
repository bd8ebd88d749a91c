//! Files with certificates and keys: PEM, and the PKCS#12 stores that `keytool` and OpenSSL make.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use p12_keystore::{Pkcs12Archive, error::Error as Pkcs12Error};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Bytes of a file. The bundle of a distribution has 200 KB.
const MAX_SIZE: u64 = 4 << 20;
/// First bytes of the stores that Java had before PKCS#12: JKS and JCEKS.
const JAVA_STORES: [[u8; 4]; 2] = [[0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce]];

/// Why a file cannot be used. Says nothing of passwords.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    #[error("it has more than {MAX_SIZE} bytes")]
    TooLong,
    #[error(
        "it is a JKS store, which only Java reads: `keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype pkcs12` converts it"
    )]
    Java,
    #[error("it is no PKCS#12 store, or a damaged one")]
    NotAStore,
    #[error("the password is not the store's")]
    Password,
    #[error(
        "it is protected in a way that is not supported (PBES2, and RC2 or 3DES with SHA-1, are): `openssl pkcs12 -export` makes another"
    )]
    Protection,
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("one of its certificates is malformed")]
    Certificate,
    #[error("there is no private key in it")]
    NoKey,
    #[error("it has several keys ({0}): name one by its alias")]
    SeveralKeys(String),
    #[error("it has no key with the alias `{0}`, but {1}")]
    NoSuchKey(String, String),
    #[error("it has no certificate with the alias `{0}`, but {1}")]
    NoSuchCertificate(String, String),
    #[error("aliases are for PKCS#12 stores: this is a PEM file")]
    NoAliases,
    #[error("it has no certificate for the key")]
    KeyWithoutCertificate,
    #[error("it is PEM, and no PKCS#12 store: name it in `certificatePath` and `privateKeyPath`")]
    Pem,
    #[error(
        "the private key is encrypted: `openssl pkey -in KEY -out NEW` decrypts it, and PKCS#12 (`keyStorePath`) keeps it encrypted"
    )]
    EncryptedKey,
    #[error("there is no private key in it (PEM: PKCS#8, RSA or EC)")]
    NoPemKey,
}

/// What a PKCS#12 store holds.
pub struct KeyStore {
    keys: Vec<Key>,
    certificates: Vec<Certificate>,
}

struct Key {
    alias: Option<String>,
    id: Option<Vec<u8>>,
    der: PrivateKeyDer<'static>,
}

struct Certificate {
    alias: Option<String>,
    id: Option<Vec<u8>>,
    /// Java's mark of an entry that is a certificate by itself, and no part of a key's chain.
    trusted: bool,
    der: CertificateDer<'static>,
}

/// A private key with its certificate, and those that lead from that to an authority.
pub struct KeyPair {
    pub alias: Option<String>,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Certificates that are trusted, and the names that some of them have.
pub enum TrustStore {
    Pem(Vec<CertificateDer<'static>>),
    Pkcs12(KeyStore),
}

pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE { Err(StoreError::TooLong) } else { Ok(bytes) }
}

/// The certificates of a PEM file, in their order; what else is in it does not count.
pub fn certificates_from_pem(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let certificates =
        CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().map_err(|_| StoreError::Certificate)?;
    if certificates.is_empty() {
        return Err(StoreError::NoCertificate);
    }
    checked(certificates)
}

pub fn key_from_pem(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, StoreError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(bytes);
        let encrypted = text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
        if encrypted { StoreError::EncryptedKey } else { StoreError::NoPemKey }
    })
}

fn checked(certificates: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let whole = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    if certificates.iter().all(whole) { Ok(certificates) } else { Err(StoreError::Certificate) }
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

// === impl KeyStore ===

impl KeyStore {
    pub fn from_pkcs12(bytes: &[u8], password: &str) -> Result<KeyStore, StoreError> {
        if JAVA_STORES.iter().any(|start| bytes.starts_with(start)) {
            return Err(StoreError::Java);
        }
        let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
            // Without a MAC it shows when what was decrypted makes no sense.
            Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => StoreError::Password,
            Pkcs12Error::UnsupportedEncryptionScheme
            | Pkcs12Error::UnsupportedMacAlgorithm
            | Pkcs12Error::InvalidParameters => StoreError::Protection,
            Pkcs12Error::X509Error(_) | Pkcs12Error::UnsupportedCertificateType => StoreError::Certificate,
            _ if is_pem(bytes) => StoreError::Pem,
            _ => StoreError::NotAStore,
        })?;
        let keys = archive.keys.into_iter().map(|bag| Key {
            alias: bag.friendly_name,
            id: bag.local_key_id.map(|id| id.0),
            der: PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into(),
        });
        let certificates = archive.certs.into_iter().map(|bag| Certificate {
            alias: bag.friendly_name,
            id: bag.local_key_id,
            trusted: bag.trusted,
            der: bag.cert.as_der().to_vec().into(),
        });
        Ok(KeyStore { keys: keys.collect(), certificates: certificates.collect() })
    }

    /// The key of that alias, or the only one.
    pub fn key_pair(mut self, alias: Option<&str>) -> Result<KeyPair, StoreError> {
        let aliases = || names(self.keys.iter().map(|key| key.alias.as_deref()));
        let at = match alias {
            Some(alias) => self
                .keys
                .iter()
                .position(|key| is_called(key.alias.as_deref(), alias))
                .ok_or_else(|| StoreError::NoSuchKey(alias.to_owned(), aliases()))?,
            None if self.keys.len() > 1 => return Err(StoreError::SeveralKeys(aliases())),
            None if self.keys.is_empty() => return Err(StoreError::NoKey),
            None => 0,
        };
        let key = self.keys.swap_remove(at);
        let chain = self.chain(&key).ok_or(StoreError::KeyWithoutCertificate)?;
        Ok(KeyPair { alias: key.alias, chain, key: key.der })
    }

    /// The key's certificate, that of whoever issued it, and so on up to a root, which whoever trusts it has already.
    fn chain(&self, key: &Key) -> Option<Vec<CertificateDer<'static>>> {
        let only = || self.certificates.first().filter(|_| self.certificates.len() == 1);
        let own = match &key.id {
            Some(id) => self.certificates.iter().find(|certificate| certificate.id.as_ref() == Some(id)),
            None => self
                .certificates
                .iter()
                .find(|certificate| certificate.alias.is_some() && certificate.alias == key.alias),
        };
        let own = own.or_else(only)?;
        let mut chain = vec![own.der.clone()];
        let mut issuer = X509Certificate::from_der(&own.der).ok()?.1.issuer().as_raw().to_vec();
        // A store may have a circle in it.
        while chain.len() <= self.certificates.len() {
            let Some((der, parsed)) = self.certificates.iter().find_map(|certificate| {
                let (_, parsed) = X509Certificate::from_der(&certificate.der).ok()?;
                (parsed.subject().as_raw() == issuer).then_some((&certificate.der, parsed))
            }) else {
                break;
            };
            if parsed.subject() == parsed.issuer() {
                break;
            }
            chain.push(der.clone());
            issuer = parsed.issuer().as_raw().to_vec();
        }
        Some(chain)
    }

    /// In a store with keys: the entries that are certificates by themselves. In one without: every certificate.
    fn trusted(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|certificate| certificate.trusted || self.keys.is_empty())
    }
}

// === impl TrustStore ===

impl TrustStore {
    pub fn read(bytes: &[u8], password: &str) -> Result<TrustStore, StoreError> {
        match KeyStore::from_pkcs12(bytes, password) {
            Ok(store) => Ok(TrustStore::Pkcs12(store)),
            Err(StoreError::Pem) => certificates_from_pem(bytes).map(TrustStore::Pem),
            Err(error) => Err(error),
        }
    }

    /// Whose signatures on certificates count.
    pub fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, StoreError> {
        let authorities = match self {
            TrustStore::Pem(certificates) => certificates.clone(),
            TrustStore::Pkcs12(store) => store.trusted().map(|certificate| certificate.der.clone()).collect(),
        };
        if authorities.is_empty() { Err(StoreError::NoCertificate) } else { checked(authorities) }
    }

    /// The certificate of that alias, be it one by itself or a key's.
    pub fn certificate(&self, alias: &str) -> Result<CertificateDer<'static>, StoreError> {
        let TrustStore::Pkcs12(store) = self else { return Err(StoreError::NoAliases) };
        let own = store.certificates.iter().find(|certificate| is_called(certificate.alias.as_deref(), alias));
        let of_key = || {
            let key = store.keys.iter().find(|key| is_called(key.alias.as_deref(), alias))?;
            store.chain(key)?.into_iter().next()
        };
        let aliases = || names(store.certificates.iter().map(|certificate| certificate.alias.as_deref()));
        own.map(|certificate| certificate.der.clone())
            .or_else(of_key)
            .ok_or_else(|| StoreError::NoSuchCertificate(alias.to_owned(), aliases()))
    }

    /// Drops entries with an alias.
    pub fn remove(&mut self, unwanted: impl Fn(&str, &CertificateDer<'_>) -> bool) {
        if let TrustStore::Pkcs12(store) = self {
            store.certificates.retain(|certificate| {
                !certificate.alias.as_deref().is_some_and(|alias| unwanted(alias, &certificate.der))
            });
        }
    }
}

/// As in Java, whose stores have all aliases in lower case.
fn is_called(own: Option<&str>, alias: &str) -> bool {
    own.is_some_and(|own| own.eq_ignore_ascii_case(alias))
}

fn names<'a>(aliases: impl Iterator<Item = Option<&'a str>>) -> String {
    /// A trust store has hundreds.
    const MOST: usize = 16;
    let aliases: Vec<_> = aliases
        .map(|alias| alias.map_or("one without".to_owned(), |alias| format!("`{}`", alias.escape_debug())))
        .collect();
    match aliases.len() {
        0 => "none".to_owned(),
        count if count > MOST => {
            format!("{} and {} more", aliases.get(..MOST).unwrap_or_default().join(", "), count - MOST)
        }
        _ => aliases.join(", "),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
