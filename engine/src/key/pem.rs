//! Certificates and public keys in PEM, RFC 7468.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Key, KeyError, KeySet, Material, Name};

pub(super) fn read(text: &[u8]) -> Result<KeySet, KeyError> {
    let mut keys = Vec::new();
    for block in Pem::iter_from_buffer(text) {
        let block = block.map_err(|_| KeyError::NotPem)?;
        let material = match block.label.as_str() {
            "CERTIFICATE" => {
                let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(|_| KeyError::Malformed)?;
                material(certificate.public_key())?
            }
            "PUBLIC KEY" => {
                let (_, key) = SubjectPublicKeyInfo::from_der(&block.contents).map_err(|_| KeyError::Malformed)?;
                material(&key)?
            }
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
            _ => return Err(KeyError::NotPem),
        };
        keys.push(Arc::new(Key::new(Name::Any, None, material)?));
    }
    if keys.is_empty() { Err(KeyError::NotPem) } else { Ok(KeySet { keys: keys.into(), skipped: 0 }) }
}

fn material(key: &SubjectPublicKeyInfo<'_>) -> Result<Material, KeyError> {
    let kind = &key.algorithm.algorithm;
    if *kind == OID_SIG_ED25519 {
        return Material::ed25519(&key.subject_public_key.data);
    }
    if *kind != OID_PKCS1_RSAENCRYPTION && *kind != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(KeyError::Unsupported);
    }
    match key.parsed().map_err(|_| KeyError::Malformed)? {
        PublicKey::RSA(rsa) => Material::rsa(rsa.modulus, rsa.exponent),
        // A point of another curve of the same length is not on ours: it is refused there.
        PublicKey::EC(point) => Material::ec(point.data()),
        _ => Err(KeyError::Unsupported),
    }
}
