//! The common case must not allocate, and rules must be small: a counting allocator says so.

#![allow(clippy::unwrap_used, clippy::panic)]

mod drawn;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::opaque::{self, KeyHash};
use microgw_engine::subscription::State;
use microgw_engine::{
    Answer, Api, ClientCertificate, CredentialDigest, Decision, Exchange, Facts, Identity, KeySet, KeyTerms, KeyType,
    Lookup, Novelty, OpaqueKey, ProofId, RequestHead, RevocationName, Rule, Standing, Step, Subscribed, Subscription,
    UnixTime,
};
use microgw_proto::rules::v1 as proto;
use sha2::{Digest as _, Sha256};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that were allocated and not freed.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

#[allow(unsafe_code)] // An allocator cannot be written without; it only counts and passes on.
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        HELD.with(|held| held.set(held.get() + layout.size().cast_signed()));
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get() - layout.size().cast_signed()));
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Default)]
struct Memory(
    Mutex<HashMap<CredentialDigest, Arc<Identity>>>,
    HashMap<KeyHash, Arc<Identity>>,
    Mutex<HashMap<Order, Assertion>>,
);

impl Facts for Memory {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.lock().unwrap().get(digest).cloned()
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        self.0.lock().unwrap().insert(digest, facts);
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.2.lock().unwrap().get(order).cloned()
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        Some(&[7; 32])
    }

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        self.1.get(hash).map_or(OpaqueKey::Unknown, |identity| OpaqueKey::Known(Arc::clone(identity)))
    }

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        Novelty::Fresh
    }
}

const NOW: UnixTime = UnixTime(1_700_000_000);

fn rule() -> Arc<Rule> {
    Arc::clone(&Rule::load(&book()).unwrap().first().unwrap().1)
}

