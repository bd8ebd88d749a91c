//! Header edits as Envoy makes them.

use std::collections::BTreeSet;
use std::mem;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation};
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, Route};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{HeaderMutationPerRoute, Mutations};
use microgw_proto::traffic::v1::{HeaderEdits, OperationTraffic};
use microgw_proto::transforms::v1::Transform;
use microgw_proto::transforms::v1::edit::Operation as Edit;
use microgw_proto::transforms::v1::step::Action;

use super::answer::header;
use crate::assemble::names;
use crate::assemble::wire::any;
use crate::model::{Access, Api, KeyLocation, Model, Operation, Requirement};
use crate::settings::Settings;

/// Envoy removes before it adds. It makes them after the decision: what the engine sets is nothing that may be edited.
pub fn edit(route: &mut Route, traffic: &OperationTraffic) {
    if let Some(edits) = &traffic.request {
        route.request_headers_to_remove.extend(edits.remove.iter().cloned());
        route.request_headers_to_add.extend(added(edits));
    }
    if let Some(edits) = &traffic.response {
        route.response_headers_to_remove.extend(edits.remove.iter().cloned());
        route.response_headers_to_add.extend(added(edits));
    }
}

/// What is done to a route's responses.
#[derive(Clone)]
pub struct Responses {
    removed: Vec<String>,
    added: Vec<HeaderValueOption>,
}

impl Responses {
    pub fn take(route: &mut Route) -> Responses {
        Responses {
            removed: mem::take(&mut route.response_headers_to_remove),
            added: mem::take(&mut route.response_headers_to_add),
        }
    }
}

/// Of a guarded route that Envoy answers by itself, whose `answer` has headers of its own. Envoy edits refusals as a route says only where
/// that leads to a backend. Here a filter edits them, and what the route answers as well.
pub fn refusals_too(route: &mut Route, answer: Responses) {
    let edits = Responses::take(route);
    route.response_headers_to_remove = answer.removed;
    route.response_headers_to_add = answer.added;
    let removed = edits.removed.into_iter().map(header_mutation::Action::Remove);
    let actions = removed.chain(edits.added.into_iter().map(header_mutation::Action::Append));
    let response_mutations: Vec<_> = actions.map(|action| HeaderMutation { action: Some(action) }).collect();
    if response_mutations.is_empty() {
        return;
    }
    let mutations = Some(Mutations { response_mutations, ..Default::default() });
    let config = FilterConfig { config: Some(any(&HeaderMutationPerRoute { mutations })), ..Default::default() };
    route.typed_per_filter_config.insert(names::HEADER_MUTATION.to_owned(), any(&config));
}

fn added(edits: &HeaderEdits) -> impl Iterator<Item = HeaderValueOption> {
    let set = edits.set.iter().map(|edit| (edit, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edits.add.iter().map(|edit| (edit, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).map(|(edit, action)| HeaderValueOption {
        append_action: action.into(),
        // To Envoy `%` begins a command that tells of the request, or of the gateway.
        ..header((&edit.name, &edit.value.replace('%', "%%")))
    })
}

/// An edit of what, with these settings, the engine sets in requests or takes out of them. It would come after the engine.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let certificates = &settings.client_certificates;
    let header = certificates.header.as_ref().map(|header| header.name.as_str());
    let credentials = &settings.credentials;
    let own: BTreeSet<String> = credentials
        .strip
        .iter()
        .map(String::as_str)
        .chain([credentials.header.as_str(), certificates.forbidden_header.as_str()])
        .chain(header)
        .map(alike)
        .collect();
    model.apis.iter().find_map(|api| {
        api.operations.iter().find_map(|operation| {
            let keys = keys(api, operation);
            let is_wrong = |name: &&String| own.contains(&alike(name)) || keys.contains(&alike(name));
            let edits = operation.traffic.request.as_ref();
            let edited = edits.into_iter().flat_map(|HeaderEdits { remove, set, add }| {
                set.iter().chain(add).map(|header| &header.name).chain(remove)
            });
            let transform = operation.transforms.request.and_then(|id| model.transform(id));
            let transformed = transform.into_iter().flat_map(transformed);
            let (extension, wrong) = edited
                .map(|name| ("x-microgw-headers", name))
                .chain(transformed.map(|name| ("x-microgw-transform", name)))
                .find(|(_, name)| is_wrong(name))?;
            Some(format!(
                "{}: `{extension}` edits `{wrong}` in requests, which is where credentials are expected or what backends \
                 are told of callers: leave it out",
                model.locate(operation.source)
            ))
        })
    })
}

/// Headers that steps edit.
fn transformed(transform: &Transform) -> impl Iterator<Item = &String> {
    let edits = transform.steps.iter().filter_map(|step| match &step.action {
        Some(Action::Headers(edits)) => Some(&edits.edits),
        _ => None,
    });
    edits.flatten().flat_map(|edit| {
        let renamed = (edit.operation() == Edit::Rename).then_some(&edit.value);
        [Some(&edit.name), renamed].into_iter().flatten()
    })
}

/// Headers that carry an operation's credentials.
fn keys(api: &Api, operation: &Operation) -> BTreeSet<String> {
    let alternatives = match &operation.access {
        Access::Public => &[][..],
        Access::Guarded(alternatives) => alternatives,
    };
    let requirements = alternatives.iter().flat_map(|alternative| &alternative.0);
    let names = requirements.filter_map(|requirement| match requirement {
        Requirement::ApiKey { location: KeyLocation::Header, name } => Some(name.as_str()),
        _ => None,
    });
    names.chain(api.credential_header.as_deref()).map(alike).collect()
}

/// To CGI and its kin `-` and `_` are the same, and case is to all.
fn alike(name: &str) -> String {
    name.replace('_', "-").to_ascii_lowercase()
}
