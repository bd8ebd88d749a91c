use super::*;
use crate::config::{Config, Refused, Sources, resolve};

fn resolved(text: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let file = Some(("/etc/gw/micro-gw.conf".into(), text.to_owned()));
    resolve(&Sources { file, data_dir: "/data".into(), ..Sources::default() })
}

fn settings(text: &str) -> Settings {
    let (config, warnings) = resolved(text).unwrap_or_else(|refused| panic!("{text}: {refused}"));
    assert_eq!(warnings, [], "{text}");
    config.discovery
}

fn problem(text: &str) -> String {
    match resolved(text) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn without_a_section_the_system_is_asked_and_nobody_else() {
    assert_eq!(settings(""), Settings::default());
}

#[test]
fn names() {
    let text = "[discovery]\nnameservers = ['192.0.2.53', '[2001:db8::53]:5353']\naddressFamily = 'both'\n\
                minTtl = 200\nmaxTtl = 5000\nkeepMissing = 0\ntimeout = 500";
    let dns = settings(text).dns;
    assert_eq!(
        dns.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.53:53", "[2001:db8::53]:5353"]
    );
    assert_eq!((dns.family, dns.keep_missing), (Family::Both, Duration::ZERO));
    assert_eq!((dns.min_ttl, dns.max_ttl), (Duration::from_millis(200), Duration::from_secs(5)));
    assert!(problem("[discovery]\nnameservers = ['dns.example']").contains("no IP address"));
    assert!(problem("[discovery]\nminTtl = 5000\nmaxTtl = 4000").contains("is more than"));
}

#[test]
fn etcd_by_its_old_names_and_by_new_ones() {
    let old = "etcdurl = 'http://127.0.0.1:2379'\netcdusername = 'gw'\netcdpassword = 'hunter2'";
    let new = "[discovery.etcd]\nurls = ['http://127.0.0.1:2379']\nusername = 'gw'\npassword = 'hunter2'";
    for text in [old, new] {
        let etcd = settings(text).etcd.unwrap();
        assert_eq!(etcd.urls, ["http://127.0.0.1:2379"]);
        assert_eq!(etcd.credentials, Some(("gw".to_owned(), "hunter2".to_owned())));
        assert!(!format!("{:?}", settings(text)).contains("hunter2"));
    }
    let several = settings("[discovery.etcd]\nurls = ['https://a.example:2379', 'https://b.example:2379']");
    assert_eq!(several.etcd.unwrap().urls.len(), 2);
    assert!(problem(&format!("{old}\n{new}")).contains("both say"));
    let plain = "etcdurl = 'http://etcd.example:2379'";
    assert!(problem(plain).contains("allowInsecure = true"), "{}", problem(plain));
    assert!(settings(&format!("{plain}\n[discovery.etcd]\nallowInsecure = true")).etcd.is_some());
    // What has no meaning any more is said to have none.
    let polled = problem("etcdurl = 'http://127.0.0.1:2379'\netcdtimer = 1000\netcdbasepath = '/v3beta'");
    assert!(polled.contains("watched") && polled.contains("gRPC"), "{polled}");
}

#[test]
fn consul_and_what_is_wrong() {
    let text = "[discovery.consul]\nurl = 'https://consul.example:8501/'\ntoken = 'hunter2'\ndatacenter = 'dc1'";
    let consul = settings(text).consul.unwrap();
    assert_eq!((consul.url.as_str(), consul.datacenter.as_deref()), ("https://consul.example:8501", Some("dc1")));
    assert!(!format!("{consul:?}").contains("hunter2"));
    for (text, expected) in [
        ("[discovery.consul]\ntoken = 'hunter2'", "no effect without `discovery.consul.url`"),
        ("[discovery.consul]\nurl = 'http://consul.example:8500'", "allowInsecure"),
        ("[discovery.consul]\nurl = 'http://me:hunter2@127.0.0.1'", "user name or password"),
        ("[discovery.consul]\nurl = 'http://127.0.0.1/consul'", "more in it"),
        ("[discovery.consul]\nurl = 'ftp://127.0.0.1'", "no `https:`"),
        ("[discovery.consul]\nurl = 'http://127.0.0.1'\ntoken = 'hunter2\u{e9}'", "no token"),
        ("[discovery.consul]\nurl = 'http://127.0.0.1'\ncaPath = '/nonexistent'", "cannot read"),
        ("[discovery.etcd]\npassword = 'hunter2'", "no effect without `discovery.etcd.urls`"),
        ("[discovery.etcd]\nurls = []", "names no server of etcd"),
        ("etcdpassword = 'hunter2'", "no effect without `discovery.etcd.urls`"),
        ("[discovery.etcd]\nurls = ['http://127.0.0.1']\npassword = 'hunter2'", "only one of them"),
        ("[discovery.etcd]\nurls = ['https://127.0.0.1']\ncertificatePath = '/nonexistent'", "only of use together"),
        ("etcdurl = 'http://me:hunter2@127.0.0.1'", "user name or password"),
    ] {
        let said = problem(text);
        assert!(said.contains(expected) && !said.contains("hunter2"), "{text}: {said}");
    }
}
