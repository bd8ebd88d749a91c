//! What an API may let scripts of other origins do.

use microgw_proto::traffic::v1::Cors;
use regex::bytes::{Regex, RegexBuilder};

use crate::model::Method;
use crate::names;

/// Each route has all of them.
pub(crate) const MAX_ORIGINS: usize = 64;
pub(crate) const MAX_PATTERNS: usize = 16;
pub(crate) const MAX_HEADERS: usize = 64;
/// Of an origin or a pattern, in characters.
pub(crate) const MAX_ORIGIN: usize = 256;
const MAX_HEADER: usize = 64;
/// A day: browsers remember no longer.
pub(crate) const MAX_AGE: u32 = 86_400;
/// Repetitions that a pattern may count; RE2 unrolls them.
const MAX_REPEAT: u32 = 64;
/// Bytes of a compiled pattern.
const MAX_PROGRAM: usize = 256 * 1024;

/// Any origin.
pub(crate) const ANY: &str = "*";
/// Of documents that have none: sandboxed frames, files, redirects. Anybody can have it.
const OPAQUE: &str = "null";
/// Origins that nobody has in mind: who allows one of them allows anybody.
const STRANGERS: [&str; 5] = [
    "https://stranger.invalid",
    "http://stranger.invalid",
    "https://stranger.com",
    "https://stranger.net",
    "https://stranger.org",
];

/// Why a text is no origin, or no pattern of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("it is empty or longer than {MAX_ORIGIN} characters")]
    Length,
    #[error("it is not `scheme://host` or `scheme://host:port`, lower-case and without a path")]
    Form,
    #[error("browsers leave out the port that the scheme implies")]
    UsualPort,
    #[error("it is no regular expression that Envoy takes (RE2)")]
    Pattern,
    #[error("it matches `*`, which Envoy takes for any origin")]
    Star,
}

pub(crate) fn origin(text: &str) -> Result<(), OriginError> {
    if text.is_empty() || text.len() > MAX_ORIGIN {
        return Err(OriginError::Length);
    }
    if text == OPAQUE {
        return Ok(());
    }
    let (scheme, authority) = text.split_once("://").ok_or(OriginError::Form)?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sound = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| letter(byte) || matches!(byte, b'+' | b'-' | b'.'));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| letter(byte) || matches!(byte, b'-' | b'.' | b'_')),
    };
    let numbered = port.is_none_or(|port| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok());
    if !(sound && named && numbered) {
        return Err(OriginError::Form);
    }
    match (scheme, port) {
        ("http", Some("80")) | ("https", Some("443")) => Err(OriginError::UsualPort),
        _ => Ok(()),
    }
}

/// A regular expression for whole origins, of that part of the language which RE2 and we read alike.
pub(crate) fn pattern(text: &str) -> Result<(), OriginError> {
    if text.is_empty() || text.len() > MAX_ORIGIN {
        return Err(OriginError::Length);
    }
    if !is_common(text) {
        return Err(OriginError::Pattern);
    }
    let whole = whole(text).ok_or(OriginError::Pattern)?;
    if whole.is_match(ANY.as_bytes()) { Err(OriginError::Star) } else { Ok(()) }
}

/// Whether it lets in whoever comes: anybody can have such an origin.
pub(crate) fn is_open(cors: &Cors) -> bool {
    let any = |origin: &String| origin == ANY || origin == OPAQUE;
    cors.origins.iter().any(any) || cors.origin_patterns.iter().any(|pattern| matches_strangers(pattern))
}

pub(crate) fn matches_strangers(pattern: &str) -> bool {
    let strangers = STRANGERS.into_iter().chain([OPAQUE]);
    whole(pattern).is_some_and(|whole| {
        strangers.into_iter().any(|stranger| whole.is_match(stranger.as_bytes()))
            || lookalikes(pattern).iter().any(|stranger| whole.is_match(stranger.as_bytes()))
    })
}

