use super::super::{Config, Refused, Sources, resolve};
use super::*;

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file.to_owned())), ..Sources::default() })
}

fn config(file: &str) -> Config {
    let (config, warnings) = resolved(file).unwrap();
    assert_eq!(warnings, [], "{file}");
    config
}

fn warnings(file: &str) -> Vec<String> {
    resolved(file).unwrap().1.into_iter().map(|problem| problem.message).collect()
}

fn errors(file: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(file) else { panic!("{file} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
}

fn own(path: &str, password: &str) -> Store {
    Store { path: path.into(), password: Secret::new(password.to_owned()), shipped: false }
}

#[test]
fn stores_and_their_passwords() {
    let file = "[listenerConfig]\nkeyStorePath = 'own.p12'\nkeyStorePassword = 'one'\ntrustStorePath = '/trust.p12'\n\
                trustStorePassword = 'two'\ncertificateAlias = 'gw'\n\
                [httpClients.sslConfig]\ntrustStorePath = 'backends.pem'\n\
                [apikey.tokenConfigs]\ncertificateAlias = 'old'\n\
                [apikey.issuer.tokenConfig]\nkeyStorePath = 'keys.p12'\ncertificateAlias = 'signer'\n\
                [[jwtTokenConfig]]\nissuer = 'i'\ncertificateAlias = 'apim'";
    let config = config(file);
    let entry = |store, alias: &str| KeyEntry { store, alias: Some(alias.to_owned()) };
    assert_eq!(config.listeners.identity, Some(IdentityFiles::Store(entry(own("/etc/gw/own.p12", "one"), "gw"))));
    assert_eq!(config.trust.services, Some(own("/trust.p12", "two")));
    assert_eq!(config.trust.backends, Some(own("/etc/gw/backends.pem", "two")));
    assert_eq!(config.api_key_file, Some(SigningKeyFile::Store(entry(own("/etc/gw/keys.p12", "one"), "signer"))));
    assert_eq!(config.api_key_verifier, Some(VerifyingKey::Alias("old".to_owned())));
    assert_eq!(config.issuers[0].keys, super::super::KeySource::Alias("apim".to_owned()));
    assert!(!format!("{config:?}").contains("\"one\""));
}

#[test]
fn the_password_that_everybody_has() {
    let config = config("[listenerConfig]\nkeyStorePath = '/own.p12'\ntrustStorePath = '/trust.p12'");
    let Some(IdentityFiles::Store(entry)) = config.listeners.identity else { panic!("no store") };
    assert_eq!(entry, KeyEntry { store: own("/own.p12", "ballerina"), alias: None });
    assert_eq!(config.trust.backends, Some(own("/trust.p12", "ballerina")), "one store for all");
    assert_eq!((config.api_key_file, config.api_key_verifier), (None, None));
}

#[test]
fn what_is_shipped_is_replaced_by_our_own() {
    let home = "${mgw-runtime.home}/runtime/bre/security";
    let file = format!(
        "[listenerConfig]\nkeyStorePath = '{home}/ballerinaKeystore.p12'\ntrustStorePath = '{home}/ballerinaTruststore.p12'\n\
         [apikey.tokenConfigs]\ncertificateAlias = 'ballerina'\n\
         [apikey.issuer.tokenConfig]\nkeyStorePath = '{home}/ballerinaKeystore.p12'\ncertificateAlias = 'ballerina'"
    );
    let (config, _) = resolved(&file).unwrap();
    assert_eq!((config.listeners.identity, config.trust), (None, Trust::default()));
    assert_eq!((config.api_key_file, config.api_key_verifier), (None, None));
    assert_eq!(warnings(&file).len(), 5);
    let shipped = config_of_store("/old/ballerinaKeystore.p12");
    assert!(shipped.shipped, "it may not be there");
    let other = errors(&format!("[listenerConfig]\nkeyStorePath = '{home}/own.p12'"));
    assert_eq!(other, ["`listenerConfig.keyStorePath` has `${mgw-runtime.home}` in it, which nothing stands for here"]);
}

fn config_of_store(path: &str) -> Store {
    let identity = config(&format!("[listenerConfig]\nkeyStorePath = '{path}'")).listeners.identity;
    let Some(IdentityFiles::Store(entry)) = identity else { panic!("no store") };
    entry.store
}

#[test]
fn what_makes_another_needless() {
    for (file, path, other) in [
        (
            "[listenerConfig]\nkeyStorePath = 'own.p12'\ncertificatePath = 'c'\nprivateKeyPath = 'k'",
            "listenerConfig.keyStorePath",
            "listenerConfig.certificatePath",
        ),
        (
            "[apikey.issuer.tokenConfig]\nkeyStorePath = 'own.p12'\nprivateKeyPath = 'k'",
            "apikey.issuer.tokenConfig.keyStorePath",
            "apikey.issuer.tokenConfig.privateKeyPath",
        ),
        (
            "[httpClients.sslConfig]\ncertificateAlias = 'a'\ncertificatePath = 'c'\nprivateKeyPath = 'k'",
            "httpClients.sslConfig.certificateAlias",
            "httpClients.sslConfig.certificatePath",
        ),
        (
            "[apikey.issuer.tokenConfig]\ncertificateAlias = 'a'\nprivateKeyPath = 'k'",
            "apikey.issuer.tokenConfig.certificateAlias",
            "apikey.issuer.tokenConfig.privateKeyPath",
        ),
        (
            "[[jwtTokenConfig]]\nissuer = 'i'\ncertificateAlias = 'a'\njwksURL = 'https://a/jwks'",
            "jwtTokenConfig[0].certificateAlias",
            "jwtTokenConfig[0].jwksURL",
        ),
        (
            "[[jwtTokenConfig]]\nissuer = 'i'\ncertificateAlias = 'a'\ncertificatePath = 'c'",
            "jwtTokenConfig[0].certificateAlias",
            "jwtTokenConfig[0].certificatePath",
        ),
        (
            "[apikey.tokenConfigs]\ncertificateAlias = 'a'\ncertificatePath = 'c'",
            "apikey.tokenConfigs.certificateAlias",
            "apikey.tokenConfigs.certificatePath",
        ),
    ] {
        assert_eq!(warnings(file), [format!("`{path}` has no effect: `{other}` is given too")], "{file}");
    }
}

#[test]
fn what_belongs_to_a_store_does_nothing_without_one() {
    for section in ["listenerConfig", "httpClients.sslConfig", "apikey.issuer.tokenConfig"] {
        let expected = format!("`{section}.certificateAlias` has no effect: it names a key of `keyStorePath`");
        assert_eq!(warnings(&format!("[{section}]\ncertificateAlias = 'a'")), [expected]);
    }
    for (section, name) in [
        ("httpClients.sslConfig", "keyStore"),
        ("httpClients.sslConfig", "trustStore"),
        ("apikey.issuer.tokenConfig", "keyStore"),
    ] {
        let expected = format!("`{section}.{name}Password` has no effect: `{section}.{name}Path` is not given");
        assert_eq!(warnings(&format!("[{section}]\n{name}Password = 'p'")), [expected]);
    }
}

#[test]
fn an_alias_needs_a_store() {
    for (file, path) in [
        ("[[jwtTokenConfig]]\nissuer = 'i'\ncertificateAlias = 'wso2apim310'", "jwtTokenConfig[0].certificateAlias"),
        ("[apikey.tokenConfigs]\ncertificateAlias = 'old'", "apikey.tokenConfigs.certificateAlias"),
    ] {
        let expected = format!("`{path}` names a certificate of a trust store, and there is none: ");
        let errors = errors(file);
        assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{errors:?}");
    }
}
