//! Answers in place of a backend: a redirect, or the example that a request prefers.
//!
//! Each example is a route, and which one is preferred is a matter of route matching: no filter and no service has a part in it.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption, data_source::Specifier};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{DirectResponseAction, HeaderMatcher, Route, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use microgw_proto::traffic::v1::{Answer, Example, Examples, Redirect, answer::Kind};

use super::matching::regex;
use crate::path::push_escaped;

const PREFER: &str = "prefer";
const LOCATION: &str = "location";
/// RFC 9110 section 5.6.2, as a class.
const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
/// White space, and a comma or semicolon after which more may follow.
const END: &str = r"[ \t]*(?:[,;].*)?";

/// What a request asks for.
#[derive(Clone, Copy, Default)]
struct Preference<'e> {
    example: Option<&'e str>,
    status: Option<u32>,
}

/// The routes that answer, without their guard. `matching` is what requests for the operation are known by.
pub fn answer_routes(answer: &Answer, matching: &RouteMatch) -> Vec<Route> {
    match &answer.kind {
        None => Vec::new(),
        Some(Kind::Redirect(Redirect { status, location })) => {
            vec![direct(matching.clone(), *status, &[], vec![own(LOCATION, location)])]
        }
        Some(Kind::Examples(Examples { examples })) => example_routes(examples, matching),
    }
}

fn example_routes(examples: &[Example], matching: &RouteMatch) -> Vec<Route> {
    let preferences = preferences(examples);
    let by_preference = preferences.len() > 1;
    let candidates: Vec<_> = preferences.iter().map(|preference| candidates(examples, *preference)).collect();
    let by_type = candidates.iter().any(|candidates| candidates.len() > 1);
    let vary = match (by_preference, by_type) {
        (true, true) => Some("prefer, accept"),
        (true, false) => Some("prefer"),
        (false, true) => Some("accept"),
        (false, false) => None,
    };
    let mut routes = Vec::new();
    for (preference, candidates) in preferences.iter().zip(candidates) {
        let types: Vec<&str> = candidates.iter().map(|example| example.content_type.as_str()).collect();
        // The first type comes last: it is for everybody who asks for no other.
        for (index, example) in candidates.iter().enumerate().skip(1).chain(candidates.iter().enumerate().take(1)) {
            let mut matching = matching.clone();
            matching.headers.extend(preference.example.map(|name| prefers("example", name)));
            matching.headers.extend(preference.status.map(|status| prefers("code", &status.to_string())));
            if let Some((before, [own, ..])) = types.split_at_checked(index).filter(|(before, _)| !before.is_empty()) {
                matching.headers.push(accepts(&[own], false));
                matching.headers.push(accepts(before, true));
            }
            let mut headers: Vec<_> = example.headers.iter().map(|header| own(&header.name, &header.value)).collect();
            headers.extend((!example.content_type.is_empty()).then(|| own("content-type", &example.content_type)));
            headers.extend(vary.map(|names| added("vary", names)));
            headers.extend(preference.applied().map(|applied| own("preference-applied", &applied)));
            routes.push(direct(matching, example.status, &example.body, headers));
        }
    }
    routes
}

/// What can be preferred, most particular first; nothing at all last.
fn preferences(examples: &[Example]) -> Vec<Preference<'_>> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    let mut statuses = Vec::new();
    let mut both = Vec::new();
    for Example { name, status, .. } in examples {
        if !statuses.contains(status) {
            statuses.push(*status);
        }
        if name.is_empty() || !seen.insert((name.as_str(), *status)) {
            continue;
        }
        // One name with several statuses.
        if names.contains(&name.as_str()) {
            both.push(Preference { example: Some(name), status: Some(*status) });
        } else {
            names.push(name.as_str());
        }
    }
    let by_name = names.into_iter().map(|name| Preference { example: Some(name), status: None });
    let by_status = statuses.iter().filter(|_| statuses.len() > 1);
    let by_status = by_status.map(|status| Preference { example: None, status: Some(*status) });
    both.into_iter().chain(by_name).chain(by_status).chain([Preference::default()]).collect()
}

