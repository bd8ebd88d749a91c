//! Keys, certificates and stores made for a test: none is committed.

use std::path::Path;
use std::process::{Command, Stdio};

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};

pub const PASSWORD: &str = "correct horse";

/// A key and its certificate.
pub struct Made {
    pub key: KeyPair,
    pub certificate: rcgen::Certificate,
    pub params: CertificateParams,
}

/// How a store is protected.
#[derive(Clone, Copy, Debug)]
pub enum Protection {
    /// As since Java 8u301 and OpenSSL 3.
    Modern,
    /// RC2 or 3DES with SHA-1, as before.
    Rc2,
    TripleDes,
}

// === impl Made ===

impl Made {
    pub fn rsa(name: &str) -> Made {
        Made::new(name, &PKCS_RSA_SHA256, None, false)
    }

    pub fn ec(name: &str) -> Made {
        Made::new(name, &PKCS_ECDSA_P256_SHA256, None, false)
    }

    pub fn authority(name: &str) -> Made {
        Made::new(name, &PKCS_ECDSA_P256_SHA256, None, true)
    }

    pub fn issued(name: &str, by: &Made, authority: bool) -> Made {
        Made::new(name, &PKCS_ECDSA_P256_SHA256, Some(by), authority)
    }

    fn new(name: &str, algorithm: &'static SignatureAlgorithm, issuer: Option<&Made>, authority: bool) -> Made {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = match issuer {
            None => params.self_signed(&key),
            Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)),
        };
        Made { certificate: certificate.unwrap(), key, params }
    }

    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}

/// A store with these keys, each under its alias and with its chain, and these certificates.
pub fn store(keys: &[(&str, &[&Made])], certificates: &[(&str, &Made)], protection: Protection) -> Vec<u8> {
    store_with(keys, certificates, protection, PASSWORD)
}

pub fn store_with(
    keys: &[(&str, &[&Made])],
    certificates: &[(&str, &Made)],
    protection: Protection,
    password: &str,
) -> Vec<u8> {
    let certificate = |made: &Made| Certificate::from_der(made.der()).unwrap();
    let mut store = KeyStore::new();
    for (alias, chain) in keys {
        let key = PrivateKey::from_der(&chain[0].key.serialize_der()).unwrap();
        let chain = PrivateKeyChain::new(*alias, key, chain.iter().map(|made| certificate(made)));
        store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(chain));
    }
    for (alias, made) in certificates {
        store.add_entry(alias, KeyStoreEntry::Certificate(certificate(made)));
    }
    let (encryption, mac) = match protection {
        Protection::Modern => (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
        Protection::Rc2 => (EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc, MacAlgorithm::HmacSha1),
        Protection::TripleDes => (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
    };
    let writer = store.writer(password).encryption_algorithm(encryption).mac_algorithm(mac);
    writer.encryption_iterations(64).mac_iterations(64).write().unwrap()
}

/// Runs a program that makes stores. `false`, visibly: it is not on this machine.
pub fn made_by(program: &str, directory: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: there is no `{program}` here");
        return false;
    };
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    true
}
