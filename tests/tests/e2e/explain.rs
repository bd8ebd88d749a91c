//! What `explain` says of a request is what becomes of it.

use microgw_tests::gateway::{Answer, Gateway, client, command};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::scripted::{Reply, Scripted};
use microgw_tests::tls::{Identity, anonymous};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";

struct Shop {
    project: Project,
    backend: Scripted,
    gateway: Gateway,
    key: TokenKey,
    config: String,
}

impl Shop {
    async fn open() -> Shop {
        let backend = Scripted::start().await;
        let operation = |security: Value, more: Value| {
            let mut operation = json!({ "security": security, "responses": { "200": { "description": "done" } } });
            operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            operation
        };
        let oauth = || json!([{ "oauth": ["read"] }]);
        let paths = json!({
            "/open": { "get": operation(json!([]), json!({})) },
            "/items/{id}": {
                "get": operation(oauth(), json!({})),
                "post": operation(oauth(), json!({ "x-microgw-body-limit": { "request": 20 } })),
            },
            "/shaped": { "post": operation(json!([]), json!({ "x-microgw-transform": {
                "request": [{ "headers": { "set": { "x-tenant": "acme" } } }, { "json": [{ "remove": "/secret" }] }],
                "response": [{ "json": [{ "remove": "/secret" }] }, { "headers": { "set": { "x-shaped": "yes" } } }] } })) },
            "/keyed": { "get": operation(json!([{ "query_key": [] }]), json!({ "x-microgw-validation": "enforce" })) },
            "/basic": { "get": operation(json!([{ "basic": [] }]), json!({})) },
            "/limited": { "get": operation(json!([]), json!({ "x-wso2-throttling-tier": "Few" })) },
        });
        let project = Project::new();
        project.define("shop", &definition("shop", "/shop", backend.address, &paths));
        project.write("policies.yaml", "resourcePolicies:\n  - Few: {count: 1000, unitTime: 1, timeUnit: hour}\n");
        project.build().await;
        let key = TokenKey::new("one");
        let jwks = json!({ "keys": [key.jwk()] });
        std::fs::write(project.directory().join("one.jwks"), jwks.to_string()).unwrap();
        let facts = json!({ "keys": { ISSUER: "one.jwks" }, "users": { "ann": { "password": "right" } } });
        std::fs::write(project.directory().join("facts.json"), facts.to_string()).unwrap();
        let url = project.directory().join("one.jwks");
        let config = project
            .config(&format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", url.display()));
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        let config = config.trim_start_matches("--config=").to_owned();
        Shop { project, backend, gateway, key, config }
    }

    async fn explain(&self, more: &[&str]) -> Value {
        let arguments =
            [&["explain", "shop/target/shop.mgw", "--json", "--facts", "facts.json", "--config", &self.config], more];
        let output = command(self.project.directory(), &arguments.concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A request and its response that are both changed, or refused.
    async fn shaped(&self) {
        let kind = "content-type: application/json";
        for answer in [r#"{"id": 1, "secret": 2}"#, "no JSON"] {
            let headers = vec![("content-type", "application/json".to_owned()), ("set-cookie", "a=1".to_owned())];
            self.backend.replies(Reply { status: 200, headers, body: answer.into(), ..Reply::default() });
            for body in [r#"{"a": [1.50], "secret": {}}"#, "{", r#"{"a": 1, "a": 2}"#] {
                let url = self.gateway.http("/shop/shaped");
                let request = ["-X", "POST", &url, "-H", kind, "-d", body];
                let response = [
                    "--response",
                    "200",
                    "--response-header",
                    kind,
                    "--response-header",
                    "set-cookie: a=1",
                    "--response-data",
                    answer,
                ];
                let told = self.explain(&[&request[..], &response[..]].concat()).await;
                let request = client().post(&url).header("content-type", "application/json").body(body);
                let found = Answer::of(request).await;
                let seen = self.backend.take();
                if told["decision"]["allowed"] == false {
                    assert_eq!(told["decision"]["status"], found.status, "{told:#}");
                    assert_eq!((told["decision"]["body"].as_str(), seen.len()), (Some(&*found.body), 0), "{told:#}");
                    continue;
                }
                let sent = &told["decision"]["sent"];
                assert_eq!(sent["body"].as_str().unwrap_or(body).as_bytes(), seen[0].body, "{told:#}");
                assert_eq!(seen[0].header("x-tenant"), "acme");
                assert_eq!(sent["headers"]["x-tenant"], json!(["acme"]));
                let answered = &told["answer"];
                let (status, text) = match answered["passed"].as_bool() {
                    Some(true) => (&answered["status"], &answered["body"]),
                    _ => (&answered["instead"]["status"], &answered["instead"]["body"]),
                };
                assert_eq!(
                    (status.as_u64(), text.as_str()),
                    (Some(found.status.into()), Some(&*found.body)),
                    "{told:#}"
                );
                let shaped = answered["headers"].to_string().contains("x-shaped");
                assert_eq!(shaped, found.header("x-shaped") == "yes", "{told:#}");
            }
        }
        self.backend.replies(Reply::default());
    }

    /// Asks both, and compares.
    async fn both(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> (Value, Answer) {
        let url = self.gateway.http(path);
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut arguments = vec!["-X", method, url.as_str()];
        for line in &lines {
            arguments.extend(["-H", line]);
        }
        arguments.extend(body.iter().flat_map(|body| ["-d", body]));
        let told = self.explain(&arguments).await;
        let mut request = client().request(method.parse().unwrap(), &url).body(body.unwrap_or_default().to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Answer::of(request).await;
        let seen = self.backend.take();
        if told["decision"]["allowed"] == true {
            assert_eq!((answer.status, seen.len()), (200, 1), "{told:#} {answer:?}");
            if let Some(sent) = told["decision"]["sent"].as_object() {
                assert_eq!(
                    (&*seen[0].method, &*seen[0].path),
                    (sent["method"].as_str().unwrap(), sent["path"].as_str().unwrap())
                );
                for (name, values) in sent["headers"].as_object().unwrap() {
                    assert_eq!(seen[0].header(name), values[0].as_str().unwrap(), "{name}");
                }
                for gone in ["authorization", "x-microgw-environment"] {
                    assert_eq!(sent["headers"][gone].is_null(), seen[0].headers.get(gone).is_none(), "{gone}");
                }
            }
        } else {
            assert_eq!(
                (told["decision"]["status"].as_u64(), seen.len()),
                (Some(answer.status.into()), 0),
                "{told:#} {answer:?}"
            );
            if let Some(body) = told["decision"]["body"].as_str() {
                assert_eq!(body, answer.body);
            }
        }
        (told, answer)
    }
}

#[tokio::test]
async fn what_is_explained_is_what_becomes_of_it() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let bearer = |claims: Value| format!("Bearer {}", shop.key.token(ISSUER, &claims));
    let (good, other) = (bearer(json!({ "scope": "read" })), bearer(json!({ "scope": "write" })));
    let (told, _) = shop.both("GET", "/shop/open?a=%2f", &[("x-own", "1")], None).await;
    assert_eq!(told["decision"]["public"], true);
    let source = told["route"]["source"].as_str().unwrap();
    assert!(source.starts_with("api_definitions/shop.json:"), "{source}");
    let forged = [("authorization", good.as_str()), ("x-microgw-environment", "sandbox"), ("x-own", "1")];
    let (told, _) = shop.both("GET", "/shop//items/%61?q=1&&b", &forged, None).await;
    assert_eq!(told["request"]["removedHeaders"], json!(["x-microgw-environment"]));
    assert_eq!(told["matchedAs"], "/shop/items/a?q=1&&b");
    assert!(told["asked"].to_string().contains(ISSUER), "{told:#}");
    for (headers, reason) in [
        (vec![], "missing_credentials"),
        (vec![("authorization", other.as_str())], "insufficient_scope"),
        (vec![("authorization", "Bearer a.b.c")], "invalid_credentials"),
    ] {
        let (told, _) = shop.both("GET", "/shop/items/1", &headers, None).await;
        assert_eq!(told["decision"]["reason"], reason);
    }
    for path in ["/shop/nowhere", "/shop/items/a%2fb", "/shop/items/1;x", "/elsewhere"] {
        shop.both("GET", path, &[], None).await;
    }
    shop.both("DELETE", "/shop/items/1", &[], None).await;
    let authorized = [("authorization", good.as_str()), ("content-type", "text/plain")];
    let (told, _) = shop.both("POST", "/shop/items/1", &authorized, Some("short")).await;
    assert_eq!(told["decision"]["sent"]["bodyBytes"], 5);
    let (told, _) = shop.both("POST", "/shop/items/1", &authorized, Some("longer than twenty bytes")).await;
    assert_eq!(told["decision"]["status"], 413);
    let (told, _) = shop.both("GET", "/shop/limited", &[], None).await;
    assert_eq!(told["decision"]["limits"][0]["remaining"], 999, "{told:#}");
    shop.shaped().await;
    // What is not among the facts is said to be missing, and nobody is let in for it.
    let told = shop.explain(&["https://localhost/shop/basic", "-H", "authorization: Basic Ym9iOng="]).await;
    assert_eq!((&told["decision"]["allowed"], &told["decision"]["status"]), (&json!(false), &json!(503)), "{told:#}");
    assert!(told["asked"].to_string().contains("not among the facts"), "{told:#}");
    let told = shop.explain(&["https://localhost/shop/basic", "-H", "authorization: Basic YW5uOnJpZ2h0"]).await;
    assert_eq!((&told["decision"]["allowed"], &told["decision"]["caller"]), (&json!(true), &json!("ann")), "{told:#}");
    assert!(!told.to_string().contains("YW5u"));
}

#[tokio::test]
async fn bad_input_is_told_of() {
    let project = Project::new();
    let paths = json!({ "/open": microgw_tests::project::get(&json!([])) });
    project.define("shop", &definition("shop", "/shop", ([127, 0, 0, 1], 1).into(), &paths));
    project.build().await;
    std::fs::write(project.directory().join("bad.json"), r#"{"keyz": {}}"#).unwrap();
    let bad = [
        (r#"{"apiKeys": {"sesame": {"owner": "ann"}}}"#, "`apiKeys`, entry 1: it is no key"),
        (
            r#"{"apiKeys": {"mgw_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcQt02E": {"owner": ""}}}"#,
            "entry 1: `owner` is empty",
        ),
        ("{\n\"apiKeys\": {\"x\": {\"owner\": \"ann\", \"teir\": \"Gold\"}}}", "unknown field `teir`, expected one of"),
        (r#"{"apiKeys": {"x": {}}}"#, "missing field `owner`"),
        (r#"{"apiKeys": 7}"#, "the name of a file, or what would be in it"),
        (r#"{"apiKeys": "nowhere.jsonl"}"#, "`apiKeys`: `nowhere.jsonl`"),
        (r#"{"apiKeys": "bad.json"}"#, "`bad.json`, line 1: it is no record"),
        (r#"{"subscriptions": {"application": []}}"#, "`subscriptions`: there is no list `application`"),
        (r#"{"subscriptions": {"applications": [{"id": 1}, {"name": "x"}]}}"#, "`applications`, entry 2: "),
        (r#"{"subscriptions": "nowhere.json"}"#, "`subscriptions`: `nowhere.json`"),
        (r#"{"certificate": "nowhere.pem"}"#, "`certificate`: `nowhere.pem`"),
        (r#"{"certificate": "bad.json"}"#, "`certificate`: `bad.json`: it has no certificate"),
    ];
    for (facts, part) in bad {
        std::fs::write(project.directory().join("facts.json"), facts).unwrap();
        std::fs::write(project.directory().join("bad.json"), "{}").unwrap();
        let all = ["explain", "shop/target/shop.mgw", "/shop/open", "--facts", "facts.json"];
        let output = command(project.directory(), &all).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(part) && !told.contains("sesame"), "{facts}: {told}");
    }
    std::fs::write(project.directory().join("bad.json"), r#"{"keyz": {}}"#).unwrap();
    for (arguments, part) in [
        (vec!["ftp://a/shop/open"], "neither for http nor for https"),
        (vec!["/shop/open", "-H", "no colon"], "has no colon"),
        (vec!["/shop/open", "-d", "@missing"], "cannot read `missing`"),
        (vec!["/shop/open", "--facts", "bad.json"], "unknown field `keyz`"),
        (vec!["/shop/open", "--facts", "missing.json"], "cannot read facts"),
    ] {
        let all = [vec!["explain", "shop/target/shop.mgw"], arguments].concat();
        let output = command(project.directory(), &all).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(part), "{all:?}: {told}");
    }
    let output = command(project.directory(), &["explain", "shop/target/shop.mgw", "/shop/open"]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("public: Envoy serves it and asks nobody"), "{told}");
}

/// Opaque keys, subscriptions and certificates: one gateway that knows them from its stores, and facts that say the same.
struct Stores {
    project: Project,
    gateway: Gateway,
    config: String,
    _backend: Scripted,
}

impl Stores {
    async fn open(tokens: &TokenKey, pinned: &Identity) -> Stores {
        let backend = Scripted::start().await;
        let paths = json!({ "/key": get(&json!([{ "key": [] }])), "/token": get(&json!([{ "oauth": [] }])) });
        let project = Project::new();
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        let mut pins = definition("Pins", "/pins", backend.address, &json!({ "/it": get(&json!([])) }));
        pins["x-wso2-mutual-ssl"] = "mandatory".into();
        project.define("pins", &pins);
        project.write("policies.yaml", "subscriptionPolicies:\n  - Gold: {count: 1000, unitTime: 1, timeUnit: hour}\n");
        project.build().await;
        let write = |name: &str, text: &str| std::fs::write(project.directory().join(name), text).unwrap();
        write("one.jwks", &json!({ "keys": [tokens.jwk()] }).to_string());
        write("pinned.pem", &pinned.certificate_pem());
        let application =
            |id: u32| json!({ "id": id, "name": format!("app {id}"), "subName": "ann", "policy": "Unlimited" });
        let subscription =
            |id: u32, state: &str| json!({ "appId": id, "apiId": 7, "policyId": "Gold", "subscriptionState": state });
        let client =
            |id: u32| json!({ "applicationId": id, "consumerKey": format!("client-{id}"), "keyType": "PRODUCTION" });
        let lists = json!({
            "apis": [{ "apiId": 7, "name": "Shop", "version": "1.0" }],
            "applications": { "list": [application(1), application(2), application(3)] },
            "applicationKeyMappings": [client(1), client(2), client(3)],
            "subscriptions": [subscription(1, "UNBLOCKED"), subscription(2, "BLOCKED")],
        });
        write("subscriptions.json", &lists.to_string());
        let config = project.config(&format!(
            "[security]\nvalidateSubscriptions = true\n[subscriptions]\nfile = 'subscriptions.json'\n[apikey.store]\npath = 'keys.jsonl'\n\
             [[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n\
             [[mutualSSLConfig.api.certificates]]\nname = \"*\"\nversion = \"*\"\ncertificatePath = \"pinned.pem\"\n",
            project.directory().join("one.jwks").display()
        ));
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Stores { project, gateway, config, _backend: backend }
    }

    async fn key(&self, arguments: &[&str]) -> String {
        let all = [&["keys", "create", "--output", "json", self.config.as_str()], arguments].concat();
        let made: Value = serde_json::from_slice(&command(self.project.directory(), &all).await.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// What is explained with these facts, and that it is what becomes of the request.
    async fn both(&self, facts: &Value, client: &reqwest::Client, path: &str, header: (&str, &str)) -> (Value, Answer) {
        std::fs::write(self.project.directory().join("facts.json"), facts.to_string()).unwrap();
        let (url, line) = (self.gateway.https(path), format!("{}: {}", header.0, header.1));
        let config = self.config.trim_start_matches("--config=");
        let arguments = [
            "explain",
            "shop/target/shop.mgw",
            "--json",
            "--facts",
            "facts.json",
            "--config",
            config,
            &url,
            "-H",
            &line,
        ];
        let output = command(self.project.directory(), &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answer = Answer::of(client.get(&url).header(header.0, header.1)).await;
        let status = told["decision"]["status"].as_u64().unwrap_or(200);
        assert_eq!(status, u64::from(answer.status), "{told:#} {answer:?}");
        if answer.status != 200 {
            assert_eq!(told["decision"]["body"], answer.body.as_str(), "{told:#}");
        }
        assert!(header.1.len() < 20 || !told.to_string().contains(header.1), "{told:#}");
        (told, answer)
    }
}

#[tokio::test]
async fn stores_and_certificates_are_facts() {
    if !envoy_is_here() {
        return;
    }
    let (tokens, pinned, stranger) =
        (TokenKey::new("one"), Identity::client("ann", None, |_| {}), Identity::client("bob", None, |_| {}));
    let shop = Stores::open(&tokens, &pinned).await;
    let anyone = anonymous(true).build().unwrap();

    // Keys, of the gateway's own file, and said one by one.
    let good = shop.key(&["--owner", "ann", "--tier", "Gold"]).await;
    let narrow = shop.key(&["--owner", "ann", "--api", "Other:1.0"]).await;
    let ended = shop.key(&["--owner", "ann", "--expires-in", "1s"]).await;
    eventually("keys are known", async || {
        let answer = shop.gateway.get(&shop.gateway.https("/shop/key"), &[("x-api-key", &ended)]).await;
        (answer.status == 401 && answer.code() == 900_903).then_some(())
    })
    .await;
    let said = json!({ "apiKeys": {
        (&*good): { "owner": "ann", "tier": "Gold" },
        (&*narrow): { "owner": "ann", "apis": [{ "name": "Other", "version": "1.0" }] },
        (&*ended): { "owner": "ann", "expires": 1 },
    } });
    let unknown = microgw_engine::opaque::key([9; 32]);
    for facts in [&json!({ "apiKeys": "keys.jsonl" }), &said] {
        for (key, reason) in [
            (&good, None),
            (&narrow, Some("api_forbidden")),
            (&ended, Some("expired")),
            (&unknown, Some("invalid_credentials")),
        ] {
            let (told, _) = shop.both(facts, &anyone, "/shop/key", ("x-api-key", key)).await;
            assert_eq!(told["decision"]["reason"].as_str(), reason, "{told:#}");
            assert_eq!(
                (&told["asked"][0]["answer"], &told["unusedFacts"]),
                (&json!("from the facts"), &json!([])),
                "{told:#}"
            );
            if reason.is_none() {
                assert_eq!(told["decision"]["caller"], "ann", "{told:#}");
                assert_eq!(told["decision"]["limits"][0]["policy"], "Gold", "{told:#}");
            }
        }
    }

    // Who is subscribed.
    let lists: Value =
        serde_json::from_slice(&std::fs::read(shop.project.directory().join("subscriptions.json")).unwrap()).unwrap();
    for store in [json!("subscriptions.json"), lists] {
        let facts = json!({ "keys": { ISSUER: "one.jwks" }, "subscriptions": store });
        for (client, reason) in [
            ("client-1", None),
            ("client-2", Some("subscription_blocked")),
            ("client-3", Some("not_subscribed")),
            ("client-4", Some("not_subscribed")),
        ] {
            let bearer = format!("Bearer {}", tokens.token(ISSUER, &json!({ "azp": client })));
            let (told, _) = shop.both(&facts, &anyone, "/shop/token", ("authorization", &bearer)).await;
            assert_eq!(told["decision"]["reason"].as_str(), reason, "{told:#}");
            assert_eq!(told["unusedFacts"], json!([]), "{told:#}");
            if reason.is_none() {
                assert_eq!(told["decision"]["limits"][0]["policy"], "Gold", "{told:#}");
            }
        }
    }

    // Certificates; what nobody asks for is said.
    std::fs::write(shop.project.directory().join("stranger.pem"), stranger.certificate_pem() + &stranger.key_pem())
        .unwrap();
    let header = ("x-own", "1");
    for (facts, client, reason) in [
        (json!({ "certificate": "pinned.pem" }), pinned.https(&[], true), None),
        (json!({ "certificate": "stranger.pem" }), stranger.https(&[], true), Some("invalid_credentials")),
        (json!({}), anyone.clone(), Some("missing_credentials")),
    ] {
        let (told, _) = shop.both(&facts, &client, "/pins/it", header).await;
        assert_eq!(told["decision"]["reason"].as_str(), reason, "{told:#}");
    }
    let facts = json!({ "certificate": "pinned.pem", "apiKeys": "keys.jsonl", "users": { "ann": { "password": "x" } }, "usedUp": true });
    std::fs::write(shop.project.directory().join("facts.json"), facts.to_string()).unwrap();
    let config = shop.config.trim_start_matches("--config=");
    let arguments = ["explain", "shop/target/shop.mgw", "--facts", "facts.json", "--config", config];
    for (url, unasked) in [
        ("https://localhost/pins/it", &["`users`: `ann`", "`apiKeys`", "`usedUp`"][..]),
        // It shows none without TLS.
        ("http://localhost/pins/it", &["`users`: `ann`", "`apiKeys`", "`certificate`", "`usedUp`"]),
    ] {
        let output = command(shop.project.directory(), &[&arguments[..], &[url]].concat()).await;
        let told = String::from_utf8_lossy(&output.stdout);
        let found: Vec<&str> = told
            .lines()
            .filter_map(|line| line.strip_prefix("not asked ")?.strip_suffix(", among the facts"))
            .collect();
        assert_eq!(found, unasked, "{told}");
    }
}

/// Whatever becomes of the request, and whoever reads it.
#[tokio::test]
async fn keys_are_not_repeated() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    for path in
        ["/shop/keyed?a=1&key=hunter2&b", "/shop/keyed?k%65y=hunter2", "/shop/open?key=hunter2", "/nowhere?key=hunter2"]
    {
        let url = shop.gateway.http(path);
        for json in [&["--json"][..], &[]] {
            let arguments = [
                &["explain", "shop/target/shop.mgw", "--config", &shop.config, &url, "-H", "X-API-Key: hunter2"],
                json,
            ]
            .concat();
            let output = command(shop.project.directory(), &arguments).await;
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("(as-it-was-sent)"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    // What is compared is told as well.
    let output = command(shop.project.directory(), &["inspect", "shop/target/shop.mgw"]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.matches("requests compared with the definition: enforce").count(), 1, "{told}");
}
