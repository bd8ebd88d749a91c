//! What definitions say of messages: parameters, bodies, schemas, in each of their versions.

use std::fmt::Write as _;

use microgw_compiler::artifact;
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::{Code, Diagnostic, render_human};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::{Api, Model};
use microgw_proto::contracts::v1::Mode;
use microgw_schemas::{Contract, Direction, Presence, RequestHead, Schemas, Violations};

const NONE: [String; 0] = [];

fn files(definition: &str) -> MemoryFiles {
    MemoryFiles::new().with("api_definitions/shop.yaml", definition)
}

fn build(files: &MemoryFiles) -> Compilation {
    compile(files, "project", &Options::default())
}

fn model_of(files: &MemoryFiles) -> Model {
    let compilation = build(files);
    compilation.model.unwrap_or_else(|| panic!("{}", render_human(&compilation.diagnostics, files, false)))
}

fn model(definition: &str) -> Model {
    model_of(&files(definition))
}

/// As the engine would compile it, of the artifact.
fn contract(api: &Api, operation: usize) -> Contract {
    let operation = &api.operations[operation];
    let requests = Schemas::compile(&api.schemas, Direction::Request).unwrap();
    let responses = Schemas::compile(&api.schemas, Direction::Response).unwrap();
    let path = format!("{}{}", api.base_path, operation.path);
    Contract::compile(operation.contract.as_ref().unwrap(), &path, &requests, &responses).unwrap()
}

fn told(violations: &Violations) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

fn head(contract: &Contract, path: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    told(&contract.request_head(&RequestHead { path, headers: &header }, Presence::Unknown))
}

fn body(contract: &Contract, kind: &str, body: &str) -> Vec<String> {
    told(&contract.request_body(Some(kind), body.as_bytes()))
}

fn first(definition: &str) -> Contract {
    let model = model(definition);
    let again = artifact::decode(&artifact::encode(&model)).unwrap();
    assert_eq!(model, again);
    contract(&again.apis[0], 0)
}

const HEAD_30: &str =
    "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\nservers: [{url: 'https://shop.example.com/shop'}]\n";
const HEAD_31: &str =
    "openapi: 3.1.0\ninfo: {title: Shop, version: '1'}\nservers: [{url: 'https://shop.example.com/shop'}]\n";
const HEAD_20: &str =
    "swagger: '2.0'\ninfo: {title: Shop, version: '1'}\nhost: shop.example.com\nschemes: [https]\nbasePath: /shop\n";

#[test]
fn parameters_of_openapi_30() {
    let contract = first(&format!(
        "{HEAD_30}
paths:
  /items/{{id}}:
    parameters:
      - {{name: id, in: path, required: true, schema: {{type: integer, format: int32}}}}
      - {{name: limit, in: query, schema: {{type: integer, maximum: 10}}}}
    get:
      parameters:
        - {{name: limit, in: query, schema: {{type: integer, maximum: 100, exclusiveMaximum: true}}}}
        - $ref: '#/components/parameters/Tags'
        - {{name: X-Trace, in: header, required: true, schema: {{type: string, format: uuid}}}}
        - {{name: filter, in: query, style: deepObject, schema: {{type: object, additionalProperties: false, properties: {{min: {{type: integer}}}}}}}}
        - {{name: where, in: query, content: {{application/json: {{schema: {{type: object}}}}}}}}
        - {{name: mood, in: query, schema: {{type: string, nullable: true, enum: [good, bad]}}}}
      responses: {{}}
components:
  parameters:
    Tags: {{name: tags, in: query, explode: false, schema: {{type: array, items: {{$ref: '#/components/schemas/Tag'}}}}}}
  schemas:
    Tag: {{type: string, maxLength: 2}}
"
    ));
    let check = |path: &str| head(&contract, path, &[("x-trace", "123e4567-e89b-12d3-a456-426614174000")]);
    assert_eq!(check("/shop/items/7?limit=99&tags=a,bb&filter[min]=1&where={}&mood=good"), NONE);
    assert_eq!(check("/shop/items/7?limit=100"), ["query limit: must be less than 100"]);
    assert_eq!(check("/shop/items/3000000000"), ["path id: must be at most 2147483647"]);
    assert_eq!(check("/shop/items/7?tags=a,bbb"), ["query tags/1: must have at most 2 characters"]);
    assert_eq!(check("/shop/items/7?filter[max]=1"), ["query filter: has the property `max`, which is not declared"]);
    assert_eq!(check("/shop/items/7?where=5"), ["query where: must be an object"]);
    assert_eq!(check("/shop/items/7?mood=so").len(), 1);
    assert_eq!(head(&contract, "/shop/items/7", &[]), ["header x-trace: is required"]);
}

