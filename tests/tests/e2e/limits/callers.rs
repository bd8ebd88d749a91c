//! Callers who show a certificate, and those whose key says of which application they are.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::issuer::{TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::{Identity, anonymous};
use serde_json::{Value, json};

const POLICIES: &str = "\
applicationPolicies:
  - Two: {count: 2, unitTime: 1, timeUnit: year}
subscriptionPolicies:
  - Three: {count: 3, unitTime: 1, timeUnit: year}
  - Default: {count: 2, unitTime: 1, timeUnit: year}
  - Unauthenticated: {count: 1, unitTime: 1, timeUnit: year}
unknownTier: {subscription: Default, application: Two}
";

const PASSES: (u16, u64, &str) = (200, 0, "");
const USED_UP: (u16, u64, &str) = (429, 900_804, "Default");

struct Site {
    gateway: Gateway,
    clients: [Identity; 2],
    signing: TokenKey,
    _project: Project,
    _backend: Backend,
}

// === impl Site ===

impl Site {
    /// `Certs`, `Others` and `Both` want a certificate, `Both` a key as well; `Keys` and `More` want a key.
    async fn new() -> Site {
        let (backend, project) = (Backend::start("shop").await, Project::new());
        for (name, certificate, key) in [
            ("Certs", Some("mandatory"), false),
            ("Others", Some("mandatory"), false),
            ("Maybe", Some("optional"), false),
            ("Both", Some("mandatory"), true),
            ("Keys", None, true),
            ("More", None, true),
        ] {
            let operation = get(&if key { json!([{ "key": [] }]) } else { json!([]) });
            let base = format!("/{}", name.to_lowercase());
            let mut api = definition(name, &base, backend.address, &json!({ "/it": operation }));
            if let Some(word) = certificate {
                api["x-wso2-mutual-ssl"] = word.into();
            }
            project.define(name, &api);
        }
        project.write("policies.yaml", POLICIES);
        project.build().await;
        let clients = ["one", "two"].map(|name| Identity::client(name, None, |_| {}));
        let pin = |(client, name): (&Identity, &str)| {
            replace(&project.directory().join(name), client.certificate_pem().as_bytes());
            format!(
                "[[mutualSSLConfig.api.certificates]]\nname = \"*\"\nversion = \"*\"\ncertificatePath = \"{name}\"\n\n"
            )
        };
        let config: String = clients.iter().zip(["one.pem", "two.pem"]).map(pin).collect();
        let config = project.config(&config);
        let pem = TokenKey::new("").write(project.directory(), "signing.pem");
        let signing = TokenKey::from_pem("", &std::fs::read_to_string(&pem).unwrap());
        let own = format!("--apikey.issuer.tokenConfig.privateKeyPath={}", pem.display());
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, &own]).await;
        Site { gateway, clients, signing, _project: project, _backend: backend }
    }

    /// A key that says all of it.
    fn key(&self, user: &str, application: &Value, tiers: &[(&str, &str)]) -> String {
        let apis = tiers.iter().map(|(api, tier)| {
            json!({ "name": api, "version": "1.0", "context": format!("/{}", api.to_lowercase()), "subscriptionTier": tier })
        });
        self.signing.sign_as(
            &json!({ "typ": "JWT" }),
            &json!({
                "iss": "https://localhost:9095/apikey", "sub": user, "iat": now(), "exp": now() + 600,
                "keytype": "PRODUCTION", "application": application, "subscribedAPIs": apis.collect::<Vec<_>>(),
            }),
        )
    }

    /// Status, code and policy.
    async fn ask(&self, client: &reqwest::Client, api: &str, key: Option<&str>) -> (u16, u64, String) {
        let mut request = client.get(self.gateway.https(&format!("/{api}/it")));
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let answer = Answer::of(request).await;
        if answer.status == 200 {
            return (200, 0, String::new());
        }
        let policy = answer.json()["fault"]["policy"].as_str().unwrap_or_default().to_owned();
        (answer.status, answer.code(), policy)
    }
}

fn is(found: &(u16, u64, String), wanted: (u16, u64, &str), what: &str) {
    assert_eq!((found.0, found.1, &*found.2), wanted, "{what}");
}

