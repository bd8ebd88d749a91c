//! Users with passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_extproc::users::hash_password;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

const BASIC: &str = "Basic realm=\"micro-gw\", charset=\"UTF-8\"";

#[tokio::test]
async fn a_user_calls_what_its_scopes_allow() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let mut reads = get(&json!([{ "oauth": ["read"] }]));
    reads["get"]["x-wso2-application-security"] = json!({ "security-types": ["basic_auth"] });
    let paths = json!({ "/any": get(&json!([{ "basic": [] }])), "/reads": reads });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let user = |name: &str, scopes: &str| {
        let hash = hash_password(&format!("{name}'s: secret")).unwrap();
        format!("[b7a.users.{name}]\npassword = \"{hash}\"\nscopes = \"{scopes}\"\n\n")
    };
    let config = project.config(&[user("alice", "read,write"), user("bob", "")].concat());
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let ask = async |path: &str, login: &str| {
        let login = format!("Basic {}", STANDARD.encode(login));
        gateway.get(&gateway.http(path), &[("authorization", &login)]).await
    };

    for (path, login, status, code) in [
        ("/shop/any", "alice:alice's: secret", 200, 0),
        ("/shop/any", "bob:bob's: secret", 200, 0),
        ("/shop/reads", "alice:alice's: secret", 200, 0),
        ("/shop/reads", "bob:bob's: secret", 403, 900_910),
        ("/shop/any", "alice:bob's: secret", 401, 900_911),
        ("/shop/any", "carol:alice's: secret", 401, 900_911),
        ("/shop/any", "alice", 401, 900_912),
    ] {
        let answer = ask(path, login).await;
        assert_eq!(answer.status, status, "{path} {login}: {answer:?}");
        if status == 200 {
            assert!(answer.json()["headers"].get("authorization").is_none(), "{answer:?}");
        } else {
            assert_eq!(answer.code(), code, "{path} {login}");
        }
    }
    let none = gateway.get(&gateway.http("/shop/any"), &[]).await;
    assert_eq!((none.status, none.code(), none.header("www-authenticate")), (401, 900_902, BASIC));
}

fn user(name: &str, password: &str) -> String {
    format!("[b7a.users.{name}]\npassword = \"{}\"\n\n", hash_password(password).unwrap())
}

#[tokio::test]
async fn wrong_passwords_are_slowed_and_right_ones_that_are_known_pass() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    project.define(
        "shop",
        &definition("Shop", "/shop", backend.address, &json!({ "/any": get(&json!([{ "basic": [] }])) })),
    );
    project.build().await;
    let config = project.config(&[user("alice", "right"), user("bob", "good")].concat());
    // One proxy in front is believed: its clients are told apart, and what they say themselves is not.
    let gateway =
        Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, "--gateway.trustedHops=1"]).await;
    let ask = async |login: &str, from: &str| {
        let login = format!("Basic {}", STANDARD.encode(login));
        gateway.get(&gateway.http("/shop/any"), &[("authorization", &login), ("x-forwarded-for", from)]).await
    };
    assert_eq!(ask("alice:right", "198.51.100.1").await.status, 200);

    // Many at a time: a few are looked at, the rest is told to wait.
    let guesses: Vec<String> = (0..40).map(|guess| format!("bob:{guess}")).collect();
    let answers = futures_util::future::join_all(guesses.iter().map(|guess| ask(guess, "198.51.100.1"))).await;
    let mut looked_at = 0;
    for answer in &answers {
        match (answer.status, answer.code()) {
            (401, 900_911) => looked_at += 1,
            (429, 429) => assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
    }
    assert!((1..=10).contains(&looked_at), "{looked_at}");

    assert_eq!(ask("bob:good", "198.51.100.1").await.status, 429, "its own address has to wait, right or not");
    assert_eq!(ask("bob:good", "192.0.2.9, 198.51.100.1").await.status, 429, "whatever the client says of itself");
    assert_eq!(ask("alice:right", "198.51.100.1").await.status, 200, "what is known is not looked at again");
    assert_eq!(ask("bob:good", "198.51.100.2").await.status, 200, "others are not held up");
    // `/apikey` has the same memory.
    let login = format!("Basic {}", STANDARD.encode("bob:good"));
    let from = [("authorization", login.as_str()), ("x-forwarded-for", "198.51.100.1")];
    assert_eq!(gateway.get(&gateway.https("/apikey"), &from).await.status, 429);
}

