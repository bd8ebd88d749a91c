//! Transformations: whatever a template, a place and a body say, nothing panics, a message is changed whole or not at all, and no
//! header, path or body comes out that another reader takes for something else.

use std::borrow::Cow;

use microgw_expressions::{Value, Variable, Variables};
use microgw_proto::transforms::v1 as proto;
use microgw_transforms::{Context, Direction, Headers, Message, Transform, path, xml};
use proto::step::Action;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "transforms",
    run,
    reaches: &["no text", "no transformation", "failed", "as it was", "changed"],
    dictionary: &[
        "{{ body }}",
        "{{ body.a }}",
        "{{ request.headers['x-a'] }}",
        "{{ request.query.q[0] }}",
        "{{ path.id }}",
        "{{ parameters.p }}",
        "{{ caller.subject }}",
        "{% for x in body %}",
        "{% endfor %}",
        "{% set x = ",
        "{{ x * 1000 }}",
        "|tojson",
        "|safe",
        "|join(',')",
        "$..a",
        "$[*]",
        "$.a[1:2]",
        "$['a']",
        "/a/0/b",
        "/-",
        "~1",
        "{\"a\":[1.10,{\"a\":null}]}",
        "\\u0000",
        "\\r\\n",
        "<a b='1'>",
        "</a>",
        "<!DOCTYPE a>",
        "&amp;",
        "&#0;",
        "<![CDATA[",
        "]]>",
        "..",
        "%2f",
        ";",
    ],
    mutations: 3000,
};

struct Nobody;

impl Variables for Nobody {
    fn get(&self, variable: &Variable) -> Value<'_> {
        match variable {
            Variable::Subject => Value::Text(Cow::Borrowed("ann")),
            _ => Value::Absent,
        }
    }
}

impl Context for Nobody {
    fn request(&self) -> Option<&Message> {
        None
    }

    fn path_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "id").then_some(Cow::Borrowed("a/../;b"))
    }

    fn base_path(&self) -> &'static str {
        "/v2"
    }
}

/// A place, a template and a body, on a line each.
pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    let mut lines = text.splitn(3, '\n');
    let [place, template, body] = [(); 3].map(|()| lines.next().unwrap_or_default());
    round_trip(body);
    let mut reached = "no transformation";
    for (index, action) in actions(place, template).into_iter().enumerate() {
        let steps = vec![proto::Step { action: Some(action), parameters: 1, ..proto::Step::default() }];
        let parameters = vec![r#"{"p":"{{ caller.subject }}\r\n"}"#.to_owned()];
        let Ok(transform) = Transform::load(&proto::Transform { steps, parameters }, Direction::Request) else {
            continue;
        };
        let headers =
            Headers::new([("x-a".to_owned(), b"1".to_vec()), ("authorization".to_owned(), b"secret".to_vec())]);
        let mut message = Message::request("POST", "/v2/x?q=%zz&a", headers, Some(body.as_bytes().to_vec()));
        let before = message.clone();
        let found = match transform.apply(&mut message, &Nobody) {
            Err(_) => {
                assert_eq!(message, before, "half of it is done");
                "failed"
            }
            Ok(()) if message == before => "as it was",
            Ok(()) => {
                sound(&message);
                "changed"
            }
        };
        if index == 0 {
            reached = found;
        }
    }
    reached
}

fn actions(place: &str, template: &str) -> Vec<Action> {
    use proto::edit::Operation as Edit;
    use proto::json_edit::Operation as Json;
    let quoted = serde_json::Value::from(template).to_string();
    let json = |operation: Json, to: &str| {
        let (at, to, value) = (place.to_owned(), to.to_owned(), quoted.clone());
        Action::Json(proto::JsonEdits { edits: vec![proto::JsonEdit { operation: operation.into(), at, to, value }] })
    };
    let edit = |operation: Edit, name: &str| {
        let (name, value) = (name.to_owned(), template.to_owned());
        proto::Edits { edits: vec![proto::Edit { operation: operation.into(), name, value }] }
    };
    let body = |content_type: &str| {
        Action::Body(proto::NewBody { template: template.to_owned(), content_type: content_type.to_owned() })
    };
    vec![
        json(Json::Replace, ""),
        json(Json::Add, ""),
        json(Json::Remove, ""),
        json(Json::Rename, "new"),
        json(Json::Move, "/new/place"),
        Action::Headers(edit(Edit::Set, "x-new")),
        Action::Headers(edit(Edit::Append, "x-a")),
        Action::Query(edit(Edit::Set, "q")),
        Action::Path(format!("/y/{template}")),
        body("application/json"),
        body("application/xml"),
        Action::ToXml(proto::ToXml { root: "root".to_owned(), ..Default::default() }),
        Action::ToJson(proto::ToJson { root: String::new(), arrays: vec!["a".to_owned()], typed: true }),
    ]
}

/// What others make of it is what was meant.
fn sound(message: &Message) {
    for (name, value) in message.headers.iter() {
        assert!(!value.iter().any(u8::is_ascii_control), "{name} breaks out");
        assert!(name == "authorization" || !value.windows(6).any(|part| part == b"secret"), "a credential got out");
    }
    let sent = message.path().split('?').next().unwrap_or_default();
    let below = sent.strip_prefix("/v2").expect("it stays below its base path");
    assert_eq!(path::check(below), Ok(()));
    let body = message.body().unwrap_or_default();
    match message.headers.get("content-type").next() {
        Some(kind) if kind.starts_with(b"application/json") => {
            // Numbers that a double does not hold are JSON all the same.
            let read = serde_json::from_slice::<serde_json::Value>(body);
            assert!(read.is_ok() || read.is_err_and(|error| error.to_string().contains("number out of range")));
        }
        Some(kind) if kind.starts_with(b"application/xml") => {
            assert!(xml::ToJson::default().read(body).is_ok());
        }
        _ => {}
    }
}

/// What was read can be written, and is read as the same again.
fn round_trip(body: &str) {
    let form = xml::ToJson::default();
    if let Ok(json) = form.read(body.as_bytes()) {
        let written = xml::to_xml(&json, None).expect("what was XML has a form in it");
        assert_eq!(form.read(written.as_bytes()), Ok(json));
    }
}
