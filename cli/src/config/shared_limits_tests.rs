use super::*;
use crate::config::{Config, Refused, Sources, resolve};

fn resolved(text: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let file = Some(("/etc/gw/micro-gw.conf".into(), text.to_owned()));
    resolve(&Sources { file, data_dir: "/data".into(), ..Sources::default() })
}

fn shared(text: &str) -> SharedLimits {
    let (config, warnings) = resolved(text).unwrap();
    assert_eq!(warnings, [], "{text}");
    config.shared_limits.unwrap()
}

fn problem(text: &str) -> String {
    match resolved(&format!("[throttlingConfig.redis]\n{text}")) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn where_it_is() {
    assert_eq!(resolved("").unwrap().0.shared_limits, None);
    let own = shared(
        "[throttlingConfig.redis]\nurl = 'rediss://cache.example:7000/3'\nusername = 'gw'\npassword = 'sesame'\n\
         timeout = 20\nkeyPrefix = 'shop'\ncaPath = 'ca.pem'\ncertificatePath = 'a.pem'\nprivateKeyPath = '/b.key'",
    );
    let login = Login { user: Some("gw".into()), password: Some("sesame".into()) };
    let expected = Place {
        servers: Servers::One(("cache.example".into(), 7000)),
        tls: true,
        database: 3,
        login: login.clone(),
        prefix: "shop".into(),
        timeout: Duration::from_millis(20),
    };
    assert_eq!(own.place, expected);
    assert_eq!(own.authorities, Some("/etc/gw/ca.pem".into()));
    assert_eq!(own.identity, Some(("/etc/gw/a.pem".into(), "/b.key".into())));
    assert!(!format!("{own:?}").contains("sesame"));

    let sentinels = shared(
        "[throttlingConfig.redis]\ndatabase = 2\npassword = 'one'\n[throttlingConfig.redis.sentinel]\nmaster = 'mymaster'\n\
         nodes = ['redis://127.0.0.1', 'redis://localhost:7001']\npassword = 'other'",
    );
    let Servers::Sentinels { master, addresses, login } = sentinels.place.servers else { panic!("others") };
    assert_eq!((&*master, sentinels.place.database), ("mymaster", 2));
    assert_eq!(addresses, [("127.0.0.1".to_owned(), 26_379), ("localhost".to_owned(), 7001)]);
    assert_eq!((login.password.as_deref(), sentinels.place.login.password.as_deref()), (Some("other"), Some("one")));

    let cluster = shared("[throttlingConfig.redis.cluster]\nnodes = ['rediss://a', 'rediss://b:7001']");
    assert_eq!(cluster.place.servers, Servers::Cluster(vec![("a".into(), 6379), ("b".into(), 7001)]));
    assert!(cluster.place.tls);
}

#[test]
fn without_one_of_its_own_it_is_that_of_redis() {
    let main = "[redis]\nurl = 'rediss://cache/1'\npassword = 'sesame'\nkeyPrefix = 'shop'\n";
    let inherited = shared(main);
    assert_eq!(inherited.place.servers, Servers::One(("cache".into(), 6379)));
    assert_eq!((inherited.place.database, &*inherited.place.prefix), (1, "shop"));
    assert_eq!(inherited.place.login.password.as_deref(), Some("sesame"));
    assert_eq!(inherited.place.timeout, Duration::from_millis(40));
    let patient = shared(&format!("{main}[throttlingConfig.redis]\ntimeout = 30"));
    assert_eq!(patient.place.timeout, Duration::from_millis(30));
    let own = shared(&format!("{main}[throttlingConfig.redis]\nurl = 'rediss://other'"));
    assert_eq!((own.place.login, &*own.place.prefix), (Login::default(), "microgw"), "nothing of it is taken over");
}

#[test]
fn what_it_cannot_be() {
    for (text, reason) in [
        ("url = 'redis://cache.example'", "to another host"),
        ("url = 'redis://cache.example'", "`throttlingConfig.redis.allowInsecure = true`"),
        ("url = 'rediss://gw:sesame@cache'", "they are `throttlingConfig.redis.username`"),
        ("url = 'rediss://cache'\ncluster.nodes = ['rediss://a']", "two places"),
        ("url = 'rediss://cache/1'\ndatabase = 1", "said twice"),
        ("url = 'rediss://cache'\nsentinel.master = 'm'", "has no effect with `throttlingConfig.redis.url`"),
        ("cluster.nodes = ['rediss://a/1']", "a cluster has one"),
        ("cluster.nodes = ['rediss://a', 'redis://localhost']", "with TLS and without"),
        ("sentinel.nodes = ['rediss://a']", "needs `throttlingConfig.redis.sentinel.master`"),
        ("url = 'rediss://cache'\nusername = 'sesame'", "needs `throttlingConfig.redis.password`"),
        ("url = 'rediss://cache'\nkeyPrefix = 'a{b}'", "letters, digits"),
        ("url = 'rediss://cache'\ncertificatePath = 'a'", "needs `throttlingConfig.redis.privateKeyPath`"),
        ("url = 'redis://localhost'\ncaPath = 'a'", "no effect without TLS"),
        ("url = 'redis://localhost'\ntimeout = 2000", "must be from 5 to 1000"),
        ("password = 'sesame'", "no effect without"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(reason) && !problem.contains("sesame"), "{text}: {problem}");
    }
}
