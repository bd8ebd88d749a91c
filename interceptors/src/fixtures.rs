//! Components written by hand, and calls of them, for tests and benchmarks.

use std::sync::Arc;

use microgw_engine::interceptors::{Attributes, Interception, Verdict};
use microgw_engine::{
    CredentialDigest, Decision, Exchange, Facts, Headers, Identity, RequestHead, ResponseHead, ResponseStep, Rule,
    Step, UnixTime,
};
use microgw_proto::interceptors::v1 as proto;
use microgw_proto::rules::v1 as rules;

/// What a component imports: an interface, its types, and its functions in the component's and in the core's words.
pub struct Imports(pub &'static str, pub &'static str, pub &'static [(&'static str, &'static str, &'static str)]);

const REFUSAL: &str =
    r#"(type $r (enum "forbidden" "malformed" "too-large" "misplaced")) (export "refusal" (type $refusal (eq $r)))"#;

pub const HEADERS: Imports = Imports(
    "headers",
    REFUSAL,
    &[
        ("get", r#"(param "name" string) (result (option string))"#, "(param i32 i32 i32)"),
        (
            "set",
            r#"(param "name" string) (param "value" string) (result (result (error $refusal)))"#,
            "(param i32 i32 i32 i32 i32)",
        ),
    ],
);
pub const BODY: Imports = Imports(
    "body",
    REFUSAL,
    &[
        ("bytes", "(result (list u8))", "(param i32)"),
        (
            "set-text",
            r#"(param "text" string) (param "content-type" (option string)) (result (result (error $refusal)))"#,
            "(param i32 i32 i32 i32 i32 i32)",
        ),
    ],
);
pub const EXCHANGE: Imports = Imports(
    "exchange",
    REFUSAL,
    &[
        ("attribute", r#"(param "name" string) (result (option string))"#, "(param i32 i32 i32)"),
        (
            "set-attribute",
            r#"(param "name" string) (param "value" string) (result (result (error $refusal)))"#,
            "(param i32 i32 i32 i32 i32)",
        ),
    ],
);
pub const RESPONSE: Imports = Imports(
    "response",
    REFUSAL,
    &[("set-status", r#"(param "status" u16) (result (result (error $refusal)))"#, "(param i32 i32)")],
);
pub const LOGGING: Imports = Imports(
    "logging",
    r#"(type $l (enum "debug" "info" "warn" "error")) (export "level" (type $level (eq $l)))"#,
    &[("log", r#"(param "level" $level) (param "message" string)"#, "(param i32 i32 i32)")],
);

/// A verdict, as it lies in memory at 0: it proceeds.
pub const PROCEED: &str = "(i32.const 0)";

const SHELL: &str = r#"(component
  IMPORTS
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1))) (i32.sub (i32.const 0) (local.get 2))))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
          unreachable))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  LOWERED
  (core module $main
    (import "libc" "memory" (memory 1))
    CORE_IMPORTS
    CORE)
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance HOST))))
  (type $a (record (field "status" u16) (field "headers" (list (tuple string string))) (field "body" (list u8))))
  (export $answer "answer" (type $a))
  (type $v (variant (case "proceed") (case "respond" $answer)))
  (export $verdict "verdict" (type $v))
  EXPORTS)
"#;

/// A component whose core exports `exports`, functions without parameters that return where the verdict lies.
pub fn component(imports: &[&Imports], exports: &[&str], core: &str) -> String {
    let (mut imported, mut lowered, mut core_imports, mut host) = Default::default();
    let push = |text: &mut String, more: String| text.push_str(&more);
    for Imports(interface, types, functions) in imports {
        let signatures = functions
            .iter()
            .map(|(name, signature, _)| format!("(export \"{name}\" (func {signature}))"))
            .collect::<Vec<_>>()
            .concat();
        push(
            &mut imported,
            format!(
                "(import \"micro-gw:interceptor/{interface}@0.1.0\" (instance ${interface} {types} {signatures}))\n"
            ),
        );
        for (name, _, core) in *functions {
            push(
                &mut lowered,
                format!(
                    "(core func ${interface}-{name} (canon lower (func ${interface} \"{name}\") (memory $libc \"memory\") \
                     (realloc (func $libc \"realloc\"))))\n"
                ),
            );
            push(
                &mut core_imports,
                format!("(import \"host\" \"{interface}-{name}\" (func ${interface}-{name} {core}))\n"),
            );
            push(&mut host, format!("(export \"{interface}-{name}\" (func ${interface}-{name}))"));
        }
    }
    let exports = exports
        .iter()
        .map(|name| {
            format!(
                "(func ${name} (result $verdict) (canon lift (core func $main \"{name}\") (memory $libc \"memory\")))\n\
                 (export \"{name}\" (func ${name}))\n"
            )
        })
        .collect::<Vec<_>>()
        .concat();
    SHELL
        .replace("CORE_IMPORTS", &core_imports)
        .replace("IMPORTS", &imported)
        .replace("LOWERED", &lowered)
        .replace("HOST", &host)
        .replace("EXPORTS", &exports)
        .replace("CORE", core)
}

