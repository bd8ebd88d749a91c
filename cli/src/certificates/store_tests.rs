use super::super::fixtures::{Made, PASSWORD, Protection, made_by, store};
use super::*;

const PROTECTIONS: [Protection; 3] = [Protection::Modern, Protection::Rc2, Protection::TripleDes];

fn opened(bytes: &[u8]) -> KeyStore {
    KeyStore::from_pkcs12(bytes, PASSWORD).unwrap()
}

fn refused(bytes: &[u8], password: &str) -> String {
    KeyStore::from_pkcs12(bytes, password).err().unwrap().to_string()
}

#[test]
fn a_key_under_each_protection() {
    let (rsa, ec) = (Made::rsa("gateway"), Made::ec("gateway"));
    for protection in PROTECTIONS {
        for made in [&rsa, &ec] {
            let pair = opened(&store(&[("gw", &[made])], &[], protection)).key_pair(None).unwrap();
            assert_eq!(pair.alias.as_deref(), Some("gw"), "{protection:?}");
            assert_eq!(pair.key.secret_der(), made.key.serialize_der());
            assert_eq!(pair.chain.iter().map(|der| &**der).collect::<Vec<_>>(), [made.der()]);
        }
    }
}

#[test]
fn the_alias_decides_between_several_keys() {
    let (one, two) = (Made::ec("one"), Made::ec("two"));
    let bytes = store(&[("one", &[&one]), ("two", &[&two])], &[], Protection::Modern);
    let pair = opened(&bytes).key_pair(Some("TWO")).unwrap();
    assert_eq!(*pair.chain[0], *two.der());
    assert_eq!(pair.key.secret_der(), two.key.serialize_der());
    let error = |alias| opened(&bytes).key_pair(alias).err().unwrap().to_string();
    assert_eq!(error(None), "it has several keys (`one`, `two`): name one by its alias");
    assert_eq!(error(Some("three")), "it has no key with the alias `three`, but `one`, `two`");
    let none = store(&[], &[("one", &one)], Protection::Modern);
    assert_eq!(opened(&none).key_pair(None).err().unwrap().to_string(), "there is no private key in it");
    assert_eq!(
        opened(&none).key_pair(Some("one")).err().unwrap().to_string(),
        "it has no key with the alias `one`, but none"
    );
}

#[test]
fn a_chain_leads_to_the_root_and_leaves_it_out() {
    let root = Made::authority("root");
    let middle = Made::issued("middle", &root, true);
    let leaf = Made::issued("leaf", &middle, false);
    let other = Made::ec("other");
    let bytes = store(&[("leaf", &[&leaf, &root, &middle]), ("other", &[&other])], &[], Protection::Rc2);
    let pair = opened(&bytes).key_pair(Some("leaf")).unwrap();
    assert_eq!(pair.chain.iter().map(|der| &**der).collect::<Vec<_>>(), [leaf.der(), middle.der()]);
}

#[test]
fn trusted_certificates_and_their_aliases() {
    let (apim, ca, own) = (Made::rsa("apim"), Made::authority("ca"), Made::ec("own"));
    for protection in PROTECTIONS {
        let only = store(&[], &[("wso2apim310", &apim), ("ca", &ca)], protection);
        let trust = TrustStore::read(&only, PASSWORD).unwrap();
        assert_eq!(trust.authorities().unwrap().len(), 2, "{protection:?}");
        assert_eq!(*trust.certificate("WSO2apim310").unwrap(), *apim.der());
        assert_eq!(
            trust.certificate("none").err().unwrap().to_string(),
            "it has no certificate with the alias `none`, but `ca`, `wso2apim310`"
        );
    }
    let mixed = store(&[("own", &[&own])], &[("ca", &ca)], Protection::Modern);
    let mut trust = TrustStore::read(&mixed, PASSWORD).unwrap();
    assert_eq!(trust.authorities().unwrap(), [ca.certificate.der().clone()], "a key's certificate is no authority");
    assert_eq!(*trust.certificate("own").unwrap(), *own.der());
    trust.remove(|alias, _| alias == "ca");
    assert_eq!(trust.authorities().err().unwrap().to_string(), "there is no certificate in it");

    let pem = format!("some words\n{}{}", ca.certificate.pem(), apim.certificate.pem());
    let trust = TrustStore::read(pem.as_bytes(), "any").unwrap();
    assert_eq!(trust.authorities().unwrap().len(), 2);
    let error = trust.certificate("ca").err().unwrap().to_string();
    assert_eq!(error, "aliases are for PKCS#12 stores: this is a PEM file");
}

