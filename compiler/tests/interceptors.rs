//! What interceptors become, and what is said of those that cannot be.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::diagnostic::Code;
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::Model;
use microgw_proto::interceptors::v1::Use;
use microgw_proto::interceptors::v1::interceptor::Host;

const HEAD: &str =
    "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\nservers: [{url: https://shop.example.com/shop}]\n";
const SERVICE: &str = "service: {url: 'http://audit.example.com/x'}\nbody: false\n";

fn component(exports: &[&str], body: bool) -> Vec<u8> {
    let import = if body { r#"(import "micro-gw:interceptor/body@0.1.0" (instance))"# } else { "" };
    let exports = exports.iter().map(|name| format!(r#"(export "{name}" (func $f))"#)).collect::<Vec<_>>().concat();
    let text = format!(
        r#"(component {import}
            (core module $m (func (export "f"))) (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
            {exports})"#
    );
    wat::parse_str(text).unwrap()
}

fn files(definition: &str, more: &[(&str, &[u8])]) -> MemoryFiles {
    let files = MemoryFiles::new()
        .with("api_definitions/shop.yaml", format!("{HEAD}{definition}"))
        .with("interceptors/stamp.wasm", component(&["on-request", "on-response"], false))
        .with("interceptors/check.wasm", component(&["on-request"], true))
        .with("interceptors/audit.yaml", SERVICE);
    more.iter().fold(files, |files, (path, content)| files.with(*path, *content))
}

/// `file:line:column message` of each problem.
fn problems(definition: &str, more: &[(&str, &[u8])]) -> Vec<String> {
    let compilation = compile(&files(definition, more), "shop", &Options { allow_unenforced: true });
    let codes = [Code::BadInterceptor, Code::ForeignInterceptor, Code::BallerinaCode];
    let said = compilation.diagnostics.iter().filter(|found| codes.contains(&found.code));
    said.map(|found| {
        let place = found.place.as_ref().unwrap();
        format!("{}:{}:{} {}", place.file, place.start.line, place.start.column, found.message)
    })
    .collect()
}

fn model(definition: &str, more: &[(&str, &[u8])]) -> Model {
    let compilation = compile(&files(definition, more), "shop", &Options::default());
    let said: Vec<_> = compilation.diagnostics.iter().map(|found| &found.message).collect();
    let model = compilation.model.unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!(artifact::decode(&artifact::encode(&model)).unwrap(), model);
    model
}

fn names(model: &Model, uses: &[Use]) -> Vec<String> {
    let name = |one: &Use| format!("{}{}", model.interceptors[one.interceptor as usize].name, one.parameters);
    uses.iter().map(name).collect()
}

#[test]
fn those_of_an_api_come_first_in_requests_and_last_in_responses() {
    let model = model(
        "x-wso2-request-interceptor: audit
x-wso2-response-interceptor: audit
paths:
  /a:
    get:
      x-wso2-request-interceptor: audit
      x-microgw-interceptors: {request: [check, stamp], response: [stamp, audit]}
  /b: {get: {x-microgw-interceptors: false}}
  /c: {get: {}}
",
        &[],
    );
    let operations = &model.apis[0].operations;
    let told = |index: usize| {
        let uses = &operations[index].interceptors;
        (names(&model, &uses.request), names(&model, &uses.response))
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(told(0), (owned(&["audit", "check", "stamp"]), owned(&["stamp", "audit"])));
    assert_eq!(told(1), (Vec::new(), Vec::new()));
    assert_eq!(told(2), (owned(&["audit"]), owned(&["audit"])));
    let bodies = |name: &str| {
        let found = model.interceptors.iter().find(|program| program.name == name).unwrap();
        (found.request_body, found.response_body, matches!(found.host, Some(Host::Component(_))))
    };
    assert_eq!(bodies("check"), (true, false, true));
    assert_eq!(bodies("stamp"), (false, false, true));
    assert_eq!(bodies("audit"), (false, false, false));
    assert_eq!(operations[0].interceptors.request[0].source, "api_definitions/shop.yaml:4:29");
}

#[test]
fn descriptions_have_bounds_bodies_claims_and_parameters() {
    let description = "description: Checks tenants
version: 1.2.0
component: check.wasm
body: false
timeoutMs: 50
maxMemoryMb: 8
claims: [tenant]
parameters: {type: object, properties: {limit: {type: integer, default: 3}, name: {type: string}}, required: [name]}
";
    let model = model(
        "paths: {/a: {get: {x-microgw-interceptors: {request: [{name: tenants, with: {name: blue}}]}}}}\n",
        &[("interceptors/tenants.yaml", description.as_bytes())],
    );
    let [program] = &model.interceptors[..] else { panic!("{:?}", model.interceptors) };
    let Some(Host::Component(component)) = &program.host else { panic!("{program:?}") };
    assert_eq!((program.timeout_milliseconds, component.max_memory), (50, 8 << 20));
    assert_eq!((program.claims.as_slice(), program.request_body), (&["tenant".to_owned()][..], false));
    assert_eq!(
        names(&model, &model.apis[0].operations[0].interceptors.request),
        [r#"tenants{"limit":3,"name":"blue"}"#]
    );
}

#[test]
fn uses_that_cannot_be_are_errors() {
    let at = |operation: &str| problems(&format!("paths:\n  /a:\n    get: {operation}\n"), &[]);
    let file = "api_definitions/shop.yaml";
    for (operation, expected) in [
        ("{x-wso2-request-interceptor: audits}", "6:39 there is no interceptor `audits`"),
        (
            "{x-wso2-request-interceptor: 'java:org.acme.Check'}",
            "6:39 `org.acme.Check` is a Java class, which is not run",
        ),
        (
            "{x-wso2-response-interceptor: 'acme/policies/1.0.0:fn'}",
            "6:40 `acme/policies/1.0.0:fn` is a function of Ballerina's hub, which is not fetched",
        ),
        (
            "{x-wso2-response-interceptor: check}",
            "6:40 `check` sees no responses: it does not export what would be called",
        ),
        ("{x-wso2-response-interceptor: [check]}", "6:40 `x-wso2-response-interceptor` must be text, not a list"),
        ("{x-microgw-interceptors: {requests: [audit]}}", "6:36 `x-microgw-interceptors` has no key `requests`"),
        ("{x-microgw-interceptors: {request: audit}}", "6:45 `request` must be a list, not text"),
        ("{x-microgw-interceptors: {request: [{with: {}}]}}", "6:46 a use of an interceptor needs its `name`"),
        (
            "{x-microgw-interceptors: true}",
            "6:35 `x-microgw-interceptors` must have `request` and `response`, or be `false`, not a boolean",
        ),
        (
            "{x-wso2-request-interceptor: audit, x-microgw-interceptors: false}",
            "6:70 `x-microgw-interceptors: false` contradicts the interceptors that are named beside it",
        ),
        (
            "{x-wso2-request-interceptor: check, x-microgw-stream: bidirectional}",
            "6:39 `GET /a` is for streams, whose bodies nobody waits for, and the interceptor `check` needs them",
        ),
        (
            "{x-wso2-request-interceptor: audit, x-microgw-websocket: true}",
            "6:39 `GET /a` is for WebSocket: none of its messages would go through `audit`",
        ),
    ] {
        assert_eq!(at(operation), [format!("{file}:{expected}")], "{operation}");
    }
    let many = vec!["audit"; 17].join(", ");
    let many = at(&format!("{{x-microgw-interceptors: {{request: [{many}]}}}}"));
    assert!(many[0].ends_with("messages of `GET /a` go through more than 16 interceptors"), "{many:?}");
    // Requests have their time, and responses theirs.
    let long = |uses: &str| {
        let one = |ms: u32| format!("service: {{url: 'http://x/'}}\nbody: false\ntimeoutMs: {ms}\n");
        let files = [
            ("interceptors/a.yaml", one(20_000)),
            ("interceptors/b.yaml", one(10_000)),
            ("interceptors/c.yaml", one(1)),
        ];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_bytes()));
        let all = problems(&format!("paths:\n  /a:\n    get: {{x-microgw-interceptors: {uses}}}\n"), &files);
        all.into_iter().filter(|problem| problem.contains("together")).collect::<Vec<_>>()
    };
    assert_eq!(long("{request: [a, b], response: [b, a]}"), [""; 0]);
    let together = "messages of `GET /a` could take 30001 ms, counted to `c`: `timeoutMs` of what they go through is at most 30000 together";
    assert_eq!(long("{request: [a, b, c, c], response: [b]}"), [format!("{file}:6:52 {together}")]);
}

#[test]
fn an_api_whose_mocks_would_slip_by_says_so() {
    let definition = "x-wso2-request-interceptor: audit
paths:
  /a: {get: {x-microgw-redirect: {to: /b, status: 302}}}
";
    assert_eq!(
        problems(definition, &[]),
        [
            "api_definitions/shop.yaml:4:29 `GET /a` is answered by the gateway itself: none of its messages would go through `audit`"
        ]
    );
}

#[test]
fn files_that_cannot_be_are_errors() {
    let with = |path: &str, content: &[u8]| problems("paths: {/a: {get: {}}}\n", &[(path, content)]);
    for (content, expected) in [
        (
            "service: {url: 'ftp://x/'}\nbody: true\n",
            "1:10 a `service` needs `url`: http or https, without credentials, query and fragment",
        ),
        (
            "service: {url: 'http://u:p@x/'}\nbody: true\n",
            "1:10 a `service` needs `url`: http or https, without credentials, query and fragment",
        ),
        ("service: {url: 'http://x/', uri: 1}\nbody: true\n", "1:29 a `service` has `url` alone"),
        (
            "service: {url: 'http://x/'}\n",
            "1:1 a service says whether it needs bodies: `body: true`, `false`, or `{request, response}`",
        ),
        ("component: nothing.wasm\n", "1:12 `interceptors/nothing.wasm` cannot be read: entity not found"),
        ("component: ../a.wasm\n", "1:12 `component` must name a `.wasm` file of `interceptors`"),
        ("component: check.wasm\nservice: {url: 'http://x/'}\n", "1:1 `bad` is either a `component` or a `service`"),
        ("component: check.wasm\ntimeoutMs: 0\n", "2:12 `timeoutMs` must be a whole number from 1 to 30000"),
        ("component: check.wasm\nmaxMemoryMb: 5000\n", "2:14 `maxMemoryMb` must be a whole number from 1 to 1024"),
        (
            "component: check.wasm\nbody: {requests: true}\n",
            "2:7 `body` must be `true`, `false`, or `{request: true, response: true}`",
        ),
        ("component: check.wasm\nclaims: tenant\n", "2:9 `claims` must be a list of names, not text"),
        ("component: check.wasm\ntimeout: 5\n", "2:1 an interceptor has no key `timeout`"),
        ("- 1\n", "1:1 `interceptors/bad.yaml` must be an object, not a list"),
    ] {
        let expected = format!("interceptors/bad.yaml:{expected}");
        assert_eq!(with("interceptors/bad.yaml", content.as_bytes()), [expected], "{content}");
    }
    let broken = with("interceptors/bad.wasm", b"\0asm\x01\0\0\0");
    assert!(broken[0].contains("it is a core module, not a component"), "{broken:?}");
    let twice = with("interceptors/audit.wasm", &component(&["on-request"], false));
    assert!(twice[0].contains("are one interceptor, `audit`"), "{twice:?}");
}

#[test]
fn altered_artifacts_are_refused() {
    let good = model("x-wso2-request-interceptor: check\npaths: {/a: {get: {}}}\n", &[]);
    let refused = |change: &dyn Fn(&mut Model)| {
        let mut model = good.clone();
        change(&mut model);
        artifact::decode(&artifact::encode(&model)).unwrap_err().to_string()
    };
    let malformed = "the artifact is not valid: an interceptor is malformed";
    assert_eq!(refused(&|model| model.interceptors[0].timeout_milliseconds = 0), malformed);
    assert_eq!(refused(&|model| model.interceptors[0].host = None), malformed);
    assert_eq!(refused(&|model| model.interceptors[0].name = "a/b".to_owned()), malformed);
    let code = |model: &mut Model| {
        if let Some(Host::Component(component)) = &mut model.interceptors[0].host {
            component.code = bytes::Bytes::from_static(b"\0asm");
        }
    };
    assert_eq!(refused(&code), malformed);
    let of_operation = |model: &mut Model| model.apis[0].operations[0].interceptors.request[0].interceptor = 7;
    assert!(refused(&of_operation).ends_with("an operation has an interceptor that does not exist"));
    let long = |model: &mut Model| {
        let uses = &mut model.apis[0].operations[0].interceptors.response;
        *uses = vec![Use::default(); 16];
        model.interceptors[0].timeout_milliseconds = 2_000;
    };
    assert!(refused(&long).ends_with("the interceptors of an operation take too long"));
    let parameters = |model: &mut Model| {
        "[]".clone_into(&mut model.apis[0].operations[0].interceptors.request[0].parameters);
    };
    assert!(refused(&parameters).ends_with("what an interceptor is used with is malformed"));
}

const CARRIER: &str = "name: guard\nversion: 1.0.0\ndescription: x\nparameters: {properties: {level: {type: integer, minimum: 1, default: 2}}}\n";

#[test]
fn policies_carry_interceptors() {
    let code = component(&["on-request"], true);
    let definition = |uses: &str| format!("x-microgw-interceptors: {{{uses}}}\npaths: {{/items: {{get: {{}}}}}}\n");
    let own = |carried: &str| format!("{CARRIER}{carried}");
    let used = definition("request: [{name: guard, with: {level: 3}}]");
    for carried in ["interceptor: guard.wasm\n", "interceptor: {component: guard.wasm, timeoutMs: 1000}\n"] {
        let policy = own(carried);
        let more: [(&str, &[u8]); 2] =
            [("policies/guard/policy.yaml", policy.as_bytes()), ("policies/guard/guard.wasm", &code)];
        let model = model(&used, &more);
        let uses = &model.apis[0].operations[0].interceptors;
        assert_eq!(names(&model, &uses.request), [r#"guard{"level":3}"#]);
        let interceptor = &model.interceptors[0];
        let Some(Host::Component(component)) = &interceptor.host else { panic!("{interceptor:?}") };
        assert_eq!((&component.code[..], interceptor.request_body), (&code[..], true));
        // It is an interceptor, and no steps.
        let steps = "x-microgw-transform: [{policy: guard}]\npaths: {/items: {get: {}}}\n";
        let compilation = compile(&files(steps, &more), "shop", &Options { allow_unenforced: true });
        let said = compilation.diagnostics.iter().find(|found| found.code == Code::BadTransform).unwrap();
        assert_eq!(said.message, "`guard` carries an interceptor, and has no steps");
    }
    for (policy, uses, expected) in [
        (
            own("interceptor: other.wasm\n"),
            "",
            "policies/guard/policy.yaml:5:14 `policies/guard/other.wasm` cannot be read",
        ),
        (
            own("interceptor: ../guard.wasm\n"),
            "",
            "policies/guard/policy.yaml:5:14 `component` must name a `.wasm` file of `policies/guard`",
        ),
        (
            own("interceptor: {component: guard.wasm, timeout: 1}\n"),
            "",
            "policies/guard/policy.yaml:5:38 an interceptor has no key `timeout`",
        ),
        (
            own("interceptor: {component: guard.wasm, parameters: {}}\n"),
            "",
            "policies/guard/policy.yaml:5:38 `parameters` stand beside",
        ),
        (
            own("interceptor: {service: {url: 'http://stranger.example/'}, body: true}\n"),
            "",
            "policies/guard/policy.yaml:5:24 a package carries a `component`: where a service is, its project says",
        ),
        (own("interceptor: 7\n"), "", "policies/guard/policy.yaml:5:14 `policies/guard/policy.yaml` must be an object"),
        (
            own("interceptor: guard.wasm\n"),
            "request: [{name: guard, with: {level: 0}}]",
            "api_definitions/shop.yaml:4:64 the parameter `level` of `guard` must be at least 1",
        ),
        (
            own("interceptor: guard.wasm\n"),
            "response: [guard]",
            "api_definitions/shop.yaml:4:37 `guard` sees no responses",
        ),
    ] {
        let more: [(&str, &[u8]); 2] =
            [("policies/guard/policy.yaml", policy.as_bytes()), ("policies/guard/guard.wasm", &code)];
        let found = problems(&definition(uses), &more);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}\n{found:#?}");
    }
    let twice: [(&str, &[u8]); 3] = [
        ("policies/guard/policy.yaml", own("interceptor: guard.wasm\n").leak().as_bytes()),
        ("policies/guard/guard.wasm", &code),
        ("interceptors/guard.wasm", &code),
    ];
    let found = problems(&used, &twice);
    assert!(found.iter().any(|found| found.contains("are one interceptor, `guard`")), "{found:?}");
}
