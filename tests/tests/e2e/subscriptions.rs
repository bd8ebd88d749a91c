//! Applications that are subscribed, or are not, as tokens say and as stores know.

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use redis::AsyncCommands as _;
use serde_json::{Value, json};

const ONE: &str = "https://one.example/";
const FREE: &str = "https://free.example/";

struct Site {
    project: Project,
    key: TokenKey,
    gateway: Gateway,
    _backend: Backend,
    _server: JwksServer,
}

impl Site {
    async fn new(section: &str, prepare: impl FnOnce(&Project)) -> Site {
        let (key, backend) = (TokenKey::new("one"), Backend::start("shop").await);
        let server = JwksServer::start(vec![key.jwk()]).await;
        let project = Project::new();
        let paths = json!({ "/token": get(&json!([{ "oauth": [] }])), "/key": get(&json!([{ "key": [] }])) });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        prepare(&project);
        let issuer = |name: &str, own: &str| {
            format!("[[jwtTokenConfig]]\nissuer = \"{name}\"\njwksURL = \"{}\"\n{own}\n\n", server.url())
        };
        let config = [section, &issuer(ONE, ""), &issuer(FREE, "validateSubscription = false")].concat();
        let config = project.config(&config);
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Site { project, key, gateway, _backend: backend, _server: server }
    }

    async fn ask(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.gateway.get(&self.gateway.http("/shop/token"), &[("authorization", &bearer)]).await
    }

    /// A token of a client.
    fn of(&self, client: &str) -> String {
        self.key.token(ONE, &json!({ "azp": client }))
    }

    async fn becomes(&self, token: &str, status: u16, code: u64) {
        eventually(&format!("it is answered {status} {code}"), async || {
            let answer = self.ask(token).await;
            let found = (answer.status, if answer.status == 200 { 0 } else { answer.code() });
            (found == (status, code)).then_some(())
        })
        .await;
    }
}

fn subscription(application: u32, state: &str, time: u64) -> Value {
    json!({ "apiId": 7, "appId": application, "policyId": "Gold", "subscriptionState": state, "timeStamp": time })
}

/// Applications 1 and up, each with a production key and a sandbox key, in these states.
fn store(states: &[&str]) -> Value {
    let applications = states.iter().zip(1u32..);
    let one = |id| json!({ "id": id, "name": format!("app {id}"), "subName": "alice", "policy": "10PerMin" });
    let keys = |id: u32| {
        ["PRODUCTION", "SANDBOX"].map(|kind| {
            let key = format!("{}-{id}", kind.to_lowercase());
            json!({ "applicationId": id, "consumerKey": key, "keyType": kind })
        })
    };
    json!({
        "apis": [{ "apiId": 7, "name": "Shop", "version": "1.0" }],
        "applications": applications.clone().map(|(_, id)| one(id)).collect::<Vec<_>>(),
        "applicationKeyMappings": applications.clone().flat_map(|(_, id)| keys(id)).collect::<Vec<_>>(),
        "subscriptions": applications.map(|(state, id)| subscription(id, state, 1)).collect::<Vec<_>>(),
    })
}

const STATES: [&str; 6] = ["UNBLOCKED", "TIER_UPDATE_PENDING", "ON_HOLD", "BLOCKED", "PROD_ONLY_BLOCKED", "REJECTED"];

