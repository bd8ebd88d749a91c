use super::*;
use microgw_proto::contracts::v1::Mode;

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&sources(file))
}

fn sources(file: &str) -> Sources {
    Sources {
        file: Some(("/etc/gw/micro-gw.conf".into(), file.to_owned())),
        data_dir: "/data".into(),
        ..Sources::default()
    }
}

fn errors(file: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(file) else { panic!("{file} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
}

fn material() -> Material {
    let identity = settings::TlsIdentity { certificate_chain: "chain".to_owned(), private_key: "hunter2".to_owned() };
    Material {
        backend_identity: Some(identity.clone()),
        identity,
        certificates: Vec::new(),
        backend_trust: None,
        tls_profiles: Vec::new(),
        client_certificates: settings::ClientCertificates::default(),
    }
}

#[test]
fn the_defaults() {
    let (config, warnings) = resolve(&Sources { data_dir: "/data".into(), ..Sources::default() }).unwrap();
    assert_eq!(warnings, []);
    let issuer = "https://localhost:9095/apikey".to_owned();
    assert_eq!(
        config,
        Config {
            listeners: Listeners {
                kept_headers: Vec::new(),
                host: [127, 0, 0, 1].into(),
                http_port: 9090,
                https_port: 9095,
                max_header_size: 8192,
                max_uri_length: Some(4096),
                max_body_size: None,
                http2: true,
                connections: settings::Connections::default(),
                balanced: settings::Balanced::default(),
                https_redirect: None,
                tls: settings::TlsRange::default(),
                identity: None,
                identity_named: "`listenerConfig`".to_owned(),
                certificates: Vec::new(),
            },
            credentials: settings::Credentials {
                header: "authorization".to_owned(),
                remove: true,
                strip: vec!["x-jwt-assertion".to_owned()],
            },
            issuers: Vec::new(),
            introspection: None,
            oauth: None,
            public_url: None,
            revocation: None,
            dpop: settings::Dpop { origins: Vec::new(), max_age_seconds: 60, skew_seconds: 5 },
            proofs: 500_000,
            backend_jwt: None,
            identity_headers: Vec::new(),
            subscriptions: None,
            discovery: microgw_discovery::Settings::default(),
            limits: Limits { room: 100_000, headers: microgw_faults::RateLimitHeaders::Standard, bandwidth: false },
            bodies: settings::Bodies { max_request: 1 << 20, max_response: 1 << 20 },
            validation: settings::Validation { request: Mode::Off, response: Mode::Off },
            compression: None,
            api_keys: settings::ApiKeys {
                issuer: issuer.clone(),
                skew_seconds: 5,
                allow_unlimited: false,
                require_allowed_apis: false,
            },
            api_key_issuer: Some(ApiKeyIssuer {
                issuer,
                validity: Some(Duration::from_hours(30 * 24)),
                apis: Vec::new(),
            }),
            api_key_file: None,
            api_key_verifier: None,
            key_store: None,
            key_store_stale_after: Some(Duration::from_secs(5)),
            trust: Trust::default(),
            client_certificates: ClientCertificates {
                header: "x-wso2-client-certificate".to_owned(),
                ..ClientCertificates::default()
            },
            backends: settings::Backends { max_response_header: Some(61_440), ..settings::Backends::default() },
            backend_identity: None,
            endpoints: Vec::new(),
            endpoint_secrets: settings::Secrets::default(),
            tls_profiles: Vec::new(),
            services_proxy: None,
            headers: ServerHeaders::default(),
            insecure: Vec::new(),
            users: Vec::new(),
            token_cache: Some(TokenCache { expiry: Duration::from_mins(15), capacity: 10_000 }),
            body_room: 256 << 20,
            response_cache: 64 << 20,
            response_wait: Duration::from_secs(5),
            admin: ([127, 0, 0, 1], 9000).into(),
            envoy: Envoy {
                path: None,
                concurrency: None,
                log_level: LogLevel::Warning,
                overload: Overload { max_connections: 50_000, max_heap: None },
                drain: Duration::from_secs(5),
            },
            gateway: Gateway {
                data_dir: "/data".into(),
                socket_dir: None,
                publish_timeout: Duration::from_secs(10),
                trusted_hops: 0,
                probe: Vec::new(),
            },
            redis: None,
            interceptors: Vec::new(),
            shared_limits: None,
            remote: Remote { host: None, xds_port: 9191, authz_port: 9192, issuer_port: 9193, tls: None },
            log_level: LevelFilter::INFO,
            log_format: LogFormat::Human,
            access_log: None,
            tracing: None,
        }
    );
}

#[test]
fn everything_at_once() {
    let (config, warnings) = resolved(
        r#"
        [listenerConfig]
        host = "0.0.0.0"
        httpPort = 0
        httpsPort = 0
        certificatePath = "tls/chain.pem"
        privateKeyPath = "/tls/key.pem"
        maxHeaderSize = 16384
        maxEntityBodySize = 1
        [authConfig]
        authorizationHeader = "X-Token"
        removeAuthHeaderFromOutMessage = false
        [jwtConfig]
        header = "X-Backend"
        [server]
        timestampSkew = 1999
        [[jwtTokenConfig]]
        issuer = "https://idp"
        certificatePath = "idp.pem"
        [apikey.tokenConfigs]
        issuer = "keys"
        validateAllowedAPIs = true
        [apikey.issuer.tokenConfig]
        issuer = "keys"
        validityTime = -1
        privateKeyPath = "apikey.pem"
        [[apikey.issuer.api]]
        name = "Petstore"
        versions = "1.0.0, v1"
        [[apikey.issuer.api]]
        name = "Other"
        [b7a.users.jo]
        password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
        scopes = "a,b"
        [b7a.log]
        level = "debug"
        [b7a.http.accesslog]
        console = true
        [http2]
        enable = false
        [caching]
        enabled = false
        [adminConfig]
        address = "localhost:0"
        [envoyConfig]
        concurrency = 2
        logLevel = "Info"
        maxHeapSize = 1000000
        [gateway]
        dataDir = "data"
        publishTimeout = 500
        trustedHops = 1
        probe = "https://localhost:9095/health"
        "#,
    )
    .unwrap();
    assert_eq!(warnings, []);
    let settings = config.settings(material());
    assert_eq!(settings.listeners.host, IpAddr::from([0, 0, 0, 0]));
    assert_eq!((settings.listeners.max_header_size, settings.listeners.max_body_size), (16384, Some(1)));
    assert_eq!((settings.listeners.trusted_hops, settings.listeners.http2), (1, false));
    assert_eq!(
        settings.credentials,
        settings::Credentials { header: "x-token".to_owned(), remove: false, strip: vec!["x-backend".to_owned()] }
    );
    assert_eq!((settings.issuers[0].skew_seconds, settings.api_keys.skew_seconds), (1, 1));
    assert!(settings.api_keys.allow_unlimited && settings.api_keys.require_allowed_apis && settings.api_key_issuer);
    assert_eq!(settings.access_log, Some(settings::AccessLog { path: "/dev/stdout".to_owned(), caller: true }));
    let granted = |name: &str, versions: &[&str]| GrantedApi {
        name: name.to_owned(),
        versions: versions.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        config.api_key_issuer,
        Some(ApiKeyIssuer {
            issuer: "keys".to_owned(),
            validity: None,
            apis: vec![granted("Petstore", &["1.0.0", "v1"]), granted("Other", &["*"])],
        })
    );
    assert_eq!(
        config.listeners.identity,
        Some(IdentityFiles::Pem {
            certificate_chain: "/etc/gw/tls/chain.pem".into(),
            private_key: "/tls/key.pem".into()
        })
    );
    assert_eq!(config.users[0].scopes, ["a", "b"]);
    assert_eq!((config.token_cache, config.admin), (None, ([127, 0, 0, 1], 0).into()));
    assert_eq!((config.envoy.concurrency, config.envoy.log_level), (NonZeroU32::new(2), LogLevel::Info));
    assert_eq!(config.envoy.overload.max_heap, Some(1_000_000));
    assert_eq!(config.gateway.data_dir, Path::new("/etc/gw/data"));
    assert_eq!((config.log_level, config.gateway.publish_timeout), (LevelFilter::DEBUG, Duration::from_millis(500)));
    assert!(!format!("{config:?}{settings:?}").contains("aGFzaGhhc2") && !format!("{settings:?}").contains("hunter2"));
}

#[test]
fn precedence() {
    let mut sources = sources("[listenerConfig]\nhttpPort = 1\nhttpsPort = 11\nhost = '::1'");
    sources.environment = vec![
        ("listenerConfig_httpPort".to_owned(), "2".to_owned()),
        ("listenerConfig_httpsPort".to_owned(), "12".to_owned()),
        ("b7a.users.admin.password".to_owned(), "d033e22ae348aeb5660fc2140aec35850c4da997".to_owned()),
    ];
    sources.overrides = vec!["listenerConfig.httpPort=3".to_owned(), "listenerConfig.httpPort=4".to_owned()];
    let (config, warnings) = resolve(&sources).unwrap();
    assert_eq!((config.listeners.http_port, config.listeners.https_port), (4, 12));
    assert_eq!(config.listeners.host, "::1".parse::<IpAddr>().unwrap());
    assert_eq!(config.users[0].name, "admin");
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::Insecure]);
}

