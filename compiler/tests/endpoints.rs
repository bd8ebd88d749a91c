//! What definitions say of endpoints: what is read of good ones, and what is said of bad ones.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::{Code, render_human};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::{Endpoint, Lookup, Model};
use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::host;

fn files(endpoint: &str) -> MemoryFiles {
    let text = format!(
        "openapi: 3.0.0\ninfo: {{title: T, version: '1'}}\nx-wso2-basePath: /t\npaths: {{/a: {{get: {{}}}}}}\n\
         x-wso2-production-endpoints: {endpoint}\n"
    );
    MemoryFiles::new().with("api_definitions/t.yaml", text)
}

fn model(files: &MemoryFiles) -> Model {
    let compilation = compile(files, "t", &Options { allow_unenforced: true });
    let model = compilation.model.unwrap_or_else(|| panic!("{}", render_human(&compilation.diagnostics, files, false)));
    // What is declared survives the artifact.
    let bytes = artifact::encode(&model);
    assert_eq!(artifact::decode(&bytes).unwrap(), model);
    model
}

fn endpoint(text: &str) -> Endpoint {
    let model = model(&files(text));
    let id = model.apis[0].operations[0].production.unwrap();
    model.endpoint(id).unwrap().clone()
}

fn codes(text: &str) -> Vec<(Code, String)> {
    let found = compile(&files(text), "t", &Options::default()).diagnostics;
    found.into_iter().map(|found| (found.code, found.message)).collect()
}

#[test]
fn shares_canary_and_host() {
    let read = endpoint(
        "{urls: [https://a/x, {url: 'http://b/y', weight: 3}], host: Shop.Example:8080, \
         canary: {urls: [http://c], percent: 2.5, header: {name: X-Canary, value: '1'}}}",
    );
    let targets: Vec<_> = read.targets.iter().map(|target| (target.url.host.as_str(), target.weight)).collect();
    assert_eq!(targets, [("a", 1), ("b", 3)]);
    assert_eq!(read.policy.host.unwrap().kind, Some(host::Kind::Name("shop.example:8080".to_owned())));
    let canary = read.canary.unwrap();
    assert_eq!((canary.share, canary.header), (250, Some(("x-canary".to_owned(), Some("1".to_owned())))));
    assert_eq!(endpoint("{urls: [http://a], host: backend}").policy.host, None);
    assert_eq!(endpoint("{urls: [http://a], host: client}").policy.host.unwrap().kind, Some(host::Kind::AsSent(true)));
    let by_header = endpoint("{urls: [http://a], canary: {urls: [http://b], header: {name: x-canary}}}");
    assert_eq!(by_header.canary.unwrap().header, Some(("x-canary".to_owned(), None)));
}

#[test]
fn lookups() {
    let read = endpoint("{urls: ['etcd (a/b, http://a)', 'srv(_http._tcp.B, http://b)', 'consul(c, http://c)']}");
    let lookups: Vec<_> = read.targets.into_iter().map(|target| target.lookup).collect();
    let expected =
        [Lookup::Etcd("a/b".to_owned()), Lookup::Srv("_http._tcp.b".to_owned()), Lookup::Consul("c".to_owned())];
    assert_eq!(lookups, expected);
}

#[test]
fn credentials_are_references() {
    let kind = |security: &str| {
        let read = endpoint(&format!("{{urls: [http://a], securityConfig: {security}}}"));
        read.policy.credentials.unwrap().kind.unwrap()
    };
    assert!(matches!(kind("{type: basic, username: me}"), Kind::Basic(basic) if basic.password.is_empty()));
    let Kind::Basic(basic) = kind("{type: basic, username: me, password: '$file{/run/secrets/a}'}") else { panic!() };
    assert_eq!((basic.user.as_str(), basic.password.as_str()), ("me", "$file{/run/secrets/a}"));
    assert_eq!(kind("{type: bearer, token: '$env{A}'}"), Kind::Bearer("$env{A}".to_owned()));
    assert!(
        matches!(kind("{type: apikey, header: X-Key, value: '$env{A}'}"), Kind::ApiKey(key) if key.header == "x-key")
    );
    let oauth2 = "{type: oauth2, tokenUrl: 'https://i/t', clientId: c, clientSecret: '$env{A}', scopes: [a, b]}";
    assert!(matches!(kind(oauth2), Kind::Oauth2(oauth2) if oauth2.scopes == ["a", "b"]));
    // What an old file has in it is not used, and not kept.
    let Kind::Basic(basic) = kind("{type: basic, username: me, password: secret}") else { panic!() };
    assert_eq!(basic.password, "");
}

