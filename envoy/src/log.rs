//! Envoy's log, folded into ours.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

/// Where an Envoy that is started here writes what becomes of backends: it arrives with its log.
pub const EVENTS: &str = "/dev/stderr";
/// What [`parse`] reads: `[level][logger] text`.
pub(crate) const FORMAT: &str = "[%l][%n] %v";

/// Bytes; the rest of a longer line is dropped.
const MAX_LINE: u64 = 16 * 1024;
/// How Envoy begins to quote a resource that it refuses. A secret's quote holds its private key.
const QUOTE: &str = "goo.gle/debug";
/// What follows the quote.
const REASON: &str = "Proto constraint validation failed";

/// One line, fit to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub level: tracing::Level,
    /// Empty: not Envoy's own.
    pub logger: &'a str,
    pub text: Cow<'a, str>,
}

/// Logs every line until the other side closes.
pub(crate) fn fold(stderr: impl Read) -> io::Result<()> {
    each(stderr, |line| record(&line))
}

/// Reads lines until the other side closes. Empty ones are left out.
pub fn each(stderr: impl Read, mut take: impl FnMut(Line<'_>)) -> io::Result<()> {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        let whole = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            let line = parse(text);
            take(Line { text: discreet(&line.text), ..line });
        }
        line.clear();
        if !whole {
            reader.skip_until(b'\n')?;
        }
    }
    Ok(())
}

fn record(line: &Line<'_>) {
    let Line { level, logger, text } = line;
    // The level of an event is part of its call site.
    match *level {
        tracing::Level::TRACE => tracing::trace!(target: "envoy", logger, "{text}"),
        tracing::Level::DEBUG => tracing::debug!(target: "envoy", logger, "{text}"),
        tracing::Level::INFO => tracing::info!(target: "envoy", logger, "{text}"),
        tracing::Level::WARN => tracing::warn!(target: "envoy", logger, "{text}"),
        tracing::Level::ERROR => tracing::error!(target: "envoy", logger, "{text}"),
    }
}

/// Without the quotes of resources.
fn discreet(text: &str) -> Cow<'_, str> {
    let Some((before, quote)) = text.split_once(QUOTE) else { return Cow::Borrowed(text) };
    let reason = quote.rfind(REASON).and_then(|at| quote.get(at..)).unwrap_or_default();
    // There may be another quote behind the last reason.
    Cow::Owned(format!("{before}[resource not shown] {}", discreet(reason)))
}

/// A line of another form, such as one of the dynamic linker, is a warning: Envoy prints none when all is well.
fn parse(line: &str) -> Line<'_> {
    structured(line).or_else(|| health(line)).unwrap_or(Line {
        level: tracing::Level::WARN,
        logger: "",
        text: Cow::Borrowed(line),
    })
}

fn structured(line: &str) -> Option<Line<'_>> {
    let (level, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (logger, text) = rest.strip_prefix('[')?.split_once(']')?;
    let level = match level {
        "trace" => tracing::Level::TRACE,
        "debug" => tracing::Level::DEBUG,
        "info" => tracing::Level::INFO,
        "warning" | "warn" => tracing::Level::WARN,
        "error" | "critical" => tracing::Level::ERROR,
        _ => return None,
    };
    Some(Line { level, logger, text: unescaped(text.trim_start()) })
}

/// What a health check has found out, in words.
fn health(line: &str) -> Option<Line<'static>> {
    const BEGIN: &str = "{\"health_checker_type\"";
    if !line.starts_with(BEGIN) {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let address = event.pointer("/host/socket_address")?;
    let (host, port) = (address.get("address")?.as_str()?, address.get("port_value")?.as_u64()?);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let told = |name: &str, key: &str| event.get(name).map(|told| told.get(key).cloned().unwrap_or_default());
    let (level, what) = if let Some(reason) = told("eject_unhealthy_event", "failure_type") {
        (tracing::Level::WARN, format!("is left out: health checks fail{}", because(&reason)))
    } else if let Some(reason) = told("health_check_failure_event", "failure_type") {
        (tracing::Level::WARN, format!("gets nothing yet: its first health check failed{}", because(&reason)))
    } else {
        // At first each is let in once.
        let first = told("add_healthy_event", "first_check")?.as_bool() == Some(true);
        let level = if first { tracing::Level::DEBUG } else { tracing::Level::INFO };
        (level, "is well by its health checks".to_owned())
    };
    Some(Line { level, logger: "health", text: Cow::Owned(format!("backend {host}:{port} {what}")) })
}