#[test]
fn the_single_issuer_of_old_has_its_own_skew() {
    let skew = |file: &str| resolved(file).unwrap().0.issuers[0].settings.skew_seconds;
    let single = "[jwtTokenConfig]\nissuer = 'a'\njwksURL = 'https://a'\n";
    assert_eq!(skew(single), 60);
    assert_eq!(skew(&format!("{single}[server]\ntimestampSkew = 7000")), 7);
    assert_eq!(skew("[[jwtTokenConfig]]\nissuer = 'a'\njwksURL = 'https://a'"), 5);
}

#[test]
fn contradictions() {
    let issuer = "[[jwtTokenConfig]]\nissuer = 'https://localhost:9095/apikey'\njwksURL = 'https://a'\n";
    for (file, expected) in [
        (
            issuer,
            &[
                "`apikey.tokenConfigs.issuer` is an issuer of `[[jwtTokenConfig]]` too: API keys need one of their own",
                "`apikey.issuer.tokenConfig.issuer` is an issuer of `[[jwtTokenConfig]]` too: API keys need one of their own",
            ][..],
        ),
        ("[apikey.tokenConfigs]\nissuer = ''", &["`apikey.tokenConfigs.issuer` must not be empty"]),
        (
            "[listenerConfig]\ncertificatePath = 'a'",
            &["`listenerConfig.certificatePath` needs `listenerConfig.privateKeyPath`"],
        ),
        (
            "[listenerConfig]\nprivateKeyPath = 'a'",
            &["`listenerConfig.privateKeyPath` needs `listenerConfig.certificatePath`"],
        ),
        (
            "[listenerConfig]\nhttpPort = 9095",
            &["`listenerConfig.httpPort` and `listenerConfig.httpsPort` are both 9095"],
        ),
        (
            "[listenerConfig]\nhost = 'gw.example'",
            &["`listenerConfig.host` is `gw.example`, and must be an IP address or `localhost`"],
        ),
        (
            "[adminConfig]\naddress = '9000'",
            &["`adminConfig.address` is `9000`, and must be an IP address and a port, as in `127.0.0.1:9000`"],
        ),
        (
            "[authConfig]\nauthorizationHeader = 'x-jwt-assertion'",
            &["`authConfig.authorizationHeader` is `x-jwt-assertion` too, which is removed from requests"],
        ),
        (
            "[apikey.issuer.tokenConfig]\nvalidityTime = 0",
            &["`apikey.issuer.tokenConfig.validityTime` is 0: every key would be born expired"],
        ),
        (
            "[[apikey.issuer.api]]\nversions = '1'",
            &["`apikey.issuer.api[0]` must have a `name`, and `versions` that are not empty"],
        ),
        (
            "[[apikey.issuer.api]]\nname = 'a'\nversions = []",
            &["`apikey.issuer.api[0]` must have a `name`, and `versions` that are not empty"],
        ),
        ("[b7a.users.jo]\nscopes = 'a'", &["`b7a.users.jo.password` is not the hash of a password"]),
        ("[b7a.users.jo]\npassword = 'jo'", &["`b7a.users.jo.password` is not the hash of a password"]),
        (
            "[gateway]\nprobe = ['/health']",
            &["`gateway.probe` has `/health` in it, which is no `http:` or `https:` URL"],
        ),
    ] {
        assert_eq!(errors(file), expected, "{file}");
    }
}

