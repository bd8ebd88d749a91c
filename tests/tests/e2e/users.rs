//! Users with passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_extproc::users::hash_password;
use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
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
