//! Credentials of every kind that are taken back, on every gateway, while they are remembered as genuine.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_extproc::users::hash_password;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, command, free_port, micro_gw};
use microgw_tests::issuer::{JwksServer, TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

const ISSUER: &str = "https://one.example/";

/// What all gateways of a test have in common.
struct Site {
    project: Project,
    key: TokenKey,
    config: String,
    _backend: Backend,
    _server: JwksServer,
}

impl Site {
    async fn new(section: &str) -> Site {
        let (key, backend) = (TokenKey::new("one"), Backend::start("shop").await);
        let server = JwksServer::start(vec![key.jwk()]).await;
        let project = Project::new();
        let mut basic = get(&json!([{ "basic": [] }]));
        basic["get"]["x-wso2-application-security"] = json!({ "security-types": ["basic_auth"] });
        let paths = json!({
            "/token": get(&json!([{ "oauth": [] }])), "/key": get(&json!([{ "key": [] }])), "/basic": basic,
        });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        let user =
            |(name, password)| format!("[b7a.users.{name}]\npassword = \"{}\"\n\n", hash_password(password).unwrap());
        let users = [("alice", "secret"), ("bob", "secret"), ("admin", "admin")].map(user).concat();
        let issuer = format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"{}\"\n\n", server.url());
        let config = project.config(&[section, &users, &issuer].concat());
        Site { project, key, config, _backend: backend, _server: server }
    }

    /// With a directory of its own, but for the artifact and the settings.
    async fn gateway(&self, name: &str, more: &[&str]) -> Gateway {
        let directory = self.project.directory().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let artifact = self.project.artifact();
        let arguments: Vec<&str> = [&*self.config].into_iter().chain(more.iter().copied()).collect();
        Gateway::run(&directory, artifact.to_str().unwrap(), &arguments).await
    }

    fn token(&self, id: &str) -> String {
        self.key.token(ISSUER, &json!({ "jti": id }))
    }

    async fn revoke(&self, arguments: &[&str], stdin: &str) -> String {
        let arguments: Vec<&str> = ["revoke", &self.config].into_iter().chain(arguments.iter().copied()).collect();
        run(self.project.directory(), &arguments, stdin).await
    }
}

