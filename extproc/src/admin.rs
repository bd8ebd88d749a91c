//! The admin interface: `/live`, `/ready`, `/status`, `/metrics`, and the keys that backends verify with.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use microgw_faults::Fault;

use crate::backend_jwt::{self, BackendJwts};
use crate::fault::HttpFault;
use crate::login::Login;
use crate::metrics::{Exposition, Metrics, Reading};

const READY: &str = "/ready";

/// What the rest of the process says about itself.
pub trait Status: Send + Sync {
    /// The generation is live.
    fn ready(&self) -> bool;
    /// Never a secret.
    fn status(&self) -> serde_json::Value;
    /// What is counted elsewhere.
    fn metrics(&self) -> Vec<Reading>;
}

/// What the interface is made of.
#[derive(Clone)]
pub struct Admin {
    pub status: Arc<dyn Status>,
    pub metrics: Arc<Metrics>,
    /// Asked for `/status` and `/metrics`; needed wherever others than this machine can connect.
    pub login: Option<Arc<Login>>,
    /// Whose keys are published here, too; everybody may read them.
    pub backend_jwts: Option<Arc<BackendJwts>>,
}

/// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that failed logins are counted by address.
pub fn router(admin: Admin) -> Router {
    let router = Router::new()
        .route(READY, get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(admin.clone(), guard))
        .route("/live", get(async || Json(serde_json::json!({ "live": true }))));
    let router = match &admin.backend_jwts {
        None => router,
        Some(signer) => backend_jwt::publish(router, signer.clone()),
    };
    router.fallback(async || HttpFault::new(Fault::NotFound).describe("There is nothing here")).with_state(admin)
}

async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if let Some(login) = &admin.login {
        // Probes of orchestrators have no password, and `/health` tells everybody as much.
        if request.uri().path() == READY {
            return next.run(request).await;
        }
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        if let Err(fault) = login.authenticate(request.headers(), address).await {
            return fault.into_response();
        }
    } else if !names_this_machine(request.headers()) {
        let description = "Without a password, Host must be an IP address or localhost";
        return HttpFault::new(Fault::MisdirectedRequest).describe(description).into_response();
    }
    next.run(request).await
}

/// Whether `Host` is an IP address or `localhost`. A web page whose own name was made to resolve to this machine (DNS
/// rebinding) shares its origin with us, and could read what needs no password; its requests carry that name.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
    })
}

async fn ready(State(admin): State<Admin>) -> Response {
    let ready = admin.status.ready();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": ready }))).into_response()
}

async fn status(State(admin): State<Admin>) -> Json<serde_json::Value> {
    Json(admin.status.status())
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let exposition = Exposition::accepted(accept);
    let kind = HeaderValue::from_static(exposition.content_type());
    let page = admin.metrics.render(admin.status.metrics(), exposition);
    ([(header::CONTENT_TYPE, kind), (header::VARY, HeaderValue::from_static("accept"))], page).into_response()
}
