use std::path::Path;

use super::super::layers::Document;
use super::super::values;
use super::*;

fn issuers(file: &str) -> Result<Vec<Issuer>, Vec<String>> {
    let document = Document::parse(Path::new("/etc/gw/micro-gw.conf"), file);
    assert_eq!(document.problems, []);
    let mut problems = Vec::new();
    let values = values::judge(&document.layers, false, &mut problems);
    let issuers = read(&values, 5, &Trust::default(), &mut problems);
    if problems.is_empty() { Ok(issuers) } else { Err(problems.into_iter().map(|problem| problem.message).collect()) }
}

fn with_jwks(url: &str, more: &str) -> Result<KeySource, String> {
    issuers(&format!("[[jwtTokenConfig]]\nissuer = 'a'\njwksURL = '{url}'\n{more}"))
        .map(|mut issuers| issuers.remove(0).keys)
        .map_err(|problems| problems.join("; "))
}

#[test]
fn an_issuer() {
    let file = "[[jwtTokenConfig]]\nissuer = 'https://a'\naudience = ['x', 'y']\ncertificatePath = 'a.pem'\n\
        [[jwtTokenConfig]]\nissuer = 'https://b'\naudience = 'z'\njwksURL = 'https://b/jwks'\nalgorithms = ['ES256']";
    let issuers = issuers(file).unwrap();
    assert_eq!(issuers[0].keys, KeySource::Certificate("/etc/gw/a.pem".into()));
    assert_eq!(issuers[0].settings.audiences, ["x", "y"]);
    assert_eq!(issuers[0].settings.algorithms, ALGORITHMS);
    assert_eq!(issuers[1].keys, KeySource::JwksUrl("https://b/jwks".to_owned()));
    assert_eq!((&issuers[1].settings.audiences[..], issuers[1].settings.skew_seconds), (&["z".to_owned()][..], 5));
    assert_eq!(issuers[1].settings.algorithms, ["ES256"]);
}

#[test]
fn keys_come_over_a_safe_way() {
    for url in [
        "https://idp.example/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
        "http://127.1/jwks",
    ] {
        assert_eq!(with_jwks(url, ""), Ok(KeySource::JwksUrl(url.to_owned())));
    }
    for url in [
        "http://idp.example/jwks",
        "http://localhost.example/jwks",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1\\.example/\\@idp.example",
    ] {
        let safe = with_jwks(url, "");
        let allowed = with_jwks(url, "allowInsecureJwks = true");
        match safe {
            Err(problem) => assert!(problem.contains("allowInsecureJwks = true"), "{url}: {problem}"),
            // A backslash ends the host for whoever fetches it, too.
            Ok(_) => assert!(url.starts_with("http://127.0.0.1\\")),
        }
        assert_eq!(allowed, Ok(KeySource::JwksUrl(url.to_owned())));
    }
    for (url, reason) in [
        ("idp/jwks", "is not a URL"),
        ("ftp://a/b", "must be `https:`, `http:` or `file:`"),
        ("https://user:pw@idp.example/jwks", "has a user name or password in it"),
        ("file://other.host/jwks", "is not a file of this host"),
    ] {
        assert_eq!(with_jwks(url, "allowInsecureJwks = true"), Err(format!("`jwtTokenConfig[0].jwksURL` {reason}")));
    }
}

#[test]
fn keys_come_from_files() {
    for (url, path) in [
        ("file:///keys/a%20b.json", "/keys/a b.json"),
        ("file:/keys/a.json", "/keys/a.json"),
        ("file:a.json", "/etc/gw/a.json"),
    ] {
        assert_eq!(with_jwks(url, ""), Ok(KeySource::JwksFile(path.into())), "{url}");
    }
}

#[test]
fn mistakes() {
    let https = "jwksURL = 'https://a/jwks'";
    for (file, problem) in [
        (
            format!("[[jwtTokenConfig]]\n{https}"),
            "`jwtTokenConfig[0].issuer` is missing: it must equal the tokens' `iss`",
        ),
        ("[[jwtTokenConfig]]\nissuer = 'a'".to_owned(), "`jwtTokenConfig[0]` has no keys to verify tokens with"),
        (
            format!("[[jwtTokenConfig]]\nissuer = 'a'\n{https}\ncertificatePath = 'c'"),
            "`jwtTokenConfig[0].jwksURL` and `jwtTokenConfig[0].certificatePath` are two sources of keys: give one",
        ),
        (
            format!("[[jwtTokenConfig]]\nissuer = 'a'\n{https}\n[[jwtTokenConfig]]\nissuer = 'a'\n{https}"),
            "issuer `a` is listed twice",
        ),
    ] {
        assert_eq!(issuers(&file), Err(vec![problem.to_owned()]), "{file}");
    }
    for algorithms in ["['HS256']", "['none']", "['RS256', 'rs256']", "[]", "''"] {
        let file = format!("[[jwtTokenConfig]]\nissuer = 'a'\n{https}\nalgorithms = {algorithms}");
        let problems = issuers(&file).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("`jwtTokenConfig[0].algorithms` must list some of RS256"));
    }
}