async fn run(directory: &Path, arguments: &[&str], stdin: &str) -> String {
    let mut command = tokio::process::Command::new(micro_gw());
    command.current_dir(directory).args(arguments).env_remove("MGW_CONF_DIR").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One way to present a credential.
#[derive(Clone)]
struct Presented {
    path: &'static str,
    header: &'static str,
    value: String,
}

impl Presented {
    fn token(token: &str) -> Presented {
        Presented { path: "/shop/token", header: "authorization", value: format!("Bearer {token}") }
    }

    fn key(key: &str) -> Presented {
        Presented { path: "/shop/key", header: "x-api-key", value: key.to_owned() }
    }

    fn user(name: &str) -> Presented {
        let value = format!("Basic {}", STANDARD.encode(format!("{name}:secret")));
        Presented { path: "/shop/basic", header: "authorization", value }
    }

    async fn ask(&self, gateway: &Gateway) -> Answer {
        gateway.get(&gateway.http(self.path), &[(self.header, &self.value)]).await
    }

    async fn status(&self, gateway: &Gateway) -> u16 {
        self.ask(gateway).await.status
    }

    async fn becomes(&self, gateway: &Gateway, status: u16) {
        eventually(&format!("{} is answered {status}", self.path), async || {
            (self.status(gateway).await == status).then_some(())
        })
        .await;
    }
}

async fn metric(gateway: &Gateway, line: &str) -> f64 {
    let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    let value = page.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{line}\n{page}"));
    value.trim().parse().unwrap()
}

fn id_of(key: &str) -> String {
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&payload).unwrap()["jti"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_gateways_on_one_redis_hear_of_it_at_once() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let mut redis = RedisServer::start().await;
    let site = Site::new(&format!("{}[revocation]\nredis = true\n\n", redis.settings())).await;
    let gateways = [site.gateway("a", &[]).await, site.gateway("b", &[]).await];
    let keys = [gateways[0].api_key().await, gateways[1].api_key().await];
    let [by_id, by_text, by_signature, kept] = ["id", "text", "signature", "kept"].map(|id| site.token(id));

    // Genuine, and remembered as such.
    let everywhere = [&by_id, &by_text, &by_signature, &kept].map(|token| Presented::token(token));
    for gateway in &gateways {
        for presented in everywhere.iter().chain(&[Presented::user("alice"), Presented::user("bob")]) {
            for _ in 0..2 {
                assert_eq!(presented.status(gateway).await, 200, "{}", presented.path);
            }
        }
    }
    for (gateway, key) in gateways.iter().zip(&keys) {
        assert_eq!(Presented::key(key).status(gateway).await, 200);
    }

    let key_id = id_of(&keys[0]);
    for (what, arguments, stdin, presented) in [
        ("by jti", vec!["--jti", "id"], String::new(), vec![Presented::token(&by_id)]),
        ("by token", vec!["--token", "-"], format!("Bearer {by_text}\n"), vec![Presented::token(&by_text)]),
        ("a user", vec!["--user", "alice", "--expires", "1h"], String::new(), vec![Presented::user("alice")]),
    ] {
        let told = site.revoke(&arguments, &stdin).await;
        assert!(told.starts_with("revoked ") && !told.contains(&by_text), "{told}");
        let started = Instant::now();
        for (gateway, presented) in gateways.iter().flat_map(|gateway| presented.iter().map(move |p| (gateway, p))) {
            presented.becomes(gateway, 401).await;
        }
        eprintln!("revoked {what}: refused by both gateways {:?} after the command had ended", started.elapsed());
    }
    site.revoke(&["--key-id", &key_id], "").await;
    Presented::key(&keys[0]).becomes(&gateways[0], 401).await;
    assert_eq!(Presented::key(&keys[1]).status(&gateways[1]).await, 200, "that is another key");
    // As the old product named them, by whoever can write to Redis.
    let signature = by_signature.rsplit('.').next().unwrap();
    let mut connection = redis.client().connect().await.unwrap();
    let mut transaction = redis::pipe();
    let end = (now() + 600).to_string();
    transaction.atomic();
    transaction.cmd("ZADD").arg("microgw:revocations:active").arg(&end).arg(format!("jwt_signature:{signature}"));
    transaction
        .cmd("XADD")
        .arg("microgw:revocations")
        .arg("*")
        .arg("jwt_signature")
        .arg(signature)
        .arg("exp")
        .arg(&end);
    transaction.exec_async(&mut connection).await.unwrap();
    for gateway in &gateways {
        Presented::token(&by_signature).becomes(gateway, 401).await;
        // Nobody else is.
        for presented in [Presented::token(&kept), Presented::user("bob")] {
            assert_eq!(presented.status(gateway).await, 200, "{}", presented.path);
        }
        let refused = Presented::token(&by_id).ask(gateway).await;
        assert_eq!((refused.status, refused.code()), (401, 900_901), "{refused:?}");
        assert!(refused.header("www-authenticate").contains("invalid_token"), "{refused:?}");
        assert!(metric(gateway, "microgw_revocation_lag_seconds{feed=\"redis\"}").await < 5.0);
        assert!(metric(gateway, "microgw_decisions_total{reason=\"revoked\"}").await > 0.0);
        assert!(!gateway.log().contains(&by_text) && !gateway.log().contains("alice"), "{}", gateway.log());
    }

    // Redis is gone: what could have been revoked since is refused, and what was revoked stays so.
    redis.stop();
    for gateway in &gateways {
        Presented::token(&kept).becomes(gateway, 503).await;
        let refused = Presented::token(&kept).ask(gateway).await;
        assert_eq!((refused.status, refused.code()), (503, 900_900), "{refused:?}");
        assert_eq!(Presented::user("bob").status(gateway).await, 503);
        assert_eq!(Presented::token(&by_id).status(gateway).await, 401);
        assert!(metric(gateway, "microgw_revocation_lag_seconds{feed=\"redis\"}").await >= 5.0);
        assert!(metric(gateway, "microgw_decisions_total{reason=\"revocations_unknown\"}").await > 0.0);
    }
    // Who starts now starts, and knows nothing.
    let late = site.gateway("c", &[]).await;
    assert_eq!(Presented::token(&kept).status(&late).await, 503);
    let trusting = site.gateway("d", &["--revocation.onStale=allow"]).await;
    assert_eq!(Presented::token(&kept).status(&trusting).await, 200);

    // It is back, and has forgotten everything: those who know tell it, and it tells the others.
    redis.restart().await;
    for gateway in gateways.iter().chain([&late, &trusting]) {
        Presented::token(&kept).becomes(gateway, 200).await;
        for presented in [&by_id, &by_text, &by_signature].map(|token| Presented::token(token)) {
            presented.becomes(gateway, 401).await;
        }
        Presented::user("alice").becomes(gateway, 401).await;
    }
    site.revoke(&["--jti", "kept"], "").await;
    for gateway in gateways.iter().chain([&late]) {
        Presented::token(&kept).becomes(gateway, 401).await;
    }
    // Who comes later learns of it, too.
    let latest = site.gateway("e", &[]).await;
    assert_eq!(Presented::token(&kept).status(&latest).await, 401);
    assert_eq!(Presented::user("bob").status(&latest).await, 200);
}

#[tokio::test]
async fn a_file_says_what_is_revoked() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::new("[revocation]\nfile = 'revoked.jsonl'\nmaxEntries = 3\n\n").await;
    let file = site.project.directory().join("revoked.jsonl");
    std::fs::write(&file, "").unwrap();
    let gateway = site.gateway("a", &[]).await;
    let [one, two] = ["one", "two"].map(|id| Presented::token(&site.token(id)));
    for _ in 0..2 {
        assert_eq!((one.status(&gateway).await, two.status(&gateway).await), (200, 200));
    }
    let told = site.revoke(&["--jti", "one", "--expires", "2h"], "").await;
    let started = Instant::now();
    one.becomes(&gateway, 401).await;
    eprintln!("revoked by file: refused {:?} after the command had ended", started.elapsed());
    assert!(told.starts_with("revoked token `one`, for 2 hours ("), "{told}");
    assert_eq!(two.status(&gateway).await, 200);
    // There is no room for the fourth: nobody is let in who could be it.
    site.revoke(&["--jti", "x", "--jti", "y", "--jti", "z"], "").await;
    two.becomes(&gateway, 503).await;
    std::fs::write(&file, "{\"jti\":\"one\"}\n").unwrap();
    two.becomes(&gateway, 200).await;
    assert_eq!(one.status(&gateway).await, 401);
    // A feed that cannot be read is none, once it is stale.
    std::fs::write(&file, "nonsense").unwrap();
    two.becomes(&gateway, 503).await;
    assert_eq!(one.status(&gateway).await, 401);
}

