mod vectors;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{ED25519, IDP, KEYS, NOW, P256, P384, RSA, access, api_key, book, encode, key_set, policy, with};
use crate::limits::Interest;
use crate::{KeyType, UnixTime};

fn realm() -> Realm {
    Realm::load(&book(policy(vec![])), &Interest::default()).unwrap()
}

fn verify(kind: CredentialKind, token: &str) -> Result<Identity, TokenError> {
    let realm = realm();
    let (_, token) = Unverified::read(&realm, kind, token)?;
    token.verify(&key_set(&[&RSA, &P256, &P384, &ED25519]))
}

fn check_access(token: &str) -> Result<Identity, TokenError> {
    verify(CredentialKind::AccessToken, token)
}

fn access_with(changes: Value) -> Result<Identity, TokenError> {
    check_access(&P256.token("ES256", &with(access(), changes)))
}

fn key_with(changes: Value) -> Result<Identity, TokenError> {
    verify(CredentialKind::ApiKey, &P256.token("ES256", &with(api_key(), changes)))
}

#[test]
fn every_algorithm_verifies_with_its_own_key_alone() {
    let families = [
        (&*RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&P256, &["ES256"]),
        (&P384, &["ES384"]),
        (&ED25519, &["EdDSA"]),
    ];
    for (signer, own) in families {
        for algorithm in Algorithm::ALL.map(Algorithm::as_str) {
            let verified = check_access(&signer.token(algorithm, &access()));
            if own.contains(&algorithm) {
                assert_eq!(verified.unwrap().subject(), Some("alice"), "{algorithm}");
            } else {
                // The key is bound to its algorithms: such a token finds none.
                assert_eq!(verified.err(), Some(TokenError::UnknownKey), "{algorithm} with {}", signer.kid);
            }
        }
    }
}

#[test]
fn headers_that_ask_for_more_than_a_signature_are_refused() {
    let jwk = P256.jwk();
    for (header, expected) in [
        (json!({"alg": "none"}), TokenError::Algorithm),
        (json!({"alg": "None"}), TokenError::Algorithm),
        (json!({"alg": "HS256", "kid": "p256"}), TokenError::Algorithm),
        (json!({"alg": "HS512", "kid": "p256"}), TokenError::Algorithm),
        (json!({"alg": "es256", "kid": "p256"}), TokenError::Algorithm),
        (json!({"alg": "ES512", "kid": "p256"}), TokenError::Algorithm),
        (json!({"alg": "ES256K", "kid": "p256"}), TokenError::Algorithm),
        (json!({"alg": 1}), TokenError::Header),
        (json!({}), TokenError::Header),
        (json!({"alg": "ES256", "kid": "p256", "crit": ["exp"], "exp": 1}), TokenError::Critical),
        (json!({"alg": "ES256", "kid": "p256", "crit": []}), TokenError::Critical),
        (json!({"alg": "ES256", "kid": "p256", "crit": null}), TokenError::Critical),
        (json!({"alg": "ES256", "kid": "p256", "b64": false}), TokenError::Critical),
        (json!({"alg": "ES256", "kid": "p256", "b64": true}), TokenError::Critical),
        (json!({"alg": "ES256", "kid": "p256", "typ": "apikey+jwt"}), TokenError::Type),
        (json!({"alg": "ES256", "kid": "p256", "typ": "logout+jwt"}), TokenError::Type),
        (json!({"alg": "ES256", "kid": "p256", "typ": "JOSE"}), TokenError::Type),
        (json!({"alg": "ES256", "kid": "p256", "typ": ["JWT"]}), TokenError::Header),
        (json!({"alg": "ES256", "kid": 7}), TokenError::Header),
        (json!({"alg": "ES256", "kid": "unknown"}), TokenError::UnknownKey),
        // A key that the token brings along is not looked at.
        (json!({"alg": "ES256", "kid": "unknown", "jwk": jwk}), TokenError::UnknownKey),
        (json!({"alg": "ES256", "kid": "unknown", "jku": "https://evil.example"}), TokenError::UnknownKey),
    ] {
        let token = P256.sign(&header.to_string(), &access().to_string());
        assert_eq!(check_access(&token).err(), Some(expected), "{header}");
    }
    let twice = r#"{"alg":"ES256","kid":"p256","alg":"ES256"}"#;
    assert_eq!(check_access(&P256.sign(twice, &access().to_string())).err(), Some(TokenError::Json));
}

