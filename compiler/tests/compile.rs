//! Projects through the public interface: what comes of good ones, and what is said of bad ones.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::coverage::Coverage;
use microgw_compiler::diagnostic::{Code, Diagnostic, render_human, render_json};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::{Access, Model, Requirement};
use proptest::prelude::*;

const STANDARD: &str = "[project]\nopenapiSecurity = \"standard\"\n";

fn build(files: &MemoryFiles) -> Compilation {
    compile(files, "project", &Options::default())
}

/// The model of a project without errors.
fn model(files: &MemoryFiles) -> Model {
    let compilation = build(files);
    compilation.model.unwrap_or_else(|| panic!("{}", render_human(&compilation.diagnostics, files, false)))
}

fn orders() -> MemoryFiles {
    MemoryFiles::new()
        .with("api_definitions/orders.yaml", include_str!("data/orders.yaml"))
        .with("api_definitions/common/order.yaml", include_str!("data/common/order.yaml"))
        .with("api_definitions/common/responses.yaml", include_str!("data/common/responses.yaml"))
        .with("api_definitions/common/schemas.json", include_str!("data/common/schemas.json"))
        .with("api_definitions/common/security.yaml", include_str!("data/common/security.yaml"))
}

fn everything() -> MemoryFiles {
    orders()
        .with("api_definitions/petstore.json", include_str!("data/petstore.json"))
        .with("gen/api_definitions/tickets.yaml", include_str!("data/tickets.yaml"))
        .with("conf/deployment-config.toml", STANDARD)
}

/// The model as a person would check it.
fn outline(model: &Model) -> String {
    let mut lines = Vec::new();
    for api in &model.apis {
        let transports = format!("http {}, https {}", api.transports.http, api.transports.https);
        lines.push(format!("{} {} at `{}` ({transports})", api.name, api.version, api.base_path));
        lines.push(format!(
            "  {}, owner {:?}, header {:?}",
            model.locate(api.source),
            api.owner,
            api.credential_header
        ));
        for operation in &api.operations {
            lines.push(format!("  {} {}  {}", operation.method, operation.path, model.locate(operation.source)));
            lines.push(match &operation.access {
                Access::Public => "    public".to_owned(),
                Access::Guarded(alternatives) => {
                    let requirement = |requirement: &Requirement| match requirement {
                        Requirement::OAuth2 { scopes, all_scopes } => {
                            format!("token {}{scopes:?}", if *all_scopes { "all of " } else { "" })
                        }
                        Requirement::Basic { scopes, all_scopes } => {
                            format!("user {}{scopes:?}", if *all_scopes { "all of " } else { "" })
                        }
                        Requirement::ApiKey { location, name } => format!("key {location:?} {name}"),
                        Requirement::ClientCertificate { optional: false } => "certificate".to_owned(),
                        Requirement::ClientCertificate { optional: true } => "certificate?".to_owned(),
                        Requirement::Unenforceable(name) => format!("never {name}"),
                    };
                    let all = |requirements: &[Requirement]| {
                        requirements.iter().map(requirement).collect::<Vec<_>>().join(" and ")
                    };
                    let any: Vec<String> = alternatives.iter().map(|alternative| all(&alternative.0)).collect();
                    format!("    {}", any.join("\n    or "))
                }
            });
            let endpoints = [("production", operation.production), ("sandbox", operation.sandbox)];
            for (name, id) in endpoints {
                let Some(endpoint) = id.and_then(|id| model.endpoint(id)) else { continue };
                let urls = endpoint.urls().map(|url| {
                    format!("{}://{} {}{}", if url.tls { "https" } else { "http" }, url.host, url.port, url.path)
                });
                lines.push(format!("    {name}: {}", urls.collect::<Vec<_>>().join(", ")));
            }
        }
    }
    lines.join("\n")
}

fn line(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.place.as_ref().map_or("-".to_owned(), |place| {
        format!("{}:{}:{}-{}", place.file, place.start.line, place.start.column, place.end.column)
    });
    let related: Vec<String> = diagnostic.related.iter().map(|(place, what)| format!("\n    {place} {what}")).collect();
    let related = related.concat();
    let help = diagnostic.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
    format!("{} {} {place} {}{related}{help}", diagnostic.severity.as_str(), diagnostic.code, diagnostic.message)
}

