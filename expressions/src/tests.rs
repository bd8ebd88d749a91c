use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A request, by what expressions may ask of it.
#[derive(Default)]
struct Request {
    values: BTreeMap<Variable, Value<'static>>,
    asked: AtomicUsize,
}

impl Variables for Request {
    fn get(&self, variable: &Variable) -> Value<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.values.get(variable).cloned().unwrap_or(Value::Absent)
    }
}

fn text(text: &str) -> Value<'static> {
    Value::Text(Cow::Owned(text.to_owned()))
}

fn texts(texts: &[&str]) -> Value<'static> {
    Value::Texts(texts.iter().map(|text| Cow::Owned((*text).to_owned())).collect())
}

fn request() -> Request {
    let values = [
        (Variable::Method, text("GET")),
        (Variable::Path, text("/pets/1")),
        (Variable::Header("x-partner".into()), text("acme-1")),
        (Variable::Query("sort".into()), texts(&["up", "down"])),
        (Variable::Address, text("192.0.2.1")),
        (Variable::Scopes, texts(&["read", "write"])),
        (Variable::Claim("dept".into()), text("sales")),
        (Variable::Claim("level".into()), Value::Integer(7)),
        (Variable::Claim("groups".into()), texts(&["a", "b"])),
        (Variable::Claim("admin".into()), Value::Boolean(true)),
        (Variable::Claim("ratio".into()), Value::Number(0.5)),
        (Variable::ApiVersion, text("1.0")),
    ];
    Request { values: values.into(), ..Request::default() }
}

