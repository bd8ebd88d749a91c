//! Requests whose backend is told who calls.

use std::sync::Mutex;

use super::*;
use crate::backend_jwt::{Assertion, Order};
use crate::fixtures::basic;

/// A cache that keeps what it is given, identities and JWTs.
#[derive(Default)]
struct Kept {
    memory: Memory,
    assertions: Mutex<HashMap<Order, Assertion>>,
}

impl Facts for Kept {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.memory.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.memory.put(digest, identity);
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.assertions.lock().unwrap().get(order).cloned()
    }
}

fn telling() -> Arc<Rule> {
    let mut book = book(policy(vec![vec![oauth2(&[], false)], vec![basic(&[])]]));
    book.backend_jwt = Some(proto::BackendJwt {
        header: "x-jwt".into(),
        issuer: "us".into(),
        lifetime_seconds: 60,
        reuse_seconds: 60,
        ..Default::default()
    });
    Arc::clone(&Rule::load(&book).unwrap()[0].1)
}

/// The JWT that the backend is sent, or why there is none; and what was asked.
fn ask(
    rule: &Rule,
    facts: &Kept,
    authorization: &str,
    sign: &mut dyn FnMut(&Order) -> Answer,
    times: (u64, u64),
) -> (Result<String, Reason>, Vec<&'static str>) {
    let headers = HashMap::from([("authorization".to_owned(), authorization.to_owned())]);
    let mut exchange = Exchange::new(rule, facts, UnixTime(times.0));
    let mut step = exchange.on_request_head(head("/v2/pet/1", &headers));
    let mut asked = Vec::new();
    loop {
        match step {
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(allow)) => {
                let (name, assertion) = allow.assertion.unwrap();
                assert_eq!(name, "x-jwt");
                return (Ok(assertion.text().to_owned()), asked);
            }
            Step::Done(Decision::Deny(deny)) => return (Err(deny.reason), asked),
            Step::Ask(lookup) => {
                asked.push(lookup.kind());
                let answer = match &lookup {
                    Lookup::Sign(order) => sign(order),
                    other => super::answer(other),
                };
                step = exchange.resume(answer, UnixTime(times.1));
            }
        }
    }
}

fn bearer() -> String {
    format!("Bearer {}", token(json!({})))
}

#[test]
fn is_signed_once_and_then_remembered() {
    let (rule, facts) = (telling(), Kept::default());
    let mut sign = |order: &Order| {
        let draft = order.terms.draft(&order.identity, order.subscription.as_deref(), None, "id", UnixTime(NOW));
        let assertion = Assertion::new(draft.claims, draft.until);
        facts.assertions.lock().unwrap().insert(order.clone(), assertion.clone());
        Answer::Assertion(assertion)
    };
    let (first, asked) = ask(&rule, &facts, &bearer(), &mut sign, (NOW, NOW));
    assert!(first.as_ref().unwrap().contains("\"sub\":\"alice\""));
    assert_eq!(asked, ["keys", "sign"]);
    assert_eq!(ask(&rule, &facts, &bearer(), &mut sign, (NOW, NOW)), (first, vec![]));
    // Its time is over; the token's is not.
    let (_, asked) = ask(&rule, &facts, &bearer(), &mut sign, (NOW + 61, NOW + 61));
    assert_eq!(asked, ["sign"]);
}

#[test]
fn nobody_is_let_through_without_it() {
    let (rule, facts) = (telling(), Kept::default());
    for answer in [Answer::Unavailable, Answer::Refused(TokenError::Inactive)] {
        let (outcome, asked) = ask(&rule, &facts, &bearer(), &mut |_| answer.clone(), (NOW, NOW));
        assert_eq!(outcome, Err(Reason::Unavailable));
        assert_eq!(asked.last(), Some(&"sign"));
    }
    // An identity is no signature.
    let (outcome, _) = ask(&rule, &facts, &bearer(), &mut |o| Answer::Identity(o.identity.clone()), (NOW, NOW));
    assert_eq!(outcome, Err(Reason::Unavailable));
}

#[test]
fn a_token_that_ends_while_it_is_signed_for_is_refused() {
    let (rule, facts) = (telling(), Kept::default());
    let mut sign = |_: &Order| Answer::Assertion(Assertion::new("made", UnixTime(NOW + 1000)));
    let (outcome, _) = ask(&rule, &facts, &bearer(), &mut sign, (NOW, NOW + 65));
    assert_eq!(outcome, Err(Reason::Expired));
    // One that ends at once is used all the same: it was made for this request.
    let mut sign = |_: &Order| Answer::Assertion(Assertion::new("made", UnixTime(NOW)));
    let (outcome, _) = ask(&rule, &facts, &bearer(), &mut sign, (NOW, NOW));
    assert_eq!(outcome, Ok("made".to_owned()));
}