/// For each domain that a pattern names: another that ends like it, and one that begins like it. Anybody can have those.
fn lookalikes(pattern: &str) -> Vec<String> {
    let mut domains = vec![String::new()];
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let literal = match letter {
            '\\' => letters.next().filter(|next| *next == '.'),
            'a'..='z' | '0'..='9' | '-' => Some(letter),
            _ => None,
        };
        match (literal, domains.last_mut()) {
            (Some(literal), Some(domain)) => domain.push(literal),
            _ => domains.push(String::new()),
        }
    }
    let domains = domains.iter().map(|domain| domain.trim_matches('.')).filter(|domain| domain.contains('.'));
    let around = |domain: &str| [format!("stranger{domain}"), format!("{domain}.stranger.invalid")];
    let hosts = domains.flat_map(around);
    hosts.flat_map(|host| ["https", "http"].map(|scheme| format!("{scheme}://{host}"))).collect()
}

/// Where a `.` stands for any character, and likely means itself: not repeated, and not in a class.
pub(crate) fn has_loose_dot(pattern: &str) -> bool {
    let mut class = false;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '[' => class = true,
            ']' => class = false,
            '.' if !class && !letters.peek().is_some_and(|next| matches!(next, '*' | '+' | '?' | '{')) => return true,
            _ => {}
        }
    }
    false
}

fn whole(pattern: &str) -> Option<Regex> {
    // As in RE2, classes are of ASCII; origins are, too.
    RegexBuilder::new(&format!("\\A(?:{pattern})\\z")).unicode(false).size_limit(MAX_PROGRAM).build().ok()
}

/// Printable ASCII, escapes of punctuation and of `d` and `w`, plain classes, groups without names, small counts.
fn is_common(pattern: &str) -> bool {
    let mut class = false;
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        match letter {
            '\\' => {
                let Some(next) = rest.chars().next() else { return false };
                if !(next.is_ascii_punctuation() || matches!(next, 'd' | 'w')) {
                    return false;
                }
                rest = rest.get(1..).unwrap_or_default();
            }
            // Unions, intersections and the like: not in RE2.
            '[' if class => return false,
            '&' | '~' if class && rest.starts_with(letter) => return false,
            '-' if class && rest.starts_with('-') => return false,
            '[' => class = true,
            ']' => class = false,
            '(' if !class && rest.starts_with('?') && !rest.starts_with("?:") => return false,
            '{' if !class => {
                let Some((count, _)) = rest.split_once('}') else { return false };
                let small = |number: &str| number.is_empty() || number.parse().is_ok_and(|n: u32| n <= MAX_REPEAT);
                if !count.split(',').all(small) {
                    return false;
                }
            }
            ' '..='~' => {}
            _ => return false,
        }
    }
    !class
}

pub(crate) fn is_listed(name: &str) -> bool {
    name == ANY || name.len() <= MAX_HEADER && names::is_header(name)
}

