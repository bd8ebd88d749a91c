//! Keys, tokens and rule books for tests. Keys are made at run time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as signing, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_proto::rules::v1 as proto;
use serde_json::{Value, json};

use crate::opaque::KeyHash;
use crate::{CredentialDigest, Facts, Identity, KeySet, Novelty, OpaqueKey, ProofId, UnixTime};

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const IDP: &str = "https://idp.example/";
pub(crate) const KEYS: &str = "https://localhost:9095/apikey";

pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa", KeySize::Rsa2048));
pub(crate) static P256: LazyLock<Signer> = LazyLock::new(|| Signer::ec("p256", true));
pub(crate) static P384: LazyLock<Signer> = LazyLock::new(|| Signer::ec("p384", false));
pub(crate) static ED25519: LazyLock<Signer> =
    LazyLock::new(|| Signer { kid: "ed", pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) });

pub(crate) struct Signer {
    pub(crate) kid: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn rsa(kid: &'static str, size: KeySize) -> Signer {
        Signer { kid, pair: Pair::Rsa(RsaKeyPair::generate(size).unwrap()) }
    }

    pub(crate) fn ec(kid: &'static str, p256: bool) -> Signer {
        let algorithm =
            if p256 { &signing::ECDSA_P256_SHA256_FIXED_SIGNING } else { &signing::ECDSA_P384_SHA384_FIXED_SIGNING };
        Signer { kid, pair: Pair::Ec(EcdsaKeyPair::generate(algorithm).unwrap()) }
    }

    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let n = encode(key.modulus().big_endian_without_leading_zero());
                let e = encode(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": self.kid, "n": n, "e": e})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "kid": self.kid, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encode(pair.public_key().as_ref())})
            }
        }
    }

    /// Signs the texts as they are.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(header, input.as_bytes());
        format!("{input}.{}", encode(signature))
    }

    /// With `alg` and this key's `kid`.
    pub(crate) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": algorithm, "kid": self.kid}).to_string(), &claims.to_string())
    }

    /// RSA: PKCS #1 with SHA-256.
    pub(crate) fn sign_bytes(&self, input: &[u8]) -> Vec<u8> {
        self.signature("", input)
    }

    fn signature(&self, header: &str, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &dyn signing::RsaEncoding = match header {
                    header if header.contains("RS384") => &signing::RSA_PKCS1_SHA384,
                    header if header.contains("RS512") => &signing::RSA_PKCS1_SHA512,
                    header if header.contains("PS256") => &signing::RSA_PSS_SHA256,
                    header if header.contains("PS384") => &signing::RSA_PSS_SHA384,
                    header if header.contains("PS512") => &signing::RSA_PSS_SHA512,
                    _ => &signing::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, input, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, input).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }
}

pub(crate) fn key_set(signers: &[&Signer]) -> KeySet {
    jwks(&signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>())
}

pub(crate) fn jwks(keys: &[Value]) -> KeySet {
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// Access tokens of [`IDP`] with every algorithm, API keys of [`KEYS`]; one API `pets` `1.0`, one policy, one rule with id 1.
pub(crate) fn book(policy: proto::Policy) -> proto::RuleBook {
    proto::RuleBook {
        generation: "g".into(),
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1.0".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![policy],
        rules: vec![proto::Rule {
            id: 1u128.to_be_bytes().to_vec(),
            method: "GET".into(),
            path: "/v2/pet/{petId}".into(),
            ..Default::default()
        }],
        issuers: vec![proto::Issuer {
            issuer: IDP.into(),
            audiences: vec!["gateway".into(), "other".into()],
            algorithms: crate::Algorithm::ALL.iter().map(|algorithm| algorithm.as_str().into()).collect(),
            skew_seconds: 5,
            ..Default::default()
        }],
        api_keys: Some(proto::ApiKeys { issuer: KEYS.into(), skew_seconds: 5, ..Default::default() }),
        dpop: Some(proto::Dpop { max_age_seconds: 60, skew_seconds: 5, ..Default::default() }),
        ..Default::default()
    }
}

/// Production and sandbox, credentials removed.
pub(crate) fn policy(alternatives: Vec<Vec<proto::requirement::Kind>>) -> proto::Policy {
    let requirement = |kind| proto::Requirement { kind: Some(kind) };
    let alternative = |kinds: Vec<_>| proto::Alternative { requirements: kinds.into_iter().map(requirement).collect() };
    proto::Policy {
        alternatives: alternatives.into_iter().map(alternative).collect(),
        credential_header: "authorization".into(),
        remove_credentials: true,
        production: true,
        sandbox: true,
        ..Default::default()
    }
}

pub(crate) fn oauth2(scopes: &[&str], all_scopes: bool) -> proto::requirement::Kind {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    proto::requirement::Kind::Oauth2(proto::OAuth2 { scopes, all_scopes })
}

pub(crate) fn basic(scopes: &[&str]) -> proto::requirement::Kind {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    proto::requirement::Kind::Basic(proto::Basic { scopes, all_scopes: false })
}

/// Whatever an authorization server says.
pub(crate) fn introspection() -> proto::Introspection {
    proto::Introspection { skew_seconds: 5, remember_milliseconds: 60_000, ..Default::default() }
}

pub(crate) fn header_key(name: &str) -> proto::requirement::Kind {
    let location = proto::api_key::Location::Header.into();
    proto::requirement::Kind::ApiKey(proto::ApiKey { location, name: name.into() })
}

pub(crate) fn query_key(name: &str) -> proto::requirement::Kind {
    let location = proto::api_key::Location::Query.into();
    proto::requirement::Kind::ApiKey(proto::ApiKey { location, name: name.into() })
}

pub(crate) fn cookie_key(name: &str) -> proto::requirement::Kind {
    let location = proto::api_key::Location::Cookie.into();
    proto::requirement::Kind::ApiKey(proto::ApiKey { location, name: name.into() })
}

/// Claims of an access token that passes.
pub(crate) fn access() -> Value {
    json!({"iss": IDP, "aud": "gateway", "sub": "alice", "exp": NOW + 60, "scope": "read write"})
}

/// Claims of an API key that passes.
pub(crate) fn api_key() -> Value {
    json!({"iss": KEYS, "sub": "admin", "exp": NOW + 60, "keytype": "PRODUCTION"})
}

/// `base` with members replaced, or removed where the value is null.
#[allow(clippy::needless_pass_by_value)] // reads better where it is called
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

/// With a secret, with opaque keys, and of proofs.
#[derive(Default)]
pub(crate) struct Memory(
    Mutex<HashMap<CredentialDigest, Arc<Identity>>>,
    pub(crate) HashMap<KeyHash, OpaqueKey>,
    Mutex<HashSet<ProofId>>,
);

impl Memory {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Facts for Memory {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.lock().unwrap().get(digest).cloned()
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        self.0.lock().unwrap().insert(digest, facts);
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        b"known to this process, no others".first_chunk()
    }

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        self.1.get(hash).cloned().unwrap_or(OpaqueKey::Unknown)
    }

    fn prove(&self, proof: &ProofId, now: UnixTime, until: UnixTime) -> Novelty {
        assert!(now < until);
        if self.2.lock().unwrap().insert(*proof) { Novelty::Fresh } else { Novelty::Seen }
    }
}