#[test]
fn header_names() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "X-MicroGW-Listener",
        "x-forwarded-for",
        "x-envoy-retry-on",
        ":path",
        "a b",
        "a\\tb",
        "é",
        "",
    ] {
        let file = format!("[authConfig]\nauthorizationHeader = \"{name}\"");
        assert_eq!(errors(&file).len(), 1, "{name}");
    }
}

#[test]
fn a_user_has_no_colon() {
    let file = "[b7a.users.\"a:b\"]\npassword = 'd033e22ae348aeb5660fc2140aec35850c4da997'";
    assert_eq!(errors(file), ["user \"a:b\" has a colon or a control character in its name"]);
}

#[test]
fn all_problems_in_one_run() {
    let file = "[listenerConfig]\nhttpPort = 'x'\nhttpsport = 1\n[throttlingConfig]\nenabledGlobalTMEventPublishing = true\n[keyManager]\ntimestampSkew = 1";
    let Err(refused) = resolved(file) else { panic!("accepted") };
    assert_eq!(
        refused.to_string(),
        "error[MGW-0904]: `listenerConfig.httpPort` must be a whole number, not text\n  \
           --> /etc/gw/micro-gw.conf:2:12\n\n\
         error[MGW-0903]: `listenerConfig.httpsport` is not known\n  \
           --> /etc/gw/micro-gw.conf:3:1\n  help: did you mean `listenerConfig.httpsPort`?\n\n\
         error[MGW-0905]: `throttlingConfig.enabledGlobalTMEventPublishing` is declared and not enforced: this version does not have it\n  \
           --> /etc/gw/micro-gw.conf:5:34\n  help: remove it, or let it be ignored with `--allow-unenforced`\n\n\
         warning[MGW-0906]: `keyManager.timestampSkew` has no effect\n  \
           --> /etc/gw/micro-gw.conf:7:1\n  help: `server.timestampSkew` is the one that counts"
    );
}

