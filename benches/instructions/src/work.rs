//! What is counted: decisions whose credential is cached, by the engine alone and by the whole service, which is asked in
//! bytes and answers in bytes.

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::limits::{Charge, Spending};
use microgw_engine::opaque::{self, KeyHash};
use microgw_engine::{
    Answer, ClientCertificate, CredentialDigest, Decision, Exchange, Facts, Identity, KeySet, KeySource, KeyTerms,
    Lookup, Novelty, OpaqueKey, ProofId, RequestHead, RevocationName, Rule, Standing, Step, UnixTime,
};
use microgw_extproc::backend_jwt::AssertionCache;
use microgw_extproc::decider::{Decider, RULE_KEY};
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{IssuerKeys, KeyStore, KeyTiming};
use microgw_extproc::known::Known;
use microgw_extproc::login::Login;
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::opaque_keys::OpaqueKeys;
use microgw_extproc::revocations::{RevocationSettings, Revocations};
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::transport::Transport;
use microgw_extproc::users::{UserConfig, Users};
use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as proto;
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const IDP: &str = "https://idp.example/";
const US: &str = "https://localhost:9095/apikey";
/// Of the password `secret`.
const SHA1: &str = "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4";
/// Of an opaque key.
const SECRET: [u8; 32] = [0; 32];
/// Rules beside the one that is asked for.
const OTHER_RULES: u32 = 1000;

pub struct Scenario {
    pub name: &'static str,
    /// The most that one decision may allocate: see `allocations.rs`.
    #[cfg_attr(not(test), expect(dead_code))]
    pub allocations: u64,
    host: Host,
    credential: Credential,
    /// Limits of its API and of its subscription that a request draws on.
    limits: usize,
}

/// Who decides.
#[derive(Clone, Copy)]
enum Host {
    Engine,
    Service,
}

#[derive(Clone, Copy, PartialEq)]
enum Credential {
    HeaderKey,
    QueryKey,
    SandboxKey,
    Token,
    /// One that the authorization server was asked about.
    OpaqueToken,
    /// No credential at all.
    Nothing,
    /// A token without the scope.
    OtherScope,
    OpaqueKey,
    CookieKey,
    /// A user with a password.
    Login,
    /// Of a client, in the handshake.
    Certificate,
    /// A token where credentials can be revoked.
    RevocableToken,
    /// A token whose caller the backend is told of.
    ToldToken,
    /// A token that is bound to a key. The proof of it is verified each time, cached token or not.
    ProvedToken,
}

// === impl Scenario ===

impl Scenario {
    pub const ALL: [Scenario; 24] = [
        Scenario::new("engine-header-key", Host::Engine, Credential::HeaderKey, 0),
        Scenario::new("engine-query-key", Host::Engine, Credential::QueryKey, 1),
        Scenario::new("engine-sandbox-key", Host::Engine, Credential::SandboxKey, 0),
        Scenario::new("engine-token", Host::Engine, Credential::Token, 0),
        Scenario::new("engine-opaque-token", Host::Engine, Credential::OpaqueToken, 0),
        Scenario::new("engine-nothing", Host::Engine, Credential::Nothing, 0),
        Scenario::new("engine-other-scope", Host::Engine, Credential::OtherScope, 0),
        Scenario::new("engine-opaque-key", Host::Engine, Credential::OpaqueKey, 0),
        Scenario::new("engine-cookie-key", Host::Engine, Credential::CookieKey, 1),
        Scenario::new("engine-login", Host::Engine, Credential::Login, 0),
        Scenario::new("engine-one-limit", Host::Engine, Credential::OpaqueKey, 0).limited(1),
        Scenario::new("engine-two-limits", Host::Engine, Credential::OpaqueKey, 0).limited(2),
        Scenario::new("engine-four-limits", Host::Engine, Credential::OpaqueKey, 0).limited(4),
        Scenario::new("engine-certificate", Host::Engine, Credential::Certificate, 0),
        Scenario::new("engine-revocable-token", Host::Engine, Credential::RevocableToken, 0),
        Scenario::new("engine-backend-jwt", Host::Engine, Credential::ToldToken, 0),
        Scenario::new("engine-dpop", Host::Engine, Credential::ProvedToken, 100),
        Scenario::new("service-header-key", Host::Service, Credential::HeaderKey, 38),
        Scenario::new("service-query-key", Host::Service, Credential::QueryKey, 38),
        Scenario::new("service-token", Host::Service, Credential::Token, 38),
        Scenario::new("service-opaque-key", Host::Service, Credential::OpaqueKey, 38),
        Scenario::new("service-login", Host::Service, Credential::Login, 38),
        Scenario::new("service-four-limits", Host::Service, Credential::OpaqueKey, 60).limited(4),
        Scenario::new("service-nothing", Host::Service, Credential::Nothing, 45),
    ];

