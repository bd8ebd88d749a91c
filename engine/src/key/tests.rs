use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{ED25519, P256, P384, RSA, Signer, jwks, key_set, with};

fn only(jwk: Value) -> Option<Arc<Key>> {
    jwks(&[jwk]).keys.first().cloned()
}

#[test]
fn keys_are_bound_to_their_algorithms() {
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for (signer, fitting) in [(&*RSA, &rsa[..]), (&P256, &["ES256"]), (&P384, &["ES384"]), (&ED25519, &["EdDSA"])] {
        let key = only(signer.jwk()).unwrap();
        let fits: Vec<_> =
            Algorithm::ALL.into_iter().filter(|algorithm| key.fits(*algorithm)).map(Algorithm::as_str).collect();
        assert_eq!(fits, fitting, "{key:?}");
    }
    let bound = only(with(RSA.jwk(), json!({"alg": "PS256"}))).unwrap();
    assert!(bound.fits(Algorithm::Ps256) && !bound.fits(Algorithm::Rs256));
}

#[test]
fn unusable_entries_are_skipped() {
    let small = Signer::rsa("small", KeySize::Rsa2048).jwk();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, small["n"].as_str().unwrap())
        .unwrap();
    let short = crate::fixtures::encode(&bytes[128..]);
    for (why, jwk) in [
        ("secret", json!({"kty": "oct", "k": "c2VjcmV0"})),
        ("private RSA", with(RSA.jwk(), json!({"d": "AQAB"}))),
        ("private EC", with(P256.jwk(), json!({"d": "AQAB"}))),
        ("for encryption", with(RSA.jwk(), json!({"use": "enc"}))),
        ("for wrapping", with(RSA.jwk(), json!({"key_ops": ["wrapKey"]}))),
        ("HMAC", with(RSA.jwk(), json!({"alg": "HS256"}))),
        ("algorithm of another family", with(RSA.jwk(), json!({"alg": "ES256"}))),
        ("algorithm of another curve", with(P256.jwk(), json!({"alg": "ES384"}))),
        ("1024 bits", with(small, json!({"n": short}))),
        ("unknown type", with(RSA.jwk(), json!({"kty": "XYZ"}))),
        ("unknown curve", with(P256.jwk(), json!({"crv": "secp256k1"}))),
        ("curve and coordinates differ", with(P256.jwk(), json!({"crv": "P-384"}))),
        ("not on the curve", with(P256.jwk(), json!({"x": P256.jwk()["y"], "y": P256.jwk()["x"]}))),
        ("X25519", with(ED25519.jwk(), json!({"crv": "X25519"}))),
        ("no modulus", with(RSA.jwk(), json!({"n": null}))),
        ("padded", with(ED25519.jwk(), json!({"x": format!("{}=", ED25519.jwk()["x"].as_str().unwrap())}))),
        ("kid is a number", with(RSA.jwk(), json!({"kid": 1}))),
        ("no object", json!("key")),
    ] {
        let set = jwks(&[jwk, P384.jwk()]);
        assert_eq!((set.len(), set.skipped()), (1, 1), "{why}");
    }
    let usable = with(RSA.jwk(), json!({"use": "sig", "key_ops": ["verify"], "x5c": ["ignored"]}));
    assert!(only(usable).is_some());
}

