//! Certificates of clients: pinned ones, those of authorities, and tokens that are bound to one.

mod beside;
mod proxies;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::{Identity, anonymous, old_store};
use microgw_tests::{envoy_is_here, eventually};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use serde_json::{Value, json};

const ARTIFACT: &str = "shop/target/shop.mgw";
const STORE: &str = "trust.p12";
const PASSWORD: &str = "changeit";
const CHALLENGE: &str = "MutualTLS realm=\"micro-gw\"";

/// An API that asks for certificates as `word` says.
fn api(title: &str, backend: &Backend, word: Option<&str>, paths: &Value) -> Value {
    let base = format!("/{}", title.to_lowercase());
    let mut api = definition(title, &base, backend.address, paths);
    api["openapi"] = "3.1.0".into();
    api["components"]["securitySchemes"]["certificate"] = json!({ "type": "mutualTLS" });
    if let Some(word) = word {
        api["x-wso2-mutual-ssl"] = word.into();
    }
    api
}

/// The people of these tests.
struct People {
    authority: Identity,
    between: Identity,
    pinned: Identity,
    pinned_late: Identity,
    pinned_server: Identity,
    issued: Identity,
    issued_far: Identity,
    issued_late: Identity,
    issued_early: Identity,
    issued_server: Identity,
    unnamed: Identity,
    stranger: Identity,
    foreign: Identity,
}

impl People {
    fn new() -> People {
        let authority = Identity::authority("authority");
        let between = Identity::client("between", Some(&authority), |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.extended_key_usages = Vec::new();
        });
        let named = |params: &mut rcgen::CertificateParams| {
            params.subject_alt_names = vec![SanType::URI("spiffe://example/shop".try_into().unwrap())];
        };
        let late = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
        let server = |params: &mut rcgen::CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        };
        let issued = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
            Identity::client("shop", Some(&authority), |params| {
                named(params);
                change(params);
            })
        };
        People {
            pinned: Identity::client("pinned", None, |_| {}),
            pinned_late: Identity::client("late", None, late),
            pinned_server: Identity::client("server", None, server),
            issued: issued(&|_| {}),
            issued_far: Identity::client("far", Some(&between), named),
            issued_late: issued(&late),
            issued_early: issued(&|params| params.not_before = date_time_ymd(2090, 1, 1)),
            issued_server: issued(&server),
            unnamed: Identity::client("shop", Some(&authority), |_| {}),
            stranger: Identity::client("pinned", None, |_| {}),
            foreign: Identity::client("shop", Some(&Identity::authority("authority")), named),
            authority,
            between,
        }
    }

    /// The trust store, and settings that take some of them.
    fn settings(&self, project: &Project) -> String {
        let store = old_store(
            &[],
            &[
                ("pinned", &self.pinned),
                ("late", &self.pinned_late),
                ("server", &self.pinned_server),
                ("authority", &self.authority),
            ],
            PASSWORD,
        );
        replace(&project.directory().join(STORE), &store);
        format!(
            "[listenerConfig]\ntrustStorePath = \"{STORE}\"\ntrustStorePassword = \"{PASSWORD}\"\n\
             [[mutualSSLConfig.api.certificates]]\nname = \"PINS\"\nversion = \"1.0\"\n\
             aliasList = [\"pinned\", \"late\", \"server\"]\n\
             [[mutualSSLConfig.api.certificates]]\nname = \"Signed\"\nversion = \"*\"\n\
             caAliasList = [\"authority\"]\nsans = [\"URI:spiffe://example/shop\"]\n"
        )
    }
}

async fn ask(client: &reqwest::Client, url: &str) -> Answer {
    Answer::of(client.get(url)).await
}

/// Passes, or is refused with the code.
fn is(answer: &Answer, expected: Result<(), u64>, what: &str) {
    match expected {
        Ok(()) => assert_eq!(answer.status, 200, "{what}: {answer:?}"),
        Err(code) => assert_eq!((answer.status, answer.code()), (401, code), "{what}: {answer:?}"),
    }
}