    const fn new(name: &'static str, host: Host, credential: Credential, allocations: u64) -> Scenario {
        Scenario { name, allocations, host, credential, limits: 0 }
    }

    fn book(&self) -> proto::RuleBook {
        let mut book = book(self.credential);
        let window = |index: u64| limits::limit::Window::Fixed(limits::Fixed { seconds: 60 * index });
        let limit = |index| limits::Limit { quota: 1 << 40, window: Some(window(index)), ..limits::Limit::default() };
        let policy = |name: &str, count: usize| limits::Policy {
            name: name.to_owned(),
            limits: (1..).take(count).map(limit).collect(),
            ..limits::Policy::default()
        };
        // The caller's are named for each request: at least half of them.
        if self.limits > 0 {
            let subscriptions = vec![policy("Default", self.limits.div_ceil(2))];
            book.tiers = Some(limits::Tiers { subscriptions, ..limits::Tiers::default() });
        }
        if self.limits > 1 {
            book.limits = vec![policy("Api", self.limits / 2)];
            book.rules.iter_mut().for_each(|rule| rule.api_limit = 1);
        }
        book
    }

    const fn limited(self, limits: usize) -> Scenario {
        Scenario { limits, ..self }
    }
}

/// Decides `count` times, and once before, which fills the cache.
/// Returns what [`counted`] counted itself.
pub fn run(scenario: &Scenario, count: u32) -> anyhow::Result<u64> {
    let issuers = Issuers::new()?;
    let (path, headers) = issuers.request(scenario.credential)?;
    let expected = !matches!(scenario.credential, Credential::Nothing | Credential::OtherScope);
    match scenario.host {
        Host::Engine => {
            let certificate = ClientsOwn::new()?;
            let rules = Rule::load(&certificate.pinned(scenario.book()))?;
            let rule = &rules.first().context("no rule")?.1;
            let assertions = AssertionCache::new(1000);
            let facts = Proving(known(assertions.clone()));
            let certificate = (scenario.credential == Credential::Certificate)
                .then_some(ClientCertificate { thumbprint: certificate.thumbprint, chain: &certificate.pem });
            let now = UnixTime(now());
            let decide = || {
                let mut exchange = Exchange::new(rule, &facts, now);
                let mut step = exchange.on_request_head(RequestHead {
                    method: "GET",
                    scheme: "https",
                    authority: "api.example",
                    path: &path,
                    headers: &headers,
                    certificate,
                    peer: "",
                    has_body: None,
                });
                while let Step::Ask(lookup) = step {
                    let answer = match scenario.credential {
                        Credential::ToldToken if matches!(lookup, Lookup::Sign(_)) => told(lookup, &assertions, now),
                        Credential::OpaqueToken => said_of(&lookup),
                        Credential::Login => Answer::Identity(Arc::new(Identity::user("alice", ["read"]))),
                        _ => Answer::Keys(Arc::new(issuers.public.clone())),
                    };
                    step = exchange.resume(answer, now);
                }
                matches!(black_box(&step), Step::Done(Decision::Allow(_)))
            };
            ensure!(decide() == expected, "decided otherwise");
            let (decided, allocations) = counted(|| (0..count).filter(|_| decide() == expected).count());
            ensure!(decided == count as usize, "decided otherwise");
            Ok(allocations)
        }
        Host::Service => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let decider = runtime.block_on(async { issuers.decider(scenario) })?;
            let question = question(path, headers).encode_to_vec();
            let decide = async || {
                let Ok(question) = CheckRequest::decode(question.as_slice()) else { return false };
                let answer = decider.check(question).await;
                black_box(answer.encode_to_vec());
                answer.status.is_some_and(|status| (status.code == 0) == expected)
            };
            ensure!(runtime.block_on(decide()), "decided otherwise");
            let all = async {
                for _ in 0..count {
                    if !decide().await {
                        return false;
                    }
                }
                true
            };
            let (decided, allocations) = counted(|| runtime.block_on(all));
            ensure!(decided, "decided otherwise");
            Ok(allocations)
        }
    }
}

