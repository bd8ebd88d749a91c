//! A certified OpenID provider, `oidc-provider` from npm: it shares no code and no reading of the specifications with us.
//! `make openid-provider` installs it.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::PATIENCE;
use crate::dpop::ProofKey;
use crate::gateway::{Answer, client};

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/oidc");

/// `aud` of every token.
pub const AUDIENCE: &str = "microgw";
/// What tokens are asked for (RFC 8707), which says what they are: signed with ES256,
pub const JWT: &str = "urn:microgw:jwt";
/// signed with PS256,
pub const JWT_RSA: &str = "urn:microgw:jwt-rsa";
/// or opaque.
pub const OPAQUE: &str = "urn:microgw:opaque";

/// Clients: they get tokens by their credentials.
pub const APP: &str = "app";
/// Its tokens must be bound by `DPoP`.
pub const DPOP_APP: &str = "dpop-app";
/// May ask about tokens; logs in with HTTP Basic.
pub const GATEWAY: &str = "gateway";
/// The same, with its secret in the form.
pub const GATEWAY_POST: &str = "gateway-post";

/// A running provider, ended with the value.
pub struct OpenidProvider {
    child: Child,
    pub issuer: String,
    client: reqwest::Client,
}

/// Whether it is installed. Without it a test is skipped, visibly; on CI it fails.
///
/// # Panics
/// On CI, when it is not.
pub fn openid_provider_is_here() -> bool {
    let node = std::process::Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let found = node && Path::new(PLACE).join("node_modules/oidc-provider").is_dir();
    assert!(found || std::env::var_os("CI").is_none(), "CI needs the OpenID provider: run `make openid-provider`");
    if !found {
        eprintln!("SKIPPED: no OpenID provider: `make openid-provider` installs it, and needs npm");
    }
    found
}

/// The secret of a client.
pub fn secret(client: &str) -> String {
    format!("{client}-secret-of-the-test")
}

// === impl OpenidProvider ===

impl OpenidProvider {
    /// On a free port.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> OpenidProvider {
        OpenidProvider::start_as(&json!({})).await
    }

    /// With `port`, `tokenSeconds` or `requireNonce`. Another on the same port has other keys, and knows no token.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_as(wish: &Value) -> OpenidProvider {
        let mut child = Command::new("node")
            .current_dir(PLACE)
            .args(["provider.js", &wish.to_string()])
            // It ends when this end of the pipe does, however the test does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its warnings, and why it does not start.
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
        let line = line.expect("it starts in time").expect("stdout can be read").expect("the provider starts");
        let said: Value = serde_json::from_str(&line).expect("it says where it is");
        let issuer = said["issuer"].as_str().expect("it has an issuer").to_owned();
        OpenidProvider { child, issuer, client: client() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// An access token for one of [`JWT`], [`JWT_RSA`] and [`OPAQUE`].
    pub async fn token(&self, client: &str, resource: &str, scope: &str) -> String {
        let answer = self.ask(client, "/token", &grant(resource, scope), None).await;
        access_token(&answer)
    }

    /// The same, bound to `key`.
    pub async fn bound_token(&self, client: &str, resource: &str, scope: &str, key: &ProofKey) -> String {
        let proof = key.proof("POST", &self.url("/token"), None);
        let answer = self.ask(client, "/token", &grant(resource, scope), Some(&proof)).await;
        assert_eq!(answer.json()["token_type"], "DPoP", "{answer:?}");
        access_token(&answer)
    }

    /// Ends a token. Of JWTs the provider knows nothing: they end by themselves.
    pub async fn revoke(&self, client: &str, token: &str) {
        let answer = self.ask(client, "/token/revocation", &[("token", token)], None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// What it says about a token.
    pub async fn introspect(&self, token: &str) -> Value {
        let answer = self.ask(GATEWAY, "/token/introspection", &[("token", token)], None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// New keys in the place of all it has.
    pub async fn rotate_keys(&self) {
        let answer = Answer::of(self.client.post(self.url("/test/rotate"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Ends it. Its port is free afterwards.
    pub async fn stop(mut self) {
        // The end may come before the signal.
        let _ = self.child.kill().await;
    }

    async fn ask(&self, client: &str, path: &str, form: &[(&str, &str)], proof: Option<&str>) -> Answer {
        let mut request = self.client.post(self.url(path)).basic_auth(client, Some(secret(client))).form(form);
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        Answer::of(request).await
    }
}

fn grant<'a>(resource: &'a str, scope: &'a str) -> [(&'static str, &'a str); 3] {
    [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)]
}

fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().expect("there is a token").to_owned()
}
