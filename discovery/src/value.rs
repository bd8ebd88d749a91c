//! What is discovered must be what was declared, at another place: any other scheme or path is refused.

use std::net::IpAddr;

use microgw_compiler::model::BackendUrl;
use microgw_compiler::url::{self, UrlError};

/// Longer ones are no URL of a backend.
pub(crate) const MAX_BYTES: usize = 2048;

/// Why a value is not used. The value is in none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it is not text")]
    NotText,
    #[error("it is no URL of a backend: {0}")]
    Url(#[from] UrlError),
    #[error("its scheme is not that of the default URL")]
    Scheme,
    #[error("its path is not that of the default URL")]
    Path,
    #[error("its host is an address that means nobody, or that only this host's link knows")]
    Nobody,
}

/// Whether a source may name it: backends are not on the link alone, where clouds have what tells of credentials. Names may lead there.
pub(crate) fn is_somebody(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// White space around it does no harm.
pub(crate) fn read(value: &[u8], default: &BackendUrl) -> Result<BackendUrl, Refusal> {
    if value.len() > MAX_BYTES {
        return Err(Refusal::TooLong);
    }
    let text = std::str::from_utf8(value).map_err(|_| Refusal::NotText)?.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let url = url::parse(text)?;
    if url.tls != default.tls {
        return Err(Refusal::Scheme);
    }
    if url.path != default.path {
        return Err(Refusal::Path);
    }
    if url.host.parse().is_ok_and(|address| !is_somebody(address)) {
        return Err(Refusal::Nobody);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> BackendUrl {
        url::parse("http://default.example/base").unwrap()
    }

    #[test]
    fn another_place_is_taken() {
        for (value, host, port) in [
            ("http://other.example/base", "other.example", 80),
            (" http://Other.Example:8080/base/\n", "other.example", 8080),
            ("http://192.0.2.1:1/base", "192.0.2.1", 1),
            ("http://[2001:db8::1]:9/base", "2001:db8::1", 9),
        ] {
            let url = read(value.as_bytes(), &default()).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port), "{value}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_not_shown() {
        let long = format!("http://other.example/{}", "a".repeat(MAX_BYTES));
        for (value, refusal) in [
            ("", Refusal::Empty),
            (" \n", Refusal::Empty),
            (long.as_str(), Refusal::TooLong),
            ("https://other.example/base", Refusal::Scheme),
            ("http://other.example", Refusal::Path),
            ("http://other.example/base/more", Refusal::Path),
            ("http://other.example/Base", Refusal::Path),
            ("http://user:hunter2@other.example/base", Refusal::Url(UrlError::UserInfo)),
            ("http://other.example:0/base", Refusal::Url(UrlError::Port)),
            ("http://other.example:65536/base", Refusal::Url(UrlError::Port)),
            ("http://other_example:x/base", Refusal::Url(UrlError::Port)),
            ("http:///base", Refusal::Url(UrlError::Host)),
            ("http://other.example/base?a=b", Refusal::Url(UrlError::Query)),
            ("ftp://other.example/base", Refusal::Url(UrlError::Scheme)),
            ("other.example", Refusal::Url(UrlError::Relative)),
            ("http://0.0.0.0/base", Refusal::Nobody),
            ("http://[::]/base", Refusal::Nobody),
            ("http://255.255.255.255/base", Refusal::Nobody),
            ("http://169.254.169.254/base", Refusal::Nobody),
            ("http://[::ffff:169.254.169.254]/base", Refusal::Nobody),
            ("http://[fe80::1]/base", Refusal::Nobody),
        ] {
            let refused = read(value.as_bytes(), &default()).unwrap_err();
            assert_eq!(refused, refusal, "{value}");
            assert!(!refused.to_string().contains("hunter2"));
        }
        assert_eq!(read(&[0xff, 0xfe], &default()), Err(Refusal::NotText));
    }

    /// No value makes it panic, and none is taken that says anything else than another place.
    #[test]
    fn whatever_comes_is_taken_or_refused() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let seeds = ["http://other.example:80/base", "http://[2001:db8::1]/base", "http://192.0.2.1/base"];
        let mut taken = 0;
        for round in 0..20_000 {
            let mut value = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..random() % 4 {
                let at = usize::try_from(random()).unwrap() % value.len();
                match random() % 3 {
                    0 => value[at] = random().to_le_bytes()[0],
                    1 => drop(value.remove(at)),
                    _ => value.insert(at, b"/:@[]%.#? \0\xff"[usize::try_from(random() % 12).unwrap()]),
                }
            }
            if let Ok(url) = read(&value, &default()) {
                taken += 1;
                assert!(!url.tls && url.path == "/base" && url.port > 0 && url::is_host(&url.host), "{url:?}");
            }
        }
        assert!(taken > 1000, "{taken}");
    }
}