fn is_true(expression: &str) -> Result<bool, Failed> {
    let expression = Expression::condition(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    expression.is_true(&request())
}

#[track_caller]
fn refused(expression: &str) -> ExpressionError {
    Expression::condition(expression).expect_err(expression)
}

#[test]
fn conditions_see_what_the_request_has() {
    for expression in [
        "request.method == 'GET' && request.path.startsWith('/pets')",
        r#"request.headers["x-partner"] == "acme-1""#,
        r#"request.headers["X-Partner"].matches("^acme-[0-9]+$")"#,
        "matches(request.headers['x-partner'], 'acme')",
        "'down' in request.query.sort && size(request.query.sort) == 2 && request.query['sort'][0] == 'up'",
        "request.query.sort.exists(v, v == 'down') && request.query.sort.all(v, v != 'left')",
        "request.query.sort.exists_one(v, v == 'up')",
        "'read' in caller.scopes && !('admin' in caller.scopes)",
        "caller.claims.dept == 'sales' && caller.claims.level >= 7 && 'b' in caller.claims.groups && caller.claims.admin",
        "caller.claims.ratio < 0.75 && caller.claims.level + 1 == 8",
        "client.ip in ['192.0.2.1', '192.0.2.2']",
        "api.version == '1.0' ? true : false",
        "has(request.headers.host) || has(caller.claims.dept)",
        "'x-partner' in request.headers && !('x-other' in request.headers)",
        "['a', 'b'].exists(x, x in caller.claims.groups)",
        "string(caller.claims.level) == '7' && int('3') == 3 && double('0.5') == 0.5",
    ] {
        assert_eq!(is_true(expression), Ok(true), "{expression}");
    }
}

#[test]
fn what_is_not_there_is_empty() {
    for expression in [
        "request.headers['x-none'] == ''",
        "size(request.query.none) == 0",
        "caller.claims.none == null && caller.claims.none != 'x'",
        "caller.subject == '' && caller.application == ''",
        "!has(request.query.none)",
    ] {
        assert_eq!(is_true(expression), Ok(true), "{expression}");
    }
}

#[test]
fn what_has_no_result_fails() {
    for expression in [
        "caller.claims.none > 3",
        "caller.claims.dept > 3",
        "1 / size(request.query.none) == 1",
        "request.query.none[0] == 'x'",
        "caller.claims.dept",
        "9223372036854775807 + 1 > 0",
        "int(request.method) == 1",
    ] {
        assert_eq!(is_true(expression), Err(Failed), "{expression}");
    }
    let mut unclear = request();
    unclear.values.insert(Variable::Address, Value::Unclear);
    unclear.values.insert(Variable::Header("x-partner".into()), Value::Unclear);
    for expression in ["client.ip == ''", "client.ip != '192.0.2.1'", "request.headers['x-partner'] == 'acme-1'"] {
        assert_eq!(Expression::condition(expression).unwrap().is_true(&unclear), Err(Failed), "{expression}");
    }
    let there = Expression::condition("'x-partner' in request.headers || client.ip == ''").unwrap();
    assert_eq!(there.is_true(&unclear), Ok(true), "that it is there is clear");
    // What decides by itself does.
    assert_eq!(is_true("true || caller.claims.none > 3"), Ok(true));
    assert_eq!(is_true("caller.claims.none > 3 && false"), Ok(false));
}

#[test]
fn costs_are_whole_and_bounded() {
    let cost = |expression: &str| Expression::cost(expression).unwrap().cost_of(&request());
    assert_eq!(cost("10"), Ok(10));
    assert_eq!(cost("request.method == 'GET' ? 1 : 10"), Ok(1));
    assert_eq!(cost("size(request.query.sort) * 5"), Ok(10));
    assert_eq!(cost("1.2"), Ok(2));
    assert_eq!(cost("0"), Ok(0));
    assert_eq!(cost("-0.0"), Ok(0));
    for negative in ["-3", "-0.5", "-1e300", "size(request.query.none) - 1", "-9223372036854775807"] {
        assert_eq!(cost(negative), Err(Failed), "{negative}: nothing is cheaper than nothing");
    }
    assert_eq!(cost("3u"), Ok(3));
    assert_eq!(cost("5000000"), Ok(MAX_COST));
    assert_eq!(cost("1e300"), Ok(MAX_COST));
    assert_eq!(cost("0.0 / 0.0"), Err(Failed));
    assert_eq!(cost("caller.claims.dept"), Err(Failed));
    assert!(matches!(Expression::cost("'ten'"), Err(ExpressionError::Result { .. })));
    assert!(matches!(Expression::cost("true"), Err(ExpressionError::Result { .. })));
}

#[test]
fn an_expression_tells_what_it_needs() {
    let expression = Expression::condition(
        "request.headers['X-A'] == '1' && has(caller.claims.dept) && request.headers['x-a'] != caller.claims.level",
    );
    let expected = [
        Variable::Header("x-a".into()),
        Variable::Present(Box::new(Variable::Claim("dept".into()))),
        Variable::Claim("level".into()),
    ];
    assert_eq!(expression.unwrap().variables(), expected);
}

#[test]
fn only_what_is_met_is_made_and_only_once() {
    let asked = |expression: &str| {
        let request = request();
        let _ = Expression::condition(expression).unwrap().is_true(&request);
        request.asked.into_inner()
    };
    assert_eq!(asked("request.method == 'POST' && request.path == '/'"), 1);
    assert_eq!(asked("request.query.sort.all(v, v in caller.scopes || v != request.path)"), 3);
}

#[test]
fn unknown_names_and_functions_are_refused() {
    for name in
        ["foo == 1", "request.body == ''", "request == 1", "caller.claims.a.b == 1", "int == 1", "caller.email == ''"]
    {
        assert!(matches!(refused(name), ExpressionError::UnknownName(_)), "{name}: {:?}", refused(name));
    }
    for name in [
        "foo(1)",
        "'a'.lowerAscii() == 'a'",
        "timestamp('x') > 1",
        "dyn(1) == 1",
        "type(1) == 1",
        "has(request.method)",
    ] {
        assert!(
            matches!(refused(name), ExpressionError::UnknownFunction(_) | ExpressionError::UnknownName(_)),
            "{name}: {:?}",
            refused(name)
        );
    }
    for name in [
        "request.headers == 1",
        "request.headers[request.method] == ''",
        "request.method in request.headers",
        "caller.claims.exists(c, c == 'a')",
        "size(request.query) > 1",
    ] {
        assert!(matches!(refused(name), ExpressionError::NoName(_)), "{name}: {:?}", refused(name));
    }
}

#[test]
fn what_can_never_be_equal_is_refused() {
    for expression in [
        "request.query.sort == 'up'",
        "request.method == 1",
        "request.query.sort.contains('up')",
        "request.method && true",
        "'a' in request.method",
        "request.headers.a < 3",
        "!request.method",
        "request.query.sort.matches('a')",
        "request.method[0] == 'G'",
    ] {
        assert!(
            matches!(refused(expression), ExpressionError::Kinds { .. }),
            "{expression}: {:?}",
            refused(expression)
        );
    }
    assert!(matches!(refused("request.method"), ExpressionError::Result { .. }));
    assert!(matches!(refused("1"), ExpressionError::Result { .. }));
}

#[test]
fn patterns_are_compiled_once_and_bounded() {
    assert_eq!(refused("request.path.matches(request.method)"), ExpressionError::NoPattern);
    assert_eq!(refused("request.path.matches()"), ExpressionError::NoPattern);
    assert!(matches!(refused("request.path.matches('(')"), ExpressionError::Pattern(PatternError::Syntax(_))));
    assert_eq!(refused("request.path.matches('a{1000}{1000}')"), PatternError::TooLarge.into());
    let long = format!("request.path.matches('{}')", "a".repeat(MAX_PATTERN_LENGTH + 1));
    assert_eq!(refused(&long), PatternError::TooLong.into());
}

#[test]
fn what_grows_faster_than_its_input_is_refused() {
    assert!(matches!(refused("caller.scopes.map(x, x).size() > 1"), ExpressionError::MakesLists(_)));
    assert!(matches!(refused("caller.scopes.filter(x, x == 'a').size() > 1"), ExpressionError::MakesLists(_)));
    assert_eq!(refused("caller.scopes.all(x, caller.scopes.all(y, x == y))"), ExpressionError::NestedLoops);
    assert_eq!(refused("caller.scopes.all(x, x + x != 'a')"), ExpressionError::Joins);
    assert_eq!(refused("(caller.scopes + caller.scopes).all(x, x != 'a')"), ExpressionError::Joins);
    assert_eq!(refused("{'a': 1} == {'a': 1}"), ExpressionError::MakesMaps);
    let terms = |term: &str, count| vec![term; count].join(" && ");
    assert_eq!(refused(&terms("caller.scopes.all(x, x != '')", 20)), ExpressionError::TooCostly);
    assert!(Expression::condition(&terms("caller.scopes.all(x, x != '')", 3)).is_ok());
    let joined = |count| format!("{} == ''", vec!["request.path"; count].join(" + "));
    assert_eq!(refused(&joined(40)), ExpressionError::TooDeep);
    assert_eq!(refused(&terms(&joined(8), 6)), ExpressionError::TooCostly);
}

#[test]
fn what_a_request_has_too_much_of_fails() {
    let with = |variable: Variable, value: Value<'static>| Request {
        values: [(variable, value)].into(),
        ..Request::default()
    };
    let many = vec!["x"; MAX_ITEMS + 1];
    let expression = Expression::condition("'y' in request.query.q").unwrap();
    assert_eq!(expression.is_true(&with(Variable::Query("q".into()), texts(&many))), Err(Failed));
    assert_eq!(expression.is_true(&with(Variable::Query("q".into()), texts(many.split_last().unwrap().1))), Ok(false));
    let expression = Expression::condition("request.path == '/'").unwrap();
    assert_eq!(expression.is_true(&with(Variable::Path, text(&"x".repeat(MAX_TEXT + 1)))), Err(Failed));
}