#[tokio::test]
async fn whose_certificate_is_good() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, people) = (Project::new(), People::new());
    let paths = json!({ "/it": get(&json!([])), "/off": { "get": {
        "x-wso2-disable-security": true, "responses": { "200": { "description": "done" } } } } });
    for (name, word) in
        [("Pins", "mandatory"), ("Signed", "mandatory"), ("Maybe", "optional"), ("Nobodys", "mandatory")]
    {
        project.define(name, &api(name, &backend, Some(word), &paths));
    }
    project.build().await;
    let config = project.config(&people.settings(&project));
    let log = project.directory().join("access.log");
    let log_setting = format!("--b7a.http.accesslog.path={}", log.display());
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config, &log_setting]).await;
    assert!(gateway.log().contains("Nobodys"), "{}", gateway.log());

    let far = [&people.between];
    let (good, missing, bad) = (Ok(()), Err(900_902), Err(900_901));
    for http2 in [false, true] {
        for (path, client, others, expected) in [
            ("/pins/it", Some(&people.pinned), &[][..], good),
            ("/pins/it", None, &[], missing),
            ("/pins/it", Some(&people.stranger), &[], bad),
            ("/pins/it", Some(&people.pinned_late), &[], bad),
            ("/pins/it", Some(&people.pinned_server), &[], bad),
            ("/pins/it", Some(&people.issued), &[], bad),
            ("/signed/it", Some(&people.issued), &[], good),
            ("/signed/it", Some(&people.issued_far), &far, good),
            ("/signed/it", None, &[], missing),
            ("/signed/it", Some(&people.pinned), &[], bad),
            ("/signed/it", Some(&people.foreign), &[], bad),
            ("/signed/it", Some(&people.issued_late), &[], bad),
            ("/signed/it", Some(&people.issued_early), &[], bad),
            ("/signed/it", Some(&people.issued_server), &[], bad),
            ("/signed/it", Some(&people.unnamed), &[], bad),
            ("/maybe/it", None, &[], good),
            ("/maybe/it", Some(&people.stranger), &[], bad),
            ("/nobodys/it", Some(&people.pinned), &[], bad),
            ("/nobodys/it", None, &[], missing),
            ("/pins/off", None, &[], good),
            ("/pins/off", Some(&people.stranger), &[], good),
        ] {
            let what = format!("{path} HTTP/{} {:?}", 1 + u8::from(http2), client.map(Identity::thumbprint));
            let client = match client {
                Some(client) => client.https(others, http2),
                None => anonymous(http2).build().unwrap(),
            };
            let url = gateway.https(path);
            let version = client.get(&url).send().await.unwrap().version();
            assert_eq!(version == reqwest::Version::HTTP_2, http2, "{what}");
            // Known or not, it is the same.
            for _ in 0..2 {
                let answer = ask(&client, &url).await;
                is(&answer, expected, &what);
                if expected.is_err() {
                    assert_eq!(answer.header("www-authenticate"), CHALLENGE, "{what}");
                    assert!(!answer.body.contains("shop"), "{answer:?}");
                } else {
                    let headers = answer.json()["headers"].to_string();
                    assert!(!headers.contains("client-cert") && !headers.contains("CERTIFICATE"), "{headers}");
                }
            }
        }
    }
    // No TLS, no certificate.
    is(&gateway.get(&gateway.http("/pins/it"), &[]).await, missing, "http");
    is(&gateway.get(&gateway.http("/maybe/it"), &[]).await, good, "http");
    // What a client says of itself does not count.
    let forged = format!("Hash={};Chain=\"x\"", "0".repeat(64));
    for header in ["x-forwarded-client-cert", "X_Forwarded_Client_Cert", "x-wso2-client-certificate"] {
        let value =
            if header.contains("wso2") { people.pinned.certificate_pem().replace('\n', " ") } else { forged.clone() };
        for url in [gateway.http("/pins/it"), gateway.https("/pins/it")] {
            is(&gateway.get(&url, &[(header, &value)]).await, missing, header);
        }
        let open = gateway.get(&gateway.https("/pins/off"), &[(header, &value)]).await;
        let headers = open.json()["headers"].to_string().to_lowercase();
        assert!(!headers.contains("cert"), "{headers}");
    }
    let thumbprint = people.issued.thumbprint();
    let line = eventually("it is logged", async || {
        let lines = std::fs::read_to_string(&log).ok()?;
        lines.lines().find(|line| line.contains(&thumbprint)).map(str::to_owned)
    })
    .await;
    assert!(line.contains("\"caller\":\"shop\"") && !line.contains("CERTIFICATE"), "{line}");
}
