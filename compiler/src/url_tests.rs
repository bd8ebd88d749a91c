use super::{UrlError, is_host, is_normal_path, normal_path, parse};

#[test]
fn good_urls() {
    let cases = [
        ("http://b", "http b 80 "),
        ("HTTPS://B.Example.COM/", "https b.example.com 443 "),
        ("https://b.example.com.:8443/a/b//", "https b.example.com 8443 /a/b"),
        ("http://127.0.0.1:8080/v2", "http 127.0.0.1 8080 /v2"),
        ("http://[::1]", "http ::1 80 "),
        ("http://[2001:DB8:0:0::1]:81/x", "http 2001:db8::1 81 /x"),
        ("http://my_service:1/%7Ea;b=c", "http my_service 1 /%7Ea;b=c"),
        ("http://xn--bcher-kva.example", "http xn--bcher-kva.example 80 "),
    ];
    for (text, expected) in cases {
        let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let scheme = if url.tls { "https" } else { "http" };
        assert_eq!(format!("{scheme} {} {} {}", url.host, url.port, url.path), expected, "{text}");
        assert!(is_host(&url.host) && is_normal_path(&url.path));
    }
}

#[test]
fn bad_urls() {
    let cases = [
        ("", UrlError::Relative),
        ("/v2", UrlError::Relative),
        ("//b/c", UrlError::Relative),
        ("b.example.com:80", UrlError::Relative),
        ("ws://b", UrlError::Scheme),
        ("://b", UrlError::Scheme),
        ("http://u@b", UrlError::UserInfo),
        ("http://u:p@b/", UrlError::UserInfo),
        ("http://", UrlError::Host),
        ("http:///x", UrlError::Host),
        ("http://a b", UrlError::Host),
        ("http://a..b", UrlError::Host),
        ("http://-a", UrlError::Host),
        ("http://1.2.3", UrlError::Host),
        ("http://1.2.3.256", UrlError::Host),
        ("http://0x7f.1", UrlError::Host),
        ("http://0x7f000001", UrlError::Host),
        ("http://2130706433", UrlError::Host),
        ("http://[::1", UrlError::Host),
        ("http://[::1]x", UrlError::Host),
        ("http://[fe80::1%eth0]", UrlError::Host),
        ("http://b\\c", UrlError::Host),
        ("http://é", UrlError::International),
        ("http://b:", UrlError::Port),
        ("http://b:0", UrlError::Port),
        ("http://b:65536", UrlError::Port),
        ("http://b:+1", UrlError::Port),
        ("http://b:8o", UrlError::Port),
        ("http://a:b:c", UrlError::Port),
        ("http://b?x", UrlError::Query),
        ("http://b/#x", UrlError::Query),
        ("http://b/a/../c", UrlError::Path),
        ("http://b/a/%2E%2e/c", UrlError::Path),
        ("http://b/a//c", UrlError::Path),
        ("http://b/{x}", UrlError::Path),
        ("http://b/%2", UrlError::Path),
        ("http://b/é", UrlError::Path),
    ];
    for (text, error) in cases {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn base_paths() {
    assert_eq!(normal_path("/").as_deref(), Some(""));
    assert_eq!(normal_path("/a/b/").as_deref(), Some("/a/b"));
    for bad in ["a", "/a//b", "/./a", "/a b", "/{a}", "/a?b", "/%zz"] {
        assert_eq!(normal_path(bad), None, "{bad}");
    }
}
