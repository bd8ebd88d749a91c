//! Proofs of possession (DPoP). What the client's key did not sign, for this request and this token, must never pass.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_engine::{
    Answer, CredentialDigest, Decision, Exchange, Facts, Identity, Lookup, Novelty, ProofId, RequestHead, Rule, Step,
    UnixTime,
};
use microgw_proto::rules::v1 as proto;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::credentials::{ACCESS_KEYS, IDP, NEVER, NOW, access_jwk, access_token, book, oauth2, sign};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "proof",
    run,
    reaches: &["no text", "refused", "accepted"],
    dictionary: &[".", "..", "=", "eyJ", "AA", " ", ",", "eyJ0eXAiOiJkcG9wK2p3dCIs"],
    mutations: 3000,
};

/// A token that is bound to the key that signs it, which is its client's, too.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(access_jwk().to_string()));
    access_token(&json!({ "iss": IDP, "sub": "alice", "exp": NEVER, "cnf": { "jkt": thumbprint } }))
});
/// A proof that passes. Signing is deterministic.
static PROOF: LazyLock<String> = LazyLock::new(|| {
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": access_jwk() });
    sign(header.to_string().as_bytes(), claims().to_string().as_bytes())
});
static RULE: LazyLock<Arc<Rule>> = LazyLock::new(|| {
    let mut book = book(vec![vec![oauth2(&[], false)]]);
    book.dpop = Some(proto::Dpop { max_age_seconds: 60, ..proto::Dpop::default() });
    Rule::load(&book).unwrap().remove(0).1
});

fn claims() -> Value {
    json!({
        "jti": "one", "htm": "GET", "htu": "https://api.example/v2/pet/1", "iat": NOW,
        "ath": URL_SAFE_NO_PAD.encode(Sha256::digest(&*TOKEN)),
    })
}

/// Every proof is a new one.
struct Fresh;

impl Facts for Fresh {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

    fn prove(&self, _: &ProofId, _: UnixTime, _: UnixTime) -> Novelty {
        Novelty::Fresh
    }
}

/// `+` and what is done to a proof that passes: offset, byte, again and again. `!` and claims, or `?` and a header, which the
/// client's key signs. Or the proof.
pub fn run(data: &[u8]) -> Reached {
    match data.split_first() {
        Some((b'+', edits)) => {
            let mut proof = PROOF.clone().into_bytes();
            for edit in edits.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % proof.len();
                proof[at] = edit[2];
            }
            let Ok(proof) = String::from_utf8(proof) else { return "no text" };
            let passes = passes(&proof);
            let said = |proof: &str| proof.rsplit_once('.').map(|(said, _)| said.to_owned());
            assert!(!passes || said(&proof) == said(&PROOF), "a forged proof passed: {proof}");
            reached(passes)
        }
        Some((b'!', claims)) => {
            let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": access_jwk() });
            let passes = passes(&sign(header.to_string().as_bytes(), claims));
            assert!(!passes || is_meant(claims), "a proof for something else passed");
            reached(passes)
        }
        Some((b'?', header)) => {
            let passes = passes(&sign(header, claims().to_string().as_bytes()));
            let said: Option<Value> = serde_json::from_slice(header).ok();
            let meant = said.is_some_and(|said| said["alg"] == "EdDSA" && said["jwk"]["x"] == access_jwk()["x"]);
            assert!(!passes || meant, "a proof of another key passed");
            reached(passes)
        }
        _ => {
            let Ok(proof) = std::str::from_utf8(data) else { return "no text" };
            reached(passes(proof))
        }
    }
}

fn reached(passes: bool) -> Reached {
    if passes { "accepted" } else { "refused" }
}

/// Read naively: for this method and this token, about now.
fn is_meant(claims: &[u8]) -> bool {
    let Ok(said) = serde_json::from_slice::<Value>(claims) else { return false };
    let wanted = self::claims();
    let now = said["iat"].as_f64().is_some_and(|at| (at - 1_700_000_000.0).abs() <= 120.0);
    said["htm"] == wanted["htm"] && said["ath"] == wanted["ath"] && said["jti"].is_string() && now
}

fn passes(proof: &str) -> bool {
    let headers = HashMap::from([
        ("authorization".to_owned(), format!("DPoP {}", *TOKEN)),
        ("dpop".to_owned(), proof.to_owned()),
    ]);
    let mut exchange = Exchange::new(&RULE, &Fresh, UnixTime(NOW));
    let mut step = exchange.on_request_head(RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1",
        headers: &headers,
        certificate: None,
        peer: "",
        has_body: None,
    });
    while let Step::Ask(lookup) = step {
        let keys = matches!(lookup, Lookup::Keys(_) | Lookup::FreshKeys(_));
        let answer = if keys { Answer::Keys(Arc::clone(&ACCESS_KEYS)) } else { Answer::Unavailable };
        step = exchange.resume(answer, UnixTime(NOW));
    }
    matches!(step, Step::Done(Decision::Allow(_)))
}
