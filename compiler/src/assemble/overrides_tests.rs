use super::*;
use crate::assemble::tests::settings;
use crate::compile::{Options, compile};
use crate::files::MemoryFiles;
use crate::settings::{OverrideSubject, Secrets};
use crate::url::parse;

const PROJECT: &str = "
openapi: 3.0.0
info: {title: Shop, version: '1'}
x-wso2-basePath: /shop
x-wso2-endpoints:
  - both: {urls: [http://a/v, http://b/w]}
  - ordered: {urls: [http://a/v, http://b/v], securityConfig: {type: basic, username: me}}
x-wso2-production-endpoints: {urls: [https://shop]}
x-wso2-sandbox-endpoints: '#/x-wso2-endpoints/both'
paths:
  /api: {get: {}}
  /both: {get: {x-wso2-production-endpoints: '#/x-wso2-endpoints/both'}}
  /ordered: {get: {x-wso2-production-endpoints: '#/x-wso2-endpoints/ordered'}}
  /own: {get: {x-wso2-production-endpoints: {urls: [http://own]}}}
";

fn model() -> Model {
    let files = MemoryFiles::new().with("api_definitions/shop.yaml", PROJECT);
    let compilation = compile(&files, "shop", &Options::default());
    compilation.model.unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics))
}

fn one(key: &str, value: &str) -> EndpointOverride {
    let (id, environment, subject) = OverrideSubject::of(key).unwrap();
    let change = match subject {
        OverrideSubject::Url(index) => Change::Url(index, parse(value).unwrap()),
        OverrideSubject::EtcdKey(index) => Change::EtcdKey(index, value.to_owned()),
        OverrideSubject::User => Change::User(value.to_owned()),
        OverrideSubject::Password => Change::Password,
    };
    EndpointOverride { id: id.to_owned(), loose: false, environment, change }
}

fn with(overrides: &[(&str, &str)]) -> Settings {
    let endpoints = overrides.iter().map(|(key, value)| one(key, value)).collect();
    let secrets = Secrets([(password("ordered", Environment::Production), Ok("hidden".to_owned()))].into());
    Settings { endpoints, secrets, ..settings() }
}

/// The hosts of an operation's endpoints.
fn hosts(model: &Model, path: &str) -> [Vec<String>; 2] {
    let operation = model.apis[0].operations.iter().find(|operation| operation.path.as_str() == path).unwrap();
    [operation.production, operation.sandbox].map(|id| {
        let endpoint = id.and_then(|id| model.endpoint(id)).unwrap();
        endpoint.urls().map(|url| url.host.clone()).collect()
    })
}

#[test]
fn only_the_environment_that_is_named_changes() {
    let (model, settings) = (model(), with(&[("both_prod_endpoint_1", "https://c/x")]));
    let (changed, problems) = overridden(&model, &settings);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(hosts(&changed, "/both"), [["a", "c"], ["a", "b"]]);
    assert_eq!(hosts(&changed, "/api"), [vec!["shop"], vec!["a", "b"]]);
    assert_eq!(conflict(&model, &settings), None);
}

#[test]
fn an_api_is_called_by_a_hash() {
    let model = model();
    let names: Vec<&str> = model.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let id = names.iter().find(|name| name.starts_with("api_")).unwrap();
    assert_eq!(id.len(), "api_".len() + 64);
    let settings = with(&[(&format!("{id}_prod_endpoint_0"), "http://other")]);
    let (changed, problems) = overridden(&model, &settings);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(hosts(&changed, "/api")[0], ["other"]);
    assert_eq!(hosts(&changed, "/own")[0], ["own"], "what an operation names by itself has no name");
}

#[test]
fn what_does_not_fit_is_refused() {
    for (key, value, part) in [
        ("other_prod_endpoint_0", "http://c", "does not exist; for production there are `api_"),
        ("ordered_sand_endpoint_0", "http://c", "does not exist; for sandbox there are `both`"),
        ("both_prod_endpoint_2", "http://c", "it has 2"),
        ("both_prod_basic_username", "me", "without a `securityConfig`"),
    ] {
        let conflict = conflict(&model(), &with(&[(key, value)])).unwrap();
        assert!(conflict.contains(part) && conflict.contains(key), "{conflict}");
    }
    let mut model = model();
    for endpoint in model.endpoints.iter_mut().filter(|endpoint| endpoint.name == "ordered") {
        endpoint.policy.balance = Balance::Failover.into();
    }
    let differs = conflict(&model, &with(&[("ordered_prod_endpoint_0", "http://c/w")])).unwrap();
    assert!(differs.contains("differs in scheme or path"), "{differs}");
    assert_eq!(conflict(&model, &with(&[("ordered_prod_endpoint_0", "http://c/v")])), None);
}

#[test]
fn a_password_is_the_settings_to_name() {
    let model = model();
    let without = Settings { secrets: Secrets::default(), ..with(&[]) };
    let missing = conflict(&model, &without).unwrap();
    assert!(
        missing.contains("`ordered_prod_basic_password`") && missing.contains("api_definitions/shop.yaml:13:"),
        "{missing}"
    );
    let (changed, _) = overridden(&model, &without);
    assert_eq!(references(&changed).len(), 1);
    let bad = Secrets([(password("ordered", Environment::Production), Ok("a\nb".to_owned()))].into());
    assert!(conflict(&model, &Settings { secrets: bad, ..with(&[]) }).unwrap().contains("cannot be sent"));
    assert_eq!(conflict(&model, &with(&[("ordered_prod_basic_username", "you")])), None);
}
