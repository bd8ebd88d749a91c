//! What `x-microgw-transform` and `policies/` become, and what is said of those that cannot be.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::Code;
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::Model;
use microgw_proto::transforms::v1::step::Action;

const HEAD: &str =
    "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\nservers: [{url: https://shop.example.com/shop}]\n";

fn files(definition: &str, policies: &[(&str, &str)]) -> MemoryFiles {
    let files = MemoryFiles::new().with("api_definitions/shop.yaml", format!("{HEAD}{definition}"));
    policies.iter().fold(files, |files, (path, text)| files.with(*path, *text))
}

/// `line:column message` of each problem.
fn problems(definition: &str, policies: &[(&str, &str)]) -> Vec<String> {
    let compilation = compile(&files(definition, policies), "shop", &Options::default());
    let said = compilation.diagnostics.iter().filter(|found| found.code == Code::BadTransform);
    said.map(|found| {
        let place = found.place.as_ref().unwrap();
        format!("{}:{}:{} {}", place.file, place.start.line, place.start.column, found.message)
    })
    .collect()
}

fn model(definition: &str, policies: &[(&str, &str)]) -> Model {
    let compilation = compile(&files(definition, policies), "shop", &Options::default());
    let said: Vec<_> = compilation.diagnostics.iter().map(|found| &found.message).collect();
    compilation.model.unwrap_or_else(|| panic!("{said:#?}"))
}

/// What the steps of the first operation do, in words.
fn steps(model: &Model, response: bool) -> Vec<String> {
    let transforms = model.apis[0].operations[0].transforms;
    let id = if response { transforms.response } else { transforms.request };
    let Some(transform) = id.and_then(|id| model.transform(id)) else { return Vec::new() };
    let told = |action: &Option<Action>| match action {
        None => "guard".to_owned(),
        Some(Action::Headers(edits) | Action::Query(edits)) => {
            let edit = |edit: &microgw_proto::transforms::v1::Edit| {
                format!("{:?} {} {}", edit.operation(), edit.name, edit.value).trim().to_owned()
            };
            edits.edits.iter().map(edit).collect::<Vec<_>>().join(", ")
        }
        Some(Action::Json(edits)) => {
            let edit = |edit: &microgw_proto::transforms::v1::JsonEdit| {
                format!("{:?} {} {}{}", edit.operation(), edit.at, edit.to, edit.value).trim().to_owned()
            };
            edits.edits.iter().map(edit).collect::<Vec<_>>().join(", ")
        }
        Some(other) => format!("{other:?}"),
    };
    let step = |step: &microgw_proto::transforms::v1::Step| {
        let condition = if step.condition.is_empty() { String::new() } else { format!("if {} ", step.condition) };
        let guards = if step.guards > 0 { format!(" {}", step.guards) } else { String::new() };
        let parameters = step.parameters.checked_sub(1).and_then(|index| transform.parameters.get(index as usize));
        let parameters = parameters.map(|parameters| format!(" with {parameters}")).unwrap_or_default();
        format!("{} {condition}{}{guards}{parameters}", step.source, told(&step.action))
    };
    transform.steps.iter().map(step).collect()
}

#[test]
fn an_api_s_steps_are_around_those_of_its_operations() {
    let definition = "x-microgw-transform:
  request: [{headers: {set: {X-A: api}}}]
  response: [{headers: {set: {X-A: api}}}]
paths:
  /items:
    get:
      x-microgw-transform:
        request: [{headers: {set: {X-A: own}}}]
        response: [{headers: {set: {X-A: own}}}]
    put: {}
    post: {}
";
    let model = model(definition, &[]);
    let at = |line: u32, column: u32, value: &str| format!("api_definitions/shop.yaml:{line}:{column} SET x-a {value}");
    let at = |line, column, value| at(line, column, value).replace("SET x-a", "Set X-A");
    assert_eq!(steps(&model, false), [at(5, 13, "api"), at(11, 19, "own")]);
    assert_eq!(steps(&model, true), [at(12, 20, "own"), at(6, 14, "api")]);
    // Those of the API alone are one, however many operations have them.
    assert_eq!(model.transforms.len(), 4);
    let [_, put, post] = &model.apis[0].operations[..] else { panic!() };
    assert_eq!(put.transforms, post.transforms);
    let decoded = artifact::decode(&artifact::encode(&model)).unwrap();
    assert_eq!(decoded, model);
}

