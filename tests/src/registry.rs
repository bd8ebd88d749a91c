//! A real registry of images, ended with the value, and what stands before some: a server of tokens, a front that sends clients elsewhere.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::eventually;
use crate::gateway::{client, free_port};
use crate::issuer::now;
use crate::tls::Identity;

/// Who may log in where a login is asked for.
pub const LOGIN: (&str, &str) = ("ann", "correct horse");
/// What stands for a password of that user with the server of tokens.
pub const IDENTITY_TOKEN: &str = "an identity/token+of=ann";
const SERVICE: &str = "registry.test";
const ISSUER: &str = "tokens.test";

pub struct DockerRegistry {
    child: Child,
    pub port: u16,
    scheme: &'static str,
    data: PathBuf,
}

/// Gives tokens to whoever logs in.
pub struct TokenServer {
    pub address: SocketAddr,
    identity: Arc<Identity>,
    scopes: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// Passes on what it is asked, but for the content of blobs: that is elsewhere.
pub struct Front {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

/// Whether there is a registry to test with. Without one a test is skipped, visibly; on CI it fails.
///
/// # Panics
/// On CI, when there is none.
pub fn registry_is_here() -> bool {
    let found = Command::new("docker-registry").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "CI needs docker-registry");
    if !found {
        eprintln!("SKIPPED: docker-registry is not installed");
    }
    found
}

// === impl DockerRegistry ===

/// # Panics
/// All of these do when the registry does not start.
impl DockerRegistry {
    /// Whoever comes may read and write.
    pub async fn start(directory: &Path) -> DockerRegistry {
        DockerRegistry::launch(directory, "", None).await
    }

    /// The same over TLS.
    pub async fn start_tls(directory: &Path, identity: &Identity) -> DockerRegistry {
        DockerRegistry::launch(directory, "", Some(identity)).await
    }

    /// For [`LOGIN`] alone.
    pub async fn start_basic(directory: &Path) -> DockerRegistry {
        // As `htpasswd -Bbn` makes it of the two.
        let hash = "$2b$05$tbo4Kf5DmC9ZfX7mQCkUY.wCMTVCmo4vU4WPD/XUt/bv8DpS5PqNu";
        let file = directory.join("htpasswd");
        std::fs::write(&file, format!("{}:{hash}\n", LOGIN.0)).expect("it can be written");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        DockerRegistry::launch(directory, &auth, None).await
    }

    /// For those who have a token of that server.
    pub async fn start_bearer(directory: &Path, tokens: &TokenServer) -> DockerRegistry {
        let bundle = directory.join("tokens.pem");
        std::fs::write(&bundle, tokens.identity.certificate_pem()).expect("it can be written");
        let auth = format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            tokens.address,
            bundle.display()
        );
        DockerRegistry::launch(directory, &auth, None).await
    }

    async fn launch(directory: &Path, auth: &str, identity: Option<&Identity>) -> DockerRegistry {
        let (port, data) = (free_port(), directory.join("registry"));
        let tls = identity.map(|identity| {
            let [certificate, key] = ["registry.crt", "registry.key"].map(|name| directory.join(name));
            std::fs::write(&certificate, identity.certificate_pem()).expect("it can be written");
            std::fs::write(&key, identity.key_pem()).expect("it can be written");
            format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display())
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tls = tls.unwrap_or_default();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: of-the-test\n{tls}{auth}",
            data.display()
        );
        let file = directory.join("registry.yaml");
        std::fs::write(&file, config).expect("it can be written");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts");
        let registry = DockerRegistry { child, port, scheme, data };
        let url = registry.url("");
        let client = client();
        eventually("the registry answers", async || client.get(&url).send().await.ok()).await;
        registry
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self, below: &str) -> String {
        format!("{}://127.0.0.1:{}/v2/{below}", self.scheme, self.port)
    }

    /// Changes what is kept under a digest, as somebody who has got at the disk.
    pub fn tamper(&self, digest: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let digits = digest.strip_prefix("sha256:").expect("it is a digest");
        let file = self.data.join("docker/registry/v2/blobs/sha256").join(&digits[..2]).join(digits).join("data");
        let bytes = std::fs::read(&file).expect("it is there");
        std::fs::write(file, change(bytes)).expect("it can be written");
    }

    /// Puts something there that nobody would.
    pub async fn put(&self, name: &str, tag: &str, layer: Vec<u8>) {
        self.put_as("application/vnd.micro-gw.policy.v1.tar", json!({}), name, tag, layer).await;
    }

