use std::path::Path;

use super::super::layers::{Document, add_command_line};
use super::*;

fn judged(file: &str, allow_unenforced: bool) -> (Values, Vec<String>) {
    let mut problems = Vec::new();
    let document = Document::parse(Path::new("/etc/gw/micro-gw.conf"), file);
    assert_eq!(document.problems, []);
    let values = judge(&document.layers, allow_unenforced, &mut problems);
    (values, problems.iter().map(|problem| format!("{} {}", problem.code.id(), problem.message)).collect())
}

#[test]
fn wrong_types_and_ranges() {
    for (file, problem) in [
        ("[http2]\nenable = 'true'", "`http2.enable` must be `true` or `false`, not text"),
        ("[http2]\nenable = 1", "`http2.enable` must be `true` or `false`, not a whole number"),
        ("[listenerConfig]\nhttpPort = '9090'", "`listenerConfig.httpPort` must be a whole number, not text"),
        ("[listenerConfig]\nhttpPort = 1.5", "`listenerConfig.httpPort` must be a whole number, not a fraction"),
        ("[listenerConfig]\nhttpPort = -1", "`listenerConfig.httpPort` is -1, and must be from 0 to 65535"),
        ("[listenerConfig]\nhttpPort = 65536", "`listenerConfig.httpPort` is 65536, and must be from 0 to 65535"),
        (
            "[listenerConfig]\nhttpPort = 99999999999999999999",
            "`listenerConfig.httpPort` must be a whole number, not a number beyond 64 bits",
        ),
        ("[listenerConfig]\nhost = 127", "`listenerConfig.host` must be text, in quotes, not a whole number"),
        (
            "[listenerConfig]\nmaxHeaderSize = 1023",
            "`listenerConfig.maxHeaderSize` is 1023, and must be from 1024 to 262144",
        ),
        ("[b7a.log]\nlevel = 'LOUD'", "`b7a.log.level` must be one of OFF, ERROR, WARN, INFO, DEBUG, TRACE"),
        (
            "[b7a.log]\nlevel = 3",
            "`b7a.log.level` must be one of OFF, ERROR, WARN, INFO, DEBUG, TRACE, in quotes, not a whole number",
        ),
        (
            "[[jwtTokenConfig]]\naudience = 1",
            "`jwtTokenConfig[0].audience` must be text or a list of texts, not a whole number",
        ),
        (
            "[[jwtTokenConfig]]\naudience = ['a', 1]",
            "`jwtTokenConfig[0].audience` must be a list of texts, and has a whole number in it",
        ),
        (
            "[b7a.users.admin]\npassword = '@encrypted:{x}'",
            "`b7a.users.admin.password` is encrypted (`@encrypted:{..}`), which this version cannot read",
        ),
    ] {
        assert_eq!(judged(file, false).1, [format!("MGW-0904 {problem}")], "{file}");
    }
}

#[test]
fn text_of_the_command_line_is_what_its_key_is() {
    let mut layers = Layers::new();
    let overrides = [
        "http2.enable=false",
        "listenerConfig.httpPort=0",
        "listenerConfig.maxEntityBodySize=-1",
        "b7a.log.level=debug",
        "gateway.probe=http://a, http://b",
        "b7a.users.x.scopes=",
        "caching.enabled=yes",
        "server.timestampSkew=1s",
    ];
    assert_eq!(add_command_line(&mut layers, &overrides.map(str::to_owned)), []);
    let mut problems = Vec::new();
    let values = judge(&layers, false, &mut problems);
    assert!(!values.bool("http2.enable"));
    assert_eq!(
        (values.integer("listenerConfig.httpPort"), values.integer("listenerConfig.maxEntityBodySize")),
        (0, -1)
    );
    assert_eq!(values.text("b7a.log.level"), "DEBUG");
    assert_eq!(values.list("gateway.probe"), ["http://a", "http://b"]);
    assert!(values.list("b7a.users.x.scopes").is_empty());
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["`caching.enabled` must be `true` or `false`", "`server.timestampSkew` must be a whole number"]
    );
}

#[test]
fn every_default_is_a_value_of_its_kind() {
    for key in keys::all().filter(|key| matches!(key.status, Status::Supported) && !key.default.is_empty()) {
        assert!(key.kind.read(&Raw::Untyped(key.default.to_owned())).is_ok(), "{}", key.path);
    }
}