pub(super) fn is_sound(cors: &Cors) -> bool {
    let Cors { origins, origin_patterns, methods, headers, exposed, credentials, max_age } = cors;
    let any = origins.as_slice() == [ANY];
    let lists = [headers, exposed].into_iter().all(|names| {
        let any = names.len() == 1 || !names.iter().any(|name| name == ANY);
        names.len() <= MAX_HEADERS && any && names.iter().all(|name| is_listed(name))
    });
    (any || origins.iter().all(|text| origin(text).is_ok()))
        && !(origins.is_empty() && origin_patterns.is_empty())
        && origins.len() <= MAX_ORIGINS
        && origin_patterns.len() <= MAX_PATTERNS
        && origin_patterns.iter().all(|text| pattern(text).is_ok())
        && methods.iter().all(|method| Method::ALL.iter().any(|known| known.as_str() == method))
        && methods.len() <= Method::ALL.len()
        && lists
        && max_age.is_none_or(|seconds| seconds <= MAX_AGE)
        && !(*credentials && (is_open(cors) || exposed.iter().any(|name| name == ANY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for good in [
            "https://shop.example.com",
            "http://localhost:3000",
            "http://[::1]:8080",
            "capacitor://localhost",
            "chrome-extension://abcdefgh",
            "null",
        ] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "https://shop.example.com/",
            "shop.example.com",
            "https://",
            "https://Shop.example.com",
            "https://*.example.com",
            "https://a b",
            "https://user@example.com",
            "https://a:0",
            "https://a:99999",
            "https://a:+1",
            "https://[::1",
            "https://a\r\nx: y",
            "://a",
        ] {
            assert_eq!(origin(bad), Err(OriginError::Form), "{bad:?}");
        }
        assert_eq!(origin("https://a:443"), Err(OriginError::UsualPort));
        assert_eq!(origin("http://a:80"), Err(OriginError::UsualPort));
        assert_eq!(origin(""), Err(OriginError::Length));
        assert_eq!(origin(&format!("https://{}", "a".repeat(300))), Err(OriginError::Length));
    }

    #[test]
    fn patterns_are_those_that_re2_reads_as_we_do() {
        for good in [r"https://[a-z0-9-]+\.example\.com", r"https?://(?:a|b)\.example(:\d{2,5})?", r"https://\w+\.a\.b"]
        {
            assert_eq!(pattern(good), Ok(()), "{good}");
        }
        for bad in [
            r"https://(?<name>a)",
            r"(?i)https://a",
            r"https://[a&&b]",
            r"https://[[:alpha:]]",
            r"https://\p{L}",
            r"https://\b",
            r"(?=a)b",
            r"https://(a",
            r"https://a{1000}",
            r"https://(?:(?:a{60}){60}){60}",
            "https://\u{fc}",
            "a\n",
            r"a\",
            "[a",
        ] {
            assert_eq!(pattern(bad), Err(OriginError::Pattern), "{bad:?}");
        }
        for star in [".*", "[^/]*", "a|.", r"\*"] {
            assert_eq!(pattern(star), Err(OriginError::Star), "{star}");
        }
    }

    #[test]
    fn who_lets_anybody_in_is_told() {
        assert!(matches_strangers("https?://.*"));
        assert!(matches_strangers(r"https://[a-z.]+"));
        assert!(matches_strangers(r"https://[a-z]*example\.com") && matches_strangers(r"https?://.*example\.com"));
        assert!(matches_strangers(r"https://www\.example\.com.*") && matches_strangers(r"https://.*.example\.com"));
        for fine in [
            r"https://[a-z]+\.example\.com",
            r"https://([a-z]+\.)?example\.com(:[0-9]+)?",
            r"https?://[a-z.]+\.example\.com",
            r"https://.*\.example\.com",
            r"https://shop[0-9]*\.example\.com",
        ] {
            assert!(!matches_strangers(fine), "{fine}");
        }
        assert!(has_loose_dot("https://www.example\\.com") && has_loose_dot("https://.*.example\\.com"));
        assert!(!has_loose_dot(r"https://.*\.example\.com") && !has_loose_dot(r"https://[.a]+"));
    }

    #[test]
    fn artifacts_are_held_to_the_same() {
        let good = Cors { origins: vec!["https://a".to_owned()], methods: vec!["GET".to_owned()], ..Cors::default() };
        assert!(is_sound(&good) && !is_sound(&Cors::default()));
        let any = || vec![ANY.to_owned()];
        for bad in [
            Cors { origins: vec!["a".to_owned()], ..good.clone() },
            Cors { origins: vec![ANY.to_owned(), "https://a".to_owned()], ..good.clone() },
            Cors { origins: any(), credentials: true, ..good.clone() },
            Cors { origins: vec!["null".to_owned()], credentials: true, ..good.clone() },
            Cors { origin_patterns: vec!["https://.*".to_owned()], credentials: true, ..good.clone() },
            Cors { exposed: any(), credentials: true, ..good.clone() },
            Cors { origin_patterns: any(), ..good.clone() },
            Cors { methods: vec!["TRACE".to_owned()], ..good.clone() },
            Cors { headers: vec!["X-Upper".to_owned()], ..good.clone() },
            Cors { headers: vec!["a: b\r\n".to_owned()], ..good.clone() },
            Cors { exposed: vec!["a,b".to_owned()], ..good.clone() },
            Cors { max_age: Some(MAX_AGE + 1), ..good.clone() },
            Cors { origins: vec!["https://a".to_owned(); MAX_ORIGINS + 1], ..good.clone() },
        ] {
            assert!(!is_sound(&bad), "{bad:?}");
        }
    }
}