#[tokio::test]
async fn what_cannot_be_revoked_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("revoked.jsonl");
    let port = free_port();
    let revoke = async |arguments: &[&str]| {
        let arguments: Vec<&str> = ["revoke"].into_iter().chain(arguments.iter().copied()).collect();
        let output = command(directory.path(), &arguments).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let feed = format!("--revocation.file={}", file.display());
    assert!(revoke(&["--jti", "a"]).await.contains("`revocation.file`"));
    assert!(revoke(&[&feed]).await.contains("--jti"), "nothing to revoke");
    let secret = "eyJhbGciOiJub25lIn0.e30.secret";
    let refused = revoke(&[&feed, "--token", secret]).await;
    assert!(refused.contains("standard input") && !refused.contains(secret), "{refused}");
    assert!(revoke(&[&feed, "--token", "-"]).await.contains("no token on standard input"));
    assert!(revoke(&[&feed, "--jti", ""]).await.contains("empty"));
    assert!(revoke(&[&feed, "--certificate", "ab"]).await.contains("64 hexadecimal digits"));
    assert!(revoke(&[&feed, "--jti", "a", "--expires", "soon"]).await.contains("`15m`"));
    assert!(revoke(&[&feed, "--jti", "a", "--expires", "1000"]).await.contains("ended already"));
    let down = format!("--redis.url=redis://127.0.0.1:{port}");
    assert!(revoke(&[&down, "--revocation.redis=true", "--jti", "a"]).await.contains("Redis was not told"));
    assert!(!file.exists(), "nothing was written");
}
