//! Faults of our own HTTP interfaces, in the shape of the engine's.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// `{"fault": {...}}` with what belongs to it. Never says more than the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFault {
    status: StatusCode,
    code: u32,
    message: &'static str,
    description: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpFault {
    /// `code` is the status' own number unless micro-gateway 3.2 has one for it.
    pub fn new(status: StatusCode, code: u32, message: &'static str, description: impl Into<String>) -> HttpFault {
        HttpFault { status, code, message, description: description.into(), headers: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> HttpFault {
        self.headers.push((name, value));
        self
    }

    pub fn internal() -> HttpFault {
        let message = "Unclassified Authentication Failure";
        HttpFault::new(StatusCode::INTERNAL_SERVER_ERROR, 900_900, message, message)
    }
}

impl IntoResponse for HttpFault {
    fn into_response(self) -> Response {
        // In the documented order of members, which `json!` would sort.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (code, message, description) = (self.code, text(self.message), text(&self.description));
        let fault = format!(r#"{{"fault":{{"code":{code},"message":{message},"description":{description}}}}}"#);
        let mut response = (self.status, fault).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}