#[test]
fn what_is_wrong_is_said_and_no_password_with_it() {
    let made = Made::ec("gateway");
    let bytes = store(&[("gw", &[&made])], &[], Protection::Modern);
    for protection in PROTECTIONS {
        let bytes = store(&[("gw", &[&made])], &[], protection);
        for wrong in ["", "hunter2"] {
            assert_eq!(refused(&bytes, wrong), "the password is not the store's", "{protection:?}");
        }
    }
    for java in [b"\xfe\xed\xfe\xed\0\0\0\x02", b"\xce\xce\xce\xce\0\0\0\x02"] {
        assert!(refused(java, PASSWORD).starts_with("it is a JKS store"));
    }
    assert!(refused(made.certificate.pem().as_bytes(), PASSWORD).starts_with("it is PEM, and no PKCS#12 store"));
    for damaged in [&b""[..], b"hello", &bytes[..bytes.len() / 2], &bytes[1..]] {
        assert_eq!(refused(damaged, PASSWORD), "it is no PKCS#12 store, or a damaged one");
    }
    let key = made.key.serialize_pem();
    assert_eq!(certificates_from_pem(key.as_bytes()).err().unwrap().to_string(), "there is no certificate in it");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        certificates_from_pem(broken.as_bytes()).err().unwrap().to_string(),
        "one of its certificates is malformed"
    );
    let certificate = made.certificate.pem();
    assert!(
        key_from_pem(certificate.as_bytes()).err().unwrap().to_string().starts_with("there is no private key in it")
    );
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let error = key_from_pem(encrypted.as_bytes()).err().unwrap().to_string();
        assert!(error.starts_with("the private key is encrypted: "), "{error}");
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let made = Made::ec("gateway");
    let bytes = store(&[("gw", &[&made])], &[("ca", &made)], Protection::Rc2);
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        // Mostly the MAC does not fit; where it does, what is read must be usable or refused.
        if let Ok(store) = KeyStore::from_pkcs12(&damaged, PASSWORD) {
            let _ = store.key_pair(None);
        }
        let _ = TrustStore::read(&damaged, PASSWORD).map(|trust| trust.authorities());
    }
}

/// The old product's stores were made by Java 8 and 11, which protect with RC2 and 3DES.
#[test]
fn what_keytool_makes() {
    let directory = tempfile::TempDir::new().unwrap();
    let at = directory.path();
    let old = "-J-Dkeystore.pkcs12.legacy=true";
    for (store, extra) in [("modern.p12", "-J-Dmodern=true"), ("old.p12", old)] {
        let password = ["-storetype", "PKCS12", "-keystore", store, "-storepass", PASSWORD];
        let generate = |alias: &str, algorithm: &str| {
            let key =
                ["-genkeypair", "-alias", alias, "-keyalg", algorithm, "-dname", "CN=localhost", "-validity", "365"];
            made_by("keytool", at, &[&[extra][..], &key, &password].concat())
        };
        if !generate("Gateway", "RSA") {
            return;
        }
        generate("second", "EC");
        let pair = opened(&read(&at.join(store)).unwrap()).key_pair(Some("Gateway")).unwrap();
        assert_eq!((pair.alias.as_deref(), pair.chain.len()), (Some("gateway"), 1), "{store}");

        let (certificate, trust) = ("gateway.pem", format!("trust-{store}"));
        let export = ["-exportcert", "-rfc", "-alias", "gateway", "-file", certificate];
        made_by("keytool", at, &[&export[..], &password].concat());
        let import = ["-importcert", "-noprompt", "-alias", "wso2apim310", "-file", certificate];
        let into = ["-storetype", "PKCS12", "-keystore", &trust, "-storepass", PASSWORD];
        made_by("keytool", at, &[&[extra][..], &import, &into].concat());
        let opened = TrustStore::read(&read(&at.join(&trust)).unwrap(), PASSWORD).unwrap();
        assert_eq!(opened.certificate("wso2apim310").unwrap(), pair.chain[0], "{store}");
        assert_eq!(opened.authorities().unwrap().len(), 1, "{store}");
    }
    let jks = ["-genkeypair", "-alias", "k", "-keyalg", "RSA", "-dname", "CN=k", "-storetype", "JKS"];
    made_by("keytool", at, &[&jks[..], &["-keystore", "old.jks", "-storepass", PASSWORD]].concat());
    assert!(refused(&read(&at.join("old.jks")).unwrap(), PASSWORD).starts_with("it is a JKS store"));
}

#[test]
fn what_openssl_makes() {
    let directory = tempfile::TempDir::new().unwrap();
    let at = directory.path();
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=o",
        "-days", "9",
    ];
    if !made_by("openssl", at, &request) {
        return;
    }
    let password = format!("pass:{PASSWORD}");
    let export = |name: &str, extra: &[&str]| {
        let common =
            ["pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-name", "o", "-out", name, "-passout", &password];
        made_by("openssl", at, &[&common[..], extra].concat());
        read(&at.join(name)).unwrap()
    };
    let old = ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"];
    for (name, extra) in [("modern.p12", &[][..]), ("old.p12", &old)] {
        let pair = opened(&export(name, extra)).key_pair(Some("o")).unwrap();
        assert_eq!(pair.chain, certificates_from_pem(&read(&at.join("c.pem")).unwrap()).unwrap(), "{name}");
    }
    // Certificates by themselves, which only Java marks.
    made_by("openssl", at, &["pkcs12", "-export", "-nokeys", "-in", "c.pem", "-out", "t.p12", "-passout", &password]);
    let trust = TrustStore::read(&read(&at.join("t.p12")).unwrap(), PASSWORD).unwrap();
    assert_eq!(trust.authorities().unwrap().len(), 1);
}
