//! What is known beside the message: of the caller, the API, and the request that a response answers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use microgw_expressions::{Value as Known, Variable, Variables};
use minijinja::value::Value;

use crate::editable::{Direction, is_credential};
use crate::message::{Headers, Message};
use crate::query::{self, Query};
use crate::template::{Uses, from_headers};

/// What Envoy calls a request; it makes one up for whatever comes from outside.
const REQUEST_ID: &str = "x-request-id";

/// Asked for whatever the message itself does not say.
pub trait Context: Variables {
    /// What a response answers, without its credentials. Requests are asked for nothing of it.
    fn request(&self) -> Option<&Message>;
    /// Decoded.
    fn path_parameter(&self, name: &str) -> Option<Cow<'_, str>>;
    /// Of the API: what a rewritten path comes after.
    fn base_path(&self) -> &str;
}

/// A message as it is now, and what is known beside it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub message: &'a Message,
    pub direction: Direction,
    pub context: &'a dyn Context,
}

// === impl View ===

impl<'a> View<'a> {
    fn request(&self) -> Option<&'a Message> {
        match self.direction {
            Direction::Request => Some(self.message),
            Direction::Response => self.context.request(),
        }
    }

    fn query(&self) -> Query {
        Query::read(self.request().and_then(|request| query::split(request.path()).1))
    }

    /// What a template names, and nothing else.
    pub(crate) fn values(
        &self,
        uses: &Uses,
        body: Option<Value>,
        parameters: Option<&Value>,
    ) -> BTreeMap<&'static str, Value> {
        let mut roots: BTreeMap<&'static str, BTreeMap<&'static str, Value>> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for field in &uses.fields {
            let value = self.field(field);
            match field.split_once('.') {
                Some((root, leaf)) => {
                    let root = roots.entry(root).or_default();
                    root.extend(value.map(|value| (leaf, value)));
                }
                None => values.extend(value.map(|value| (*field, value))),
            }
        }
        if !uses.claims.is_empty() {
            let claims = uses.claims.iter().filter_map(|name| {
                let claim = self.get(&Variable::Claim(name.as_str().into()));
                Some((name.as_str(), value(claim)?))
            });
            roots.entry("caller").or_default().insert("claims", Value::from_pairs(claims));
        }
        values.extend(roots.into_iter().map(|(root, leaves)| (root, Value::from_pairs(leaves))));
        if !uses.path.is_empty() {
            let path = uses.path.iter().filter_map(|name| {
                let parameter = self.context.path_parameter(name)?;
                Some((name.as_str(), Value::from(parameter.into_owned())))
            });
            values.insert("path", Value::from_pairs(path));
        }
        values.insert("parameters", parameters.cloned().unwrap_or_else(|| Value::from_pairs([("", ""); 0])));
        values.extend(body.map(|body| ("body", body)));
        values
    }

    /// `None`: there is none, and a template that needs it fails.
    fn field(&self, field: &str) -> Option<Value> {
        let variable = match field {
            "request.headers" => return self.request().map(|request| headers(&request.headers)),
            "response.headers" => return Some(headers(&self.message.headers)),
            "request.query" => {
                let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
                for (name, value) in self.query().decoded().take(query::MAX_PAIRS) {
                    values.entry(name.into_owned()).or_default().push(Value::from(value.into_owned()));
                }
                return Some(Value::from_pairs(values));
            }
            "request.id" => Variable::Header(REQUEST_ID.into()),
            "request.method" => Variable::Method,
            "request.path" => Variable::Path,
            "request.host" => Variable::Host,
            "request.scheme" => Variable::Scheme,
            "client.ip" => Variable::Address,
            "caller.subject" => Variable::Subject,
            "caller.client" => Variable::Client,
            "caller.application" => Variable::Application,
            "caller.tier" => Variable::Tier,
            "caller.scopes" => Variable::Scopes,
            "caller.keyType" => Variable::KeyType,
            "api.name" => Variable::ApiName,
            "api.version" => Variable::ApiVersion,
            "api.basePath" => Variable::ApiBasePath,
            "operation" => Variable::Operation,
            "response.status" => Variable::Status,
            _ => return None,
        };
        value(self.get(&variable))
    }
}

/// Several of one name are one text, as HTTP has it.
fn headers(headers: &Headers) -> Value {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_credential(name)) {
        let value = String::from_utf8_lossy(value);
        let all = values.entry(name.to_owned()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&value);
    }
    from_headers(values)
}

fn value(known: Known<'_>) -> Option<Value> {
    Some(match known {
        Known::Absent | Known::Unclear => return None,
        Known::Text(text) => Value::from(text.into_owned()),
        Known::Texts(texts) => texts.into_iter().map(|text| Value::from(text.into_owned())).collect(),
        Known::Integer(number) => Value::from(number),
        Known::Number(number) => Value::from(number),
        Known::Boolean(value) => Value::from(value),
    })
}

fn header<'h>(headers: &'h Headers, name: &str) -> Known<'h> {
    if is_credential(name) {
        return Known::Absent;
    }
    let mut values = headers.get(name);
    match (values.next(), values.next()) {
        (None, _) => Known::Absent,
        (Some(value), None) => Known::Text(String::from_utf8_lossy(value)),
        // Whoever sends a header twice is told apart from whoever sends one by nobody.
        (Some(_), Some(_)) => Known::Unclear,
    }
}

impl Variables for View<'_> {
    fn get(&self, variable: &Variable) -> Known<'_> {
        let request = self.request();
        match (variable, request) {
            (Variable::Status, _) => Known::Integer(self.message.status().into()),
            (Variable::ResponseHeader(name), _) => header(&self.message.headers, name),
            (Variable::Method, Some(request)) => Known::Text(Cow::Borrowed(request.method())),
            (Variable::Path, Some(request)) => Known::Text(Cow::Borrowed(query::split(request.path()).0)),
            (Variable::Header(name), Some(_)) if **name == *"host" => self.context.get(&Variable::Host),
            (Variable::Header(name), Some(request)) => header(&request.headers, name),
            (Variable::Header(name), None) if is_credential(name) => Known::Absent,
            (Variable::Query(name), Some(_)) => {
                let values: Vec<_> = self.query().values(name).map(|value| Cow::Owned(value.into_owned())).collect();
                if values.is_empty() { Known::Absent } else { Known::Texts(values) }
            }
            _ => self.context.get(variable),
        }
    }
}