#[test]
fn bodies_of_openapi_30() {
    let contract = first(&format!(
        "{HEAD_30}
paths:
  /items:
    post:
      requestBody: {{$ref: '#/components/requestBodies/Item'}}
      responses:
        '200':
          description: ok
          headers: {{X-Count: {{required: true, schema: {{type: integer}}}}}}
          content: {{application/json: {{schema: {{$ref: '#/components/schemas/Item'}}}}}}
        4XX: {{description: bad, content: {{application/problem+json: {{schema: {{type: object, required: [title]}}}}}}}}
        default: {{description: else, content: {{'*/*': {{}}}}}}
components:
  requestBodies:
    Item:
      required: true
      content:
        application/json: {{schema: {{$ref: '#/components/schemas/Item'}}}}
        application/xml: {{schema: {{$ref: '#/components/schemas/Item'}}}}
        multipart/form-data:
          schema: {{type: object, required: [photo], properties: {{photo: {{type: string, format: binary}}, name: {{type: string}}}}}}
          encoding: {{photo: {{contentType: 'image/png, image/jpeg'}}}}
  schemas:
    Item:
      type: object
      required: [id, name]
      properties:
        id: {{type: integer, readOnly: true}}
        name: {{type: string, minLength: 1, xml: {{name: title}}}}
        secret: {{type: string, writeOnly: true}}
        parent: {{$ref: '#/components/schemas/Item', description: ignored}}
"
    ));
    assert!(contract.needs_request_body() && contract.needs_response_body() && contract.needs_response_head());
    let json = |text: &str| body(&contract, "application/json", text);
    assert_eq!(json(r#"{"name": "a", "parent": {"name": "b", "secret": "x"}}"#), NONE);
    assert_eq!(json(r#"{"name": "", "parent": {"id": 1}}"#).len(), 3);
    assert_eq!(body(&contract, "application/xml", "<Item><title>a</title></Item>"), NONE);
    assert_eq!(body(&contract, "application/xml", "<Other><title>a</title></Other>").len(), 1);
    let part = "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\nContent-Type: image/png\r\n\r\nx\r\n--b--";
    assert_eq!(body(&contract, "multipart/form-data; boundary=b", part), NONE);
    let gif = part.replace("png", "gif");
    assert_eq!(body(&contract, "multipart/form-data; boundary=b", &gif).len(), 1);
    let answer = |status, kind, text: &str| told(&contract.response_body(status, Some(kind), text.as_bytes()));
    assert_eq!(answer(200, "application/json", r#"{"id": 1, "name": "a"}"#), NONE);
    assert_eq!(
        answer(200, "application/json", r#"{"id": 1, "name": "a", "secret": "x"}"#),
        ["body /secret: is write-only"]
    );
    assert_eq!(answer(404, "application/problem+json", "{}"), ["body: must have the property `title`"]);
    assert_eq!(answer(503, "text/html", "<p>"), NONE);
}

#[test]
fn schemas_of_openapi_31() {
    let contract = first(&format!(
        "{HEAD_31}
paths:
  /items:
    post:
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties:
                a: {{type: [integer, 'null'], exclusiveMinimum: 0}}
                b: {{$ref: '#/components/schemas/Text', maxLength: 2}}
                d: {{$ref: '#/components/schemas/Tree', description: a tree}}
                c: {{prefixItems: [{{const: x}}], items: false}}
              dependentRequired: {{a: [b]}}
components:
  schemas:
    Text: {{type: string}}
    Tree: {{type: object, additionalProperties: {{$ref: '#/components/schemas/Tree', description: a tree}}}}
"
    ));
    let json = |text: &str| body(&contract, "application/json", text);
    assert_eq!(json(r#"{"a": null, "b": "xx", "c": ["x"]}"#), NONE);
    assert_eq!(json(r#"{"a": 0}"#).len(), 2);
    assert_eq!(json(r#"{"b": "xxx"}"#), ["body /b: must have at most 2 characters"]);
    assert_eq!(json(r#"{"c": ["x", 1]}"#).len(), 1);
    assert_eq!(json(r#"{"d": {"a": {"b": {}}}}"#), NONE);
    assert_eq!(json(r#"{"d": {"a": {"b": 1}}}"#), ["body /d/a/b: must be an object"]);
}

#[test]
fn operations_of_swagger_20() {
    let definition = format!(
        "{HEAD_20}
consumes: [application/json]
paths:
  /items/{{id}}:
    post:
      parameters:
        - {{name: id, in: path, required: true, type: integer, minimum: 0, exclusiveMinimum: true}}
        - {{name: tags, in: query, type: array, collectionFormat: pipes, items: {{type: string, maxLength: 2}}}}
        - {{name: all, in: query, type: array, collectionFormat: multi, items: {{type: integer}}}}
        - {{name: item, in: body, required: true, schema: {{$ref: '#/definitions/Item'}}}}
      responses: {{'200': {{description: ok, schema: {{type: array, items: {{$ref: '#/definitions/Item'}}}}}}}}
  /upload:
    post:
      consumes: [multipart/form-data]
      parameters:
        - {{name: name, in: formData, required: true, type: string}}
        - {{name: file, in: formData, type: file}}
      responses: {{'200': {{description: ok}}}}
definitions:
  Item: {{type: object, required: [name], properties: {{name: {{type: string}}, next: {{$ref: '#/definitions/Item'}}}}}}
"
    );
    let model = model(&definition);
    let api = &model.apis[0];
    let post = contract(api, 0);
    assert_eq!(head(&post, "/shop/items/1?tags=a|bb&all=1&all=2", &[]), NONE);
    assert_eq!(head(&post, "/shop/items/0?tags=a|bbb", &[]).len(), 2);
    assert_eq!(body(&post, "application/json", r#"{"name": "a", "next": {"name": "b"}}"#), NONE);
    assert_eq!(
        body(&post, "application/json", r#"{"name": "a", "next": {}}"#),
        ["body /next: must have the property `name`"]
    );
    assert_eq!(
        told(&post.response_body(200, Some("application/json"), b"[{}]")),
        ["body /0: must have the property `name`"]
    );
    let upload = contract(api, 1);
    let part = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\u{1}\r\n");
    let form = |parts: String| body(&upload, "multipart/form-data; boundary=b", &format!("{parts}--b--"));
    assert_eq!(form(part("name") + &part("file")), NONE);
    assert_eq!(form(part("file")), ["body: must have the property `name`"]);
    assert!(upload.request_body(Some("application/json"), b"{}").is_media_type());
}

#[test]
fn discriminators_choose() {
    let by_alternative = first(&format!(
        "{HEAD_30}
paths:
  /pets:
    post:
      requestBody:
        content:
          application/json:
            schema:
              oneOf: [{{$ref: '#/components/schemas/Cat'}}, {{$ref: '#/components/schemas/Dog'}}]
              discriminator: {{propertyName: kind, mapping: {{puppy: '#/components/schemas/Dog'}}}}
components:
  schemas:
    Cat: {{type: object, required: [kind, lives], properties: {{kind: {{type: string}}, lives: {{type: integer}}}}}}
    Dog: {{type: object, required: [kind], properties: {{kind: {{type: string}}, bark: {{type: boolean}}}}}}
"
    ));
    let by_base = first(&format!(
        "{HEAD_30}
paths:
  /pets:
    post:
      requestBody: {{content: {{application/json: {{schema: {{$ref: '#/components/schemas/Pet'}}}}}}}}
components:
  schemas:
    Pet: {{type: object, required: [kind], properties: {{kind: {{type: string}}}}, discriminator: {{propertyName: kind, mapping: {{puppy: Dog}}}}}}
    Cat: {{allOf: [{{$ref: '#/components/schemas/Pet'}}, {{type: object, required: [lives], properties: {{lives: {{type: integer}}}}}}]}}
    Dog: {{allOf: [{{$ref: '#/components/schemas/Pet'}}, {{type: object, properties: {{bark: {{type: boolean}}}}}}]}}
    Spaniel: {{allOf: [{{$ref: '#/components/schemas/Dog'}}, {{required: [ears]}}]}}
"
    ));
    for contract in [&by_alternative, &by_base] {
        let json = |text: &str| body(contract, "application/json", text);
        assert_eq!(json(r#"{"kind": "Cat", "lives": 9}"#), NONE);
        assert_eq!(json(r#"{"kind": "Cat"}"#), ["body: must have the property `lives`"]);
        assert_eq!(json(r#"{"kind": "puppy", "bark": 1}"#), ["body /bark: must be true or false"]);
        assert_eq!(json(r#"{"kind": "Cow"}"#).len(), 1);
        assert!(!json("{}").is_empty());
    }
    assert_eq!(body(&by_base, "application/json", r#"{"kind": "Spaniel"}"#), ["body: must have the property `ears`"]);
    assert_eq!(body(&by_base, "application/json", r#"{"kind": "Pet"}"#), NONE);
}

#[test]
fn schemas_are_shared_and_may_be_in_other_files() {
    let paths: Vec<String> = (0..200)
        .map(|index| {
            format!(
                "  /a{index}: {{post: {{parameters: [{{name: q, in: query, schema: {{type: integer}}}}], requestBody: {{content: {{application/json: {{schema: {{$ref: 'common/item.yaml#/Item'}}}}}}}}}}}}\n"
            )
        })
        .collect();
    let files = files(&format!("{HEAD_30}paths:\n{}", paths.concat()))
        .with(
            "api_definitions/common/item.yaml",
            "Item: {type: object, properties: {next: {$ref: '#/Item'}, name: {$ref: 'name.yaml'}}}",
        )
        .with("api_definitions/common/name.yaml", "{type: string, maxLength: 2}");
    let model = model_of(&files);
    assert_eq!(model.apis[0].schemas.schemas.len(), 3, "{:?}", model.apis[0].schemas);
    let contract = contract(&model.apis[0], 7);
    assert_eq!(
        body(&contract, "application/json", r#"{"next": {"name": "abc"}}"#),
        ["body /next/name: must have at most 2 characters"]
    );
}

#[test]
fn operations_say_what_is_validated() {
    let modes = |extension: &str, own: &str| {
        let model = model(&format!("{HEAD_30}{extension}\npaths: {{/a: {{get: {{{own}}}}}}}\n"));
        model.apis[0].operations[0]
            .contract
            .as_ref()
            .map(|contract| (contract.request_mode(), contract.response_mode()))
    };
    assert_eq!(modes("", ""), Some((Mode::Unsaid, Mode::Unsaid)));
    assert_eq!(modes("x-microgw-validation: enforce", ""), Some((Mode::Enforce, Mode::Enforce)));
    assert_eq!(modes("x-microgw-validation: enforce", "x-microgw-validation: off"), None);
    assert_eq!(
        modes("x-microgw-validation: {request: enforce}", "x-microgw-validation: {response: report}"),
        Some((Mode::Enforce, Mode::Report))
    );
    let codes = |text: &str| -> Vec<Code> {
        build(&files(text)).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
    };
    for wrong in ["x-microgw-validation: on", "x-microgw-validation: {request: 'yes'}"] {
        assert_eq!(codes(&format!("{HEAD_30}{wrong}\npaths: {{/a: {{get: {{}}}}}}\n")), [Code::BadValue]);
    }
    let stray = format!("{HEAD_30}paths: {{/a: {{x-microgw-validation: off, get: {{}}}}}}\n");
    assert_eq!(codes(&stray), [Code::MisplacedExtension]);
}

fn of_code(definition: &str, code: Code) -> Vec<Diagnostic> {
    build(&files(definition)).diagnostics.into_iter().filter(|diagnostic| diagnostic.code == code).collect()
}

#[test]
fn what_cannot_be_checked_is_told_where_it_stands() {
    let with = |extension: &str| {
        format!(
            "{HEAD_30}{extension}
paths:
  /a: {{post: {{requestBody: {{content: {{application/json: {{schema: {{$ref: '#/components/schemas/A'}}}}}}}}}}}}
  /b: {{get: {{parameters: [{{name: q, in: query, schema: {{type: integer}}}}]}}}}
components:
  schemas:
    A: {{type: object, properties: {{b: {{$ref: '#/components/schemas/B'}}}}}}
    B:
      type: array
      items:
        pattern: '(?=x)'
"
        )
    };
    let asked = of_code(&with("x-microgw-validation: enforce"), Code::BadContract);
    let [diagnostic] = asked.as_slice() else { panic!("{asked:?}") };
    let place = diagnostic.place.as_ref().unwrap();
    assert_eq!((place.start.line, place.start.column), (14, 18), "{diagnostic:?}");
    assert!(diagnostic.message.starts_with("requests of `POST /a` cannot be validated: the pattern `(?=x)`"));
    let unasked = of_code(&with(""), Code::UncheckedContract);
    assert_eq!(unasked.len(), 1);
    let model = model(&with(""));
    let contracts: Vec<_> =
        model.apis[0].operations.iter().map(|operation| operation.contract.clone().unwrap()).collect();
    assert!(contracts[0].request_flaw.contains("api_definitions/shop.yaml:14:18"), "{}", contracts[0].request_flaw);
    assert_eq!((contracts[0].response_flaw.as_str(), contracts[1].request_flaw.as_str()), ("", ""));
    // What is left compiles, and says nothing of what is wrong.
    contract(&model.apis[0], 1);
    assert_eq!(of_code(&with("x-microgw-validation: off"), Code::UncheckedContract), []);
}

#[test]
fn every_kind_of_flaw_is_found() {
    let operation = |operation: &str| {
        format!("{HEAD_31}x-microgw-validation: enforce\npaths: {{'/a/{{x}}': {{post: {operation}}}}}\n")
    };
    for (wrong, message) in [
        ("{parameters: [{name: y, in: path, schema: {}}]}", "in no segment"),
        ("{parameters: [{name: y, in: there, schema: {}}]}", "in no place"),
        ("{parameters: [{in: query, schema: {}}]}", "has no name"),
        ("{parameters: [{name: y, in: query, style: odd, schema: {}}]}", "the style `odd`"),
        ("{parameters: [{name: y, in: header, style: deepObject, schema: {}}]}", "for queries alone"),
        ("{parameters: [{name: y, in: query, schema: {type: strin}}]}", "cannot be validated"),
        ("{requestBody: {content: {json: {}}}}", "no media type"),
        ("{requestBody: {content: {application/yaml: {schema: {type: object}}}}}", "only JSON, XML"),
        (
            "{requestBody: {content: {application/json: {schema: {$recursiveRef: '#'}}}}}",
            "`$recursiveRef` is not followed",
        ),
        (
            "{requestBody: {content: {application/json: {schema: {$schema: 'http://json-schema.org/draft-07/schema#'}}}}}",
            "schemas are those of JSON Schema 2020-12",
        ),
        ("{requestBody: {content: {'a/b;x=1': {schema: {}}, 'a/b;x=2': {schema: {type: string}}}}}", "declared twice"),
        (
            "{requestBody: {content: {application/json: {schema: {type: object, additionalproperties: false}}}}}",
            "did you mean `additionalProperties`?",
        ),
        ("{parameters: [{name: y, in: query, schema: {type: string, maxLenght: 3}}]}", "did you mean `maxLength`?"),
        ("{responses: {'20': {description: x}}}", "no status"),
        (
            "{x-microgw-stream: true, responses: {'200': {content: {application/json: {schema: {type: object}}}}}}",
            "the operation streams",
        ),
    ] {
        let found = of_code(&operation(wrong), Code::BadContract);
        assert!(found.iter().any(|found| found.message.contains(message)), "{wrong}: {found:?}");
    }
    let many: Vec<String> = (0..201).map(|index| format!("{{name: p{index}, in: query}},")).collect();
    let found = of_code(&operation(&format!("{{parameters: [{}]}}", many.concat())), Code::BadContract);
    assert!(found[0].message.contains("more than 200 parameters"));
    let formats =
        of_code(&operation("{parameters: [{name: y, in: query, schema: {format: datetime}}]}"), Code::UnknownFormat);
    assert_eq!(formats.len(), 1);
}

/// A schema that is named by its anchor, by its URI, or by whoever uses it.
#[test]
fn schemas_are_called_by_their_names() {
    let definition = format!(
        "{HEAD_31}
paths:
  /a: {{post: {{requestBody: {{content: {{application/json: {{schema: {{$ref: '#/components/schemas/Pets'}}}}}}}}}}}}
  /b: {{post: {{requestBody: {{content: {{application/json: {{schema: {{$ref: '../schemas/shop.yaml#/Tags'}}}}}}}}}}}}
  /c: {{post: {{requestBody: {{content: {{application/json: {{schema: {{$ref: 'https://example.com/schemas/tag'}}}}}}}}}}}}
components:
  schemas:
    Pets: {{$id: 'https://example.com/schemas/pets', $ref: list, $defs: {{item: {{$dynamicAnchor: item, $ref: '#pet'}}, pet: {{$anchor: pet, required: [name]}}}}}}
    List: {{$id: 'https://example.com/schemas/list', type: array, items: {{$dynamicRef: '#item'}}, $defs: {{item: {{$dynamicAnchor: item}}}}}}
"
    );
    // Beside its file lies what nobody calls by its URI.
    let shop = "
Tags: {$id: 'https://example.com/schemas/tags', $ref: list, $defs: {item: {$dynamicAnchor: item, $ref: tag}}}
Tag: {$id: 'https://example.com/schemas/tag', allOf: [{$ref: short.yaml}], not: {$id: 'https://example.com/inner', const: {$id: 1}}}
";
    let files = files(&definition).with("schemas/shop.yaml", shop).with("schemas/short.yaml", "{maxLength: 3}");
    let model = model_of(&files);
    let told = |operation: usize, json: &str| body(&contract(&model.apis[0], operation), "application/json", json);
    assert_eq!(told(0, r#"[{"name": 1}, {}]"#), ["body /1: must have the property `name`"]);
    assert_eq!(told(1, r#"["a", "long"]"#), ["body /1: must have at most 3 characters"]);
    assert_eq!(told(2, r#""long""#), ["body: must have at most 3 characters"]);

    // In 3.0 that is no word: URIs are fetched by nobody, and files are beside those that name them.
    let old =
        "{schema: {$id: 'https://example.com/x', type: object, properties: {a: {$ref: '../schemas/short.yaml'}}}}";
    let operation = format!("{{post: {{requestBody: {{content: {{application/json: {old}}}}}}}}}");
    let files = files.with("api_definitions/shop.yaml", format!("{HEAD_30}paths: {{/a: {operation}}}\n"));
    let model = model_of(&files);
    let contract = contract(&model.apis[0], 0);
    assert_eq!(body(&contract, "application/json", r#"{"a": "long"}"#), ["body /a: must have at most 3 characters"]);
}

#[test]
fn names_that_schemas_cannot_have_are_told() {
    let schemas = |schemas: &str| format!("{HEAD_31}paths: {{}}\ncomponents: {{schemas: {{{schemas}}}}}\n");
    for (wrong, code, message) in [
        ("A: {$id: x}, B: {$id: ./x}, C: {$ref: x}", Code::UnresolvedReference, "leads to several schemas"),
        ("A: {$id: 'a b'}", Code::BadValue, "no reference to a URI"),
        ("A: {$anchor: x, items: {$dynamicAnchor: x}}", Code::BadValue, "another schema has it"),
        ("A: {$anchor: 1x}", Code::BadValue, "begins with a letter"),
        ("A: {$id: 'x#y'}", Code::BadValue, "no fragment"),
        ("A: {$id: 'https://example.com/x', items: {$ref: y}}", Code::UnresolvedReference, "`$ref`"),
        ("A: {$id: 'https://example.com/x', items: {$ref: '#y'}}, B: {$anchor: y}", Code::UnresolvedReference, "`#y`"),
        ("A: {$dynamicRef: '#nobody'}", Code::UnresolvedReference, "`#nobody`"),
        ("A: {$ref: 'https://example.com/y'}", Code::OutsideReference, "nothing is fetched"),
        (
            "A: {example: {$id: x}, enum: [{$anchor: x}], odd: {$anchor: x}}, B: {$ref: '#x'}",
            Code::UnresolvedReference,
            "`#x`",
        ),
    ] {
        let found = of_code(&schemas(wrong), code);
        assert!(found.len() == 1 && found[0].message.contains(message), "{wrong}: {found:?}");
    }
    // As generators have it: the same schema in several places, and pointers from the root of the document.
    let copies = "A: {$id: x, items: {$ref: '#/components/schemas/B'}}, B: {items: {$id: x, items: {$ref: '#/components/schemas/B'}}}";
    assert!(build(&files(&schemas(copies))).model.is_some());
    let none =
        "A: {properties: {$id: {type: string}, $anchor: {type: string}}}, B: {properties: {$id: {}, $anchor: {}}}";
    assert!(build(&files(&schemas(none))).model.is_some());
}

/// Each way to a schema may be one of its own; there are not more of them than anybody needs.
#[test]
fn ways_to_dynamic_names_are_bounded() {
    let mut definition = format!(
        "{HEAD_31}x-microgw-validation: enforce\npaths: {{/a: {{post: {{requestBody: {{content: {{application/json: {{schema: {{$ref: s0}}}}}}}}}}}}}}\ncomponents:\n  schemas:\n"
    );
    for index in 0..10 {
        let next: Vec<String> =
            (0..10).filter(|other| *other != index).map(|other| format!("{{$ref: s{other}}}")).collect();
        writeln!(
            definition,
            "    S{index}: {{$id: s{index}, $defs: {{x: {{$dynamicAnchor: d{index}}}}}, anyOf: [{}]}}",
            next.join(", ")
        )
        .unwrap();
    }
    let start = std::time::Instant::now();
    let found = of_code(&definition, Code::BadContract);
    assert!(found.iter().any(|found| found.message.contains("too many ways")), "{found:?}");
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

/// A name is found among many in no time, also from between others.
#[test]
fn many_schemas_with_names_take_no_longer() {
    let mut definition = format!("{HEAD_31}paths: {{}}\ncomponents:\n  schemas:\n");
    for index in 0..20_000 {
        writeln!(definition, "    S{index}: {{$id: s{index}, items: {{$ref: s{}}}}}", index / 2).unwrap();
    }
    for index in 0..20_000 {
        writeln!(definition, "    T{index}: {{items: {{$ref: s{index}}}}}").unwrap();
    }
    let start = std::time::Instant::now();
    assert!(build(&files(&definition)).model.is_some());
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Whatever streams has a body, and whatever declares none is refused if it has one.
#[test]
fn a_stream_that_declares_no_body_is_told_so() {
    let talk = |operation: &str| {
        let files = files(&format!(
            "{HEAD_30}x-microgw-validation: enforce\npaths:\n  /talk: {{{operation}, responses: {{}}}}}}\n"
        ));
        let compilation = build(&files);
        compilation
            .diagnostics
            .iter()
            .map(|diagnostic| (diagnostic.code, diagnostic.message.clone()))
            .collect::<Vec<_>>()
    };
    let told = talk("post: {x-microgw-stream: bidirectional");
    assert!(
        matches!(&told[..], [(Code::BadContract, message)] if message.contains("declare a `requestBody`")),
        "{told:?}"
    );
    assert_eq!(talk("post: {x-microgw-stream: bidirectional, requestBody: {content: {application/grpc: {}}}"), []);
    assert_eq!(talk("get: {x-microgw-stream: bidirectional"), []);
    assert_eq!(talk("get: {x-microgw-websocket: true"), []);
}

/// Nobody can ask for it.
#[test]
fn a_style_that_no_request_can_have_is_refused() {
    let told = |mode: &str, parameter: &str| {
        let files = files(&format!(
            "{HEAD_30}x-microgw-validation: {mode}\npaths:\n  /a/{{p}}:\n    parameters: [{{name: p, required: true, schema: {{type: string}}, {parameter}}}]\n    get: {{responses: {{}}}}\n    delete: {{responses: {{}}}}\n"
        ));
        let compilation = build(&files);
        compilation
            .diagnostics
            .iter()
            .map(|diagnostic| (diagnostic.code, diagnostic.message.clone()))
            .collect::<Vec<_>>()
    };
    for mode in ["enforce", "off"] {
        let found = told(mode, "in: path, style: matrix");
        assert!(matches!(&found[..], [(Code::BadPath, message)] if message.contains("`matrix`")), "{found:?}");
    }
    assert_eq!(told("enforce", "in: path, style: label"), []);
    let found = told("enforce", "in: header, style: label");
    assert!(
        found.iter().any(|(code, message)| *code == Code::BadContract && message.contains("for paths alone")),
        "{found:?}"
    );
}
