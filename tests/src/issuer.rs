//! An issuer of access tokens: a key made for the test, its JWK set in a file or over HTTP, and tokens of every kind.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use microgw_extproc::signing::SigningKey;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A signing key with a name.
pub struct TokenKey {
    pub kid: String,
    key: EncodingKey,
    pem: String,
}

/// A server of JWK sets.
pub struct JwksServer {
    pub address: SocketAddr,
    keys: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

/// Seconds since the epoch.
///
/// # Panics
/// Before 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs()
}

// === impl TokenKey ===

impl TokenKey {
    /// A new P-256 key.
    ///
    /// # Panics
    /// When there is no randomness.
    pub fn new(kid: &str) -> TokenKey {
        TokenKey::from_pem(kid, &SigningKey::generate().expect("a key can be made"))
    }

    /// A P-256 key in PKCS#8.
    ///
    /// # Panics
    /// When it is something else.
    pub fn from_pem(kid: &str, pem: &str) -> TokenKey {
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("it is an EC key");
        TokenKey { kid: kid.to_owned(), key, pem: pem.to_owned() }
    }

    /// Writes the private key, PEM, where only we can read it.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        microgw_envoy::sockets::write_private(&path, self.pem.as_bytes()).expect("it can be written");
        path
    }

    /// Its public half.
    ///
    /// # Panics
    /// Never: the key is its own.
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("it has a public half");
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).expect("a JWK is JSON")
    }

    /// Signs anything: `header` has these members besides `alg` and, unless the key has no name, `kid`.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let mut members = json!({ "alg": "ES256" });
        if !self.kid.is_empty() {
            members["kid"] = self.kid.as_str().into();
        }
        if let (Some(members), Some(more)) = (members.as_object_mut(), header.as_object()) {
            members.extend(more.clone());
        }
        self.sign_text(&members.to_string(), &claims.to_string())
    }

    /// Signs the two texts as they are, with ES256.
    ///
    /// # Panics
    /// Never: the key is its own.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &self.key, Algorithm::ES256);
        format!("{input}.{}", signature.expect("it can sign"))
    }

    /// Signs any claims.
    ///
    /// # Panics
    /// Never: the key is its own.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("it can sign")
    }

    /// A token that is good for ten minutes, with `more` claims on top.
    pub fn token(&self, issuer: &str, more: &Value) -> String {
        let mut claims = json!({ "iss": issuer, "sub": "alice", "iat": now(), "exp": now() + 600 });
        if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
            claims.extend(more.clone());
        }
        self.sign(&claims)
    }
}

// === impl JwksServer ===

impl JwksServer {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(keys: Vec<Value>) -> JwksServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let keys = Arc::new(Mutex::new(keys));
        let served = keys.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                    let keys = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let body = Full::new(Bytes::from(json!({ "keys": keys }).to_string()));
                    async move { Ok::<_, Infallible>(Response::new(body)) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        JwksServer { address, keys, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    pub fn replace(&self, keys: Vec<Value>) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
