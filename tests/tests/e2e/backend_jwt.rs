//! What backends are told of callers: a JWT of the gateway's own, verified as a backend would, and plain headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use microgw_extproc::backend_jwt::{BackendKey, SigningAlgorithm};
use microgw_extproc::users::hash_password;
use microgw_tests::authorization_server::AuthorizationServer;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::issuer::{TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::Identity;
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const IDP: &str = "https://idp.example/";
const AUDIENCE: &str = "http://org.wso2.apimgt/gateway";
const DIALECT: &str = "http://wso2.org/claims";
const KEYS: &str = "/backend-jwt/jwks.json";

struct Setting {
    project: Project,
    token_key: TokenKey,
    gateway: Gateway,
    _backend: Backend,
}

impl Setting {
    async fn start(settings: &str) -> Setting {
        let backend = Backend::start("shop").await;
        let project = Project::new();
        let token_key = TokenKey::new("idp");
        let jwks = project.directory().join("idp.jwks");
        std::fs::write(&jwks, json!({ "keys": [token_key.jwk()] }).to_string()).unwrap();
        let paths = json!({
            "/public": get(&json!([])),
            "/token": get(&json!([{ "oauth": [] }])),
            "/key": get(&json!([{ "key": [] }])),
            "/user": get(&json!([{ "basic": [] }])),
        });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        let remote = if settings.contains("claimRetrieval") { "remoteUserClaimRetrievalEnabled = true" } else { "" };
        let config = format!(
            "{settings}\n[[jwtTokenConfig]]\nissuer = \"{IDP}\"\njwksURL = \"file://{}\"\n{remote}\n\
             [b7a.users.alice]\npassword = \"{}\"\nscopes = \"read,write\"\n\n\
             [b7a.users.admin]\npassword = \"{}\"\n",
            jwks.display(),
            hash_password("secret").unwrap(),
            hash_password("admin").unwrap(),
        );
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&project.config(&config)]).await;
        Setting { project, token_key, gateway, _backend: backend }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.get(&self.gateway.http(path), headers).await
    }

    /// The headers that the backend saw.
    async fn seen(&self, path: &str, headers: &[(&str, &str)]) -> Value {
        let answer = self.ask(path, headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["headers"].clone()
    }

    async fn assertion(&self, path: &str, headers: &[(&str, &str)]) -> String {
        self.seen(path, headers).await["x-jwt-assertion"].as_str().expect("there is a JWT").to_owned()
    }

    async fn keys(&self) -> JwkSet {
        let answer = self.gateway.get(&self.gateway.https(KEYS), &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/jwk-set+json"), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn bearer(&self, claims: &Value) -> String {
        format!("Bearer {}", self.token_key.token(IDP, claims))
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("alice:secret"))
}

/// As a backend verifies it, by the published keys alone.
fn verified(token: &str, keys: &JwkSet) -> Result<Value, jsonwebtoken::errors::Error> {
    let header = jsonwebtoken::decode_header(token)?;
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    let jwk = keys.find(&header.kid.expect("it names its key")).expect("the key is published");
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&["wso2.org/products/am"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = 0;
    Ok(jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk)?, &validation)?.claims)
}

fn own(claims: &Value, name: &str) -> Value {
    claims[format!("{DIALECT}/{name}")].clone()
}