#[tokio::test]
async fn many_users_behind_one_address_all_get_in() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    project.define(
        "shop",
        &definition("Shop", "/shop", backend.address, &json!({ "/any": get(&json!([{ "basic": [] }])) })),
    );
    project.build().await;
    let names: Vec<String> = (0..12).map(|index| format!("user{index}")).collect();
    let config = project.config(&names.iter().map(|name| user(name, "right")).collect::<String>());
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    // Each several times at once.
    let logins = names.iter().flat_map(|name| std::iter::repeat_n(format!("{name}:right"), 3));
    let ask = async |login: String| {
        eventually("it gets in", async || {
            let login = format!("Basic {}", STANDARD.encode(&login));
            let answer = gateway.get(&gateway.http("/shop/any"), &[("authorization", &login)]).await;
            // On a slow machine a decision may not have the time to wait for all the others.
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 200).then_some(())
        })
        .await;
    };
    futures_util::future::join_all(logins.map(ask)).await;
}

/// `micro-gw user`, with this on standard input.
async fn micro_gw_user(directory: &std::path::Path, arguments: &[&str], input: &str) -> Result<String, String> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(microgw_tests::gateway::micro_gw())
        .current_dir(directory)
        .arg("user")
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let both = text(&output.stdout) + &text(&output.stderr);
    assert!(input.len() < 4 || !both.contains(input.trim()), "the password is never shown: {both}");
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn users_are_added_to_a_file_and_nothing_else_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw.conf");
    let add = async |arguments: &[&str], input: &str| micro_gw_user(directory.path(), arguments, input).await;
    let printed = add(&["add", "alice", "--scopes", "read,write"], "open sesame\n").await.unwrap();
    assert!(printed.starts_with("[b7a.users.alice]\npassword = \"$argon2"), "{printed}");
    assert!(printed.ends_with("\nscopes = \"read,write\"\n"), "{printed}");

    let before = "# ours\n[listenerConfig]\nhttpPort = 9_090   # odd\r\n\n[b7a.users.'old user']\npassword = \"x\"";
    std::fs::write(&path, before).unwrap();
    let file = ["--config", "gw.conf"];
    add(&[&["add", "bob"][..], &file].concat(), "open sesame\n").await.unwrap();
    add(&[&["add", "a b"][..], &file].concat(), "open sesame").await.unwrap();
    let after = std::fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(before) && after.contains("\n[b7a.users.\"a b\"]\n"), "{after}");
    for (arguments, problem) in [
        (&["add", "bob"][..], "there is a user `bob` already"),
        (&["add", "old user"], "there is a user `old user` already"),
        (&["add", "a:b"], "no colon"),
        (&["add", "eve", "--scopes", "a b"], "scope"),
        (&["remove", "eve"], "there is no user `eve`"),
    ] {
        let refused = add(&[arguments, &file].concat(), "open sesame\n").await.unwrap_err();
        assert!(refused.contains(problem), "{arguments:?}: {refused}");
    }
    assert!(add(&[&["add", "eve"][..], &file].concat(), "\n").await.unwrap_err().contains("empty"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "what is refused changes nothing");
    assert_eq!(add(&[&["list"][..], &file].concat(), "-").await.unwrap(), "a b\nbob\nold user\n");

    std::fs::write(&path, format!("{after}\n# the last\n[http2]\nenable = true\n")).unwrap();
    add(&[&["remove", "a b"][..], &file].concat(), "-").await.unwrap();
    add(&[&["remove", "bob"][..], &file].concat(), "-").await.unwrap();
    let left = std::fs::read_to_string(&path).unwrap();
    assert!(left.starts_with(before) && left.contains("# the last\n[http2]") && !left.contains("argon2"), "{left}");

    // Where it cannot be done without touching what is there, it is not done.
    std::fs::write(&path, "b7a = { users = { jo = { password = \"x\" } } }\n").unwrap();
    for arguments in [["add", "bob"], ["remove", "jo"]] {
        assert!(add(&[&arguments[..], &file].concat(), "open sesame\n").await.is_err());
    }
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("b7a = {"));
}
