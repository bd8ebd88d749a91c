//! `[compression]`: how responses are compressed.

use microgw_compiler::settings::{Algorithm, Compression};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::tls;
use super::values::Values;

/// Events would wait for each other.
const EVENTS: &str = "text/event-stream";
const MAX_TYPES: usize = 64;

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<Compression> {
    let algorithms = algorithms(values, problems);
    let content_types = content_types(values, problems);
    let least = values.number("compression.minimumLength");
    let switch = "compression.enable";
    if !values.is_given(switch) {
        for key in ["algorithms", "minimumLength", "contentTypes"] {
            tls::without_effect(values, &format!("compression.{key}"), &format!("`{switch}` is `false`"), problems);
        }
    }
    values.bool(switch).then_some(Compression { algorithms, least, content_types })
}

fn algorithms(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<Algorithm> {
    let path = "compression.algorithms";
    let mut algorithms = Vec::new();
    for name in values.list(path) {
        match Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name) {
            Some(algorithm) if !algorithms.contains(&algorithm) => algorithms.push(algorithm),
            Some(_) => {}
            None => {
                let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
                let message = format!("`{path}` has `{name}`, which is no coding that Envoy makes");
                problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help(known));
            }
        }
    }
    if algorithms.is_empty() {
        let message = format!("`{path}` is empty");
        let help = "to switch compression off there is `compression.enable`";
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message).help(help));
    }
    algorithms
}

fn content_types(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<String> {
    let path = "compression.contentTypes";
    let mut types: Vec<String> = values.list(path).iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    types.sort_unstable();
    types.dedup();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let wrong = types.iter().find_map(|name| {
        let (kind, rest) = name.split_once('/').unwrap_or_default();
        if name == EVENTS {
            return Some(format!("`{path}` has `{EVENTS}`: events would be held back until enough of them are there"));
        }
        (!token(kind) || !token(rest)).then(|| format!("`{path}` has `{name}`, which is no `type/subtype`"))
    });
    let many = (types.len() > MAX_TYPES).then(|| format!("`{path}` has more than {MAX_TYPES} entries"));
    // Envoy takes none for its own list.
    let none = types.is_empty().then(|| format!("`{path}` is empty"));
    if let Some(message) = wrong.or(many).or(none) {
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    types
}

#[cfg(test)]
mod tests {
    use super::super::{Refused, Sources, resolve};
    use super::*;

    fn resolved(text: &str) -> Result<Option<Compression>, Refused> {
        let file = Some(("/etc/gw/micro-gw.conf".into(), format!("[compression]\n{text}")));
        resolve(&Sources { file, ..Sources::default() }).map(|(config, _)| config.compression)
    }

    #[test]
    fn how_nothing_is_compressed_is_told() {
        let said = |text: &str| {
            let file = Some(("/etc/gw/micro-gw.conf".into(), format!("[compression]\n{text}")));
            let (_, problems) = resolve(&Sources { file, ..Sources::default() }).unwrap();
            problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let idle = "`compression.minimumLength` has no effect: `compression.enable` is `false`";
        assert_eq!(said("minimumLength = 30"), [idle]);
        assert!(said("enable = false\nminimumLength = 30").is_empty() && said("enable = true").is_empty());
    }

    #[test]
    fn what_is_compressed() {
        let read = |text: &str| resolved(text).unwrap();
        assert_eq!(read(""), None);
        assert_eq!(read("algorithms = ['zstd']"), None);
        let usual = read("enable = true").unwrap();
        assert_eq!((usual.algorithms.as_slice(), usual.least), (&[Algorithm::Brotli, Algorithm::Gzip][..], 1024));
        assert!(usual.content_types.iter().any(|name| name == "application/json"));
        let own =
            read("enable = true\nalgorithms = ['gzip', 'gzip']\nminimumLength = 30\ncontentTypes = ['Text/HTML']");
        let own = own.unwrap();
        assert_eq!(
            (own.algorithms, own.least, own.content_types),
            (vec![Algorithm::Gzip], 30, vec!["text/html".to_owned()])
        );
        for wrong in [
            "algorithms = ['deflate']",
            "algorithms = []",
            "contentTypes = ['text/event-stream']",
            "contentTypes = ['json']",
            "contentTypes = ['a/b; charset=x']",
            "contentTypes = []",
            "minimumLength = 29",
        ] {
            assert!(resolved(wrong).is_err(), "{wrong}");
        }
    }
}
