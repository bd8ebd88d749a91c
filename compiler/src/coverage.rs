//! Which operations are guarded by what. Shown on every build.

use std::fmt::Write;

use microgw_proto::limits::v1::Tiers;
use serde::Serialize;

use crate::limits::UNAUTHENTICATED;
use crate::model::{Access, Api, Model, Operation, Requirement};

/// How every operation of a project is guarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    pub apis: Vec<ApiCoverage>,
    pub total: Counts,
    /// `None`: the project limits nothing.
    pub limits: Option<LimitCoverage>,
    /// What was declared and is not enforced, `file:line:column: message`.
    pub unenforced: Vec<String>,
}

/// How many operations have a limit, whoever calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitCoverage {
    /// Limited by themselves, or by their API.
    pub operations: usize,
    /// Public ones that nothing limits.
    pub unlimited_public: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiCoverage {
    pub name: String,
    pub version: String,
    pub base_path: String,
    pub counts: Counts,
    /// Operations that anybody may call.
    pub public: Vec<PublicOperation>,
}

/// Operations by what they ask for. One that accepts several schemes counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub operations: usize,
    pub oauth2: usize,
    /// Those of `oauth2` that a token without any scope cannot call.
    pub scoped: usize,
    pub basic: usize,
    pub api_key: usize,
    pub client_certificate: usize,
    /// With a way in that this version cannot enforce: it stays shut.
    pub unenforceable: usize,
    pub public: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicOperation {
    pub method: &'static str,
    /// With the base path.
    pub path: String,
    /// `file:line:column`.
    pub location: String,
}

// === impl Coverage ===

impl Coverage {
    pub fn of(model: &Model) -> Coverage {
        let apis: Vec<ApiCoverage> = model.apis.iter().map(|api| ApiCoverage::of(model, api)).collect();
        let total = apis.iter().fold(Counts::default(), |sum, api| sum.plus(api.counts));
        let unenforced =
            model.unenforced.iter().map(|entry| format!("{}: {}", model.locate(entry.source), entry.message));
        Coverage { apis, total, limits: LimitCoverage::of(model), unenforced: unenforced.collect() }
    }

    /// A table for people, and the public operations by name. Ends with a newline.
    pub fn render(&self) -> String {
        let label = |api: &ApiCoverage| format!("{} {} ({})", api.name, api.version, display_base(&api.base_path));
        let labels: Vec<String> = self.apis.iter().map(label).collect();
        let width = labels.iter().map(|label| label.chars().count()).chain(["all".len()]).max().unwrap_or_default();
        let mut text = format!(
            "{:width$}  operations  oauth2  with scopes  basic  api key  certificate  unenforceable  public\n",
            ""
        );
        let totals = (self.apis.len() > 1).then_some(("all", self.total));
        let rows = labels.iter().map(String::as_str).zip(self.apis.iter().map(|api| api.counts)).chain(totals);
        for (label, counts) in rows {
            let Counts { operations, oauth2, scoped, basic, api_key, client_certificate, unenforceable, public } =
                counts;
            let _ = writeln!(
                text,
                "{label:width$}  {operations:>10}  {oauth2:>6}  {scoped:>11}  {basic:>5}  {api_key:>7}  {client_certificate:>11}  {unenforceable:>13}  {public:>6}",
            );
        }
        if let Some(LimitCoverage { operations, unlimited_public }) = self.limits {
            let _ = writeln!(text, "\nlimited by operation or API: {operations} of {}", self.total.operations);
            if unlimited_public > 0 {
                let _ = writeln!(text, "public and not limited: {unlimited_public}");
            }
        }
        let public: Vec<&PublicOperation> = self.apis.iter().flat_map(|api| &api.public).collect();
        if !public.is_empty() {
            text.push_str("\npublic operations:\n");
            for PublicOperation { method, path, location } in public {
                let _ = writeln!(text, "  {method:7} {path}  {location}");
            }
        }
        if !self.unenforced.is_empty() {
            text.push_str("\ndeclared and not enforced:\n");
            for entry in &self.unenforced {
                let _ = writeln!(text, "  {entry}");
            }
        }
        text
    }
}

// === impl LimitCoverage ===

impl LimitCoverage {
    fn of(model: &Model) -> Option<LimitCoverage> {
        if model.limits.is_empty() && model.tiers == Tiers::default() {
            return None;
        }
        let all = || model.apis.iter().flat_map(|api| api.operations.iter().map(move |operation| (api, operation)));
        let limited = |(api, operation): &(&Api, &Operation)| api.limit.is_some() || operation.limit.is_some();
        let public = |(_, operation): &(&Api, &Operation)| operation.access == Access::Public;
        let unauthenticated = model.tiers.subscriptions.iter().any(|policy| policy.name == UNAUTHENTICATED);
        Some(LimitCoverage {
            operations: all().filter(limited).count(),
            unlimited_public: all().filter(|one| !unauthenticated && public(one) && !limited(one)).count(),
        })
    }
}

// === impl ApiCoverage ===

impl ApiCoverage {
    fn of(model: &Model, api: &Api) -> ApiCoverage {
        let public = api.operations.iter().filter(|operation| operation.access == Access::Public);
        ApiCoverage {
            name: api.name.clone(),
            version: api.version.clone(),
            base_path: api.base_path.clone(),
            counts: api.operations.iter().fold(Counts::default(), |sum, operation| sum.plus(Counts::of(operation))),
            public: public
                .map(|operation| PublicOperation {
                    method: operation.method.as_str(),
                    path: format!("{}{}", api.base_path, operation.path),
                    location: model.locate(operation.source),
                })
                .collect(),
        }
    }
}

// === impl Counts ===

impl Counts {
    fn of(operation: &Operation) -> Counts {
        let Access::Guarded(alternatives) = &operation.access else {
            return Counts { operations: 1, public: 1, ..Counts::default() };
        };
        let any = |kind: fn(&Requirement) -> bool| {
            usize::from(alternatives.iter().any(|alternative| alternative.0.iter().any(kind)))
        };
        let scoped =
            |requirement: &Requirement| matches!(requirement, Requirement::OAuth2 { scopes, .. } if !scopes.is_empty());
        let oauth2 = |requirement: &Requirement| matches!(requirement, Requirement::OAuth2 { .. });
        let unscoped = alternatives
            .iter()
            .any(|alternative| alternative.0.iter().any(oauth2) && !alternative.0.iter().any(scoped));
        Counts {
            operations: 1,
            oauth2: any(oauth2),
            scoped: usize::from(!unscoped && any(scoped) == 1),
            basic: any(|requirement| matches!(requirement, Requirement::Basic { .. })),
            api_key: any(|requirement| matches!(requirement, Requirement::ApiKey { .. })),
            client_certificate: any(|requirement| matches!(requirement, Requirement::ClientCertificate { .. })),
            unenforceable: any(|requirement| matches!(requirement, Requirement::Unenforceable(_))),
            public: 0,
        }
    }

    fn plus(self, other: Counts) -> Counts {
        Counts {
            operations: self.operations + other.operations,
            oauth2: self.oauth2 + other.oauth2,
            scoped: self.scoped + other.scoped,
            basic: self.basic + other.basic,
            api_key: self.api_key + other.api_key,
            client_certificate: self.client_certificate + other.client_certificate,
            unenforceable: self.unenforceable + other.unenforceable,
            public: self.public + other.public,
        }
    }
}

fn display_base(base_path: &str) -> &str {
    if base_path.is_empty() { "/" } else { base_path }
}
