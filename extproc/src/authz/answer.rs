//! Decisions in the words of ext_authz, which reads headers from `value`, sets rather than appends whatever `append_action` says
//! for requests, and appends all of them in a denied response.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use microgw_engine::{Allow, Deny, Rule};
use microgw_faults::{Form, RateLimitHeaders};

use crate::answer::{Refusal, refusal, removed, set, told};

pub(super) fn allowed(mut allow: Allow<'_>, which: RateLimitHeaders) -> CheckResponse {
    let ok = OkHttpResponse {
        response_headers_to_add: told(&allow, which).map(header).collect(),
        headers: set(&mut allow).map(header).collect(),
        headers_to_remove: removed(&allow).collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

pub(super) fn denied(deny: &Deny<'_>, form: Form, rule: Option<&Rule>, told: RateLimitHeaders) -> CheckResponse {
    let Refusal { status, code, headers, body } = refusal(deny, form, rule, told);
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(status) }),
        headers: headers.into_iter().map(header).collect(),
        body,
    };
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, ..rpc::Status::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(response)),
    }
}

/// `content-length` must never be set: Envoy would forward it as it is.
fn header((name, value): (&str, String)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}
