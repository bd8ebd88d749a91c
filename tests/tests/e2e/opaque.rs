//! Opaque tokens: an authorization server is asked about them (RFC 7662), as seldom as possible, and may fail.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use microgw_tests::authorization_server::{AuthorizationServer, CLIENT, Mood};
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, free_port};
use microgw_tests::issuer::{TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

struct Shop {
    gateway: Gateway,
    project: Project,
    _backend: Backend,
}

impl Shop {
    async fn open(config: &str) -> Shop {
        let backend = Backend::start("shop").await;
        let project = Project::new();
        let paths = json!({ "/any": get(&json!([{ "oauth": [] }])), "/reads": get(&json!([{ "oauth": ["read"] }])) });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        let config = project.config(config);
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { gateway, project, _backend: backend }
    }

    async fn ask(&self, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.gateway.get(&self.gateway.http(path), &[("authorization", &authorization)]).await
    }

    /// Status and code.
    async fn code(&self, token: &str) -> (u16, u64) {
        let answer = self.ask("/shop/any", token).await;
        (answer.status, if answer.status == 200 { 0 } else { answer.code() })
    }

    /// The sample of `microgw_introspections_total` with this outcome.
    async fn counted(&self, outcome: &str) -> u64 {
        let page = self.gateway.get(&self.gateway.admin("/metrics"), &[]).await.body;
        let start = format!("microgw_introspections_total{{outcome=\"{outcome}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
    }
}

#[tokio::test]
async fn the_server_is_asked_once_about_each_token() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.knows("good/token+1", &json!({ "sub": "carol", "client_id": "shop", "scope": "read", "exp": now() + 600 }));
    server.knows("narrow", &json!({ "sub": "dave", "scope": "write", "exp": now() + 600 }));
    server.knows("late", &json!({ "sub": "dave", "exp": now() - 60 }));
    server.knows("refreshes", &json!({ "sub": "dave", "token_use": "refresh_token" }));
    server.knows("elsewhere", &json!({ "sub": "dave", "aud": "others" }));
    server.knows("ours", &json!({ "sub": "dave", "aud": ["others", "shop"], "keytype": "PRODUCTION" }));
    let shop = Shop::open(&format!("{}audience = [\"shop\", \"gateway\"]\n", server.settings())).await;
    assert_eq!(shop.code("ours").await, (200, 0));
    assert_eq!(shop.code("elsewhere").await, (401, 900_901));
    drop(shop);

    let before = server.asked().len();
    let shop = Shop::open(&server.settings()).await;
    let seen = shop.ask("/shop/reads", "good/token+1").await;
    assert_eq!(seen.status, 200, "{seen:?}");
    assert!(seen.json()["headers"].get("authorization").is_none(), "{seen:?}");
    for _ in 0..3 {
        assert_eq!(shop.ask("/shop/reads", "good/token+1").await.status, 200);
    }
    let asked = server.asked().split_off(before);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].0, "token=good%2Ftoken%2B1&token_type_hint=access_token");
    let refused = shop.ask("/shop/reads", "narrow").await;
    assert_eq!((refused.status, refused.code()), (403, 900_910));
    assert!(refused.header("www-authenticate").contains("insufficient_scope"), "{refused:?}");
    assert_eq!(shop.code("late").await, (401, 900_903));
    assert_eq!(shop.code("refreshes").await, (401, 900_901));
    // What is refused is refused again without a question; what is no token at all, without any.
    let before = server.asked().len();
    for token in ["unknown", "unknown", "unknown", "no.jwt.really", "not{a}token", "=", &"x".repeat(17_000)] {
        if token.len() < 8000 {
            assert_eq!(shop.code(token).await, (401, 900_901), "{token}");
        }
    }
    assert_eq!(server.asked().len(), before + 1);
    let log = shop.gateway.log();
    for secret in [CLIENT.1, "good/token+1", "unknown"] {
        assert!(!log.contains(secret), "{log}");
    }
    assert_eq!((shop.counted("active").await, shop.counted("remembered").await), (3, 2));
    let data = shop.project.directory().join("data");
    for file in std::fs::read_dir(data).unwrap().flatten().filter(|file| file.path().is_file()) {
        let content = std::fs::read(file.path()).unwrap();
        assert!(!content.windows(CLIENT.1.len()).any(|window| window == CLIENT.1.as_bytes()), "{file:?}");
    }
}

