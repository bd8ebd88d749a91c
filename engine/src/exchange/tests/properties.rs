use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A requirement in the property below: which credential, and whether it asks for the scope that only some tokens have.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Token { scope: bool },
    Key(usize),
    Unenforceable,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        3 => any::<bool>().prop_map(|scope| Wanted::Token { scope }),
        3 => (0..4usize).prop_map(Wanted::Key),
        1 => Just(Wanted::Unenforceable),
    ]
}

/// A credential in the property below.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Nothing,
    Bad,
    Good,
    /// A token with the scope; a key is only good.
    Better,
}

fn given() -> impl Strategy<Value = Given> {
    prop_oneof![Just(Given::Nothing), Just(Given::Bad), Just(Given::Good), Just(Given::Better)]
}

static TOKENS: std::sync::LazyLock<[String; 3]> =
    std::sync::LazyLock::new(|| [token(json!({})), token(json!({"scope": "better"})), key(json!({}))]);

proptest! {
    #[test]
    fn alternatives_mean_what_a_naive_reading_says(
        alternatives in prop::collection::vec(prop::collection::vec(wanted(), 1..4), 0..4),
        token in given(),
        keys in prop::array::uniform4(given()),
    ) {
        let kind = |wanted: &Wanted| match wanted {
            Wanted::Token { scope: true } => oauth2(&["better"], false),
            Wanted::Token { scope: false } => oauth2(&[], false),
            Wanted::Key(2) => query_key("key2"),
            Wanted::Key(3) => cookie_key("key3"),
            Wanted::Key(index) => header_key(&format!("key{index}")),
            Wanted::Unenforceable => proto::requirement::Kind::Unenforceable("x".into()),
        };
        let holds = |wanted: &Wanted| match wanted {
            Wanted::Token { scope: true } => token == Given::Better,
            Wanted::Token { scope: false } => matches!(token, Given::Good | Given::Better),
            Wanted::Key(index) => matches!(keys[*index], Given::Good | Given::Better),
            Wanted::Unenforceable => false,
        };
        let mut request = request();
        request = match token {
            Given::Nothing => request,
            Given::Bad => request.header("authorization", "Bearer bad"),
            Given::Good => request.header("authorization", format!("Bearer {}", TOKENS[0])),
            Given::Better => request.header("authorization", format!("Bearer {}", TOKENS[1])),
        };
        for (index, key) in keys.iter().enumerate() {
            let value = match key {
                Given::Nothing => continue,
                Given::Bad => "bad",
                Given::Good | Given::Better => &TOKENS[2],
            };
            request = match index {
                2 => request.query(format!("key2={value}")),
                3 => request.header("cookie", format!("a=b; key3={value}")),
                _ => request.header(&format!("key{index}"), value),
            };
        }
        let policy = policy(alternatives.iter().map(|alternative| alternative.iter().map(kind).collect()).collect());
        let expected = alternatives.iter().any(|alternative| alternative.iter().all(holds));
        let outcome = decide(&policy, &request);
        prop_assert_eq!(matches!(outcome, Outcome::Allow { .. }), expected, "{:?}", outcome);
    }

    #[test]
    fn no_request_panics(authorization in "\\PC{0,60}", key in "\\PC{0,60}", query in "\\PC{0,60}") {
        let policy = policy(vec![vec![oauth2(&["a"], true), header_key("x-key")], vec![query_key("k")]]);
        let request = request().header("authorization", authorization).header("x-key", key).query(query);
        prop_assert!(reason(&policy, &request).is_some());
    }
}
