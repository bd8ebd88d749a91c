mod backend_jwt;
mod bodies;
mod bound;
mod conditions;
mod intercepted;
mod keys;
mod limited;
mod opaque;
mod possession;
mod properties;
mod revoked;
mod subscribed;
mod transforms;
mod users;
mod validated;

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::facts::CredentialDigest;
use crate::fixtures::{
    Memory, NOW, P256, RSA, access, api_key, book, cookie_key, header_key, key_set, oauth2, policy, query_key, with,
};
use crate::jwt::TokenError;
use crate::key::KeySet;
use crate::limits::Spending;
use crate::realm::KeySource;
use microgw_proto::rules::v1 as proto;

/// What a decision comes to, owned.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Allow { remove: Vec<String>, path: Option<String>, environment: Option<&'static str>, subject: Option<String> },
    Deny { reason: Reason, challenges: Vec<String> },
}

struct Request {
    path: &'static str,
    query: String,
    headers: HashMap<String, String>,
}

fn request() -> Request {
    Request { path: "/v2/pet/1", query: String::new(), headers: HashMap::new() }
}

impl Request {
    fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    fn query(mut self, query: impl Into<String>) -> Request {
        self.query = format!("?{}", query.into());
        self
    }

    fn bearer(self, changes: Value) -> Request {
        self.header("authorization", format!("Bearer {}", token(changes)))
    }
}

fn token(changes: Value) -> String {
    RSA.token("RS256", &with(access(), changes))
}

fn key(changes: Value) -> String {
    P256.token("ES256", &with(api_key(), changes))
}

fn rule(policy: proto::Policy) -> Arc<Rule> {
    Arc::clone(&Rule::load(&book(policy)).unwrap()[0].1)
}

fn answer(lookup: &Lookup) -> Answer {
    match lookup {
        Lookup::Keys(KeySource::ApiKeys) | Lookup::FreshKeys(KeySource::ApiKeys) => {
            Answer::Keys(Arc::new(key_set(&[&P256])))
        }
        Lookup::Keys(KeySource::Issuer(_)) | Lookup::FreshKeys(KeySource::Issuer(_)) => {
            Answer::Keys(Arc::new(key_set(&[&RSA])))
        }
        Lookup::Introspection { token, reader, .. } => opaque::answer(&token.0, reader),
        Lookup::Password { user, password, .. } => users::answer(&user.0, &password.0),
        Lookup::Sign(_) | Lookup::Spend(_) => Answer::Unavailable,
    }
}

fn head<'a>(path: &'a str, headers: &'a HashMap<String, String>) -> RequestHead<'a> {
    RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path,
        headers,
        certificate: None,
        peer: "",
        has_body: None,
    }
}

fn run(rule: &Rule, request: &Request, facts: &dyn Facts, host: &mut dyn FnMut(&Lookup) -> Answer) -> Outcome {
    run_with(rule, request, None, facts, host)
}