/// The examples that a preference is for, one of each media type: the rest is a matter of `Accept`.
fn candidates<'e>(examples: &'e [Example], preference: Preference<'_>) -> Vec<&'e Example> {
    let preferred = |example: &&Example| {
        preference.example.is_none_or(|name| example.name == name)
            && preference.status.is_none_or(|status| example.status == status)
    };
    let status = examples.iter().find(preferred).map(|example| example.status);
    let mut found: Vec<&Example> = Vec::new();
    for example in examples.iter().filter(preferred).filter(|example| Some(example.status) == status) {
        if found.iter().all(|known| known.content_type != example.content_type) {
            found.push(example);
        }
    }
    found
}

// === impl Preference ===

impl Preference<'_> {
    /// RFC 7240 section 3.
    fn applied(self) -> Option<String> {
        let name = self.example.map(|name| {
            if is_token(name) {
                return format!("example={name}");
            }
            format!("example=\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))
        });
        let status = self.status.map(|status| format!("code={status}"));
        let applied: Vec<String> = name.into_iter().chain(status).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// RFC 7240: a list of preferences, whose names have no case. The value is a token or quoted; of several with one name the first
/// counts, so what comes before it must be of other names.
fn prefers(word: &str, value: &str) -> HeaderMatcher {
    // Other preferences, with what quotes may hide.
    let other = other_word(word);
    let rest = r#"(?:[^",]|"(?:[^"\\]|\\.)*")*"#;
    let others = format!(r"(?:[ \t]*(?:{other}(?:[ \t]*[=;]{rest})?)?[ \t]*,)*");
    let mut expression = format!(r"{others}[ \t]*(?i:{word})[ \t]*=[ \t]*(?:");
    if is_token(value) {
        push_escaped(&mut expression, value);
        expression.push('|');
    }
    expression.push('"');
    for c in value.chars() {
        // What must be escaped there is; everything else may be.
        expression.push_str(if matches!(c, '"' | '\\') { r"\\" } else { r"\\?" });
        push_escaped(&mut expression, c.encode_utf8(&mut [0; 4]));
    }
    expression.push_str("\")");
    expression.push_str(END);
    matches(PREFER, expression, false)
}

/// Tokens but `word`, in any case: RE2 cannot look ahead.
fn other_word(word: &str) -> String {
    let mut alternatives = Vec::new();
    for (index, c) in word.char_indices() {
        let so_far = word.get(..index).unwrap_or_default();
        let (lower, upper) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
        // A token that leaves the word here, and one that ends here.
        let leaves: String =
            TOKEN.replace("0-9A-Za-z", &format!("0-9{}{}", others('A', 'Z', upper), others('a', 'z', lower)));
        alternatives.push(format!("(?i:{so_far}){leaves}{TOKEN}*"));
        if index > 0 {
            alternatives.push(format!("(?i:{so_far})"));
        }
    }
    alternatives.push(format!("(?i:{word}){TOKEN}+"));
    format!("(?:{})", alternatives.join("|"))
}

/// The letters from `first` to `last` without one of them, as ranges.
fn others(first: char, last: char, without: char) -> String {
    (first..=last).filter(|letter| *letter != without).collect()
}

/// Whether `Accept` names one of these types; how much each is wanted is not weighed.
fn accepts(types: &[&str], invert: bool) -> HeaderMatcher {
    let mut names = String::new();
    for kind in types {
        if !names.is_empty() {
            names.push('|');
        }
        push_escaped(&mut names, kind.split(';').next().unwrap_or_default().trim());
    }
    matches("accept", format!(r"(?:.*,)?[ \t]*(?i:{names}){END}"), invert)
}

fn matches(name: &str, expression: String, invert_match: bool) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        invert_match,
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(expression))),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn direct(matching: RouteMatch, status: u32, body: &[u8], headers: Vec<HeaderValueOption>) -> Route {
    let body = (!body.is_empty())
        .then(|| DataSource { specifier: Some(Specifier::InlineBytes(body.to_vec())), ..Default::default() });
    Route {
        r#match: Some(matching),
        // Envoy names the very URL that was asked for with 201 and 3xx, be it a loop.
        response_headers_to_remove: vec![LOCATION.to_owned()],
        response_headers_to_add: headers,
        action: Some(Action::DirectResponse(DirectResponseAction { status, body, ..Default::default() })),
        ..Default::default()
    }
}

fn own(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption { append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(), ..added(name, value) }
}

fn added(name: &str, value: &str) -> HeaderValueOption {
    // A percent sign begins one of Envoy's own words.
    let value = value.replace('%', "%%");
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..Default::default() }),
        append_action: HeaderAppendAction::AppendIfExistsOrAdd.into(),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "examples_tests.rs"]
mod tests;
