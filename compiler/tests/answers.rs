//! What becomes of examples and redirects in definitions of each version.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::{Code, render_human};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::Model;
use microgw_proto::traffic::v1::{Example, answer::Kind};

fn model(files: &MemoryFiles) -> Model {
    let compilation = compile(files, "shop", &Options::default());
    let said = render_human(&compilation.diagnostics, files, false);
    let model = compilation.model.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(artifact::decode(&artifact::encode(&model)).unwrap(), model);
    model
}

fn examples<'m>(model: &'m Model, path: &str) -> &'m [Example] {
    let operations = model.apis.iter().flat_map(|api| &api.operations);
    let operation = operations.clone().find(|operation| operation.path.as_str() == path).unwrap();
    assert!(operation.production.is_none() && operation.sandbox.is_none());
    match operation.traffic.answer.as_ref().and_then(|answer| answer.kind.as_ref()) {
        Some(Kind::Examples(examples)) => &examples.examples,
        other => panic!("{path}: {other:?}"),
    }
}

fn outline(examples: &[Example]) -> Vec<String> {
    let line = |Example { name, status, content_type, body, headers }: &Example| {
        let headers: Vec<String> = headers.iter().map(|header| format!(" {}: {}", header.name, header.value)).collect();
        format!("{status} {content_type} [{name}] {}{}", String::from_utf8_lossy(body), headers.concat())
    };
    examples.iter().map(line).collect()
}

