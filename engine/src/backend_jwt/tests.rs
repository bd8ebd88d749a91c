use serde_json::{Value, json};

use super::*;
use crate::CredentialKind;
use crate::fixtures::NOW;
use crate::identity::Application;

fn settings() -> proto::BackendJwt {
    proto::BackendJwt {
        header: "x-jwt-assertion".into(),
        issuer: "us".into(),
        audiences: vec!["backend".into()],
        dialect: "http://wso2.org/claims".into(),
        restricted: vec!["secret".into()],
        lifetime_seconds: 900,
        reuse_seconds: 900,
    }
}

fn api() -> Api {
    Api { name: "pets \"&\" more".into(), version: "1.0".into(), base_path: "/v2".into(), of_hosts: false }
}

fn terms(settings: &proto::BackendJwt) -> Terms {
    Terms::load(settings, &Arc::new(Kept::load(settings)), &api()).unwrap()
}

fn object(value: &Value) -> Object {
    json::object(value.to_string().as_bytes()).unwrap()
}

/// A caller whose token had these claims.
fn caller(claims: &Value) -> Identity {
    Identity {
        subject: Some("alice".into()),
        scopes: ["read", "write"].map(Box::from).into(),
        passed_on: Some(Kept::load(&settings()).text(&object(claims)).unwrap()),
        ..Identity::new(CredentialKind::AccessToken)
    }
}

fn claims(draft: &Draft) -> Value {
    // It refuses repeated members.
    json::object(draft.claims.as_bytes()).unwrap();
    serde_json::from_str(&draft.claims).unwrap()
}

#[test]
fn says_who_calls_what() {
    let identity = Identity {
        application: Some(Box::new(Application {
            id: Some("7".into()),
            owner: Some("bob".into()),
            ..Default::default()
        })),
        ..caller(&json!({ "email": "a@b", "deep": { "a": [1, 2.5, null] } }))
    };
    assert_eq!(
        claims(&terms(&settings()).draft(&identity, None, None, "id", UnixTime(NOW))),
        json!({
            "iss": "us", "aud": "backend", "jti": "id", "iat": NOW, "exp": NOW + 900, "sub": "alice",
            "scopes": "read write", "email": "a@b", "deep": { "a": [1, 2.5, null] },
            "http://wso2.org/claims/enduser": "alice",
            "http://wso2.org/claims/apiname": "pets \"&\" more",
            "http://wso2.org/claims/apicontext": "/v2",
            "http://wso2.org/claims/version": "1.0",
            "http://wso2.org/claims/applicationid": "7",
            "http://wso2.org/claims/subscriber": "bob",
            "http://wso2.org/claims/keytype": "PRODUCTION",
            "http://wso2.org/claims/credential": "access_token",
            "http://wso2.org/claims/usertype": "Application_User",
        })
    );
    let several = proto::BackendJwt { audiences: vec!["a".into(), "b".into()], ..settings() };
    let nobody = Identity::new(CredentialKind::ApiKey);
    let draft = claims(&terms(&several).draft(&nobody, None, None, "id", UnixTime(NOW)));
    assert_eq!((&draft["aud"], draft.get("sub"), draft.get("scopes")), (&json!(["a", "b"]), None, None));
    let none = proto::BackendJwt { audiences: vec![], ..settings() };
    assert_eq!(claims(&terms(&none).draft(&nobody, None, None, "id", UnixTime(NOW))).get("aud"), None);
}

#[test]
fn a_token_cannot_say_what_the_gateway_says() {
    let mut forged = serde_json::Map::from_iter([("secret".to_owned(), json!(1))]);
    for name in RESTRICTED {
        forged.insert(name.to_owned(), json!("forged"));
    }
    for name in OWN {
        forged.insert(format!("http://wso2.org/claims/{name}"), json!("forged"));
    }
    let more = forged.iter().map(|(name, value)| json!({ "uri": name, "value": value })).collect::<Vec<_>>();
    let more = UserClaims::read(json!({ "list": more }).to_string().as_bytes()).unwrap();
    let draft = terms(&settings()).draft(&caller(&Value::Object(forged)), None, Some(&more), "id", UnixTime(NOW));
    assert!(!draft.claims.contains("forged") && !draft.claims.contains("secret"), "{}", draft.claims);
    claims(&draft);
}

#[test]
fn what_is_known_of_the_user_does_not_replace_what_the_token_says() {
    let answer = br#"{"count": 2, "list": [{"uri": "email", "value": "other"}, {"uri": "role", "value": "admin"}]}"#;
    let more = UserClaims::read(answer).unwrap();
    let draft =
        claims(&terms(&settings()).draft(&caller(&json!({ "email": "a@b" })), None, Some(&more), "id", UnixTime(NOW)));
    assert_eq!((&draft["email"], &draft["role"]), (&json!("a@b"), &json!("admin")));
    let draft = claims(&terms(&settings()).draft(&caller(&json!({})), None, Some(&more), "id", UnixTime(NOW)));
    assert_eq!((&draft["email"], &draft["role"]), (&json!("other"), &json!("admin")));
}

