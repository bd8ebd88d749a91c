//! 405, with `Allow`.

use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteMatch};
use microgw_faults::Fault;

use super::answer::refuse;
use super::matching::{path_match, regex, transport};
use crate::model::{Api, Method, Operation, Transports};
use crate::path::PathTemplate;

/// 405. Templates with equal ones can share a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub(super) allow: String,
    transports: Transports,
}

// === impl Refusal ===

impl Refusal {
    /// Of all methods but one.
    pub fn of(allowed: &str, transports: Transports) -> Refusal {
        Refusal { allow: allowed.to_owned(), transports }
    }

    pub fn new(api: &Api, operations: &[&Operation]) -> Refusal {
        let mut methods: Vec<Method> = operations.iter().map(|operation| operation.method).collect();
        methods.sort_unstable();
        methods.dedup();
        let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        Refusal { allow, transports: api.transports }
    }

    /// 405 with `Allow` for all of `templates`.
    pub fn route(&self, templates: &[&PathTemplate]) -> Route {
        let mut matching = match templates {
            [template] => path_match(template),
            templates => {
                let any = templates.iter().map(|template| template.regex()).collect::<Vec<_>>().join("|");
                RouteMatch { path_specifier: Some(PathSpecifier::SafeRegex(regex(any))), ..Default::default() }
            }
        };
        matching.headers.extend(transport(self.transports));
        refuse(matching, Fault::MethodNotAllowed, &[("allow", &self.allow)])
    }
}
