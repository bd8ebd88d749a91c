use crate::config::{Config, Sources, resolve};

fn resolved(text: &str) -> Result<Config, String> {
    let file = Some(("/etc/gw/micro-gw.conf".into(), text.to_owned()));
    let resolved = resolve(&Sources { file, data_dir: "/data".into(), ..Sources::default() });
    resolved.map(|(config, _)| config).map_err(|refused| refused.to_string())
}

#[test]
fn services_are_elsewhere_and_know_the_gateway() {
    let config = resolved(
        "[[interceptors]]\nname = 'audit'\nurl = 'https://audit.example.com/v1'\nheader = 'Authorization'\nvalue = 'Bearer x'\n\
         [[interceptors]]\nname = 'other'\nurl = 'http://127.0.0.1:1/'\n",
    )
    .unwrap();
    let [audit, other] = &config.interceptors[..] else { panic!("{:?}", config.interceptors) };
    assert_eq!((audit.name.as_str(), audit.url.as_deref()), ("audit", Some("https://audit.example.com/v1")));
    let (header, value) = audit.credential.as_ref().unwrap();
    assert_eq!((header.as_str(), value.expose()), ("authorization", "Bearer x"));
    assert!(!format!("{audit:?}").contains("Bearer"));
    assert_eq!(other.credential, None);
}

#[test]
fn what_makes_no_sense_is_an_error() {
    for (text, expected) in [
        ("url = 'http://a/'", "`interceptors[0]` needs the `name` of an interceptor"),
        ("name = 'a'\nurl = 'http://u:p@a/'", "`interceptors[0].url` must be a URL of http or https"),
        ("name = 'a'\nheader = 'x y'\nvalue = '1'", "`interceptors[0].header` is no header's name"),
        ("name = 'a'\nheader = 'x'", "`interceptors[0].header` has no meaning without `interceptors[0].value`"),
        ("name = 'a'\nvalue = 'x'", "`interceptors[0].value` has no meaning without `interceptors[0].header`"),
        ("name = 'a'\nheader = 'x'\nvalue = \"a\\nb\"", "`interceptors[0].value` has a character"),
        ("name = 'a'\n[[interceptors]]\nname = 'a'", "`interceptors[1].name` is the second entry for `a`"),
    ] {
        let found = resolved(&format!("[[interceptors]]\n{text}\n")).unwrap_err();
        assert!(found.contains(expected), "{text}: {found}");
    }
}
