//! Tokens that are bound to a key, RFC 9449.

use sha2::{Digest as _, Sha256};

use super::*;
use crate::fixtures::{ED25519, P384, Signer, encode, introspection};
use crate::{Novelty, ProofId};

const ALGS: &str = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA";
const URL: &str = "https://api.example/v2/pet/1";

fn dpop(error: &str) -> String {
    format!("DPoP realm=\"micro-gw\", algs=\"{ALGS}\"{error}")
}

/// RFC 7638, written down again.
pub(super) fn thumbprint(key: &Signer) -> String {
    let jwk = key.jwk();
    let members: &[&str] = match jwk["kty"].as_str().unwrap() {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let members: Vec<_> = members.iter().map(|name| format!("\"{name}\":{}", jwk[*name])).collect();
    encode(Sha256::digest(format!("{{{}}}", members.join(","))))
}

fn bound(key: &Signer) -> String {
    token(json!({"cnf": {"jkt": thumbprint(key)}}))
}

fn public(key: &Signer) -> Value {
    with(key.jwk(), json!({"kid": null}))
}

fn proof_header(key: &Signer, algorithm: &str) -> Value {
    json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": public(key)})
}

fn proof_claims(token: &str) -> Value {
    json!({"jti": "one", "htm": "GET", "htu": URL, "iat": NOW, "ath": encode(Sha256::digest(token))})
}

/// For a request of [`request`], by [`P256`].
pub(super) fn proof(token: &str, id: &str) -> String {
    let claims = with(proof_claims(token), json!({ "jti": id }));
    P256.sign(&proof_header(&P256, "ES256").to_string(), &claims.to_string())
}

fn presented(token: &str, proof: &str) -> Request {
    request().header("authorization", format!("DPoP {token}")).header("dpop", proof)
}

fn once(request: &Request) -> Outcome {
    once_with(&book(policy(vec![vec![oauth2(&[], false)]])), request)
}

fn once_with(book: &proto::RuleBook, request: &Request) -> Outcome {
    run(&Rule::load(book).unwrap()[0].1, request, &Memory::default(), &mut answer)
}

#[test]
fn a_bound_token_with_its_proof_passes_with_every_kind_of_key() {
    let keys: [(&Signer, &[&str]); 4] = [
        (&RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (&P256, &["ES256"]),
        (&P384, &["ES384"]),
        (&ED25519, &["EdDSA"]),
    ];
    for (key, algorithms) in keys {
        let token = bound(key);
        for algorithm in algorithms {
            let proof = key.sign(&proof_header(key, algorithm).to_string(), &proof_claims(&token).to_string());
            let Outcome::Allow { remove, .. } = once(&presented(&token, &proof)) else { panic!("{algorithm}") };
            assert_eq!(remove, ["authorization", "dpop"], "the proof is not for the backend");
        }
    }
}

#[test]
fn the_scheme_and_the_token_must_agree() {
    let (free, bound) = (token(json!({})), bound(&P256));
    let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims(&free).to_string());
    let invalid_token = deny(Reason::InvalidCredentials, &[BEARER, &dpop(", error=\"invalid_token\"")]);
    assert_eq!(once(&presented(&free, &proof)), invalid_token, "a token that is not bound");
    let as_bearer = request().header("authorization", format!("Bearer {bound}"));
    assert_eq!(once(&as_bearer), invalid_token, "a bound token as if it were free");
    let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims(&bound).to_string());
    assert_eq!(once(&as_bearer.header("dpop", proof.clone())), invalid_token, "even with its proof");
    assert_eq!(once(&presented("bad", &proof)), invalid_token);
    let missing = request().header("authorization", format!("DPoP {bound}"));
    assert_eq!(once(&missing), deny(Reason::InvalidProof, &[BEARER, &dpop(", error=\"invalid_dpop_proof\"")]));
    // A key that is bound to something that keys cannot prove is no key.
    let policy = policy(vec![vec![header_key("x-key")]]);
    let bound_key = key(json!({"cnf": {"jkt": thumbprint(&P256)}}));
    assert_eq!(super::reason(&policy, &request().header("x-key", bound_key)), Some(Reason::InvalidCredentials));
}

