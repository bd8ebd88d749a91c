//! Requests of those who look for a gap: whatever reaches a backend is what was authorized.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, command};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::RawAnswer;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::json;

/// `/shop/open/{id}` is public, `/shop/guarded/{id}` is not.
async fn shop(backend: &Backend, settings: &[&str]) -> (Project, Gateway) {
    let project = Project::new();
    let (open, guarded) = (get(&json!([])), get(&json!([{ "key": [] }])));
    let paths = json!({ "/open/{id}": open, "/open/{id}/x": open, "/guarded/{id}": guarded, "/guarded": guarded });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await;
    (project, gateway)
}

#[tokio::test]
async fn what_reaches_the_backend_is_what_was_authorized() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = shop(&backend, &[]).await;
    let of_length = |length: usize| format!("/shop/open/{}?q", "a".repeat(length - "/shop/open/?q".len()));
    let (just, beyond, long) = (of_length(4096), of_length(4097), of_length(20_000));
    // What is asked for; the status; what the backend sees.
    let cases: [(&[u8], u16, &str); 65] = [
        (b"/shop/open/1", 200, "/shop/open/1"),
        (b"//shop///open//1", 200, "/shop/open/1"),
        (b"/shop/./open/1", 200, "/shop/open/1"),
        (b"/shop/open/../open/1", 200, "/shop/open/1"),
        (b"/shop/guarded/../open/1", 200, "/shop/open/1"),
        (b"/shop/guarded/%2e%2e/open/1", 200, "/shop/open/1"),
        (b"/../../shop/open/1", 200, "/shop/open/1"),
        (b"/shop\\open\\1", 200, "/shop/open/1"),
        (b"http://elsewhere/shop/open/1", 200, "/shop/open/1"),
        (b"/shop/open/%31?%2e%2e/../%31", 200, "/shop/open/1?%2e%2e/../%31"),
        (b"/shop/open/a%20b", 200, "/shop/open/a%20b"),
        (b"/shop/open/%C3%A9", 200, "/shop/open/%C3%A9"),
        (b"/shop/open/1;x=y", 404, ""),
        (b"/shop/open/1%3Bx=y", 400, ""),
        (b"/shop/guarded/..;x=y/open/1", 200, "/shop/open/1"),
        (b"/shop/open/%2e%2e;/1", 404, ""),
        (b"/shop/open/%%32%65", 200, "/shop/open/%252e"),
        (b"/shop/open/..%%32f1", 200, "/shop/open/..%252f1"),
        (b"/shop/open/a+b%2bc", 200, "/shop/open/a+b%2bc"),
        (b"/shop/open/a|\"b", 200, "/shop/open/a%7C%22b"),
        (b"/shop/open/%", 400, ""),
        (b"/shop/open/%2", 400, ""),
        (b"/shop/open/%zz", 400, ""),
        (b"/shop/open/%u002f", 400, ""),
        (b"/shop/open/%0d%0ax", 400, ""),
        (b"/shop/open/%7F", 400, ""),
        (b"/shop/open/%c0%af", 400, ""),
        (b"/shop/open/%E9", 400, ""),
        (b"/shop/open/%ed%a0%80", 400, ""),
        (b"/shop/open/1?%2F%5c%00%zz//../;|", 200, "/shop/open/1?%2F%5c%00%zz//../;|"),
        (b"/shop/open/1?\xc3\xa9", 400, ""),
        (b"/shop/open/1?a#b", 400, ""),
        (b"http://elsewhere", 404, ""),
        (b"http://elsewhere?x", 400, ""),
        (b"ftp://elsewhere/shop/open/1", 400, ""),
        (b"https://elsewhere/shop/open/1", 400, ""),
        (just.as_bytes(), 200, &just),
        (beyond.as_bytes(), 414, ""),
        (b"/shop/open/1?/shop/guarded/1", 200, "/shop/open/1?/shop/guarded/1"),
        (b"/shop/open/%252e%252e", 200, "/shop/open/%252e%252e"),
        (b"/shop/open/1/", 404, ""),
        (b"/shop/open/", 404, ""),
        (b"/shop/open", 404, ""),
        (b"/shop?/open/1", 404, ""),
        (b"/shop/open?/1", 404, ""),
        (b"/Shop/open/1", 404, ""),
        (b"/shop/open/1/y", 404, ""),
        (b"/shop/open/1%3F", 200, "/shop/open/1%3F"),
        (b"/shop/open/..%2fguarded%2f1", 400, ""),
        (b"/shop%2Fopen%2F1", 400, ""),
        (b"/shop/open/..%5cguarded", 400, ""),
        (b"/shop/open/%00", 400, ""),
        (b"/shop/open/1#x", 400, ""),
        (b"/shop/open/\xc3\xa9", 400, ""),
        (b"shop/open/1", 400, ""),
        (b"*", 400, ""),
        (b"", 400, ""),
        (long.as_bytes(), 431, ""),
        (b"/shop/open/../guarded/1", 401, ""),
        (b"/shop/open/%2e%2e/guarded/1", 401, ""),
        (b"/shop/open/.%2E/guarded/1", 401, ""),
        (b"/shop/open/1/../../guarded/1", 401, ""),
        (b"/shop//guarded", 401, ""),
        (b"/shop/%67uarded/1", 401, ""),
        (b"http://elsewhere/shop/guarded/1", 401, ""),
    ];
    for (target, status, path) in cases {
        let shown = String::from_utf8_lossy(&target[..target.len().min(60)]);
        let before = backend.requests();
        let answer = RawAnswer::get(gateway.live.http.unwrap(), target).await;
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        let seen = answer.echo().map(|echo| echo["path"].as_str().unwrap().to_owned());
        assert_eq!(seen.as_deref(), Some(path).filter(|path| !path.is_empty()), "{shown}");
        assert_eq!(backend.requests() - before, u64::from(status == 200), "{shown}");
    }
}