#[tokio::test]
async fn many_who_wait_are_one_question() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    let shop = Shop::open(&server.settings()).await;
    server.becomes(Mood::Slow);
    let all = join_all((0..50).map(|_| shop.code("good")));
    let release = async {
        eventually("all wait", async || (shop.counted("shared").await >= 49).then_some(())).await;
        server.release();
    };
    let (codes, ()) = tokio::join!(all, release);
    // Who waited too long for the machine was told so; nobody was told anything else.
    assert!(codes.iter().all(|code| [(200, 0), (503, 900_900)].contains(code)), "{codes:?}");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(shop.code("good").await, (200, 0));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn answers_hold_as_long_as_they_are_configured_to() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    let shop = Shop::open(&format!("{}cacheExpiryTime = 300\n", server.settings())).await;
    assert_eq!(shop.code("good").await, (200, 0));
    server.forgets("good");
    eventually("it is asked about again", async || (shop.code("good").await == (401, 900_901)).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_fails_is_503_and_left_alone() {
    if !envoy_is_here() {
        return;
    }
    let port = free_port();
    let server_settings = format!(
        "[keyManager]\nserverUrl = \"http://127.0.0.1:{port}\"\nusername = \"{}\"\npassword = \"{}\"\n",
        CLIENT.0, CLIENT.1
    );
    // Down at the start: everything else works, its tokens are 503.
    let shop = Shop::open(&server_settings).await;
    let answer = shop.ask("/shop/any", "good").await;
    assert_eq!((answer.status, answer.code()), (503, 900_900), "{answer:?}");
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.body.contains("127.0.0.1"), "no detail: {answer:?}");

    let server = AuthorizationServer::at(port).await;
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    assert_eq!(shop.code("good").await, (200, 0), "a failure or two open nothing");
    for mood in [Mood::Broken, Mood::Garbage, Mood::Endless, Mood::Redirect] {
        server.becomes(mood);
        assert_eq!(shop.code(&format!("new-{mood:?}")).await, (503, 900_900), "{mood:?}");
    }
    // Those were four in a row; the fifth opens the circuit.
    server.becomes(Mood::Broken);
    assert_eq!(shop.code("fifth").await, (503, 900_900));
    let asked = server.asked().len();
    server.becomes(Mood::Well);
    for token in ["sixth", "seventh"] {
        assert_eq!(shop.code(token).await, (503, 900_900));
    }
    assert_eq!(server.asked().len(), asked, "it is left alone");
    assert_eq!(shop.code("good").await, (200, 0), "what is known stays known");
    assert!(shop.counted("circuit_open").await >= 2);
    // After its pause one question finds it well.
    eventually("the circuit closes", async || (shop.code("eighth").await == (401, 900_901)).then_some(())).await;
    assert!(shop.gateway.log().contains("answers again"), "{}", shop.gateway.log());
}

#[tokio::test]
async fn a_slow_server_is_503_within_the_time_of_a_decision() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    let shop = Shop::open(&server.settings()).await;
    server.becomes(Mood::Slow);
    assert_eq!(shop.code("good").await, (503, 900_900));
    server.becomes(Mood::Well);
    assert_eq!(shop.code("good").await, (200, 0));
}

#[tokio::test]
async fn garbage_displaces_nothing_and_is_bounded() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    server.knows("better", &json!({ "sub": "erin", "exp": now() + 600 }));
    let settings = format!("{}maxIntrospectionsPerSecond = 20\ncacheExpiryTime = 1000\n", server.settings());
    let shop = Shop::open(&settings).await;
    assert_eq!(shop.code("good").await, (200, 0));
    let flood = (0..1000).map(|index| {
        let shop = &shop;
        async move { shop.code(&format!("garbage-{index}")).await }
    });
    let answers: Vec<_> = stream::iter(flood).buffer_unordered(50).collect().await;
    assert!(answers.iter().all(|answer| [(401, 900_901), (503, 900_900)].contains(answer)), "{answers:?}");
    let over = answers.iter().filter(|answer| answer.0 == 503).count();
    assert!(over > 0 && over < 1000, "{over}");
    let spared = 1001 - server.asked().len();
    assert!(spared >= over, "{spared} {over}");
    // A caller from before is still served, though its answer is older than a second: it has a budget of its own.
    assert_eq!(shop.code("good").await, (200, 0));
}

#[tokio::test]
async fn a_jwt_that_nobody_vouches_for() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    let key = TokenKey::new("elsewhere");
    let token = key.token("https://elsewhere.example", &json!({}));
    server.knows(&token, &json!({ "sub": "carol", "exp": now() + 600 }));
    let shop = Shop::open(&server.settings()).await;
    assert_eq!(shop.code(&token).await, (401, 900_901));
    assert_eq!(server.asked().len(), 0);
    drop(shop);
    let shop = Shop::open(&format!("{}enableIntrospectForFailedJWT = true\n", server.settings())).await;
    assert_eq!(shop.code(&token).await, (200, 0));
    assert_eq!(shop.code(&key.token("https://elsewhere.example", &json!({ "a": 1 }))).await, (401, 900_901));
}

