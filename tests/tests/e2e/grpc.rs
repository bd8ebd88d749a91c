//! Calls of gRPC, which pass as they are, and are refused in words of their own.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use microgw_tests::gateway::{Gateway, replace};
use microgw_tests::project::{Project, definition};
use microgw_tests::streaming::Streaming;
use microgw_tests::tls::Identity;
use microgw_tests::{PATIENCE, envoy_is_here};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

type Message = Result<Frame<Bytes>, Infallible>;
type Messages = mpsc::Sender<Message>;
type Requests = SendRequest<StreamBody<ReceiverStream<Message>>>;

/// A service of three methods, of which one goes on in both directions; its messages may have a million bytes otherwise.
async fn service(project: &Project, backend: SocketAddr, tls: bool) -> Gateway {
    let key = json!([{ "key": [] }]);
    let mut calls = definition(
        "Calls",
        "",
        backend,
        &json!({
            "/shop.Shop/Talk": { "post": { "x-microgw-stream": "bidirectional", "security": key, "responses": {} } },
            "/shop.Shop/List": { "post": { "security": key, "responses": {} } },
            "/shop.Shop/Few": { "post": { "x-wso2-throttling-tier": "One", "security": [], "responses": {} } },
            "/shop.Shop/Denied": { "post": { "security": [], "responses": {} } },
            "/shop.Shop/Gone": { "post": { "security": [], "responses": {} } },
        }),
    );
    let port = backend.port();
    let url = if tls { format!("https://localhost:{port}") } else { format!("http://{backend}") };
    calls["x-wso2-production-endpoints"] = json!({ "urls": [url], "protocol": if tls { "auto" } else { "http2" } });
    if tls {
        calls["x-wso2-production-endpoints"]["tls"] = json!({ "profile": "calls" });
    }
    // Nobody listens there.
    calls["paths"]["/shop.Shop/Gone"]["post"]["x-wso2-production-endpoints"] =
        json!({ "urls": ["http://127.0.0.1:1"], "protocol": "http2" });
    calls.as_object_mut().unwrap().remove("servers");
    project.write(
        "policies.yaml",
        "resourcePolicies:\n  - One: {count: 1, unitTime: 1, timeUnit: day}\n\
         denyPolicies:\n  - Blocked: {when: {expression: \"request.path == '/shop.Shop/Denied'\"}}\n",
    );
    project.define("calls", &calls);
    project.build().await;
    let profile = "[[httpClients.tlsProfiles]]\nname = 'calls'\ntrustStorePath = 'ca.crt'\n";
    let config = project.config(if tls { profile } else { "" });
    let limit = "--listenerConfig.maxEntityBodySize=1000000";
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, limit]).await
}

struct Client {
    sender: Requests,
    address: SocketAddr,
}

impl Client {
    async fn new(gateway: &Gateway) -> Client {
        let address = gateway.live.http.unwrap();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(TcpStream::connect(address).await.unwrap()))
            .await
            .unwrap();
        tokio::spawn(connection);
        Client { sender, address }
    }

    fn call(
        &mut self,
        method: &str,
        key: Option<&str>,
    ) -> (Messages, impl Future<Output = Response<Incoming>> + use<>) {
        let (messages, receiver) = mpsc::channel(1);
        let mut request = Request::post(format!("http://{}/shop.Shop/{method}", self.address))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = self.sender.send_request(request.body(StreamBody::new(ReceiverStream::new(receiver))).unwrap());
        (messages, async move { timeout(PATIENCE, response).await.unwrap().unwrap() })
    }

    /// The gRPC status that a call is refused with. One that goes on in both directions has not ended by then.
    async fn refused(&mut self, method: &str, key: Option<&str>) -> String {
        let (messages, response) = self.call(method, key);
        let _messages = (method == "Talk").then_some(messages);
        let response = response.await;
        assert_eq!(response.status(), StatusCode::OK, "{method}");
        assert_eq!(response.headers()["content-type"], "application/grpc", "{method}");
        response.headers()["grpc-status"].to_str().unwrap().to_owned()
    }
}

fn message(size: usize) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
    framed.resize(size + 5, b'x');
    Bytes::from(framed)
}

/// Each message is answered before the next is sent; all of them are more than a body may have. Trailers come last.
async fn talk(client: &mut Client, key: &str) {
    let (messages, response) = client.call("Talk", Some(key));
    messages.send(Ok(Frame::data(message(10)))).await.unwrap();
    let mut response = response.await;
    let mut answered = 0;
    for (count, size) in [10, 600_000, 600_000].into_iter().enumerate() {
        if count > 0 {
            messages.send(Ok(Frame::data(message(size)))).await.unwrap();
        }
        let whole = answered + size + 5;
        while answered < whole {
            let frame = timeout(PATIENCE, response.frame()).await.unwrap().unwrap().unwrap();
            answered += frame.into_data().unwrap().len();
        }
        assert_eq!(answered, whole);
    }
    drop(messages);
    let end = timeout(PATIENCE, response.frame()).await.unwrap().unwrap().unwrap();
    let trailers = end.into_trailers().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"said all".parse().unwrap())
    );
}

#[tokio::test]
async fn calls_pass_in_both_directions() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start_http2().await;
    let project = Project::new();
    let gateway = service(&project, backend.address, false).await;
    let key = gateway.api_key().await;
    let mut client = Client::new(&gateway).await;
    talk(&mut client, &key).await;
    let seen = backend.seen();
    assert_eq!((seen[0].header("te"), seen[0].header("x-api-key")), (Some("trailers"), None));
    // A call that is no stream in both directions is within the limit.
    let (messages, response) = client.call("List", Some(&key));
    messages.send(Ok(Frame::data(message(2_000)))).await.unwrap();
    drop(messages);
    let body = timeout(PATIENCE, response.await.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes().len(), 2_005);
}

#[tokio::test]
async fn calls_pass_over_tls() {
    if !envoy_is_here() {
        return;
    }
    let ca = Identity::authority("ca");
    let backend = Streaming::start_tls(&ca.issue("localhost")).await;
    let project = Project::new();
    replace(&project.directory().join("ca.crt"), ca.certificate_pem().as_bytes());
    let gateway = service(&project, backend.address, true).await;
    let key = gateway.api_key().await;
    talk(&mut Client::new(&gateway).await, &key).await;
}

#[tokio::test]
async fn refusals_have_a_status_of_grpc() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start_http2().await;
    let project = Project::new();
    let gateway = service(&project, backend.address, false).await;
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.refused("Talk", None).await, "16");
    assert_eq!(client.refused("Talk", Some("nonsense")).await, "16");
    assert_eq!(client.refused("Nothing", None).await, "12");
    assert_eq!(client.refused("Denied", None).await, "7");
    assert_eq!(client.refused("Gone", None).await, "14");
    assert!(backend.seen().is_empty());
    let (messages, response) = client.call("Few", None);
    drop(messages);
    assert_eq!(response.await.status(), StatusCode::OK);
    assert_eq!(client.refused("Few", None).await, "8");
    assert_eq!(backend.seen().len(), 1);
}
