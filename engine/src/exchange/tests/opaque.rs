//! Opaque access tokens, and JWTs that the authorization server is asked about.

use super::*;
use crate::fixtures::introspection;
use crate::introspection::Introspection;

const ACTIVE: &str = r#"{"active": true, "sub": "carol", "client_id": "shop", "scope": "read", "exp": 1700000060}"#;

/// `good` is active; everything else is not.
pub(super) fn answer(token: &str, reader: &Introspection) -> Answer {
    let text = if token == "good" { ACTIVE } else { r#"{"active": false}"# };
    reader.read(text.as_bytes()).map_or_else(Answer::Refused, |identity| Answer::Identity(Arc::new(identity)))
}

fn asking(failed_jwts: bool) -> Arc<Rule> {
    let mut book = book(policy(vec![vec![oauth2(&["read"], false)]]));
    book.introspection = Some(proto::Introspection { failed_jwts, ..introspection() });
    Arc::clone(&Rule::load(&book).unwrap()[0].1)
}

/// The outcome, and the kinds of what was asked.
fn outcome(rule: &Rule, authorization: &str, facts: &dyn Facts) -> (Outcome, Vec<&'static str>) {
    let mut asked = Vec::new();
    let request = request().header("authorization", authorization);
    let outcome = run(rule, &request, facts, &mut |lookup| {
        asked.push(lookup.kind());
        super::answer(lookup)
    });
    (outcome, asked)
}

#[test]
fn an_opaque_token_is_asked_about_once() {
    let (rule, facts) = (asking(false), Memory::default());
    let (first, asked) = outcome(&rule, "Bearer good", &facts);
    assert!(matches!(&first, Outcome::Allow { subject: Some(subject), .. } if subject == "carol"), "{first:?}");
    assert_eq!(asked, ["introspection"]);
    assert_eq!(outcome(&rule, "Bearer good", &facts), (first, vec![]));

    let refused = deny(Reason::InvalidCredentials, &[INVALID_TOKEN]);
    assert_eq!(outcome(&rule, "Bearer bad", &facts), (refused.clone(), vec!["introspection"]));
    // A JWT is none of the server's business, however broken.
    assert_eq!(outcome(&rule, "Bearer a.b.c", &facts), (refused.clone(), vec![]));
    let foreign = RSA.token("RS256", &with(access(), json!({"iss": "https://elsewhere.example"})));
    assert_eq!(outcome(&rule, &format!("Bearer {foreign}"), &facts), (refused.clone(), vec![]));
    let long = "x".repeat(crate::MAX_TOKEN_LENGTH + 1);
    assert_eq!(outcome(&rule, &format!("Bearer {long}"), &facts), (refused, vec![]));
}

#[test]
fn a_jwt_that_nobody_vouches_for_is_asked_about_if_that_is_wanted() {
    let (rule, facts) = (asking(true), Memory::default());
    let foreign = RSA.token("RS256", &with(access(), json!({"iss": "https://elsewhere.example"})));
    let (_, asked) = outcome(&rule, &format!("Bearer {foreign}"), &facts);
    assert_eq!(asked, ["introspection"]);
    let forged = P256.token("ES256", &access());
    let (refused, asked) = outcome(&rule, &format!("Bearer {forged}"), &facts);
    assert_eq!(asked, ["keys", "fresh_keys", "introspection"]);
    assert_eq!(refused, deny(Reason::InvalidCredentials, &[INVALID_TOKEN]));
    let (allowed, asked) = outcome(&rule, &format!("Bearer {}", token(json!({}))), &facts);
    assert!(matches!(allowed, Outcome::Allow { .. }));
    assert_eq!(asked, ["keys"]);
}

/// What an issuer is configured to say counts, whatever another server says of its tokens.
#[test]
fn a_jwt_that_breaks_the_rules_of_its_issuer_is_asked_about_by_nobody() {
    let (rule, facts) = (asking(true), Memory::default());
    let mut broken = token(json!({}));
    let last = if broken.pop() == Some('A') { 'Q' } else { 'A' };
    broken.push(last);
    for (token, asks) in
        [(token(json!({"aud": "elsewhere"})), vec![]), (token(json!({"exp": "soon"})), vec![]), (broken, vec!["keys"])]
    {
        let (outcome, asked) = outcome(&rule, &format!("Bearer {token}"), &facts);
        assert_eq!((outcome, asked), (deny(Reason::InvalidCredentials, &[INVALID_TOKEN]), asks), "{token}");
    }
    let key = crate::opaque::key([1; 32]);
    assert_eq!(outcome(&rule, &format!("Bearer {key}"), &facts).1, Vec::<&str>::new(), "an API key is shown to nobody");
}

#[test]
fn without_an_authorization_server_opaque_tokens_are_refused() {
    let policy = policy(vec![vec![oauth2(&[], false)]]);
    let request = request().header("authorization", "Bearer good");
    assert_eq!(decide(&policy, &request), deny(Reason::InvalidCredentials, &[INVALID_TOKEN]));
}

#[test]
fn answers_are_read_strictly() {
    let settings = proto::Introspection {
        issuer: "https://as.example".into(),
        audiences: vec!["gateway".into()],
        ..introspection()
    };
    let reader = Introspection::load(&settings);
    let read = |text: &str| reader.read(text.as_bytes()).map(|_| ());
    assert_eq!(read(r#"{"active": true, "aud": "gateway", "iss": "https://as.example"}"#), Ok(()));
    assert_eq!(read(r#"{"active": true, "aud": ["other", "gateway"]}"#), Ok(()));
    for (text, error) in [
        (r#"{"active": false, "aud": "gateway"}"#, TokenError::Inactive),
        (r#"{"active": "true", "aud": "gateway"}"#, TokenError::Claim("active")),
        (r#"{"aud": "gateway"}"#, TokenError::Claim("active")),
        (r#"{"active": true}"#, TokenError::Audience),
        (r#"{"active": true, "aud": "gateway", "iss": "https://evil.example"}"#, TokenError::UnknownIssuer),
        (r#"{"active": true, "aud": "gateway", "exp": "soon"}"#, TokenError::Claim("exp")),
        (r#"{"active": true, "active": false, "aud": "gateway"}"#, TokenError::Json),
        ("<html>", TokenError::Json),
        ("", TokenError::Json),
    ] {
        assert_eq!(read(text), Err(error), "{text}");
    }
}

#[test]
fn an_answer_holds_no_longer_than_the_token() {
    let (rule, facts) = (asking(false), Memory::default());
    assert!(matches!(outcome(&rule, "Bearer good", &facts).0, Outcome::Allow { .. }));
    let headers = HashMap::from([("authorization".to_owned(), "Bearer good".to_owned())]);
    let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW + 65));
    let step = exchange.on_request_head(head("/v2/pet/1", &headers));
    assert!(matches!(step, Step::Done(Decision::Deny(Deny { reason: Reason::Expired, .. }))), "{step:?}");
}
