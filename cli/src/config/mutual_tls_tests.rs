use super::*;

#[test]
fn subjects_and_names() {
    let of = |text: &str| subject(text).map(|subject| subject.0);
    let pair = |oid: &str, value: &str| (oid.to_owned(), value.to_owned());
    assert_eq!(of("CN=shop"), Some(vec![pair("2.5.4.3", "shop")]));
    assert_eq!(
        of("cn = shop 1 , O=A\\, B=C,1.2.3=x"),
        Some(vec![pair("2.5.4.3", "shop 1"), pair("2.5.4.10", "A, B=C"), pair("1.2.3", "x")])
    );
    for text in ["", "shop", "CN=", "CN=a,", ",CN=a", "X=a", "CN=a\\", "1=a", ".=a", "1..2=a"] {
        assert_eq!(of(text), None, "{text}");
    }
    assert_eq!(alternative_name("dns:A.example"), Some(AlternativeName::Dns("A.example".to_owned())));
    assert_eq!(alternative_name("URI:spiffe://a/b"), Some(AlternativeName::Uri("spiffe://a/b".to_owned())));
    assert_eq!(alternative_name("email:a@b"), Some(AlternativeName::Email("a@b".to_owned())));
    for text in ["a.example", "DNS:", "DNS:*.example", "URI:a", "email:a", "IP:10.0.0.1", "DNS:a b"] {
        assert_eq!(alternative_name(text), None, "{text}");
    }
}

#[test]
fn ranges() {
    assert_eq!(range("10.0.0.0/8"), Some((IpAddr::from([10, 0, 0, 0]), 8)));
    assert_eq!(range("::1"), Some(("::1".parse().unwrap(), 128)));
    for text in ["", "10", "10.0.0.0/33", "10.0.0.0/", "::/129", "a/8", "10.0.0.0/-1"] {
        assert_eq!(range(text), None, "{text}");
    }
}
