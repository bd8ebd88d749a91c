use microgw_compiler::settings::Environment;

use super::super::{Sources, resolve};
use super::*;

fn sources(environment: &[(&str, &str)], overrides: &[&str]) -> Sources {
    Sources {
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
        ..Sources::default()
    }
}

fn refused(environment: &[(&str, &str)], overrides: &[&str]) -> String {
    resolve(&sources(environment, overrides)).unwrap_err().to_string()
}

#[test]
fn the_command_line_comes_after_the_environment() {
    let environment = [("my_shop_prod_endpoint_0", "http://one"), ("SECRET", "hidden")];
    let overrides = [
        "--my-shop_prod_endpoint_0=https://two:8443/v2",
        "--shop_sand_basic_username=me",
        "--shop_sand_basic_password=$env{SECRET}",
        "--shop_prod_1_etcdKey=shop/backend",
    ];
    let (config, warnings) = resolve(&sources(&environment, &overrides)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let url = |text| Change::Url(0, url::parse(text).unwrap());
    let found: Vec<_> = config.endpoints.iter().map(|one| (one.key(), one.loose, one.change.clone())).collect();
    let expected = [
        ("my_shop_prod_endpoint_0", true, url("http://one")),
        ("my-shop_prod_endpoint_0", false, url("https://two:8443/v2")),
        ("shop_prod_1_etcdKey", false, Change::EtcdKey(1, "shop/backend".to_owned())),
        ("shop_sand_basic_password", false, Change::Password),
        ("shop_sand_basic_username", false, Change::User("me".to_owned())),
    ];
    assert_eq!(found, expected.map(|(key, loose, change)| (key.to_owned(), loose, change)));
    let password = microgw_compiler::settings::password("shop", Environment::Sandbox);
    assert_eq!(config.endpoint_secrets.0.get(&password), Some(&Ok("hidden".to_owned())));
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn bad_values_are_refused_and_not_repeated() {
    for (setting, part) in [
        ("shop_prod_endpoint_0=ftp://secret", "no URL that can be used"),
        ("shop_prod_endpoint_0=https://user:secret@a", "user name or password"),
        ("shop_prod_endpoint_0=", "no URL"),
        ("shop_prod_basic_username=sec:ret", "a colon"),
        ("shop_prod_basic_password=", "is empty"),
        ("shop_prod_basic_password=$env{NOT_SET}", "is not set"),
        ("shop_prod_0_etcdKey=", "no key that can be looked up"),
        ("shop_prod_endpoint_x=secret", "is not known"),
    ] {
        let refused = refused(&[], &[setting]);
        assert!(refused.contains(part) && !refused.contains("secret"), "{setting}: {refused}");
    }
    assert!(refused(&[("shop_prod_endpoint_0", "//a")], &[]).contains("shop_prod_endpoint_0"));
}

#[test]
fn variables_that_are_nearly_settings_are_warned_of() {
    let (_, warnings) = resolve(&sources(&[("shop_prod_endpoint_", "http://a")], &[])).unwrap();
    assert!(warnings.iter().any(|warning| warning.message.contains("is none")), "{warnings:?}");
}
