//! Questions as Envoy asks them, made up from policies and credentials that make sense, to the whole service; and what a
//! naive reading of the policy says about each.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use microgw_engine::{KeySet, KeySource};
use microgw_extproc::decider::{Decider, RULE_KEY};
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{IssuerKeys, KeyStore, KeyTiming};
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::{Exposition, Metrics};
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::transport::Transport;
use microgw_proto::rules::v1 as proto;
use microgw_proto::rules::v1::api_key::Location;
use microgw_proto::rules::v1::requirement::Kind;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::credentials::{ACCESS_KEYS, API_KEYS, IDP, NEVER, US, access_token, api_key, book, key_in, oauth2};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "check",
    run,
    reaches: &["unknown rule", "refused", "allowed", "sandbox", "cut"],
    dictionary: &[],
    mutations: 3000,
};

/// A credential that a request may present.
struct Known {
    text: String,
    is_token: bool,
    /// It holds, for API `pets` of version `1.0`.
    good: bool,
    scopes: &'static [&'static str],
    sandbox: bool,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let with = |base: &Value, changes: Value| {
        let mut claims = base.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let token = json!({ "iss": IDP, "sub": "alice", "exp": NEVER });
    let key = json!({ "iss": US, "sub": "alice", "exp": NEVER });
    let known = |text: String, is_token, good, scopes, sandbox| Known { text, is_token, good, scopes, sandbox };
    let token_with =
        |changes, good, scopes, sandbox| known(access_token(&with(&token, changes)), true, good, scopes, sandbox);
    let key_with = |changes, good, sandbox| known(api_key(&with(&key, changes)), false, good, &[], sandbox);
    let altered = |text: String| format!("{}A{}", &text[..40], &text[41..]);
    vec![
        token_with(json!({}), true, &[], false),
        token_with(json!({ "scope": "read" }), true, &["read"], false),
        token_with(json!({ "scope": "read write" }), true, &["read", "write"], false),
        token_with(json!({ "scope": "write", "keytype": "SANDBOX" }), true, &["write"], true),
        token_with(json!({ "exp": 1_000_000_000 }), false, &[], false),
        token_with(json!({ "nbf": NEVER }), false, &[], false),
        token_with(json!({ "iss": US }), false, &[], false),
        known(altered(access_token(&token)), true, false, &[], false),
        known("none".to_owned(), true, false, &[], false),
        key_with(json!({}), true, false),
        key_with(json!({ "keytype": "SANDBOX" }), true, true),
        key_with(json!({ "allowedAPIs": [{ "name": "pets", "version": "1.0" }] }), true, false),
        key_with(json!({ "allowedAPIs": [{ "name": "pets", "version": "2.0" }] }), false, false),
        key_with(json!({ "allowedAPIs": [] }), false, false),
        key_with(json!({ "exp": 1_000_000_000 }), false, false),
        key_with(json!({ "iss": IDP }), false, false),
        known(altered(api_key(&key)), false, false, &[], false),
        known(String::new(), false, false, &[], false),
    ]
});

/// Headers and parameters that policies name. `authorization` is the header for tokens, too.
const HEADERS: [&str; 3] = ["x-key", "api_key", "authorization"];
const PARAMETERS: [&str; 2] = ["api_key", "k"];
const SCOPES: [&str; 3] = ["read", "write", "admin"];

#[derive(Debug)]
struct Question {
    book: proto::RuleBook,
    rule: String,
    headers: HashMap<String, String>,
    /// Names and values.
    query: Vec<(String, String)>,
}