fn book() -> proto::RuleBook {
    let key = |location: proto::api_key::Location, name: &str| proto::Alternative {
        requirements: vec![proto::Requirement {
            kind: Some(proto::requirement::Kind::ApiKey(proto::ApiKey {
                location: location.into(),
                name: name.into(),
            })),
        }],
    };
    let basic = || proto::Alternative {
        requirements: vec![proto::Requirement {
            kind: Some(proto::requirement::Kind::Basic(proto::Basic { scopes: vec!["read".into()], all_scopes: true })),
        }],
    };
    proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), version: "1".into(), ..Default::default() }],
        policies: vec![proto::Policy {
            alternatives: vec![
                key(proto::api_key::Location::Header, "api_key"),
                key(proto::api_key::Location::Query, "api_key"),
                key(proto::api_key::Location::Cookie, "api_key"),
                basic(),
            ],
            credential_header: "authorization".into(),
            remove_credentials: true,
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        api_keys: Some(proto::ApiKeys { issuer: "us".into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A key, and what verifies it.
fn api_key() -> (String, Arc<KeySet>) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let claims = serde_json::json!({
        "iss": "us", "sub": "admin", "exp": NOW.0 + 60, "keytype": "SANDBOX",
        "allowedAPIs": [{"name": "other", "version": "1"}, {"name": "pets", "version": "*"}],
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
    let set = serde_json::json!({ "keys": [Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()] });
    (token, Arc::new(KeySet::from_jwks(set.to_string().as_bytes()).unwrap()))
}

/// Allocations of one decision, which must be to allow.
fn allocations(rule: &Rule, facts: &dyn Facts, head: RequestHead<'_>, keys: Option<&Arc<KeySet>>) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    let mut exchange = Exchange::new(rule, facts, NOW);
    let mut step = exchange.on_request_head(head);
    while let Step::Ask(_) = step {
        step = exchange.resume(Answer::Keys(Arc::clone(keys.unwrap())), NOW);
    }
    let Step::Done(Decision::Allow(allow)) = &step else { panic!("{step:?}") };
    assert_eq!(allow.environment, Some("sandbox"));
    drop(step);
    drop(exchange);
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_cached_key_costs_no_allocation_in_a_header_and_one_in_the_query() {
    let (rule, facts) = (rule(), Memory::default());
    let (token, keys) = api_key();
    let by_header =
        HashMap::from([("api_key".to_owned(), token.clone()), ("accept".to_owned(), "application/json".to_owned())]);
    let head = RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1?a=b",
        headers: &by_header,
        certificate: None,
        peer: "",
        has_body: None,
    };
    let first = allocations(&rule, &facts, head, Some(&keys));
    assert!(first > 0, "the counter counts");
    assert_eq!(allocations(&rule, &facts, head, None), 0);

    let (path, nothing) = (format!("/v2/pet/1?a=b&api_key={token}"), HashMap::<String, String>::new());
    let head = RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: &path,
        headers: &nothing,
        certificate: None,
        peer: "",
        has_body: None,
    };
    assert_eq!(allocations(&rule, &facts, head, None), 1, "the new path alone");
}

/// A request with one header.
fn with_header(headers: &HashMap<String, String>) -> RequestHead<'_> {
    RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1",
        headers,
        certificate: None,
        peer: "",
        has_body: None,
    }
}

#[test]
fn an_opaque_key_costs_no_allocation_and_a_cookie_one() {
    let (rule, mut facts) = (rule(), Memory::default());
    let key = opaque::key([1; 32]);
    let terms = KeyTerms { owner: "alice".into(), key_type: KeyType::Sandbox, ..KeyTerms::default() };
    facts.1.insert(opaque::hash(&key).unwrap(), Arc::new(Identity::opaque_key(terms)));
    let in_header = HashMap::from([("api_key".to_owned(), key.clone())]);
    assert_eq!(allocations(&rule, &facts, with_header(&in_header), None), 0);
    let in_cookie = HashMap::from([("cookie".to_owned(), format!("a=1; api_key={key}; b=2"))]);
    assert_eq!(allocations(&rule, &facts, with_header(&in_cookie), None), 1, "the other cookies");
}

#[test]
fn a_cached_login_costs_no_allocation() {
    let (rule, facts) = (rule(), Memory::default());
    let headers = HashMap::from([("authorization".to_owned(), "Basic YWxpY2U6c2VjcmV0".to_owned())]);
    let decide = |asked: bool| {
        let before = ALLOCATIONS.with(Cell::get);
        let mut exchange = Exchange::new(&rule, &facts, NOW);
        let mut step = exchange.on_request_head(with_header(&headers));
        assert_eq!(matches!(step, Step::Ask(_)), asked);
        if asked {
            step = exchange.resume(Answer::Identity(Arc::new(Identity::user("alice", ["read"]))), NOW);
        }
        assert!(matches!(&step, Step::Done(Decision::Allow(_))));
        drop(step);
        drop(exchange);
        ALLOCATIONS.with(Cell::get) - before
    };
    assert!(decide(true) > 0);
    assert_eq!(decide(false), 0);
}

/// A proof is another one each time: it is verified, within bounds.
#[test]
fn a_cached_token_costs_no_allocation_and_a_proof_a_hundred() {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};

    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap();
    let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
    let sign = |header: &serde_json::Value, claims: &serde_json::Value| {
        let input = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{input}.{signature}")
    };
    let token = |confirmation: serde_json::Value| {
        let mut claims = serde_json::json!({ "iss": "idp", "sub": "alice", "exp": NOW.0 + 60, "keytype": "SANDBOX" });
        claims["cnf"] = confirmation;
        if claims["cnf"].is_null() {
            claims.as_object_mut().unwrap().remove("cnf");
        }
        sign(&serde_json::json!({ "alg": "ES256" }), &claims)
    };
    let keys = serde_json::json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y }] }).to_string();
    let keys = Arc::new(KeySet::from_jwks(keys.as_bytes()).unwrap());
    let oauth2 = proto::requirement::Kind::Oauth2(proto::OAuth2::default());
    let requirements = vec![proto::Requirement { kind: Some(oauth2) }];
    let book = proto::RuleBook {
        apis: vec![proto::Api::default()],
        policies: vec![proto::Policy {
            alternatives: vec![proto::Alternative { requirements }],
            credential_header: "authorization".into(),
            remove_credentials: true,
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        issuers: vec![proto::Issuer { issuer: "idp".into(), algorithms: vec!["ES256".into()], ..Default::default() }],
        dpop: Some(proto::Dpop { max_age_seconds: 60, ..Default::default() }),
        ..Default::default()
    };
    let (rule, facts) = (Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1), Memory::default());
    let measure = |headers: &HashMap<String, String>, keys: Option<&Arc<KeySet>>| {
        let (method, scheme, authority, path) = ("GET", "https", "api.example", "/v2/pet/1?a=b");
        allocations(
            &rule,
            &facts,
            RequestHead { method, scheme, authority, path, headers, certificate: None, peer: "", has_body: None },
            keys,
        )
    };
    let free = HashMap::from([("authorization".to_owned(), format!("Bearer {}", token(serde_json::Value::Null)))]);
    assert!(measure(&free, Some(&keys)) > 0);
    assert_eq!(measure(&free, None), 0);

    let bound = token(serde_json::json!({ "jkt": encode(&thumbprint) }));
    let proof = sign(
        &serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y } }),
        &serde_json::json!({
            "jti": "one", "htm": "GET", "htu": "https://api.example/v2/pet/1", "iat": NOW.0,
            "ath": encode(&Sha256::digest(&bound)),
        }),
    );
    let bound = HashMap::from([("authorization".to_owned(), format!("DPoP {bound}")), ("dpop".to_owned(), proof)]);
    let first = measure(&bound, Some(&keys));
    let again = measure(&bound, None);
    assert!(again < first && again <= 100, "{again} of {first}");
}

