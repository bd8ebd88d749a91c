//! What a registry says of the way in, and what those say whom it names.

use reqwest::header::HeaderValue;
use serde::Deserialize;

/// `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Bearer { realm: String, service: Option<String> },
    Basic,
}

// === impl Challenge ===

impl Challenge {
    /// A token is worth less to whoever gets hold of it.
    pub(super) fn best<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Challenge> {
        let mut best = None;
        for header in headers {
            match Challenge::read(header) {
                Some(bearer @ Challenge::Bearer { .. }) => return Some(bearer),
                other => best = best.or(other),
            }
        }
        best
    }

    fn read(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once([' ', '\t']).unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest.trim();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = value(after)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        Some(Challenge::Bearer { realm: realm?, service })
    }
}

/// Of a parameter, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// `Bearer ...`, of the answer of a server of tokens.
pub(super) fn token(bytes: &[u8]) -> Option<HeaderValue> {
    let Token { token, access_token } = serde_json::from_slice(bytes).ok()?;
    let token = token.or(access_token).filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

/// The first code of a registry's error: a word, or it is not repeated.
pub(super) fn code(bytes: &[u8]) -> Option<String> {
    let Errors { errors } = serde_json::from_slice(bytes).ok()?;
    let code = errors.into_iter().next()?.code;
    (code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (headers, expected) in [
            (
                [r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull""#]
                    .as_slice(),
                bearer("https://auth.example/token", Some("registry.example")),
            ),
            (&["Basic realm=\"x\"", "bearer realm=https://a/t , service=s"], bearer("https://a/t", Some("s"))),
            (&["Bearer service=\"a,\\\"b=c\", realm=\"https://a/t\""], bearer("https://a/t", Some("a,\"b=c"))),
            (&["Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["BASIC"], Some(Challenge::Basic)),
            (&["Bearer"], None),
            (&["Bearer realm=\"x"], None),
            (&["Negotiate"], None),
            (&[], None),
        ] {
            assert_eq!(Challenge::best(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(token(b"{\"token\":\"a.b\"}").unwrap(), "Bearer a.b");
        assert_eq!(token(b"{\"access_token\":\"c\",\"expires_in\":60}").unwrap(), "Bearer c");
        for bad in ["", "{}", "{\"token\":\"\"}", "{\"token\":\"a\\nb\"}", "[]"] {
            assert_eq!(token(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(code(b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"x\"}]}").as_deref(), Some("DENIED"));
        assert_eq!(code(b"{\"errors\":[{\"code\":\"<b>\"}]}"), None);
    }
}