/// What a lenient backend may take a path for: decoded, with `\` as `/`, without empty and dot segments.
fn leniently(path: &str) -> String {
    let decoded = ["%2e", "%2E", "%2f", "%2F", "%5c", "%5C"].into_iter().zip([".", ".", "/", "/", "/", "/"]);
    let path = decoded.fold(path.replace('\\', "/"), |path, (from, to)| path.replace(from, to));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[tokio::test]
async fn no_spelling_of_a_guarded_path_is_an_open_one() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let paths = json!({ "/open/*": get(&json!([])), "/guarded/*": get(&json!([{ "key": [] }])) });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let part = proptest::sample::select(vec![
        "/",
        "//",
        "\\",
        "%2f",
        "%2F",
        "%5c",
        ".",
        "..",
        "%2e",
        "%2E.",
        "/./",
        "/../",
        "/..;/",
        ";",
        "?",
        "a",
        "%61",
        "open",
        "guarded",
        "/shop/open/",
        "/shop/guarded/",
        "%32",
        "%65",
        "%3b",
        "%C3%A9",
        "%c0",
        "%00",
        "%",
        "%25",
        "+",
        "~",
        "|",
        "http://",
        ":",
        "@",
        "*",
    ]);
    let parts = proptest::collection::vec(part, 0..8);
    let starts = ["/shop/open/", "/shop/guarded/", "/shop/open", "/shop", "", "/"];
    let mut runner = TestRunner::deterministic();
    let mut reached = 0;
    for round in 0..600 {
        let tail = parts.new_tree(&mut runner).unwrap().current().concat();
        let target = format!("{}{tail}", starts[round % starts.len()]);
        let before = backend.requests();
        let answer = RawAnswer::get(gateway.live.http.unwrap(), target.as_bytes()).await;
        assert!(matches!(answer.status, 200 | 400 | 401 | 404), "{target}: {answer:?}");
        assert_eq!(backend.requests() - before, u64::from(answer.status == 200), "{target}: {answer:?}");
        if let Some(echo) = answer.echo() {
            let seen = echo["path"].as_str().unwrap();
            let path = leniently(seen.split('?').next().unwrap());
            assert!(path.starts_with("/shop/open"), "{target} reached {seen}");
            reached += 1;
        }
    }
    assert!(reached > 60, "{reached}");
}

