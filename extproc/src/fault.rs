//! Faults of our own HTTP interfaces.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use microgw_faults::{Fault, Form};

use crate::rule_store::RuleStore;

/// A fault with what belongs to it. Never says more than the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFault {
    fault: Fault,
    /// Instead of the fault's own description.
    description: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl HttpFault ===

impl HttpFault {
    pub fn new(fault: Fault) -> HttpFault {
        HttpFault { fault, description: None, headers: Vec::new() }
    }

    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> HttpFault {
        self.description = Some(description.into());
        self
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> HttpFault {
        self.headers.push((name, value));
        self
    }

    fn body(&self, form: Form) -> String {
        self.fault.write(form, self.description.as_deref())
    }
}

impl IntoResponse for HttpFault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body(Form::Fault)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Form::Fault.content_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers.iter().cloned());
        // For whoever knows in which words it is wanted.
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives faults the form that the client asks for, in the words of the project that is served.
pub async fn in_asked_form(State(rules): State<Arc<RuleStore>>, request: Request, next: Next) -> Response {
    let form = asked(request.headers());
    let mut response = next.run(request).await;
    let Some(fault) = response.extensions_mut().remove::<HttpFault>() else { return response };
    let answers = rules.answers();
    let own = answers.own(fault.fault, form, "");
    let (kind, body) =
        own.map_or_else(|| (form.content_type(), fault.body(form)), |own| (own.content_type, own.body.into_owned()));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}

fn asked(headers: &HeaderMap) -> Form {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    Form::asked(Some(&accept.join(",")), None)
}
