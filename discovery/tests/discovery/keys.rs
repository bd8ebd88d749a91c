//! Keys of a real etcd.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use microgw_compiler::model::Lookup;
use microgw_discovery::{Discovery, Dns, Etcd, Settings, SourceKind, SourceStatus, Tls, Wanted};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::etcd_server::{EtcdServer, Files, etcd_is_here};
use crate::{PATIENCE, url, wait_for, wait_for_addresses};

fn settings(server: &EtcdServer) -> Settings {
    let dns = Dns { hosts_file: "/nonexistent".into(), resolv_conf: "/nonexistent".into(), ..Dns::default() };
    let etcd = Etcd { urls: vec![server.url()], credentials: None, tls: Tls::default() };
    Settings { dns, etcd: Some(etcd), ..Settings::default() }
}

fn key(key: &str) -> Wanted {
    (Lookup::Etcd(key.to_owned()), url("http://192.0.2.9:8080/base"))
}

fn status(discovery: &Discovery) -> SourceStatus {
    discovery.status().into_iter().find(|source| source.source == SourceKind::Etcd).unwrap()
}

async fn wait_until(what: &str, discovery: &Discovery, is: impl Fn(&SourceStatus) -> bool) {
    let reached = async {
        while !is(&status(discovery)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what}: {:?}", status(discovery)));
}

/// Waits on a thread of its own: etcdctl is a process.
async fn meanwhile<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_used_as_soon_as_it_changes_and_the_default_without_one() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = EtcdServer::start(directory.path());
    server.put("shop/backend", "http://192.0.2.1:8081/base");
    let discovery = Discovery::start(&settings(&server));
    let (set, unset) = (key("shop/backend"), key("shop/other"));
    discovery.follow([set.clone(), unset.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    wait_for_addresses(&discovery, &set, &["192.0.2.1:8081"]).await;
    wait_for_addresses(&discovery, &unset, &["192.0.2.9:8080"]).await;
    assert_eq!(discovery.found().borrow()[&set].host.as_deref(), Some("192.0.2.1"));
    assert_eq!(discovery.found().borrow()[&unset].host, None);
    let mut slowest = Duration::ZERO;
    for number in 2..8 {
        server.put("shop/backend", &format!("http://192.0.2.{number}/base/"));
        let changed = Instant::now();
        wait_for_addresses(&discovery, &set, &[&format!("192.0.2.{number}:80")]).await;
        slowest = slowest.max(changed.elapsed());
    }
    eprintln!("a change is known after {slowest:?} at most");
    server.put("shop/other", "http://192.0.2.20/base");
    wait_for_addresses(&discovery, &unset, &["192.0.2.20:80"]).await;
    // A key that is deleted is one that is not there.
    server.delete("shop/other");
    wait_for_addresses(&discovery, &unset, &["192.0.2.9:8080"]).await;
    // What is left is watched no more, and what comes is, on the same connection.
    let late = key("late");
    discovery.follow([late.clone(), set.clone()]);
    server.put("late", "http://192.0.2.30/base");
    wait_for_addresses(&discovery, &late, &["192.0.2.30:80"]).await;
    discovery.follow([unset.clone(), late.clone()]);
    server.put("shop/other", "http://192.0.2.21/base");
    wait_for_addresses(&discovery, &unset, &["192.0.2.21:80"]).await;
    wait_for(&discovery, &set, |found| found.is_none()).await;
    let end = status(&discovery);
    assert!(end.reachable && end.failures == 0 && end.refused == 0 && end.targets == 2, "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_declared_backend_elsewhere_is_refused() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = EtcdServer::start(directory.path());
    let discovery = Discovery::start(&settings(&server));
    let target = key("backend");
    server.put("backend", "https://user:hunter2@192.0.2.66/base");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
    server.put("backend", "http://192.0.2.1/base");
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    let long = format!("http://192.0.2.66/base{}", "/a".repeat(200_000));
    for (number, value) in [
        "https://192.0.2.66/base",
        "http://192.0.2.66/other",
        "http://hunter2@192.0.2.66/base",
        "http://192.0.2.66:99999/base",
        "http://0.0.0.0/base",
        "192.0.2.66",
        "",
        long.get(..100_000).unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        server.put("backend", value);
        wait_until("refused", &discovery, |status| status.refused == number as u64 + 2).await;
        assert_eq!(crate::shown(&discovery.found().borrow()[&target]), ["192.0.2.1:80"], "{value}");
    }
    assert!(!format!("{:?}", discovery.status()).contains("hunter2"));
    server.put("backend", "http://192.0.2.2/base");
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_value_stays_while_etcd_is_away_and_no_change_is_missed() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut server = EtcdServer::start(directory.path());
    server.put("backend", "http://192.0.2.1/base");
    server.put("gone", "http://192.0.2.2/base");
    let discovery = Discovery::start(&settings(&server));
    let (target, gone) = (key("backend"), key("gone"));
    discovery.follow([target.clone(), gone.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    wait_for_addresses(&discovery, &gone, &["192.0.2.2:80"]).await;
    for round in 0..2 {
        server.kill();
        wait_until("away", &discovery, |status| !status.reachable).await;
        // Who comes now has the default, and is not waited for.
        let late = key("late");
        discovery.follow([target.clone(), gone.clone(), late.clone()]);
        assert!(discovery.settled(PATIENCE).await);
        wait_for_addresses(&discovery, &late, &["192.0.2.9:8080"]).await;
        let last = if round == 0 { "192.0.2.1:80" } else { "192.0.2.102:80" };
        assert_eq!(crate::shown(&discovery.found().borrow()[&target]), [last]);
        server = meanwhile(move || {
            server.restart();
            // Seen or not: only the last one counts, and the history is gone.
            server.put("backend", &format!("http://192.0.2.{}/base", 50 + round));
            server.put("backend", &format!("http://192.0.2.{}/base", 102 + round));
            server.delete("gone");
            server.compact();
            server
        })
        .await;
        wait_for_addresses(&discovery, &target, &[&format!("192.0.2.{}:80", 102 + round)]).await;
        wait_for_addresses(&discovery, &gone, &["192.0.2.9:8080"]).await;
        server.put("gone", "http://192.0.2.2/base");
        wait_for_addresses(&discovery, &gone, &["192.0.2.2:80"]).await;
        wait_until("back", &discovery, |status| status.reachable).await;
    }
    // Another etcd, whose revisions are behind.
    server = meanwhile(move || {
        server.restart_empty();
        server.put("backend", "http://192.0.2.200/base");
        server
    })
    .await;
    wait_for_addresses(&discovery, &target, &["192.0.2.200:80"]).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_compacted_under_a_watch_is_nothing_to_it() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = EtcdServer::start(directory.path());
    let discovery = Discovery::start(&settings(&server));
    let target = key("backend");
    discovery.follow([target.clone()]);
    for number in 1..6 {
        server.put("backend", &format!("http://192.0.2.{number}/base"));
        server.compact();
        wait_for_addresses(&discovery, &target, &[&format!("192.0.2.{number}:80")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_again_when_the_token_has_ended() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut server = EtcdServer::start_with(directory.path(), None, &["--auth-token-ttl=1"]);
    server.put("shop/backend", "http://192.0.2.1/base");
    server.enable_auth("hunter2", "shop/");
    let with = |credentials: Option<(&str, &str)>| {
        let mut settings = settings(&server);
        let owned = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        settings.etcd.as_mut().unwrap().credentials = owned;
        settings
    };
    let settings = with(Some(("gateway", "hunter2")));
    assert!(!format!("{settings:?}").contains("hunter2"));
    let discovery = Discovery::start(&settings);
    let (target, forbidden) = (key("shop/backend"), key("secret"));
    discovery.follow([target.clone(), forbidden.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    // A key that may not be read has its default, and costs the others nothing.
    wait_for_addresses(&discovery, &forbidden, &["192.0.2.9:8080"]).await;
    assert!(status(&discovery).failures > 0);
    // Whoever has another password, or none, learns nothing.
    for (credentials, reason) in [(Some(("gateway", "wrong")), "authentication failed"), (None, "user name is empty")] {
        let stranger = Discovery::start(&with(credentials));
        stranger.follow([target.clone()]);
        assert!(stranger.settled(PATIENCE).await);
        wait_for_addresses(&stranger, &target, &["192.0.2.9:8080"]).await;
        let said = status(&stranger).last_error.unwrap_or_default();
        assert!(said.contains(reason), "{said}");
    }
    // Tokens end after a second without use; watches go on, and new keys are read with another one.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.put("shop/backend", "http://192.0.2.2/base");
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
    server.put("shop/new", "http://192.0.2.3/base");
    let new = key("shop/new");
    discovery.follow([target.clone(), new.clone()]);
    wait_for_addresses(&discovery, &new, &["192.0.2.3:80"]).await;
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
    // One who need not log in is not kept from it.
    server.must(&["auth", "disable"]);
    let open = Discovery::start(&settings);
    open.follow([new.clone()]);
    wait_for_addresses(&open, &new, &["192.0.2.3:80"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_shown_and_asked_for() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let files = certificates(directory.path());
    let server = EtcdServer::start_with(directory.path(), Some(files.clone()), &[]);
    server.put("backend", "http://192.0.2.1/base");
    let target = key("backend");
    let with = |tls: Tls| {
        let mut settings = settings(&server);
        settings.etcd.as_mut().unwrap().tls = tls;
        Discovery::start(&settings)
    };
    let good = Tls { authorities: Some(files.authority.clone()), identity: Some(files.client.clone()) };
    let discovery = with(good.clone());
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    server.put("backend", "http://192.0.2.2/base");
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
    for tls in [
        // Of nobody that is trusted; of nobody; with a file that is not there.
        Tls { authorities: None, ..good.clone() },
        Tls { identity: None, ..good.clone() },
        Tls { authorities: Some("/nonexistent".into()), ..good.clone() },
    ] {
        let discovery = with(tls.clone());
        discovery.follow([target.clone()]);
        assert!(discovery.settled(PATIENCE).await);
        wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
        wait_until("refused", &discovery, |status| !status.reachable && status.last_success.is_none()).await;
    }
}

#[tokio::test]
async fn without_an_etcd_the_default_is_used_and_that_is_said() {
    let settings = Settings {
        dns: Dns { hosts_file: "/nonexistent".into(), resolv_conf: "/nonexistent".into(), ..Dns::default() },
        ..Settings::default()
    };
    let discovery = Discovery::start(&settings);
    let target = key("backend");
    discovery.follow([target.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
    let status = status(&discovery);
    assert!(!status.reachable && status.last_error.unwrap().contains("not configured"));
}

fn certificates(directory: &Path) -> Files {
    let write = |name: &str, text: String| -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        (write(&format!("{name}.pem"), certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
    };
    Files { server: issue("127.0.0.1"), client: issue("client"), authority: write("authority.pem", authority.pem()) }
}