#[test]
fn types_of_access_tokens() {
    for kind in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        let header = json!({"alg": "ES256", "kid": "p256", "typ": kind}).to_string();
        assert!(check_access(&P256.sign(&header, &access().to_string())).is_ok(), "{kind}");
    }
}

#[test]
fn the_forms_of_a_token() {
    let good = P256.token("ES256", &access());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = input.split_once('.').unwrap();
    for (token, expected) in [
        (String::new(), TokenError::Form),
        ("opaque".to_owned(), TokenError::Form),
        ("a.b".to_owned(), TokenError::Form),
        (format!("{good}.x"), TokenError::Form),
        (format!("{good}.."), TokenError::Form),
        (format!("{good}="), TokenError::Form),
        (format!("{header}=.{claims}.{signature}"), TokenError::Form),
        (format!("{header}.{claims} .{signature}"), TokenError::Form),
        (format!("{header}.{claims}.{signature},{good}"), TokenError::Form),
        (format!("{header}.{}.{signature}", claims.replace(['A', 'a'], "+")), TokenError::Form),
        (format!("..{signature}"), TokenError::Json),
        (format!("{header}.{claims}."), TokenError::Signature),
        (format!("{header}.{claims}.AAAA"), TokenError::Signature),
        (
            format!("{header}.{}.{signature}", encode(with(access(), json!({"sub": "eve"})).to_string())),
            TokenError::Signature,
        ),
        (format!("{header}.{}.{signature}", encode("[]")), TokenError::Json),
        (format!("{}.{claims}.{signature}", encode("\"ES256\"")), TokenError::Json),
        ("x".repeat(MAX_TOKEN_LENGTH + 1), TokenError::TooLong),
    ] {
        assert_eq!(check_access(&token).err(), Some(expected), "{token}");
    }
    let other = crate::fixtures::Signer::ec("p256", true);
    assert_eq!(check_access(&other.token("ES256", &access())).err(), Some(TokenError::Signature));
}