#[test]
fn swagger_2() {
    let text = "
swagger: '2.0'
info: {title: T, version: '1'}
basePath: /t
produces: [text/plain, application/vnd.shop+json]
x-microgw-mock: true
paths:
  /by-type:
    get: {responses: {200: {examples: {application/xml: <a/>, application/json: {$ref: kept, n: 1.50}}}}}
  /by-schema:
    get: {responses: {200: {schema: {$ref: '#/definitions/Item'}, headers: {X-Rate: {type: integer, default: 5}}}}}
  /empty: {get: {responses: {default: {description: done}}}}
definitions:
  Item: {type: object, properties: {id: {type: integer, example: 3}, name: {type: string}}}
";
    let model = model(&MemoryFiles::new().with("api_definitions/t.yaml", text));
    assert_eq!(
        outline(examples(&model, "/by-type")),
        ["200 application/xml [] <a/>", r#"200 application/json [] {"$ref":"kept","n":1.50}"#]
    );
    assert_eq!(outline(examples(&model, "/by-schema")), [r#"200 application/vnd.shop+json [] {"id":3} x-rate: 5"#]);
    assert_eq!(outline(examples(&model, "/empty")), ["200  [] "]);
}

#[test]
fn openapi_3() {
    let text = "
openapi: 3.1.0
info: {title: T, version: '1'}
x-wso2-basePath: /t
x-microgw-mock: {example: second}
paths:
  /named:
    get:
      responses:
        4XX: {content: {application/json: {examples: {first: {value: no}}}}}
        201:
          content:
            application/json:
              examples: {first: {value: 1}, second: {$ref: examples/second.yaml}, third: {$ref: '#/components/examples/third'}}
  /unnamed: {get: {responses: {200: {content: {'*/*': {example: '{\"written\": \"out\"}'}}}}}}
  /text: {get: {responses: {200: {content: {application/json: {schema: {type: string}, example: '[]'}}}}}}
  /composed:
    get:
      responses:
        200:
          content:
            application/json:
              schema:
                allOf:
                  - {$ref: '#/components/schemas/Base'}
                  - required: [tags]
                    properties:
                      tags: {type: array, items: {enum: [only]}}
                      secret: {type: string, writeOnly: true, default: x}
                      either: {oneOf: [{const: 1}, {const: 2}]}
                      children: {type: array, items: {$ref: '#/components/schemas/Base'}}
  /wrapped: {get: {responses: {200: {content: {application/json: {schema: {allOf: [{$ref: '#/components/schemas/Base'}]}}}}}}}
  /beside: {get: {responses: {200: {content: {application/json: {schema: {$ref: '#/components/schemas/Base', examples: [{id: 9}]}}}}}}}
  /served: {get: {x-microgw-mock: false, x-wso2-production-endpoints: {urls: [http://b/t]}}}
components:
  examples: {third: {summary: S, value: {n: 3}}}
  schemas:
    Base: {type: object, required: [id], properties: {id: {default: 1}, self: {$ref: '#/components/schemas/Base'}}}
";
    let files = MemoryFiles::new()
        .with("api_definitions/t.yaml", text)
        .with("api_definitions/examples/second.yaml", "summary: S\nvalue: [2]\n");
    let model = model(&files);
    assert_eq!(
        outline(examples(&model, "/named")),
        [
            "201 application/json [second] [2]",
            r#"400 application/json [first] "no""#,
            "201 application/json [first] 1",
            r#"201 application/json [third] {"n":3}"#,
        ]
    );
    assert_eq!(outline(examples(&model, "/unnamed")), [r#"200 application/json [] {"written": "out"}"#]);
    assert_eq!(outline(examples(&model, "/text")), [r#"200 application/json [] "[]""#]);
    assert_eq!(
        outline(examples(&model, "/composed")),
        [r#"200 application/json [] {"id":1,"self":{"id":1},"tags":["only"],"children":[{"id":1}]}"#]
    );
    assert_eq!(outline(examples(&model, "/wrapped")), [r#"200 application/json [] {"id":1}"#]);
    assert_eq!(outline(examples(&model, "/beside")), [r#"200 application/json [] {"id":9}"#]);
    let served = model.apis[0].operations.iter().find(|operation| operation.path.as_str() == "/served").unwrap();
    assert!(served.production.is_some() && served.traffic.answer.is_none());
}

#[test]
fn what_is_too_much_does_not_build() {
    let head = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nx-wso2-basePath: /t\nx-microgw-mock: true\npaths:\n";
    let codes = |paths: &str| {
        let files = MemoryFiles::new().with("api_definitions/t.yaml", format!("{head}{paths}"));
        let compilation = compile(&files, "shop", &Options::default());
        assert!(compilation.model.is_none());
        compilation.diagnostics.into_iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>()
    };
    let response = |media: &str| format!("{{responses: {{200: {{content: {{text/plain: {media}}}}}}}}}");
    let long = response(&format!("{{example: {}}}", "x".repeat(64 * 1024 + 1)));
    assert_eq!(codes(&format!("  /a: {{get: {long}}}\n")), [Code::BadAnswer]);
    let many: Vec<String> = (0..33).map(|index| format!("e{index}: {{value: a}}")).collect();
    let many = response(&format!("{{examples: {{{}}}}}", many.join(", ")));
    assert_eq!(codes(&format!("  /a: {{get: {many}}}\n")), [Code::BadAnswer]);
    let full = response(&format!("{{example: {}}}", "x".repeat(64 * 1024)));
    let paths: Vec<String> = (0..=128).map(|index| format!("  /a{index}: {{get: {full}}}\n")).collect();
    assert_eq!(codes(&paths.concat()), [Code::BadAnswer]);
    // Schemas that multiply: looked at for a while, and then given up.
    let schema = |index: usize| {
        let next = format!("{{$ref: '#/components/schemas/S{}'}}", index + 1);
        format!("    S{index}: {{properties: {{a: {next}, b: {next}}}}}\n")
    };
    let schemas = (0..40).map(schema).collect::<Vec<_>>().concat();
    let schemas = format!("components:\n  schemas:\n    S40: {{type: string}}\n{schemas}");
    let paths =
        "  /a: {get: {responses: {200: {content: {application/json: {schema: {$ref: '#/components/schemas/S0'}}}}}}}\n";
    assert_eq!(codes(&format!("{paths}{schemas}")), [Code::NoExample]);
}
