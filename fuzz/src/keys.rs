//! Keys as issuers publish them and as they are configured: JWK sets, PEM, and the key that signs.

use microgw_engine::KeySet;
use microgw_extproc::signing::SigningKey;
use serde_json::Value;

use crate::credentials::{ACCESS_PEM, API_PEM};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "keys",
    run,
    reaches: &["refused", "key set", "certificate", "private key"],
    dictionary: &[
        "{\"keys\":[",
        "\"kty\":\"RSA\"",
        "\"kty\":\"EC\"",
        "\"kty\":\"OKP\"",
        "\"kty\":\"oct\"",
        "\"crv\":\"P-256\"",
        "\"crv\":\"P-384\"",
        "\"crv\":\"Ed25519\"",
        "\"n\":",
        "\"e\":\"AQAB\"",
        "\"x\":",
        "\"y\":",
        "\"d\":\"AA\"",
        "\"k\":\"AA\"",
        "\"kid\":",
        "\"use\":\"sig\"",
        "\"use\":\"enc\"",
        "\"alg\":\"ES256\"",
        "\"key_ops\":[\"verify\"]",
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN PUBLIC KEY-----\n",
        "-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----END PRIVATE KEY-----\n",
        "$1\n$2\n$3\n",
        "$4\n",
        "MII",
        "\n",
        "=",
    ],
    mutations: 3000,
};

/// `$1` to `$3` stand for the lines of a P-256 key, `$4` for that of an Ed25519 key: no private key is in the corpus.
pub fn run(data: &[u8]) -> Reached {
    let filled = std::str::from_utf8(data).ok().map(|text| {
        let lines = [&API_PEM, &ACCESS_PEM].into_iter().flat_map(|pem| pem.lines().filter(|line| !line.contains('-')));
        (1..).zip(lines).fold(text.to_owned(), |text, (number, line)| text.replace(&format!("${number}"), line))
    });
    let data = filled.as_ref().map_or(data, String::as_bytes);
    let mut reached = "refused";
    if let Ok(set) = KeySet::from_jwks(data) {
        let entries = serde_json::from_slice::<Value>(data).expect("what is no JSON passed");
        let entries = entries["keys"].as_array().expect("a set without keys passed").clone();
        assert_eq!(set.len() + set.skipped(), entries.len());
        let secret = |entry: &&Value| ["d", "k", "p", "q"].iter().any(|name| entry.get(name).is_some());
        assert!(set.len() <= entries.len() - entries.iter().filter(secret).count(), "a private key passed");
        // Of a set that stays the same no key is withdrawn.
        let same = KeySet::from_jwks(data).expect("it was read a moment ago").succeed(&set);
        assert_eq!(same.len(), set.len());
        let _ = KeySet::join([same, set.clone()]);
        assert!(format!("{set:?}").len() < 200 + entries.len() * 70_000);
        if !set.is_empty() {
            reached = "key set";
        }
    }
    if let Ok(set) = KeySet::from_pem(data) {
        assert!(!set.is_empty());
        let text = String::from_utf8_lossy(data);
        assert!(text.contains("-----BEGIN "), "what is no PEM passed");
        assert!(!text.lines().any(|line| line == "-----BEGIN PRIVATE KEY-----"), "a private key passed");
        reached = "certificate";
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(key) = SigningKey::from_pem(text)
    {
        assert_eq!(key.key_set().len(), 1);
        reached = "private key";
    }
    reached
}
