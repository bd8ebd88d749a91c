//! What interceptor services answer: nothing panics, and whatever comes of it may be sent: no header of HTTP's or the gateway's own
//! is touched, paths stay below their API, and statuses are ones that have bodies.

use std::sync::LazyLock;

use microgw_engine::interceptors::{Attributes, Interception, Verdict};
use microgw_interceptors::fixtures::{self, Scene};
use microgw_interceptors::{attributes, service};
use microgw_transforms::{Direction, Message, editable, path};

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "verdicts",
    run,
    reaches: &["refused", "unchanged", "changed", "responded"],
    dictionary: &[
        r#""headers":{"#,
        r#""query":{"#,
        r#""set":{"x-a":"1"}"#,
        r#""add":[{"name":"x-a","value":"2"}]"#,
        r#""remove":["x-a"]"#,
        r#""body":{"text":""}"#,
        r#""body":{"base64":"YQ==","contentType":"text/plain"}"#,
        r#""respond":{"status":403}"#,
        r#""attributes":{"a":null}"#,
        r#""path":"/a/%2e%2e/b""#,
        r#""method":"PUT""#,
        r#""status":201"#,
        "content-length",
        "host",
        "authorization",
        "\\r\\n",
        "\\u0000",
        "\\ud800",
        "..",
        "%2f",
        "1e9",
        "[[],{},[]]",
    ],
    mutations: 3000,
};

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let served = fixtures::served("http://localhost/", 1000);
    Scene::of(served, "{}", "POST").unwrap()
});

/// An answer to a request, and to a response.
pub fn run(data: &[u8]) -> Reached {
    let headers = [("x-a", "1"), ("content-type", "text/plain")];
    let kept = Attributes::from([("a".to_owned(), "b".to_owned())]);
    let request = judge(data, SCENE.request(&headers, b"hello").unwrap());
    let response = judge(data, SCENE.response(200, &headers, b"hello", &kept).unwrap());
    if request == "refused" { response } else { request }
}

fn judge(answer: &[u8], interception: Interception) -> Reached {
    let (direction, before) = (interception.direction, interception.message.clone());
    match service::read(interception, answer) {
        Err(error) => {
            assert!(error.to_string().len() < 1000, "{error}");
            "refused"
        }
        Ok(Verdict::Continue { message, attributes }) => {
            let size: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(attributes.len() <= attributes::MAX_ATTRIBUTES && size <= attributes::MAX_SIZE);
            check(&message, direction);
            assert_eq!(message.status() == 0, direction == Direction::Request);
            if message == before && attributes.len() < 2 { "unchanged" } else { "changed" }
        }
        Ok(Verdict::Respond(answer)) => {
            check(&answer, Direction::Response);
            assert!(answer.body().is_some());
            "responded"
        }
        Ok(Verdict::Failed(failure)) => panic!("nothing failed here: {failure}"),
    }
}

fn check(message: &Message, direction: Direction) {
    let changes = message.changes();
    let touched = changes.removed.iter().copied().chain(changes.headers.iter().map(|(name, _)| *name));
    for name in touched {
        // Set with a body, and what is said of an old one.
        let of_body = ["content-type", "content-encoding"].contains(&name);
        assert!(of_body || editable::editable(direction, name).as_deref() == Ok(name), "{name}");
    }
    for (_, values) in changes.headers {
        for value in values {
            assert!(!value.iter().any(u8::is_ascii_control), "{value:?}");
        }
    }
    if let Some(new) = changes.path {
        let (new, query) = new.split_once('?').unwrap_or((new, ""));
        let below = new.strip_prefix("/v2").unwrap_or_else(|| panic!("`{new}` is another API's"));
        assert_eq!(path::check(below), Ok(()), "{new}");
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{query}");
    }
    if let Some(status) = changes.status {
        assert!((200..600).contains(&status) && ![204, 205, 206, 304].contains(&status), "{status}");
    }
}
