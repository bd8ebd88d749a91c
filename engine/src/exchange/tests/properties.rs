//! Random requirements and random credentials of every kind, judged by the engine and by a naive reading of the same.

use proptest::prelude::*;
use serde_json::json;

use super::possession::proof;
use super::*;
use crate::fixtures::{basic, cookie_key, introspection};
use crate::identity::KeyTerms;
use crate::{OpaqueKey, opaque as opaque_keys};

/// A requirement: which credential, and whether it asks for the scope that only some have.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Token { scope: bool },
    User { scope: bool },
    Key(usize),
    Certificate { optional: bool },
    Unenforceable,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        4 => any::<bool>().prop_map(|scope| Wanted::Token { scope }),
        3 => any::<bool>().prop_map(|scope| Wanted::User { scope }),
        4 => (0..4usize).prop_map(Wanted::Key),
        2 => any::<bool>().prop_map(|optional| Wanted::Certificate { optional }),
        1 => Just(Wanted::Unenforceable),
    ]
}

/// What the header for tokens and users holds, and whether the caller has what a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Header {
    Nothing,
    BadToken {
        opaque: bool,
    },
    /// A JWT, or one that the authorization server is asked about.
    Token {
        scope: bool,
        bound: Bound,
        opaque: bool,
    },
    User {
        right: bool,
        scope: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Free,
    /// To a key. Presented as such, and with which proof.
    Key {
        scheme: bool,
        proof: Option<bool>,
    },
    /// To the certificate that is good.
    Certificate,
    /// To nothing, and presented as if it were, with a proof.
    Pretended,
}

fn bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        3 => Just(Bound::Free),
        3 => (prop::bool::weighted(0.8), prop::option::weighted(0.9, prop::bool::weighted(0.8)))
            .prop_map(|(scheme, proof)| Bound::Key { scheme, proof }),
        2 => Just(Bound::Certificate),
        1 => Just(Bound::Pretended),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    prop_oneof![
        1 => Just(Header::Nothing),
        1 => any::<bool>().prop_map(|opaque| Header::BadToken { opaque }),
        6 => (any::<bool>(), bound(), any::<bool>())
            .prop_map(|(scope, bound, opaque)| Header::Token { scope, bound, opaque }),
        3 => (prop::bool::weighted(0.7), any::<bool>()).prop_map(|(right, scope)| Header::User { right, scope }),
    ]
}

/// An API key, in one of four places.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Nothing,
    Bad,
    Signed,
    Opaque,
    /// Looks like one, and nobody knows it.
    UnknownOpaque,
}

fn given() -> impl Strategy<Value = Given> {
    use Given::{Bad, Nothing, Opaque, Signed, UnknownOpaque};
    prop::sample::select(vec![Nothing, Bad, Signed, Signed, Opaque, Opaque, UnknownOpaque])
}

/// One that is pinned, and one that is not: thumbprint, and as it is shown.
static CERTIFICATES: std::sync::LazyLock<[([u8; 32], String); 2]> = std::sync::LazyLock::new(|| {
    ["good", "other"].map(|name| {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.into()]).unwrap().self_signed(&pair).unwrap();
        let encoded = certificate.pem().bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        (crate::certificate::thumbprint(certificate.der()), encoded)
    })
});

/// A token: with the scope or not, free, bound to the key of [`proof`], or to the good certificate.
static TOKENS: std::sync::LazyLock<[[String; 3]; 2]> =
    std::sync::LazyLock::new(|| CLAIMS.clone().map(|bindings| bindings.map(token)));
/// What they say beside what every token does. Of an opaque one the authorization server says so.
static CLAIMS: std::sync::LazyLock<[[Value; 3]; 2]> = std::sync::LazyLock::new(|| {
    [json!({}), json!({"scope": "better"})].map(|scope| {
        let bindings =
            [json!({}), json!({"cnf": {"jkt": possession::thumbprint(&P256)}}), bound::bound_to(CERTIFICATES[0].0)];
        bindings.map(|binding| with(scope.clone(), binding))
    })
});
/// Their opaque counterparts.
const OPAQUE: [[&str; 3]; 2] = [["plain", "keyed", "certified"], ["better-plain", "better-keyed", "better-certified"]];
static KEY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| key(json!({})));

/// The reading that the engine must agree with.
fn holds(wanted: Wanted, header: Header, keys: [Given; 4], shown: Option<bool>) -> bool {
    let possession = |bound| match bound {
        Bound::Free => true,
        Bound::Key { scheme, proof } => scheme && proof == Some(true),
        Bound::Certificate => shown == Some(true),
        Bound::Pretended => false,
    };
    match (wanted, header) {
        (Wanted::Token { scope: asked }, Header::Token { scope, bound, .. }) => possession(bound) && (scope || !asked),
        (Wanted::User { scope: asked }, Header::User { right, scope }) => right && (scope || !asked),
        (Wanted::Key(place), _) => matches!(keys[place], Given::Signed | Given::Opaque),
        (Wanted::Certificate { optional }, _) => shown.unwrap_or(optional),
        _ => false,
    }
}