#[tokio::test]
async fn who_shows_a_certificate_has_what_is_there_for_those_without_a_subscription() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::new().await;
    let [one, two] = [0, 1].map(|index| site.clients[index].https(&[], index == 1));
    let nobody = anonymous(true).build().unwrap();
    let stranger = Identity::client("one", None, |_| {}).https(&[], true);
    // Who is not let in draws on nothing.
    for _ in 0..3 {
        is(&site.ask(&nobody, "certs", None).await, (401, 900_902, ""), "nobody");
        is(&site.ask(&stranger, "certs", None).await, (401, 900_901, ""), "a stranger");
    }
    // Together, and each API by itself.
    for (client, api, wanted) in [
        (&one, "certs", PASSES),
        (&two, "certs", PASSES),
        (&one, "certs", USED_UP),
        (&two, "certs", USED_UP),
        (&two, "others", PASSES),
        (&two, "others", PASSES),
        (&one, "others", USED_UP),
        // Where none is needed, those who show none are others.
        (&nobody, "maybe", PASSES),
        (&nobody, "maybe", (429, 900_804, "Unauthenticated")),
        (&one, "maybe", PASSES),
        (&two, "maybe", PASSES),
        (&one, "maybe", USED_UP),
    ] {
        is(&site.ask(client, api, None).await, wanted, api);
    }
}

#[tokio::test]
async fn keys_of_one_application_draw_on_its_tiers() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::new().await;
    let anybody = anonymous(true).build().unwrap();
    let application = |id: u32| json!({ "id": id, "name": format!("app {id}"), "tier": "Two", "owner": "eve" });
    let both = [("Keys", "Three"), ("More", "Three")];
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| site.key(user, &application(1), &both));
    let another = site.key("alice", &application(2), &both);
    let (of_application, of_subscription) = ((429, 900_803, "Two"), (429, 900_804, "Three"));
    for (key, api, wanted) in [
        // The application's: of each user, over all APIs.
        (&alice, "keys", PASSES),
        (&alice, "more", PASSES),
        (&alice, "keys", of_application),
        (&alice, "more", of_application),
        // The subscription's: of all users, of each API. What was refused was not counted.
        (&bob, "keys", PASSES),
        (&bob, "keys", PASSES),
        (&carol, "keys", of_subscription),
        (&carol, "more", PASSES),
        (&another, "keys", PASSES),
    ] {
        is(&site.ask(&anybody, api, Some(key)).await, wanted, api);
    }
    // Tiers that nobody has declared, and an application without one.
    let unknown = json!({ "id": 3, "name": "app", "tier": "Platinum" });
    let unknown = site.key("alice", &unknown, &[("Keys", "Three"), ("More", "Platinum")]);
    let plain = site.key("alice", &json!({ "id": 4, "name": "plain" }), &[("Keys", "Three")]);
    for (key, api, wanted) in [
        (&unknown, "keys", PASSES),
        (&unknown, "more", PASSES),
        (&unknown, "keys", of_application),
        (&plain, "keys", PASSES),
        (&plain, "keys", PASSES),
        (&plain, "keys", PASSES),
        (&plain, "keys", of_subscription),
        // It is for what it was made for.
        (&plain, "more", (403, 900_908, "")),
    ] {
        is(&site.ask(&anybody, api, Some(key)).await, wanted, api);
    }

    // Beside a certificate, which says nothing of an application, it is the key that does.
    let one = site.clients[0].https(&[], true);
    let key = site.key("alice", &application(5), &[("Both", "Three")]);
    is(&site.ask(&anybody, "both", Some(&key)).await, (401, 900_902, ""), "the key alone");
    is(&site.ask(&one, "both", None).await, (401, 900_902, ""), "the certificate alone");
    for wanted in [PASSES, PASSES, of_application] {
        is(&site.ask(&one, "both", Some(&key)).await, wanted, "both");
    }
    let another = site.key("alice", &application(6), &[("Both", "Three")]);
    is(&site.ask(&one, "both", Some(&another)).await, PASSES, "of another application");
}
