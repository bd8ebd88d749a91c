//! Users with passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::fixtures::basic;

/// One user, `alice`, whose password is `secret` and who has the scope `read`.
pub(super) fn answer(user: &str, password: &str) -> Answer {
    match (user, password) {
        ("alice", "secret") => Answer::Identity(Arc::new(Identity::user("alice", ["read"]))),
        _ => Answer::Refused(TokenError::Password),
    }
}

fn login(text: &str) -> Request {
    request().header("authorization", format!("Basic {}", STANDARD.encode(text)))
}

const BASIC: &str = "Basic realm=\"micro-gw\", charset=\"UTF-8\"";

#[test]
fn reasons_and_challenges_of_users() {
    let policy = policy(vec![vec![basic(&["read"])]]);
    for (request, reason) in [
        (request(), Reason::MissingCredentials),
        (request().header("authorization", "Bearer a.b.c"), Reason::InvalidScheme),
        (request().header("authorization", "Basic ?"), Reason::MalformedLogin),
        (request().header("authorization", "Basic"), Reason::MalformedLogin),
        (login("alice"), Reason::MalformedLogin),
        (login("alice:wrong"), Reason::LoginFailed),
        (login("bob:secret"), Reason::LoginFailed),
        (login(":"), Reason::LoginFailed),
    ] {
        assert_eq!(decide(&policy, &request), deny(reason, &[BASIC]), "{:?}", request.headers);
    }
    let Outcome::Allow { subject, remove, .. } = decide(&policy, &login("alice:secret")) else { panic!("refused") };
    assert_eq!((subject.as_deref(), remove), (Some("alice"), vec!["authorization".to_owned()]));
    let other = crate::fixtures::policy(vec![vec![basic(&["write"])]]);
    assert_eq!(decide(&other, &login("alice:secret")), deny(Reason::InsufficientScope, &[]));
}

#[test]
fn tokens_and_users_share_a_header() {
    let policy = policy(vec![vec![oauth2(&[], false)], vec![basic(&[])]]);
    assert!(matches!(decide(&policy, &login("alice:secret")), Outcome::Allow { .. }));
    assert!(matches!(decide(&policy, &request().bearer(json!({}))), Outcome::Allow { .. }));
    assert_eq!(decide(&policy, &login("alice:wrong")), deny(Reason::LoginFailed, &[BEARER, BASIC]));
    assert_eq!(
        decide(&policy, &request().header("authorization", "Bearer bad")),
        deny(Reason::InvalidCredentials, &[INVALID_TOKEN, BASIC])
    );
    let both = crate::fixtures::policy(vec![vec![oauth2(&[], false), basic(&[])]]);
    assert!(matches!(decide(&both, &login("alice:secret")), Outcome::Deny { .. }), "one header cannot hold both");
}

#[test]
fn what_is_cached_is_no_password() {
    let (rule, facts) = (rule(policy(vec![vec![basic(&[])]])), Memory::default());
    let mut asked = 0;
    let mut run = |request: &Request| {
        let outcome = run(&rule, request, &facts, &mut |lookup| {
            asked += 1;
            assert!(!format!("{lookup:?}").contains("secret"));
            super::answer(lookup)
        });
        (matches!(outcome, Outcome::Allow { .. }), asked)
    };
    assert_eq!(run(&login("alice:secret")), (true, 1));
    assert_eq!(run(&login("alice:secret")), (true, 1));
    assert_eq!(run(&login("alice:wrong")), (false, 2));
    assert_eq!(run(&login("alice:wrong")), (false, 3), "what is wrong is not remembered here");
}

#[test]
fn an_answer_about_another_kind_of_credential_lets_nobody_in() {
    let rule = rule(policy(vec![vec![oauth2(&[], false)]]));
    let outcome = run(&rule, &request().bearer(json!({})), &Memory::default(), &mut |_| {
        Answer::Identity(Arc::new(Identity::user("alice", [])))
    });
    assert_eq!(outcome, deny(Reason::Unavailable, &[]));
}

/// A host without a secret.
struct Open(Memory);

impl Facts for Open {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.0.put(digest, identity);
    }
}

#[test]
fn without_a_secret_no_password_is_remembered() {
    let (rule, facts) = (rule(policy(vec![vec![basic(&[])]])), Open(Memory::default()));
    for asked in 1..3 {
        let mut count = 0;
        let outcome = run(&rule, &login("alice:secret"), &facts, &mut |lookup| {
            count += 1;
            super::answer(lookup)
        });
        assert!(matches!(outcome, Outcome::Allow { .. }));
        assert_eq!((count, facts.0.len()), (1, 0), "{asked}");
    }
    // The same login is another entry for another secret.
    let realm = &rule.realm;
    let digest = |secret| CredentialDigest::new(realm, CredentialKind::User, "x", secret);
    assert!(digest(Some(&[1; 32])) != digest(Some(&[2; 32])) && digest(Some(&[1; 32])) != digest(None));
}

#[test]
fn who_failed_too_often_waits_and_other_ways_in_stay_open() {
    let rule = rule(policy(vec![vec![basic(&[])], vec![header_key("x-key")]]));
    let decide = |request: &Request| {
        let facts = Memory::default();
        let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW));
        let mut step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
        loop {
            let lookup = match step {
                Step::Ask(lookup) => lookup,
                Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                    unreachable!("no rule here looks at bodies")
                }
                Step::Done(Decision::Allow(_)) => return None,
                Step::Done(Decision::Deny(deny)) => {
                    return Some((deny.reason, deny.retry_after, deny.challenges.len()));
                }
            };
            let answer = match &lookup {
                Lookup::Password { .. } => Answer::Slowed { seconds: 12 },
                other => super::answer(other),
            };
            step = exchange.resume(answer, UnixTime(NOW));
        }
    };
    assert_eq!(decide(&login("alice:secret")), Some((Reason::TooManyLogins, Some(12), 0)));
    assert_eq!(decide(&login("alice:secret").header("x-key", "bad")), Some((Reason::TooManyLogins, Some(12), 0)));
    assert_eq!(decide(&login("alice:secret").header("x-key", key(json!({})))), None);
}
