use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use microgw_engine::ApiGrant;
use microgw_engine::apikey::Terms;
use microgw_extproc::apikey::{ApiKeyIssuer, router};
use microgw_extproc::decider::Decider;
use microgw_extproc::keys::KeyTiming;
use microgw_extproc::login::Login;
use microgw_extproc::users::{UserConfig, Users};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::fixtures::{Service, US, now};

/// SHA-1 of `admin`.
pub const ADMIN: &str = "d033e22ae348aeb5660fc2140aec35850c4da997";

pub fn users() -> Arc<Users> {
    let admin = UserConfig { name: "admin".into(), password: ADMIN.into(), scopes: vec![] };
    Arc::new(Users::new([admin]).unwrap())
}

struct Issuer {
    service: Service,
    url: String,
    client: Client,
}

impl Issuer {
    async fn start(terms: Terms) -> Issuer {
        Issuer::behind(0, terms).await
    }

    async fn behind(trusted_hops: u32, terms: Terms) -> Issuer {
        let service = Service::start(None, KeyTiming::default(), Decider::DEADLINE).await;
        let issuer = ApiKeyIssuer {
            issuer: US.into(),
            terms,
            key: Arc::clone(&service.signing),
            login: Arc::new(Login::new(users(), NonZeroU32::new(5).unwrap(), Arc::clone(&service.metrics))),
            metrics: Arc::clone(&service.metrics),
            trusted_hops,
        };
        let url = serve(router(Some(Arc::new(issuer)), None, Arc::clone(&service.decider.rules))).await;
        Issuer { service, url, client: Client::new() }
    }

    fn post(&self, password: &str, address: &str) -> RequestBuilder {
        let credentials = STANDARD.encode(format!("admin:{password}"));
        let request = self.client.post(format!("{}/apikey", self.url));
        request.header("authorization", format!("Basic {credentials}")).header("x-forwarded-for", address)
    }
}

pub async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    url
}

fn thirty_days() -> Terms {
    Terms { validity: Some(ApiKeyIssuer::DEFAULT_VALIDITY), apis: vec![] }
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

async fn fault(response: Response) -> (StatusCode, u64) {
    assert_eq!(response.headers()["content-type"], "application/json");
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, body["fault"]["code"].as_u64().unwrap())
}

