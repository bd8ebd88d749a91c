//! An explanation, as text and as JSON.

mod answered;
mod secrets;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use microgw_compiler::model::{Api, Model, Operation};
use microgw_compiler::path::normal::Normal;
use microgw_engine::{Allow, Balances, Deny, ENVIRONMENT_HEADER, Reason, Rule, RuleId};
use microgw_faults::Form;
use microgw_proto::interceptors::v1::Use;
use serde_json::{Value, json};

pub use self::answered::Answered;
pub use self::secrets::Secrets;
use super::facts::Asked;
use super::{REQUEST_ID, Request};
use crate::inspect::{destinations, traffic};

pub struct Told<'m> {
    pub model: &'m Model,
    pub request: &'m Request,
    pub secrets: Secrets<'m>,
    /// Headers that the listener took away.
    pub removed: Vec<String>,
    pub outcome: Outcome<'m>,
    pub asked: Vec<Asked>,
    /// Facts that nobody asked for.
    pub unused: Vec<String>,
}

/// What becomes of a request.
#[allow(clippy::large_enum_variant)] // There is one.
pub enum Outcome<'m> {
    /// It reaches no operation.
    Unrouted { status: u16, reason: String, normal: Option<Normal> },
    /// Nothing is asked of whoever calls.
    Public { api: &'m Api, operation: &'m Operation, normal: Normal },
    Decided {
        api: &'m Api,
        operation: &'m Operation,
        normal: Normal,
        rule: RuleId,
        decision: Decided,
        /// What becomes of the response, where there is one.
        answer: Option<Answered>,
    },
}

/// A decision, owned.
pub enum Decided {
    Allowed {
        caller: Option<String>,
        limits: Vec<Drawn>,
        sandbox: bool,
        /// What the backend says may be for others, and others' for this caller.
        kept: bool,
        sent: Sent,
    },
    Denied {
        status: u16,
        code: u32,
        reason: &'static str,
        /// For whoever runs the gateway.
        cause: Option<String>,
        policy: Option<String>,
        limits: Vec<Drawn>,
        challenges: Vec<String>,
        body: String,
    },
    /// By a program: the backend is not asked.
    Answered(Box<Answered>),
}

/// A limit that a request drew on.
pub struct Drawn {
    policy: String,
    level: String,
    quota: u64,
    remaining: u64,
}

/// The request on its way to a backend, before the route's own path takes the place of the API's.
pub struct Sent {
    method: String,
    path: String,
    headers: BTreeMap<String, Vec<String>>,
    /// Bytes.
    body: usize,
    /// Text, where another takes its place.
    new_body: Option<String>,
}

// === impl Decided ===

impl Decided {
    pub(super) fn allowed(mut allow: Allow<'_>, kept: bool, request: &Request, normal: &Normal) -> Decided {
        let mut headers: BTreeMap<String, Vec<String>> =
            request.headers.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect();
        for name in allow.remove_headers {
            headers.remove(&**name);
        }
        match allow.cookie.take() {
            Some(cookie) if cookie.is_empty() => drop(headers.remove("cookie")),
            Some(cookie) => drop(headers.insert("cookie".to_owned(), vec![cookie])),
            None => {}
        }
        if let Some((name, assertion)) = allow.assertion.take() {
            headers.insert(name.to_owned(), vec![assertion.text().to_owned()]);
        }
        for told in allow.identity_headers {
            if let Some(value) = told.value(&allow.identity) {
                headers.insert(told.name().to_owned(), vec![value.into_owned()]);
            }
        }
        let mut sent = Sent {
            method: request.method.clone(),
            path: allow.path.take().unwrap_or_else(|| normal.to_string()),
            headers,
            body: request.body.len(),
            new_body: None,
        };
        if let Some(edits) = allow.edits.take() {
            sent.method = edits.method.unwrap_or(sent.method);
            sent.path = edits.path.unwrap_or(sent.path);
            for (name, values) in edits.headers {
                let values: Vec<String> =
                    values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
                if values.is_empty() {
                    sent.headers.remove(&*name);
                } else {
                    sent.headers.insert(name.into_owned(), values);
                }
            }
            if let Some(body) = edits.body {
                sent.body = body.len();
                sent.new_body = Some(String::from_utf8_lossy(&body).into_owned());
            }
        }
        sent.headers.remove(ENVIRONMENT_HEADER);
        // Envoy's own, whatever it says.
        sent.headers.remove(REQUEST_ID);
        let identity = &allow.identity;
        Decided::Allowed {
            caller: identity.subject().or(identity.client()).or(identity.key_id()).map(str::to_owned),
            limits: drawn(&allow.limits),
            sandbox: allow.environment.is_some(),
            kept,
            sent,
        }
    }