#[test]
fn what_is_wrong_has_its_default() {
    let (values, problems) = judged("[listenerConfig]\nhttpPort = 'x'", false);
    assert_eq!((problems.len(), values.integer("listenerConfig.httpPort")), (1, 9090));
    assert!(values.is_given("listenerConfig.httpPort") && !values.is_given("listenerConfig.httpsPort"));
}

#[test]
fn unknown_keys() {
    let (_, problems) = judged("[listenerConfig]\nhttpport = 1\n[nonsense]\na.b = 1", false);
    assert_eq!(problems, ["MGW-0903 `listenerConfig.httpport` is not known", "MGW-0903 `nonsense.a.b` is not known"]);
}

#[test]
fn what_would_let_more_through_is_refused() {
    for file in [
        "[keyManager]\nexternal = 'true'",
        "[tokenRevocationConfig.realtime]\nenableRealtimeMessageRetrieval = true",
        "[tokenRevocationConfig.persistent]\nenablePersistentStorageRetrieval = true",
        "[httpClients.responseLimits]\nmaxEntityBodySize = 1",
        "[keyManager]\nenableLegacyMode = true",
        "[keyManager]\nexternal = true",
        "[throttlingConfig]\nenabledGlobalTMEventPublishing = true",
        "[apim.eventHub]\nenable = true",
    ] {
        let (_, refused) = judged(file, false);
        assert!(refused.len() == 1 && refused[0].starts_with("MGW-0905 "), "{file}: {refused:?}");
        let mut problems = Vec::new();
        judge(&Document::parse(Path::new("x"), file).layers, true, &mut problems);
        assert!(problems.len() == 1 && !problems[0].is_error(), "{file}: {problems:?}");
        assert_eq!(problems[0].code, Code::NotEnforced);
    }
}

#[test]
fn what_lets_nothing_through_is_only_named() {
    for file in [
        "[mutualSSLConfig]\nprotocolName = 'TLS'",
        "[httpClients.poolConfig]\nwaitTimeInMillis = 1",
        "[analytics.gRPCAnalytics]\nenable = true",
        "[keyManager]\ntimestampSkew = 1",
        "[b7a.observability.metrics.prometheus]\nport = 9797",
        "[jwtGeneratorConfig.claimRetrieval.configuration]\nanything = 'x'",
    ] {
        let (_, problems) = judged(file, false);
        assert!(problems.len() == 1 && problems[0].starts_with("MGW-0906 "), "{file}: {problems:?}");
    }
    for file in ["[keyManager]\nexternal = false", "[analytics.fileUpload]\nenable = false"] {
        assert_eq!(judged(file, false).1, Vec::<String>::new(), "{file}");
    }
}

#[test]
fn help_has_no_secret() {
    let mut problems = Vec::new();
    let file = "apim.credentials.password = 'hunter2'\n[keyManager]\nexternal = true";
    judge(&Document::parse(Path::new("x"), file).layers, false, &mut problems);
    let text: String = problems.iter().map(ToString::to_string).collect();
    assert!(problems.len() == 2 && !text.contains("hunter2"), "{text}");
}

#[test]
fn paths_are_relative_to_their_file() {
    let (values, _) = judged("[gateway]\ndataDir = 'data'\nsocketDir = '/run/gw'\n[envoyConfig]\npath = ''", false);
    assert_eq!(values.path("gateway.dataDir"), Some("/etc/gw/data".into()));
    assert_eq!(values.path("gateway.socketDir"), Some("/run/gw".into()));
    assert_eq!((values.path("envoyConfig.path"), values.path("b7a.http.accesslog.path")), (None, None));
    let mut layers = Layers::new();
    add_command_line(&mut layers, &["gateway.dataDir=data".to_owned()]);
    assert_eq!(judge(&layers, false, &mut Vec::new()).path("gateway.dataDir"), Some("data".into()));
}

#[test]
fn entries_are_counted_in_their_order() {
    let file = "[[jwtTokenConfig]]\nissuer = 'a'\n".repeat(12);
    let (values, _) = judged(&file, false);
    let entries = values.entries("jwtTokenConfig");
    assert_eq!(
        (entries.len(), entries[2].as_str(), entries[11].as_str()),
        (12, "jwtTokenConfig[2]", "jwtTokenConfig[11]")
    );
    assert!(values.entries("apikey.issuer.api").is_empty());
}