#[test]
fn every_action_has_its_words() {
    let definition = r#"paths:
  /items/{id}:
    post:
      x-microgw-transform:
        request:
          - if: request.method == 'POST'
            headers: {rename: {X-Old: X-New}, remove: [X-Gone], set: {X-Set: "{{ caller.subject }}"}, append: {X-More: b}, add: {X-Two: [a, b]}}
          - query: {set: {q: "{{ path.id }}"}, remove: debug}
          - path: /things/{{ path.id }}
          - method: PUT
          - json:
              - {add: /a/b, value: {n: 1.10, t: "{{ body.x }}", l: [1, null, true]}}
              - {replace: $..c, value: 0}
              - {remove: [/d, $..e]}
              - {rename: /f, to: g}
              - rename: {/h: i, /j: k}
              - {move: /l, to: /m}
          - toXml: {root: order}
          - toJson: {root: order, arrays: [item], typed: true}
          - toXml: true
          - body: {template: "<a>{{ caller.subject }}</a>", contentType: text/xml}
        response:
          - status: 201
"#;
    let model = model(definition, &[]);
    let steps = steps(&model, false).join("\n");
    for expected in [
        "if request.method == 'POST' Rename X-Old X-New, Remove X-Gone, Set X-Set {{ caller.subject }}, Append X-More b, Add X-Two a, Add X-Two b",
        "Remove debug, Set q {{ path.id }}",
        "Path(\"/things/{{ path.id }}\")",
        "Method(\"PUT\")",
        r#"Add /a/b {"n":1.10,"t":"{{ body.x }}","l":[1,null,true]}, Replace $..c 0, Remove /d, Remove $..e, Rename /f g, Rename /h i, Rename /j k, Move /l /m"#,
        "ToXml(ToXml { root: \"order\", content_type: \"\" })",
        "ToJson(ToJson { root: \"order\", arrays: [\"item\"], typed: true })",
        "ToXml(ToXml { root: \"\", content_type: \"\" })",
    ] {
        assert!(steps.contains(expected), "{expected}\n{steps}");
    }
}

const POLICY: &str = r#"description: Hides members.
parameters:
  type: object
  properties:
    fields: {type: array, items: {type: string}}
    names: {type: object, default: {/a: b}}
    note: {type: string, default: none}
    count: {type: integer, enum: [1, 2]}
  required: [fields]
request:
  - json: [{remove: "{{ parameters.fields }}"}]
response:
  - json:
      - {replace: "{{ parameters.fields }}", value: "{{ parameters.note }}"}
      - rename: "{{ parameters.names }}"
  - headers: {set: {X-Count: "{{ parameters.note }}"}}
"#;