    /// The engine has contradicted itself.
    pub(super) fn internal() -> Decided {
        let fault = Reason::Internal.fault();
        Decided::Denied {
            status: fault.status(),
            code: fault.code(),
            reason: Reason::Internal.as_str(),
            cause: None,
            policy: None,
            limits: Vec::new(),
            challenges: Vec::new(),
            body: fault.body(Form::Fault).to_owned(),
        }
    }

    pub(super) fn denied(deny: &Deny<'_>, rule: &Rule) -> Decided {
        let fault = deny.reason.fault();
        Decided::Denied {
            status: fault.status(),
            code: fault.code(),
            reason: deny.reason.as_str(),
            cause: deny.cause.map(|cause| cause.to_string()),
            policy: deny.policy.map(str::to_owned),
            limits: drawn(&deny.limits),
            challenges: deny.challenges.iter().map(ToString::to_string).collect(),
            body: rule.answers().refusal(deny, Form::Fault).body.into_owned(),
        }
    }

    /// What is known of it beside the reason.
    pub(super) fn because(mut self, more: Option<String>) -> Decided {
        if let Decided::Denied { cause, .. } = &mut self {
            *cause = cause.take().or(more);
        }
        self
    }
}

fn drawn(balances: &Balances<'_>) -> Vec<Drawn> {
    let drawn = balances.iter().map(|balance| Drawn {
        policy: balance.limit.policy.to_string(),
        level: format!("{:?}", balance.limit.level).to_lowercase(),
        quota: balance.limit.quota,
        remaining: balance.usage.remaining,
    });
    drawn.collect()
}

// === impl Told ===

impl Told<'_> {
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<10}{value}");
        };
        let Request { method, scheme, authority, target, .. } = self.request;
        let target = self.secrets.masked(target);
        line("request", &format!("{method} {scheme}://{authority}{target}"));
        for name in &self.removed {
            line("", &format!("`{name}` is taken away: clients cannot send it"));
        }
        match &self.outcome {
            Outcome::Unrouted { status, reason, normal } => {
                if let Some(normal) = normal {
                    line("matched", &self.secrets.masked(&normal.to_string()));
                }
                line("answer", &format!("{status}: {reason}"));
            }
            Outcome::Public { api, operation, normal } => {
                line("matched", &self.secrets.masked(&normal.to_string()));
                line("route", &self.route(api, operation));
                line("decision", "public: Envoy serves it and asks nobody");
                line("sent", &destinations::of_operation(self.model, operation));
            }
            Outcome::Decided { api, operation, normal, rule, decision, answer } => {
                line("matched", &self.secrets.masked(&normal.to_string()));
                line("route", &self.route(api, operation));
                line("rule", &rule.to_string());
                for step in traffic::steps(self.model, operation.transforms.request) {
                    line("step", step);
                }
                for one in operation.interceptors.request.iter().chain(&operation.interceptors.response) {
                    line("program", &self.program(one));
                }
                for Asked { what, answer } in &self.asked {
                    line("asked", &format!("{what} ({answer})"));
                }
                decision.as_text(&mut line, &self.secrets, &destinations::of_operation(self.model, operation));
                if let Some(answer) = answer {
                    answer.as_text(&mut line, &self.secrets);
                }
            }
        }
        for fact in &self.unused {
            let _ = writeln!(text, "{:<10}{fact}, among the facts", "not asked");
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// An interceptor, and where it is used.
    fn program(&self, one: &Use) -> String {
        let name = traffic::programs(self.model, std::slice::from_ref(one)).collect::<String>();
        format!("{name}  ({})", one.source)
    }

    fn route(&self, api: &Api, operation: &Operation) -> String {
        format!(
            "{} {}{}  of {} {}  ({})",
            operation.method,
            api.base_path,
            operation.path,
            api.name,
            api.version,
            self.model.locate(operation.source)
        )
    }

    pub fn as_json(&self) -> Value {
        let Request { method, scheme, authority, target, .. } = self.request;
        let target = self.secrets.masked(target);
        let mut told = json!({
            "request": { "method": method, "url": format!("{scheme}://{authority}{target}"), "removedHeaders": self.removed },
            "unusedFacts": self.unused,
            "asked": self.asked.iter().map(|asked| json!({ "what": asked.what, "answer": asked.answer })).collect::<Vec<_>>(),
        });
        let route = |api: &Api, operation: &Operation| {
            json!({
                "api": api.name,
                "version": api.version,
                "operation": format!("{} {}{}", operation.method, api.base_path, operation.path),
                "source": self.model.locate(operation.source),
            })
        };
        let programs = |uses: &[Use]| uses.iter().map(|one| self.program(one)).collect::<Vec<_>>();
        let more = match &self.outcome {
            Outcome::Unrouted { status, reason, normal } => json!({
                "matchedAs": normal.as_ref().map(|normal| self.secrets.masked(&normal.to_string())),
                "decision": { "allowed": false, "status": status, "reason": reason },
            }),
            Outcome::Public { api, operation, normal } => json!({
                "matchedAs": self.secrets.masked(&normal.to_string()),
                "route": route(api, operation),
                "decision": { "allowed": true, "public": true },
                "destination": destinations::of_operation(self.model, operation),
            }),
            Outcome::Decided { api, operation, normal, rule, decision, answer } => json!({
                "matchedAs": self.secrets.masked(&normal.to_string()),
                "route": route(api, operation),
                "rule": rule.to_string(),
                "requestSteps": traffic::steps(self.model, operation.transforms.request),
                "requestInterceptors": programs(&operation.interceptors.request),
                "responseInterceptors": programs(&operation.interceptors.response),
                "decision": decision.as_json(&self.secrets),
                "answer": answer.as_ref().map(|answer| answer.as_json(&self.secrets)),
                "destination": destinations::of_operation(self.model, operation),
            }),
        };
        if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
            told.extend(more);
        }
        told
    }
}

