//! Which requests a route is for.

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::envoy::r#type::v3::Int64Range;

use crate::assemble::names;
use crate::model::Transports;
use crate::path::PathTemplate;

/// Every request.
pub fn anything() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

/// This path and no other.
pub fn exactly(path: &str) -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Path(path.to_owned())), ..Default::default() }
}

pub fn path_match(template: &PathTemplate) -> RouteMatch {
    let path = if template.is_concrete() {
        PathSpecifier::Path(template.concrete())
    } else {
        PathSpecifier::SafeRegex(regex(template.regex()))
    };
    RouteMatch { path_specifier: Some(path), ..Default::default() }
}

pub fn regex(regex: String) -> RegexMatcher {
    RegexMatcher { regex, ..Default::default() }
}

/// For an API that is not served on both listeners.
pub fn transport(transports: Transports) -> Option<HeaderMatcher> {
    match (transports.http, transports.https) {
        (true, true) => None,
        (true, false) => Some(header_is(names::LISTENER_HEADER, names::HTTP)),
        (false, _) => Some(header_is(names::LISTENER_HEADER, names::HTTPS)),
    }
}

pub fn header_is(name: &str, value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(value.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The whole value.
pub fn header_fits(name: &str, expression: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(expression.to_owned()))),
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub fn has_header(name: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..Default::default()
    }
}

pub fn has_no_header(name: &str) -> HeaderMatcher {
    HeaderMatcher { invert_match: true, ..has_header(name) }
}

/// A number below `end`.
pub fn header_below(name: &str, end: i64) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::RangeMatch(Int64Range { start: 0, end })),
        ..Default::default()
    }
}
