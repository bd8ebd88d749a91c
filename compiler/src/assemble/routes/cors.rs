//! What scripts of other origins may do. Envoy's filter puts the headers on what backends and the service answer; it does nothing on
//! routes where Envoy answers by itself, and does not ask whether a method or a header is allowed. There the headers are
//! the route's own, and the request must match what they allow.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, HeaderMatcher, Route, RouteMatch};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use microgw_proto::traffic::v1::Cors;
use prost::Message as _;

use super::answer::{direct, header};
use super::matching::{has_header, header_is, regex};
use crate::assemble::names;
use crate::assemble::wire::{any, digest, yes};
use crate::model::{Api, Method};
use crate::path::push_escaped;
use crate::traffic::cors::ANY;

const ORIGIN: &str = "origin";
const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_HEADERS: &str = "access-control-request-headers";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";
/// A backend's own would contradict what the API says.
const RESPONSE_HEADERS: [&str; 6] =
    [ALLOW_ORIGIN, ALLOW_CREDENTIALS, ALLOW_METHODS, ALLOW_HEADERS, EXPOSE_HEADERS, MAX_AGE];
/// Browsers are not to remember, as in the old product.
const NOT_REMEMBERED: &str = "-1";
/// The name of routes that answer what browsers ask beforehand.
const PREFLIGHT: &str = "preflight";

/// An API's policy.
#[derive(Debug)]
pub struct CrossOrigin {
    cors: Cors,
    /// `Access-Control-Expose-Headers`.
    exposed: String,
    identity: [u8; 16],
}

/// What OPTIONS is answered on some paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preflights {
    allow: String,
    /// To questions that are allowed.
    headers: Vec<(&'static str, String)>,
    /// What they ask: the values of these headers match these expressions.
    asked: Vec<(&'static str, String)>,
}

/// The routes that stand for `route`. What comes of each may be read by the origins that the API allows.
pub fn admit(policy: Option<&CrossOrigin>, mut route: Route) -> Vec<Route> {
    let Some(policy) = policy else { return vec![route] };
    if !matches!(route.action, Some(Action::Route(_))) {
        return policy.readable(route);
    }
    let config = FilterConfig { config: Some(any(&policy.filter())), ..Default::default() };
    route.typed_per_filter_config.insert(names::CORS.to_owned(), any(&config));
    route.response_headers_to_remove.extend(RESPONSE_HEADERS.map(str::to_owned));
    route.response_headers_to_add.push(vary(ORIGIN));
    vec![route]
}

// === impl CrossOrigin ===

impl CrossOrigin {
    /// `told`: the headers of limits.
    pub fn of(api: &Api, told: &[&str]) -> Option<CrossOrigin> {
        let cors = api.traffic.cors.clone()?;
        let exposed = if cors.exposed.iter().any(|name| name == ANY) {
            ANY.to_owned()
        } else {
            let names: BTreeSet<&str> = cors.exposed.iter().map(String::as_str).chain(told.iter().copied()).collect();
            names.into_iter().collect::<Vec<_>>().join(", ")
        };
        let identity = digest(&[&cors.encode_to_vec(), exposed.as_bytes()]);
        Some(CrossOrigin { cors, exposed, identity })
    }

    pub fn identity(&self) -> [u8; 16] {
        self.identity
    }

    /// For paths with the methods `declared`.
    pub fn preflights(&self, declared: &str, allow: &str) -> Preflights {
        let Cors { methods, headers, max_age, .. } = &self.cors;
        let methods = if methods.is_empty() { declared.replace(", ", "|") } else { methods.join("|") };
        let asked = vec![
            (ORIGIN, self.origins()),
            (REQUEST_METHOD, methods),
            // Envoy reads an absent one as an empty one.
            (REQUEST_HEADERS, requested(headers)),
        ];
        let mut answered = self.readable_by();
        answered.retain(|(name, _)| *name != EXPOSE_HEADERS);
        answered.extend([
            // Matched above, each of them.
            (ALLOW_METHODS, format!("%REQ({REQUEST_METHOD})%")),
            (ALLOW_HEADERS, format!("%REQ({REQUEST_HEADERS})%")),
            (MAX_AGE, max_age.map_or_else(|| NOT_REMEMBERED.to_owned(), |seconds| seconds.to_string())),
        ]);
        Preflights { allow: allow.to_owned(), headers: answered, asked }
    }

    /// An answer of Envoy's own, with the headers for requests of an allowed origin, and without for the others.
    pub fn readable(&self, route: Route) -> Vec<Route> {
        let mut allowed = route.clone();
        if let Some(matching) = allowed.r#match.as_mut() {
            matching.headers.push(matches(ORIGIN, self.origins()));
        }
        allowed.response_headers_to_add.extend(self.readable_by().iter().map(|(name, value)| header((name, value))));
        let mut routes = vec![allowed, route];
        for route in &mut routes {
            route.response_headers_to_add.push(vary(ORIGIN));
        }
        routes
    }

    fn readable_by(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![(ALLOW_ORIGIN, format!("%REQ({ORIGIN})%"))];
        headers.extend(self.cors.credentials.then(|| (ALLOW_CREDENTIALS, "true".to_owned())));
        headers.extend((!self.exposed.is_empty()).then(|| (EXPOSE_HEADERS, self.exposed.clone())));
        headers
    }

    fn filter(&self) -> CorsPolicy {
        let exact = |origin: &String| MatchPattern::Exact(origin.clone());
        let pattern = |pattern: &String| MatchPattern::SafeRegex(regex(pattern.clone()));
        let origins = self.cors.origins.iter().map(exact).chain(self.cors.origin_patterns.iter().map(pattern));
        let matcher = |pattern| StringMatcher { match_pattern: Some(pattern), ..Default::default() };
        CorsPolicy {
            allow_origin_string_match: origins.map(matcher).collect(),
            expose_headers: self.exposed.clone(),
            allow_credentials: self.cors.credentials.then(yes).flatten(),
            ..Default::default()
        }
    }

    /// All of them as one expression. There is always one.
    fn origins(&self) -> String {
        let mut any = String::new();
        for origin in &self.cors.origins {
            if origin == ANY {
                return ".+".to_owned();
            }
            any.push_str(if any.is_empty() { "" } else { "|" });
            push_escaped(&mut any, origin);
        }
        for pattern in &self.cors.origin_patterns {
            let bar = if any.is_empty() { "" } else { "|" };
            let _ = write!(any, "{bar}(?:{pattern})");
        }
        any
    }
}