#[tokio::test]
async fn every_kind_of_caller_is_vouched_for() {
    if !envoy_is_here() {
        return;
    }
    let setting = Setting::start(
        "[jwtGeneratorConfig]\njwtGeneratorEnabled = true\nrestrictedClaims = [\"internal\"]\ntokenExpiry = 120000\n",
    )
    .await;
    let keys = setting.keys().await;
    let application = json!({ "id": 7, "uuid": "u-7", "name": "app", "tier": "Gold", "owner": "bob" });
    let bearer = setting.bearer(&json!({
        "scope": "read write", "email": "alice@example.com", "number": 18_446_744_073_709_551_615_u64, "internal": "x",
        "application": application, "azp": "client", "groups": ["a", "b"], "keytype": "PRODUCTION",
        format!("{DIALECT}/subscriber"): "forged", format!("{DIALECT}/givenname"): "Alice", "backendJwt": "forged",
    }));
    let token = setting.assertion("/shop/token", &[("authorization", &bearer), ("x-jwt-assertion", "forged")]).await;
    let claims = verified(&token, &keys).unwrap();
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, jsonwebtoken::Algorithm::RS256);
    for (name, value) in [
        ("enduser", json!("alice")),
        ("applicationid", json!("7")),
        ("applicationUUId", json!("u-7")),
        ("applicationname", json!("app")),
        ("applicationtier", json!("Gold")),
        ("subscriber", json!("bob")),
        ("apiname", json!("Shop")),
        ("apicontext", json!("/shop")),
        ("version", json!("1.0")),
        ("keytype", json!("PRODUCTION")),
        ("usertype", json!("Application_User")),
        ("givenname", json!("Alice")),
    ] {
        assert_eq!(own(&claims, name), value, "{name}: {claims}");
    }
    assert_eq!(
        (&claims["sub"], &claims["scopes"], &claims["aud"]),
        (&json!("alice"), &json!("read write"), &json!(AUDIENCE))
    );
    assert_eq!((&claims["email"], &claims["groups"]), (&json!("alice@example.com"), &json!(["a", "b"])));
    assert_eq!(claims["number"], json!(18_446_744_073_709_551_615_u64));
    for absent in ["internal", "application", "backendJwt", "nbf"] {
        assert!(claims.get(absent).is_none(), "{absent}: {claims}");
    }
    let (issued, expires) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(issued <= now() && expires == issued + 120, "{claims}");
    assert!(claims["jti"].as_str().unwrap().len() >= 20);

    // One serves the next request of the same caller, and no other caller's.
    let again = setting.assertion("/shop/token", &[("authorization", &bearer)]).await;
    assert_eq!(again, token);
    let other = setting.bearer(&json!({ "sub": "carol" }));
    let other = verified(&setting.assertion("/shop/token", &[("authorization", &other)]).await, &keys).unwrap();
    assert_eq!((&other["sub"], other.get("email")), (&json!("carol"), None));

    // No longer than the credential.
    let soon = now() + 20;
    let bearer = setting.bearer(&json!({ "exp": soon }));
    let claims = verified(&setting.assertion("/shop/token", &[("authorization", &bearer)]).await, &keys).unwrap();
    assert_eq!(claims["exp"], json!(soon + 5), "with the clock skew that the token is granted");

    let claims = verified(&setting.assertion("/shop/user", &[("authorization", &basic())]).await, &keys).unwrap();
    assert_eq!((&claims["sub"], &claims["scopes"]), (&json!("alice"), &json!("read write")));
    assert_eq!(own(&claims, "apiname"), json!("Shop"));

    let key = setting.gateway.api_key().await;
    let claims = verified(&setting.assertion("/shop/key", &[("x-api-key", &key)]).await, &keys).unwrap();
    assert_eq!((&claims["sub"], own(&claims, "keytype")), (&json!("admin"), json!("PRODUCTION")));

    // Whoever is nobody has none, and cannot bring one along, however it is spelled.
    let seen = setting.seen("/shop/public", &[("x-jwt-assertion", &token), ("X_JWT_Assertion", &token)]).await;
    assert!(!seen.to_string().contains(&token), "{seen}");
    let seen = setting.ask("/shop/token", &[("x-jwt-assertion", &token)]).await;
    assert_eq!(seen.status, 401);
    // Nor does it open anything at the gateway.
    for (path, headers) in
        [("/shop/token", [("authorization", format!("Bearer {token}"))]), ("/shop/key", [("x-api-key", token.clone())])]
    {
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(setting.ask(path, &headers).await.status, 401);
    }
    assert!(!setting.gateway.log().contains(&token));
    // The keys are on the HTTPS listener and the admin interface, not where anybody on the way could replace them.
    let admin = setting.gateway.get(&setting.gateway.admin(KEYS), &[]).await;
    assert_eq!(serde_json::from_str::<JwkSet>(&admin.body).unwrap(), keys);
    assert_eq!(setting.ask(KEYS, &[]).await.status, 404);
    assert!(admin.body.contains("\"alg\":\"RS256\"") && !admin.body.contains("\"d\""));
}