/// Everything is known, nothing was revoked, and everybody is subscribed.
struct Watchful(Memory, Arc<Subscription>);

impl Facts for Watchful {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.get(digest)
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        self.0.put(digest, facts);
    }

    fn subscription(&self, client: &str, _: &Api) -> Subscribed {
        assert_eq!(client, "shop");
        Subscribed::Known(Arc::clone(&self.1), None)
    }

    fn standing(&self, names: &[RevocationName]) -> Standing {
        assert_eq!(names.len(), 4, "id, token, token without its signature, signature");
        Standing::Good
    }
}

#[test]
fn a_cached_token_that_is_not_revoked_and_is_subscribed_costs_no_allocation() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let claims = serde_json::json!({
        "iss": "idp", "sub": "alice", "azp": "shop", "jti": "id", "exp": NOW.0 + 60, "keytype": "SANDBOX",
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
    let keys = serde_json::json!({ "keys": [Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()] });
    let keys = Arc::new(KeySet::from_jwks(keys.to_string().as_bytes()).unwrap());
    let requirement = proto::Requirement { kind: Some(proto::requirement::Kind::Oauth2(proto::OAuth2::default())) };
    let book = proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), version: "1".into(), ..Default::default() }],
        policies: vec![proto::Policy {
            alternatives: vec![proto::Alternative { requirements: vec![requirement] }],
            credential_header: "authorization".into(),
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        issuers: vec![proto::Issuer {
            issuer: "idp".into(),
            algorithms: vec!["ES256".into()],
            validate_subscription: true,
            ..Default::default()
        }],
        revocable: true,
        subscriptions: true,
        ..Default::default()
    };
    let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
    let subscription = Subscription { state: State::Unblocked, ..Subscription::default() };
    let facts = Watchful(Memory::default(), Arc::new(subscription));
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    let head = RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1",
        headers: &headers,
        peer: "",
        certificate: None,
        has_body: None,
    };
    assert!(allocations(&rule, &facts, head, Some(&keys)) > 0, "the counter counts");
    assert_eq!(allocations(&rule, &facts, head, None), 0);
}

#[test]
fn a_cached_opaque_token_costs_no_allocation() {
    let policy = proto::Policy {
        alternatives: vec![proto::Alternative {
            requirements: vec![proto::Requirement {
                kind: Some(proto::requirement::Kind::Oauth2(proto::OAuth2 {
                    scopes: vec!["read".into()],
                    all_scopes: false,
                })),
            }],
        }],
        credential_header: "authorization".into(),
        remove_credentials: true,
        production: true,
        ..Default::default()
    };
    let book = proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), version: "1".into(), ..Default::default() }],
        policies: vec![policy],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        introspection: Some(proto::Introspection { remember_milliseconds: 60_000, ..Default::default() }),
        ..Default::default()
    };
    let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
    let facts = Memory::default();
    let headers = HashMap::from([("authorization".to_owned(), "Bearer 2YotnFZFEjr1zCsicMWpAA".to_owned())]);
    let decide = |asked: bool| {
        let before = ALLOCATIONS.with(Cell::get);
        let mut exchange = Exchange::new(&rule, &facts, NOW);
        let mut step = exchange.on_request_head(with_header(&headers));
        assert_eq!(matches!(step, Step::Ask(_)), asked);
        while let Step::Ask(lookup) = step {
            let Lookup::Introspection { reader, .. } = lookup else { panic!("{lookup:?}") };
            let answer = br#"{"active": true, "sub": "alice", "client_id": "shop", "scope": "read write"}"#;
            step = exchange.resume(Answer::Identity(Arc::new(reader.read(answer).unwrap())), NOW);
        }
        assert!(matches!(&step, Step::Done(Decision::Allow(_))), "{step:?}");
        drop(step);
        drop(exchange);
        ALLOCATIONS.with(Cell::get) - before
    };
    assert!(decide(true) > 0);
    assert_eq!(decide(false), 0);
}

