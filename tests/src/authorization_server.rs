//! An authorization server of our own: introspection (RFC 7662), tokens, and every way in which such a server can fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The resource server that may introspect with a password.
pub const CLIENT: (&str, &str) = ("gateway", "s3cret: of the gateway");

pub struct AuthorizationServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Introspections wait for this.
    gate: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

/// What it does when it is asked about a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// No answer before [`AuthorizationServer::release`].
    Slow,
    /// 500.
    Broken,
    /// Something that is no JSON.
    Garbage,
    /// More than anybody should read.
    Endless,
    /// To another place, which would be told everything.
    Redirect,
}

#[derive(Default)]
struct State {
    mood: Mood,
    /// By token.
    tokens: BTreeMap<String, Value>,
    /// The forms that introspection was sent, and who sent them.
    asked: Vec<(String, String)>,
    /// The same of the token endpoint.
    granted: Vec<(String, String)>,
    /// Bearer tokens that may introspect.
    own: Vec<String>,
    /// Seconds that the next own token is good for.
    life: u64,
}

// === impl AuthorizationServer ===

impl AuthorizationServer {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> AuthorizationServer {
        AuthorizationServer::at(0).await
    }

    /// Listens on this port.
    ///
    /// # Panics
    /// When it is taken.
    pub async fn at(port: u16) -> AuthorizationServer {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State { life: 3600, ..State::default() }));
        let gate = Arc::new(watch::channel(false).0);
        let (served, opened) = (Arc::clone(&state), Arc::clone(&gate));
        let task = tokio::spawn(async move {
            // They end with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (served, opened) = (Arc::clone(&served), Arc::clone(&opened));
                let service = service_fn(move |request| {
                    let (served, opened) = (Arc::clone(&served), Arc::clone(&opened));
                    async move { Ok::<_, Infallible>(answer(request, &served, &opened).await) }
                });
                connections
                    .spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        AuthorizationServer { address, state, gate, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `[keyManager]` and the password, for `micro-gw.conf`.
    pub fn settings(&self) -> String {
        let (user, password) = CLIENT;
        format!(
            "[keymanager.security.basic]\nusername = \"{user}\"\npassword = \"{password}\"\n\n\
             [keyManager]\nserverUrl = \"{}\"\n",
            self.url()
        )
    }

    /// From now on the token is active, and this is said of it.
    pub fn knows(&self, token: &str, claims: &Value) {
        let mut said = json!({ "active": true });
        if let (Some(said), Some(more)) = (said.as_object_mut(), claims.as_object()) {
            said.extend(more.clone());
        }
        self.state().tokens.insert(token.to_owned(), said);
    }

    pub fn forgets(&self, token: &str) {
        self.state().tokens.remove(token);
    }

    pub fn becomes(&self, mood: Mood) {
        self.gate.send_replace(false);
        self.state().mood = mood;
    }

    /// Lets those go on that wait.
    pub fn release(&self) {
        self.gate.send_replace(true);
    }

    /// The forms that introspection was sent, with `Authorization`.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.state().asked.clone()
    }

    /// The forms that the token endpoint was sent, with `Authorization`.
    pub fn granted(&self) -> Vec<(String, String)> {
        self.state().granted.clone()
    }

    /// This token may introspect.
    pub fn admits(&self, token: &str) {
        self.state().own.push(token.to_owned());
    }

    /// Own tokens are worth nothing any more.
    pub fn withdraws_own_tokens(&self) {
        self.state().own.clear();
    }

    /// Own tokens are good for so many seconds.
    pub fn grants_for(&self, seconds: u64) {
        self.state().life = seconds;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>, gate: &watch::Sender<bool>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let authorization = authorization.unwrap_or_default().to_owned();
    if !matches!(path.as_str(), "/oauth2/introspect" | "/oauth2/token") {
        // What the gateway passes on is shown as it came.
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (method, host) = (request.method().to_string(), request.headers().get("host").cloned());
        let host = host.and_then(|host| host.to_str().ok().map(str::to_owned));
        let form = form(request).await;
        let seen = json!({ "method": method, "path": path, "query": query, "host": host, "authorization": authorization, "form": form });
        return reply(200, "application/json", seen.to_string());
    }
    let form = form(request).await;
    if path == "/oauth2/token" {
        let mut state = lock(state);
        state.granted.push((form, authorization));
        let token = format!("own-{}", state.granted.len());
        state.own.push(token.clone());
        let body = json!({
            "access_token": token, "token_type": "bearer", "expires_in": state.life,
            "refresh_token": format!("refresh-{}", state.granted.len()),
        });
        return reply(200, "application/json", body.to_string());
    }
    let (mood, admitted) = {
        let mut state = lock(state);
        state.asked.push((form.clone(), authorization.clone()));
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", CLIENT.0, CLIENT.1)));
        let bearer = authorization.strip_prefix("Bearer ");
        (state.mood, authorization == basic || bearer.is_some_and(|token| state.own.iter().any(|own| own == token)))
    };
    if !admitted {
        return reply(401, "application/json", json!({ "error": "invalid_client" }).to_string());
    }
    match mood {
        Mood::Well => {}
        Mood::Slow => {
            // An error: the server is gone, and with it who would wait.
            let _ = gate.subscribe().wait_for(|open| *open).await;
        }
        Mood::Broken => return reply(500, "text/plain", "oh".to_owned()),
        Mood::Garbage => return reply(200, "text/html", "<html>all is well</html>".to_owned()),
        Mood::Endless => {
            return reply(200, "application/json", format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(1 << 20)));
        }
        Mood::Redirect => {
            let mut response = reply(307, "text/plain", String::new());
            let elsewhere = hyper::header::HeaderValue::from_static("/elsewhere");
            response.headers_mut().insert("location", elsewhere);
            return response;
        }
    }
    let token = Url::parse(&format!("form:?{form}"))
        .ok()
        .and_then(|form| form.query_pairs().find(|(name, _)| name == "token").map(|(_, token)| token.into_owned()));
    let said = token.and_then(|token| lock(state).tokens.get(&token).cloned());
    reply(200, "application/json", said.unwrap_or_else(|| json!({ "active": false })).to_string())
}

async fn form(request: Request<Incoming>) -> String {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    String::from_utf8_lossy(&body).into_owned()
}

fn reply(status: u16, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("it is a status");
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}