#[tokio::test]
async fn callers_with_opaque_tokens_and_certificates_are_vouched_for() {
    if !envoy_is_here() {
        return;
    }
    let (backend, server, shop) =
        (Backend::start("shop").await, AuthorizationServer::start().await, Identity::client("shop", None, |_| {}));
    server.knows(
        "opaque",
        &json!({ "sub": "carol", "client_id": "app", "scope": "read", "exp": now() + 60, "email": "carol@example.com" }),
    );
    let project = Project::new();
    let mut api = definition(
        "Shop",
        "/shop",
        backend.address,
        &json!({ "/token": get(&json!([{ "oauth": [] }])), "/certificate": get(&json!([{ "certificate": [] }])) }),
    );
    api["openapi"] = "3.1.0".into();
    api["components"]["securitySchemes"]["certificate"] = json!({ "type": "mutualTLS" });
    project.define("shop", &api);
    project.build().await;
    replace(&project.directory().join("shop.pem"), shop.certificate_pem().as_bytes());
    let config = project.config(&format!(
        "{}\n[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n\n[[mutualSSLConfig.api.certificates]]\n\
         name = \"Shop\"\nversion = \"*\"\ncertificatePath = \"shop.pem\"\n",
        server.settings()
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let keys = gateway.get(&gateway.https(KEYS), &[]).await;
    let keys: JwkSet = serde_json::from_str(&keys.body).unwrap();

    let by_token = gateway.get(&gateway.http("/shop/token"), &[("authorization", "Bearer opaque")]).await;
    let by_certificate = Answer::of(shop.https(&[], true).get(gateway.https("/shop/certificate"))).await;
    let [token, certificate] = [by_token, by_certificate].map(|answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        verified(answer.json()["headers"]["x-jwt-assertion"].as_str().expect("there is a JWT"), &keys).unwrap()
    });
    assert_eq!(
        (&token["sub"], &token["scopes"], &token["email"]),
        (&json!("carol"), &json!("read"), &json!("carol@example.com"))
    );
    assert_eq!(own(&token, "credential"), "access_token");
    assert!(token["exp"].as_u64().unwrap() <= now() + 65, "no longer than the token, and the clocks' tolerance");
    assert_eq!((&certificate["sub"], own(&certificate, "credential")), (&json!("shop"), json!("certificate")));
    assert_eq!(certificate.get("scopes"), None, "{certificate}");
}

/// A token that fits into a request's head fits with what is made of it, while its own header is still there.
#[tokio::test]
async fn a_long_token_has_room_for_what_is_made_of_it() {
    if !envoy_is_here() {
        return;
    }
    let setting =
        Setting::start("[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n[identityHeaders]\nuser = \"x-user\"\n")
            .await;
    let (name, more) = ("n".repeat(1500), "m".repeat(3000));
    let bearer = setting.bearer(&json!({ "sub": name, "more": more }));
    assert!((6000..8000).contains(&bearer.len()), "{}", bearer.len());
    let seen = setting.seen("/shop/token", &[("authorization", &bearer)]).await;
    assert_eq!(seen["x-user"], *name);
    let claims = verified(seen["x-jwt-assertion"].as_str().unwrap(), &setting.keys().await).unwrap();
    assert_eq!((&claims["sub"], &claims["more"]), (&json!(name), &json!(more)));
}

#[tokio::test]
async fn the_key_is_replaced_without_a_gap() {
    if !envoy_is_here() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("backend.pem");
    let [first, second] = [0, 1].map(|_| BackendKey::generate(SigningAlgorithm::Es256).unwrap());
    let id = |pem: &str| BackendKey::from_pem(pem, SigningAlgorithm::Es256, None).unwrap().id().to_owned();
    replace(&path, first.as_bytes());
    let setting = Setting::start(&format!(
        "[jwtGeneratorConfig]\njwtGeneratorEnabled = true\nsigningAlgorithm = \"SHA256withECDSA\"\n\
         privateKeyPath = \"{}\"\n[jwtGeneratorConfig.jwtGeneratorCaching]\ntokenCacheEnable = false\n",
        path.display()
    ))
    .await;
    let signed_by = async || {
        let token = setting.assertion("/shop/user", &[("authorization", &basic())]).await;
        assert!(verified(&token, &setting.keys().await).is_ok());
        (jsonwebtoken::decode_header(&token).unwrap().kid.unwrap(), token)
    };
    let (kid, old) = signed_by().await;
    assert_eq!(kid, id(&first));
    assert_ne!(signed_by().await.1, old, "each request has its own");

    // What is no key leaves everything as it was.
    replace(&path, b"nonsense");
    eventually("the problem is told", async || {
        setting.gateway.status().await.to_string().contains("cannot sign backend JWTs").then_some(())
    })
    .await;
    assert_eq!(signed_by().await.0, id(&first));

    replace(&path, second.as_bytes());
    eventually("the other key signs", async || (signed_by().await.0 == id(&second)).then_some(())).await;
    let keys = setting.keys().await;
    assert_eq!(keys.keys.len(), 2);
    assert!(verified(&old, &keys).is_ok(), "what the first key signed is still good");
    drop(setting.project);
}

/// Answers about `alice` and nobody else, to whoever logs in as `gw`; then not at all.
async fn claims_server() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let login = STANDARD.encode("gw:secret");
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let request = String::from_utf8_lossy(&request).into_owned();
            let asked = request.starts_with("POST /km/keymanager-operations/user-info/claims/generate HTTP/1.1");
            let known = asked && request.contains(&login) && request.ends_with(r#"{"username":"alice"}"#);
            let body = r#"{"count":2,"list":[{"uri":"http://wso2.org/claims/role","value":"clerk"},
                {"uri":"http://wso2.org/claims/subscriber","value":"forged"}]}"#;
            let (status, body) = if known { ("200 OK", body) } else { ("404 Not Found", "") };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, task)
}