/// In Envoy's word: `ACTIVE` is an answer that is not as it should be, `NETWORK` and `NETWORK_TIMEOUT` are none.
fn because(reason: &Value) -> String {
    reason.as_str().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// Undoes `--log-format-escaped` where that is safe: quotes come back, line breaks become blanks, and anything else
/// (colours, bells) stays escaped.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(quoted @ ('\'' | '"' | '\\'))) => {
                plain.push(quoted);
                chars.next();
            }
            ('\\', Some('n' | 'r' | 't')) => {
                plain.push(' ');
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    plain.truncate(plain.trim_end().len());
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_resource_is_not_quoted() {
        let text = "gRPC config for Secret rejected: goo.gle/debugonly name: \"s\" inline_string: \"KEY\" (with): \
                    Proto constraint validation failed (SecretValidationError)";
        assert_eq!(
            discreet(text),
            "gRPC config for Secret rejected: [resource not shown] Proto constraint validation failed (SecretValidationError)"
        );
        assert_eq!(discreet("rejected: goo.gle/debugstr name: \"s\" KEY"), "rejected: [resource not shown] ");
        let two = "a goo.gle/debugstr KEY Proto constraint validation failed (b), c goo.gle/debugstr KEY";
        assert_eq!(
            discreet(two),
            "a [resource not shown] Proto constraint validation failed (b), c [resource not shown] "
        );
        assert_eq!(discreet("starting"), "starting");
    }

    #[test]
    fn what_health_checks_found_is_said_in_words() {
        let line = |address: &str, event: &str| {
            format!(
                r#"{{"health_checker_type":"HTTP","host":{{"socket_address":{{"protocol":"TCP","address":"{address}","port_value":81}}}},"cluster_name":"c",{event},"timestamp":"2026-01-01T00:00:00Z"}}"#
            )
        };
        for (address, event, level, text) in [
            (
                "10.0.0.1",
                r#""eject_unhealthy_event":{"failure_type":"NETWORK"}"#,
                tracing::Level::WARN,
                "backend 10.0.0.1:81 is left out: health checks fail (NETWORK)",
            ),
            // What has Envoy's default is left out.
            (
                "::1",
                r#""eject_unhealthy_event":{}"#,
                tracing::Level::WARN,
                "backend [::1]:81 is left out: health checks fail",
            ),
            (
                "10.0.0.1",
                r#""health_check_failure_event":{"failure_type":"ACTIVE","first_check":true}"#,
                tracing::Level::WARN,
                "backend 10.0.0.1:81 gets nothing yet: its first health check failed (ACTIVE)",
            ),
            (
                "10.0.0.1",
                r#""add_healthy_event":{"first_check":true}"#,
                tracing::Level::DEBUG,
                "backend 10.0.0.1:81 is well by its health checks",
            ),
            (
                "10.0.0.1",
                r#""add_healthy_event":{"first_check":false}"#,
                tracing::Level::INFO,
                "backend 10.0.0.1:81 is well by its health checks",
            ),
        ] {
            let line = line(address, event);
            assert_eq!(parse(&line), Line { level, logger: "health", text: Cow::Borrowed(text) }, "{line}");
        }
        // Anything else stays as it is.
        for other in [r#"{"health_checker_type":"HTTP"}"#, r#"{"health_checker_type""#] {
            assert_eq!(parse(other), Line { level: tracing::Level::WARN, logger: "", text: Cow::Borrowed(other) });
        }
    }

    #[test]
    fn lines_keep_their_level() {
        for (line, level, logger, text) in [
            ("[info][main] starting main dispatch loop", tracing::Level::INFO, "main", "starting main dispatch loop"),
            ("[warning][config] a \\'b\\' c\\n", tracing::Level::WARN, "config", "a 'b' c"),
            ("[critical][main] x", tracing::Level::ERROR, "main", "x"),
            ("[error][upstream] tab\\there \\x1b", tracing::Level::ERROR, "upstream", "tab here \\x1b"),
            ("[debug][http] \\", tracing::Level::DEBUG, "http", "\\"),
            ("[nonsense][main] x", tracing::Level::WARN, "", "[nonsense][main] x"),
            ("terminate called", tracing::Level::WARN, "", "terminate called"),
            ("[info", tracing::Level::WARN, "", "[info"),
        ] {
            assert_eq!(parse(line), Line { level, logger, text: Cow::Borrowed(text) }, "{line}");
        }
    }
}
