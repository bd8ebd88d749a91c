//! Issuers, keys and tokens that are the same in every run, because a corpus holds tokens. The private keys are numbers that
//! everybody can guess, and guard nothing.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use microgw_engine::{
    Answer, CredentialDigest, Decision, Exchange, Facts, Headers, Identity, KeySet, KeySource, Lookup, RequestHead,
    Rule, Step, UnixTime,
};
use microgw_proto::rules::v1 as proto;
use proto::api_key::Location;
use proto::requirement::Kind;
use serde_json::{Value, json};

/// The issuer of access tokens.
pub const IDP: &str = "https://idp.example/";
/// The issuer of API keys.
pub const US: &str = "https://localhost:9095/apikey";
/// When decisions are made that do not look at the clock.
pub const NOW: u64 = 1_700_000_000;
/// An `exp` that no run will see.
pub const NEVER: u64 = 4_102_444_800;

static ACCESS: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static API: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_ec_pem(API_PEM.as_bytes()).unwrap());

/// The key that signs access tokens, as PKCS #8.
pub static ACCESS_PEM: LazyLock<String> = LazyLock::new(|| pem(ACCESS.to_pkcs8v1().unwrap().as_ref()));
/// The key that signs API keys, P-256, as PKCS #8.
pub static API_PEM: LazyLock<String> = LazyLock::new(|| {
    // RFC 5915: a version, the number, the curve's name.
    let der = [&[0x30, 0x31, 2, 1, 1, 4, 32][..], &[7; 32], &[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]];
    let number = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der.concat()).unwrap();
    // With the public key, as those that the gateway makes.
    let public = number.public_key().as_ref();
    let key =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &[7; 32], public).unwrap();
    pem(key.to_pkcs8v1().unwrap().as_ref())
});

pub static ACCESS_KEYS: LazyLock<Arc<KeySet>> = LazyLock::new(|| {
    let mut jwk = access_jwk();
    jwk["kid"] = "ed".into();
    key_set(&json!({ "keys": [jwk] }))
});
pub static API_KEYS: LazyLock<Arc<KeySet>> =
    LazyLock::new(|| key_set(&json!({ "keys": [Jwk::from_encoding_key(&API, Algorithm::ES256).unwrap()] })));

/// The public half of the key that signs access tokens, with what its thumbprint is of.
pub fn access_jwk() -> Value {
    json!({ "crv": "Ed25519", "kty": "OKP", "x": URL_SAFE_NO_PAD.encode(ACCESS.public_key()) })
}

/// Of a private key.
fn pem(der: &[u8]) -> String {
    let encoded: Vec<char> = STANDARD.encode(der).chars().collect();
    let lines: String = encoded.chunks(64).flat_map(|line| line.iter().chain(&['\n'])).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n")
}

fn key_set(jwks: &Value) -> Arc<KeySet> {
    Arc::new(KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap())
}

/// What the issuer of access tokens signs, whatever it says.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(ACCESS.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

pub fn access_token(claims: &Value) -> String {
    sign(br#"{"alg":"EdDSA","kid":"ed"}"#, claims.to_string().as_bytes())
}

pub fn api_key(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &API).unwrap()
}

pub fn oauth2(scopes: &[&str], all_scopes: bool) -> Kind {
    Kind::Oauth2(proto::OAuth2 { scopes: scopes.iter().map(ToString::to_string).collect(), all_scopes })
}

pub fn key_in(location: Location, name: &str) -> Kind {
    Kind::ApiKey(proto::ApiKey { location: location.into(), name: name.to_owned() })
}

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Rule 1, of the API `pets` `1.0`, with these alternatives.
pub fn book(alternatives: Vec<Vec<Kind>>) -> proto::RuleBook {
    let requirement = |kind| proto::Requirement { kind: Some(kind) };
    let alternative =
        |kinds: Vec<Kind>| proto::Alternative { requirements: kinds.into_iter().map(requirement).collect() };
    proto::RuleBook {
        generation: "one".to_owned(),
        apis: vec![proto::Api {
            name: "pets".to_owned(),
            version: "1.0".to_owned(),
            base_path: "/v2".to_owned(),
            ..Default::default()
        }],
        policies: vec![proto::Policy {
            alternatives: alternatives.into_iter().map(alternative).collect(),
            credential_header: "authorization".to_owned(),
            remove_credentials: true,
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule {
            id: 1u128.to_be_bytes().to_vec(),
            method: "GET".to_owned(),
            path: "/v2/pet/{petId}".to_owned(),
            ..proto::Rule::default()
        }],
        issuers: vec![proto::Issuer {
            issuer: IDP.to_owned(),
            algorithms: vec!["EdDSA".to_owned()],
            ..proto::Issuer::default()
        }],
        api_keys: Some(proto::ApiKeys { issuer: US.to_owned(), ..proto::ApiKeys::default() }),
        ..proto::RuleBook::default()
    }
}

pub fn rule(book: &proto::RuleBook) -> Arc<Rule> {
    Arc::clone(&Rule::load(book).unwrap()[0].1)
}

/// A cache that keeps nothing.
pub struct Forgetful;

impl Facts for Forgetful {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }
    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}
}

/// A cache that keeps everything.
#[derive(Default)]
struct Memory(Mutex<HashMap<CredentialDigest, Arc<Identity>>>);

impl Facts for Memory {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.lock().unwrap().get(digest).cloned()
    }
    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        self.0.lock().unwrap().insert(digest, facts);
    }
}

/// What the engine decides about a request at [`NOW`], with a cache and without: whether it passes, and its new path.
pub fn decide(rule: &Rule, path: &str, headers: &dyn Headers) -> Option<Option<String>> {
    let memory = Memory::default();
    let decisions = [&Forgetful as &dyn Facts, &memory, &memory].map(|facts| {
        let mut exchange = Exchange::new(rule, facts, UnixTime(NOW));
        let mut step = exchange.on_request_head(RequestHead {
            method: "GET",
            scheme: "https",
            authority: "api.example",
            path,
            headers,
            certificate: None,
            peer: "",
            has_body: None,
        });
        let mut asked = 0;
        loop {
            match step {
                Step::Done(Decision::Allow(allow)) => break Some(allow.path),
                Step::Done(Decision::Deny(_)) => break None,
                Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                    panic!("no rule here looks at bodies, or has programs")
                }
                Step::Ask(Lookup::Keys(source) | Lookup::FreshKeys(source)) => {
                    asked += 1;
                    assert!(asked < 100, "the engine asks for ever");
                    let keys = match source {
                        KeySource::Issuer(_) => &ACCESS_KEYS,
                        KeySource::ApiKeys => &API_KEYS,
                    };
                    step = exchange.resume(Answer::Keys(Arc::clone(keys)), UnixTime(NOW));
                }
                Step::Ask(
                    Lookup::Introspection { .. } | Lookup::Password { .. } | Lookup::Sign(_) | Lookup::Spend(_),
                ) => {
                    step = exchange.resume(Answer::Unavailable, UnixTime(NOW));
                }
            }
        }
    });
    assert_eq!(decisions[0], decisions[1], "a cache changes the decision");
    assert_eq!(decisions[0], decisions[2], "what is cached changes the decision");
    let [decision, ..] = decisions;
    decision
}