/// Does nothing.
pub fn idle() -> String {
    component(
        &[],
        &["on-request", "on-response"],
        "(func (export \"on-request\") (result i32) (i32.const 0)) (func (export \"on-response\") (result i32) (i32.const 0))",
    )
}

/// Sets `x-component` to `seen`.
pub fn labels() -> String {
    component(
        &[&HEADERS],
        &["on-request", "on-response"],
        r#"(data (i32.const 64) "x-componentseen")
        (func $label (result i32)
          (call $headers-set (i32.const 64) (i32.const 11) (i32.const 75) (i32.const 4) (i32.const 32))
          (if (i32.load8_u (i32.const 32)) (then unreachable))
          (i32.const 0))
        (export "on-request" (func $label)) (export "on-response" (func $label))"#,
    )
}

/// Of a component of this code.
pub fn hosted(code: impl Into<bytes::Bytes>, timeout: u32, max_memory: u64) -> proto::Interceptor {
    let component = proto::Component { code: code.into(), max_memory };
    proto::Interceptor {
        name: "guest".into(),
        host: Some(proto::interceptor::Host::Component(component)),
        timeout_milliseconds: timeout,
        claims: Vec::new(),
        request_body: true,
        response_body: true,
    }
}

/// Of a service.
pub fn served(url: &str, timeout: u32) -> proto::Interceptor {
    let service = proto::interceptor::Host::Service(proto::Service { url: url.to_owned() });
    proto::Interceptor { host: Some(service), ..hosted(Vec::new(), timeout, 0) }
}

/// `METHOD /v2/pet/{id}` of anybody, through one interceptor both ways.
pub struct Scene {
    rule: Arc<Rule>,
    method: String,
}

struct Nothing;

impl Facts for Nothing {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }
    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}
}

/// One header of each name.
struct Given<'h>(&'h [(&'h str, &'h str)]);

impl Headers for Given<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn visit(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.0.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}

// === impl Scene ===

impl Scene {
    pub fn of(interceptor: proto::Interceptor, parameters: &str, method: &str) -> Option<Scene> {
        let one = || vec![proto::Use { interceptor: 0, parameters: parameters.into(), source: "pets.yaml:1:1".into() }];
        let book = rules::RuleBook {
            apis: vec![rules::Api {
                name: "pets".into(),
                version: "1".into(),
                base_path: "/v2".into(),
                ..Default::default()
            }],
            policies: vec![rules::Policy {
                public: true,
                credential_header: "authorization".into(),
                production: true,
                ..Default::default()
            }],
            rules: vec![rules::Rule {
                id: vec![0; 16],
                method: method.into(),
                path: "/v2/pet/{id}".into(),
                phases: Some(rules::Phases {
                    request_body: true,
                    response_head: true,
                    response_body: true,
                    max_request_body: 1 << 23,
                    max_response_body: 1 << 23,
                    ..Default::default()
                }),
                interceptors: Some(proto::OperationInterceptors { request: one(), response: one() }),
                ..Default::default()
            }],
            interceptors: vec![interceptor],
            ..Default::default()
        };
        let (_, rule) = Rule::load(&book).ok()?.pop()?;
        Some(Scene { rule, method: method.to_owned() })
    }

    /// The call of a request with this body.
    pub fn request(&self, headers: &[(&str, &str)], body: &[u8]) -> Option<Interception> {
        let headers = Given(headers);
        let mut exchange = Exchange::new(&self.rule, &Nothing, UnixTime(1));
        match self.ask(&mut exchange, &headers, body) {
            Step::Intercept(call) => Some(*call),
            _ => None,
        }
    }

    /// The call of the response to a request, which was intercepted before.
    pub fn response(
        &self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
        attributes: &Attributes,
    ) -> Option<Interception> {
        let (none, headers) = (Given(&[("x-asked", "yes")]), Given(headers));
        let mut exchange = Exchange::new(&self.rule, &Nothing, UnixTime(1));
        let Step::Intercept(call) = self.ask(&mut exchange, &none, b"") else { return None };
        let passed = Verdict::Continue { message: call.message, attributes: attributes.clone() };
        let Step::Done(Decision::Allow(_)) = exchange.on_verdict_of_request(passed, UnixTime(1)) else { return None };
        let head = ResponseHead { status, headers: &headers, ended: false };
        let ResponseStep::NeedBody = exchange.on_response_head(head) else { return None };
        match exchange.on_response_body(body) {
            ResponseStep::Intercept(call) => Some(*call),
            _ => None,
        }
    }

    fn ask<'a>(&'a self, exchange: &mut Exchange<'a>, headers: &'a Given<'a>, body: &'a [u8]) -> Step<'a> {
        let head = RequestHead {
            method: &self.method,
            scheme: "https",
            authority: "shop.example",
            path: "/v2/pet/a%20b?x=1&y=%2B",
            headers,
            certificate: None,
            peer: "10.0.0.1",
            has_body: None,
        };
        match exchange.on_request_head(head) {
            Step::NeedBody => exchange.on_request_body(body, UnixTime(1)),
            step => step,
        }
    }
}