/// As small as the stack of a thread that serves requests.
#[test]
fn no_expression_is_deep_or_long_enough_to_harm_its_reader() {
    let sources = [
        format!("a{}", ".a".repeat(2047)),
        format!("{}true", "!".repeat(4000)),
        format!("{}1", "-".repeat(4000)),
        "(".repeat(4000),
        "[".repeat(4000),
        format!("{}true{}", "(".repeat(200), ")".repeat(200)),
        format!("a{}", ".a".repeat(250)),
        format!("a{}", "[0]".repeat(150)),
        format!("a{}", ".size()".repeat(100)),
        format!("{}true", "!(".repeat(200)),
        format!("{}1", "-".repeat(500)),
        format!("{}true", "! ".repeat(500)),
        format!("true{}", " ? true : true".repeat(100)),
        format!("1{} == 1", " - 1".repeat(200)),
        format!("true{}", " && true".repeat(200)),
        format!("1{}", " in [1".repeat(80)),
        format!("\"\\\"\" == a{}", ".a".repeat(250)),
        "\"".repeat(500),
        "a.".repeat(250),
        "has(".repeat(100),
        "x.all(x,".repeat(60),
        String::new(),
        "\u{0}".to_owned(),
    ];
    let reader = move || {
        for source in sources {
            let _ = Expression::condition(&source).map(|expression| expression.is_true(&request()));
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(reader).unwrap().join().unwrap();
}

#[test]
fn errors_say_where() {
    assert!(
        matches!(refused("request.method == "), ExpressionError::Syntax { column: 18.., .. }),
        "{:?}",
        refused("request.method == ")
    );
    assert_eq!(refused(&"x".repeat(MAX_LENGTH + 1)), ExpressionError::TooLong);
}