/// By a client that has shown this certificate.
fn run_with(
    rule: &Rule,
    request: &Request,
    certificate: Option<ClientCertificate<'_>>,
    facts: &dyn Facts,
    host: &mut dyn FnMut(&Lookup) -> Answer,
) -> Outcome {
    let path = format!("{}{}", request.path, request.query);
    let mut exchange = Exchange::new(rule, facts, UnixTime(NOW));
    let mut step = exchange.on_request_head(RequestHead { certificate, ..head(&path, &request.headers) });
    loop {
        match step {
            Step::Ask(lookup) => step = exchange.resume(host(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(allow)) => {
                return Outcome::Allow {
                    remove: allow.remove_headers.iter().map(ToString::to_string).collect(),
                    path: allow.path,
                    environment: allow.environment,
                    subject: allow.identity.subject().map(str::to_owned),
                };
            }
            Step::Done(Decision::Deny(deny)) => {
                let challenges = deny.challenges.iter().map(ToString::to_string).collect();
                return Outcome::Deny { reason: deny.reason, challenges };
            }
        }
    }
}

/// Twice with one cache: what is cached must not change the outcome.
fn decide(policy: &proto::Policy, request: &Request) -> Outcome {
    let (rule, facts) = (rule(policy.clone()), Memory::default());
    let first = run(&rule, request, &facts, &mut answer);
    assert_eq!(run(&rule, request, &facts, &mut answer), first);
    first
}

fn reason(policy: &proto::Policy, request: &Request) -> Option<Reason> {
    match decide(policy, request) {
        Outcome::Allow { .. } => None,
        Outcome::Deny { reason, .. } => Some(reason),
    }
}

const BEARER: &str = "Bearer realm=\"micro-gw\"";
const API_KEY: &str = "ApiKey realm=\"micro-gw\"";
const INVALID_TOKEN: &str = "Bearer realm=\"micro-gw\", error=\"invalid_token\"";

fn deny(reason: Reason, challenges: &[&str]) -> Outcome {
    Outcome::Deny { reason, challenges: challenges.iter().map(ToString::to_string).collect() }
}

#[test]
fn reasons_and_challenges_of_access_tokens() {
    let policy = policy(vec![vec![oauth2(&["admin", "root"], false)]]);
    let missing = deny(Reason::MissingCredentials, &[BEARER]);
    let scheme = deny(Reason::InvalidScheme, &[BEARER]);
    let invalid = deny(Reason::InvalidCredentials, &[INVALID_TOKEN]);
    let scope = "Bearer realm=\"micro-gw\", error=\"insufficient_scope\", scope=\"admin root\"";
    let good = token(json!({}));
    for (request, expected) in [
        (request(), &missing),
        (request().header("authorization", ""), &missing),
        (request().header("x-other", "Bearer x"), &missing),
        (request().header("authorization", "Basic YWRtaW46YWRtaW4="), &scheme),
        (request().header("authorization", good.clone()), &scheme),
        (request().header("authorization", "Bearer"), &invalid),
        (request().header("authorization", "bearer opaque"), &invalid),
        (request().header("authorization", format!("Bearer {good},Bearer {good}")), &invalid),
        (request().header("authorization", format!("Bearer {good} x")), &invalid),
        (request().header("authorization", format!("Bearer\t{good}")), &scheme),
        (request().bearer(json!({"aud": "elsewhere"})), &invalid),
        (request().bearer(json!({"nbf": NOW + 100})), &invalid),
        (request().bearer(json!({"exp": NOW - 100})), &deny(Reason::Expired, &[INVALID_TOKEN])),
        (request().bearer(json!({})), &deny(Reason::InsufficientScope, &[scope])),
        (request().header("authorization", format!("Bearer {}", key(json!({})))), &invalid),
    ] {
        assert_eq!(&decide(&policy, &request), expected, "{:?}", request.headers);
    }
    for scheme in ["Bearer", "bearer", "BEARER ", "bEaReR"] {
        let value = format!("{scheme} {}", token(json!({"scope": "root"})));
        assert_eq!(reason(&policy, &request().header("authorization", value)), None, "{scheme}");
    }
}

#[test]
fn reasons_and_challenges_of_api_keys() {
    let policy = policy(vec![vec![header_key("x-key")], vec![query_key("api_key")]]);
    let missing = deny(Reason::MissingCredentials, &[API_KEY]);
    let invalid = deny(Reason::InvalidCredentials, &[API_KEY]);
    let good = key(json!({}));
    for (request, expected) in [
        (request(), &missing),
        (request().header("x-key", ""), &missing),
        (request().query("api_key="), &missing),
        (request().query("api_key"), &missing),
        (request().query(format!("API_KEY={good}")), &missing),
        (request().header("x-key", "opaque"), &invalid),
        (request().header("x-key", format!("{good},{good}")), &invalid),
        (request().header("x-key", token(json!({}))), &invalid),
        (request().query(format!("api_key={good}&api_key={good}")), &invalid),
        (request().query(format!("api_key={good}&api%5Fkey=other")), &invalid),
        (request().header("authorization", format!("Bearer {good}")), &deny(Reason::InvalidScheme, &[API_KEY])),
        (request().header("x-key", key(json!({"exp": 1}))), &deny(Reason::Expired, &[API_KEY])),
        (request().header("x-key", key(json!({"allowedAPIs": []}))), &deny(Reason::ApiForbidden, &[])),
    ] {
        assert_eq!(&decide(&policy, &request), expected, "{:?}{}", request.headers, request.query);
    }
    assert_eq!(reason(&policy, &request().header("x-key", good.clone())), None);
    // A credential that nobody asks for, even a useless one, does not stand in the way of a key that is asked for.
    assert_eq!(reason(&policy, &request().header("x-key", good.clone()).header("authorization", "Basic !")), None);
    assert_eq!(reason(&policy, &request().header("x-key", "bad").query(format!("api_key={good}"))), None);
}

#[test]
fn alternatives_are_or_and_requirements_are_and() {
    let both = policy(vec![vec![oauth2(&[], false), header_key("x-key")]]);
    let either = policy(vec![vec![oauth2(&["admin"], false)], vec![header_key("x-key")]]);
    let good = key(json!({}));
    assert_eq!(reason(&both, &request().bearer(json!({}))), Some(Reason::MissingCredentials));
    assert_eq!(reason(&both, &request().header("x-key", good.clone())), Some(Reason::MissingCredentials));
    assert_eq!(reason(&both, &request().bearer(json!({})).header("x-key", "bad")), Some(Reason::InvalidCredentials));
    assert_eq!(reason(&both, &request().bearer(json!({})).header("x-key", good.clone())), None);

    assert_eq!(reason(&either, &request().header("x-key", good.clone())), None);
    assert_eq!(reason(&either, &request().bearer(json!({})).header("x-key", good.clone())), None);
    assert_eq!(reason(&either, &request().header("authorization", "Bearer bad").header("x-key", good)), None);
    assert_eq!(reason(&either, &request().bearer(json!({})).header("x-key", "bad")), Some(Reason::InsufficientScope));
    assert_eq!(reason(&either, &request()), Some(Reason::MissingCredentials));
    assert_eq!(
        decide(&either, &request()),
        deny(Reason::MissingCredentials, &[BEARER, API_KEY]),
        "each accepted scheme has its own challenge"
    );
}

#[test]
fn scopes_are_any_unless_all_are_asked_for() {
    let any = policy(vec![vec![oauth2(&["write", "admin"], false)]]);
    let all = policy(vec![vec![oauth2(&["write", "admin"], true)]]);
    let request = |scope: &str| request().bearer(json!({ "scope": scope }));
    assert_eq!(
        (reason(&any, &request("write")), reason(&any, &request("read"))),
        (None, Some(Reason::InsufficientScope))
    );
    assert_eq!(reason(&all, &request("write")), Some(Reason::InsufficientScope));
    assert_eq!(reason(&all, &request("admin x write")), None);
    assert_eq!(reason(&any, &request("writeadmin")), Some(Reason::InsufficientScope));
    assert_eq!(reason(&policy(vec![vec![oauth2(&[], true)]]), &request("")), None);
}

#[test]
fn what_cannot_be_enforced_is_never_satisfied() {
    let unenforceable = || proto::requirement::Kind::Unenforceable("mtls".into());
    let request = request().bearer(json!({})).header("x-key", key(json!({})));
    assert!(reason(&policy(vec![vec![unenforceable()]]), &request).is_some());
    assert!(reason(&policy(vec![vec![oauth2(&[], false), unenforceable()]]), &request).is_some());
    assert_eq!(reason(&policy(vec![vec![unenforceable()], vec![header_key("x-key")]]), &request), None);
    assert!(reason(&policy(vec![]), &request).is_some());
}

#[test]
fn environments_follow_the_key_type() {
    let alternatives = || vec![vec![header_key("x-key")], vec![oauth2(&[], false)]];
    let sandbox = || request().header("x-key", key(json!({"keytype": "SANDBOX"})));
    let production = || request().header("x-key", key(json!({})));
    let environment = |policy: &proto::Policy, request: &Request| match decide(policy, request) {
        Outcome::Allow { environment, .. } => Ok(environment),
        Outcome::Deny { reason, challenges } => {
            assert!(challenges.is_empty(), "nothing that the client could present would help");
            Err(reason)
        }
    };
    let both = policy(alternatives());
    assert_eq!((environment(&both, &sandbox()), environment(&both, &production())), (Ok(Some("sandbox")), Ok(None)));
    let only_production = proto::Policy { sandbox: false, ..policy(alternatives()) };
    assert_eq!(environment(&only_production, &production()), Ok(None));
    assert_eq!(environment(&only_production, &sandbox()), Err(Reason::NoSandboxEndpoint));
    let only_sandbox = proto::Policy { production: false, ..policy(alternatives()) };
    assert_eq!(environment(&only_sandbox, &sandbox()), Ok(None));
    assert_eq!(environment(&only_sandbox, &production()), Err(Reason::NoProductionEndpoint));
    // The other alternative has an endpoint.
    assert_eq!(environment(&only_production, &sandbox().bearer(json!({}))), Ok(None));
    // Together the user's token decides.
    let and = policy(vec![vec![header_key("x-key"), oauth2(&[], false)]]);
    assert_eq!(environment(&and, &production().bearer(json!({}))), Ok(None));
    // Whichever of them says more about the caller.
    assert_eq!(environment(&and, &sandbox().bearer(json!({}))), Ok(Some("sandbox")));
    assert_eq!(environment(&and, &production().bearer(json!({"keytype": "SANDBOX"}))), Ok(Some("sandbox")));
}

#[test]
fn credentials_do_not_reach_the_backend() {
    let mut policy = policy(vec![
        vec![header_key("x-key")],
        vec![oauth2(&[], false)],
        vec![query_key("api_key")],
        vec![query_key("k")],
    ]);
    let edits = |policy: &proto::Policy, request: &Request| match decide(policy, request) {
        Outcome::Allow { remove, path, .. } => (remove, path),
        Outcome::Deny { reason, .. } => panic!("{reason}"),
    };
    let good = key(json!({}));
    let headers = vec!["authorization".to_owned(), "x-key".to_owned()];
    let by_header = request().header("x-key", good.clone()).query("a=1&b");
    assert_eq!(edits(&policy, &by_header), (headers.clone(), None));
    let by_query = request().query(format!("a=%20&api%5Fkey={good}&b"));
    assert_eq!(edits(&policy, &by_query), (headers.clone(), Some("/v2/pet/1?a=%20&b".into())));
    // Useless copies go too, wherever an alternative would have looked.
    let many = request().header("x-key", good.clone()).query("api_key=1&k=2&api_key=3");
    assert_eq!(edits(&policy, &many), (headers, Some("/v2/pet/1".into())));
    policy.remove_credentials = false;
    assert_eq!(edits(&policy, &by_query), (vec![], None));
}

#[test]
fn an_encoded_key_is_read_as_its_value() {
    let policy = policy(vec![vec![query_key("api_key")]]);
    let encoded = key(json!({})).replace('.', "%2E").replace('-', "%2d");
    assert_eq!(reason(&policy, &request().query(format!("api_key={encoded}"))), None);
}

#[test]
fn a_lookup_that_fails_is_no_refusal() {
    let policy = policy(vec![vec![oauth2(&[], false)], vec![header_key("x-key")]]);
    let rule = rule(policy);
    let mut away = |lookup: &Lookup| match lookup {
        Lookup::Keys(KeySource::Issuer(_)) | Lookup::FreshKeys(_) => Answer::Unavailable,
        _ => answer(lookup),
    };
    let mut run = |request: Request| run(&rule, &request, &Memory::default(), &mut away);
    let unavailable = deny(Reason::Unavailable, &[]);
    assert_eq!(run(request().bearer(json!({}))), unavailable);
    assert_eq!(run(request().bearer(json!({})).header("x-key", "bad")), unavailable);
    assert_eq!(
        run(request().header("authorization", "Bearer bad")),
        deny(Reason::InvalidCredentials, &[INVALID_TOKEN, API_KEY])
    );
    assert!(matches!(run(request().bearer(json!({})).header("x-key", key(json!({})))), Outcome::Allow { .. }));
}

#[test]
fn an_unknown_key_is_asked_for_once_more() {
    let rule = rule(policy(vec![vec![oauth2(&[], false)]]));
    let request = request().bearer(json!({}));
    let mut asked = Vec::new();
    let outcome = run(&rule, &request, &Memory::default(), &mut |lookup| {
        asked.push(lookup.clone());
        match lookup {
            Lookup::Keys(_) => Answer::Keys(Arc::default()),
            _ => answer(lookup),
        }
    });
    assert!(matches!(outcome, Outcome::Allow { .. }));
    let source = KeySource::Issuer(crate::fixtures::IDP.into());
    assert_eq!(asked, [Lookup::Keys(source.clone()), Lookup::FreshKeys(source)]);

    let mut asked = 0;
    let outcome = run(&rule, &request, &Memory::default(), &mut |_| {
        asked += 1;
        Answer::Keys(Arc::default())
    });
    assert_eq!((outcome, asked), (deny(Reason::InvalidCredentials, &[INVALID_TOKEN]), 2));
}

/// A cache that keeps nothing.
struct Forgetful;

impl Facts for Forgetful {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }
    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}
}