#[test]
fn a_text_that_is_no_key_set_is_an_error() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(KeySet::from_jwks(text.as_bytes()).err(), Some(KeyError::NotAKeySet), "{text}");
    }
    let many = json!({"keys": vec![json!({}); 257]}).to_string();
    assert_eq!(KeySet::from_jwks(many.as_bytes()).err(), Some(KeyError::TooMany));
    assert!(KeySet::from_jwks(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn certificates_and_public_keys_in_pem_verify() {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _,
    };
    for (kind, algorithm) in [
        (&PKCS_ECDSA_P256_SHA256, Algorithm::Es256),
        (&PKCS_ECDSA_P384_SHA384, Algorithm::Es384),
        (&PKCS_ED25519, Algorithm::EdDsa),
    ] {
        let pair = KeyPair::generate_for(kind).unwrap();
        let certificate = CertificateParams::new(vec!["idp".into()]).unwrap().self_signed(&pair).unwrap();
        let from_certificate = KeySet::from_pem(certificate.pem().as_bytes()).unwrap();
        let from_key = KeySet::from_pem(pair.public_key_pem().as_bytes()).unwrap();
        assert_eq!(from_certificate.keys, from_key.keys);
        assert!(from_key.keys[0].fits(algorithm));
        assert!(!pair.subject_public_key_info().is_empty());
        let both = format!("{}{}", certificate.pem(), pair.public_key_pem());
        assert_eq!(KeySet::from_pem(both.as_bytes()).unwrap().len(), 2);
        assert_eq!(KeySet::from_pem(pair.serialize_pem().as_bytes()).err(), Some(KeyError::Private));
    }
    assert_eq!(KeySet::from_pem(b"").err(), Some(KeyError::NotPem));
    assert_eq!(
        KeySet::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").err(),
        Some(KeyError::Malformed)
    );
}

#[test]
fn the_rsa_key_of_a_certificate_is_that_of_its_key_set_entry() {
    use aws_lc_rs::encoding::AsDer as _;
    let Material::Rsa(key) = &only(RSA.jwk()).unwrap().material else { panic!("no RSA key") };
    let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = key.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref())
    );
    let set = KeySet::from_pem(pem.as_bytes()).unwrap();
    let Material::Rsa(read) = &set.keys[0].material else { panic!("no RSA key") };
    assert_eq!((&read.n, &read.e), (&key.n, &key.e));
}

#[test]
fn a_successor_keeps_known_keys_and_withdraws_the_rest() {
    let first = key_set(&[&RSA, &P256]);
    let (rsa, p256) = (Arc::clone(&first.keys[0]), Arc::clone(&first.keys[1]));
    let second = key_set(&[&P256, &P384]).succeed(&first);
    assert!(Arc::ptr_eq(&second.keys[0], &p256));
    assert!(rsa.is_withdrawn() && !p256.is_withdrawn() && !second.keys[1].is_withdrawn());

    // The same name for another key, and the same key under another name, are other keys.
    let renamed =
        jwks(&[with(P256.jwk(), json!({"kid": "new"})), with(P384.jwk(), json!({"alg": "ES384"}))]).succeed(&second);
    assert!(p256.is_withdrawn() && second.keys[1].is_withdrawn());
    assert!(renamed.keys.iter().all(|key| !key.is_withdrawn()));

    // What comes back is a key anew: what it verified before its withdrawal stays dead.
    let back = key_set(&[&RSA]).succeed(&renamed);
    assert!(!back.keys[0].is_withdrawn() && !Arc::ptr_eq(&back.keys[0], &rsa));
}

#[test]
fn a_key_is_chosen_by_name_and_algorithm() {
    let other = Signer::ec("other", true);
    let unnamed = with(P384.jwk(), json!({"kid": null}));
    let set = jwks(&[RSA.jwk(), P256.jwk(), other.jwk(), unnamed]);
    let named = |kid, algorithm| match set.select(kid, algorithm) {
        Selection::Key(key) => key.name.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(Some("p256"), Algorithm::Es256), Name::Kid("p256".into()));
    assert_eq!(named(None, Algorithm::Rs256), Name::Kid("rsa".into()));
    assert_eq!(named(None, Algorithm::Es384), Name::Unnamed);
    assert_eq!(set.select(None, Algorithm::Es256), Selection::Ambiguous);
    assert_eq!(set.select(Some("p256"), Algorithm::Rs256), Selection::Unknown);
    assert_eq!(set.select(Some("nobody"), Algorithm::Es384), Selection::Unknown);
    assert_eq!(set.select(None, Algorithm::EdDsa), Selection::Unknown);

    let twice = jwks(&[P256.jwk(), with(other.jwk(), json!({"kid": "p256"}))]);
    assert_eq!(twice.select(Some("p256"), Algorithm::Es256), Selection::Ambiguous);
}
