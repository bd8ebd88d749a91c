//! Which operation a request reaches, by the artifact alone: the gateway's own paths are a matter of settings.

use microgw_compiler::model::{Api, Model, Operation};
use microgw_compiler::path::PathTemplate;
use microgw_compiler::path::normal::{Normal, Version, normalise};
use serde_json::{Value, json};

/// What becomes of a request.
pub struct Reached<'m> {
    /// As it is matched, and as backends get it before their own base path takes the place of the API's.
    normal: Option<Normal>,
    found: Result<(&'m Api, &'m Operation), (u16, String)>,
}

pub fn reached<'m>(model: &'m Model, method: &str, target: &str) -> Reached<'m> {
    match normalise(target.as_bytes(), Version::Http1) {
        Err(refusal) => Reached { normal: None, found: Err((400, refusal.to_string())) },
        Ok(normal) => Reached { found: find(model, method, &normal.path, |_| true), normal: Some(normal) },
    }
}

/// As the table does, of the APIs that `answers` picks: the API with the longest base path, the most specific template, then the method.
pub fn find<'m>(
    model: &'m Model,
    method: &str,
    path: &str,
    answers: impl Fn(&Api) -> bool,
) -> Result<(&'m Api, &'m Operation), (u16, String)> {
    let below = |api: &&Api| path.strip_prefix(api.base_path.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let api = model.apis.iter().filter(below).filter(|api| answers(api)).max_by_key(|api| api.base_path.len());
    let api = api.ok_or_else(|| (404, "it is below no base path".to_owned()))?;
    let depth = api.base_path.matches('/').count();
    let full = |operation: &Operation| operation.path.under(&api.base_path).ok();
    let candidates = api.operations.iter().filter_map(|operation| {
        let template = full(operation)?;
        let respelled = template.respelled(depth).filter(|other| other.matches(path));
        let own = Some(template).filter(|own| own.matches(path)).map(|own| (own, true));
        Some((own.or(respelled.map(|other| (other, false)))?, operation))
    });
    let mut candidates: Vec<((PathTemplate, bool), &Operation)> = candidates.collect();
    candidates.sort_by(|((a, _), _), ((b, _), _)| a.precedence(b));
    let Some(((first, own), operation)) = candidates.first() else {
        return Err((404, format!("`{} {}` has no such path", api.name, api.version)));
    };
    if !own {
        return Err((400, format!("it is another spelling of `{first}`")));
    }
    let shape = operation.path.shape();
    let same =
        || candidates.iter().map(|(_, operation)| *operation).filter(|operation| operation.path.shape() == shape);
    if let Some(operation) = same().find(|operation| operation.method.as_str() == method) {
        return Ok((api, operation));
    }
    let methods = same().map(|operation| operation.method.as_str()).collect::<Vec<_>>().join(", ");
    Err((405, format!("`{first}` is there for {methods}")))
}

// === impl Reached ===

impl Reached<'_> {
    pub fn as_text(&self, model: &Model) -> String {
        let normal = self.normal.as_ref().map(|normal| format!("matched as {normal}\n")).unwrap_or_default();
        match &self.found {
            Err((status, why)) => format!("{normal}{status}: {why}"),
            Ok((api, operation)) => format!(
                "{normal}{} {}: {} {}{}  {}  -> {}  ({})",
                api.name,
                api.version,
                operation.method,
                api.base_path,
                operation.path,
                super::rule(operation),
                super::destinations::of_operation(model, operation),
                model.locate(operation.source)
            ),
        }
    }

    pub fn as_json(&self, model: &Model) -> Value {
        let found = self.found.as_ref();
        json!({
            "matchedAs": self.normal.as_ref().map(ToString::to_string),
            "status": found.err().map(|(status, _)| status),
            "reason": found.err().map(|(_, why)| why),
            "api": found.ok().map(|(api, _)| json!({ "name": api.name, "version": api.version })),
            "operation": found.ok().map(|(api, operation)| json!({
                "method": operation.method.as_str(),
                "path": format!("{}{}", api.base_path, operation.path),
                "rule": super::rule(operation),
                "source": model.locate(operation.source),
            })),
        })
    }
}