#[tokio::test]
async fn heads_that_mean_two_things_are_refused() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = shop(&backend, &[]).await;
    let before = backend.requests();
    for (name, head, status) in [
        ("two lengths", "POST /shop/open/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n", 400),
        (
            "length and chunks",
            "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
            400,
        ),
        ("odd coding", "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n", 501),
        ("no host", "GET /shop/open/1 HTTP/1.1\r\n", 400),
        ("old version", "GET /shop/open/1 HTTP/1.0\r\n", 426),
        (
            "folded header",
            "GET /shop/guarded/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: a\r\n b\r\n",
            401,
        ),
        ("NUL", "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n", 400),
        ("space before colon", "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\nx-api-key : a\r\n", 400),
        ("unknown method", "BREW /shop/open/1 HTTP/1.1\r\nhost: a\r\n", 400),
        ("lower-case method", "get /shop/open/1 HTTP/1.1\r\nhost: a\r\n", 400),
        ("tunnel", "CONNECT elsewhere:1 HTTP/1.1\r\nhost: elsewhere:1\r\n", 404),
        (
            "other protocol",
            "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            403,
        ),
        ("other method", "TRACE /shop/open/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", 405),
        (
            "method in a header",
            "POST /shop/open/1 HTTP/1.1\r\nhost: a\r\nx-http-method-override: GET\r\ncontent-length: 0\r\nconnection: close\r\n",
            405,
        ),
    ] {
        let answer = gateway.raw(format!("{head}\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    let many = "x: y\r\n".repeat(150);
    let many = gateway
        .raw(format!("GET /shop/open/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{many}\r\n").as_bytes())
        .await;
    assert_eq!(many.status, 431);
    assert_eq!(backend.requests(), before);
}

#[tokio::test]
async fn bodies_are_bounded_where_that_is_configured() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = shop(&backend, &["--listenerConfig.maxEntityBodySize=100"]).await;
    let head = "GET /shop/open/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    for (length, status) in [(100, 200), (101, 413)] {
        let body = "a".repeat(length);
        let counted = gateway.raw(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).await;
        assert_eq!(counted.status, status, "{counted:?}");
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
        let chunked = gateway.raw(chunked.as_bytes()).await;
        assert_eq!(chunked.status, status, "{chunked:?}");
    }
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn a_request_names_one_host() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = shop(&backend, &[]).await;
    for (hosts, status) in [
        ("host: a\r\n", 200),
        ("host: A.Example.COM.:80\r\n", 200),
        ("host: [::1]:9090\r\n", 200),
        ("", 400),
        ("host:\r\n", 400),
        ("host: a\r\nhost: b\r\n", 400),
        ("host: a,b\r\n", 400),
        ("host: u@a\r\n", 400),
        ("host: a:x\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: a%2eb\r\n", 400),
    ] {
        let answer =
            gateway.raw(format!("GET /shop/open/1 HTTP/1.1\r\n{hosts}connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{hosts}: {answer:?}");
        assert_eq!(answer.body.contains("\"fault\""), status == 400, "{hosts}: {answer:?}");
    }
}

#[tokio::test]
async fn another_spelling_of_a_declared_path_is_refused() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let (open, guarded) = (get(&json!([])), get(&json!([{ "key": [] }])));
    let paths = json!({
        "/u/{id}": open, "/u/@me": guarded, "/u/{id}:run": guarded, "/u/\u{e9}": guarded, "/u/{id}/x": open, "/u/%7Cp%7c/{x}": guarded
    });
    // A slash at the end of a base path has no meaning.
    project.define("shop", &definition("Shop", "/shop/v1/", backend.address, &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    for (path, status) in [
        ("/u/bob%40example.com", 200),
        ("/u/%40mee", 200),
        ("/u/1:runs", 200),
        ("/u/@me", 401),
        ("/u/%40me", 400),
        ("/u/@%6de", 401),
        ("/u/%40m%65", 400),
        ("/u/1:run", 401),
        ("/u/1%3Arun", 400),
        ("/u/1%3arun", 400),
        ("/u/%C3%A9", 401),
        ("/u/%c3%A9", 400),
        ("/u/|p|/x", 401),
        ("/u/%7cp%7C/x", 400),
        ("/u/@me/", 404),
        ("/u/@ME", 200),
    ] {
        let answer = RawAnswer::get(gateway.live.http.unwrap(), format!("/shop/v1{path}").as_bytes()).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if let Some(echo) = answer.echo() {
            assert_eq!(echo["path"], format!("/shop/v1{path}"));
        }
    }
    for (target, said) in [
        ("/shop//v1/u/1", "matched as /shop/v1/u/1"),
        ("/shop/v1/u/%40me", "400: it is another spelling of `/shop/v1/u/@me`"),
        ("/shop/v1/u/%2f", "400: it has an encoded slash"),
        ("/shop/v1/x", "404: "),
    ] {
        let output = command(project.directory(), &["inspect", "shop/target/shop.mgw", "--path", "GET", target]).await;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains(said), "{target}: {shown} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn headers_do_not_steer_the_gateway() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, gateway) = shop(&backend, &[]).await;
    for (name, value) in [
        ("x-original-url", "/shop/open/1"),
        ("x-rewrite-url", "/shop/open/1"),
        ("x-envoy-original-path", "/shop/open/1"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-ext-authz-check-result", "allowed"),
        ("x-envoy-auth-partial-body", "false"),
        ("content-type", "application/json"),
        ("expect", "100-continue"),
        ("host", "localhost"),
        ("connection", "x-microgw-listener"),
        ("te", "trailers"),
    ] {
        let answer = gateway.get(&gateway.http("/shop/guarded/1"), &[(name, value)]).await;
        assert_eq!((answer.status, answer.code()), (401, 900_902), "{name}");
    }
    assert_eq!(backend.requests(), 0);

    // Nor the way to the backend.
    let steering = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-original-path", "/forged"),
        ("x-envoy-decorator-operation", "forged"),
        ("x-envoy-upstream-alt-stat-name", "forged"),
        ("x-envoy-internal", "true"),
        ("x-http-method-override", "DELETE"),
        ("x_http_method", "DELETE"),
        ("x-original-url", "/guarded/1"),
        ("x_original_uri", "/guarded/1"),
        ("x-original-method", "DELETE"),
        // Nor whom it thinks that it is, and who calls.
        ("forwarded", "for=192.0.2.9;host=evil.example;proto=https"),
        ("x-forwarded-host", "evil.example"),
        ("x_forwarded_host", "evil.example"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-port", "1"),
        ("x-host", "evil.example"),
        ("x-real-ip", "192.0.2.9"),
        ("true-client-ip", "192.0.2.9"),
    ];
    let seen = gateway.get(&gateway.http("/shop/open/1"), &steering).await;
    assert_eq!(seen.status, 200);
    let headers = seen.json()["headers"].clone();
    let passed: Vec<&str> = steering.iter().map(|(name, _)| *name).filter(|name| !headers[*name].is_null()).collect();
    assert!(passed.is_empty(), "{passed:?}: {headers}");
    drop(gateway);

    // Unless settings say so, and then those alone.
    let config = project.config("[listenerConfig]\nkeepOverrideHeaders = 'X-Forwarded-Host, x-real-ip'\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let seen = gateway.get(&gateway.http("/shop/open/1"), &steering).await;
    let headers = seen.json()["headers"].clone();
    let passed: Vec<&str> = steering.iter().map(|(name, _)| *name).filter(|name| !headers[*name].is_null()).collect();
    assert_eq!(passed, ["x-forwarded-host", "x_forwarded_host", "x-real-ip"], "{headers}");
}

#[tokio::test]
async fn an_api_is_where_and_how_it_says() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let key = TokenKey::new("one");
    let (open, guarded) = (get(&json!([])), get(&json!([{ "oauth": [] }])));
    let paths = json!({ "/open": open, "/guarded": guarded });
    for (name, transports) in
        [("plain", json!(["http"])), ("secure", json!(["https"])), ("both", json!(["http", "https"]))]
    {
        let mut api = definition(name, &format!("/{name}"), backend.address, &paths);
        api["x-wso2-transports"] = transports;
        api["x-wso2-auth-header"] = format!("X-{name}-Token").into();
        project.define(name, &api);
    }
    project.build().await;
    let jwks = project.directory().join("one.jwks");
    std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let config = project.config("[[jwtTokenConfig]]\nissuer = \"https://idp.example/\"\njwksURL = \"file:one.jwks\"\n");
    let keep = "--authConfig.removeAuthHeaderFromOutMessage=false";
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, keep]).await;
    let bearer = format!("Bearer {}", key.token("https://idp.example/", &json!({})));
    for (name, http, https) in [("plain", 200, 404), ("secure", 404, 200), ("both", 200, 200)] {
        let header = format!("x-{name}-token");
        for (own, other, expected) in [("http", "https", http), ("https", "http", https)] {
            let url = |path: &str| {
                let path = format!("/{name}/{path}");
                if own == "http" { gateway.http(&path) } else { gateway.https(&path) }
            };
            // To have come through the other listener cannot be claimed.
            let claims = [("x-microgw-listener", other), ("x-forwarded-proto", other)];
            assert_eq!(gateway.get(&url("open"), &claims).await.status, expected, "{name} over {own}");
            let seen = gateway.get(&url("guarded"), &[(&header, &bearer)]).await;
            assert_eq!(seen.status, expected, "{name} over {own}: {seen:?}");
            if expected == 200 {
                // As configured here, the backend sees who called.
                assert_eq!(seen.json()["headers"][&header], bearer.as_str());
                let elsewhere = gateway.get(&url("guarded"), &[("authorization", &bearer)]).await;
                assert_eq!((elsewhere.status, elsewhere.code()), (401, 900_902));
                let wrong_method = Answer::of(gateway.client.post(url("open"))).await;
                assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "GET"));
            }
        }
    }
}