#[test]
fn a_caller_that_the_backend_is_told_of_costs_no_allocation_either() {
    let fact = proto::identity_header::Fact::User.into();
    let book = proto::RuleBook {
        backend_jwt: Some(proto::BackendJwt {
            header: "x-jwt".into(),
            issuer: "gateway".into(),
            lifetime_seconds: 60,
            reuse_seconds: 60,
            ..Default::default()
        }),
        identity_headers: vec![proto::IdentityHeader { fact, name: "x-user".into() }],
        ..book()
    };
    let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
    let (facts, (token, keys)) = (Memory::default(), api_key());
    let headers = HashMap::from([("api_key".to_owned(), token)]);
    let decide = || {
        let before = ALLOCATIONS.with(Cell::get);
        let mut exchange = Exchange::new(&rule, &facts, NOW);
        let mut step = exchange.on_request_head(with_header(&headers));
        while let Step::Ask(lookup) = step {
            let answer = match lookup {
                Lookup::Sign(order) => {
                    let draft = order.terms.draft(&order.identity, order.subscription.as_deref(), None, "id", NOW);
                    let assertion = Assertion::new(draft.claims, draft.until);
                    facts.2.lock().unwrap().insert(order, assertion.clone());
                    Answer::Assertion(assertion)
                }
                _ => Answer::Keys(Arc::clone(&keys)),
            };
            step = exchange.resume(answer, NOW);
        }
        let Step::Done(Decision::Allow(allow)) = &step else { panic!("{step:?}") };
        assert!(allow.assertion.as_ref().unwrap().1.text().contains("admin"));
        assert_eq!(allow.identity_headers.first().unwrap().value(&allow.identity).unwrap(), "admin");
        drop(step);
        drop(exchange);
        ALLOCATIONS.with(Cell::get) - before
    };
    assert!(decide() > 0);
    assert_eq!(decide(), 0);
}

#[test]
fn ten_thousand_rules_cost_two_megabytes() {
    let rule = |index: u32| proto::Rule {
        id: u128::from(index).to_be_bytes().to_vec(),
        api: index / 10,
        policy: 0,
        method: "GET".into(),
        path: format!("/service-{index}/v1/customers/{{customer}}/orders"),
        ..Default::default()
    };
    let api =
        |index: u32| proto::Api { name: format!("service-{index}"), version: "1.0.0".into(), ..Default::default() };
    let book = proto::RuleBook {
        apis: (0..1000).map(api).collect(),
        policies: vec![proto::Policy { credential_header: "authorization".into(), ..Default::default() }],
        rules: (0..10_000).map(rule).collect(),
        ..Default::default()
    };
    let before = HELD.with(Cell::get);
    let rules = Rule::load(&book).unwrap();
    let held = HELD.with(Cell::get) - before;
    assert_eq!(rules.len(), 10_000);
    assert!((500_000..2_000_000).contains(&held), "{held} bytes");
}

/// A certificate is read once. Beside it a token that is bound to it is compared, no more.
#[test]
fn a_known_certificate_costs_no_allocation() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.self_signed(&pair).unwrap();
    let thumbprint: [u8; 32] = Sha256::digest(certificate.der()).into();
    let rule = proto::CertificateRule { pins: vec![thumbprint.to_vec()], ..Default::default() };
    let asks = proto::Requirement {
        kind: Some(proto::requirement::Kind::ClientCertificate(proto::ClientCertificate { optional: false })),
    };
    let book = proto::RuleBook {
        apis: vec![proto::Api::default()],
        policies: vec![proto::Policy {
            alternatives: vec![proto::Alternative { requirements: vec![asks] }],
            credential_header: "authorization".into(),
            production: true,
            client_trust: Some(proto::ClientTrust { rules: vec![rule] }),
            ..Default::default()
        }],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        certificate_header: Some(proto::CertificateHeader {
            name: "x-client-cert".into(),
            addresses: vec![proto::AddressRange { address: vec![10, 0, 0, 0], prefix: 8 }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
    let (facts, pem) = (Memory::default(), certificate.pem());
    let by_header = HashMap::from([("x-client-cert".to_owned(), pem.replace('\n', " "))]);
    let nothing = HashMap::<String, String>::new();
    let shown = Some(ClientCertificate { thumbprint, chain: &pem });
    for (headers, certificate, peer) in [(&nothing, shown, "192.0.2.1"), (&by_header, None, "10.0.0.1")] {
        let head = RequestHead {
            method: "GET",
            scheme: "https",
            authority: "api.example",
            path: "/",
            headers,
            certificate,
            peer,
            has_body: None,
        };
        let decide = || {
            let before = ALLOCATIONS.with(Cell::get);
            let step = Exchange::new(&rule, &facts, NOW).on_request_head(head);
            assert!(matches!(step, Step::Done(Decision::Allow(_))), "{step:?}");
            drop(step);
            ALLOCATIONS.with(Cell::get) - before
        };
        assert!(decide() > 0, "the counter counts");
        assert_eq!(decide(), 0);
    }
}
