use super::*;
use Environment::{Production, Sandbox};

#[test]
fn names_of_settings_are_taken_apart() {
    for (name, expected) in [
        ("shop_prod_endpoint_0", Some(("shop", Production, Subject::Url(0)))),
        ("shop_sand_endpoint_12", Some(("shop", Sandbox, Subject::Url(12)))),
        ("a_prod_b_sand_basic_username", Some(("a_prod_b", Sandbox, Subject::User))),
        ("my-shop.v1_prod_basic_password", Some(("my-shop.v1", Production, Subject::Password))),
        ("shop_sand_3_etcdKey", Some(("shop", Sandbox, Subject::EtcdKey(3)))),
        ("shop_prod_endpoint_", None),
        ("shop_prod_endpoint_01", None),
        ("shop_prod_endpoint_-1", None),
        ("shop_prod_endpoint_99999", None),
        ("_prod_endpoint_0", None),
        ("shop_prod_etcdKey", None),
        ("shop_test_endpoint_0", None),
    ] {
        assert_eq!(Subject::of(name), expected, "{name}");
    }
}

#[test]
fn variables_stand_for_names_that_they_cannot_have() {
    let one = EndpointOverride {
        id: "my_shop_v1".to_owned(),
        loose: true,
        environment: Production,
        change: Change::User("me".to_owned()),
    };
    assert!(one.is_for("my-shop.v1", Production) && one.is_for("my_shop_v1", Production));
    assert!(!one.is_for("my-shop.v1", Sandbox) && !one.is_for("my-shop.v2", Production));
    let exact = EndpointOverride { loose: false, ..one };
    assert!(exact.is_for("my_shop_v1", Production) && !exact.is_for("my-shop.v1", Production));
    assert_eq!(exact.key(), "my_shop_v1_prod_basic_username");
}

#[test]
fn secrets_do_not_show() {
    let secrets = Secrets([("$env{A}".to_owned(), Ok("hidden".to_owned()))].into());
    assert_eq!(format!("{secrets:?}"), format!("{:?}", Secrets::default()));
}
