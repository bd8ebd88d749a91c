//! URLs that mean the same, RFC 3986 section 6.2.

/// `http` or `https`, without query and fragment, in the one form that all that mean the same have. Runs of slashes are one,
/// as they are for Envoy. `None`: it is no such URL.
pub(super) fn normal(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let (scheme, port) = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => ("https", ":443"),
        _ if scheme.eq_ignore_ascii_case("http") => ("http", ":80"),
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    // Of an IPv6 address the port comes after the bracket.
    let authority = authority.strip_suffix(port).or(authority.strip_suffix(':')).unwrap_or(&authority);
    let odd = |byte: u8| byte <= b' ' || matches!(byte, b'@' | b'\\' | 0x7f..);
    if authority.is_empty() || authority.bytes().any(odd) {
        return None;
    }
    Some(format!("{scheme}://{authority}/{}", without_dots(&decoded(path)?)))
}

/// Percent-encoding only where it is needed, in upper case.
fn decoded(path: &str) -> Option<String> {
    let mut text = String::with_capacity(path.len());
    let mut parts = path.split('%');
    text.push_str(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push('%');
            text.push_str(&digits.to_ascii_uppercase());
        }
        text.push_str(rest);
    }
    Some(text)
}

/// The path without its first slash, `.`, `..` and empty segments.
fn without_dots(path: &str) -> String {
    let mut segments = Vec::new();
    let mut open = false;
    for segment in path.split('/') {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut path = segments.join("/");
    if open && !segments.is_empty() {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_mean_the_same_are_the_same() {
        for (url, expected) in [
            ("https://api.example/a/b", "https://api.example/a/b"),
            ("HTTPS://API.Example:443/a/b", "https://api.example/a/b"),
            ("https://api.example:/a/b?x=1#y", "https://api.example/a/b"),
            ("https://api.example/a/%62", "https://api.example/a/b"),
            ("https://api.example/x/../a/./b", "https://api.example/a/b"),
            ("https://api.example/x/%2e%2E/a//b", "https://api.example/a/b"),
            ("https://api.example", "https://api.example/"),
            ("https://api.example/", "https://api.example/"),
            ("https://api.example/..", "https://api.example/"),
            ("https://api.example?x=/y", "https://api.example/"),
            ("http://[::1]:80/a/", "http://[::1]/a/"),
            ("http://[::1]:8080/a/.", "http://[::1]:8080/a/"),
            ("http://api.example:443/a/b/..", "http://api.example:443/a/"),
            ("https://api.example/a%2fb%c3%a4", "https://api.example/a%2Fb%C3%A4"),
        ] {
            assert_eq!(normal(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_differs_differs() {
        for url in [
            "http://api.example/a/b",
            "https://api.example/A/b",
            "https://api.example/a/b/",
            "https://api.example:8443/a/b",
            "https://api.example/a%2Fb",
            "https://api.example.evil/a/b",
        ] {
            assert_ne!(normal(url), normal("https://api.example/a/b"), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_none() {
        for url in [
            "",
            "/a/b",
            "//api.example/a",
            "ftp://api.example/a",
            "https:/api.example/a",
            "https:///a",
            "https://user@api.example/a",
            "https://api.example\\@evil/a",
            "https://api example/a",
            "https://api.example/%",
            "https://api.example/%4",
            "https://api.example/%+1",
            "https://api.example/%zz",
            "https://api.example/%ä",
        ] {
            assert_eq!(normal(url), None, "{url}");
        }
    }
}
