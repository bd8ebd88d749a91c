//! Envoy's log, folded into ours.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

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
    structured(line).unwrap_or(Line { level: tracing::Level::WARN, logger: "", text: Cow::Borrowed(line) })
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