/// The request, with its `number` for a proof that was not used before.
fn presented(header: Header, keys: [Given; 4], number: u32) -> Request {
    let mut request = request();
    match header {
        Header::Nothing => {}
        Header::BadToken { opaque } => {
            request = request.header("authorization", if opaque { "Bearer bad" } else { "Bearer bad.bad.bad" });
        }
        Header::User { right, scope } => {
            let login =
                format!("{}:{}", if scope { "better" } else { "alice" }, if right { "secret" } else { "wrong" });
            let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login);
            request = request.header("authorization", format!("Basic {login}"));
        }
        Header::Token { scope, bound, opaque } => {
            let (binding, dpop, right) = match bound {
                Bound::Free => (0, false, None),
                Bound::Pretended => (0, true, Some(true)),
                Bound::Key { scheme, proof } => (1, scheme, proof),
                Bound::Certificate => (2, false, None),
            };
            let scope = usize::from(scope);
            let token = if opaque { OPAQUE[scope][binding] } else { &TOKENS[scope][binding] };
            request = request.header("authorization", format!("{} {token}", if dpop { "DPoP" } else { "Bearer" }));
            if let Some(right) = right {
                request = request.header("dpop", proof(if right { token } else { "other" }, &number.to_string()));
            }
        }
    }
    for (place, key) in keys.into_iter().enumerate() {
        let value = match key {
            Given::Nothing => continue,
            Given::Bad => "bad".to_owned(),
            Given::Signed => KEY.clone(),
            Given::Opaque => opaque_keys::key([1; 32]),
            Given::UnknownOpaque => opaque_keys::key([2; 32]),
        };
        request = match place {
            2 => request.query(format!("key2={value}")),
            3 => request.header("cookie", format!("a=b; key3={value}")),
            _ => request.header(&format!("key{place}"), value),
        };
    }
    request
}

fn answer_all(lookup: &Lookup) -> Answer {
    match lookup {
        Lookup::Password { user, password, .. } if &*user.0 == "better" && &*password.0 == "secret" => {
            Answer::Identity(Arc::new(Identity::user("better", ["better"])))
        }
        Lookup::Introspection { token, reader, .. } => {
            let find = |scope: usize| Some((scope, OPAQUE[scope].iter().position(|name| *name == &*token.0)?));
            let said = match (0..OPAQUE.len()).find_map(find) {
                Some((scope, binding)) => with(json!({"active": true, "sub": "alice"}), CLAIMS[scope][binding].clone()),
                None => json!({"active": false}),
            };
            let read = reader.read(said.to_string().as_bytes());
            read.map_or_else(Answer::Refused, |identity| Answer::Identity(Arc::new(identity)))
        }
        other => answer(other),
    }
}

proptest! {
    #[test]
    fn alternatives_mean_what_a_naive_reading_says(
        alternatives in prop::collection::vec(prop::collection::vec(wanted(), 1..4), 0..4),
        header in header(),
        keys in prop::array::uniform4(given()),
        shown in prop::option::of(prop::bool::weighted(0.7)),
    ) {
        let kind = |wanted: &Wanted| match wanted {
            Wanted::Token { scope } => oauth2(if *scope { &["better"] } else { &[] }, false),
            Wanted::User { scope } => basic(if *scope { &["better"] } else { &[] }),
            Wanted::Key(2) => query_key("key2"),
            Wanted::Key(3) => cookie_key("key3"),
            Wanted::Key(place) => header_key(&format!("key{place}")),
            Wanted::Certificate { optional } => {
                proto::requirement::Kind::ClientCertificate(proto::ClientCertificate { optional: *optional })
            }
            Wanted::Unenforceable => proto::requirement::Kind::Unenforceable("x".into()),
        };
        let pins = proto::CertificateRule { pins: vec![CERTIFICATES[0].0.to_vec()], ..Default::default() };
        let mut book = book(proto::Policy {
            client_trust: Some(proto::ClientTrust { rules: vec![pins] }),
            ..policy(alternatives.iter().map(|all| all.iter().map(kind).collect()).collect())
        });
        book.introspection = Some(introspection());
        let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
        let certificate = shown.map(|good| {
            let (thumbprint, chain) = &CERTIFICATES[usize::from(!good)];
            ClientCertificate { thumbprint: *thumbprint, chain }
        });
        let mut facts = Memory::default();
        let live = Identity::opaque_key(KeyTerms { id: "one".into(), owner: "alice".into(), ..KeyTerms::default() });
        facts.1.insert(opaque_keys::hash(&opaque_keys::key([1; 32])).unwrap(), OpaqueKey::Known(Arc::new(live)));
        let expected = alternatives.iter().any(|all| all.iter().all(|wanted| holds(*wanted, header, keys, shown)));
        // Twice with one memory: what is known changes nothing.
        for number in 0..2 {
            let request = presented(header, keys, number);
            let outcome = run_with(&rule, &request, certificate, &facts, &mut answer_all);
            prop_assert_eq!(matches!(outcome, Outcome::Allow { .. }), expected, "{:?}", outcome);
        }
    }

    #[test]
    fn no_request_panics(
        authorization in "(DPoP )?\\PC{0,60}",
        key in "\\PC{0,60}",
        query in "\\PC{0,60}",
        proof in "\\PC{0,60}",
    ) {
        let policy = policy(vec![vec![oauth2(&["a"], true), header_key("x-key")], vec![query_key("k")]]);
        let request = request().header("authorization", authorization).header("x-key", key).query(query);
        prop_assert!(reason(&policy, &request.header("dpop", proof)).is_some());
    }
}