/// A server that is asked with a token of the gateway's own.
async fn with_own_token(server: &AuthorizationServer, settings: &str) -> Shop {
    server.knows("good", &json!({ "sub": "carol", "exp": now() + 600 }));
    let oauth2 = "[keymanager.security.oauth2]\nenabled = true\n";
    let manager = format!("[keyManager]\nserverUrl = \"{}\"\n", server.url());
    Shop::open(&format!("{manager}{oauth2}tokenUrl = \"{}/oauth2/token\"\n{settings}", server.url())).await
}

#[tokio::test]
async fn the_gateway_logs_in_with_a_token_of_its_own() {
    if !envoy_is_here() {
        return;
    }
    let refresh = |server: &AuthorizationServer| {
        format!(
            "[keymanager.security.oauth2.refresh]\nenabled = true\nrefreshUrl = \"{}/oauth2/token\"\nrefreshToken = \"r0\"\n\
             clientId = \"gw\"\nclientSecret = \"s\"\n",
            server.url()
        )
    };
    // "gw:s%26+t", as RFC 6749 section 2.3.1 has it encoded.
    let header = "Basic Z3c6cyUyNit0";
    for (settings, form, authorization) in [
        (
            "[keymanager.security.oauth2.clientCredential]\nenabled = true\nclientId = 'gw'\nclientSecret = 's& t'\nscopes = 'a,b'\n"
                .to_owned(),
            "grant_type=client_credentials&scope=a+b",
            header,
        ),
        (
            "credentialBearer = 'POST_BODY_BEARER'\n[keymanager.security.oauth2.clientCredential]\nenabled = true\nclient_id = 'gw'\nclient_secret = 's'\n"
                .to_owned(),
            "grant_type=client_credentials&client_id=gw&client_secret=s",
            "",
        ),
        (
            "credentialBearer = 'NO_BEARER'\n[keymanager.security.oauth2.password]\nenabled = true\nclientId = 'gw'\nusername = 'u'\npassword = 'p'\n"
                .to_owned(),
            "grant_type=password&username=u&password=p&client_id=gw",
            "",
        ),
    ] {
        let server = AuthorizationServer::start().await;
        let shop = with_own_token(&server, &settings).await;
        assert_eq!(shop.code("good").await, (200, 0), "{settings} {}", shop.gateway.log());
        assert_eq!(shop.code("bad").await, (401, 900_901));
        assert_eq!(server.granted(), [(form.to_owned(), authorization.to_owned())]);
        // Withdrawn: once more, with another.
        server.withdraws_own_tokens();
        assert_eq!(shop.code("worse").await, (401, 900_901));
        assert_eq!(server.granted().len(), 2);
        assert!(!shop.gateway.log().contains("own-"), "{}", shop.gateway.log());
    }

    let server = AuthorizationServer::start().await;
    server.admits("direct");
    let direct = "[keymanager.security.oauth2.directToken]\nenabled = true\naccessToken = 'direct'\n";
    let shop = with_own_token(&server, direct).await;
    assert_eq!(shop.code("good").await, (200, 0));
    server.withdraws_own_tokens();
    assert_eq!(shop.code("bad").await, (503, 900_900));
    assert_eq!(server.granted(), []);
    drop(shop);

    // The fixed token is refused, a refresh token gets another, and the one after that comes of the new refresh token.
    let shop = with_own_token(&server, &format!("{direct}{}", refresh(&server))).await;
    assert_eq!(shop.code("good").await, (200, 0));
    server.withdraws_own_tokens();
    assert_eq!(shop.code("bad").await, (401, 900_901));
    let forms: Vec<_> = server.granted().into_iter().map(|(form, _)| form).collect();
    assert_eq!(
        forms,
        ["grant_type=refresh_token&refresh_token=r0", "grant_type=refresh_token&refresh_token=refresh-1"]
    );
}

#[tokio::test]
async fn an_own_token_is_renewed_before_it_ends() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    server.grants_for(2);
    let settings =
        "[keymanager.security.oauth2.clientCredential]\nenabled = true\nclientId = 'gw'\nclientSecret = 's'\n";
    let shop = with_own_token(&server, settings).await;
    let mut index = 0;
    eventually("it is renewed", async || {
        index += 1;
        assert_eq!(shop.code(&format!("bad-{index}")).await, (401, 900_901));
        (server.granted().len() >= 3).then_some(())
    })
    .await;
}
