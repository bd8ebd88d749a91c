//! Opaque API keys, and keys in cookies.

use super::*;
use crate::identity::{Application, KeyTerms};
use crate::{ApiGrant, KeyType, OpaqueKey, opaque};

const POLICY: fn() -> proto::Policy = || policy(vec![vec![header_key("x-key")]]);

fn terms() -> KeyTerms {
    KeyTerms { id: "key_1".into(), owner: "alice".into(), ..KeyTerms::default() }
}

/// A memory with one opaque key, and the key.
fn known(answer: OpaqueKey) -> (Memory, String) {
    let key = opaque::key([1; 32]);
    let mut memory = Memory::default();
    memory.1.insert(opaque::hash(&key).unwrap(), answer);
    (memory, key)
}

fn outcome(rule: &Rule, facts: &Memory, key: &str) -> Outcome {
    run(rule, &request().header("x-key", key), facts, &mut |lookup| panic!("{lookup:?}"))
}

fn refused(reason: Reason) -> Outcome {
    deny(reason, if reason.fault().status() == 401 { &[API_KEY] } else { &[] })
}

#[test]
fn an_opaque_key_is_known_or_refused_and_nobody_is_asked() {
    let rule = rule(POLICY());
    let live = OpaqueKey::Known(Arc::new(Identity::opaque_key(terms())));
    let (facts, key) = known(live);
    assert!(matches!(outcome(&rule, &facts, &key), Outcome::Allow { subject: Some(owner), .. } if owner == "alice"));
    assert_eq!(facts.len(), 0, "it is not cached: what is revoked is gone");
    for wrong in [&opaque::key([2; 32]), &key[..key.len() - 1], &format!("{key}="), "mgw_"] {
        assert_eq!(outcome(&rule, &facts, wrong), refused(Reason::InvalidCredentials), "{wrong}");
    }
    let (unavailable, _) = known(OpaqueKey::Unavailable);
    assert_eq!(outcome(&rule, &unavailable, &key), refused(Reason::Unavailable));
    let (other_kind, _) = known(OpaqueKey::Known(Arc::new(Identity::user("alice", []))));
    assert_eq!(outcome(&rule, &other_kind, &key), refused(Reason::InvalidCredentials));
    // Whoever has it is no token's holder.
    let tokens = super::rule(policy(vec![vec![oauth2(&[], false)]]));
    let bearer = request().header("authorization", format!("Bearer {key}"));
    assert!(matches!(run(&tokens, &bearer, &facts, &mut answer), Outcome::Deny { .. }));
}

#[test]
fn what_is_kept_with_a_key_counts() {
    let rule = rule(POLICY());
    let outcome_of = |terms: KeyTerms| {
        let (facts, key) = known(OpaqueKey::Known(Arc::new(Identity::opaque_key(terms))));
        outcome(&rule, &facts, &key)
    };
    let grant = |name: &str| ApiGrant { name: name.into(), version: "1.0".into() };
    let apis = |names: &[&str]| KeyTerms { apis: Some(names.iter().map(|name| grant(name)).collect()), ..terms() };
    let expires = |at| KeyTerms { expires: Some(UnixTime(at)), ..terms() };
    assert!(matches!(outcome_of(apis(&["other", "pets"])), Outcome::Allow { .. }));
    assert_eq!(outcome_of(apis(&["other"])), refused(Reason::ApiForbidden));
    assert_eq!(outcome_of(apis(&[])), refused(Reason::ApiForbidden));
    assert!(matches!(outcome_of(expires(NOW + 1)), Outcome::Allow { .. }));
    assert_eq!(outcome_of(expires(NOW)), refused(Reason::Expired));
    let sandbox = KeyTerms { key_type: KeyType::Sandbox, ..terms() };
    assert!(matches!(outcome_of(sandbox), Outcome::Allow { environment: Some("sandbox"), .. }));

    let application = Application { name: Some("shop".into()), ..Application::default() };
    let metadata = [("team".into(), "a".into())].into();
    let full = KeyTerms { application: Some(application), tier: Some("Gold".into()), metadata, ..terms() };
    let identity = Identity::opaque_key(full);
    assert_eq!((identity.key_id(), identity.tier()), (Some("key_1"), Some("Gold")));
    assert_eq!(identity.application().unwrap().name.as_deref(), Some("shop"));
    assert_eq!(identity.metadata(), [("team".into(), "a".into())]);
    assert!(identity.weight() > Identity::opaque_key(terms()).weight());
}

#[test]
fn keys_must_list_apis_where_that_is_asked_of_all() {
    let mut book = book(POLICY());
    book.api_keys.as_mut().unwrap().require_allowed_apis = true;
    let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
    let (facts, key) = known(OpaqueKey::Known(Arc::new(Identity::opaque_key(terms()))));
    assert_eq!(outcome(&rule, &facts, &key), refused(Reason::InvalidCredentials));
}

/// The decision, and what becomes of the cookies.
fn cookies(header: &str) -> Result<Option<String>, Reason> {
    let rule = rule(policy(vec![vec![cookie_key("key")], vec![header_key("x-key"), cookie_key("other")]]));
    let headers = HashMap::from([("cookie".to_owned(), header.to_owned())]);
    let facts = Memory::default();
    let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW));
    let mut step = exchange.on_request_head(head("/v2/pet/1", &headers));
    loop {
        match step {
            Step::Ask(lookup) => step = exchange.resume(answer(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(allow)) => return Ok(allow.cookie),
            Step::Done(Decision::Deny(deny)) => return Err(deny.reason),
        }
    }
}

#[test]
fn a_key_in_a_cookie_is_found_and_cut_out() {
    let key = key(json!({}));
    for (header, kept) in [
        ("key=KEY", ""),
        ("a=1; key=KEY; b=\"2\"", "a=1; b=\"2\""),
        ("key=\"KEY\"; a=1", "a=1"),
        ("other=x; key=KEY; a=1", "a=1"),
    ] {
        assert_eq!(cookies(&header.replace("KEY", &key)), Ok(Some(kept.to_owned())), "{header}");
    }
    for (header, reason) in [
        ("", Reason::MissingCredentials),
        ("key=", Reason::MissingCredentials),
        ("Key=KEY", Reason::MissingCredentials),
        ("key=KEY; key=KEY", Reason::InvalidCredentials),
        ("key=KEY,a=1", Reason::InvalidCredentials),
        ("key=nonsense", Reason::InvalidCredentials),
    ] {
        assert_eq!(cookies(&header.replace("KEY", &key)), Err(reason), "{header}");
    }
}
