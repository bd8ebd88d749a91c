use proptest::prelude::*;

use super::*;

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

#[test]
fn finds_a_parameter_by_its_decoded_name() {
    for (path, expected) in [
        ("/p", Found::Nothing),
        ("/p?", Found::Nothing),
        ("/p?a=1", Found::Nothing),
        ("/api_key=1?a=1", Found::Nothing),
        ("/p?api_key=K", Found::Once("K".into())),
        ("/p?api_key", Found::Once("".into())),
        ("/p?a=1&api_key=K&b=2", Found::Once("K".into())),
        ("/p?api%5Fkey=K", Found::Once("K".into())),
        ("/p?api%5fkey=K%2dL", Found::Once("K-L".into())),
        ("/p?api_key=a=b", Found::Once("a=b".into())),
        ("/p?api_key=1&api_key=1", Found::Unclear),
        ("/p?api_key=1&%61pi_key=1", Found::Unclear),
        ("/p?api_key=%ff", Found::Unclear),
        ("/p?API_KEY=K", Found::Nothing),
        ("/p?xapi_key=K", Found::Nothing),
        ("/p?api%5=K&api_key=%zz%", Found::Once("%zz%".into())),
    ] {
        assert_eq!(find(path, "api_key"), expected, "{path}");
    }
    assert_eq!(find("/p?my+key=K", "my key"), Found::Once("K".into()));
}

#[test]
fn cuts_the_pair_alone() {
    for (path, expected) in [
        ("/p", None),
        ("/p?a=1", None),
        ("/p?api_key=K", Some("/p")),
        ("/p?api_key=K&b=2", Some("/p?b=2")),
        ("/p?a=1&api_key=K", Some("/p?a=1")),
        ("/p?flag&a=%20+&api%5Fkey=K&&b=", Some("/p?flag&a=%20+&&b=")),
        ("/p?api_key=K&", Some("/p?")),
        ("/p?api_key=1&a&api_key=2", Some("/p?a")),
        ("/p?token=2&a", Some("/p?a")),
        ("/p?api_key", Some("/p")),
    ] {
        assert_eq!(cut(path, &names(&["api_key", "token"])).as_deref(), expected, "{path}");
    }
}

fn pair() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z%+=0-9A-F;?/]{0,8}",
        Just("key=v".to_owned()),
        Just("k%65y=v".to_owned()),
        Just("key".to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn cutting_keeps_every_other_pair(pairs in prop::collection::vec(pair(), 0..8)) {
        let path = format!("/p?{}", pairs.join("&"));
        let is_key = |pair: &String| {
            let name = pair.split('=').next().unwrap_or("");
            decode(name).is_some_and(|name| name == "key")
        };
        let kept: Vec<_> = pairs.iter().filter(|pair| !is_key(pair)).cloned().collect();
        match cut(&path, &names(&["key"])) {
            None => prop_assert!(kept.len() == pairs.len()),
            Some(rest) => {
                prop_assert!(kept.len() < pairs.len());
                let expected = if kept.is_empty() { "/p".to_owned() } else { format!("/p?{}", kept.join("&")) };
                prop_assert_eq!(&rest, &expected);
                prop_assert_eq!(find(&rest, "key"), Found::Nothing);
            }
        }
    }

    #[test]
    fn no_path_panics(path in ".*", name in ".*") {
        let _ = find(&path, &name);
        let _ = cut(&path, &names(&[&name]));
    }
}
