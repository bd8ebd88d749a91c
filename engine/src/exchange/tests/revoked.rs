//! Credentials that were taken back.

use std::collections::HashSet;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::facts::OpaqueKey;
use crate::fixtures::{basic, introspection};
use crate::identity::KeyTerms;
use crate::opaque::KeyHash;
use crate::revocation::signature;
use crate::{RevocationName, Revoked, Standing};

/// What is cached, and what was revoked. `None`: nobody knows.
#[derive(Default)]
struct Feed {
    memory: Memory,
    revoked: Mutex<Option<HashSet<RevocationName>>>,
}

impl Feed {
    fn say(&self, revoked: &[Revoked<'_>]) {
        *self.revoked.lock().unwrap() = Some(revoked.iter().map(Revoked::name).collect());
    }
}

impl Facts for Feed {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.memory.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.memory.put(digest, identity);
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        Some(&[0; 32])
    }

    fn opaque_key(&self, _: &KeyHash) -> OpaqueKey {
        OpaqueKey::Known(Arc::new(Identity::opaque_key(KeyTerms { id: "key_1".into(), ..KeyTerms::default() })))
    }

    fn standing(&self, names: &[RevocationName]) -> Standing {
        match &*self.revoked.lock().unwrap() {
            None => Standing::Unknown,
            Some(revoked) if names.iter().any(|name| revoked.contains(name)) => Standing::Revoked,
            Some(_) => Standing::Good,
        }
    }
}

fn revocable(kind: proto::requirement::Kind) -> Arc<Rule> {
    let mut book = book(policy(vec![vec![kind]]));
    book.revocable = true;
    book.introspection = Some(introspection());
    Arc::clone(&Rule::load(&book).unwrap()[0].1)
}

/// What is answered, and whether anybody was asked.
fn ask(rule: &Rule, request: &Request, facts: &Feed) -> (Option<Reason>, bool) {
    let mut asked = false;
    let outcome = run(rule, request, facts, &mut |lookup| {
        asked = true;
        answer(lookup)
    });
    match outcome {
        Outcome::Allow { .. } => (None, asked),
        Outcome::Deny { reason, .. } => (Some(reason), asked),
    }
}