/// RFC 9449 section 4.3, point by point.
#[test]
fn proofs_that_are_none() {
    let token = bound(&P256);
    let (header, claims) = (proof_header(&P256, "ES256"), proof_claims(&token));
    let sign = |header: Value, claims: Value| P256.sign(&header.to_string(), &claims.to_string());
    let good = sign(header.clone(), claims.clone());
    let head = |changes: Value| sign(with(header.clone(), changes), claims.clone());
    let said = |changes: Value| sign(header.clone(), with(claims.clone(), changes));
    assert!(matches!(once(&presented(&token, &good)), Outcome::Allow { .. }));

    let other = Signer::ec("other", true);
    let other_proof = other.sign(&proof_header(&other, "ES256").to_string(), &claims.to_string());
    let forged = other.sign(&header.to_string(), &claims.to_string());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let private = with(public(&P256), json!({"d": "AAAA"}));
    let refused = deny(Reason::InvalidProof, &[BEARER, &dpop(", error=\"invalid_dpop_proof\"")]);
    for (what, proof) in [
        ("two headers", format!("{good},{good}")),
        ("two headers, the second empty", format!("{good},")),
        ("no JWT", "proof".to_owned()),
        ("nothing", String::new()),
        ("four parts", format!("{good}.x")),
        ("long", format!("{good}{}", "A".repeat(8192))),
        ("unsigned", format!("{input}.")),
        (
            "another signature",
            format!("{input}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]),
        ),
        ("forged", forged),
        ("another key", other_proof),
        ("no type", head(json!({"typ": null}))),
        ("another type", head(json!({"typ": "JWT"}))),
        ("no algorithm", head(json!({"alg": null}))),
        ("alg none", head(json!({"alg": "none"}))),
        ("symmetric", head(json!({"alg": "HS256"}))),
        ("another algorithm", head(json!({"alg": "ES384"}))),
        ("algorithm of another key", head(json!({"alg": "RS256"}))),
        ("no key", head(json!({"jwk": null}))),
        ("key is text", head(json!({"jwk": "x"}))),
        ("private key", head(json!({"jwk": private}))),
        ("symmetric key", head(json!({"jwk": {"kty": "oct", "k": "AAAA"}}))),
        ("crit", head(json!({"crit": ["x"]}))),
        ("b64", head(json!({"b64": true}))),
        ("no id", said(json!({"jti": null}))),
        ("empty id", said(json!({"jti": ""}))),
        ("id is a number", said(json!({"jti": 1}))),
        ("no method", said(json!({"htm": null}))),
        ("another method", said(json!({"htm": "POST"}))),
        ("method in lower case", said(json!({"htm": "get"}))),
        ("no URL", said(json!({"htu": null}))),
        ("another scheme", said(json!({"htu": URL.replace("https", "http")}))),
        ("another host", said(json!({"htu": "https://api.example.evil/v2/pet/1"}))),
        ("another port", said(json!({"htu": "https://api.example:8443/v2/pet/1"}))),
        ("another path", said(json!({"htu": "https://api.example/v2/pet/2"}))),
        ("path alone", said(json!({"htu": "/v2/pet/1"}))),
        ("no date", said(json!({"iat": null}))),
        ("date is text", said(json!({"iat": "now"}))),
        ("too old", said(json!({"iat": NOW - 66}))),
        ("of the future", said(json!({"iat": NOW + 6}))),
        ("no token", said(json!({"ath": null}))),
        ("another token", said(json!({"ath": encode(Sha256::digest("other"))}))),
        ("duplicate claim", P256.sign(&header.to_string(), &claims.to_string().replacen('{', "{\"jti\":\"two\",", 1))),
        ("claims are a list", P256.sign(&header.to_string(), "[]")),
    ] {
        assert_eq!(once(&presented(&token, &proof)), refused, "{what}");
    }
    for (what, proof) in [
        ("query and fragment", said(json!({"htu": format!("{URL}?a=b#c")}))),
        ("default port and capitals", said(json!({"htu": "HTTPS://API.example:443/v2/pet/1"}))),
        ("dots", said(json!({"htu": "https://api.example/v2/x/../pet/%31"}))),
        ("as old as can be", said(json!({"iat": NOW - 65}))),
        ("a clock that is ahead", said(json!({"iat": NOW + 5}))),
        ("a kid", head(json!({"kid": "x"}))),
    ] {
        assert!(matches!(once(&presented(&token, &proof)), Outcome::Allow { .. }), "{what}");
    }
    let with_query = presented(&token, &good).query("a=b");
    assert!(matches!(once(&with_query), Outcome::Allow { .. }));
}

#[test]
fn a_proof_holds_once() {
    let rule = rule(policy(vec![vec![oauth2(&["admin"], false)], vec![oauth2(&[], false)]]));
    let token = bound(&P256);
    let sign = |id: &str| {
        let claims = with(proof_claims(&token), json!({"jti": id}));
        P256.sign(&proof_header(&P256, "ES256").to_string(), &claims.to_string())
    };
    let facts = Memory::default();
    let decide = |proof: &str| run(&rule, &presented(&token, proof), &facts, &mut answer);
    // Two alternatives ask for the token: the proof is looked at once.
    let first = sign("one");
    assert!(matches!(decide(&first), Outcome::Allow { .. }));
    let refused = deny(Reason::InvalidProof, &[BEARER, &dpop(", error=\"invalid_dpop_proof\"")]);
    assert_eq!(decide(&first), refused);
    // Signed anew it is still the same.
    assert_eq!(decide(&sign("one")), refused);
    assert!(matches!(decide(&sign("two")), Outcome::Allow { .. }));
}

/// Remembers nothing about proofs, or has no room.
struct NoRoom;

impl Facts for NoRoom {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}
}

