//! Certificates as proxies tell of them in a header. Whatever is made of the text, only the one that is pinned passes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_engine::{Decision, Exchange, RequestHead, Rule, Step, UnixTime};
use microgw_proto::rules::v1 as proto;
use proto::requirement::Kind;
use sha2::{Digest as _, Sha256};

use crate::credentials::{Forgetful, NOW, book};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "certificate",
    run,
    reaches: &["no text", "refused", "accepted"],
    dictionary: &[
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "-----BEGIN%20CERTIFICATE-----",
        "%0A",
        "%2B",
        "%",
        ":",
        "=",
        "MII",
        "0\u{82}",
    ],
    mutations: 3000,
};

/// A certificate whose key nobody kept, in base64.
const PINNED: &str = include_str!("../corpus/certificate/pinned-der");

static RULE: LazyLock<Arc<Rule>> = LazyLock::new(|| {
    let mut book = book(vec![vec![Kind::ClientCertificate(proto::ClientCertificate::default())]]);
    let pin = Sha256::digest(STANDARD.decode(PINNED).unwrap()).to_vec();
    let rule = proto::CertificateRule { pins: vec![pin], ..proto::CertificateRule::default() };
    book.policies[0].client_trust = Some(proto::ClientTrust { rules: vec![rule] });
    book.certificate_header = Some(proto::CertificateHeader {
        name: "x-cert".to_owned(),
        addresses: vec![proto::AddressRange { address: vec![10, 0, 0, 0], prefix: 8 }],
        ..proto::CertificateHeader::default()
    });
    Rule::load(&book).unwrap().remove(0).1
});

pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    let headers = HashMap::from([("x-cert".to_owned(), text.to_owned())]);
    let step = Exchange::new(&RULE, &Forgetful, UnixTime(NOW)).on_request_head(RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1",
        headers: &headers,
        certificate: None,
        peer: "10.0.0.1",
        has_body: None,
    });
    if !matches!(step, Step::Done(Decision::Allow(_))) {
        return "refused";
    }
    // Readers differ in what padding they take.
    assert!(says(text, PINNED.trim_end_matches('=')), "another certificate passed: {text}");
    "accepted"
}

/// Whether the text has these digits in it, in clear, escaped, or in base64 once more.
fn says(text: &str, digits: &str) -> bool {
    let plain = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
    let unescaped = unescape(text);
    let again =
        STANDARD.decode(plain(&unescaped).trim_matches(':')).ok().and_then(|inner| String::from_utf8(inner).ok());
    [Some(text.to_owned()), Some(unescaped), again].into_iter().flatten().any(|text| plain(&text).contains(digits))
}

fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        (out, rest) = match (first, escaped) {
            (b'%', Some(byte)) => ([out, vec![byte]].concat(), &after[2..]),
            _ => ([out, vec![*first]].concat(), after),
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}
