//! Envoys on other hosts, over TCP: both sides with certificates, or in the open where that was said.

mod bandwidth;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use microgw_tests::backend::Backend;
use microgw_tests::envoy::Envoy;
use microgw_tests::gateway::{Gateway, command, free_port, replace};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::{Identity, is_admitted};
use microgw_tests::{envoy_is_here, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const ARTIFACT: &str = "shop/target/shop.mgw";
const NAME: &str = "gateway.example.com";
const EDGE: &str = "edge-1.example.com";

async fn shop(backend: &Backend) -> Project {
    let project = Project::new();
    let (open, guarded) = (get(&json!([])), get(&json!([{ "key": [] }])));
    project
        .define("shop", &definition("Shop", "/shop", backend.address, &json!({ "/open": open, "/guarded": guarded })));
    project.build().await;
    project
}

/// A gateway and its Envoys, all on this host, that know of each other what hosts apart would.
struct Site {
    project: Project,
    authority: Identity,
    ports: [u16; 3],
}

impl Site {
    async fn new(backend: &Backend) -> Site {
        let site = Site {
            project: shop(backend).await,
            authority: Identity::authority("the site's"),
            ports: [free_port(), free_port(), free_port()],
        };
        replace(&site.file("ca.crt"), site.authority.certificate_pem().as_bytes());
        site.put("gateway", &site.authority.issue(NAME));
        site.put("edge", &site.authority.issue(EDGE));
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.directory().join("tls").join(name)
    }

    fn put(&self, name: &str, identity: &Identity) {
        replace(&self.file(&format!("{name}.crt")), identity.certificate_pem().as_bytes());
        replace(&self.file(&format!("{name}.key")), identity.key_pem().as_bytes());
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        self.ports.map(|port| ([127, 0, 0, 1], port).into())
    }

    fn port_settings(&self) -> Vec<String> {
        let names = ["xds", "authz", "issuer"].iter().zip(self.ports);
        names.map(|(name, port)| format!("--remoteConfig.{name}Port={port}")).collect()
    }

    fn tls_settings(&self) -> Vec<String> {
        [("certificatePath", "gateway.crt"), ("privateKeyPath", "gateway.key"), ("clientCaPath", "ca.crt")]
            .map(|(name, file)| format!("--remoteConfig.{name}={}", self.file(file).display()))
            .to_vec()
    }

    /// With sockets of its own, which no Envoy uses.
    fn serve(&self, more: &[String]) -> Gateway {
        let sockets = format!("--sockets={}", self.project.directory().join("sockets").display());
        let settings = [vec![sockets, "--remoteConfig.host=127.0.0.1".to_owned()], self.port_settings(), more.to_vec()];
        let settings = settings.concat();
        Gateway::start(
            self.project.directory(),
            "serve",
            ARTIFACT,
            &settings.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    /// An Envoy that has nothing of the gateway but what its bootstrap says.
    async fn envoy(&self, name: &str, more: &[&str]) -> Envoy {
        let directory = self.project.directory().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let artifact = self.project.directory().join(ARTIFACT);
        let ports = self.port_settings();
        let arguments = ["bootstrap", artifact.to_str().unwrap(), "--node-id", name, "--remote", "127.0.0.1"];
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        Envoy::start_with(&directory, &[&arguments, more, &ports].concat(), &directory, |bootstrap| {
            assert!(!bootstrap.to_string().contains("PRIVATE KEY"));
        })
        .await
    }

    fn client_files(&self) -> [String; 6] {
        let file = |name| self.file(name).to_str().unwrap().to_owned();
        ["--client-cert", "--client-key", "--ca"]
            .into_iter()
            .zip(["edge.crt", "edge.key", "ca.crt"])
            .flat_map(|(flag, name)| [flag.to_owned(), file(name)])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    }

    async fn secured_envoy(&self, name: &str, more: &[&str]) -> Envoy {
        let files = self.client_files();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        self.envoy(name, &[&files, more].concat()).await
    }
}

/// Its configuration, decisions and API keys have come all the way.
async fn guards(gateway: &mut Gateway, envoy: &Envoy) {
    let (http, https) = envoy.addresses().await;
    (gateway.live.http, gateway.live.https) = (Some(http), Some(https));
    let ask = async |path: &str, headers: &[(&str, &str)]| gateway.get(&gateway.http(path), headers).await.status;
    // Its listeners are known before they listen.
    eventually("it serves", async || {
        let answer = gateway.client.get(gateway.http("/shop/open")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    assert_eq!(ask("/shop/guarded", &[]).await, 401);
    let key = gateway.api_key().await;
    assert_eq!(ask("/shop/guarded", &[("x-api-key", &key)]).await, 200);
    assert_eq!(ask("/shop/guarded", &[("x-api-key", "made-up")]).await, 401);
}

fn connected(status: &Value) -> Vec<(String, String)> {
    let envoys = status["envoys"].as_array().unwrap().iter();
    envoys
        .map(|envoy| {
            let text = |name: &str| envoy[name].as_str().unwrap_or_default().to_owned();
            (text("dialect"), text("peer"))
        })
        .collect()
}

#[tokio::test]
async fn an_envoy_on_another_host_is_guarded_in_both_dialects() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let site = Site::new(&backend).await;
    let names = format!("--remoteConfig.clientNames={EDGE}");
    let mut gateway = site.serve(&[site.tls_settings(), vec![names]].concat());
    for dialect in ["delta", "sotw"] {
        let envoy = site.secured_envoy(dialect, &["--server-name", NAME, "--xds", dialect]).await;
        if dialect == "delta" {
            gateway.wait_until_live().await;
        }
        guards(&mut gateway, &envoy).await;
        let status = gateway.status_where("it is known", |status| connected(status).len() == 1).await;
        let (spoken, peer) = &connected(&status)[0];
        assert_eq!(spoken, dialect);
        assert!(peer.starts_with(&format!("{EDGE} at 127.0.0.1:")), "{peer}");
        assert_eq!(status["ready"], true);
        drop(envoy);
        gateway.status_where("it is gone", |status| connected(status).is_empty()).await;
    }
    assert!(gateway.log().contains("gateway.probe"), "that nobody looks is told");
}

#[tokio::test]
async fn nobody_else_comes_in() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let site = Site::new(&backend).await;
    let names = format!("--remoteConfig.clientNames={EDGE},edge-2.example.com");
    let gateway = site.serve(&[site.tls_settings(), vec![names]].concat());
    eventually("it listens", async || tokio::net::TcpStream::connect(site.addresses()[2]).await.ok()).await;
    let other = Identity::authority("the site's");
    for address in site.addresses() {
        for (what, client, welcome) in [
            ("no certificate", None, false),
            ("another authority", Some(other.issue(EDGE)), false),
            ("itself", Some(Identity::new(EDGE)), false),
            ("expired", Some(site.authority.issue_expired(EDGE)), false),
            ("not on the list", Some(site.authority.issue("edge-3.example.com")), false),
            ("on the list", Some(site.authority.issue("edge-2.example.com")), true),
        ] {
            assert_eq!(is_admitted(address, client.as_ref()).await, welcome, "{address}: {what}");
        }
        let in_the_clear = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        assert!(in_the_clear.get(format!("http://{address}/apikey")).send().await.is_err());
    }
    assert!(gateway.log().contains("refused a connection"), "{}", gateway.log());

    // An Envoy does not take just anybody for the gateway, either.
    let mut envoy = site.secured_envoy("wary", &["--server-name", "other.example.com"]).await;
    eventually("it has looked at the name", async || {
        let stats = envoy.admin.stats("cluster.microgw_xds.ssl.fail_verify_san").await.ok()?;
        stats.values().any(|count| *count > 0).then_some(())
    })
    .await;
    assert!(envoy.admin.listeners().await.unwrap().is_empty());
    assert!(envoy.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn certificates_are_renewed_and_a_dead_peer_is_noticed() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let site = Site::new(&backend).await;
    let mut gateway = site.serve(&site.tls_settings());
    let envoy = site.secured_envoy("edge-1", &["--server-name", NAME]).await;
    gateway.wait_until_live().await;
    guards(&mut gateway, &envoy).await;

    // Another authority, and a certificate of it. Who is there stays.
    let next = Identity::authority("the next one");
    let (before, after) = (site.authority.issue("edge-2"), next.issue("edge-2"));
    let address = site.addresses()[0];
    assert!(is_admitted(address, Some(&before)).await && !is_admitted(address, Some(&after)).await);
    replace(&site.file("ca.crt"), next.certificate_pem().as_bytes());
    eventually("the new authority counts", async || is_admitted(address, Some(&after)).await.then_some(())).await;
    assert!(!is_admitted(address, Some(&before)).await);
    guards(&mut gateway, &envoy).await;
    // What cannot be used changes nothing, and is told.
    replace(&site.file("ca.crt"), b"no certificate");
    gateway
        .status_where("that is told", |status| {
            let mut parts = status["certificates"].as_array().unwrap().iter();
            parts.any(|part| part["role"] == "remote Envoys" && part["problem"].is_string())
        })
        .await;
    assert!(is_admitted(address, Some(&after)).await);

    // It neither closes its connection nor says anything any more.
    let pid = Pid::from_raw(i32::try_from(envoy.child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let status = gateway.status_where("it is missed", |status| connected(status).is_empty()).await;
    assert_eq!(status["ready"], false);
    kill(pid, Signal::SIGCONT).unwrap();
}

#[tokio::test]
async fn in_the_open_only_when_told() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let site = Site::new(&backend).await;
    let directory = site.project.directory();
    let serve = async |more: &[&str]| {
        let output = command(directory, &[&["serve", ARTIFACT][..], more].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = serve(&["--remoteConfig.host=127.0.0.1"]).await;
    assert!(told.contains("there is no TLS") && told.contains("--insecure"), "{told}");
    assert!(serve(&["--insecure"]).await.contains("`remoteConfig.host` is not given"));
    let tls = site.tls_settings();
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let told = serve(&[&["--insecure", "--remoteConfig.host=127.0.0.1"][..], &tls].concat()).await;
    assert!(told.contains("contradicts"), "{told}");

    let mut gateway = site.serve(&["--insecure".to_owned()]);
    let envoy = site.envoy("edge-1", &["--insecure"]).await;
    gateway.wait_until_live().await;
    guards(&mut gateway, &envoy).await;
    assert!(gateway.log().contains("WHOEVER CAN CONNECT"));
    let status = gateway.status().await;
    let (_, peer) = connected(&status).remove(0);
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert!(status["insecure"][0].as_str().unwrap().contains("without TLS"), "{status:#}");
}

#[tokio::test]
async fn run_serves_its_own_envoy_only() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let port = free_port();
    let settings = ["--remoteConfig.host=127.0.0.1".to_owned(), format!("--remoteConfig.xdsPort={port}")];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let gateway = Gateway::run(project.directory(), ARTIFACT, &settings).await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(gateway.log().contains("`remoteConfig` has no effect with `run`"), "{}", gateway.log());
}

#[tokio::test]
async fn what_a_bootstrap_for_another_host_needs_is_told() {
    let project = Project::new();
    project
        .define("shop", &definition("Shop", "/shop", ([127, 0, 0, 1], 1).into(), &json!({ "/open": get(&json!([])) })));
    project.build().await;
    let directory: &Path = project.directory();
    let files = ["--client-cert", "a.crt", "--client-key", "a.key", "--ca", "ca.crt"];
    for (arguments, code, told) in [
        (&["--remote", "gw"][..], 1, "`--remote` needs `--client-cert`"),
        (&["--remote", "gw", "--client-cert", "a.crt", "--client-key", "a.key"], 1, "needs `--ca`"),
        (&files, 2, "--remote <HOST>"),
        (&["--remote", "gw", "--insecure", "--ca", "ca.crt"], 2, "cannot be used with"),
        (&["--remote", "gw:9191", "--insecure"], 1, "must be a name or an IP address"),
        (&["--remote", "https://gw", "--insecure"], 1, "must be a name or an IP address"),
        (&["--remote", "gw", "--insecure", "--remoteConfig.xdsPort=0"], 1, "needs to know the ports"),
    ] {
        let output = command(directory, &[&["bootstrap", ARTIFACT], arguments].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.contains(told)), (Some(code), true), "{arguments:?}: {stderr}");
    }
    let output =
        command(directory, &[&["bootstrap", ARTIFACT, "--remote", "gw.example.com"][..], &files].concat()).await;
    let bootstrap: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(bootstrap.get("admin").is_none());
    let text = bootstrap.to_string();
    assert!(!text.contains(".sock") && text.contains("a.key") && text.contains("gw.example.com"), "{text}");
}

/// What a client has shown comes from another host as it does from this one.
#[tokio::test]
async fn certificates_of_a_remote_envoys_clients() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let site = Site::new(&backend).await;
    let mut definition = definition("Shop", "/shop", backend.address, &json!({ "/open": get(&json!([])) }));
    definition["x-wso2-mutual-ssl"] = "optional".into();
    site.project.define("shop", &definition);
    site.project.build().await;
    let (known, stranger) = (site.authority.issue("client.example"), Identity::new("client.example"));
    let config = site.project.config(&format!(
        "[[mutualSSLConfig.api.certificates]]\nname = \"Shop\"\nversion = \"1.0\"\ncaPath = \"{}\"\n\
         sans = [\"DNS:client.example\"]\n",
        site.file("ca.crt").display()
    ));
    let mut gateway = site.serve(&[site.tls_settings(), vec![config]].concat());
    let envoy = site.secured_envoy("edge", &["--server-name", NAME]).await;
    gateway.wait_until_live().await;
    let (_, https) = envoy.addresses().await;
    gateway.live.https = Some(https);
    for (client, status) in [(&known, 200), (&stranger, 401), (&site.authority, 401)] {
        let client = client.https(&[], true);
        let answered =
            eventually("it serves", async || client.get(gateway.https("/shop/open")).send().await.ok()).await;
        assert_eq!(answered.status(), status);
    }
}
