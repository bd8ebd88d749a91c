use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::super::{Config, Refused, Sources};
use super::*;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";

/// Settings in a directory of their own, in which values may have files.
struct Settings {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Settings {
    fn new(text: &str) -> Settings {
        let directory = tempfile::TempDir::new().unwrap();
        let file = Some((directory.path().join("micro-gw.conf"), text.to_owned()));
        Settings { sources: Sources { file, ..Sources::default() }, directory }
    }

    fn file(self, name: &str, content: &[u8], mode: u32) -> Settings {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Settings {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn resolved(&self) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
        super::super::resolve(&self.sources)
    }

    fn config(&self) -> Config {
        let (config, warnings) = self.resolved().unwrap();
        assert_eq!(warnings, []);
        config
    }

    fn errors(&self) -> Vec<String> {
        let Err(Refused(problems)) = self.resolved() else { panic!("accepted") };
        problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
    }
}

#[test]
fn a_user_whose_password_is_in_a_file_or_a_variable() {
    let file = "[b7a.users]\njo.password = '$file{secrets-jo}'\nal.password = '$env{AL}'";
    let config =
        Settings::new(file).file("secrets-jo", format!("{HASH}\n").as_bytes(), 0o400).variable("AL", HASH).config();
    let users: Vec<_> = config.users.iter().map(|user| (user.name.as_str(), user.password.expose())).collect();
    assert_eq!(users, [("al", HASH), ("jo", HASH)]);
    assert!(!format!("{config:?}").contains("aGFzaGhhc2"));
}

#[test]
fn every_kind_of_value_can_be_elsewhere() {
    let file = "[[jwtTokenConfig]]\nissuer = '$env{ISSUER}'\njwksURL = 'https://idp'\naudience = ['a', '$env{AUDIENCE}']\n\
                [listenerConfig]\nhttpPort = '$env{PORT}'\n[http2]\nenable = '$env{HTTP2}'\n\
                [gateway]\ndataDir = '$env{DATA}'\nprobe = '$env{PROBES}'\n[b7a.log]\nlevel = '$file{level}'";
    let settings = Settings::new(file)
        .file("level", b"debug\r\n", 0o644)
        .variable("ISSUER", "https://idp/")
        .variable("AUDIENCE", "b,c")
        .variable("PORT", "8080")
        .variable("HTTP2", "false")
        .variable("DATA", "data")
        .variable("PROBES", "http://a,http://b");
    let config = settings.config();
    assert_eq!(config.issuers[0].settings.issuer, "https://idp/");
    assert_eq!(config.issuers[0].settings.audiences, ["a", "b,c"], "an entry is one text");
    assert_eq!((config.listeners.http_port, config.listeners.http2), (8080, false));
    assert_eq!(config.gateway.data_dir, settings.path("data"), "relative to the file that names the variable");
    assert_eq!(config.gateway.probe, ["http://a", "http://b"]);
    assert_eq!(config.log_level, tracing::level_filters::LevelFilter::DEBUG);
}

#[test]
fn from_the_environment_and_the_command_line_too() {
    let mut settings = Settings::new("").file("secret", HASH.as_bytes(), 0o600);
    let reference = format!("$file{{{}}}", settings.path("secret").display());
    settings.sources.environment = vec![("b7a_users_al_password".to_owned(), reference.clone())];
    settings.sources.overrides = vec![format!("b7a.users.jo.password={reference}")];
    assert_eq!(settings.config().users.len(), 2);
}

#[test]
fn what_is_not_to_be_had_is_named() {
    let password = |value: &str| Settings::new(&format!("[b7a.users.jo]\npassword = '{value}'"));
    let problem = |text: &str| vec![format!("`b7a.users.jo.password` {text}")];
    assert_eq!(password("$env{NONE}").errors(), problem("refers to `$env{NONE}`, which is not set"));
    assert_eq!(
        password("$env{NOTHING}").variable("NOTHING", "").errors(),
        problem("refers to `$env{NOTHING}`, which is empty")
    );
    assert_eq!(
        password("$file{none}").errors(),
        problem("refers to `$file{none}`, which cannot be read: No such file or directory (os error 2)")
    );
    for (content, reason) in [
        (b"\n".as_slice(), "is empty"),
        (&*vec![b'x'; 65_537], "cannot be read: it has more than 65536 bytes"),
        (b"\xff", "cannot be read: stream did not contain valid UTF-8"),
    ] {
        let settings = password("$file{secret}").file("secret", content, 0o600);
        assert_eq!(settings.errors(), problem(&format!("refers to `$file{{secret}}`, which {reason}")));
    }
    for path in [".", "/dev/zero"] {
        let expected = format!("refers to `$file{{{path}}}`, which cannot be read: it is no file");
        assert_eq!(password(&format!("$file{{{path}}}")).errors(), problem(&expected));
    }
    let whole = problem("has a reference in it: `$env{NAME}` or `$file{PATH}` must be all of the value");
    for value in ["x$env{A}", "$env{A}x", "$env{A}$env{B}", "$file{a", " $file{a}"] {
        assert_eq!(password(value).variable("A", HASH).errors(), whole, "{value}");
    }
    for value in ["$env{}", "$file{}"] {
        assert_eq!(password(value).errors(), problem("has a reference to nothing"));
    }
}

#[test]
fn the_value_itself_is_never_in_a_message() {
    let text = "[b7a.users.jo]\npassword = '$env{PASSWORD}'";
    let Err(refused) = Settings::new(text).variable("PASSWORD", "hunter2").resolved() else { panic!("accepted") };
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("is not the hash of a password") && !text.contains("hunter2"), "{text}");
}

#[test]
fn what_a_reference_brings_is_not_a_reference() {
    let text = "[b7a.users.jo]\npassword = '$file{secret}'";
    let errors = Settings::new(text).file("secret", b"$env{PATH}", 0o600).errors();
    assert_eq!(errors, ["`b7a.users.jo.password` is not the hash of a password"]);
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let text = "[b7a.users.jo]\npassword = '$file{secret}'";
    let (_, warnings) = Settings::new(text).file("secret", HASH.as_bytes(), 0o644).resolved().unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].code, Code::Insecure);
    assert!(warnings[0].message.starts_with("everybody on this machine can read `"), "{}", warnings[0].message);
}

#[test]
fn nobody_inside_a_container_could_do_better() {
    for (path, expected) in [
        ("/run/secrets/admin", true),
        ("/var/run/secrets/shop/admin", true),
        ("/run/secrets-of-others/admin", false),
        ("/home/run/secrets/admin", false),
        ("run/secrets/admin", false),
    ] {
        assert_eq!(super::is_of_a_container(std::path::Path::new(path)), expected, "{path}");
    }
}

#[test]
fn a_dangerous_key_without_effect_is_judged_by_its_value() {
    let text = "[keyManager]\nexternal = '$env{VALIDATE}'";
    let errors = Settings::new(text).variable("VALIDATE", "true").errors();
    assert_eq!(errors, ["`keyManager.external` is declared and not enforced: this version does not have it"]);
    Settings::new(text).variable("VALIDATE", "false").config();
    // Nothing depends on these.
    let (_, warnings) = Settings::new("etcdbasepath = '$file{none}'").resolved().unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::NoEffect]);
}