#[tokio::test]
async fn a_file_says_who_is_subscribed() {
    if !envoy_is_here() {
        return;
    }
    let section = "[security]\nvalidateSubscriptions = true\n\n[subscriptions]\nfile = 'subscriptions.json'\n\n";
    let site = Site::new(section, |_| {}).await;
    // Nobody knows yet: that is no refusal.
    let answer = site.ask(&site.of("production-1")).await;
    assert_eq!((answer.status, answer.code()), (503, 900_900), "{answer:?}");
    let file = site.project.directory().join("subscriptions.json");
    replace(&file, store(&STATES).to_string().as_bytes());
    site.becomes(&site.of("production-1"), 200, 0).await;
    for (client, status, code) in [
        ("production-2", 200, 0),
        ("production-3", 401, 900_909),
        ("production-4", 401, 900_907),
        ("sandbox-4", 401, 900_907),
        ("production-5", 401, 900_907),
        ("sandbox-5", 200, 0),
        ("production-6", 403, 900_908),
        ("nobody", 403, 900_908),
    ] {
        let answer = site.ask(&site.of(client)).await;
        assert_eq!(answer.status, status, "{client}: {answer:?}");
        if status != 200 {
            assert_eq!(answer.code(), code, "{client}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge.starts_with("Bearer "), status == 401, "{client}: {challenge}");
            assert!(!challenge.contains("invalid_token"), "the token is good: {challenge}");
        }
    }
    // What a token says itself.
    let claims = |name: &str, version: &str| {
        let api = json!({ "name": name, "version": version, "context": "/shop/1.0", "subscriptionTier": "Gold" });
        site.key.token(ONE, &json!({ "application": { "id": 1, "name": "own" }, "subscribedAPIs": [api] }))
    };
    for (token, status) in [
        (claims("Shop", "1.0"), 200),
        (claims("Shop", "*"), 200),
        (claims("Shop", "2.0"), 403),
        (claims("Other", "1.0"), 403),
        (site.key.token(ONE, &json!({})), 403),
        (site.key.token(FREE, &json!({})), 200),
    ] {
        assert_eq!(site.ask(&token).await.status, status);
    }
    // API keys need no subscription.
    let key = site.gateway.api_key().await;
    let answer = site.gateway.get(&site.gateway.http("/shop/key"), &[("x-api-key", &key)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    // A change counts for tokens that are remembered.
    replace(&file, store(&["BLOCKED"]).to_string().as_bytes());
    site.becomes(&site.of("production-1"), 401, 900_907).await;
    site.becomes(&site.of("production-2"), 403, 900_908).await;
    let page = site.gateway.get(&site.gateway.admin("/metrics"), &[]).await.body;
    assert!(page.contains("microgw_subscriptions_loaded 1\n") && page.contains("microgw_subscription_records 5\n"));
}

#[tokio::test]
async fn redis_says_who_is_subscribed_and_what_changes() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let mut redis = RedisServer::start().await;
    let client = redis.client();
    let fill = async |states: &[&str]| {
        let mut connection = client.connect().await.unwrap();
        let all = store(states);
        for (table, id) in [("apis", "apiId"), ("applications", "id"), ("applicationKeyMappings", "consumerKey")] {
            for record in all[table].as_array().unwrap() {
                let field = record[id].as_str().map_or_else(|| record[id].to_string(), str::to_owned);
                let key = client.key(&format!("subscriptions:{table}"));
                let _: () = connection.hset(key, field, record.to_string()).await.unwrap();
            }
        }
        for record in all["subscriptions"].as_array().unwrap() {
            let key = client.key("subscriptions:subscriptions");
            let _: () = connection.hset(key, record["appId"].to_string(), record.to_string()).await.unwrap();
        }
    };
    let tell = async |op: &str, record: Value| {
        let mut connection = client.connect().await.unwrap();
        let (hash, field) = (client.key("subscriptions:subscriptions"), record["appId"].to_string());
        let fields = [("table", "subscriptions"), ("op", op), ("record", &record.to_string())];
        let mut transaction = redis::pipe();
        transaction.atomic();
        match op {
            "remove" => transaction.hdel(hash, field),
            _ => transaction.hset(hash, field, record.to_string()),
        };
        transaction.xadd(client.key("subscriptions"), "*", &fields);
        transaction.exec_async(&mut connection).await.unwrap();
    };
    fill(&["UNBLOCKED", "UNBLOCKED"]).await;
    let section =
        format!("{}[security]\nvalidateSubscriptions = true\n\n[subscriptions]\nredis = true\n\n", redis.settings());
    let site = Site::new(&section, |_| {}).await;
    let [one, two] = ["production-1", "production-2"].map(|client| site.of(client));
    assert_eq!((site.ask(&one).await.status, site.ask(&two).await.status), (200, 200));

    tell("set", subscription(1, "BLOCKED", 100)).await;
    site.becomes(&one, 401, 900_907).await;
    // An event that is late changes nothing; that it was read is seen by the one behind it.
    tell("set", subscription(1, "UNBLOCKED", 50)).await;
    tell("remove", json!({ "apiId": 7, "appId": 2, "timeStamp": 100 })).await;
    site.becomes(&two, 403, 900_908).await;
    assert_eq!(site.ask(&one).await.code(), 900_907);
    tell("set", subscription(1, "UNBLOCKED", 200)).await;
    site.becomes(&one, 200, 0).await;

    // Without Redis what was known stays known; when it is back, what it has now counts.
    redis.stop();
    assert_eq!((site.ask(&one).await.status, site.ask(&two).await.status), (200, 403));
    redis.restart().await;
    fill(&["ON_HOLD"]).await;
    tell("set", subscription(1, "ON_HOLD", 300)).await;
    site.becomes(&one, 401, 900_909).await;
}