#[test]
fn a_credential_is_judged_once_however_many_alternatives_name_it() {
    let rule =
        rule(policy(vec![vec![oauth2(&["a"], false)], vec![oauth2(&["b"], false)], vec![oauth2(&["c"], false)]]));
    let forged = format!("{}AAAA", token(json!({})));
    for (request, expected) in [
        (request().bearer(json!({})), Reason::InsufficientScope),
        (request().header("authorization", format!("Bearer {forged}")), Reason::InvalidCredentials),
    ] {
        let mut asked = 0;
        let outcome = run(&rule, &request, &Forgetful, &mut |lookup| {
            asked += 1;
            answer(lookup)
        });
        assert!(matches!(outcome, Outcome::Deny { reason, .. } if reason == expected), "{outcome:?}");
        assert_eq!(asked, 1);
    }
}

#[test]
fn facts_die_with_their_key_and_with_their_settings() {
    let (rule, facts) = (rule(policy(vec![vec![oauth2(&[], false)]])), Memory::default());
    let request = request().bearer(json!({}));
    let first = Arc::new(key_set(&[&RSA]));
    let mut asked = 0;
    let mut decide = |rule: &Rule, keys: &Arc<KeySet>| {
        let outcome = run(rule, &request, &facts, &mut |_| {
            asked += 1;
            Answer::Keys(Arc::clone(keys))
        });
        (matches!(outcome, Outcome::Allow { .. }), asked)
    };
    assert_eq!(decide(&rule, &first), (true, 1));
    assert_eq!(decide(&rule, &first), (true, 1), "cached");

    let mut stricter = book(policy(vec![vec![oauth2(&[], false)]]));
    stricter.issuers[0].audiences = vec!["elsewhere".into()];
    let stricter = Arc::clone(&Rule::load(&stricter).unwrap()[0].1);
    assert_eq!(decide(&stricter, &first), (false, 1), "another realm has its own facts");

    let second = Arc::new(key_set(&[&P256]).succeed(&first));
    assert_eq!(decide(&rule, &second), (false, 3), "withdrawn");
    let third = Arc::new(key_set(&[&RSA]).succeed(&second));
    assert_eq!(decide(&rule, &third), (true, 4), "published anew");
}

#[test]
fn cached_facts_expire() {
    let rule = rule(policy(vec![vec![header_key("x-key")]]));
    let facts = Memory::default();
    let request = request().header("x-key", key(json!({})));
    assert!(matches!(run(&rule, &request, &facts, &mut answer), Outcome::Allow { .. }));
    let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW + 65));
    let step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
    assert!(matches!(step, Step::Done(Decision::Deny(Deny { reason: Reason::Expired, .. }))), "{step:?}");
}

#[test]
fn an_answer_that_nobody_asked_for_lets_nobody_in() {
    let (rule, facts) = (rule(policy(vec![vec![oauth2(&[], false)]])), Memory::default());
    let step = Exchange::new(&rule, &facts, UnixTime(NOW)).resume(Answer::Unavailable, UnixTime(NOW));
    assert!(matches!(step, Step::Done(Decision::Deny(Deny { reason: Reason::Internal, .. }))));
}
