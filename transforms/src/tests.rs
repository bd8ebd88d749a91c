use std::borrow::Cow;
use std::collections::BTreeMap;

use microgw_expressions::{Value as Known, Variable, Variables};
use microgw_proto::transforms::v1 as proto;
use proptest::prelude::*;
use proto::edit::Operation;
use proto::step::Action;

use super::*;

#[derive(Default)]
struct Caller {
    request: Option<Message>,
    claims: BTreeMap<&'static str, &'static str>,
    path: BTreeMap<&'static str, &'static str>,
}

impl Variables for Caller {
    fn get(&self, variable: &Variable) -> Known<'_> {
        let text = |text: &'static str| Known::Text(Cow::Borrowed(text));
        match variable {
            Variable::Subject => text("ann"),
            Variable::ApiName => text("shop"),
            Variable::ApiBasePath => text("/shop/1"),
            Variable::Host => text("api.example.com"),
            Variable::Scopes => Known::Texts(vec!["read".into(), "write".into()]),
            Variable::Claim(name) => self.claims.get(&**name).map_or(Known::Absent, |value| text(value)),
            _ => Known::Absent,
        }
    }
}

impl Context for Caller {
    fn request(&self) -> Option<&Message> {
        self.request.as_ref()
    }

    fn path_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.path.get(name).map(|value| Cow::Borrowed(*value))
    }

    fn base_path(&self) -> &'static str {
        "/shop/1"
    }
}

fn edit(operation: Operation, name: &str, value: &str) -> proto::Edit {
    proto::Edit { operation: operation.into(), name: name.into(), value: value.into() }
}

fn headers(edits: Vec<proto::Edit>) -> Action {
    Action::Headers(proto::Edits { edits })
}

fn query(edits: Vec<proto::Edit>) -> Action {
    Action::Query(proto::Edits { edits })
}

fn json(operation: proto::json_edit::Operation, at: &str, to: &str, value: &str) -> Action {
    let operation = operation.into();
    Action::Json(proto::JsonEdits {
        edits: vec![proto::JsonEdit { operation, at: at.into(), to: to.into(), value: value.into() }],
    })
}

fn body(template: &str, content_type: &str) -> Action {
    Action::Body(proto::NewBody { template: template.into(), content_type: content_type.into() })
}

fn step(condition: &str, action: Action) -> proto::Step {
    proto::Step {
        condition: condition.into(),
        action: Some(action),
        source: "api.yaml:1:1".into(),
        ..proto::Step::default()
    }
}

fn load(direction: Direction, actions: Vec<Action>) -> Result<Transform, TransformError> {
    let steps = actions.into_iter().map(|action| step("", action)).collect();
    Transform::load(&proto::Transform { steps, parameters: Vec::new() }, direction)
}