#[test]
fn policies_are_used_with_values() {
    let definition = r#"x-microgw-transform:
  - policy: mask
    if: request.method == 'GET'
    with: {fields: ["$..secret", /token], note: "{{ caller.subject }}"}
paths: {/items: {get: {}}}
"#;
    let model = model(definition, &[("policies/mask.yaml", POLICY)]);
    let given = r#" with {"fields":["$..secret","/token"],"names":{"/a":"b"},"note":"{{ caller.subject }}"}"#;
    let place = "policies/mask.yaml:";
    assert_eq!(
        steps(&model, false),
        [
            "api_definitions/shop.yaml:5:5 if request.method == 'GET' guard 1".to_owned(),
            format!("{place}11:5 Remove $..secret, Remove /token{given}"),
        ]
    );
    let response = steps(&model, true);
    let expected = r#"Replace $..secret "{{ parameters.note }}", Replace /token "{{ parameters.note }}", Rename /a b"#;
    assert_eq!(response[0], "api_definitions/shop.yaml:5:5 if request.method == 'GET' guard 2");
    assert_eq!(response[1], format!("{place}13:5 {expected}{given}"));
    assert!(response[2].starts_with(&format!("{place}16:5 Set X-Count {{{{ parameters.note }}}}")), "{}", response[2]);
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    let operation = |steps: &str| {
        format!("paths:\n  /items/{{id}}:\n    get:\n      x-microgw-transform:\n        request:\n{steps}")
    };
    let mut wrong = Vec::new();
    for (steps, expected) in [
        ("          - headers: {set: {Host: x}}\n", "9:29 the header `Host` cannot be edited"),
        (
            "          - headers: {set: {X: \"{{ nobody }}\"}}\n",
            "9:32 the template is not accepted: `nobody` is not known",
        ),
        ("          - {if: nobody, method: PUT}\n", "9:18 the condition is not accepted"),
        ("          - {method: PUT, status: 200}\n", "9:13 a step has exactly one of"),
        ("          - {status: 200}\n", "9:14 `status` is for responses alone"),
        ("          - {metod: PUT}\n", "9:14 `a step` has no key `metod`"),
        ("          - path: /x/{{ path.nothing }}\n", "9:13 `GET /items/{id}` has no path parameter `nothing`"),
        ("          - path: x\n", "9:13 a path begins with `/`"),
        ("          - json: [{remove: a}]\n", "9:29 `a` is no place in a body"),
        ("          - json: [{add: /a}]\n", "9:20 `add` needs a `value`"),
        ("          - json: [{remove: /a, value: 1}]\n", "9:40 `value` has no meaning beside `remove`"),
        ("          - json: [{add: /a, value: .inf}]\n", "9:37 the value has a number that JSON has no form for"),
        ("          - json: [{add: /a, value: \"{{ x\"}]\n", "9:37 the template is not accepted"),
        ("          - body: {template: x}\n", "9:19 `body` needs `template` and `contentType`"),
        ("          - policy: nothing\n", "9:21 there is no policy `nothing`"),
        (
            "          - headers: {set: {X: \"{{ parameters.x }}\"}}\n",
            "9:13 `parameters.x` has a meaning in policies only",
        ),
        ("          - {with: {a: 1}, method: PUT}\n", "9:20 `with` has a meaning beside `policy` only"),
        ("          headers\n", "9:11 `steps` must be a list, not text"),
    ] {
        let found = problems(&operation(steps), &[]);
        let expected = format!("api_definitions/shop.yaml:{expected}");
        if !(found.len() == 1 && found[0].starts_with(&expected)) {
            wrong.push(format!("{steps}{expected}\n{found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn policies_are_held_to_what_they_declare() {
    let using = |with: &str| {
        format!("x-microgw-transform:\n  - policy: mask\n    with: {with}\npaths: {{/items: {{get: {{}}}}}}\n")
    };
    for (with, expected) in [
        ("{}", "api_definitions/shop.yaml:5:13 the policy `mask` needs the parameter `fields`"),
        ("{fields: a}", "api_definitions/shop.yaml:6:20 the parameter `fields` of `mask` must be a list"),
        ("{fields: [1]}", "api_definitions/shop.yaml:6:21 the parameter `fields/0` of `mask` must be text"),
        (
            "{fields: [/a], count: 3}",
            "api_definitions/shop.yaml:6:33 the parameter `count` of `mask` must be one of [1,2]",
        ),
        ("{fields: [/a], field: 3}", "api_definitions/shop.yaml:6:26 the policy `mask` has no parameter `field`"),
        // In the place of use, since that is where it is written.
        ("{fields: [a]}", "api_definitions/shop.yaml:6:21 `a` is no place in a body"),
    ] {
        let found = problems(&using(with), &[("policies/mask.yaml", POLICY)]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{with} {expected}\n{found:#?}");
    }
    for (policy, expected) in [
        ("request: []\nrespons: []\n", "2:1 a policy has no key `respons`"),
        ("description: x\n", "1:1 `policies/mask.yaml` has no steps"),
        ("[]\n", "1:1 `policies/mask.yaml` must be an object"),
        ("request: [{policy: mask}]\n", "1:20 a policy cannot use another one"),
        (
            "parameters: {properties: {a: {patern: x}}}\nrequest: [{method: PUT}]\n",
            "1:39 the schema of the parameters is not accepted: `patern` is no keyword",
        ),
        ("request: [{headers: {set: {X: '{{ parameters.a }}'}}}]\n", "1:12 the policy declares no parameter `a`"),
        ("request: [{json: [{remove: '{{ parameters.a }}'}]}]\n", "1:28 the policy declares no parameter `a`"),
        (
            "parameters: {properties: {a: {default: {X: '{{ caller.subject }}'}}}}\nrequest: [{headers: {set: '{{ parameters.a }}'}}]\n",
            "1:44 what a parameter says is no template",
        ),
    ] {
        let found = problems(&using("{}"), &[("policies/mask.yaml", policy)]);
        let expected = format!("policies/mask.yaml:{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{policy} {expected}\n{found:#?}");
    }
}

#[test]
fn what_an_operation_cannot_have_transformed() {
    let found = problems(
        "paths:\n  /old:\n    get:\n      x-microgw-redirect: {to: /new}\n      x-microgw-transform: {request: [{method: PUT}]}\n",
        &[],
    );
    assert!(found.len() == 1 && found[0].contains("is answered by the gateway itself"), "{found:#?}");
    let found = problems("paths:\n  /a:\n    head:\n      x-microgw-transform: {request: [{method: PUT}]}\n", &[]);
    assert!(found.len() == 1 && found[0].contains("its response has no body"), "{found:#?}");
    let both = "x-wso2-sandbox-endpoints: {urls: ['https://sand.example.com']}\npaths:\n  /a:\n    get:\n      security: [{key: []}]\n      x-microgw-transform: {request: [{path: /b}]}\ncomponents: {securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}}\n";
    let found = problems(both, &[]);
    assert!(found.len() == 1 && found[0].contains("production and sandbox endpoints"), "{found:#?}");
    let key = "paths:\n  /a:\n    get:\n      security: [{key: []}]\n      x-microgw-transform: {request: [{headers: {rename: {X-Key: X-Other}}}]}\ncomponents: {securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}}\n";
    let found = problems(key, &[]);
    assert!(found.len() == 1 && found[0].contains("the header `x-key` has a credential"), "{found:#?}");
    let stream = "paths:\n  /a:\n    get:\n      x-microgw-stream: true\n      x-microgw-transform:\n        request: [{json: [{remove: /a}]}]\n        response: [{status: 201}, {toXml: true}]\n";
    let found = problems(stream, &[]);
    assert!(found.len() == 1 && found[0].contains(":10:36 `GET /a` is for streams"), "{found:#?}");
    let socket = "paths:\n  /a:\n    get:\n      x-microgw-websocket: true\n      x-microgw-transform: {request: [{method: PUT}]}\n";
    let found = problems(socket, &[]);
    assert!(found.len() == 1 && found[0].contains("is for WebSocket"), "{found:#?}");
}
