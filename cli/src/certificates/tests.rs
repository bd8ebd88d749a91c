use std::fs;

use tempfile::TempDir;

use super::fixtures::{Made, PASSWORD, Protection, made_by, store, store_with};
use super::*;
use crate::config::{Sources, resolve};

/// A directory with files, and settings that name them.
struct Place {
    directory: TempDir,
    config: Config,
}

impl Place {
    fn new(settings: &str, files: &[(&str, &[u8])]) -> Place {
        let directory = TempDir::new().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        let file = Some((directory.path().join("micro-gw.conf"), settings.to_owned()));
        let sources = Sources { file, data_dir: directory.path().join("data"), ..Sources::default() };
        let (config, _) = resolve(&sources).unwrap();
        fs::create_dir(&config.gateway.data_dir).unwrap();
        Place { directory, config }
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn load(&self) -> anyhow::Result<Certificates> {
        Certificates::load(&self.config, &self.config.gateway.data_dir)
    }

    /// Without the name of the directory, which differs.
    fn error(&self) -> String {
        let error = format!("{:#}", self.load().err().unwrap());
        error.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn listener(certificates: &Certificates) -> String {
    certificates.listener.value().certificate_chain.clone()
}

fn own(key_store: &[u8]) -> Place {
    let settings = format!("[listenerConfig]\nkeyStorePath = 'own.p12'\nkeyStorePassword = '{PASSWORD}'");
    Place::new(&settings, &[("own.p12", key_store)])
}

/// A suite of TLS 1.2 is for RSA, or for ECDSA.
#[test]
fn suites_go_with_keys() {
    let with = |made: &Made, settings: &str| {
        let settings = format!(
            "[listenerConfig]\ncertificatePath = 'a.crt'\nprivateKeyPath = 'a.key'\n[mutualSSLConfig]\n\
             ciphers = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'\n{settings}"
        );
        let files = [("a.crt", made.certificate.pem()), ("a.key", made.key.serialize_pem())];
        Place::new(&settings, &files.each_ref().map(|(name, text)| (*name, text.as_bytes())))
    };
    let old = "protocolVersions = 'TLSv1.2'";
    assert!(with(&Made::rsa("gw"), old).load().is_ok());
    // TLS 1.3 has suites for all keys.
    assert!(with(&Made::ec("gw"), "").load().is_ok());
    let nobody =
        "`mutualSSLConfig.ciphers` has no suite for the ECDSA key of the listener's certificate: nobody could connect";
    assert_eq!(with(&Made::ec("gw"), old).error(), nobody);
}

#[test]
fn an_expired_certificate_does_not_take_the_place_of_a_valid_one() {
    let place = Place::new("[listenerConfig]\ncertificatePath = 'a.crt'\nprivateKeyPath = 'a.key'", &[]);
    let write = |made: &Made, certificate: &rcgen::Certificate| {
        place.write("a.crt", certificate.pem().as_bytes());
        place.write("a.key", made.key.serialize_pem().as_bytes());
    };
    let (valid, mut old) = (Made::ec("gw"), Made::ec("gw"));
    old.params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let over = old.params.self_signed(&old.key).unwrap();
    write(&valid, &valid.certificate);
    let mut certificates = place.load().unwrap();
    write(&old, &over);
    assert_eq!(certificates.reload(), Changes::default());
    let status = &certificates.status()[0];
    assert_eq!(status.problem.as_deref(), Some("the certificate there has expired"));
    assert_eq!(listener(&certificates), valid.certificate.pem().replace("\r\n", "\n"));
    write(&valid, &valid.certificate);
    assert_eq!((certificates.reload(), certificates.status()[0].problem.clone()), (Changes::default(), None));
    // Better than none.
    write(&old, &over);
    assert!(place.load().is_ok());
}

#[test]
fn the_listener_presents_what_is_in_the_store() {
    for made in [Made::rsa("gw"), Made::ec("gw")] {
        let certificates = own(&store(&[("gw", &[&made])], &[], Protection::Rc2)).load().unwrap();
        assert_eq!(listener(&certificates), made.certificate.pem().replace("\r\n", "\n"));
        assert!(certificates.status()[0].expires > Some(0));
    }
}

#[test]
fn errors_name_the_file_and_no_password() {
    let made = Made::ec("gw");
    let bytes = store_with(&[("gw", &[&made])], &[], Protection::Modern, "another");
    let named = "`listenerConfig.keyStorePath` (micro-gw.conf:2:16): ";
    let expected = format!("{named}cannot use the key store `own.p12`: the password is not the store's");
    assert_eq!(own(&bytes).error(), expected);
    let (key, other) = (Made::ec("a"), Made::ec("b"));
    let settings = "[listenerConfig]\ncertificatePath = 'c.pem'\nprivateKeyPath = 'k.pem'";
    let named = "`listenerConfig.certificatePath` (micro-gw.conf:2:19): ";
    let pem = |certificate: &str, key: &str| {
        Place::new(settings, &[("c.pem", certificate.as_bytes()), ("k.pem", key.as_bytes())]).error().replace(named, "")
    };
    let certificate = key.certificate.pem();
    let mismatch = pem(&certificate, &other.key.serialize_pem());
    let expected = "cannot use the certificate `c.pem` with the key `k.pem`: certificate and key do not go together";
    assert!(mismatch.starts_with(expected), "{mismatch}");
    assert!(pem(&certificate, "").starts_with("cannot use the private key `k.pem`: there is no private key in it"));
    assert_eq!(pem("", ""), "cannot use the certificate `c.pem`: there is no certificate in it");
    let absent = Place::new(settings, &[]).error();
    let expected = format!("{named}cannot use the certificate `c.pem`: it cannot be read: No such file");
    assert!(absent.starts_with(&expected), "{absent}");
}

#[test]
fn small_keys_are_refused() {
    let directory = TempDir::new().unwrap();
    let request = [
        "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=o",
        "-days", "9",
    ];
    if !made_by("openssl", directory.path(), &request) {
        return;
    }
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    let settings = "[listenerConfig]\ncertificatePath = 'c.pem'\nprivateKeyPath = 'k.pem'";
    let error = Place::new(settings, &[("c.pem", &read("c.pem")), ("k.pem", &read("k.pem"))]).error();
    assert!(error.ends_with("its RSA key has 1024 bits, and must have 2048"), "{error}");
}

#[test]
fn the_key_pair_that_everybody_has_is_not_used() {
    let shipped = Made::rsa("localhost");
    let bytes = store_with(&[("ballerina", &[&shipped])], &[("ballerina2", &shipped)], Protection::Rc2, "ballerina");
    let settings = "[listenerConfig]\nkeyStorePath = 'ballerinaKeystore.p12'\ntrustStorePath = 'ballerinaTruststore.p12'\n\
                    [apikey.issuer.tokenConfig]\nkeyStorePath = 'ballerinaKeystore.p12'";
    let files = [("ballerinaKeystore.p12", &bytes[..]), ("ballerinaTruststore.p12", &bytes)];
    let there = Place::new(settings, &files);
    let certificates = there.load().unwrap();
    assert_ne!(listener(&certificates), shipped.certificate.pem().replace("\r\n", "\n"));
    assert!(there.config.gateway.data_dir.join("tls.key").exists(), "our own is made");
    signing_key(there.config.api_key_file.as_ref(), &there.config.gateway.data_dir).unwrap();
    assert!(there.config.gateway.data_dir.join("apikey-signing.pem").exists());

    let absent = Place::new(settings, &[]);
    let certificates = absent.load().unwrap();
    assert!(certificates.services().is_none(), "the system's");
    assert!(absent.config.gateway.data_dir.join("tls.key").exists());

    // One of that name with a key of one's own.
    let made = Made::ec("gw");
    let bytes = store_with(&[("gw", &[&made])], &[], Protection::Modern, "ballerina");
    let place =
        Place::new("[listenerConfig]\nkeyStorePath = 'ballerinaKeystore.p12'", &[("ballerinaKeystore.p12", &bytes)]);
    assert_eq!(listener(&place.load().unwrap()), made.certificate.pem().replace("\r\n", "\n"));
}

#[test]
fn a_configured_store_is_all_that_is_trusted() {
    let (ca, backend_ca) = (Made::authority("ca"), Made::authority("backends"));
    let settings = format!(
        "[listenerConfig]\ntrustStorePath = 'trust.p12'\ntrustStorePassword = '{PASSWORD}'\n\
         [httpClients.sslConfig]\ntrustStorePath = 'backends.pem'"
    );
    let trust = store(&[], &[("ca", &ca)], Protection::Rc2);
    let pem = backend_ca.certificate.pem();
    let place = Place::new(&settings, &[("trust.p12", &trust), ("backends.pem", pem.as_bytes())]);
    let certificates = place.load().unwrap();
    assert_eq!(certificates.services().unwrap(), [ca.certificate.der().clone()]);
    assert_eq!(certificates.backends.value(), &Some(TrustStore(pem.replace("\r\n", "\n"))));
}

#[test]
fn signers_by_alias_and_by_file() {
    let (apim, old, other) = (Made::rsa("apim"), Made::rsa("old"), Made::rsa("other"));
    let settings = format!(
        "[listenerConfig]\ntrustStorePath = 'trust.p12'\ntrustStorePassword = '{PASSWORD}'\n\
         [[jwtTokenConfig]]\nissuer = 'a'\ncertificateAlias = 'apim'\n\
         [[jwtTokenConfig]]\nissuer = 'b'\ncertificatePath = 'b.pem'\n\
         [[jwtTokenConfig]]\nissuer = 'c'\njwksURL = 'https://c'\n\
         [apikey.tokenConfigs]\ncertificateAlias = 'old'"
    );
    let trust = store(&[], &[("apim", &apim), ("old", &old)], Protection::Rc2);
    let pem = other.certificate.pem();
    let place = Place::new(&settings, &[("trust.p12", &trust), ("b.pem", pem.as_bytes())]);
    let mut certificates = place.load().unwrap();
    let issuer = |name: &str| KeySource::Issuer(name.into());
    assert_eq!(
        [issuer("a"), issuer("b"), KeySource::ApiKeys, issuer("c")].map(|source| certificates.signer(&source).len()),
        [1, 1, 1, 0]
    );

    let next = store(&[], &[("apim", &other), ("old", &old)], Protection::Modern);
    place.write("trust.p12", &next);
    let changes = certificates.reload();
    assert_eq!(changes.signers, [issuer("a")]);
    assert!(changes.settings && changes.services, "the store is trusted, too");

    let gone = settings.replace("'apim'", "'gone'");
    let error = Place::new(&gone, &[("trust.p12", &trust), ("b.pem", pem.as_bytes())]).error();
    let expected =
        "cannot use the trust store `trust.p12`: it has no certificate with the alias `gone`, but `apim`, `old`";
    assert_eq!(error, expected);
}

#[test]
fn what_cannot_be_used_leaves_what_was_there() {
    let (one, two) = (Made::ec("one"), Made::ec("two"));
    let settings = "[listenerConfig]\ncertificatePath = 'c.pem'\nprivateKeyPath = 'k.pem'";
    let first = one.certificate.pem();
    let place = Place::new(settings, &[("c.pem", first.as_bytes()), ("k.pem", one.key.serialize_pem().as_bytes())]);
    let mut certificates = place.load().unwrap();
    let before = listener(&certificates);
    assert_eq!(certificates.reload(), Changes::default());

    // The certificate comes first, and the key a moment later.
    place.write("c.pem", two.certificate.pem().as_bytes());
    assert_eq!(certificates.reload(), Changes::default());
    assert_eq!(listener(&certificates), before);
    let problem = certificates.status()[0].problem.clone().unwrap();
    assert!(problem.contains("certificate and key do not go together"), "{problem}");
    place.write("k.pem", two.key.serialize_pem().as_bytes());
    assert_eq!(certificates.reload(), Changes { settings: true, ..Changes::default() });
    assert_eq!(certificates.status()[0].problem, None);

    // Envoy has the last word.
    certificates.refused("no");
    assert_eq!((listener(&certificates), certificates.status()[0].problem.as_deref()), (before, Some("no")));
    assert!(certificates.reload().settings, "tried again");
    certificates.accepted();
    certificates.refused("about something else");
    assert_eq!(certificates.status()[0].problem, None);
}

#[test]
fn shared_limits_are_counted_over_what_the_files_have_now() {
    let (one, two) = (Made::ec("one"), Made::ec("two"));
    let settings = "[throttlingConfig.redis]\nurl = 'rediss://redis.example'\ncaPath = 'ca.pem'\n\
                    certificatePath = 'c.pem'\nprivateKeyPath = 'k.pem'";
    let files =
        [("ca.pem", one.certificate.pem()), ("c.pem", one.certificate.pem()), ("k.pem", one.key.serialize_pem())];
    let place = Place::new(settings, &files.each_ref().map(|(name, text)| (*name, text.as_bytes())));
    let mut certificates = place.load().unwrap();
    for (name, _) in &files {
        assert!(certificates.files().contains(&place.directory.path().join(name)), "{name} is watched");
    }
    let before = certificates.shared_limits();
    assert!(before.trust.is_some() && before.identity.is_some());
    assert_eq!(certificates.reload(), Changes::default());

    // The certificate comes first, and the key a moment later.
    place.write("c.pem", two.certificate.pem().as_bytes());
    assert_eq!(certificates.reload(), Changes::default());
    assert_eq!(certificates.shared_limits().identity, before.identity);
    place.write("k.pem", two.key.serialize_pem().as_bytes());
    assert_eq!(certificates.reload(), Changes { counters: true, ..Changes::default() });
    assert_ne!(certificates.shared_limits().identity, before.identity);
    place.write("ca.pem", two.certificate.pem().as_bytes());
    assert_eq!(certificates.reload(), Changes { counters: true, ..Changes::default() });
    assert_ne!(certificates.shared_limits().trust, before.trust);

    place.write("ca.pem", b"none");
    let error = place.error();
    assert!(
        error.starts_with("cannot share limits (throttlingConfig.redis): cannot use the certificates of `ca.pem`"),
        "{error}"
    );
    place.write("ca.pem", one.certificate.pem().as_bytes());
    place.write("k.pem", one.key.serialize_pem().as_bytes());
    assert!(place.error().contains("certificate and key do not go together"), "{}", place.error());
}