#[test]
fn bad_input() {
    for (text, code, part) in [
        ("{urls: []}", Code::NoEndpoint, "are empty"),
        ("{}", Code::NoEndpoint, "has no `urls`"),
        ("{urls: [1]}", Code::WrongType, "must be"),
        ("{urls: [{weight: 1}]}", Code::NoEndpoint, "has no `url`"),
        ("{urls: [{url: 'http://a', weight: 0}]}", Code::BadValue, "from 1 to 10000"),
        ("{urls: [{url: 'http://a', weight: 1.5}]}", Code::WrongType, "whole number"),
        ("{urls: [{url: 'http://a'}, {url: 'http://a', weight: 2}]}", Code::BadValue, "twice"),
        ("{urls: ['ftp://a']}", Code::BadUrl, "scheme"),
        ("{urls: ['http://u:hidden@a']}", Code::BadUrl, "user name"),
        ("{type: failover, urls: ['http://a', 'https://a']}", Code::MixedFailover, "agree"),
        ("{type: failover, urls: ['http://a/x', 'http://a/y']}", Code::MixedFailover, "agree"),
        ("{type: failover, urls: ['http://a', {url: 'http://b', weight: 2}]}", Code::BadValue, "no meaning"),
        ("{urls: ['srv(a)']}", Code::BadEtcd, "two parts"),
        ("{urls: ['consul(a/b, http://a)']}", Code::BadEtcd, "no service"),
        ("{urls: ['srv(10.0.0.1, http://a)']}", Code::BadEtcd, "no name"),
        ("{urls: ['etcd(, http://a)']}", Code::BadEtcd, "empty"),
        ("{urls: ['etcd(a, b)']}", Code::BadUrl, "relative"),
        ("{urls: [http://a], canary: 1}", Code::WrongType, "an object"),
        ("{urls: [http://a], canary: {urls: [http://b]}}", Code::BadValue, "no request"),
        ("{urls: [http://a], canary: {percent: 5}}", Code::NoEndpoint, "has no `urls`"),
        ("{urls: [http://a], canary: {urls: [http://b], percent: 101}}", Code::BadValue, "from 0 to 100"),
        ("{urls: [http://a], canary: {urls: [http://b], percent: -1}}", Code::BadValue, "from 0 to 100"),
        ("{urls: [http://a], canary: {urls: [http://b], percent: 1e1}}", Code::BadValue, "from 0 to 100"),
        ("{urls: [http://a], canary: {urls: [http://b], percent: 0.001}}", Code::BadValue, "two digits"),
        ("{urls: [http://a], canary: {urls: [http://b], percent: a}}", Code::WrongType, "a number"),
        ("{urls: [http://a], canary: {urls: [http://b], header: {value: a}}}", Code::BadValue, "no `name`"),
        (
            "{urls: [http://a], canary: {urls: [http://b], header: {name: x-microgw-environment}}}",
            Code::BadHeaderName,
            "choose",
        ),
        (
            "{urls: [http://a], canary: {urls: [http://b], header: {name: authorization}}}",
            Code::BadHeaderName,
            "choose",
        ),
        ("{urls: [http://a], canary: {urls: [http://b], header: {name: ':method'}}}", Code::BadHeaderName, "choose"),
        (
            "{urls: [http://a], canary: {urls: [http://b], header: {name: a, value: \"a\\nb\"}}}",
            Code::BadValue,
            "cannot stand",
        ),
        ("{urls: [http://a], host: a/b}", Code::BadValue, "cannot stand in `Host`"),
        ("{urls: [http://a], host: \"a\\r\\nb: c\"}", Code::BadValue, "cannot stand"),
        ("{urls: [http://a], securityConfig: {type: digest, username: a}}", Code::BadCredentials, "digest"),
        ("{urls: [http://a], securityConfig: {type: ntlm}}", Code::BadValue, "must be one of"),
        ("{urls: [http://a], securityConfig: {}}", Code::BadCredentials, "no `type`"),
        ("{urls: [http://a], securityConfig: {type: basic}}", Code::BadCredentials, "no `username`"),
        ("{urls: [http://a], securityConfig: {type: basic, username: 'a:b'}}", Code::BadCredentials, "colon"),
        (
            "{urls: [http://a], securityConfig: {type: basic, username: a, password: 'x$env{A}'}}",
            Code::BadCredentials,
            "must be all",
        ),
        ("{urls: [http://a], securityConfig: {type: bearer, token: hidden}}", Code::BadCredentials, "no reference"),
        ("{urls: [http://a], securityConfig: {type: bearer, token: '$env{}'}}", Code::BadCredentials, "to nothing"),
        (
            "{urls: [http://a], securityConfig: {type: apikey, header: host, value: '$env{A}'}}",
            Code::BadHeaderName,
            "cannot carry",
        ),
        (
            "{urls: [http://a], securityConfig: {type: apikey, header: x-key, value: hidden}}",
            Code::BadCredentials,
            "no reference",
        ),
        (
            "{urls: [http://a], securityConfig: {type: oauth2, tokenUrl: 'http://i/t', clientId: c, clientSecret: '$env{A}'}}",
            Code::BadCredentials,
            "`https://`",
        ),
        (
            "{urls: [http://a], securityConfig: {type: oauth2, tokenUrl: 'https://i/t', clientId: c, clientSecret: hidden}}",
            Code::BadCredentials,
            "no reference",
        ),
        (
            "{urls: [http://a], securityConfig: {type: oauth2, tokenUrl: 'https://i/t', clientId: c, clientSecret: '$env{A}', scopes: ['a b']}}",
            Code::BadCredentials,
            "no scope",
        ),
    ] {
        let found = codes(text);
        assert!(found.iter().any(|(found, message)| *found == code && message.contains(part)), "{text}: {found:?}");
        assert!(!found.iter().any(|(_, message)| message.contains("hidden")), "{text}: {found:?}");
    }
}

#[test]
fn an_operation_must_name_where_its_password_is() {
    let text = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nx-wso2-basePath: /t\npaths:\n  /a:\n    get:\n      \
                x-wso2-production-endpoints: {urls: [http://a], securityConfig: {type: basic, username: me}}\n";
    let files = MemoryFiles::new().with("api_definitions/t.yaml", text);
    let found = compile(&files, "t", &Options::default()).diagnostics;
    assert!(found.iter().any(|found| found.code == Code::BadCredentials), "{found:?}");
}

#[test]
fn too_many_ways_are_refused() {
    let urls = |count: usize| (0..count).map(|n| format!("'http://a/{n}'")).collect::<Vec<_>>().join(", ");
    assert_eq!(endpoint(&format!("{{urls: [{}]}}", urls(16))).targets.len(), 16);
    let found = codes(&format!("{{urls: [{}]}}", urls(17)));
    assert!(found.iter().any(|(code, _)| *code == Code::BadValue), "{found:?}");
}
