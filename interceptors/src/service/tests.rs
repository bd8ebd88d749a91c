use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::post;
use microgw_engine::interceptors::{Attributes, Interception, InterceptorFailure, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::answer::AnswerError;
use super::*;
use crate::fixtures::{self, Scene};

fn scene(url: &str, timeout: u32, method: &str) -> Scene {
    Scene::of(fixtures::served(url, timeout), r#"{"limit":3}"#, method).unwrap()
}

fn request(body: &[u8]) -> Interception {
    let headers = [("content-type", "text/plain"), ("x-a", "1"), ("authorization", "Bearer secret")];
    scene("http://localhost/", 1000, "POST").request(&headers, body).unwrap()
}

fn response(status: u16, body: &[u8]) -> Interception {
    let attributes = Attributes::from([("who".to_owned(), "me".to_owned())]);
    scene("http://localhost/", 1000, "GET").response(status, &[("x-b", "2")], body, &attributes).unwrap()
}

fn asked(interception: &Interception) -> Value {
    let mut question = Question::of(interception);
    let length = question.length().unwrap();
    let written = question.write(length).unwrap();
    assert_eq!((written.len(), written.capacity()), (length, length));
    serde_json::from_slice(&written).unwrap()
}

fn answered(interception: Interception, answer: &Value) -> Result<Verdict, AnswerError> {
    read(interception, answer.to_string().as_bytes())
}

#[test]
fn requests_are_told() {
    let expected = json!({
        "version": 1, "direction": "request", "interceptor": "guest",
        "api": {"name": "pets", "version": "1", "basePath": "/v2"},
        "operation": "POST /v2/pet/{id}",
        "client": {},
        "caller": {"scopes": [], "claims": {}, "keyType": "PRODUCTION"},
        "request": {
            "method": "POST", "scheme": "https", "host": "shop.example", "path": "/v2/pet/a%20b", "query": "x=1&y=%2B",
            "pathParameters": {"id": "a b"},
            "headers": [{"name": "content-type", "value": "text/plain"}, {"name": "x-a", "value": "1"}],
            "body": {"text": "hello"}
        },
        "attributes": {}, "parameters": {"limit": 3}
    });
    let mut told = asked(&request(b"hello"));
    // Of somebody who is not known nothing is said, or which keys they would have used.
    told["caller"]["keyType"] = "PRODUCTION".into();
    assert_eq!(told, expected);
    assert_eq!(asked(&request(b"\xff\x00"))["request"]["body"], json!({"base64": "/wA="}));
    assert_eq!(asked(&request(b""))["request"].get("body"), None);
    for length in 0..5 {
        assert!(asked(&request(&b"\xff\xfe\xfd\xfc\xfb"[..length]))["request"]["method"] == "POST");
    }
    let all: String = (0..0x250).filter_map(char::from_u32).collect();
    assert_eq!(asked(&request(all.as_bytes()))["request"]["body"], json!({ "text": all }));
}

#[test]
fn responses_are_told_with_what_they_answer() {
    let told = asked(&response(201, b"{}"));
    assert_eq!(told["direction"], "response");
    assert_eq!(
        told["response"],
        json!({"status": 201, "headers": [{"name": "x-b", "value": "2"}], "body": {"text": "{}"}})
    );
    assert_eq!(
        (&told["request"]["method"], &told["request"]["headers"][0]["name"]),
        (&"GET".into(), &"x-asked".into())
    );
    assert_eq!(told["attributes"], json!({"who": "me"}));
}

#[test]
fn edits_are_followed() {
    let edits = json!({
        "method": "PUT", "path": "/animals/1",
        "query": {"remove": ["x"], "set": {"y": "a b"}, "add": [{"name": "y", "value": "2"}]},
        "headers": {"remove": ["x-a"], "set": {"X-Set": "s"}, "add": [{"name": "x-set", "value": "t"}]},
        "body": {"base64": "aGk=", "contentType": "text/html"},
        "attributes": {"seen": "yes"}
    });
    let Ok(Verdict::Continue { message, attributes }) = answered(request(b"hello"), &edits) else { panic!() };
    assert_eq!(
        (message.method(), message.path(), message.body()),
        ("PUT", "/v2/animals/1?y=a%20b&y=2", Some(&b"hi"[..]))
    );
    let changes = message.changes();
    assert_eq!(changes.removed, ["x-a"]);
    let set: Vec<_> = message.headers.get("x-set").collect();
    assert_eq!((set, message.headers.get("content-type").next()), (vec![&b"s"[..], b"t"], Some(&b"text/html"[..])));
    assert_eq!(attributes.get("seen").map(String::as_str), Some("yes"));

    let edits =
        json!({"status": 202, "headers": {"set": {"x-b": "3"}}, "body": {"text": "new"}, "attributes": {"who": null}});
    let Ok(Verdict::Continue { message, attributes }) = answered(response(200, b"old"), &edits) else { panic!() };
    assert_eq!((message.status(), message.body(), attributes.len()), (202, Some(&b"new"[..]), 0));

    for nothing in ["", "{}", r#"{"headers":{},"body":null,"attributes":{}}"#] {
        let Ok(Verdict::Continue { message, attributes }) = read(response(200, b"old"), nothing.as_bytes()) else {
            panic!()
        };
        assert_eq!((message.changes(), attributes.len()), (microgw_transforms::Changes::default(), 1), "{nothing}");
    }
}

#[test]
fn clients_are_answered() {
    let respond = json!({"respond": {
        "status": 429,
        "headers": [{"name": "Retry-After", "value": "7"}],
        "body": {"text": "{}", "contentType": "application/json"}
    }});
    let Ok(Verdict::Respond(answer)) = answered(request(b""), &respond) else { panic!() };
    assert_eq!((answer.status(), answer.body()), (429, Some(&b"{}"[..])));
    assert_eq!(answer.headers.get("retry-after").next(), Some(&b"7"[..]));
    assert_eq!(answer.headers.get("content-type").next(), Some(&b"application/json"[..]));
    let short = json!({"respond": {"status": 200}});
    let Ok(Verdict::Respond(answer)) = answered(response(200, b""), &short) else { panic!() };
    assert_eq!(answer.body(), Some(&b""[..]));
}

#[test]
fn what_is_not_documented_is_no_answer() {
    for answer in [
        json!([]),
        json!(null),
        json!("{}"),
        json!({"headers": [[], {}, []]}),
        json!({"respond": [200]}),
        json!({"header": {}}),
        json!({"headers": {"set": {"x": 1}}}),
        json!({"headers": {"set": {"x-a": null}}}),
        json!({"headers": {"set": {"host": "evil"}}}),
        json!({"headers": {"remove": ["authorization"]}}),
        json!({"headers": {"set": {"content-length": "3"}}}),
        json!({"headers": {"set": {"x-a": "a\r\nb: c"}}}),
        json!({"headers": {"set": {"x-a": "a".repeat(20_000)}}}),
        json!({"method": "CONNECT"}),
        json!({"path": "/../x"}),
        json!({"path": "x"}),
        json!({"path": "/a?b"}),
        json!({"query": {"set": {"a&b": "1"}}}),
        json!({"status": 201}),
        json!({"body": {}}),
        json!({"body": {"text": "a", "base64": "YQ=="}}),
        json!({"body": {"base64": "no!"}}),
        json!({"body": {"text": "a", "contentType": "nothing"}}),
        json!({"attributes": {"": "1"}}),
        json!({"attributes": {"a": "1".repeat(20_000)}}),
        json!({"respond": {}}),
        json!({"respond": {"status": 99}}),
        json!({"respond": {"status": 304}}),
        json!({"respond": {"status": 200, "headers": [{"name": "server", "value": "x"}]}}),
        json!({"respond": {"status": 200}, "status": 200}),
        json!({"respond": {"status": 200}, "headers": {"remove": ["x"]}}),
        json!({"respond": {"status": 200}, "attributes": {"a": "b"}}),
    ] {
        assert!(answered(request(b"hello"), &answer).is_err(), "{answer}");
    }
    for text in ["{", "{}x", "\u{feff}{}", "{\"status\":200,\"status\":200}", "nan"] {
        assert!(read(request(b""), text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever a service answers, the gateway goes on, and what it passes on may be passed on.
    #[test]
    fn any_answer_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(request(b""), &bytes);
    }

    #[test]
    fn any_text_in_any_place_is_refused_or_may_be_sent(place in 0_usize..8, name in ".{0,12}", value in ".{0,12}") {
        let answer = match place {
            0 => json!({"headers": {"set": {&name: value}}}),
            1 => json!({"headers": {"add": [{"name": name, "value": value}]}}),
            2 => json!({"headers": {"remove": [name]}}),
            3 => json!({"query": {"set": {&name: value}}}),
            4 => json!({"path": format!("/{name}/{value}")}),
            5 => json!({"method": name}),
            6 => json!({"body": {"text": value, "contentType": name}}),
            _ => json!({"respond": {"status": 200, "headers": [{"name": name, "value": value}]}}),
        };
        if let Ok(Verdict::Continue { message, .. } | Verdict::Respond(message)) = answered(request(b"hello"), &answer) {
            prop_assert!(message.path().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(message.method().is_empty() || ["POST", "GET", "PUT", "PATCH", "DELETE"].contains(&message.method()));
            for (name, value) in message.headers.iter() {
                prop_assert!(HeaderName::from_bytes(name.as_bytes()).is_ok());
                prop_assert!(HeaderValue::from_bytes(value).is_ok());
            }
        }
    }
}

/// Answers what it is told to, and tells what it is asked.
async fn served(
    router: Router<mpsc::UnboundedSender<(HeaderMap, Bytes)>>,
) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router.with_state(tell)).await.unwrap() });
    (url, told)
}

async fn ask(url: &str, timeout: u32) -> Verdict {
    let service = Service::new(client(Client::builder()).build().unwrap(), Room::default(), url).unwrap();
    let service = service.with_credential("x-key", "s3cret").unwrap();
    assert!(!format!("{service:?}").contains("s3cret"));
    service.call(scene(url, timeout, "POST").request(&[], b"hello").unwrap()).await
}

fn failure(verdict: Verdict) -> InterceptorFailure {
    match verdict {
        Verdict::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

type Tell = State<mpsc::UnboundedSender<(HeaderMap, Bytes)>>;

#[tokio::test]
async fn a_service_is_asked_over_http() {
    let good = async |State(tell): Tell, headers: HeaderMap, body: Bytes| {
        tell.send((headers, body)).unwrap();
        ([("content-type", "application/json; charset=utf-8")], r#"{"headers":{"set":{"x-said":"yes"}}}"#)
    };
    let slow = async || std::future::pending::<()>().await;
    let long = async || ([("content-type", "application/json")], vec![b' '; MAX_ANSWER + 1]);
    let router = Router::new()
        .route("/good", post(good))
        .route("/slow", post(slow))
        .route("/long", post(long))
        .route("/silent", post(async || StatusCode::NO_CONTENT))
        .route("/empty", post(async || ([("content-type", "application/json")], "")))
        .route("/text", post(async || "{}"))
        .route("/away", post(async || Redirect::temporary("/good").into_response()))
        .route("/wrong", post(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/gone", post(async || StatusCode::SERVICE_UNAVAILABLE));
    let (url, mut told) = served(router).await;
    let Verdict::Continue { message, .. } = ask(&format!("{url}/good"), 30_000).await else { panic!() };
    assert_eq!(message.headers.get("x-said").next(), Some(&b"yes"[..]));
    let (headers, body) = told.recv().await.unwrap();
    assert_eq!(
        (&headers["x-key"], &headers["content-type"]),
        (&"s3cret".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["request"]["body"]["text"], "hello");
    assert!(matches!(ask(&format!("{url}/silent"), 30_000).await, Verdict::Continue { .. }));
    for (path, expected) in [
        ("slow", InterceptorFailure::Timeout),
        ("long", InterceptorFailure::Malformed),
        ("empty", InterceptorFailure::Malformed),
        ("text", InterceptorFailure::Malformed),
        ("away", InterceptorFailure::Error),
        ("wrong", InterceptorFailure::Error),
        ("missing", InterceptorFailure::Error),
        ("gone", InterceptorFailure::Unreachable),
    ] {
        let timeout = if path == "slow" { 50 } else { 30_000 };
        assert_eq!(failure(ask(&format!("{url}/{path}"), timeout).await), expected, "{path}");
    }
    assert!(told.try_recv().is_err(), "nobody follows redirects");
    // Nobody listens where somebody listened.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(failure(ask(&format!("http://{free}/"), 30_000).await), InterceptorFailure::Unreachable);
}

/// As many as there is room for are asked at a time; the others wait, each as long as it may.
#[tokio::test]
async fn questions_and_answers_have_room_together() {
    let slow = async |State(tell): Tell, headers: HeaderMap, body: Bytes| {
        tell.send((headers, body)).unwrap();
        std::future::pending::<()>().await;
    };
    let json = [("content-type", "application/json")];
    let long = |bytes: usize| format!("{{\"body\":{{\"text\":\"{}\"}}}}", "a".repeat(bytes));
    let in_pieces = move |bytes: usize| {
        let pieces = long(bytes).into_bytes().chunks(10_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        (
            json,
            axum::body::Body::from_stream(futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>))),
        )
    };
    let router = Router::new()
        .route("/slow", post(slow))
        .route("/long", post(async move |_: Bytes| (json, long(200_000))))
        .route("/short-pieces", post(async move |_: Bytes| in_pieces(20_000)))
        .route("/pieces", post(async move |_: Bytes| in_pieces(200_000)))
        .route("/silent", post(async |_: Bytes| StatusCode::NO_CONTENT));
    let (url, mut told) = served(router).await;
    let room = Room::new(250_000);
    let all = room.left();
    let http = client(Client::builder()).build().unwrap();
    let call = |path: &str, timeout: u32, bytes: usize| {
        let url = format!("{url}/{path}");
        let service = Service::new(http.clone(), room.clone(), &url).unwrap();
        let interception = scene(&url, timeout, "POST").request(&[], &vec![b'a'; bytes]).unwrap();
        async move { service.call(interception).await }
    };
    // Two questions fill it; whoever is less patient than they are is refused, and who is more gets their room.
    let first: Vec<_> = (0..2).map(|_| tokio::spawn(call("slow", 60_000, 100_000))).collect();
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    assert_eq!(failure(call("silent", 20, 100_000).await), InterceptorFailure::Crowded);
    assert!(matches!(call("silent", 60_000, 1_000).await, Verdict::Continue { .. }), "there is room for little");
    let patient = tokio::spawn(call("silent", 60_000, 100_000));
    first[0].abort();
    assert!(matches!(patient.await.unwrap(), Verdict::Continue { .. }));
    first[1].abort();
    for call in first {
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // One that is larger than all of it is asked alone.
    assert!(matches!(call("silent", 60_000, 1_000_000).await, Verdict::Continue { .. }));
    assert_eq!(room.left(), all);

    let answers = room.answer(Some(150_000), Instant::now()).await.unwrap();
    for (path, expected) in [("long", false), ("pieces", false), ("short-pieces", true)] {
        match call(path, if expected { 60_000 } else { 3_000 }, 0).await {
            Verdict::Continue { .. } => assert!(expected, "{path}"),
            Verdict::Failed(failure) => {
                assert!(!expected && failure == InterceptorFailure::Crowded, "{path}: {failure:?}");
            }
            other @ Verdict::Respond(_) => panic!("{other:?}"),
        }
    }
    drop(answers);
    // They end, however many there are: nobody keeps what others need to end.
    let calls = (0..20).map(|n| call(if n % 2 == 0 { "long" } else { "pieces" }, 60_000, 50_000));
    for verdict in futures_util::future::join_all(calls).await {
        assert!(matches!(&verdict, Verdict::Continue { message, .. } if message.body().unwrap().len() == 200_000));
    }
    assert_eq!(room.left(), all);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let service = |url: &str| Service::new(Client::new(), Room::default(), url);
    for url in ["", "localhost", "ftp://a/", "http://", "http://user@a/", "http://a/#x", "unix:/a"] {
        assert!(matches!(service(url), Err(ServiceError::Url)), "{url}");
    }
    let header = |name: &str, value: &str| service("http://a/").unwrap().with_credential(name, value);
    assert!(matches!(header("a b", "x"), Err(ServiceError::Header)));
    assert!(matches!(header("x-a", "x\n"), Err(ServiceError::Header)));
}

#[test]
fn a_name_that_is_there_twice_means_nothing() {
    for answer in [
        r#"{"headers":{"set":{"x-a":"1","x-a":"2"}}}"#,
        r#"{"query":{"set":{"a":"1","a":"1"}}}"#,
        r#"{"attributes":{"a":"1","a":null}}"#,
        r#"{"status":200,"status":201}"#,
    ] {
        assert!(matches!(read(response(200, b""), answer.as_bytes()), Err(AnswerError::Json { .. })), "{answer}");
    }
}
