//! What is refused of an API: other methods, 405 with `Allow`, and other spellings, 400.

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
