//! Requests to the API-key issuer: a key is for who knows the password, and only then.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use microgw_engine::ApiGrant;
use microgw_engine::apikey::Terms;
use microgw_extproc::apikey::{ApiKeyIssuer, router};
use microgw_extproc::login::Login;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::users::{UserConfig, Users};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::credentials::{API_PEM, US, hex};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "issuer",
    run,
    reaches: &["no request", "refused", "bad request", "issued"],
    dictionary: &[
        "GET ",
        "POST ",
        "/apikey",
        "/apikey/",
        "authorization: ",
        "Basic ",
        "basic  ",
        "YWRtaW46c2VjcmV0",
        ":",
        "\n",
        "\n\n",
        "x-forwarded-for: ",
        "{\"allowedAPIs\":[",
        "{\"name\":\"pets\",\"versions\":[\"1.0\"]}",
        "\"version\":\"*\"",
        "\"validityTime\":60",
        "{}",
        "null",
        "{",
        "content-length: 9",
        "-1",
        "1e9",
    ],
    mutations: 2000,
};

/// Of `admin`.
const PASSWORD: &str = "secret";
/// Seconds that a key lives at most.
const VALIDITY: u64 = 3600;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());
static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(SigningKey::from_pem(&API_PEM).unwrap()));

/// A request as HTTP/1.1 has it, without the version: `GET /apikey`, headers, an empty line, the body.
pub fn run(data: &[u8]) -> Reached {
    let Some(request) = request(data) else { return "no request" };
    let mut given = request.headers().get_all("authorization").iter();
    let known = given.next().is_some_and(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split_once(' ').is_some_and(|(scheme, encoded)| {
            let decoded = STANDARD.decode(encoded.trim()).unwrap_or_default();
            scheme.eq_ignore_ascii_case("basic") && decoded == format!("admin:{PASSWORD}").as_bytes()
        })
    }) && given.next().is_none();

    let (status, body) = RUNTIME.block_on(async {
        let answer = router(Some(Arc::new(issuer())), None, Arc::default()).oneshot(request).await.unwrap();
        (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
    });
    let body = String::from_utf8(body.to_vec()).expect("the answer is no text");
    // What is wrong with a body is said in its own words.
    let said = String::from_utf8_lossy(data).contains(PASSWORD);
    assert!(said || !body.contains(PASSWORD), "the answer tells the password");
    match status {
        StatusCode::OK => {
            assert!(known, "a key for who does not know the password");
            check_terms(&body);
            "issued"
        }
        StatusCode::UNAUTHORIZED => {
            assert!(!known, "refused who knows the password");
            "refused"
        }
        StatusCode::BAD_REQUEST => "bad request",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::PAYLOAD_TOO_LARGE => "refused",
        other => panic!("{other}: {body}"),
    }
}

fn request(data: &[u8]) -> Option<Request<Body>> {
    let text = std::str::from_utf8(data).ok()?;
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value.trim());
    }
    request.body(Body::from(body.to_owned())).ok()
}

/// Anew for each request: who failed before is not slowed down.
fn issuer() -> ApiKeyIssuer {
    let hash = hex(&Sha256::digest(PASSWORD));
    let admin = UserConfig { name: "admin".to_owned(), password: format!("@sha256:{{{hash}}}"), scopes: vec![] };
    let metrics = Metrics::new();
    let login = Login::new(Arc::new(Users::new([admin]).unwrap()), NonZeroU32::new(5).unwrap(), Arc::clone(&metrics));
    let pets = ApiGrant { name: "pets".into(), version: "*".into() };
    ApiKeyIssuer {
        issuer: US.to_owned(),
        terms: Terms { validity: Some(VALIDITY), apis: vec![pets] },
        key: Arc::clone(&KEY),
        login: Arc::new(login),
        metrics,
        trusted_hops: 0,
    }
}

/// Nobody gets more than what everybody is entitled to.
fn check_terms(key: &str) {
    let claims = key.split('.').nth(1).expect("a key has three parts");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let lives = claims["exp"].as_u64().expect("the key has no end") - claims["iat"].as_u64().unwrap();
    assert!((1..=VALIDITY).contains(&lives), "{claims}");
    let apis = claims["allowedAPIs"].as_array().expect("the key is for all APIs");
    assert!(!apis.is_empty() && apis.iter().all(|api| api["name"] == "pets"), "{claims}");
}