#[test]
fn validation_is_for_all_that_say_nothing() {
    let read = |text: &str| {
        let settings::Validation { request, response } =
            resolved(&format!("[validationConfig]\n{text}")).unwrap().0.validation;
        (request, response)
    };
    assert_eq!(read(""), (Mode::Off, Mode::Off));
    assert_eq!(read("enableRequestValidation = true"), (Mode::Enforce, Mode::Off));
    assert_eq!(read("enableResponseValidation = true\nmode = 'report'"), (Mode::Off, Mode::Report));
    assert_eq!(read("mode = 'report'"), (Mode::Off, Mode::Off));
    assert!(resolved("[validationConfig]\nmode = 'off'").is_err());
}

#[test]
fn consent_lets_it_be_ignored() {
    let mut sources = sources("[throttlingConfig]\nenabledGlobalTMEventPublishing = true");
    assert!(resolve(&sources).is_err());
    sources.allow_unenforced = true;
    let (_, warnings) = resolve(&sources).unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::NotEnforced]);
}

#[test]
fn the_admin_interface_counts_as_listening() {
    let needs_password = |file: &str| resolved(file).unwrap().0.users(|| "random".to_owned()).generated.is_some();
    assert!(!needs_password(""));
    assert!(needs_password("[listenerConfig]\nhost = '0.0.0.0'"));
    assert!(needs_password("[adminConfig]\naddress = '0.0.0.0:9000'"));
}

#[test]
fn the_shipped_password_stays_on_this_host() {
    let user = "[b7a.users.admin]\npassword = 'd033e22ae348aeb5660fc2140aec35850c4da997'\n";
    assert!(resolved(user).is_ok());
    let expected = "`b7a.users.admin.password` is one that everybody knows, and the gateway listens beyond this host";
    for exposed in ["[listenerConfig]\nhost = '0.0.0.0'", "[adminConfig]\naddress = '[::]:9000'"] {
        assert_eq!(errors(&format!("{user}{exposed}")), [expected], "{exposed}");
    }
}
