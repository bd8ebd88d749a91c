//! What Envoy writes to stderr. A resource that it quotes may hold a private key, and is not repeated.

use microgw_envoy::log::each;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "envoy_log",
    run,
    reaches: &["nothing", "a line", "a line that is not Envoy's"],
    dictionary: &[
        "[info][main] ",
        "[warning][config] ",
        "[critical][",
        "][",
        "[",
        "]",
        "goo.gle/debug",
        "goo.gle/debugstr ",
        "Proto constraint validation failed",
        "\\n",
        "\\'",
        "\\\"",
        "\\\\",
        "\\x1b",
        "\\",
        "\n",
        "\r\n",
        "é",
    ],
    mutations: 3000,
};

/// Right behind the mark of a quote.
const CANARY: &str = "Canary7f3a9c";
const QUOTE: &str = "goo.gle/debug";
/// No line is longer, whatever Envoy writes.
const LONGEST: usize = 64 * 1024;

pub fn run(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    if text.contains(CANARY) {
        // libFuzzer reads what strings are compared with.
        return "nothing";
    }
    let text = text.replace(QUOTE, &format!("{QUOTE}{CANARY}"));
    let mut reached = "nothing";
    each(text.as_bytes(), |line| {
        assert!(line.text.len() <= LONGEST);
        assert!(!line.text.contains(CANARY), "a quoted resource is shown: {}", line.text);
        reached = if line.logger.is_empty() { "a line that is not Envoy's" } else { "a line" };
    })
    .expect("reading memory does not fail");
    // And as the bytes are.
    each(data, |_| {}).expect("reading memory does not fail");
    reached
}
