use super::super::tls::Store;
use super::super::users::Secret;
use super::super::{Config, Refused, Sources, resolve};
use super::*;

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file.to_owned())), ..Sources::default() })
}

fn enabled(file: &str) -> (BackendJwt, Vec<String>) {
    let (config, warnings) = resolved(&format!("[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n{file}")).unwrap();
    (config.backend_jwt.unwrap(), warnings.into_iter().map(|problem| problem.message).collect())
}

fn errors(file: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(file) else { panic!("{file} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.to_string()).collect()
}

fn store(path: &str, password: &str) -> Store {
    Store { path: path.into(), password: Secret::new(password.to_owned()), shipped: false }
}

#[test]
fn defaults_are_those_of_the_old_product() {
    let (jwt, warnings) = enabled("");
    assert_eq!(
        jwt,
        BackendJwt {
            settings: settings::BackendJwt {
                header: "x-jwt-assertion".into(),
                issuer: "wso2.org/products/am".into(),
                audiences: vec!["http://org.wso2.apimgt/gateway".into()],
                dialect: "http://wso2.org/claims".into(),
                restricted: vec![],
                lifetime_seconds: 900,
                reuse_seconds: 900,
            },
            algorithm: SigningAlgorithm::Rs256,
            key: None,
            published: None,
            capacity: 10_000,
            claim_retrieval: None,
        }
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(resolved("[jwtGeneratorConfig]\nissuer = 'x'").unwrap().0.backend_jwt, None);
}

#[test]
fn everything_can_be_chosen() {
    let (jwt, warnings) = enabled(
        "signingAlgorithm = 'SHA256withECDSA'\nissuer = 'us'\naudience = ['a', 'b']\nclaimDialect = 'urn:x/'\n\
         restrictedClaims = ['c', 'd']\ntokenExpiry = 60000\nprivateKeyPath = 'key.pem'\npublishedKeysPath = 'next.pem'\n\
         [jwtGeneratorConfig.jwtGeneratorCaching]\ntokenCacheExpiryTime = 30000\ntokenCacheCapacity = 5\n\
         [jwtConfig]\nheader = 'X-Backend'",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((jwt.algorithm, jwt.capacity), (SigningAlgorithm::Es256, 5));
    assert_eq!(jwt.key, Some(SigningKeyFile::Pem("/etc/gw/key.pem".into())));
    assert_eq!(jwt.published, Some("/etc/gw/next.pem".into()));
    let settings::BackendJwt { header, issuer, audiences, dialect, restricted, lifetime_seconds, reuse_seconds } =
        jwt.settings;
    assert_eq!((header.as_str(), issuer.as_str(), dialect.as_str()), ("x-backend", "us", "urn:x"));
    assert_eq!((audiences, restricted), (vec!["a".to_owned(), "b".into()], vec!["c".to_owned(), "d".into()]));
    assert_eq!((lifetime_seconds, reuse_seconds), (60, 30));
    let (jwt, _) = enabled("[jwtGeneratorConfig.jwtGeneratorCaching]\ntokenCacheEnable = false");
    assert_eq!((jwt.settings.reuse_seconds, jwt.capacity), (0, 0));
}

#[test]
fn keys_of_stores() {
    let entry = |store, alias: &str| Some(SigningKeyFile::Store(KeyEntry { store, alias: Some(alias.to_owned()) }));
    let listener = "[listenerConfig]\nkeyStorePath = '/own.p12'\nkeyStorePassword = 'one'";
    let (jwt, _) = enabled(&format!("privateKeyAlias = 'signer'\n{listener}"));
    assert_eq!(jwt.key, entry(store("/own.p12", "one"), "signer"));
    let (jwt, _) = enabled(&format!("privateKeyAlias = 'signer'\nkeyStorePath = '/jwt.p12'\n{listener}"));
    assert_eq!(jwt.key, entry(store("/jwt.p12", "one"), "signer"));
    // Nobody asked for the listener's key.
    assert_eq!(enabled(listener).0.key, None);
    let (jwt, warnings) = enabled("privateKeyAlias = 'ballerina'\ncertificateAlias = 'ballerina'");
    assert_eq!((jwt.key, warnings.len()), (None, 2));
    let problems = errors("[jwtGeneratorConfig]\njwtGeneratorEnabled = true\nprivateKeyAlias = 'signer'");
    assert!(problems[0].contains("names a key of a store, and there is none"), "{problems:?}");
}

#[test]
fn what_would_let_more_through_is_an_error() {
    for (file, said) in [
        ("signingAlgorithm = 'NONE'", "whoever reaches a backend could say who calls"),
        ("signingAlgorithm = 'HS256'", "must be one of"),
        ("generatorImpl = 'com.example.Mine'", "`restrictedClaims` says"),
        ("claimRetrieval.retrieverImpl = 'com.example.Mine'", "names a Java class, which is not run"),
        ("issuer = ''", "must not be empty"),
        ("issuer = 'https://localhost:9095/apikey'", "nor the issuer of API keys"),
        ("tokenExpiry = 1", "must be from 10000"),
        ("[keyManager]\nremoteUserClaimRetrievalEnabled = true", "configuration.serverUrl` is missing"),
    ] {
        let problems = errors(&format!("[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n{file}"));
        assert!(problems.iter().any(|problem| problem.contains(said)), "{file}: {problems:?}");
    }
}

#[test]
fn identity_headers_are_removed_from_requests() {
    let (config, _) = resolved("[identityHeaders]\nuser = 'X-User'\nscopes = 'x-scopes'").unwrap();
    let header = |fact, name: &str| settings::IdentityHeader { fact, name: name.to_owned() };
    assert_eq!(config.identity_headers, [header(Fact::User, "x-user"), header(Fact::Scopes, "x-scopes")]);
    assert_eq!(config.credentials.strip, ["x-jwt-assertion", "x-user", "x-scopes"]);
    for name in [
        "authorization",
        "X-JWT-Assertion",
        "x_jwt_assertion",
        "cookie",
        "content-length",
        "host",
        "x-microgw-user",
        "x-envoy-user",
        "a b",
        "transfer-encoding",
    ] {
        assert_eq!(errors(&format!("[identityHeaders]\nuser = '{name}'")).len(), 1, "{name}");
    }
    assert_eq!(errors("[identityHeaders]\nuser = 'x-who'\nclient = 'X_Who'").len(), 1);
}
