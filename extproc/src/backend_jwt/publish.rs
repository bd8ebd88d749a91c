//! The key set over HTTP.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Router, http};
use microgw_faults::Fault;

use super::BackendJwts;
use crate::fault::HttpFault;

/// Where backends find the keys.
pub const KEYS_PATH: &str = "/backend-jwt/jwks.json";
/// Short: a backend that meets a key for the first time should find it.
const CACHED: &str = "public, max-age=60";

/// `router`, with the keys of `signer`.
pub fn publish<S: Clone + Send + Sync + 'static>(router: Router<S>, signer: Arc<BackendJwts>) -> Router<S> {
    let answer = get(async move || answer(&signer)).fallback(async || {
        HttpFault::new(Fault::MethodNotAllowed).describe("Use GET").with(header::ALLOW, HeaderValue::from_static("GET"))
    });
    router.route(KEYS_PATH, answer)
}

fn answer(signer: &BackendJwts) -> Response {
    let headers: [(http::HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHED)),
    ];
    (headers, signer.key_set().as_str().to_owned()).into_response()
}