#[tokio::test]
async fn what_another_server_knows_of_users_is_told() {
    if !envoy_is_here() {
        return;
    }
    let (address, server) = claims_server().await;
    let setting = Setting::start(&format!(
        "[jwtGeneratorConfig]\njwtGeneratorEnabled = true\nsigningAlgorithm = \"ES256\"\n\
         [jwtGeneratorConfig.claimRetrieval.configuration]\nserverUrl = \"http://{address}/km\"\n\
         username = \"gw\"\npassword = \"secret\"\n"
    ))
    .await;
    let bearer = setting.bearer(&json!({ "email": "alice@example.com" }));
    let token = setting.assertion("/shop/token", &[("authorization", &bearer)]).await;
    let claims = verified(&token, &setting.keys().await).unwrap();
    assert_eq!((&claims["email"], own(&claims, "role")), (&json!("alice@example.com"), json!("clerk")));
    assert_eq!(own(&claims, "subscriber"), Value::Null, "only the gateway says that");
    // Of nobody else anything can be found out: nobody else gets through.
    let other = setting.bearer(&json!({ "sub": "carol" }));
    assert_eq!(setting.ask("/shop/token", &[("authorization", &other)]).await.status, 503);
    // Once it is away, who was asked about is still known.
    server.abort();
    let again = setting.bearer(&json!({ "sub": "alice", "email": "other@example.com" }));
    assert_eq!(setting.ask("/shop/token", &[("authorization", &again)]).await.status, 200);
    assert!(!setting.gateway.log().contains("carol"));
}

#[tokio::test]
async fn plain_headers_say_who_calls() {
    if !envoy_is_here() {
        return;
    }
    let setting = Setting::start(
        "[identityHeaders]\nuser = \"X-User\"\nclient = \"x-client\"\nscopes = \"x-scopes\"\napplication = \"x-app\"\n\
         keyType = \"x-key-type\"\nkeyId = \"x-key-id\"\n",
    )
    .await;
    let forged = [
        ("x-user", "root"),
        ("X_User", "root"),
        ("x-client", "root"),
        ("x-scopes", "root"),
        ("x-app", "root"),
        ("x-key-id", "root"),
    ];
    let bearer = setting.bearer(&json!({
        "sub": "Zoë\r\nx-admin: true", "scope": "read write", "azp": "shop app", "application": { "name": "100%" },
    }));
    let headers = [&forged[..], &[("authorization", bearer.as_str())]].concat();
    let seen = setting.seen("/shop/token", &headers).await;
    assert_eq!(seen["x-user"], "Zo%C3%AB%0D%0Ax-admin: true");
    assert_eq!((&seen["x-client"], &seen["x-scopes"]), (&json!("shop app"), &json!("read write")));
    assert_eq!((&seen["x-app"], &seen["x-key-type"]), (&json!("100%25"), &json!("PRODUCTION")));
    assert!(!seen.to_string().contains("root") && seen.get("x-admin").is_none(), "{seen}");
    assert!(seen.get("x-jwt-assertion").is_none());

    let key = setting.gateway.api_key().await;
    let seen = setting.seen("/shop/key", &[&forged[..], &[("x-api-key", key.as_str())]].concat()).await;
    let payload = URL_SAFE_NO_PAD.decode(key.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&seen["x-user"], &seen["x-key-id"]), (&json!("admin"), &claims["jti"]));
    let seen = setting.seen("/shop/public", &forged).await;
    assert!(!seen.to_string().contains("root"), "{seen}");
}
