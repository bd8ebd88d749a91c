//! Where requests over http are led to HTTPS, the HTTP listener has a table of its own: `/health`, and the way there.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::redirect_action::{RedirectResponseCode, SchemeRewriteSpecifier};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, RedirectAction, Route, RouteMatch};

use super::routes::{anything, header_fits, health, unguarded};
use super::wire::resource;
use super::{names, table};
use crate::model::Model;
use crate::settings::Settings;
use crate::snapshot::Resource;

/// The port that URLs with `https:` need not name.
const USUAL: u16 = 443;

/// An API that could not be reached any more.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    settings.listeners.https_redirect?;
    let api = model.apis.iter().find(|api| !api.transports.https)?;
    Some(format!(
        "API `{}:{}` is served over http only (`x-wso2-transports`), and `listenerConfig.httpsRedirect` leads all requests away \
         from there",
        api.name, api.version
    ))
}

/// To `port` of the host that was asked, with path and query as they are.
pub fn configuration(settings: &Settings, port: u16, generation: &str) -> Resource {
    let mut routes: Vec<Route> = health(settings, generation).into_iter().map(|(_, route)| route).collect();
    if port == USUAL {
        // The listener takes ports away; what is left is none, such as `:` alone.
        routes.push(redirect(Some(header_fits(":authority", ".*:[0-9]*")), port));
        routes.push(redirect(None, 0));
    } else {
        routes.push(redirect(None, port));
    }
    resource(table::of_routes(names::REDIRECT, &routes, settings.listeners.max_uri_length), Vec::new())
}

/// 308: a POST stays one. `port` 0: none is named.
fn redirect(only: Option<HeaderMatcher>, port: u16) -> Route {
    let action = RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        port_redirect: port.into(),
        response_code: RedirectResponseCode::PermanentRedirect.into(),
        ..Default::default()
    };
    Route {
        r#match: Some(RouteMatch { headers: only.into_iter().collect(), ..anything() }),
        typed_per_filter_config: HashMap::from([(names::EXT_AUTHZ.to_owned(), unguarded())]),
        action: Some(Action::Redirect(action)),
        ..Default::default()
    }
}
