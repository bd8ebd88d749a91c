//! Decisions as headers, status and body, before one of Envoy's protocols puts them into its own words.

use std::iter;

use microgw_engine::{Allow, Answers, Deny, ENVIRONMENT_HEADER, Rule};
use microgw_faults::{Form, RateLimitHeaders};
use tonic::Code;

use crate::rate_limit;

/// What a client is told in the place of an answer.
pub(crate) struct Refusal {
    pub status: u16,
    pub code: Code,
    /// Several of one name are several headers. Never `content-length`: Envoy would forward it as it is.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// The headers that the backend gets, and the path, where it is another one.
pub(crate) fn set<'a>(allow: &mut Allow<'a>) -> impl Iterator<Item = (&'a str, String)> {
    let path = allow.path.take().map(|path| (":path", path));
    let environment = allow.environment.map(|environment| (ENVIRONMENT_HEADER, environment.to_owned()));
    let cookie = allow.cookie.take_if(|cookie| !cookie.is_empty()).map(|cookie| ("cookie", cookie));
    let assertion = allow.assertion.take().map(|(name, assertion)| (name, assertion.text().to_owned()));
    // Clients' own were removed before the request was routed: what is not known is not there.
    let identity = std::sync::Arc::clone(&allow.identity);
    let told =
        allow.identity_headers.iter().filter_map(move |told| Some((told.name(), told.value(&identity)?.into_owned())));
    path.into_iter().chain(environment).chain(cookie).chain(assertion).chain(told)
}

/// Call after [`set`].
pub(crate) fn removed(allow: &Allow<'_>) -> impl Iterator<Item = String> {
    let no_cookie = allow.cookie.is_some().then(|| "cookie".to_owned());
    allow.remove_headers.iter().map(ToString::to_string).chain(no_cookie)
}

/// What clients are told of limits. A backend's own are replaced: to it all clients are this gateway.
pub(crate) fn told(allow: &Allow<'_>, which: RateLimitHeaders) -> impl Iterator<Item = (&'static str, String)> {
    rate_limit::headers(which, &allow.limits, None)
}

pub(crate) fn refusal(deny: &Deny<'_>, form: Form, rule: Option<&Rule>, told: RateLimitHeaders) -> Refusal {
    let fault = deny.reason.fault();
    let usual = Answers::default();
    let words = rule.map_or(&usual, |rule| rule.answers()).refusal(deny, form);
    let code = match fault.status() {
        400 | 413 | 415 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    };
    let mut headers = vec![("content-type", words.content_type.to_owned()), ("cache-control", "no-store".to_owned())];
    if form == Form::Text {
        // Envoy would conclude it from the status, and make `UNAVAILABLE` of 429, which clients try again.
        headers.push(("grpc-status", (code as i32).to_string()));
    }
    headers.extend(iter::zip(iter::repeat("www-authenticate"), deny.challenges.iter().map(ToString::to_string)));
    let retry_after = deny.retry_after.map(|seconds| seconds.to_string());
    let retry_after = retry_after.or_else(|| fault.retry_after().map(str::to_owned));
    headers.extend(retry_after.map(|seconds| ("retry-after", seconds)));
    let refused = deny.limit.zip(deny.retry_after);
    headers.extend(rate_limit::headers(told, &deny.limits, refused));
    Refusal { status: fault.status(), code, headers, body: words.body.into_owned() }
}