#[tokio::test]
async fn an_issued_key_opens() {
    let issuer = Issuer::start(thirty_days()).await;
    let response = issuer.post("admin", "10.0.0.1").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let token = response.text().await.unwrap();
    assert_eq!(issuer.service.ask("/v2/pet/1", &[("api_key", &token)]).await.status, 200);
    assert_eq!(issuer.service.bearer(&token).await.status, 401, "a key is no access token");

    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("apikey+jwt"), &json!("ES256")));
    assert_eq!(URL_SAFE_NO_PAD.decode(header["kid"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!(
        (&claims["sub"], &claims["iss"], &claims["keytype"]),
        (&json!("admin"), &json!(US), &json!("PRODUCTION"))
    );
    assert!(claims.get("allowedAPIs").is_none());
    let validity = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(validity, 30 * 24 * 60 * 60);
    assert!(claims["iat"].as_u64().unwrap().abs_diff(now()) < 60);

    let again = issuer.post("admin", "10.0.0.1").send().await.unwrap().text().await.unwrap();
    assert_ne!(part(&again, 1)["jti"], claims["jti"]);
    assert_eq!(issuer.service.counter("microgw_issued_keys_total"), 2);
}

#[tokio::test]
async fn get_and_paths_below_work_too_and_nothing_else() {
    let issuer = Issuer::start(thirty_days()).await;
    let basic = format!("Basic {}", STANDARD.encode("admin:admin"));
    for path in ["/apikey", "/apikey/", "/apikey/token", "/apikey/a/b"] {
        let request = issuer.client.get(format!("{}{path}", issuer.url)).header("authorization", &basic);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    let put = issuer.client.put(format!("{}/apikey", issuer.url)).send().await.unwrap();
    assert_eq!(put.headers()["allow"], "GET, POST");
    assert_eq!(fault(put).await, (StatusCode::METHOD_NOT_ALLOWED, 405));
    let elsewhere = issuer.client.get(format!("{}/apikeys", issuer.url)).send().await.unwrap();
    assert_eq!(fault(elsewhere).await, (StatusCode::NOT_FOUND, 404));

    let disabled = serve(router(None, None, Arc::default())).await;
    let response = issuer.client.get(format!("{disabled}/apikey")).header("authorization", basic).send().await.unwrap();
    assert_eq!(fault(response).await, (StatusCode::NOT_FOUND, 404));
}

#[tokio::test]
async fn callers_may_ask_for_less_and_never_for_more() {
    let grant = |version: &str| ApiGrant { name: "pets".into(), version: version.into() };
    let issuer = Issuer::start(Terms { validity: Some(600), apis: vec![grant("1.0"), grant("2.0")] }).await;
    let ask = |wish: &str| issuer.post("admin", "10.0.0.1").body(wish.to_owned()).send();

    let wish = r#"{"validityTime": 60, "allowedAPIs": [{"name": "pets", "versions": ["2.0"]}]}"#;
    let token = ask(wish).await.unwrap().text().await.unwrap();
    let claims = part(&token, 1);
    assert_eq!(claims["allowedAPIs"], json!([{"name": "pets", "version": "2.0"}]));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    assert_eq!(issuer.service.ask("/v2/pet/1", &[("api_key", &token)]).await.status, 403);

    for wish in [
        r#"{"validityTime": 601}"#,
        r#"{"validityTime": -1}"#,
        r#"{"validityTime": "60"}"#,
        r#"{"validity": 60}"#,
        r#"{"allowedAPIs": []}"#,
        r#"{"allowedAPIs": [{"name": "pets", "version": "*"}]}"#,
        r#"{"allowedAPIs": [{"name": "pets", "version": "1.0", "scope": "x"}]}"#,
        r#"{"validityTime": 60, "validityTime": 60}"#,
        "[]",
        "{",
    ] {
        assert_eq!(fault(ask(wish).await.unwrap()).await, (StatusCode::BAD_REQUEST, 400), "{wish}");
    }
    let long = format!("{{}}{}", " ".repeat(9000));
    assert_eq!(fault(ask(&long).await.unwrap()).await, (StatusCode::PAYLOAD_TOO_LARGE, 413));
}

#[tokio::test]
async fn who_is_not_known_gets_no_key() {
    let issuer = Issuer::start(thirty_days()).await;
    let url = format!("{}/apikey", issuer.url);
    let with = |value: &str| issuer.client.get(&url).header("authorization", value).send();
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (value, code) in [
        (basic("admin:wrong"), 900_911),
        (basic("nobody:admin"), 900_911),
        (basic(":"), 900_911),
        (basic("admin"), 900_912),
        ("Basic !".to_owned(), 900_912),
        ("Bearer x".to_owned(), 900_917),
        ("Basic".to_owned(), 900_917),
    ] {
        let response = with(&value).await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"micro-gw\", charset=\"UTF-8\"");
        assert_eq!(fault(response).await, (StatusCode::UNAUTHORIZED, code), "{value}");
    }
    assert_eq!(fault(issuer.client.get(&url).send().await.unwrap()).await, (StatusCode::UNAUTHORIZED, 900_902));
}

#[tokio::test]
async fn repeated_failures_slow_their_own_address_down() {
    let issuer = Issuer::start(thirty_days()).await;
    let status = async |password: &str, address: &str| issuer.post(password, address).send().await.unwrap();
    // Success costs nothing.
    for _ in 0..10 {
        assert_eq!(status("admin", "10.0.0.1").await.status(), StatusCode::OK);
    }
    // What the client wrote before the last entry does not make it somebody else.
    for spoofed in ["10.0.0.1", "1.1.1.1, 10.0.0.1", "2.2.2.2,10.0.0.1", "::1, 10.0.0.1", "x, 10.0.0.1"] {
        assert_eq!(status("wrong", spoofed).await.status(), StatusCode::UNAUTHORIZED);
    }
    let slowed = status("admin", "10.0.0.1").await;
    assert!(slowed.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 13);
    assert_eq!(fault(slowed).await, (StatusCode::TOO_MANY_REQUESTS, 429));
    assert_eq!(status("admin", "10.0.0.2").await.status(), StatusCode::OK);
    assert_eq!(issuer.service.counter("microgw_logins_total{outcome=\"slowed\"}"), 1);

    // A whole /64 is one address.
    for host in 1..=5 {
        let address = format!("2001:db8::{host}");
        assert_eq!(status("wrong", &address).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status("admin", "2001:db8::ffff").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status("admin", "2001:db8:0:1::1").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn behind_a_balancer_callers_have_their_own_addresses() {
    let issuer = Issuer::behind(1, thirty_days()).await;
    let status = async |password: &str, entries: &str| issuer.post(password, entries).send().await.unwrap().status();
    // The last entry is the balancer's own address, the same for everybody.
    for spoofed in ["10.0.0.1, 192.0.2.9", "1.1.1.1,10.0.0.1,192.0.2.9", "10.0.0.2, 10.0.0.1,192.0.2.9"] {
        assert_eq!(status("wrong", spoofed).await, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..2 {
        assert_eq!(status("wrong", "10.0.0.1,192.0.2.9").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status("admin", "10.0.0.1, 192.0.2.9").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status("admin", "10.0.0.1, 10.0.0.2, 192.0.2.9").await, StatusCode::OK);
}

#[tokio::test]
async fn guesses_sent_at_once_do_not_all_pass() {
    let issuer = Arc::new(Issuer::start(thirty_days()).await);
    let guessing = (0..50).map(|_| {
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move { issuer.post("wrong", "10.0.0.9").send().await.unwrap().status() })
    });
    let mut looked_at = 0;
    for guess in guessing.collect::<Vec<_>>() {
        if guess.await.unwrap() == StatusCode::UNAUTHORIZED {
            looked_at += 1;
        }
    }
    // Five in a row, and as many that ran beside the last of them.
    assert!((5..=10).contains(&looked_at), "{looked_at}");
}