#[test]
fn answers_about_users_are_read_strictly() {
    assert!(UserClaims::read(br#"{"list": []}"#).is_ok());
    let long = json!({ "list": [{ "uri": "a", "value": "x".repeat(MAX_PASSED_ON) }] }).to_string();
    for (answer, error) in [
        ("", UserClaimsError::Json),
        ("[]", UserClaimsError::Json),
        ("{}", UserClaimsError::List),
        (r#"{"list": {}}"#, UserClaimsError::List),
        (r#"{"list": [{"uri": "a"}]}"#, UserClaimsError::List),
        (r#"{"list": [{"value": "a"}]}"#, UserClaimsError::List),
        (r#"{"list": [{"uri": "a", "value": 1}, {"uri": "a", "value": 2}]}"#, UserClaimsError::List),
        (&long, UserClaimsError::TooLong),
    ] {
        assert_eq!(UserClaims::read(answer.as_bytes()), Err(error), "{answer}");
    }
}

#[test]
fn a_token_with_too_many_claims_is_refused_whole() {
    let kept = Kept::load(&settings());
    let text = |length: usize| kept.text(&object(&json!({ "a": "x".repeat(length) }))).map(|text| text.len());
    assert_eq!(text(MAX_PASSED_ON - 8), Ok(MAX_PASSED_ON));
    assert_eq!(text(MAX_PASSED_ON - 7), Err(TokenError::TooManyClaims));
    // What is not passed on does not count.
    let long = json!({ "secret": "x".repeat(MAX_PASSED_ON), "sub": "x".repeat(MAX_PASSED_ON) });
    assert_eq!(kept.text(&object(&long)).as_deref(), Ok("{}"));
}

#[test]
fn ends_with_its_credential_and_is_made_anew_before_it_ends() {
    let until = |lifetime_seconds, reuse_seconds, expires: Option<u64>| {
        let settings = proto::BackendJwt { lifetime_seconds, reuse_seconds, ..settings() };
        let identity = Identity { expires: expires.map(UnixTime), ..caller(&json!({})) };
        let draft = terms(&settings).draft(&identity, None, None, "id", UnixTime(NOW));
        (claims(&draft)["exp"].as_u64().unwrap() - NOW, draft.until.0 - NOW)
    };
    assert_eq!(until(900, 900, None), (900, 870));
    assert_eq!(until(900, 60, None), (900, 60));
    assert_eq!(until(20, 900, None), (20, 15));
    assert_eq!(until(900, 0, None), (900, 0));
    assert_eq!(until(900, 900, Some(NOW + 100)), (100, 100));
    assert_eq!(until(900, 900, Some(NOW + 1)), (1, 1));
    assert_eq!(until(900, 900, Some(NOW + 1000)), (900, 870));
    let assertion = Assertion::new("text", UnixTime(NOW));
    assert!(assertion.is_good(UnixTime(NOW - 1)) && !assertion.is_good(UnixTime(NOW)));
}

#[test]
fn terms_are_named_by_what_they_say() {
    assert_eq!(terms(&settings()).id(), terms(&settings()).id());
    for other in [
        proto::BackendJwt { issuer: "else".into(), ..settings() },
        proto::BackendJwt { restricted: vec![], ..settings() },
        proto::BackendJwt { lifetime_seconds: 1, ..settings() },
    ] {
        assert_ne!(terms(&settings()).id(), terms(&other).id());
    }
    let kept = Arc::new(Kept::load(&settings()));
    let other = Api { version: "2.0".into(), ..api() };
    assert_ne!(terms(&settings()).id(), Terms::load(&settings(), &kept, &other).unwrap().id());
    let upper = proto::BackendJwt { header: "X-JWT".into(), ..settings() };
    assert!(matches!(Terms::load(&upper, &kept, &api()), Err(LoadError::HeaderName(_))));
}

#[test]
fn nothing_shows_what_is_signed() {
    let terms = Arc::new(terms(&settings()));
    let identity = Arc::new(caller(&json!({ "email": "a@b" })));
    let draft = terms.draft(&identity, None, None, "id", UnixTime(NOW));
    let assertion = Assertion::new(draft.claims.as_str(), draft.until);
    let shown = format!("{draft:?} {assertion:?} {:?}", Order { terms, identity, subscription: None });
    assert!(!shown.contains("a@b") && !shown.contains("alice"), "{shown}");
}

#[test]
fn a_store_says_of_which_application_and_tier_a_token_is_today() {
    let application = Application { name: Some("shop".into()), tier: Some("Gold".into()), ..Application::default() };
    let known =
        |tier: &str| Subscription { application: application.clone(), tier: Some(tier.into()), ..Default::default() };
    let identity = caller(&json!({"application": {"name": "old", "owner": "bob"}}));
    let draft = claims(&terms(&settings()).draft(&identity, Some(&known("Silver")), None, "id", UnixTime(NOW)));
    let own = |name: &str| draft.get(format!("http://wso2.org/claims/{name}")).cloned();
    assert_eq!((own("tier"), own("applicationname")), (Some(json!("Silver")), Some(json!("shop"))));
    assert_eq!((own("applicationtier"), own("subscriber")), (Some(json!("Gold")), None));

    let order = |tier: Option<&str>| Order {
        terms: Arc::new(terms(&settings())),
        identity: Arc::new(caller(&json!({}))),
        subscription: tier.map(|tier| Arc::new(known(tier))),
    };
    let (one, other) = (order(Some("Silver")), order(Some("Silver")));
    let same = Order { identity: Arc::clone(&one.identity), ..other };
    assert!(same == one, "read anew, and the same");
    for changed in [order(Some("Bronze")), order(None)] {
        assert!(Order { identity: Arc::clone(&one.identity), ..changed } != one);
    }
}
