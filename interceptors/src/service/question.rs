//! What a service is asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use base64::display::Base64Display;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use microgw_engine::interceptors::{Attributes, CallerFacts, Interception};
use microgw_transforms::query;
use microgw_transforms::{Direction, Message, editable};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::VERSION;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question<'a> {
    version: u32,
    direction: &'static str,
    interceptor: &'a str,
    api: Api<'a>,
    operation: &'a str,
    client: Client,
    caller: Caller<'a>,
    request: Request<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    attributes: &'a Attributes,
    parameters: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Api<'a> {
    name: &'a str,
    version: &'a str,
    base_path: &'a str,
}

#[derive(Serialize)]
struct Client {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Caller<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_type: Option<&'a str>,
    scopes: &'a [String],
    claims: BTreeMap<&'a str, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    path_parameters: BTreeMap<&'a str, &'a str>,
    headers: Vec<Header<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
}

#[derive(Serialize)]
struct Response<'a> {
    status: u16,
    headers: Vec<Header<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Body<'a> {
    Text(&'a str),
    #[serde(serialize_with = "base64")]
    Base64(&'a [u8]),
}

/// Written as it is encoded: nobody keeps it twice.
fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::<GeneralPurpose>::new(bytes, &STANDARD))
}

/// Counts what is written.
#[derive(Default)]
struct Counter(usize);

// === impl Counter ===

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Body ===

impl Body<'_> {
    /// Bytes of the member that it is.
    fn length(&self) -> usize {
        match self {
            Body::Text(text) => {
                let escaped = |byte: u8| match byte {
                    b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
                    0..0x20 => 6,
                    _ => 1,
                };
                r#","body":{"text":""}"#.len() + text.bytes().map(escaped).sum::<usize>()
            }
            Body::Base64(bytes) => r#","body":{"base64":""}"#.len() + bytes.len().div_ceil(3).saturating_mul(4),
        }
    }
}

// === impl Question ===

impl<'a> Question<'a> {
    /// Bytes that it takes when it is written. Its body is not written for that.
    pub(super) fn length(&mut self) -> Option<usize> {
        let body = self.body().take();
        let mut counter = Counter::default();
        let counted = serde_json::to_writer(&mut counter, self);
        let bytes = body.as_ref().map_or(0, Body::length);
        *self.body() = body;
        counted.ok().map(|()| counter.0.saturating_add(bytes))
    }

    fn body(&mut self) -> &mut Option<Body<'a>> {
        match &mut self.response {
            Some(response) => &mut response.body,
            None => &mut self.request.body,
        }
    }

    /// `length`: what it takes.
    pub(super) fn write(&self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        serde_json::to_writer(&mut bytes, self).ok().map(|()| bytes)
    }

    pub(super) fn of(interception: &'a Interception) -> Question<'a> {
        let Interception { interceptor, about, message, asked, direction, attributes, .. } = interception;
        let (request, response) = match direction {
            Direction::Request => (Some(message), None),
            Direction::Response => (asked.as_deref(), Some(message)),
        };
        let (path, query) = query::split(request.map_or("", Message::path));
        let CallerFacts { subject, client, application, tier, key_type, scopes, .. } = &about.caller;
        let json = |json: &str| serde_json::from_str(json).unwrap_or_else(|_| Value::from(json));
        let parameters = &*interception.parameters;
        Question {
            version: VERSION,
            direction: match direction {
                Direction::Request => "request",
                Direction::Response => "response",
            },
            interceptor: &interceptor.name,
            api: Api { name: &about.api.name, version: &about.api.version, base_path: &about.api.base_path },
            operation: &about.operation,
            client: Client { address: about.address.map(|address| address.to_string()) },
            caller: Caller {
                subject: subject.as_deref(),
                client: client.as_deref(),
                application: application.as_deref(),
                tier: tier.as_deref(),
                key_type: key_type.as_deref(),
                scopes,
                claims: interception.claims().map(|(name, claim)| (name, json(claim))).collect(),
            },
            request: Request {
                method: request.map_or("", Message::method),
                scheme: &about.scheme,
                host: &about.host,
                path,
                query: query.unwrap_or_default(),
                path_parameters: about.path_parameters.iter().map(|(name, value)| (&**name, value.as_str())).collect(),
                headers: request.map(headers).unwrap_or_default(),
                body: body(interception).filter(|_| response.is_none()),
            },
            response: response.map(|response| Response {
                status: response.status(),
                headers: headers(response),
                body: body(interception),
            }),
            attributes,
            parameters: json(if parameters.is_empty() { "{}" } else { parameters }),
        }
    }
}

fn headers(message: &Message) -> Vec<Header<'_>> {
    let shown = message.headers.iter().filter(|(name, _)| !editable::is_credential(name));
    shown.map(|(name, value)| Header { name, value: String::from_utf8_lossy(value) }).collect()
}

/// `None`: there is none, or nobody brings it.
fn body(interception: &Interception) -> Option<Body<'_>> {
    let body = interception.body()?;
    Some(match std::str::from_utf8(body) {
        Ok(text) => Body::Text(text),
        Err(_) => Body::Base64(body),
    })
}
