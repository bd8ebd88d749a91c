//! JSON Web Key sets, RFC 7517.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Key, KeyError, KeySet, Material, Name};
use crate::json::{self, Json, Object};

const MAX_KEYS: usize = 256;

pub(super) fn read(text: &[u8]) -> Result<KeySet, KeyError> {
    let set = json::object(text).map_err(|_| KeyError::NotAKeySet)?;
    let entries = set.get("keys").and_then(Json::as_array).ok_or(KeyError::NotAKeySet)?;
    if entries.len() > MAX_KEYS {
        return Err(KeyError::TooMany);
    }
    let keys: Box<[_]> =
        entries.iter().filter_map(|entry| entry.as_object().and_then(|jwk| key(jwk).ok())).map(Arc::new).collect();
    Ok(KeySet { skipped: entries.len() - keys.len(), keys })
}

pub(super) fn key(jwk: &Object) -> Result<Key, KeyError> {
    // `d` of RSA, EC and OKP, `k` of oct: who publishes a secret has none.
    if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|member| jwk.contains_key(*member)) {
        return Err(KeyError::Private);
    }
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(KeyError::OtherUse);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array().ok_or(KeyError::Malformed)?;
        if !operations.iter().any(|operation| operation.as_str() == Some("verify")) {
            return Err(KeyError::OtherUse);
        }
    }
    let algorithm = text(jwk, "alg")?.map(str::parse).transpose()?;
    let material = match (text(jwk, "kty")?, text(jwk, "crv")?) {
        (Some("RSA"), _) => Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?,
        (Some("EC"), Some("P-256")) => ec(jwk, 32)?,
        (Some("EC"), Some("P-384")) => ec(jwk, 48)?,
        (Some("OKP"), Some("Ed25519")) => Material::ed25519(&bytes(jwk, "x")?)?,
        _ => return Err(KeyError::Unsupported),
    };
    let name = text(jwk, "kid")?.map_or(Name::Unnamed, |kid| Name::Kid(kid.into()));
    Key::new(name, algorithm, material)
}

/// RFC 7638: the members that make the key, in the order of their names, as text.
pub(super) fn thumbprint(jwk: &Object) -> Result<[u8; 32], KeyError> {
    let members: &[&str] = match text(jwk, "kty")? {
        Some("RSA") => &["e", "kty", "n"],
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("OKP") => &["crv", "kty", "x"],
        _ => return Err(KeyError::Unsupported),
    };
    let mut hash = Sha256::new();
    for (index, member) in members.iter().enumerate() {
        let value = text(jwk, member)?.ok_or(KeyError::Malformed)?;
        // Base64url and names of curves: nothing in them needs to be escaped.
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(KeyError::Malformed);
        }
        hash.update(if index == 0 { "{\"" } else { ",\"" });
        hash.update(member);
        hash.update("\":\"");
        hash.update(value);
        hash.update("\"");
    }
    hash.update("}");
    Ok(hash.finalize().into())
}

/// Coordinates have the full length of the field, RFC 7518 section 6.2.1.2.
fn ec(jwk: &Object, length: usize) -> Result<Material, KeyError> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(KeyError::Malformed);
    }
    Material::ec(&[&[4], x.as_slice(), y.as_slice()].concat())
}

/// The set as JSON, every key by a name: its own, or its thumbprint. A key that is there twice is written once.
pub(super) fn write(keys: &[Arc<Key>]) -> String {
    let mut written = BTreeMap::new();
    for key in keys {
        let members = members(key);
        let kid = match &key.name {
            Name::Kid(kid) => kid.to_string(),
            Name::Unnamed | Name::Any => thumbprint_of(&members),
        };
        let mut jwk = members;
        jwk.insert("kid", kid.clone());
        jwk.insert("use", "sig".to_owned());
        if let Some(algorithm) = key.algorithm {
            jwk.insert("alg", algorithm.as_str().to_owned());
        }
        written.entry(kid).or_insert(jwk);
    }
    let keys: Vec<_> = written.values().collect();
    // Text alone: it can be written.
    serde_json::to_string(&BTreeMap::from([("keys", keys)])).unwrap_or_default()
}

/// Those that make the key, in the order of their names.
fn members(key: &Key) -> BTreeMap<&'static str, String> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let ec = |curve: &str, point: &[u8]| {
        // An uncompressed point has a byte 4 before its coordinates.
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        vec![("kty", "EC".to_owned()), ("crv", curve.to_owned()), ("x", encode(x)), ("y", encode(y))]
    };
    let members = match &key.material {
        Material::Rsa(rsa) => vec![("kty", "RSA".to_owned()), ("n", encode(&rsa.n)), ("e", encode(&rsa.e))],
        Material::P256(point) => ec("P-256", point.as_ref()),
        Material::P384(point) => ec("P-384", point.as_ref()),
        Material::Ed25519(point) => {
            vec![("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", encode(point.as_ref()))]
        }
    };
    members.into_iter().collect()
}

/// RFC 7638.
fn thumbprint_of(members: &BTreeMap<&'static str, String>) -> String {
    let canonical = serde_json::to_string(members).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

fn text<'a>(jwk: &'a Object, member: &str) -> Result<Option<&'a str>, KeyError> {
    jwk.get(member).map(|value| value.as_str().ok_or(KeyError::Malformed)).transpose()
}

fn bytes(jwk: &Object, member: &str) -> Result<Vec<u8>, KeyError> {
    let encoded = text(jwk, member)?.ok_or(KeyError::Malformed)?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyError::Malformed)
}
