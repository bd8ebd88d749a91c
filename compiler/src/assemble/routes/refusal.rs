//! What is refused of an API: other methods, 405 with `Allow`, and other spellings, 400.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteMatch};
use microgw_faults::Fault;

use super::answer::refuse;
use super::cors::{CrossOrigin, Preflights};
use super::matching::{path_match, regex, transport};
use crate::model::{Api, Method, Operation, Transports};
use crate::path::PathTemplate;

/// 405, and what browsers ask beforehand. Templates with equal ones can share its routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub(super) allow: String,
    transports: Transports,
    cross_origin: Option<Arc<CrossOrigin>>,
    /// Of the path, where no operation takes OPTIONS.
    options: Option<Preflights>,
}

/// 400 for what only a backend that decodes would take for one of the API's own paths: it may be another than the one that the
/// request would be judged as.
pub fn respelled(template: &PathTemplate, transports: Transports) -> Route {
    let mut matching = path_match(template);
    matching.headers.extend(transport(transports));
    refuse(matching, Fault::BadPath, &[])
}

// === impl Refusal ===

impl Refusal {
    /// Of all methods but one.
    pub fn of(allowed: &str, transports: Transports) -> Refusal {
        Refusal { allow: allowed.to_owned(), transports, cross_origin: None, options: None }
    }

    pub fn new(api: &Api, operations: &[&Operation], cross_origin: Option<&Arc<CrossOrigin>>) -> Refusal {
        let mut methods: Vec<Method> = operations.iter().map(|operation| operation.method).collect();
        methods.sort_unstable();
        methods.dedup();
        let names = |methods: &[Method]| methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        let declared = names(&methods);
        let own = methods.contains(&Method::Options);
        if cross_origin.is_some() && !own {
            methods.push(Method::Options);
            methods.sort_unstable();
        }
        let allow = names(&methods);
        let options = cross_origin.filter(|_| !own).map(|policy| policy.preflights(&declared, &allow));
        Refusal { allow, transports: api.transports, cross_origin: cross_origin.cloned(), options }
    }

    /// What it says, for who compares.
    pub fn content(&self) -> Vec<u8> {
        let policy = self.cross_origin.iter().flat_map(|policy| policy.identity());
        self.allow.bytes().chain(policy).collect()
    }

    /// What browsers ask beforehand, where an operation takes other OPTIONS.
    pub fn preflights(&self, template: &PathTemplate) -> Vec<Route> {
        let Some(policy) = self.cross_origin.as_ref().filter(|_| self.options.is_none()) else { return Vec::new() };
        let mut matching = path_match(template);
        matching.headers.extend(transport(self.transports));
        policy.preflights(&self.allow, &self.allow).questions(&matching)
    }

    /// How many routes it is.
    pub fn weight(&self) -> usize {
        1 + usize::from(self.cross_origin.is_some()) + if self.options.is_some() { Preflights::ROUTES } else { 0 }
    }

    /// For all of `templates`: what OPTIONS is answered, and 405 with `Allow`.
    pub fn routes(&self, templates: &[&PathTemplate]) -> Vec<Route> {
        let mut matching = match templates {
            [template] => path_match(template),
            templates => {
                let any = templates.iter().map(|template| template.regex()).collect::<Vec<_>>().join("|");
                RouteMatch { path_specifier: Some(PathSpecifier::SafeRegex(regex(any))), ..Default::default() }
            }
        };
        matching.headers.extend(transport(self.transports));
        let refusal = refuse(matching.clone(), Fault::MethodNotAllowed, &[("allow", &self.allow)]);
        let refusals = match &self.cross_origin {
            None => vec![refusal],
            Some(policy) => policy.readable(refusal),
        };
        let options = self.options.iter().flat_map(|options| options.routes(&matching));
        options.chain(refusals).collect()
    }
}
