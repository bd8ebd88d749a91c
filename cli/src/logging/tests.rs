use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::subscriber::with_default;

use super::*;

/// What is logged by `act`.
fn logged(format: LogFormat, level: LevelFilter, act: impl FnOnce()) -> String {
    logged_with(format, level, None, act)
}

/// The same with so many of Envoy's lines.
fn logged_with(format: LogFormat, level: LevelFilter, envoy: Option<LevelFilter>, act: impl FnOnce()) -> String {
    let lines = Arc::new(Mutex::new(String::new()));
    let written = lines.clone();
    let write = move |line: &str| written.lock().unwrap().push_str(line);
    let log = Log { format, colour: false, traced: false, write }.with_filter(filter(level, envoy));
    with_default(Registry::default().with(log), act);
    lines.lock().unwrap().clone()
}

fn json(act: impl FnOnce()) -> Value {
    let text = logged(LogFormat::Json, LevelFilter::INFO, act);
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    serde_json::from_str(&text).unwrap()
}

/// What is asked for of Envoy is shown, whatever is shown of the gateway.
#[test]
fn lines_of_envoy_have_a_level_of_their_own() {
    let shown = |level: LevelFilter, envoy: Option<LevelFilter>| {
        let text = logged_with(LogFormat::Human, level, envoy, || {
            tracing::debug!(target: "envoy", "1");
            tracing::trace!(target: "envoy", "2");
            tracing::warn!(target: "envoy", "3");
            tracing::debug!(target: "micro_gw", "4");
            tracing::info!(target: "micro_gw", "5");
        });
        text.lines().filter_map(|line| line.trim_end().chars().last()).collect::<String>()
    };
    let (debug, info) = (LevelFilter::DEBUG, LevelFilter::INFO);
    assert_eq!((shown(info, Some(debug)), shown(info, None)), ("135".to_owned(), "35".to_owned()));
    assert_eq!(shown(LevelFilter::OFF, Some(LevelFilter::TRACE)), "123");
    // It takes nothing away.
    assert_eq!(shown(debug, Some(info)), "1345");
}

const FORGED: &str = "x\n2026-01-01T00:00:00Z  INFO micro_gw: granted\r\u{1b}[2K\u{202e}\u{2028}";

#[test]
fn a_line_is_an_object() {
    let line = json(|| {
        let span =
            tracing::info_span!(target: "micro_gw", "publish", generation = "a", outcome = tracing::field::Empty);
        span.record("outcome", "live");
        let _inside = span.enter();
        tracing::warn!(target: "envoy", logger = "main", count = 3, done = true, "said \"{}\"", FORGED);
    });
    assert_eq!((&line["level"], &line["target"]), (&"WARN".into(), &"envoy".into()));
    assert_eq!(line["message"], format!("said \"{FORGED}\""));
    assert_eq!(line["fields"], serde_json::json!({ "logger": "main", "count": 3, "done": true }));
    assert_eq!(line["spans"], serde_json::json!([{ "name": "publish", "generation": "a", "outcome": "live" }]));
    let time = line["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T') && time.len() >= 20, "{time}");
}

#[test]
fn an_error_comes_with_its_reasons() {
    let error = std::io::Error::other(std::io::Error::other("deeper"));
    let line = json(|| tracing::error!(error = &error as &dyn std::error::Error, "failed"));
    assert_eq!(line["fields"]["error"], "deeper");
    let line = json(|| tracing::error!(error = ?"quoted", "failed"));
    assert_eq!(line["fields"]["error"], "\"quoted\"");
}

#[test]
fn no_value_begins_a_line_or_rewrites_one() {
    let text = logged(LogFormat::Human, LevelFilter::INFO, || {
        let span = tracing::info_span!(target: "micro_gw", "publish", api = FORGED);
        let _inside = span.enter();
        tracing::info!(text = FORGED, shown = %FORGED, "{FORGED}");
    });
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    assert!(text.ends_with('\n'));
    assert!(!text.contains(['\r', '\u{1b}', '\u{202e}', '\u{2028}']), "{text:?}");
    assert_eq!(text.matches("\\n2026").count(), 4);
    assert!(text.contains(" INFO "), "{text}");
}

#[test]
fn levels_are_for_events_and_spans_of_others_are_not_shown() {
    let text = logged(LogFormat::Human, LevelFilter::WARN, || {
        let own = tracing::info_span!(target: "micro_gw::gateway", "publish", n = 1).entered();
        let other = tracing::error_span!(target: "h2", "frame").entered();
        tracing::info!("unwanted");
        tracing::warn!(a = 1, "wanted");
        drop((other, own));
        tracing::error!(b = "only");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].ends_with("publish{n=1}: wanted a=1"), "{text}");
    assert!(lines[1].ends_with(": b=only"), "{text}");
    assert_eq!(logged(LogFormat::Json, LevelFilter::OFF, || tracing::error!("x")), "");
}