#[test]
fn every_kind_of_credential_by_each_of_its_names_cached_or_not() {
    let token = token(json!({"jti": "id"}));
    let key = key(json!({"jti": "id"}));
    let digest = |text: &str| Revoked::Token(Sha256::digest(text).into());
    let bearer = |token: &str| request().header("authorization", format!("Bearer {token}"));
    let login = request().header("authorization", format!("Basic {}", STANDARD.encode("alice:secret")));
    let cases: [(_, Request, Vec<Revoked<'_>>); 4] = [
        (
            oauth2(&[], false),
            bearer(&token),
            vec![Revoked::TokenId("id"), digest(&token), Revoked::Signature(signature(&token).unwrap())],
        ),
        (oauth2(&[], false), bearer("good"), vec![digest("good")]),
        (
            header_key("api_key"),
            request().header("api_key", key.clone()),
            vec![
                Revoked::TokenId("id"),
                Revoked::KeyId("id"),
                digest(&key),
                Revoked::Signature(signature(&key).unwrap()),
            ],
        ),
        (basic(&[]), login, vec![Revoked::User("alice")]),
    ];
    for (kind, request, names) in cases {
        let rule = revocable(kind);
        for name in names {
            // A wrong password is answered the same.
            let reason = if let Revoked::User(_) = name { Reason::LoginFailed } else { Reason::Revoked };
            let feed = Feed::default();
            feed.say(&[]);
            assert_eq!(ask(&rule, &request, &feed), (None, true), "{name:?}");
            assert_eq!(ask(&rule, &request, &feed), (None, false), "{name:?}");
            feed.say(&[name]);
            assert_eq!(ask(&rule, &request, &feed), (Some(reason), false), "{name:?} of what is cached");
            let unknown = Feed::default();
            unknown.say(&[name]);
            assert_eq!(ask(&rule, &request, &unknown).0, Some(reason), "{name:?} of what is not");
            // In another role the same text is somebody else.
            feed.say(&[Revoked::User("id"), Revoked::TokenId("alice"), Revoked::Certificate([0; 32])]);
            assert_eq!(ask(&rule, &request, &feed), (None, false), "{name:?}");
        }
        let nobody = Feed::default();
        assert_eq!(ask(&rule, &request, &nobody).0, Some(Reason::RevocationsUnknown));
    }
}

/// ECDSA takes `s` and `n - s`: the same token has two texts.
#[test]
fn a_jwt_however_its_signature_is_written() {
    let key = key(json!({}));
    let (signed, signature) = key.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    negate(&mut bytes[32..]);
    let other = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_ne!(other, key);
    let rule = revocable(header_key("api_key"));
    let feed = Feed::default();
    feed.say(&[]);
    let request = request().header("api_key", other);
    assert_eq!(ask(&rule, &request, &feed).0, None, "both are genuine");
    feed.say(&[Revoked::Token(Sha256::digest(crate::signed(&key).unwrap()).into())]);
    assert_eq!(ask(&rule, &request, &feed).0, Some(Reason::Revoked));
}

/// `n - s` on P-256.
fn negate(s: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut borrow = false;
    for (byte, order) in s.iter_mut().zip(ORDER).rev() {
        let (difference, first) = order.overflowing_sub(*byte);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (difference, first || second);
    }
}

#[test]
fn a_token_whose_certificate_was_revoked() {
    let own = [7; 32];
    let jwt = token(json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(own)}}));
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {jwt}"))]);
    let (rule, feed) = (revocable(oauth2(&[], false)), Feed::default());
    let certificate = Some(ClientCertificate { thumbprint: own, chain: "" });
    let passes = || {
        let mut exchange = Exchange::new(&rule, &feed, UnixTime(NOW));
        let mut step = exchange.on_request_head(RequestHead { certificate, ..head("/v2/pet/1", &headers) });
        while let Step::Ask(lookup) = step {
            step = exchange.resume(answer(&lookup), UnixTime(NOW));
        }
        matches!(step, Step::Done(Decision::Allow(_)))
    };
    feed.say(&[]);
    assert!(passes() && passes());
    feed.say(&[Revoked::Certificate(own)]);
    assert!(!passes());
}

#[test]
fn opaque_keys_by_their_id_and_by_themselves() {
    let (rule, key) = (revocable(header_key("api_key")), crate::opaque::key([7; 32]));
    let request = request().header("api_key", key.clone());
    let feed = Feed::default();
    assert_eq!(ask(&rule, &request, &feed), (Some(Reason::RevocationsUnknown), false));
    feed.say(&[Revoked::KeyId("key_2")]);
    assert_eq!(ask(&rule, &request, &feed), (None, false));
    for name in [Revoked::KeyId("key_1"), Revoked::Token(Sha256::digest(&key).into())] {
        feed.say(&[name]);
        assert_eq!(ask(&rule, &request, &feed), (Some(Reason::Revoked), false), "{name:?}");
    }
}

#[test]
fn who_does_not_know_of_revocations_lets_nobody_in_where_they_are_asked_for() {
    let request = request().bearer(json!({"jti": "id"}));
    let outcome = run(&revocable(oauth2(&[], false)), &request, &Memory::default(), &mut answer);
    assert_eq!(outcome, deny(Reason::RevocationsUnknown, &[]));
}

#[test]
fn where_nothing_can_be_revoked_nothing_is_asked_and_nothing_kept() {
    let rule = rule(policy(vec![vec![oauth2(&[], false)]]));
    let facts = Feed::default();
    let request = request().bearer(json!({"jti": "id"}));
    assert_eq!(ask(&rule, &request, &facts), (None, true));
    let headers = request.headers;
    let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW));
    let Step::Done(Decision::Allow(allow)) = exchange.on_request_head(head("/v2/pet/1", &headers)) else {
        panic!("not cached")
    };
    assert!(allow.identity.names.is_empty() && allow.identity.id.is_none());
}
