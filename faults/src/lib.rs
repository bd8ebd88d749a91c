//! Everything that the gateway answers on its own behalf: one closed list, whoever gives the answer — the engine, the
//! API-key issuer, or Envoy by its local replies.
//!
//! Each fault has a status, the error code of micro-gateway 3.2, and what the client is told, in three forms: the JSON
//! shape of 3.2, RFC 9457 problem details for those whose `Accept` names them, and plain text for gRPC.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod accept;
mod catalogue;
pub mod rate_limit;
pub mod wording;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

pub use accept::{NAMES_PROBLEM, is_grpc, names_problem};
pub use catalogue::Fault;
pub use rate_limit::RateLimitHeaders;
use wording::Violated;

/// What every `type` of a problem starts with; the fault's name follows.
pub const TYPE_PREFIX: &str = "urn:micro-gw:error:";

/// How a fault is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `{"fault": {"code", "message", "description"}}`, as in micro-gateway 3.2.
    Fault,
    /// `application/problem+json`, RFC 9457.
    Problem,
    /// For gRPC, which carries a message and no body.
    Text,
}

// === impl Form ===

impl Form {
    pub const ALL: [Form; 3] = [Form::Fault, Form::Problem, Form::Text];

    /// The form that a request with these headers is answered in.
    pub fn asked(accept: Option<&str>, content_type: Option<&str>) -> Form {
        if content_type.is_some_and(is_grpc) {
            Form::Text
        } else if accept.is_some_and(names_problem) {
            Form::Problem
        } else {
            Form::Fault
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Form::Fault => "application/json",
            Form::Problem => "application/problem+json",
            Form::Text => "text/plain",
        }
    }
}

// === impl Fault ===

impl Fault {
    /// The fault of that name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.iter().copied().find(|fault| fault.name() == name)
    }

    /// `type` of the problem: stable, and an identifier rather than an address.
    pub fn type_uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }

    /// The body in this form; made once for the process.
    pub fn body(self, form: Form) -> &'static str {
        static BODIES: LazyLock<Vec<[String; 3]>> =
            LazyLock::new(|| Fault::ALL.iter().map(|fault| Form::ALL.map(|form| fault.write(form, None))).collect());
        BODIES.get(self as usize).and_then(|bodies| bodies.get(form as usize)).map_or("", String::as_str)
    }

    /// The body with another description than the fault's own.
    pub fn write(self, form: Form, description: Option<&str>) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (code, status) = (self.code(), self.status());
        let (message, description) = (self.message(), description.unwrap_or_else(|| self.description()));
        // By hand: the members come in the documented order.
        match form {
            Form::Fault => format!(
                r#"{{"fault":{{"code":{code},"message":{},"description":{}}}}}"#,
                text(message),
                text(description)
            ),
            Form::Problem => format!(
                r#"{{"type":{},"title":{},"status":{status},"detail":{},"code":{code}}}"#,
                text(&self.type_uri()),
                text(message),
                text(description)
            ),
            Form::Text => description.to_owned(),
        }
    }

    /// A policy of the project is used up, and the answer says which.
    pub fn names_policy(self) -> bool {
        matches!(
            self,
            Fault::ApiLimit
                | Fault::ResourceLimit
                | Fault::SubscriptionLimit
                | Fault::ApplicationLimit
                | Fault::CustomLimit
        )
    }

    /// The request is not as the definition says, and the answer says what is wrong.
    pub fn lists_errors(self) -> bool {
        matches!(self, Fault::InvalidRequest | Fault::UnsupportedMediaType)
    }

    /// The body that names the policy which is used up: its name, and what `RateLimit-Policy` calls the limit.
    pub fn body_naming(self, form: Form, policy: &str, limit: &str) -> Cow<'static, str> {
        let body = self.body(form);
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (open, more, close) = match form {
            Form::Fault => (body.strip_suffix("}}"), format!(r#","policy":{}"#, text(policy)), "}}"),
            // As the draft calls it: a list.
            Form::Problem => (body.strip_suffix('}'), format!(r#","violated-policies":[{}]"#, text(limit)), "}"),
            Form::Text => return Cow::Borrowed(body),
        };
        open.map_or(Cow::Borrowed(body), |open| Cow::Owned([open, &more, close].concat()))
    }

    /// The body that says what is wrong, as one text and one by one: each a place, a name or JSON pointer, and a reason.
    pub fn body_listing(self, form: Form, description: &str, errors: &[Violated<'_>]) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let error = |Violated { place, name, reason }: &Violated<'_>| {
            format!(r#"{{"in":{},"name":{},"reason":{}}}"#, text(place), text(name), text(reason))
        };
        let list = |errors: Vec<String>| format!(r#","errors":[{}]"#, errors.join(","));
        let body = self.write(form, Some(description));
        let (open, close) = match form {
            Form::Fault => (body.strip_suffix("}}"), "}}"),
            Form::Problem => (body.strip_suffix('}'), "}"),
            Form::Text => (None, ""),
        };
        match open {
            Some(open) => [open, &list(errors.iter().map(error).collect()), close].concat(),
            None => body,
        }
    }

    /// Seconds that the client is told to wait, where trying again may help.
    pub fn retry_after(self) -> Option<&'static str> {
        (self.status() == 503).then_some("1")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
