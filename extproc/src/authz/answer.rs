//! Decisions in Envoy's words. ext_authz reads headers from `value`, sets rather than appends whatever `append_action` says
//! for requests, and appends all of them in a denied response.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use microgw_engine::{Allow, Answers, Deny, ENVIRONMENT_HEADER, Rule};
use microgw_faults::{Form, RateLimitHeaders};
use tonic::Code;

use super::rate_limit;

pub(super) fn allowed(allow: Allow<'_>, told: RateLimitHeaders) -> CheckResponse {
    // A backend's own are replaced: to it all clients are this gateway.
    let limits = rate_limit::headers(told, &allow.limits, None).map(|(name, value)| header(name, value));
    let response_headers_to_add = limits.collect();
    let path = allow.path.map(|path| header(":path", path));
    let environment = allow.environment.map(|environment| header(ENVIRONMENT_HEADER, environment.to_owned()));
    let (no_cookie, cookie) = match allow.cookie {
        Some(cookie) if cookie.is_empty() => (Some("cookie".to_owned()), None),
        cookie => (None, cookie.map(|cookie| header("cookie", cookie))),
    };
    let assertion = allow.assertion.map(|(name, assertion)| header(name, assertion.text().to_owned()));
    // Clients' own were removed before the request was routed: what is not known is not there.
    let told = allow
        .identity_headers
        .iter()
        .filter_map(|told| Some(header(told.name(), told.value(&allow.identity)?.into_owned())));
    let ok = OkHttpResponse {
        headers: path.into_iter().chain(environment).chain(cookie).chain(assertion).chain(told).collect(),
        headers_to_remove: allow.remove_headers.iter().map(ToString::to_string).chain(no_cookie).collect(),
        response_headers_to_add,
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

pub(super) fn denied(deny: &Deny<'_>, form: Form, rule: Option<&Rule>, told: RateLimitHeaders) -> CheckResponse {
    let fault = deny.reason.fault();
    let usual = Answers::default();
    let words = rule.map_or(&usual, |rule| rule.answers()).body(fault, form, deny.limit);
    let code = match fault.status() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    };
    let mut headers =
        vec![header("content-type", words.content_type.to_owned()), header("cache-control", "no-store".to_owned())];
    if form == Form::Text {
        // Envoy would conclude it from the status, and make `UNAVAILABLE` of 429, which clients try again.
        headers.push(header("grpc-status", (code as i32).to_string()));
    }
    headers.extend(deny.challenges.iter().map(|challenge| header("www-authenticate", challenge.to_string())));
    let retry_after = deny.retry_after.map(|seconds| seconds.to_string());
    let retry_after = retry_after.or_else(|| fault.retry_after().map(str::to_owned));
    headers.extend(retry_after.map(|seconds| header("retry-after", seconds)));
    let refused = deny.limit.zip(deny.retry_after);
    headers.extend(rate_limit::headers(told, &deny.limits, refused).map(|(name, value)| header(name, value)));
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(fault.status()) }),
        headers,
        body: words.body.into_owned(),
    };
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, ..rpc::Status::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(response)),
    }
}

/// `content-length` must never be set: Envoy would forward it as it is.
fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}