fn codes(files: &MemoryFiles) -> Vec<Code> {
    build(files).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// A small definition with `rest` after its head.
fn small(rest: &str) -> MemoryFiles {
    MemoryFiles::new().with("api_definitions/a.yaml", format!("{HEAD}{rest}"))
}

const HEAD: &str = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: http://b/t}]\n";

#[test]
fn swagger_2() {
    let files = MemoryFiles::new().with("api_definitions/petstore.json", include_str!("data/petstore.json"));
    let compilation = build(&files);
    assert_eq!(compilation.diagnostics, []);
    insta::assert_snapshot!(outline(&compilation.model.unwrap()));
}

#[test]
fn openapi_3_0_over_several_files() {
    let compilation = build(&orders());
    assert_eq!(compilation.diagnostics, []);
    insta::assert_snapshot!(outline(&compilation.model.unwrap()));
}

#[test]
fn openapi_3_1() {
    let files = MemoryFiles::new()
        .with("gen/api_definitions/tickets.yaml", include_str!("data/tickets.yaml"))
        .with("conf/deployment-config.toml", STANDARD);
    let compilation = build(&files);
    let problems = compilation.diagnostics.iter().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("openapi_3_1_problems", problems);
    insta::assert_snapshot!(outline(&compilation.model.unwrap()));
}

#[test]
fn coverage() {
    let compilation = build(&everything());
    insta::assert_snapshot!(compilation.coverage.render());
    insta::assert_snapshot!(serde_json::to_string_pretty(&compilation.coverage).unwrap());
}

#[test]
fn bad_inputs() {
    let cases = include_str!("data/bad.txt").split("=== ").skip(1);
    let mut lines = Vec::new();
    for case in cases {
        let (title, content) = case.split_once('\n').unwrap();
        let mut files = MemoryFiles::new();
        if !content.starts_with("--- ") || content.contains("\n--- policies.yaml") {
            let body = content.split("--- ").next().unwrap();
            if !body.is_empty() {
                files.insert("api_definitions/a.yaml", format!("{HEAD}{body}"));
            }
        }
        for file in format!("\n{content}").split("\n--- ").skip(1) {
            let (path, text) = file.split_once('\n').unwrap_or((file.trim(), ""));
            files.insert(path, format!("{text}\n").replace('␀', "\0"));
        }
        let compilation = build(&files);
        let failed = compilation.diagnostics.iter().any(Diagnostic::is_error);
        assert_eq!(compilation.model.is_none(), failed, "{title}");
        assert!(!compilation.diagnostics.is_empty(), "{title}: nothing was said");
        lines.push(format!("=== {title}"));
        lines.extend(compilation.diagnostics.iter().map(line));
        // Every one of them can be shown.
        assert!(!render_human(&compilation.diagnostics, &files, true).is_empty());
        // No secret of a definition is repeated.
        assert!(!render_json(&compilation.diagnostics, &str::to_owned).contains("secret"), "{title}");
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn rendering() {
    let files = small("x-wso2-basepath: /t\npaths:\n  /ä/{id}: {get: {security: [{oaut: []}]}}\n  /ä/{b}: {get: {}}\n")
        .with("lib/a.jar", "PK");
    let diagnostics = build(&files).diagnostics;
    insta::assert_snapshot!(render_human(&diagnostics, &files, false));
    insta::assert_snapshot!(render_json(&diagnostics, &|file| format!("shop/{file}")));
}

#[test]
fn empty_security_is_public_only_where_the_project_says_so() {
    let rest = "paths: {/a: {get: {security: []}, put: {security: [{}, {oauth: []}]}, post: {}}}\n\
        components: {securitySchemes: {oauth: {type: oauth2}}}\n";
    assert_eq!(codes(&small(rest)), [Code::EmptySecurity, Code::EmptySecurity]);
    let legacy = small(rest).with("conf/deployment-config.toml", "[project]\nopenapiSecurity = \"legacy\"\n");
    assert_eq!(codes(&legacy), [Code::EmptySecurity, Code::EmptySecurity]);
    let standard = small(rest).with("conf/deployment-config.toml", STANDARD);
    let public: Vec<bool> =
        model(&standard).apis[0].operations.iter().map(|operation| operation.access == Access::Public).collect();
    assert_eq!(public, [true, true, false]);
}

#[test]
fn nothing_declared_needs_a_token() {
    let model = model(&small("paths: {/a: {get: {}}}\n"));
    let Access::Guarded(alternatives) = &model.apis[0].operations[0].access else { panic!("public") };
    assert_eq!(alternatives.len(), 1);
    assert_eq!(alternatives[0].0, [Requirement::OAuth2 { scopes: vec![], all_scopes: false }]);
}

#[test]
fn application_security_keeps_the_scopes_of_what_it_replaces() {
    let model = model(&small(
        "paths: {/a: {get: {security: [{o: [read]}], x-wso2-application-security: {security-types: [oauth2, api_key]}}}}\n\
        components: {securitySchemes: {o: {type: oauth2}}}\n",
    ));
    insta::assert_snapshot!(outline(&model));
}

#[test]
fn an_operation_wins_over_its_api() {
    let model = model(&small(
        "x-wso2-disable-security: true\npaths:\n  /a: {get: {}}\n  /b: {get: {x-wso2-disable-security: false}}\n",
    ));
    let public: Vec<bool> =
        model.apis[0].operations.iter().map(|operation| operation.access == Access::Public).collect();
    assert_eq!(public, [true, false]);

    let closed = self::model(&small(
        "x-wso2-disable-security: false\npaths:\n  /a: {get: {}}\n  /b: {get: {x-auth-type: None}}\n  /c: {get: {x-wso2-disable-security: true}}\n",
    ));
    let public: Vec<bool> =
        closed.apis[0].operations.iter().map(|operation| operation.access == Access::Public).collect();
    assert_eq!(public, [false, true, true]);
}

#[test]
fn cors_is_read_in_every_spelling() {
    let cors =
        |text: &str| model(&small(&format!("{text}\npaths: {{/a: {{get: {{}}}}}}\n"))).apis[0].traffic.cors.clone();
    let camel = cors(
        "x-wso2-cors: {corsConfigurationEnabled: true, accessControlAllowOrigins: [HTTPS://Shop.example, https://a.example], \
         accessControlAllowOriginPatterns: ['https://[a-z]+\\.b\\.example'], accessControlAllowMethods: [put, GET], \
         accessControlAllowHeaders: [X-B, x-a, X-b], accessControlAllowCredentials: true, \
         accessControlExposeHeaders: [X-Total], accessControlMaxAge: 60}",
    )
    .unwrap();
    assert_eq!(camel.origins, ["https://a.example", "https://shop.example"]);
    assert_eq!(camel.methods, ["GET", "PUT"]);
    assert_eq!(camel.headers, ["x-a", "x-b"]);
    assert_eq!((camel.credentials, camel.max_age, camel.exposed), (true, Some(60), vec!["x-total".to_owned()]));
    let snake = cors("x-wso2-cors: {cors_configuration_enabled: true, access_control_allow_origins: ['*']}");
    let kebab = cors("x-wso2-cors: {access-control-allow-origins: ['*']}");
    assert_eq!((&snake, snake.as_ref().unwrap().origins.as_slice()), (&kebab, ["*".to_owned()].as_slice()));
    assert_eq!(cors("x-wso2-cors: {cors-configuration-enabled: false, accessControlAllowOrigins: ['*']}"), None);
    assert_eq!(cors("x-wso2-owner: me"), None);
}

#[test]
fn unenforced_declarations_are_recorded_when_allowed() {
    let files = small(
        "paths: {/a: {get: {security: [{b: []}, {o: []}]}}}\n\
        components: {securitySchemes: {b: {type: http, scheme: digest}, o: {type: oauth2}}}\n",
    );
    assert!(build(&files).model.is_none());
    let allowed = compile(&files, "project", &Options { allow_unenforced: true });
    assert!(allowed.diagnostics.iter().all(|diagnostic| !diagnostic.is_error()));
    let model = allowed.model.unwrap();
    let unenforced: Vec<(&str, String)> =
        model.unenforced.iter().map(|entry| (entry.code.as_str(), model.locate(entry.source))).collect();
    assert_eq!(unenforced, [("MGW-0711", "api_definitions/a.yaml:4:32".to_owned())]);
    let Access::Guarded(alternatives) = &model.apis[0].operations[0].access else { panic!("public") };
    assert_eq!(alternatives[0].0, [Requirement::Unenforceable("b".to_owned())]);
    assert_eq!(allowed.coverage, Coverage::of(&model));
}

#[test]
fn equal_projects_have_equal_artifacts() {
    let bytes = artifact::encode(&model(&everything()));
    for _ in 0..8 {
        assert_eq!(artifact::encode(&model(&everything())), bytes);
    }
    assert_eq!(artifact::decode(&bytes).unwrap(), model(&everything()));
}

/// A definition with some of its characters replaced by others that mean something.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "", "{", "}", "[", "]", ":", ",", "\"", "'", "&a ", "*a", "- ", "\n", "0", "null", "%", "/", "é",
    ]);
    prop::collection::vec((0..text.len(), piece), 1..6).prop_map(|changes| {
        changes.into_iter().fold(text.to_owned(), |mut text, (at, piece)| {
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (at + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(at);
            text.replace_range(at..end, piece);
            text
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damaged_definition_panics(
        petstore in damaged(include_str!("data/petstore.json")),
        orders in damaged(include_str!("data/orders.yaml")),
        tickets in damaged(include_str!("data/tickets.yaml")),
    ) {
        let files = everything()
            .with("api_definitions/petstore.json", petstore)
            .with("api_definitions/orders.yaml", orders)
            .with("gen/api_definitions/tickets.yaml", tickets);
        let compilation = build(&files);
        prop_assert_eq!(compilation.model.is_none(), compilation.diagnostics.iter().any(Diagnostic::is_error));
        prop_assert!(render_human(&compilation.diagnostics, &files, false).len() >= compilation.diagnostics.len());
        // Whatever is built can be read back: nothing that decoding refuses is ever written.
        if let Some(model) = compilation.model {
            prop_assert_eq!(artifact::decode(&artifact::encode(&model)), Ok(model));
        }
    }
}
