use microgw_compiler::settings::{Protocol, SecretHeader};

use super::*;
use crate::config::{Config, Refused, Sources, resolve};

fn resolved(text: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources {
        file: Some(("/etc/gw/micro-gw.conf".into(), text.to_owned())),
        environment: Vec::new(),
        overrides: Vec::new(),
        allow_unenforced: false,
        data_dir: "/data".into(),
    })
}

/// What is wrong with a section of `[telemetry]`.
fn problem(telemetry: &str) -> String {
    match resolved(&format!("[telemetry]\n{telemetry}")) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn nothing_is_traced_unless_a_collector_is_named() {
    let (config, warnings) = resolved("").unwrap();
    assert_eq!((config.tracing, config.log_format, warnings), (None, LogFormat::Human, vec![]));
    let text = problem("sampling = 0.5\n[telemetry.headers]\nx-key = \"sesame\"");
    assert!(text.contains("`telemetry.sampling` has no effect") && text.contains("telemetry.headers.x-key"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
}

#[test]
fn everything_about_traces() {
    let (config, warnings) = resolved(
        r#"
        [b7a.log]
        format = "json"
        [b7a.http.accesslog]
        path = "access.log"
        caller = false
        [telemetry]
        otlpEndpoint = "https://otel.example.com/otlp/"
        protocol = "http"
        sampling = 0.25
        trustTraceparent = true
        serviceName = "edge"
        [telemetry.headers]
        Authorization = "Bearer sesame"
        "#,
    )
    .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.access_log, Some(settings::AccessLog { path: "/etc/gw/access.log".to_owned(), caller: false }));
    let header = SecretHeader { name: "authorization".to_owned(), value: "Bearer sesame".to_owned() };
    let tracing = config.tracing.clone().unwrap();
    assert_eq!(tracing.traces_url(), "https://otel.example.com:443/otlp/v1/traces");
    assert_eq!((tracing.protocol, tracing.headers, tracing.sampling), (Protocol::Http, vec![header], 2500));
    assert_eq!((tracing.trust_clients, tracing.service_name.as_str()), (true, "edge"));
    assert!(!format!("{config:?}").contains("sesame"));

    let (config, _) = resolved("[telemetry]\notlpEndpoint = \"http://127.0.0.1:4317\"").unwrap();
    let tracing = config.tracing.unwrap();
    assert_eq!((tracing.base_url().as_str(), tracing.protocol), ("http://127.0.0.1:4317", Protocol::Grpc));
    assert_eq!((tracing.sampling, tracing.trust_clients, tracing.service_name.as_str()), (10_000, false, "micro-gw"));
}

#[test]
fn what_cannot_be_is_refused() {
    let at = |rest: &str| problem(&format!("otlpEndpoint = \"http://127.0.0.1:4317\"\n{rest}"));
    for (text, expected) in [
        (problem("otlpEndpoint = \"localhost:4317\""), "is not the URL of a collector"),
        (problem("otlpEndpoint = \"http://u:sesame@host\""), "is not the URL of a collector"),
        (problem("otlpEndpoint = \"http://host/v1/traces\""), "has a path, which gRPC has no use for"),
        (at("protocol = \"thrift\""), "must be one of grpc, http"),
        (at("sampling = 1.5"), "is 1.5, and must be from 0 to 1"),
        (at("sampling = -1"), "must be a number from 0 to 1"),
        (at("sampling = 0.00001"), "less than 0.0001 is none"),
        (at("[telemetry.headers]\nhost = \"sesame\""), "does not name a header"),
        (at("[telemetry.headers]\ngrpc-timeout = \"sesame\""), "is a header of gRPC itself"),
        (at("[telemetry.headers]\nx-key = \"sesame\\n\""), "is not the value of a header"),
        (at("[telemetry.headers]\nx-key = \"\""), "is not the value of a header"),
        (problem("otlpEndpoint = \"http://otel:4317\"\n[telemetry.headers]\nx-key = \"sesame\""), "in the clear"),
    ] {
        assert!(text.contains(expected) && !text.contains("sesame"), "{expected}: {text}");
    }
}