    /// The same, as a layer of that kind.
    pub async fn put_as(&self, kind: &str, annotations: serde_json::Value, name: &str, tag: &str, layer: Vec<u8>) {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.micro-gw.policy.v1",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
            "layers": [{
                "mediaType": kind, "digest": digest(&layer), "size": layer.len(), "annotations": annotations,
            }],
        });
        let client = client();
        for blob in [b"{}".to_vec(), layer] {
            let begun = client.post(self.url(&format!("{name}/blobs/uploads/"))).send().await.expect("it answers");
            let place = begun.headers()["location"].to_str().expect("it is text").to_owned();
            let url = format!("{place}&digest={}", digest(&blob));
            let done = client.put(url).body(blob).send().await.expect("it answers");
            assert_eq!(done.status(), 201);
        }
        let put = client.put(self.url(&format!("{name}/manifests/{tag}")));
        let put = put.header("content-type", "application/vnd.oci.image.manifest.v1+json").body(manifest.to_string());
        assert_eq!(put.send().await.expect("it answers").status(), 201);
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn digest(bytes: &[u8]) -> String {
    microgw_compiler::packages::digest(bytes)
}

/// What answers each request.
async fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> (SocketAddr, JoinHandle<()>)
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async { Ok::<_, Infallible>(answered.await) }
                });
                // A client that goes away is its own affair.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, task)
}

fn status(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).expect("it is one")
}

// === impl TokenServer ===

impl TokenServer {
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> TokenServer {
        let identity = Arc::new(Identity::authority("tokens"));
        let scopes = Arc::new(Mutex::new(Vec::new()));
        let (key, asked) = (Arc::clone(&identity), Arc::clone(&scopes));
        let (address, task) = serve(move |request| token(Arc::clone(&key), Arc::clone(&asked), request)).await;
        TokenServer { address, identity, scopes, task }
    }

    /// What tokens were asked for since it was asked last.
    pub fn scopes(&self) -> Vec<String> {
        std::mem::take(&mut *self.scopes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn token(
    identity: Arc<Identity>,
    scopes: Arc<Mutex<Vec<String>>>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let said = body.collect().await.expect("it ends").to_bytes();
    // In a form where a token is renewed, and else in the query.
    let is_renewal = head.method == Method::POST;
    let query = if is_renewal { said.to_vec() } else { head.uri.query().unwrap_or_default().as_bytes().to_vec() };
    let query = String::from_utf8(query).expect("it is text");
    let url = reqwest::Url::parse(&format!("http://localhost/?{query}")).expect("it is a URL");
    let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let login = format!("Basic {}", STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)));
    if is_renewal {
        assert_eq!(asked("grant_type").as_deref(), Some("refresh_token"));
        assert_eq!(asked("client_id").as_deref(), Some("micro-gw"));
        assert!(head.headers.get(AUTHORIZATION).is_none(), "a token is no password");
        if asked("refresh_token").as_deref() != Some(IDENTITY_TOKEN) {
            return status(400);
        }
    } else if head.headers.get(AUTHORIZATION).is_none_or(|given| *given != *login) {
        return status(401);
    }
    assert_eq!(asked("service").as_deref(), Some(SERVICE));
    let scope = asked("scope").expect("it says what for");
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { return status(400) };
    let claims = json!({
        "iss": ISSUER, "sub": LOGIN.0, "aud": SERVICE, "exp": now() + 60, "nbf": now() - 60, "iat": now(), "jti": "1",
        "access": [{ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }],
    });
    let mut header = Header::new(Algorithm::ES256);
    header.x5c = Some(vec![STANDARD.encode(identity.certificate.der())]);
    let key = EncodingKey::from_ec_pem(identity.key_pem().as_bytes()).expect("it is an EC key");
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("it can be signed");
    scopes.lock().unwrap_or_else(PoisonError::into_inner).push(scope);
    let name = if is_renewal { "access_token" } else { "token" };
    Response::new(Full::from(json!({ name: token }).to_string()))
}

// === impl Front ===

impl Front {
    /// Before `registry`; blobs are at `elsewhere`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(registry: &DockerRegistry, elsewhere: &str) -> Front {
        let (host, elsewhere) = (registry.host(), elsewhere.to_owned());
        let (address, task) = serve(move |request| pass(host.clone(), elsewhere.clone(), request)).await;
        Front { address, task }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(host: String, elsewhere: String, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let mut passed = client().request(head.method.clone(), format!("http://{host}{}", head.uri));
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
        passed = passed.header(name, value);
    }
    let body = body.collect().await.expect("it ends").to_bytes();
    let answer = passed.body(body).send().await.expect("the registry answers");
    let mut response = Response::builder().status(answer.status());
    if head.method == Method::GET && head.uri.path().contains("/blobs/") && answer.status() == 200 {
        response = response.status(307).header("location", elsewhere);
        return response.body(Full::default()).expect("it is one");
    }
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    let body = answer.bytes().await.expect("it ends");
    response.body(Full::from(body)).expect("it is one")
}