impl Decided {
    fn as_text(&self, line: &mut impl FnMut(&str, &str), secrets: &Secrets<'_>, destination: &str) {
        match self {
            Decided::Allowed { caller, limits, sandbox, kept, sent } => {
                let caller = caller.as_ref().map(|caller| format!(", as `{caller}`")).unwrap_or_default();
                line("decision", &format!("allowed{caller}{}", if *sandbox { ", to the sandbox" } else { "" }));
                for drawn in limits {
                    line("limit", &drawn.to_string());
                }
                line("to", destination);
                if *kept {
                    line("", "or answered with a kept response to the same request");
                }
                line("sent", &format!("{} {}", sent.method, secrets.masked(&sent.path)));
                for (name, values) in &sent.headers {
                    for value in values {
                        line("", &format!("{name}: {}", secrets.shown(name, value)));
                    }
                }
                match &sent.new_body {
                    Some(body) => line("", &format!("another body, of {} bytes: {body}", sent.body)),
                    None if sent.body > 0 => line("", &format!("the body, of {} bytes", sent.body)),
                    None => {}
                }
            }
            Decided::Denied { status, code, reason, cause, policy, limits, challenges, body } => {
                line("decision", &format!("refused with {status}, code {code}: {reason}"));
                if let Some(cause) = cause {
                    line("", &format!("because {cause}"));
                }
                if let Some(policy) = policy {
                    line("", &format!("by the deny policy `{policy}`"));
                }
                for drawn in limits {
                    line("limit", &drawn.to_string());
                }
                for challenge in challenges {
                    line("", &format!("www-authenticate: {challenge}"));
                }
                line("", body);
            }
            Decided::Answered(answer) => {
                line("decision", "answered by an interceptor");
                answer.as_text(line, secrets);
            }
        }
    }

    fn as_json(&self, secrets: &Secrets<'_>) -> Value {
        let drawn = |limits: &[Drawn]| {
            let limit = |drawn: &Drawn| json!({ "policy": drawn.policy, "level": drawn.level, "quota": drawn.quota, "remaining": drawn.remaining });
            limits.iter().map(limit).collect::<Vec<_>>()
        };
        match self {
            Decided::Allowed { caller, limits, sandbox, kept, sent } => json!({
                "allowed": true,
                "caller": caller,
                "sandbox": sandbox,
                "mayBeKept": kept,
                "limits": drawn(limits),
                "sent": {
                    "method": sent.method,
                    "path": secrets.masked(&sent.path),
                    "headers": sent.headers.iter().map(|(name, values)| {
                        (name.clone(), values.iter().map(|value| secrets.shown(name, value)).collect::<Vec<_>>())
                    }).collect::<BTreeMap<_, _>>(),
                    "bodyBytes": sent.body,
                    "body": sent.new_body,
                },
            }),
            Decided::Denied { status, code, reason, cause, policy, limits, challenges, body } => json!({
                "allowed": false,
                "status": status,
                "code": code,
                "reason": reason,
                "cause": cause,
                "denyPolicy": policy,
                "limits": drawn(limits),
                "challenges": challenges,
                "body": body,
            }),
            Decided::Answered(answer) => json!({ "allowed": false, "answeredByInterceptor": answer.as_json(secrets) }),
        }
    }
}

impl std::fmt::Display for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Drawn { policy, level, quota, remaining } = self;
        write!(f, "`{policy}` of the {level}: {remaining} of {quota} left")
    }
}