/// What valgrind looks for: see `main.rs`. Tests count allocations here.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    #[cfg(test)]
    return crate::allocations::of(work);
    // Not a tail call, which would leave this function behind.
    #[cfg(not(test))]
    return (black_box(work()), 0);
}

/// As Envoy asks: the request's headers, and the rule of its route.
fn question(path: String, mut headers: HashMap<String, String>) -> CheckRequest {
    headers.insert(":path".to_owned(), path.clone());
    headers.insert(":method".to_owned(), "GET".to_owned());
    let http = HttpRequest { method: "GET".to_owned(), path, headers, ..HttpRequest::default() };
    let attributes = AttributeContext {
        request: Some(Request { http: Some(http), ..Request::default() }),
        context_extensions: HashMap::from([(RULE_KEY.to_owned(), format!("{:032x}", 1))]),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

/// Rule 1 asks for a token with scope `read`, or a key in a header or in the query; where a cookie or a user is presented,
/// for that.
fn book(credential: Credential) -> proto::RuleBook {
    use proto::api_key::Location;
    use proto::requirement::Kind;
    let alternative = |kind| proto::Alternative { requirements: vec![proto::Requirement { kind: Some(kind) }] };
    let key =
        |location: Location| Kind::ApiKey(proto::ApiKey { location: location.into(), name: "api_key".to_owned() });
    let rule = |index: u32| proto::Rule {
        id: u128::from(index + 1).to_be_bytes().to_vec(),
        method: "GET".to_owned(),
        path: format!("/v2/pet/{{petId}}/{index}"),
        ..proto::Rule::default()
    };
    proto::RuleBook {
        generation: "one".to_owned(),
        apis: vec![proto::Api {
            name: "pets".to_owned(),
            version: "1.0".to_owned(),
            base_path: "/v2".to_owned(),
            ..Default::default()
        }],
        policies: vec![proto::Policy {
            alternatives: match credential {
                Credential::CookieKey => vec![alternative(key(Location::Cookie))],
                Credential::Certificate => {
                    vec![alternative(Kind::ClientCertificate(proto::ClientCertificate::default()))]
                }
                Credential::Login => {
                    vec![alternative(Kind::Basic(proto::Basic { scopes: vec!["read".to_owned()], all_scopes: false }))]
                }
                _ => vec![
                    alternative(Kind::Oauth2(proto::OAuth2 { scopes: vec!["read".to_owned()], all_scopes: false })),
                    alternative(key(Location::Header)),
                    alternative(key(Location::Query)),
                ],
            },
            credential_header: "authorization".to_owned(),
            remove_credentials: true,
            production: true,
            sandbox: true,
            ..Default::default()
        }],
        rules: (0..=OTHER_RULES).map(rule).collect(),
        issuers: vec![proto::Issuer {
            issuer: IDP.to_owned(),
            algorithms: vec!["ES256".to_owned()],
            ..proto::Issuer::default()
        }],
        introspection: Some(proto::Introspection { remember_milliseconds: 60_000, ..Default::default() }),
        api_keys: Some(proto::ApiKeys { issuer: US.to_owned(), ..proto::ApiKeys::default() }),
        revocable: credential == Credential::RevocableToken,
        backend_jwt: (credential == Credential::ToldToken).then(|| proto::BackendJwt {
            header: "x-jwt-assertion".to_owned(),
            issuer: US.to_owned(),
            lifetime_seconds: 3600,
            reuse_seconds: 3600,
            ..proto::BackendJwt::default()
        }),
        dpop: Some(proto::Dpop { max_age_seconds: 600, ..proto::Dpop::default() }),
        ..proto::RuleBook::default()
    }
}

/// What an authorization server would.
fn said_of(lookup: &Lookup) -> Answer {
    let Lookup::Introspection { reader, .. } = lookup else { return Answer::Unavailable };
    let said = br#"{"active": true, "sub": "alice", "client_id": "shop", "scope": "openid read"}"#;
    reader.read(said).map_or_else(Answer::Refused, |identity| Answer::Identity(Arc::new(identity)))
}

/// Signed, so to speak, and kept.
fn told(lookup: Lookup, assertions: &AssertionCache, now: UnixTime) -> Answer {
    let Lookup::Sign(order) = lookup else { return Answer::Unavailable };
    let draft = order.terms.draft(&order.identity, order.subscription.as_deref(), None, "id", now);
    let assertion = Assertion::new(draft.claims, draft.until);
    assertions.put(order, assertion.clone());
    Answer::Assertion(assertion)
}

/// What is at hand, and every proof is a new one.
struct Proving(Known);

impl Facts for Proving {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.0.put(digest, identity);
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        self.0.secret()
    }

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        self.0.opaque_key(hash)
    }

    fn standing(&self, names: &[RevocationName]) -> Standing {
        self.0.standing(names)
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.0.spend(charges)
    }

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        Novelty::Fresh
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.0.assertion(order)
    }
}