#[test]
fn a_proof_that_cannot_be_remembered_does_not_pass() {
    let rule = rule(policy(vec![vec![oauth2(&[], false)]]));
    let token = bound(&P256);
    let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims(&token).to_string());
    assert_eq!(run(&rule, &presented(&token, &proof), &NoRoom, &mut answer), deny(Reason::Unavailable, &[]));
}

/// Counts what it is asked to remember.
#[derive(Default)]
struct Watching(std::sync::atomic::AtomicUsize);

impl Facts for Watching {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Novelty::Fresh
    }
}

#[test]
fn garbage_is_not_remembered() {
    let (rule, facts) = (rule(policy(vec![vec![oauth2(&[], false)]])), Watching::default());
    let token = bound(&P256);
    let good = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims(&token).to_string());
    let stranger = Signer::ec("other", true);
    let forged_token = stranger.token("ES256", &with(access(), json!({"cnf": {"jkt": thumbprint(&stranger)}})));
    let forged = stranger.sign(&proof_header(&stranger, "ES256").to_string(), &proof_claims(&forged_token).to_string());
    for request in [
        presented(&forged_token, &forged),
        presented(&token, &forged),
        presented(&token, &good[..good.len() - 4]),
        presented("bad", &good),
        request().header("dpop", good.clone()),
    ] {
        assert!(matches!(run(&rule, &request, &facts, &mut answer), Outcome::Deny { .. }));
    }
    assert_eq!(facts.0.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(matches!(run(&rule, &presented(&token, &good), &facts, &mut answer), Outcome::Allow { .. }));
    assert_eq!(facts.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn an_issuer_can_insist() {
    let mut book = book(policy(vec![vec![oauth2(&["admin"], false)]]));
    book.issuers[0].require_dpop = true;
    let token = token(json!({"scope": "admin"}));
    let plain = dpop("");
    assert_eq!(once_with(&book, &request()), deny(Reason::MissingCredentials, &[&plain]));
    let free = request().header("authorization", format!("Bearer {token}"));
    assert_eq!(once_with(&book, &free), deny(Reason::InvalidCredentials, &[&plain]));
    let bound = super::token(json!({"cnf": {"jkt": thumbprint(&P256)}}));
    let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims(&bound).to_string());
    let scope = dpop(", error=\"insufficient_scope\", scope=\"admin\"");
    assert_eq!(once_with(&book, &presented(&bound, &proof)), deny(Reason::InsufficientScope, &[&scope]));
    // With an issuer beside it that does not, clients may come either way.
    let second = proto::Issuer { issuer: "https://two.example".into(), require_dpop: false, ..book.issuers[0].clone() };
    book.issuers.push(second);
    assert_eq!(once_with(&book, &request()), deny(Reason::MissingCredentials, &[BEARER, &plain]));
}

#[test]
fn the_gateway_may_be_known_by_other_names() {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    let origins = ["https://one.example/gw/", "https://two.example:8443"].map(str::to_owned);
    book.dpop = Some(proto::Dpop { origins: origins.into(), max_age_seconds: 60, skew_seconds: 5 });
    let token = bound(&P256);
    for (url, passes) in [
        ("https://one.example/gw/v2/pet/1", true),
        ("https://two.example:8443/v2/pet/1", true),
        ("https://one.example/v2/pet/1", false),
        (URL, false),
    ] {
        let claims = with(proof_claims(&token), json!({"htu": url}));
        let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &claims.to_string());
        let outcome = once_with(&book, &presented(&token, &proof));
        assert_eq!(matches!(outcome, Outcome::Allow { .. }), passes, "{url}: {outcome:?}");
    }
}

/// The authorization server says what an opaque token is bound to.
#[test]
fn opaque_tokens_can_be_bound() {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    book.introspection = Some(introspection());
    let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
    let mut server = |lookup: &Lookup| match lookup {
        Lookup::Introspection { reader, .. } => {
            let text = json!({"active": true, "cnf": {"jkt": thumbprint(&P256)}}).to_string();
            reader.read(text.as_bytes()).map_or_else(Answer::Refused, |identity| Answer::Identity(Arc::new(identity)))
        }
        other => answer(other),
    };
    let proof = P256.sign(&proof_header(&P256, "ES256").to_string(), &proof_claims("opaque").to_string());
    let facts = Memory::default();
    assert!(matches!(run(&rule, &presented("opaque", &proof), &facts, &mut server), Outcome::Allow { .. }));
    let free = request().header("authorization", "Bearer opaque");
    assert!(matches!(run(&rule, &free, &facts, &mut server), Outcome::Deny { .. }));
}
