use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use microgw_engine::{Identity, Rule};
use microgw_proto::rules::v1 as proto;
use serde_json::Value;

use super::*;

const LIFETIME: Duration = Duration::from_secs(900);

fn key(algorithm: SigningAlgorithm) -> BackendKey {
    BackendKey::from_pem(&BackendKey::generate(algorithm).unwrap(), algorithm, None).unwrap()
}

/// An order for a user's JWT, as the engine makes it.
fn order(user: &str) -> Order {
    let book = proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), version: "1".into(), ..Default::default() }],
        policies: vec![proto::Policy { credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
        backend_jwt: Some(proto::BackendJwt {
            header: "x-jwt".into(),
            issuer: "us".into(),
            audiences: vec!["backend".into()],
            lifetime_seconds: 900,
            reuse_seconds: 900,
            ..Default::default()
        }),
        ..Default::default()
    };
    let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
    let identity = Arc::new(Identity::user(user, ["read"]));
    Order { terms: Arc::clone(rule.backend_jwt().unwrap()), identity, subscription: None }
}

/// By a library of others, with nothing but the key set.
fn verified(token: &str, key_set: &str) -> Option<Value> {
    let keys: JwkSet = serde_json::from_str(key_set).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let jwk = keys.find(header.kid.as_deref().unwrap())?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["backend"]);
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).ok().map(|token| token.claims)
}

async fn signed(signer: &Arc<BackendJwts>, order: &Order) -> Assertion {
    let Answer::Assertion(assertion) = signer.sign(order).await else { panic!("not signed") };
    assertion
}

#[tokio::test]
async fn others_can_verify_it() {
    for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
        let signer = BackendJwts::start(key(algorithm), KeySet::default(), LIFETIME, AssertionCache::new(10), None);
        let assertion = signed(&signer, &order("alice")).await;
        let claims = verified(assertion.text(), &signer.key_set()).unwrap();
        assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some("alice"), Some("backend")));
        let header = jsonwebtoken::decode_header(assertion.text()).unwrap();
        assert_eq!((header.typ.as_deref(), format!("{:?}", header.alg)), (Some("JWT"), algorithm.as_str().to_owned()));
        assert!(!format!("{signer:?}").contains("PRIVATE"));
    }
}

#[tokio::test]
async fn whoever_orders_the_same_gets_the_same() {
    let signer =
        BackendJwts::start(key(SigningAlgorithm::Es256), KeySet::default(), LIFETIME, AssertionCache::new(10), None);
    let one = order("alice");
    let all = futures_util::future::join_all((0..50).map(|_| signed(&signer, &one))).await;
    assert!(all.iter().all(|assertion| *assertion == all[0]), "it was signed more than once");
    assert_eq!(signer.cache.get(&one).as_ref(), Some(&all[0]));
    // The same user, found out anew, is another identity.
    assert_eq!(signer.cache.get(&order("alice")), None);
    assert!(signer.flights.lock().unwrap().is_empty());
}

#[tokio::test]
async fn those_who_wait_are_counted() {
    let signer =
        BackendJwts::start(key(SigningAlgorithm::Es256), KeySet::default(), LIFETIME, AssertionCache::new(0), None);
    let held = signer.permits.acquire_many(u32::try_from(signer.permits.available_permits()).unwrap()).await.unwrap();
    let waiting: Vec<_> = (0..MAX_WAITING).map(|_| order("alice")).collect();
    let flights: Vec<_> = waiting.iter().map(|order| signer.board(order).unwrap()).collect();
    assert!(matches!(signer.sign(&order("bob")).await, Answer::Unavailable));
    // Who wants what is wanted already waits with the others.
    assert!(signer.board(&waiting[0]).is_some());
    drop(held);
    for mut flight in flights {
        assert!(flight.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_some());
    }
    assert!(matches!(signer.sign(&order("bob")).await, Answer::Assertion(_)));
}

#[tokio::test]
async fn the_last_key_stays_published_until_nothing_it_signed_is_used() {
    let (first, second) = (key(SigningAlgorithm::Es256), key(SigningAlgorithm::Es256));
    let next = KeySet::join([key(SigningAlgorithm::Rs256).public().clone()]);
    let signer = BackendJwts::start(first, next.clone(), LIFETIME, AssertionCache::new(10), None);
    let keys = |signer: &BackendJwts| serde_json::from_str::<JwkSet>(&signer.key_set()).unwrap().keys.len();
    assert_eq!(keys(&signer), 2, "its own and the next");
    let old = signed(&signer, &order("alice")).await;
    signer.replace(second, KeySet::default());
    let new = signed(&signer, &order("alice")).await;
    assert_eq!(keys(&signer), 2);
    assert!(verified(old.text(), &signer.key_set()).is_some() && verified(new.text(), &signer.key_set()).is_some());
    for (_, until) in &mut signer.published.lock().unwrap().retired {
        *until = Instant::now();
    }
    assert!(verified(old.text(), &signer.key_set()).is_none() && verified(new.text(), &signer.key_set()).is_some());
}

#[test]
fn a_key_fits_its_algorithm() {
    let [rsa, ec] =
        [SigningAlgorithm::Rs256, SigningAlgorithm::Es256].map(|algorithm| BackendKey::generate(algorithm).unwrap());
    let read = |pem: &str, algorithm| BackendKey::from_pem(pem, algorithm, None).map(|_| ());
    assert_eq!(read(&rsa, SigningAlgorithm::Es256), Err(BackendKeyError::NoP256));
    assert_eq!(read(&ec, SigningAlgorithm::Rs256), Err(BackendKeyError::NoRsa));
    assert_eq!(read("nonsense", SigningAlgorithm::Rs256), Err(BackendKeyError::NoRsa));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    assert_eq!(read(&p384, SigningAlgorithm::Es256), Err(BackendKeyError::NoP256));
}

#[test]
fn a_certificate_is_named_by_its_thumbprints() {
    let pem = BackendKey::generate(SigningAlgorithm::Es256).unwrap();
    let key = BackendKey::from_pem(&pem, SigningAlgorithm::Es256, Some(b"certificate")).unwrap();
    let token = key.sign("{}").unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    // SHA-1 and SHA-256 of `certificate`.
    assert_eq!(header["x5t"].as_str().map(str::len), Some(27));
    assert_eq!(header["x5t#S256"].as_str().map(str::len), Some(43));
    assert_eq!(header["kid"].as_str(), Some(key.id()));
}
