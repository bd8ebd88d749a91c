use super::*;

#[test]
fn a_host_is_a_name_and_perhaps_a_port() {
    for (text, expected) in [
        ("shop.example.com", Some("shop.example.com")),
        ("Shop.Example.com:8080", Some("shop.example.com:8080")),
        ("[::1]:80", Some("[::1]:80")),
        ("[::1]", Some("[::1]")),
        ("a:80", Some("a:80")),
        ("a/b", None),
        ("a/", None),
        ("", None),
        ("a b", None),
        ("u@a", None),
        ("a:0", None),
        ("a\r\nx: y", None),
    ] {
        assert_eq!(host_name(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn tokens_are_fetched_in_the_clear_from_this_machine_alone() {
    for text in ["https://idp.example/token", "http://127.0.0.1:1/token", "http://localhost/t", "http://[::1]/t"] {
        assert!(is_token_url(text), "{text}");
    }
    for text in ["http://idp.example/token", "ftp://a", "/token", "http://localhost.evil/t"] {
        assert!(!is_token_url(text), "{text}");
    }
}

#[test]
fn secrets_are_references() {
    use microgw_proto::traffic::v1::Basic;
    let basic = |password: &str| Credentials {
        kind: Some(Kind::Basic(Basic { user: "me".to_owned(), password: password.to_owned() })),
    };
    assert!(credentials_are_sound(&basic("")) && credentials_are_sound(&basic("$env{A}")));
    assert!(!credentials_are_sound(&basic("secret")) && !credentials_are_sound(&basic("$env{}")));
    let bearer = |token: &str| Credentials { kind: Some(Kind::Bearer(token.to_owned())) };
    assert!(credentials_are_sound(&bearer("$file{/a/b}")) && !credentials_are_sound(&bearer("abc")));
    assert!(!credentials_are_sound(&Credentials::default()));
}

#[test]
fn what_is_looked_up_has_a_name() {
    for lookup in
        [Lookup::Etcd("a/b".to_owned()), Lookup::Srv("_http._tcp.a".to_owned()), Lookup::Consul("a-b".to_owned())]
    {
        assert!(lookup_is_sound(&lookup), "{lookup:?}");
    }
    for lookup in [Lookup::Etcd("a\n".to_owned()), Lookup::Srv("10.0.0.1".to_owned()), Lookup::Consul("a/b".to_owned())]
    {
        assert!(!lookup_is_sound(&lookup), "{lookup:?}");
    }
}