fn request(body: Option<&str>) -> Message {
    let headers =
        [("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("content-type", "application/json"), ("authorization", "secret")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    Message::request(
        "POST",
        "/shop/1/orders/7?q=a%20b&x=%zz",
        Headers::new(headers),
        body.map(|body| body.as_bytes().to_vec()),
    )
}

fn response(status: u16, body: Option<&str>) -> Message {
    let headers =
        [("content-type", "application/json"), ("etag", "\"1\""), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    Message::response(status, Headers::new(headers), body.map(|body| body.as_bytes().to_vec()))
}

fn on_request(actions: Vec<Action>, body: Option<&str>) -> Result<Message, Failure> {
    let mut message = request(body);
    let caller = Caller { claims: [("dept", "it")].into(), path: [("id", "7")].into(), ..Caller::default() };
    load(Direction::Request, actions).unwrap().apply(&mut message, &caller)?;
    Ok(message)
}

fn on_response(actions: Vec<Action>, status: u16, body: Option<&str>) -> Result<Message, Failure> {
    let mut message = response(status, body);
    let caller = Caller { request: Some(request(None)), ..Caller::default() };
    load(Direction::Response, actions).unwrap().apply(&mut message, &caller)?;
    Ok(message)
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(message.body().unwrap()).unwrap()
}

#[test]
fn headers_are_edited_and_told_of() {
    let edits = vec![
        edit(Operation::Rename, "X-A", "X-C"),
        edit(Operation::Set, "x-user", "{{ caller.subject }}/{{ caller.claims.dept }}/{{ request.query.q[0] }}"),
        edit(Operation::Append, "x-b", "4"),
        edit(Operation::Add, "x-b", "5"),
        edit(Operation::Remove, "x-nothing", ""),
    ];
    let message = on_request(vec![headers(edits)], None).unwrap();
    let changes = message.changes();
    assert_eq!(changes.removed, ["x-a"]);
    let values: Vec<(&str, Vec<&[u8]>)> =
        vec![("x-b", vec![b"2, 4", b"5"]), ("x-c", vec![b"1", b"3"]), ("x-user", vec![b"ann/it/a b"])];
    assert_eq!(changes.headers, values);
    assert_eq!((changes.path, changes.method, changes.status, changes.body), (None, None, None, None));
    // Each cookie stays a header.
    let message = on_response(vec![headers(vec![edit(Operation::Add, "set-cookie", "c=3")])], 200, None).unwrap();
    let cookies: Vec<&[u8]> = vec![b"a=1", b"b=2", b"c=3"];
    assert_eq!(message.changes().headers, vec![("set-cookie", cookies)]);
}

#[test]
fn values_cannot_break_out() {
    for (name, value) in [("x", "{{ body.v }}"), ("x", "a{{ body.v }}")] {
        for bad in ["a\\r\\nset-cookie: x", "a\\nb", "\\u0000", "a\\u007f"] {
            let body = format!("{{\"v\":\"{bad}\"}}");
            let failed = on_request(vec![headers(vec![edit(Operation::Set, name, value)])], Some(&body));
            assert_eq!(failed, Err(Failure::Value), "{bad}");
        }
    }
    let path = |value: &str| {
        on_request(vec![Action::Path("/v/{{ body.v }}/x".into())], Some(&format!("{{\"v\":\"{value}\"}}")))
    };
    assert_eq!(path("a b?c#d%é").unwrap().path(), "/shop/1/v/a%20b%3Fc%23d%25%C3%A9/x?q=a%20b&x=%zz");
    for bad in ["..", ".", "a/../b", "a/b", "a;b", "a\\\\b", "\\u0000", "\\n"] {
        assert_eq!(path(bad), Err(Failure::Path), "{bad}");
    }
    assert_eq!(path(""), Err(Failure::Template));
    let xml = on_request(vec![body("<a b=\"{{ body.v }}\">{{ body.v }}</a>", "text/xml")], Some(r#"{"v":"\"</a>&'"}"#))
        .unwrap();
    assert_eq!(text(&xml), "<a b=\"&quot;&lt;/a&gt;&amp;&#39;\">&quot;&lt;/a&gt;&amp;&#39;</a>");
    let json = on_request(
        vec![body(r#"{"a": {{ body.v }}, "all": {{ body }}}"#, "application/json")],
        Some(r#"{"v":"\",\"x\":\"","n":1.10}"#),
    );
    assert_eq!(text(&json.unwrap()), r#"{"a": "\",\"x\":\"", "all": {"v":"\",\"x\":\"","n":1.10}}"#);
    let broken = on_request(vec![body("{\"a\": \"{{ body.v }}\"}", "application/json")], Some(r#"{"v":"x"}"#));
    assert_eq!(broken, Err(Failure::Malformed));
}

#[test]
fn credentials_are_shown_to_nobody() {
    let set = |value: &str| on_request(vec![headers(vec![edit(Operation::Set, "x-copy", value)])], None);
    assert_eq!(set("{{ request.headers.authorization }}"), Err(Failure::Missing));
    assert_eq!(
        set("{{ request.headers['authorization'] | default('none') }}").unwrap().changes().headers[0].1,
        [b"none"]
    );
    assert!(
        !String::from_utf8_lossy(set("{{ request.headers }}").unwrap().changes().headers[0].1[0]).contains("secret")
    );
    let steps = vec![step("has(request.headers.authorization)", headers(vec![edit(Operation::Set, "x-copy", "1")]))];
    let transform = Transform::load(&proto::Transform { steps, parameters: Vec::new() }, Direction::Request).unwrap();
    let mut message = request(None);
    transform.apply(&mut message, &Caller::default()).unwrap();
    assert_eq!(message.changes(), Changes::default());
}

#[test]
fn queries_paths_and_methods() {
    let edits = vec![edit(Operation::Set, "q", "{{ path.id }}&"), edit(Operation::Add, "new", "1")];
    let actions = vec![query(edits), Action::Path("/v2/orders/{{ path.id }}".into()), Action::Method("PUT".into())];
    let message = on_request(actions, None).unwrap();
    assert_eq!(message.changes().path, Some("/shop/1/v2/orders/7?q=7%26&x=%zz&new=1"));
    assert_eq!(message.changes().method, Some("PUT"));
    let mut head = Message::request("HEAD", "/shop/1/x", Headers::default(), None);
    load(Direction::Request, vec![Action::Method("GET".into())]).unwrap().apply(&mut head, &Caller::default()).unwrap();
    assert_eq!(head.method(), "HEAD");
}

#[test]
fn bodies_are_edited_as_json() {
    use proto::json_edit::Operation;
    let actions = vec![
        json(Operation::Add, "/user", "", r#""{{ caller.subject }}""#),
        json(Operation::Add, "/count", "", r#""{{ body.items | length }}""#),
        json(
            Operation::Add,
            "/first",
            "",
            r#"{"item": "{{ body.items[0] }}", "label": "no {{ body.id }}", "plain": [1.50]}"#,
        ),
        json(Operation::Remove, "$..secret", "", ""),
        json(Operation::Rename, "/id", "key", ""),
        json(Operation::Move, "/items", "/order/items", ""),
    ];
    let message =
        on_request(actions, Some(r#"{"id":12345678901234567890123,"items":[{"n":1.10,"secret":1},2]}"#)).unwrap();
    assert_eq!(
        text(&message),
        concat!(
            r#"{"key":12345678901234567890123,"user":"ann","count":2,"first":{"item":{"n":1.10},"#,
            r#""label":"no 12345678901234567890123","plain":[1.50]},"order":{"items":[{"n":1.10},2]}}"#
        )
    );
    for bad in ["", " ", "[1", "a=1", "{\"a\":1,\"a\":2}"] {
        let result = on_request(vec![json(Operation::Remove, "/a", "", "")], Some(bad));
        // What is empty is not edited.
        assert_eq!(
            result.map(|message| message.changes() == Changes::default()),
            if bad.is_empty() { Ok(true) } else { Err(Failure::NoJson) },
            "{bad}"
        );
    }
    for untouched in [None, Some("{ \"b\" : 1 }")] {
        let message = on_request(vec![json(Operation::Remove, "/a", "", "")], untouched).unwrap();
        assert_eq!(message.changes(), Changes::default());
    }
}

#[test]
fn what_a_body_was_goes_with_it() {
    let removed = |message: &Message| message.changes().removed.join(",");
    let message = on_response(
        vec![Action::ToXml(proto::ToXml { root: "r".into(), ..Default::default() })],
        200,
        Some(r#"{"a":1}"#),
    )
    .unwrap();
    assert_eq!(removed(&message), "etag");
    assert_eq!(message.headers.get("content-type").collect::<Vec<_>>(), [b"application/xml; charset=utf-8"]);
    let form = proto::ToJson { root: "r".into(), arrays: Vec::new(), typed: true };
    let actions = vec![
        Action::ToXml(proto::ToXml { root: "r".into(), ..Default::default() }),
        Action::ToJson(form),
        json(proto::json_edit::Operation::Add, "/b", "", "2"),
    ];
    let message = on_response(actions, 200, Some(r#"{"a":1}"#)).unwrap();
    assert_eq!(
        (text(&message), message.headers.get("content-type").next()),
        (r#"{"a":1,"b":2}"#, Some(b"application/json".as_slice()))
    );
    // None of these has a body, whatever headers say.
    for (status, method) in [(204, "GET"), (304, "GET"), (200, "HEAD")] {
        let mut message = response(status, None);
        let asked = Message::request(method, "/", Headers::default(), None);
        let caller = Caller { request: Some(asked), ..Caller::default() };
        load(Direction::Response, vec![body("x", "text/plain")]).unwrap().apply(&mut message, &caller).unwrap();
        assert_eq!(message.changes(), Changes::default());
    }
    assert_eq!(text(&on_response(vec![body("x", "text/plain")], 200, None).unwrap()), "x");
    assert_eq!(on_response(vec![Action::Status(418)], 200, None).unwrap().changes().status, Some(418));
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    let edits = || vec![json(proto::json_edit::Operation::Remove, "/a", "", "")];
    let with = |name: &str, value: &str, status: u16| {
        let mut message = response(status, Some("{}"));
        message.headers.set(name, value.as_bytes().to_vec());
        load(Direction::Response, edits()).unwrap().apply(&mut message, &Caller::default()).err()
    };
    assert_eq!(with("content-encoding", "gzip", 200), Some(Failure::Encoded));
    assert_eq!(with("content-type", "application/json; charset=utf-16", 200), Some(Failure::Encoded));
    assert_eq!(with("content-type", "application/json; charset=\"UTF-8\"", 200), None);
    assert_eq!(with("content-encoding", "identity", 200), None);
    assert_eq!(with("x", "y", 206), Some(Failure::Partial));
    let statuses = |failure: Failure| (failure.status(Direction::Request), failure.status(Direction::Response));
    assert_eq!(statuses(Failure::NoJson), (400, 502));
    assert_eq!(statuses(Failure::Encoded), (415, 502));
    assert_eq!(statuses(Failure::TooLarge), (413, 502));
    assert_eq!(statuses(Failure::Template), (500, 500));
}

#[test]
fn a_failure_leaves_the_message_as_it_was() {
    let actions = vec![
        headers(vec![edit(Operation::Set, "x-new", "1")]),
        Action::Method("PUT".into()),
        json(proto::json_edit::Operation::Add, "/a/b", "", "1"),
    ];
    let mut message = request(Some(r#"{"a":1}"#));
    let before = message.clone();
    let transform = load(Direction::Request, actions).unwrap();
    assert_eq!(transform.apply_or_tell(&mut message, &Caller::default()), Err((2, Failure::Place)));
    assert_eq!(message, before);
    assert_eq!(transform.source(2), Some("api.yaml:1:1"));
}

#[test]
fn conditions_decide() {
    let apply = |direction, condition: &str| {
        let steps = vec![step(condition, headers(vec![edit(Operation::Set, "x-met", "1")]))];
        let transform = Transform::load(&proto::Transform { steps, parameters: Vec::new() }, direction).unwrap();
        let mut message = if direction == Direction::Request { request(None) } else { response(404, None) };
        let caller = Caller { request: Some(request(None)), claims: [("dept", "it")].into(), ..Caller::default() };
        transform.apply(&mut message, &caller).map(|()| !message.changes().headers.is_empty())
    };
    assert_eq!(apply(Direction::Request, "request.method == 'POST' && 'a b' in request.query.q"), Ok(true));
    assert_eq!(apply(Direction::Request, "caller.claims.dept == 'hr'"), Ok(false));
    assert_eq!(apply(Direction::Request, "request.headers['x-a'] == '1'"), Err(Failure::Condition));
    assert_eq!(apply(Direction::Response, "response.status == 404 && request.method == 'POST'"), Ok(true));
    assert_eq!(apply(Direction::Response, "response.headers['content-type'].startsWith('text/')"), Ok(false));
    // Each step sees what the one before it did.
    let steps = vec![
        step("", headers(vec![edit(Operation::Set, "x-n", "1")])),
        step(
            "request.headers['x-n'] == '1'",
            headers(vec![edit(Operation::Set, "x-n", "{{ request.headers['x-n'] }}2")]),
        ),
    ];
    let transform = Transform::load(&proto::Transform { steps, parameters: Vec::new() }, Direction::Request).unwrap();
    let mut message = request(None);
    transform.apply(&mut message, &Caller::default()).unwrap();
    assert_eq!(message.headers.get("x-n").next(), Some(b"12".as_slice()));
}

#[test]
fn a_guard_is_asked_once_for_all_that_it_guards() {
    let set = |name: &str| step("", headers(vec![edit(Operation::Set, name, "1")]));
    let guard = |condition: &str| proto::Step {
        guards: 2,
        action: None,
        condition: condition.into(),
        ..step("", headers(vec![]))
    };
    let gone = step("", headers(vec![edit(Operation::Remove, "x-b", "")]));
    for (condition, expected) in [("'x-b' in request.headers", "x-in,x-after"), ("request.method == 'GET'", "x-after")]
    {
        let steps = vec![guard(condition), gone.clone(), set("x-in"), set("x-after")];
        let transform =
            Transform::load(&proto::Transform { steps, parameters: Vec::new() }, Direction::Request).unwrap();
        let mut message = request(None);
        transform.apply(&mut message, &Caller::default()).unwrap();
        let set: Vec<&str> =
            message.headers.iter().map(|(name, _)| name).filter(|name| ["x-in", "x-after"].contains(name)).collect();
        assert_eq!(set.join(","), expected);
    }
    for bad in [guard(""), proto::Step { guards: 1, ..set("x") }] {
        assert!(
            Transform::load(&proto::Transform { steps: vec![bad], parameters: Vec::new() }, Direction::Request)
                .is_err()
        );
    }
}

#[test]
fn parameters_are_values_and_never_text() {
    let mut with = step("", headers(vec![edit(Operation::Set, "x-p", "{{ parameters.text }}/{{ parameters.n + 1 }}")]));
    with.parameters = 1;
    let transform =
        proto::Transform { steps: vec![with], parameters: vec![r#"{"text":"{{ caller.subject }}","n":1}"#.into()] };
    let transform = Transform::load(&transform, Direction::Request).unwrap();
    let mut message = request(None);
    transform.apply(&mut message, &Caller::default()).unwrap();
    assert_eq!(message.headers.get("x-p").next(), Some(b"{{ caller.subject }}/2".as_slice()));
    assert_eq!(transform.mentions().parameters, [(0, "n".to_owned()), (0, "text".to_owned())].into());
}

#[test]
fn needs_follow_from_the_steps() {
    let needs = |direction, action| load(direction, vec![action]).unwrap().needs();
    let set = |value: &str| headers(vec![edit(Operation::Set, "x", value)]);
    assert_eq!(needs(Direction::Request, set("{{ caller.subject }}")), Needs::default());
    assert_eq!(needs(Direction::Request, set("{{ body.a }}")), Needs { body: true, ..Needs::default() });
    assert_eq!(needs(Direction::Response, body("x", "text/plain")), Needs { writes_body: true, ..Needs::default() });
    let both = Needs { body: true, writes_body: true, ..Needs::default() };
    assert_eq!(needs(Direction::Response, Action::ToXml(proto::ToXml::default())), both);
    assert_eq!(needs(Direction::Request, Action::Path("/x".into())), Needs { writes_path: true, ..Needs::default() });
    assert_eq!(
        needs(Direction::Request, Action::Method("GET".into())),
        Needs { writes_method: true, ..Needs::default() }
    );
    let named = load(
        Direction::Request,
        vec![set("{{ caller.claims['http://x/y'] }}{{ caller.claims.dept }}{{ path['id'] }}")],
    )
    .unwrap();
    assert_eq!(named.mentions().claims, ["dept".to_owned(), "http://x/y".to_owned()].into());
    assert_eq!(named.mentions().path_parameters, [(0, "id".to_owned())].into());
}

#[test]
fn what_is_not_loaded() {
    use proto::json_edit::Operation as Json;
    let set = |value: &str| headers(vec![edit(Operation::Set, "x", value)]);
    let request = Direction::Request;
    for (direction, action) in [
        (request, headers(vec![])),
        (request, headers(vec![edit(Operation::Set, "host", "x")])),
        (request, headers(vec![edit(Operation::Set, "x-microgw-a", "x")])),
        (request, headers(vec![edit(Operation::Remove, "content-length", "")])),
        (request, headers(vec![edit(Operation::Rename, "x", "authorization")])),
        (request, headers(vec![edit(Operation::Rename, "cookie", "x")])),
        (Direction::Response, headers(vec![edit(Operation::Append, "set-cookie", "x")])),
        (Direction::Response, headers(vec![edit(Operation::Set, "vary", "x")])),
        (request, set("a\nb")),
        (request, set("")),
        (request, set("{{ nobody }}")),
        (request, set("{{ response.status }}")),
        (request, set("{{ request.nothing }}")),
        (request, set("{{ caller }}")),
        (request, set("{{ caller.claims }}")),
        (request, set("{{ caller.claims[request.method] }}")),
        (request, set("{{ unclosed")),
        (request, set("{{ 1 | nofilter }}")),
        (request, set("{% include 'x' %}")),
        (request, query(vec![edit(Operation::Set, "a=b", "x")])),
        (Direction::Response, query(vec![edit(Operation::Set, "a", "x")])),
        (request, Action::Path("x".into())),
        (request, Action::Path("{{ body.path }}".into())),
        (request, Action::Path("/a/../b".into())),
        (request, Action::Path("/a?b".into())),
        (Direction::Response, Action::Path("/x".into())),
        (request, Action::Method("CONNECT".into())),
        (request, Action::Method("get".into())),
        (request, Action::Status(200)),
        (Direction::Response, Action::Status(204)),
        (Direction::Response, Action::Status(99)),
        (request, json(Json::Add, "", "", "1")),
        (request, json(Json::Add, "/a", "", "{")),
        (request, json(Json::Move, "$..a", "/b", "")),
        (request, body("x", "nothing")),
        (request, body("x", "text/plain\r\n")),
        (request, body("{", "application/json")),
        (request, Action::ToXml(proto::ToXml { root: "a b".into(), ..Default::default() })),
        (request, body(&"x".repeat(MAX_TEMPLATE + 1), "text/plain")),
    ] {
        let said = format!("{action:?}");
        assert!(load(direction, vec![action]).is_err(), "{said:.200}");
    }
    let error =
        load(request, vec![set("x"), headers(vec![edit(Operation::Set, "x", "1"), edit(Operation::Set, "te", "1")])])
            .unwrap_err();
    assert_eq!((error.step, error.edit), (1, Some(1)));
    assert!(load(request, (0..=MAX_STEPS).map(|_| set("x")).collect()).is_err());
    for condition in ["response.status == 200", "1 + 1", "nobody", "has(response.headers.x)"] {
        let steps = vec![step(condition, set("x"))];
        assert!(Transform::load(&proto::Transform { steps, parameters: Vec::new() }, request).is_err(), "{condition}");
    }
    let steps = vec![proto::Step { parameters: 1, ..step("", set("x")) }];
    assert!(Transform::load(&proto::Transform { steps, parameters: Vec::new() }, request).is_err());
}

#[test]
fn templates_are_bounded() {
    let set = |value: &str| on_request(vec![headers(vec![edit(Operation::Set, "x", value)])], None);
    for endless in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{% for a in range(100000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 1000 }}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for a in range(1000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
    ] {
        assert!(
            matches!(set(endless), Err(Failure::Endless | Failure::Template | Failure::TooLarge | Failure::Value)),
            "{endless}"
        );
    }
    assert_eq!(set("{{ 'x' * 9000 }}"), Err(Failure::Value));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn never_panics_and_never_half(body in any::<Vec<u8>>(), at in "[$/][.a-c\\[\\]0-9*]{0,6}", source in "(\\{\\{ [a-z.|]{1,12} \\}\\}|[ -~]){0,3}") {
        let mut message = request(None);
        message.read_body(body);
        let before = message.clone();
        let actions = vec![
            headers(vec![edit(Operation::Set, "x-t", &source)]),
            json(proto::json_edit::Operation::Remove, &at, "", ""),
            Action::ToXml(proto::ToXml { root: "r".into(), ..Default::default() }),
        ];
        if let Ok(transform) = load(Direction::Request, actions)
            && transform.apply(&mut message, &Caller::default()).is_err() {
            prop_assert_eq!(message, before);
        }
    }
}

/// As docs/transformations.md has it.
#[test]
fn what_may_be_missing_has_a_default() {
    let set = |value: &str| {
        on_request(vec![headers(vec![edit(Operation::Set, "x-told", value)])], None).map(|message| {
            message.headers.get("x-told").map(|value| String::from_utf8_lossy(value).into_owned()).collect::<String>()
        })
    };
    assert_eq!(set(r#"{{ request.query.q | default([""]) | first }}"#).unwrap(), "a b");
    assert_eq!(set(r#"{{ request.query.none | default(["no"]) | first }}"#).unwrap(), "no");
    assert_eq!(set(r#"{{ request.headers["x-none"] | default("no") }}"#).unwrap(), "no");
    assert_eq!(set(r"{% if request.query.none is defined %}yes{% else %}no{% endif %}").unwrap(), "no");
    assert_eq!(set("{{ request.query.none[0] }}"), Err(Failure::Missing));
    assert_eq!(set("{{ request.headers['x-none'] }}"), Err(Failure::Missing));
    assert_eq!(
        set("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}"),
        Err(Failure::Endless)
    );
    assert_eq!(set("{{ request.query.q | first + 1 }}"), Err(Failure::Template));
    // Names of headers have no case.
    for name in ["x-b", "X-B", "X-b"] {
        assert_eq!(
            set(&format!("{{{{ request.headers['{name}'] }}}}")).unwrap(),
            set("{{ request.headers['x-b'] }}").unwrap()
        );
    }
    assert!(set("{{ request.headers }}").unwrap().contains("\"x-b\""));
}
