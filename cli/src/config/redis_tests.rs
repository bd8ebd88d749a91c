use super::*;
use crate::config::{Config, Refused, Sources, resolve};

fn resolved(text: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let file = Some(("/etc/gw/micro-gw.conf".into(), text.to_owned()));
    resolve(&Sources { file, data_dir: "/data".into(), ..Sources::default() })
}

fn problem(redis: &str) -> String {
    match resolved(&format!("[redis]\n{redis}")) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn where_it_is() {
    assert_eq!(resolved("").unwrap().0.redis, None);
    let text = "[redis]\nurl = \"rediss://cache.example:7000/3\"\nusername = \"gw\"\npassword = \"sesame\"\n\
                timeout = 500\nkeyPrefix = \"shop\"\n[apikey.store]\nredis = true";
    let (config, warnings) = resolved(text).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        config.redis,
        Some(Redis {
            host: "cache.example".into(),
            port: 7000,
            tls: true,
            database: 3,
            user: Some(Secret::new("gw".into())),
            password: Some(Secret::new("sesame".into())),
            timeout: Duration::from_millis(500),
            prefix: "shop".into(),
        })
    );
    let local = resolved("[redis]\nurl = \"redis://[::1]\"").unwrap().0.redis.unwrap();
    assert_eq!(
        (&*local.host, local.port, local.tls, local.database, &*local.prefix),
        ("::1", 6379, false, 0, "microgw")
    );
    let allowed = resolved("[redis]\nurl = \"redis://cache\"\nallowInsecure = true").unwrap().0.redis.unwrap();
    assert!(!allowed.tls);
}

#[test]
fn what_it_cannot_be() {
    for (redis, reason) in [
        ("url = \"redis://cache.example\"", "to another host"),
        ("url = \"http://127.0.0.1\"", "must be `rediss:"),
        ("url = \"rediss://gw:sesame@cache\"", "user name or password"),
        ("url = \"rediss://cache/x\"", "number of a database"),
        ("url = \"rediss://cache/0?x=1\"", "more in it"),
        ("url = \"sesame\"", "not a URL"),
        ("url = \"rediss:///0\"", "names no host"),
        ("url = \"redis://localhost\"\nusername = \"sesame\"", "needs `redis.password`"),
        ("url = \"redis://localhost\"\nkeyPrefix = \"a b\"", "letters, digits"),
        ("password = \"sesame\"", "no effect without `redis.url`"),
    ] {
        let problem = problem(redis);
        assert!(problem.contains(reason) && !problem.contains("sesame"), "{redis}: {problem}");
    }
}
