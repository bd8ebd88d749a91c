//! What becomes of headers before a route is looked for.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Mutation;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::{Action as Mutate, RemoveOnMatch};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use microgw_transforms::overrides;

use crate::assemble::names;
use crate::assemble::wire::any;
use crate::path::push_escaped;
use crate::settings::Settings;

const USER_AGENT: &str = "user-agent";
/// Envoy would trace a request for the sake of these.
const FORCED_TRACES: [&str; 2] = ["x-client-trace-id", "x-envoy-force-trace"];
/// W3C Trace Context.
const TRACE_CONTEXT: [&str; 2] = ["traceparent", "tracestate"];

/// Before routing: clients cannot send what only the gateway may say, and each listener leaves its mark.
pub fn early_mutation(settings: &Settings, scheme: &str) -> TypedExtensionConfig {
    let forbidden = StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(RegexMatcher {
            regex: forbidden_headers(settings),
            ..Default::default()
        })),
        ..Default::default()
    };
    let mut mutations = vec![Mutate::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(forbidden) })];
    mutations.push(set(names::LISTENER_HEADER, scheme));
    match settings.user_agent.as_deref() {
        None => {}
        Some("") => mutations.push(Mutate::Remove(USER_AGENT.to_owned())),
        Some(name) => mutations.push(set(USER_AGENT, name)),
    }
    let mutations = mutations.into_iter().map(|action| Mutation { action: Some(action) }).collect();
    TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
        typed_config: Some(any(&HeaderMutation { mutations })),
    }
}

fn set(header: &str, value: &str) -> Mutate {
    Mutate::Append(HeaderValueOption {
        header: Some(HeaderValue { key: header.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    })
}

/// The headers, beside the gateway's own, that clients may not send, in either spelling.
pub fn forbidden(settings: &Settings) -> Vec<&str> {
    let forced: &[&str] = if settings.tracing.is_some() { &FORCED_TRACES } else { &[] };
    let untrusted = settings.tracing.as_ref().is_some_and(|tracing| !tracing.trust_clients);
    let context: &[&str] = if untrusted { &TRACE_CONTEXT } else { &[] };
    let strip = settings.credentials.strip.iter().map(String::as_str);
    let certificate = Some(settings.client_certificates.forbidden_header.as_str()).filter(|name| !name.is_empty());
    let kept = &settings.listeners.kept_headers;
    let believed: Vec<&str> = overrides::keepable().filter(|name| !kept.iter().any(|kept| kept == name)).collect();
    overrides::OPERATION
        .into_iter()
        .chain(believed)
        .chain([names::CLIENT_CERTIFICATE_HEADER])
        .chain(strip)
        .chain(certificate)
        .chain(forced.iter().chain(context).copied())
        .collect()
}

/// The headers that clients may not send, as one expression for the whole name: the gateway's own, those that are
/// configured, those by which some backends serve another path, method, host or client than the gateway knows of, and, where the gateway begins
/// traces, those that say which trace a request belongs to and whether it costs one. In each `_` counts as `-`: to CGI, WSGI
/// and their kin, and so to many backends, the two are one header.
fn forbidden_headers(settings: &Settings) -> String {
    let mut regex = String::new();
    for (name, rest) in
        [(names::INTERNAL_PREFIX, ".*")].into_iter().chain(forbidden(settings).into_iter().map(|name| (name, "")))
    {
        push_name(&mut regex, name, None);
        regex.push_str(rest);
    }
    // The header of proxies is judged later, under its very name.
    let proxies = settings.client_certificates.header.as_ref().map_or("", |header| header.name.as_str());
    for unlike in 0..proxies.matches(SEPARATORS).count() {
        push_name(&mut regex, proxies, Some(unlike));
    }
    regex
}

const SEPARATORS: [char; 2] = ['-', '_'];

/// Another alternative: the name in either spelling; with `unlike` not in its own, that separator being the other one.
fn push_name(regex: &mut String, name: &str, unlike: Option<usize>) {
    if !regex.is_empty() {
        regex.push('|');
    }
    let mut separators = name.matches(SEPARATORS);
    for (index, part) in name.split(SEPARATORS).enumerate() {
        if index > 0 {
            let own = separators.next();
            let other = if own == Some("-") { "_" } else { "-" };
            regex.push_str(if unlike == Some(index - 1) { other } else { "[-_]" });
        }
        push_escaped(regex, part);
    }
}