impl Question {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Question> {
        let mut alternatives = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let mut requirements = Vec::new();
            for _ in 0..u.int_in_range(1..=3)? {
                requirements.push(match u.int_in_range(0..=5)? {
                    0 | 1 => {
                        let scopes: Vec<&str> =
                            (0..u.int_in_range(0..=2)?).map(|_| u.choose(&SCOPES).copied()).collect::<Result<_>>()?;
                        oauth2(&scopes, u.arbitrary()?)
                    }
                    2 | 3 => key_in(Location::Header, u.choose(&HEADERS)?),
                    4 => key_in(Location::Query, u.choose(&PARAMETERS)?),
                    _ => Kind::Unenforceable("mutualTLS".to_owned()),
                });
            }
            alternatives.push(requirements);
        }
        let mut book = book(alternatives);
        for policy in &mut book.policies {
            policy.remove_credentials = u.arbitrary()?;
            policy.production = u.arbitrary()?;
            policy.sandbox = u.arbitrary()?;
        }
        // Few are unknown.
        let rule = if u.ratio(1, 16)? { u.arbitrary()? } else { format!("{:032x}", 1) };
        let mut headers = HashMap::new();
        for name in HEADERS {
            if u.arbitrary()? {
                let known = u.choose(&KNOWN)?;
                let scheme = if known.is_token { *u.choose(&["Bearer ", "bearer  ", "", "Basic "])? } else { "" };
                headers.insert(name.to_owned(), format!("{scheme}{}", known.text));
            }
        }
        let mut query = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let name = *u.choose(&["api_key", "k", "q", "api%5Fkey"])?;
            query.push((name.to_owned(), u.choose(&KNOWN)?.text.clone()));
        }
        Ok(Question { book, rule, headers, query })
    }

    fn path(&self) -> String {
        let pairs: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { "/v2/pet/1".to_owned() } else { format!("/v2/pet/1?{}", pairs.join("&")) }
    }

    fn request(&self) -> CheckRequest {
        let http = HttpRequest {
            method: "GET".to_owned(),
            path: self.path(),
            headers: self.headers.clone(),
            ..HttpRequest::default()
        };
        let attributes = AttributeContext {
            request: Some(Request { http: Some(http), ..Request::default() }),
            context_extensions: HashMap::from([(RULE_KEY.to_owned(), self.rule.clone())]),
            ..AttributeContext::default()
        };
        CheckRequest { attributes: Some(attributes) }
    }

    /// The credential that satisfies a requirement, in a naive reading.
    fn holder(&self, kind: &Kind) -> Option<&'static Known> {
        let (presented, token) = match kind {
            Kind::Oauth2(_) => {
                let value = self.headers.get("authorization")?;
                let (scheme, token) = value.split_once(' ')?;
                (scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start().to_owned())?, true)
            }
            Kind::ApiKey(key) if key.location() == Location::Header => (self.headers.get(&key.name)?.clone(), false),
            Kind::ApiKey(key) => {
                let named = self.query.iter().filter(|(name, _)| name.replace("%5F", "_") == key.name);
                let values: Vec<&String> = named.map(|(_, value)| value).collect();
                let [value] = values[..] else { return None };
                (value.clone(), false)
            }
            // There are no users, and nobody shows a certificate.
            Kind::Basic(_) | Kind::ClientCertificate(_) | Kind::Unenforceable(_) => return None,
        };
        let known = KNOWN.iter().find(|known| known.good && known.is_token == token && known.text == presented)?;
        let scopes = match kind {
            Kind::Oauth2(oauth2) => oauth2.scopes.as_slice(),
            _ => &[],
        };
        let has = |scope: &String| known.scopes.contains(&scope.as_str());
        let all = matches!(kind, Kind::Oauth2(oauth2) if oauth2.all_scopes);
        let granted = scopes.is_empty() || if all { scopes.iter().all(has) } else { scopes.iter().any(has) };
        granted.then_some(known)
    }

    /// The credential that lets the request in: of the first alternative that holds, the token before keys.
    fn expected(&self) -> Option<&'static Known> {
        let policy = &self.book.policies[0];
        policy.alternatives.iter().find_map(|alternative| {
            let kinds = alternative.requirements.iter().map(|requirement| requirement.kind.as_ref().unwrap());
            let holders: Vec<&Known> = kinds.map(|kind| self.holder(kind)).collect::<Option<_>>()?;
            let identity = holders.iter().rfind(|known| known.is_token).or(holders.first()).copied()?;
            (if identity.sandbox { policy.sandbox } else { policy.production }).then_some(identity)
        })
    }
}