#[test]
fn claims_of_access_tokens() {
    for (changes, expected) in [
        (json!({"iss": null}), TokenError::Claim("iss")),
        (json!({"iss": 1}), TokenError::Claim("iss")),
        (json!({"iss": "https://idp.example"}), TokenError::UnknownIssuer),
        (json!({"iss": KEYS}), TokenError::UnknownIssuer),
        (json!({"aud": null}), TokenError::Audience),
        (json!({"aud": "elsewhere"}), TokenError::Audience),
        (json!({"aud": []}), TokenError::Audience),
        (json!({"aud": ["gateway", 1]}), TokenError::Claim("aud")),
        (json!({"aud": {}}), TokenError::Claim("aud")),
        (json!({"exp": null}), TokenError::Claim("exp")),
        (json!({"exp": "1700000060"}), TokenError::Claim("exp")),
        (json!({"nbf": "now"}), TokenError::Claim("nbf")),
        (json!({"iat": true}), TokenError::Claim("iat")),
        (json!({"sub": 42}), TokenError::Claim("sub")),
        (json!({"jti": 42}), TokenError::Claim("jti")),
        (json!({"jti": ["a"]}), TokenError::Claim("jti")),
        (json!({"scope": 1}), TokenError::Claim("scope")),
        (json!({"scope": [["read"]]}), TokenError::Claim("scope")),
        (json!({"keytype": "ADMIN"}), TokenError::Claim("keytype")),
        (json!({"keytype": "production"}), TokenError::Claim("keytype")),
        (json!({"cnf": "x5t#S256"}), TokenError::Claim("cnf")),
        (json!({"cnf": {}}), TokenError::Claim("cnf")),
        // Bound to something, and that is not known here.
        (json!({"cnf": {"kid": "a"}}), TokenError::Claim("cnf")),
        (json!({"cnf": {"x5t#S256": 1}}), TokenError::Claim("cnf")),
        (json!({"cnf": {"x5t#S256": "AAAA"}}), TokenError::Claim("cnf")),
        (json!({"cnf": {"x5t#S256": format!("{}=", encode([0; 32]))}}), TokenError::Claim("cnf")),
    ] {
        assert_eq!(access_with(changes.clone()).err(), Some(expected), "{changes}");
    }
    let claims = format!(r#"{{"iss":"{IDP}","aud":"gateway","exp":{},"exp":{}}}"#, NOW + 9, NOW + 9);
    assert_eq!(check_access(&P256.sign(r#"{"alg":"ES256","kid":"p256"}"#, &claims)).err(), Some(TokenError::Json));
}

#[test]
fn what_access_tokens_say() {
    let facts =
        access_with(json!({"aud": ["x", "other"], "scope": " a  b ", "keytype": "SANDBOX", "azp": "app"})).unwrap();
    assert!(facts.has_scope("a") && facts.has_scope("b") && !facts.has_scope("") && !facts.has_scope("a b"));
    assert_eq!((facts.key_type(), facts.client()), (KeyType::Sandbox, Some("app")));
    let facts =
        access_with(json!({"scope": ["a", "b c"], "consumerKey": "c1", "azp": "c2", "client_id": "c3"})).unwrap();
    assert!(facts.has_scope("b c") && !facts.has_scope("b"));
    assert_eq!(facts.client(), Some("c1"));
    assert_eq!(access_with(json!({"client_id": "c3"})).unwrap().client(), Some("c3"));
    assert_eq!(access_with(json!({})).unwrap().client(), Some("gateway"));
    assert_eq!(access_with(json!({"aud": ["gateway", "x"]})).unwrap().client(), None);
    // `allowedAPIs` is a key's claim: it neither widens nor narrows a token.
    assert!(access_with(json!({"allowedAPIs": []})).unwrap().allows("pets", "1.0"));
}

#[test]
fn dates_let_less_through_and_do_not_overflow() {
    let valid = |changes: Value, now: u64| access_with(changes).unwrap().check_time(UnixTime(now)).is_ok();
    // Five seconds of skew.
    assert!(valid(json!({"exp": NOW}), NOW + 4));
    assert!(!valid(json!({"exp": NOW}), NOW + 5));
    assert!(!valid(json!({"exp": 1_700_000_000.9}), NOW + 5));
    assert!(valid(json!({"nbf": NOW + 5}), NOW));
    assert!(!valid(json!({"nbf": NOW + 6}), NOW));
    assert!(!valid(json!({"nbf": 1_700_000_005.1}), NOW));
    assert!(!valid(json!({"exp": -1}), NOW) && !valid(json!({"exp": 0}), NOW));
    assert!(valid(json!({"exp": 1e300}), u64::MAX - 1));
    assert!(valid(json!({"exp": u64::MAX, "iat": NOW + 1_000_000}), NOW));
    assert!(!valid(json!({"nbf": 1e300}), NOW) && valid(json!({"nbf": -1e300}), NOW));
    let expired = access_with(json!({"exp": 1})).unwrap().check_time(UnixTime(NOW));
    assert_eq!(expired, Err((crate::Reason::Expired, TokenError::Expired)));
}

#[test]
fn claims_of_api_keys() {
    for (changes, expected) in [
        (json!({"iss": IDP}), TokenError::UnknownIssuer),
        (json!({"exp": null}), TokenError::Claim("exp")),
        (json!({"keytype": ""}), TokenError::Claim("keytype")),
        (json!({"allowedAPIs": "pets"}), TokenError::Claim("allowedAPIs")),
        (json!({"allowedAPIs": [{"name": "pets"}]}), TokenError::Claim("allowedAPIs")),
        (json!({"allowedAPIs": ["pets"]}), TokenError::Claim("allowedAPIs")),
    ] {
        assert_eq!(key_with(changes.clone()).err(), Some(expected), "{changes}");
    }
    let allows = |changes: Value| key_with(changes).unwrap().allows("pets", "1.0");
    assert!(allows(json!({})));
    assert!(allows(json!({"allowedAPIs": [{"name": "x", "version": "*"}, {"name": "pets", "version": "1.0"}]})));
    assert!(allows(json!({"allowedAPIs": [{"name": "pets", "version": "*"}]})));
    assert!(allows(json!({"subscribedAPIs": [{"name": "pets", "version": "1.0", "context": "/v2"}]})));
    assert!(!allows(json!({"allowedAPIs": []})));
    assert!(!allows(json!({"allowedAPIs": [{"name": "pets", "version": "1"}]})));
    assert!(!allows(json!({"allowedAPIs": [], "subscribedAPIs": [{"name": "pets", "version": "*"}]})));
}

#[test]
fn api_keys_are_no_access_tokens_nor_the_reverse() {
    let header = |kind: &str| json!({"alg": "ES256", "kid": "p256", "typ": kind}).to_string();
    let key = |kind: &str| verify(CredentialKind::ApiKey, &P256.sign(&header(kind), &api_key().to_string())).err();
    assert_eq!((key("apikey+jwt"), key("JWT"), key("APIKEY+JWT")), (None, None, None));
    assert_eq!(key("at+jwt"), Some(TokenError::Type));
    assert_eq!(key_with(json!({})).err(), None);
    let access = P256.token("ES256", &access());
    assert_eq!(verify(CredentialKind::ApiKey, &access).err(), Some(TokenError::UnknownIssuer));
    let key = P256.token("ES256", &api_key());
    assert_eq!(check_access(&key).err(), Some(TokenError::UnknownIssuer));
    // Keys are signed with ES256 or RS256 by us and our predecessor; nothing else is one.
    let other = P384.token("ES384", &api_key());
    assert_eq!(verify(CredentialKind::ApiKey, &other).err(), Some(TokenError::Algorithm));
}

#[test]
fn unlimited_keys_and_mandatory_lists_are_settings() {
    let mut book = book(policy(vec![]));
    book.api_keys = Some(microgw_proto::rules::v1::ApiKeys {
        issuer: KEYS.into(),
        allow_unlimited: true,
        require_allowed_apis: true,
        ..Default::default()
    });
    let realm = Realm::load(&book, &Interest::default()).unwrap();
    let read = |changes: Value| {
        let token = P256.token("ES256", &with(api_key(), changes));
        Unverified::read(&realm, CredentialKind::ApiKey, &token).map(|_| ()).err()
    };
    assert_eq!(read(json!({})), Some(TokenError::Claim("allowedAPIs")));
    assert_eq!(read(json!({"exp": null, "allowedAPIs": []})), None);
    let unlimited = json!({"iss": IDP, "aud": "gateway"});
    let token = P256.token("ES256", &unlimited);
    assert_eq!(Unverified::read(&realm, CredentialKind::AccessToken, &token).err(), Some(TokenError::Claim("exp")));
}

#[test]
fn a_wrong_signature_under_a_configured_certificate_may_be_another_key() {
    let pinned = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let keys = KeySet::join([key_set(&[&RSA]), KeySet::from_pem(pinned.public_key_pem().as_bytes()).unwrap()]);
    let realm = realm();
    let token = P256.token("ES256", &access());
    let (_, unverified) = Unverified::read(&realm, CredentialKind::AccessToken, &token).unwrap();
    assert_eq!(unverified.verify(&keys).err(), Some(TokenError::UnknownKey));
}

proptest! {
    #[test]
    fn no_token_panics(token in "\\PC{0,200}", parts in prop::collection::vec("\\PC{0,40}", 0..5)) {
        let _ = check_access(&token);
        let encoded: Vec<_> = parts.iter().map(encode).collect();
        let _ = verify(CredentialKind::ApiKey, &encoded.join("."));
    }

    #[test]
    fn no_claims_panic(name in "exp|nbf|iat|aud|scope|sub|iss|keytype|allowedAPIs", value in any_json()) {
        let token = P256.token("ES256", &with(access(), json!({ name: value })));
        if let Ok(facts) = check_access(&token) {
            let _ = facts.check_time(UnixTime(NOW));
            prop_assert!(facts.weight() > 0);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,5}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
