//! Tokens that are bound to a client's certificate, RFC 8705 section 3.

use super::*;
use crate::fixtures::{encode, introspection};

const OWN: [u8; 32] = [7; 32];

/// The claim of a token that is bound to the certificate with this thumbprint.
pub(super) fn bound_to(thumbprint: [u8; 32]) -> Value {
    json!({"cnf": {"x5t#S256": encode(thumbprint)}})
}

fn outcome(rule: &Rule, facts: &Memory, token: &str, thumbprint: Option<[u8; 32]>) -> Option<Reason> {
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    let certificate = thumbprint.map(|thumbprint| ClientCertificate { thumbprint, chain: "" });
    let mut exchange = Exchange::new(rule, facts, UnixTime(NOW));
    let mut step = exchange.on_request_head(RequestHead { certificate, ..head("/v2/pet/1", &headers) });
    loop {
        match step {
            Step::Ask(Lookup::Introspection { reader, .. }) => {
                let text = json!({"active": true, "cnf": {"x5t#S256": encode(OWN)}}).to_string();
                let answer = reader
                    .read(text.as_bytes())
                    .map_or_else(Answer::Refused, |identity| Answer::Identity(Arc::new(identity)));
                step = exchange.resume(answer, UnixTime(NOW));
            }
            Step::Ask(lookup) => step = exchange.resume(answer(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(_)) => return None,
            Step::Done(Decision::Deny(deny)) => {
                assert_eq!(deny.challenges.iter().map(|it| &**it).collect::<Vec<_>>(), [INVALID_TOKEN]);
                return Some(deny.reason);
            }
        }
    }
}

/// However well the token is known.
#[test]
fn a_bound_token_needs_its_certificate_on_every_request() {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    book.introspection = Some(introspection());
    let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
    let jwt = token(json!({"cnf": {"x5t#S256": encode(OWN)}}));
    for bound in [jwt.as_str(), "opaque"] {
        let facts = Memory::default();
        for _ in 0..2 {
            let refused = Some(Reason::InvalidCredentials);
            assert_eq!(outcome(&rule, &facts, bound, None), refused);
            assert_eq!(outcome(&rule, &facts, bound, Some([8; 32])), refused);
            assert_eq!(outcome(&rule, &facts, bound, Some(OWN)), None);
        }
    }
    // A free one is not bound by a certificate that is there.
    assert_eq!(outcome(&rule, &Memory::default(), &token(json!({})), Some(OWN)), None);
}

/// What a proxy shows of itself is no client's, with or without the header that it is believed in.
#[test]
fn a_proxy_that_names_no_client_has_none() {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    let proxy = proto::AddressRange { address: vec![10, 0, 0, 1], prefix: 32 };
    book.certificate_header =
        Some(proto::CertificateHeader { name: "x-client".into(), addresses: vec![proxy], ..Default::default() });
    let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
    let jwt = token(json!({"cnf": {"x5t#S256": encode(OWN)}}));
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {jwt}"))]);
    let certificate = Some(ClientCertificate { thumbprint: OWN, chain: "" });
    let passes = |peer| {
        let facts = Memory::default();
        let mut exchange = Exchange::new(&rule, &facts, UnixTime(NOW));
        let mut step = exchange.on_request_head(RequestHead { certificate, peer, ..head("/v2/pet/1", &headers) });
        while let Step::Ask(lookup) = step {
            step = exchange.resume(answer(&lookup), UnixTime(NOW));
        }
        matches!(step, Step::Done(Decision::Allow(_)))
    };
    assert!(passes("10.0.0.9"), "a client of our own");
    assert!(!passes("10.0.0.1"), "the proxy");
}