pub fn run(data: &[u8]) -> Reached {
    let Ok(question) = Question::arbitrary(&mut Unstructured::new(data)) else { return "refused" };
    let answer = ask(&question.book, &question.request());
    if question.rule != format!("{:032x}", 1) {
        assert_eq!(status(&answer), 500, "another rule than the route's: {question:?}");
        return "unknown rule";
    }
    let expected = question.expected();
    let status = status(&answer);
    assert_eq!(status == 200, expected.is_some(), "{status} for {question:?}");
    let (Some(identity), Some(HttpResponse::OkResponse(ok))) = (expected, answer.http_response) else {
        assert!(status == 401 || status == 403, "{status} for {question:?}");
        return "refused";
    };
    let policy = &question.book.policies[0];
    let set = |name: &str| {
        let header = ok.headers.iter().filter_map(|option| option.header.as_ref()).find(|header| header.key == name);
        header.map(|header| header.value.clone())
    };
    let kinds = policy.alternatives.iter().flat_map(|alternative| &alternative.requirements);
    let keys = kinds.filter_map(|requirement| match &requirement.kind {
        Some(Kind::ApiKey(key)) => Some(key),
        _ => None,
    });
    let (mut removed, mut path) = (vec!["authorization"], question.path());
    for key in keys {
        if key.location() == Location::Header {
            removed.push(&key.name);
        } else {
            let pairs = path.split_once('?').map_or("", |(_, query)| query).split('&');
            let kept: Vec<&str> = pairs
                .filter(|pair| !pair.is_empty() && !pair.replace("%5F", "_").starts_with(&format!("{}=", key.name)))
                .collect();
            path = if kept.is_empty() { "/v2/pet/1".to_owned() } else { format!("/v2/pet/1?{}", kept.join("&")) };
        }
    }
    if policy.remove_credentials {
        assert!(removed.iter().all(|name| ok.headers_to_remove.iter().any(|own| own == name)), "{question:?}");
    } else {
        path = question.path();
        assert!(ok.headers_to_remove.is_empty(), "{question:?}");
    }
    assert_eq!(set(":path").unwrap_or_else(|| question.path()), path, "{question:?}");
    let sandbox = identity.sandbox && policy.production;
    assert_eq!(set("x-microgw-environment").as_deref(), sandbox.then_some("sandbox"), "{question:?}");
    match () {
        () if path != question.path() => "cut",
        () if sandbox => "sandbox",
        () => "allowed",
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());

/// Two services: one that remembers tokens, and one that does not.
static SERVICES: LazyLock<Mutex<[Service; 2]>> = LazyLock::new(|| Mutex::new([Service::start(16), Service::start(0)]));

struct Service {
    decider: Decider,
    rules: Arc<RuleStore>,
    metrics: Arc<Metrics>,
}

// === impl Service ===

impl Service {
    fn start(remembered: usize) -> Service {
        let pinned = |source, keys: &Arc<KeySet>| IssuerKeys { source, location: None, pinned: KeySet::clone(keys) };
        let issuers = [pinned(KeySource::Issuer(IDP.into()), &ACCESS_KEYS), pinned(KeySource::ApiKeys, &API_KEYS)];
        let (metrics, rules) = (Metrics::new(), Arc::new(RuleStore::default()));
        let keys = RUNTIME.block_on(async {
            KeyStore::start(issuers, KeyTiming::default(), &Transport::default(), &metrics).unwrap()
        });
        let facts = FactCache::new(remembered, Duration::from_secs(600));
        let decider =
            Decider::new(Arc::clone(&rules), facts, Lookups::new(keys), Arc::clone(&metrics), Decider::DEADLINE);
        Service { decider, rules, metrics }
    }

    fn ask(&self, book: &proto::RuleBook, question: CheckRequest) -> CheckResponse {
        // In the place of those before.
        self.rules.load(book).expect("the rules are sound");
        let answer = RUNTIME.block_on(self.decider.check(question));
        let panics = "microgw_panics_total 0";
        assert!(self.metrics.render(vec![], Exposition::Plain).contains(panics), "the service panicked");
        answer
    }
}

/// Asks services that know these rules alone. What they remember must not change their mind.
pub fn ask(book: &proto::RuleBook, question: &CheckRequest) -> CheckResponse {
    // One book at a time. A test that failed has said so.
    let services = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let [remembers, forgets] = services.each_ref().map(|service| service.ask(book, question.clone()));
    assert_eq!(status(&remembers), status(&forgets), "what is remembered changes the decision: {question:?}");
    remembers
}

/// As Envoy takes it: what is not clearly allowed is not 200.
pub fn status(answer: &CheckResponse) -> u32 {
    let code = answer.status.as_ref().map(|status| status.code);
    match &answer.http_response {
        Some(HttpResponse::OkResponse(_)) => {
            assert_eq!(code, Some(0));
            200
        }
        Some(HttpResponse::DeniedResponse(denied)) => {
            assert!(code.is_some_and(|code| code != 0), "Envoy would let it through");
            let status = denied.status.as_ref().expect("Envoy would answer 403").code.cast_unsigned();
            let headers = denied.headers.iter().filter_map(|option| option.header.as_ref());
            let kinds: Vec<&str> =
                headers.filter(|header| header.key == "content-type").map(|header| header.value.as_str()).collect();
            let [kind] = kinds[..] else { panic!("a fault of {} kinds", kinds.len()) };
            let is_json = serde_json::from_str::<Value>(&denied.body).is_ok();
            assert!(is_json || !kind.contains("json"), "the fault is no JSON: {}", denied.body);
            status
        }
        _ => panic!("an answer that says nothing"),
    }
}