impl PartialEq for CrossOrigin {
    fn eq(&self, other: &CrossOrigin) -> bool {
        self.identity == other.identity
    }
}

impl Eq for CrossOrigin {}

impl PartialOrd for CrossOrigin {
    fn partial_cmp(&self, other: &CrossOrigin) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CrossOrigin {
    fn cmp(&self, other: &CrossOrigin) -> Ordering {
        self.identity.cmp(&other.identity)
    }
}

// === impl Preflights ===

impl Preflights {
    pub const ROUTES: usize = 2;

    /// What browsers ask, and nothing else that OPTIONS may be for.
    pub fn questions(&self, paths: &RouteMatch) -> Vec<Route> {
        let mut routes = self.routes(paths);
        // Whatever is not allowed is answered, too: it must not run as a request.
        for route in &mut routes {
            if let Some(matching) = route.r#match.as_mut() {
                matching.headers.extend([ORIGIN, REQUEST_METHOD].map(has_header));
            }
        }
        routes
    }

    /// All of OPTIONS. What is not allowed is answered without the headers that would allow it.
    pub fn routes(&self, paths: &RouteMatch) -> Vec<Route> {
        let mut matching = paths.clone();
        matching.headers.push(header_is(":method", Method::Options.as_str()));
        let others = matching.clone();
        let asked = self.asked.iter().map(|(name, expression)| matches(name, expression.clone()));
        matching.headers.extend(asked);
        let answers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let allowed = [("allow", self.allow.as_str())].into_iter().chain(answers).collect::<Vec<_>>();
        let others = direct(others, 200, None, &[("allow", &self.allow)]);
        [direct(matching, 200, None, &allowed), others]
            .map(|mut route| {
                PREFLIGHT.clone_into(&mut route.name);
                route.response_headers_to_add.push(vary(&[ORIGIN, REQUEST_METHOD, REQUEST_HEADERS].join(", ")));
                route
            })
            .into()
    }
}

/// Any number of these, in any case.
fn requested(headers: &[String]) -> String {
    if headers.iter().any(|name| name == ANY) {
        return ".*".to_owned();
    }
    let mut names = String::new();
    for name in headers {
        names.push_str(if names.is_empty() { "" } else { "|" });
        push_escaped(&mut names, name);
    }
    if names.is_empty() {
        return String::new();
    }
    format!("(?i)[ \\t]*(?:(?:{names})[ \\t]*(?:,[ \\t]*(?:{names})[ \\t]*)*)?")
}

/// The whole value, of one that is empty if there is none.
fn matches(name: &str, expression: String) -> HeaderMatcher {
    let pattern = if expression.is_empty() {
        MatchPattern::Exact(expression)
    } else {
        MatchPattern::SafeRegex(regex(expression))
    };
    HeaderMatcher {
        name: name.to_owned(),
        treat_missing_header_as_empty: true,
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The answer depends on these: whoever keeps it must know.
fn vary(names: &str) -> HeaderValueOption {
    HeaderValueOption { append_action: HeaderAppendAction::AppendIfExistsOrAdd.into(), ..header(("vary", names)) }
}