/// A client's certificate.
struct ClientsOwn {
    thumbprint: [u8; 32],
    pem: String,
}

// === impl ClientsOwn ===

impl ClientsOwn {
    fn new() -> anyhow::Result<ClientsOwn> {
        let params = rcgen::CertificateParams::new(vec!["client.example".to_owned()])?;
        let certificate = params.self_signed(&rcgen::KeyPair::generate()?)?;
        Ok(ClientsOwn { thumbprint: Sha256::digest(certificate.der()).into(), pem: certificate.pem() })
    }

    /// The same rules, and this certificate is good.
    fn pinned(&self, mut book: proto::RuleBook) -> proto::RuleBook {
        let rule = proto::CertificateRule { pins: vec![self.thumbprint.to_vec()], ..Default::default() };
        for policy in &mut book.policies {
            policy.client_trust = Some(proto::ClientTrust { rules: vec![rule.clone()] });
        }
        book
    }
}

/// The issuer of tokens and that of API keys share a key pair. Clients have it, too.
struct Issuers {
    key: EncodingKey,
    jwk: Value,
    public: KeySet,
}

// === impl Issuers ===

impl Issuers {
    fn new() -> anyhow::Result<Issuers> {
        let key = EncodingKey::from_ec_pem(SigningKey::generate()?.as_bytes())?;
        let jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256)?)?;
        let jwks = json!({ "keys": [jwk] }).to_string();
        Ok(Issuers { public: KeySet::from_jwks(jwks.as_bytes())?, key, jwk })
    }

    fn sign(&self, mut claims: Value) -> anyhow::Result<String> {
        claims["exp"] = (now() + 3600).into();
        claims["sub"] = "alice".into();
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key)?)
    }

    /// A token that is bound to the key, and the proof that goes with it.
    fn proved(&self) -> anyhow::Result<[String; 2]> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "crv": "P-256", "kty": "EC", "x": self.jwk["x"], "y": self.jwk["y"] });
        let bound_to = json!({ "jkt": encode(&Sha256::digest(jwk.to_string())) });
        let token = self.sign(json!({ "iss": IDP, "scope": "openid read", "azp": "shop", "cnf": bound_to }))?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let claims = json!({
            "jti": "one", "htm": "GET", "htu": "https://api.example/v2/pet/1", "iat": now(),
            "ath": encode(&Sha256::digest(&token)),
        });
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, Algorithm::ES256)?;
        Ok([format!("DPoP {token}"), format!("{signed}.{signature}")])
    }

    fn request(&self, credential: Credential) -> anyhow::Result<(String, HashMap<String, String>)> {
        let mut path = "/v2/pet/1?status=sold".to_owned();
        // What a client of the usual kind sends.
        let mut headers = HashMap::from(
            [
                ("accept", "application/json"),
                ("accept-encoding", "gzip, deflate, br"),
                ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-request-id", "6f1d8b1c-6f0b-4f0c-9d0c-5f2f3a0b8f51"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let grants = json!([{ "name": "others", "version": "1.0" }, { "name": "pets", "version": "1.0" }]);
        let key = |kind| self.sign(json!({ "iss": US, "keytype": kind, "allowedAPIs": grants }));
        let token = |scope| self.sign(json!({ "iss": IDP, "scope": scope, "azp": "shop" }));
        match credential {
            Credential::HeaderKey => drop(headers.insert("api_key".to_owned(), key("PRODUCTION")?)),
            Credential::SandboxKey => drop(headers.insert("api_key".to_owned(), key("SANDBOX")?)),
            Credential::QueryKey => path = format!("{path}&api_key={}", key("PRODUCTION")?),
            Credential::Token | Credential::RevocableToken | Credential::ToldToken => {
                drop(headers.insert("authorization".to_owned(), format!("Bearer {}", token("openid read")?)));
            }
            Credential::OpaqueToken => {
                drop(headers.insert("authorization".to_owned(), "Bearer 2YotnFZFEjr1zCsicMWpAA".to_owned()));
            }
            Credential::OtherScope => {
                drop(headers.insert("authorization".to_owned(), format!("Bearer {}", token("openid write")?)));
            }
            Credential::OpaqueKey => drop(headers.insert("api_key".to_owned(), opaque::key(SECRET))),
            Credential::CookieKey => {
                drop(headers.insert("cookie".to_owned(), format!("theme=dark; api_key={}", key("PRODUCTION")?)));
            }
            Credential::Login => {
                drop(headers.insert("authorization".to_owned(), "Basic YWxpY2U6c2VjcmV0".to_owned()));
            }
            Credential::ProvedToken => {
                let [token, proof] = self.proved()?;
                headers.extend([("authorization".to_owned(), token), ("dpop".to_owned(), proof)]);
            }
            Credential::Nothing | Credential::Certificate => {}
        }
        Ok((path, headers))
    }

    fn decider(&self, scenario: &Scenario) -> anyhow::Result<Decider> {
        let metrics = Metrics::new();
        let pinned = |source| IssuerKeys { source, location: None, pinned: self.public.clone() };
        let issuers = [pinned(KeySource::Issuer(IDP.into())), pinned(KeySource::ApiKeys)];
        let rules = Arc::new(RuleStore::default());
        rules.load(&scenario.book())?;
        let keys = KeyStore::start(issuers, KeyTiming::default(), &Transport::default(), &metrics)?;
        let facts = FactCache::new(1000, Duration::from_hours(1));
        let alice = UserConfig { name: "alice".to_owned(), password: SHA1.to_owned(), scopes: vec!["read".to_owned()] };
        let login = Login::new(Arc::new(Users::new([alice])?), NonZeroU32::MIN, Arc::clone(&metrics));
        let lookups = Lookups { login: Some(Arc::new(login)), ..Lookups::new(keys) };
        let mut decider = Decider::new(rules, facts, lookups, metrics, Decider::DEADLINE);
        decider.facts.opaque_keys = known(AssertionCache::new(0)).opaque_keys;
        Ok(decider)
    }
}

/// What is at hand: a cache, some thousand opaque keys, and a feed of revocations that says nothing.
fn known(assertions: AssertionCache) -> Known {
    let cache = FactCache::new(1000, Duration::from_hours(1)).with_assertions(assertions);
    let mut known = Known::new(cache, Arc::default());
    let silent =
        RevocationSettings { most: 1000, keep: None, allow_stale: true, file: Some("none".into()), stream: true };
    known.revocations = Some(Revocations::new(silent, &Metrics::new()));
    let keys = OpaqueKeys::new(None);
    let table = (0..1000_u32).filter_map(|index| {
        let mut secret = SECRET;
        secret[..4].copy_from_slice(&index.to_be_bytes());
        let terms = KeyTerms { owner: "alice".into(), ..KeyTerms::default() };
        Some((opaque::hash(&opaque::key(secret))?, Arc::new(Identity::opaque_key(terms))))
    });
    keys.replace(table.collect());
    known.opaque_keys = Some(keys);
    known
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
