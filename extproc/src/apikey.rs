//! The API-key issuer: `/apikey` and everything below it, GET and POST, HTTP Basic.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_engine::apikey::{self, Terms, Wish};
use microgw_faults::Fault;

use crate::backend_jwt::{self, BackendJwts};
use crate::clock::now;
use crate::fault::{self, HttpFault};
use crate::login::Login;
use crate::metrics::Metrics;
use crate::rule_store::RuleStore;
use crate::signing::SigningKey;

/// Bytes; a longer body is answered 413.
const MAX_BODY: usize = 8 * 1024;

/// Makes keys for whoever logs in.
pub struct ApiKeyIssuer {
    /// The keys' `iss`.
    pub issuer: String,
    /// What every caller is entitled to.
    pub terms: Terms,
    pub key: Arc<SigningKey>,
    pub login: Arc<Login>,
    pub metrics: Arc<Metrics>,
    /// Proxies in front of Envoy that append to `x-forwarded-for`.
    pub trusted_hops: u32,
}

impl ApiKeyIssuer {
    /// The default validity of a key, in seconds: 30 days.
    pub const DEFAULT_VALIDITY: u64 = 30 * 24 * 60 * 60;

    async fn issue(self: Arc<Self>, headers: &HeaderMap, body: &Bytes) -> Result<Response, HttpFault> {
        let identity = self.login.authenticate(headers, client_address(headers, self.trusted_hops)).await?;
        let wish = if body.trim_ascii().is_empty() {
            Wish::default()
        } else {
            serde_json::from_slice(body).map_err(|error| bad_request(error.to_string()))?
        };
        let terms = self.terms.narrow(wish).map_err(|error| bad_request(error.to_string()))?;
        let issuer = Arc::clone(&self);
        let token = tokio::task::spawn_blocking(move || issuer.make(identity.subject().unwrap_or_default(), &terms))
            .await
            .ok()
            .flatten()
            .ok_or_else(|| HttpFault::new(Fault::Internal))?;
        self.metrics.issued_key();
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Ok((headers, token).into_response())
    }

    fn make(&self, subject: &str, terms: &Terms) -> Option<String> {
        let mut id = [0; 16];
        rand::fill(&mut id).ok()?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let claims = apikey::claims(&self.issuer, subject, &id, terms, now());
        self.key.sign(&claims).inspect_err(|error| tracing::error!(%error, "could not issue an API key")).ok()
    }
}

/// Serves the issuer, `None`: it is disabled; and the keys of `backend_jwts`, which are fetched at the same place. Faults are
/// in the words of the project in `rules`.
pub fn router(
    issuer: Option<Arc<ApiKeyIssuer>>,
    backend_jwts: Option<Arc<BackendJwts>>,
    rules: Arc<RuleStore>,
) -> Router {
    let router = match issuer {
        Some(issuer) => routes(issuer),
        None => Router::new().fallback(async || not_found("The API key issuer is disabled")),
    };
    let router = match backend_jwts {
        Some(signer) => backend_jwt::publish(router, signer),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(rules, fault::in_asked_form))
}

fn routes(issuer: Arc<ApiKeyIssuer>) -> Router {
    let route = get(issue).post(issue).fallback(async || {
        let allowed = HeaderValue::from_static("GET, POST");
        HttpFault::new(Fault::MethodNotAllowed).describe("Use GET or POST").with(header::ALLOW, allowed)
    });
    Router::new()
        .route("/apikey", route.clone())
        .route("/apikey/", route.clone())
        .route("/apikey/{*rest}", route)
        .fallback(async || not_found("There is nothing here"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(issuer)
}

async fn issue(
    State(issuer): State<Arc<ApiKeyIssuer>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let Ok(body) = body else {
        let description = format!("The body is longer than {MAX_BODY} bytes");
        return HttpFault::new(Fault::PayloadTooLarge).describe(description).into_response();
    };
    issuer.issue(&headers, &body).await.unwrap_or_else(IntoResponse::into_response)
}

/// See [`microgw_engine::client_address`].
pub fn client_address(headers: &HeaderMap, trusted_hops: u32) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or_default());
    microgw_engine::client_address::client_address(values, trusted_hops)
}

fn bad_request(description: String) -> HttpFault {
    HttpFault::new(Fault::BadRequest).describe(description)
}

fn not_found(description: &'static str) -> HttpFault {
    HttpFault::new(Fault::NotFound).describe(description)
}
