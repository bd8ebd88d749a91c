//! What can only be wrong between operations, or between definitions.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Report;
use crate::definition::Definition;
use crate::diagnostic::{Code, Diagnostic, LineColumn, Place};
use crate::hosts::{self, overlap};
use crate::model::{Api, Method, Operation, Position};
use crate::path::{Piece, Segment};

/// Steps of the search for templates that match a common path; a lint may not cost more than the build.
const MAX_STEPS: usize = 1_000_000;

/// Reports what is wrong among `definitions`, which are sorted by base path. `files` are the names of their files.
pub(super) fn check(definitions: &[Definition], files: &[String], report: &mut Report) {
    let checks = Checks { files };
    checks.identities(definitions, report);
    checks.base_paths(definitions, report);
    checks.operations(definitions, report);
    Checks::repeated(definitions, report);
    for definition in definitions {
        checks.reserved(&definition.api, report);
        checks.ambiguous(&definition.api, report);
    }
}

struct Checks<'a> {
    files: &'a [String],
}

// === impl Checks ===

impl Checks<'_> {
    fn place(&self, Position { file, line, column }: Position) -> Place {
        let file = self.files.get(file as usize).map_or("", String::as_str);
        Place::point(file, LineColumn { line, column })
    }

    fn identities(&self, definitions: &[Definition], report: &mut Report) {
        let mut seen: HashMap<(&str, &str), Position> = HashMap::new();
        for Definition { api, .. } in definitions {
            if let Some(first) = seen.insert((&api.name, &api.version), api.source) {
                let (first, second) = (first.min(api.source), first.max(api.source));
                let message = format!("two definitions are called `{}`, version `{}`", api.name, api.version);
                report.add(
                    Diagnostic::new(Code::DuplicateApi, self.place(second), message)
                        .related(self.place(first), "the other one"),
                );
            }
        }
    }

    /// Operations that match exactly the same requests, within an API or between two of them.
    fn operations(&self, definitions: &[Definition], report: &mut Report) {
        let mut seen: HashMap<(Method, String), Vec<(&Api, &Operation)>> = HashMap::new();
        for Definition { api, .. } in definitions {
            for operation in &api.operations {
                let shape = format!("{}{}", api.base_path, operation.path.shape());
                let before = seen.entry((operation.method, shape)).or_default();
                let found = before.iter().rev().find(|(other, _)| {
                    // Every operation of two definitions with one base path may clash; that was said once.
                    let is_own = other.source == api.source;
                    is_own || other.base_path != api.base_path && overlap(&other.traffic.hosts, &api.traffic.hosts)
                });
                let found = found.copied();
                before.push((api, operation));
                let Some((other_api, other)) = found else { continue };
                let (first, second) = (other.source.min(operation.source), other.source.max(operation.source));
                let message = format!(
                    "`{} {}{}` and `{}{}` match the same requests",
                    operation.method, api.base_path, operation.path, other_api.base_path, other.path
                );
                report.add(
                    Diagnostic::new(Code::DuplicateOperation, self.place(second), message)
                        .related(self.place(first), "the other one"),
                );
            }
        }
    }

    /// An API is in the table for each group of hosts that it answers to.
    fn repeated(definitions: &[Definition], report: &mut Report) {
        let apis: Vec<Api> = definitions.iter().map(|definition| definition.api.clone()).collect();
        let repeated = hosts::repeated(&apis);
        if repeated > hosts::MOST_REPEATED {
            let message = format!(
                "with `x-microgw-hosts` the table of routes would have {repeated} operations more, and may have {}",
                hosts::MOST_REPEATED
            );
            let help = "give hosts to the APIs without: they are repeated for every host";
            report.add(Diagnostic::new(Code::InputBudget, None, message).help(help));
        }
    }

    /// Paths that the gateway answers itself.
    fn reserved(&self, api: &Api, report: &mut Report) {
        for operation in &api.operations {
            let path = format!("{}{}", api.base_path, operation.path);
            let below = |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if below("/health") || below("/apikey") || path == crate::assemble::names::JWKS_PATH {
                let message =
                    format!("`{} {path}` can never be reached: the gateway serves this path itself", operation.method);
                report.add(
                    Diagnostic::new(Code::ReservedPath, self.place(operation.source), message)
                        .help("give the API a base path with `x-wso2-basePath`"),
                );
            }
        }
    }

    /// Templates of which neither is more specific than the other, and which match a common path: `/{kind}/new` and
    /// `/books/{id}`. One wins by rule, whatever the methods; it is worth knowing.
    fn ambiguous(&self, api: &Api, report: &mut Report) {
        let mut steps = 0;
        let mut tree = Tree::default();
        let mut seen = HashSet::new();
        for operation in api.operations.iter().filter(|operation| !operation.path.is_concrete()) {
            if !seen.insert(&operation.path) {
                continue;
            }
            let mut crossing = None;
            tree.crossing(operation.path.segments(), (false, false), &mut steps, &mut crossing);
            if let Some(other) = crossing {
                let wins = if operation.path.precedence(&other.path).is_lt() { &operation.path } else { &other.path };
                let message = format!(
                    "`{}` and `{}` match common paths, and neither is more specific; `{wins}` takes them",
                    operation.path, other.path
                );
                report.add(
                    Diagnostic::new(Code::AmbiguousPath, self.place(operation.source), message)
                        .related(self.place(other.source), "the other one"),
                );
            }
            tree.insert(operation.path.segments(), operation);
        }
    }

    /// Base paths that are equal, and those below another. Sorted, everything below a path follows it, with nothing but
    /// paths that have its text in front in between.
    fn base_paths(&self, definitions: &[Definition], report: &mut Report) {
        let mut above: Vec<&Definition> = Vec::new();
        for definition in definitions {
            let path = definition.api.base_path.as_str();
            above.retain(|outer| path.starts_with(outer.api.base_path.as_str()));
            let contains = |outer: &&&Definition| {
                path.strip_prefix(outer.api.base_path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let meets = |outer: &&&Definition| {
                contains(outer) && overlap(&outer.api.traffic.hosts, &definition.api.traffic.hosts)
            };
            if let Some(outer) = above.iter().rev().find(meets) {
                report.add(clash(outer, definition));
            }
            // Elsewhere the outer one has its operations.
            let hides = |outer: &&&Definition| hosts::contain(&definition.api.traffic.hosts, &outer.api.traffic.hosts);
            for outer in above.iter().filter(contains).filter(hides) {
                self.unreachable(outer, definition, report);
            }
            above.push(definition);
        }
    }

    /// Requests below a base path go to its API alone: an operation of the outer one there would never be called.
    fn unreachable(&self, outer: &Definition, inner: &Definition, report: &mut Report) {
        let Some(below) =
            inner.api.base_path.strip_prefix(outer.api.base_path.as_str()).filter(|rest| !rest.is_empty())
        else {
            return;
        };
        let below: Vec<&str> = below.split('/').skip(1).collect();
        for operation in &outer.api.operations {
            let segments = operation.path.segments();
            let inside = segments.len() > below.len()
                && below
                    .iter()
                    .zip(segments)
                    .all(|(text, segment)| matches!(segment, Segment::Literal(own) if own == text));
            if inside {
                let message = format!(
                    "`{} {}{}` can never be reached: what is below `{}` goes to `{}` alone",
                    operation.method, outer.api.base_path, operation.path, inner.api.base_path, inner.api.name
                );
                report.add(
                    Diagnostic::new(Code::UnreachableOperation, self.place(operation.source), message)
                        .related(inner.base_path.clone(), "the inner base path"),
                );
            }
        }
    }
}

fn clash(outer: &Definition, inner: &Definition) -> Diagnostic {
    let base = |definition: &Definition| match definition.api.base_path.as_str() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    if outer.api.base_path == inner.api.base_path {
        let shared = hosts::shared(&outer.api.traffic.hosts, &inner.api.traffic.hosts);
        let both = shared.map(|host| format!(", and both answer to `{host}`")).unwrap_or_default();
        let message =
            format!("`{}` and `{}` have the same base path `{}`{both}", outer.api.name, inner.api.name, base(inner));
        return Diagnostic::new(Code::DuplicateBasePath, inner.base_path.clone(), message)
            .related(outer.base_path.clone(), "the other one")
            .help("give one of them another `x-wso2-basePath`, or each of them its own `x-microgw-hosts`");
    }
    let hosts =
        if hosts::contain(&inner.api.traffic.hosts, &outer.api.traffic.hosts) { "" } else { " where a host is both's" };
    let message = format!(
        "the base path `{}` of `{}` lies below `{}` of `{}`, which gets no request below it{hosts}",
        base(inner),
        inner.api.name,
        base(outer),
        outer.api.name
    );
    Diagnostic::new(Code::NestedBasePath, inner.base_path.clone(), message)
        .related(outer.base_path.clone(), "the outer one")
}

/// Templates by their segments.
#[derive(Default)]
struct Tree<'m> {
    /// Ordered: what is found first must not change from run to run.
    literals: BTreeMap<&'m str, Tree<'m>>,
    templates: Vec<(&'m Segment, Tree<'m>)>,
    here: Option<&'m Operation>,
}

// === impl Tree ===

impl<'m> Tree<'m> {
    fn insert(&mut self, segments: &'m [Segment], operation: &'m Operation) {
        let Some((segment, rest)) = segments.split_first() else {
            self.here = Some(operation);
            return;
        };
        let child = match segment {
            Segment::Literal(text) => self.literals.entry(text).or_default(),
            segment => {
                let known = self.templates.iter().position(|(known, _)| same_shape(known, segment));
                let index = known.unwrap_or_else(|| {
                    self.templates.push((segment, Tree::default()));
                    self.templates.len() - 1
                });
                match self.templates.get_mut(index) {
                    Some((_, child)) => child,
                    None => return,
                }
            }
        };
        child.insert(rest, operation);
    }

    /// Finds a template that has concrete text where the path has a parameter, a parameter where it has concrete text, and
    /// agrees elsewhere. `more` says of the path so far whether the searched template, and the other, was more specific.
    fn crossing(&self, segments: &[Segment], more: (bool, bool), steps: &mut usize, found: &mut Option<&'m Operation>) {
        *steps += 1;
        if *steps > MAX_STEPS || found.is_some() {
            return;
        }
        let Some((segment, rest)) = segments.split_first() else {
            *found = self.here.filter(|_| more == (true, true));
            return;
        };
        match segment {
            Segment::Literal(text) => {
                if let Some(child) = self.literals.get(text.as_str()) {
                    child.crossing(rest, more, steps, found);
                }
                for (template, child) in self.templates.iter().filter(|(template, _)| **template != Segment::Rest) {
                    if template.matches(text) {
                        child.crossing(rest, (true, more.1), steps, found);
                    }
                }
            }
            Segment::Template(_) => {
                for (_, child) in self.templates.iter().filter(|(template, _)| same_shape(template, segment)) {
                    child.crossing(rest, more, steps, found);
                }
                for (text, child) in &self.literals {
                    if segment.matches(text) {
                        child.crossing(rest, (more.0, true), steps, found);
                    }
                }
            }
            Segment::Rest | Segment::Respelled(_) => {}
        }
    }
}

fn same_shape(a: &Segment, b: &Segment) -> bool {
    match (a, b) {
        (Segment::Template(a), Segment::Template(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|pieces| match pieces {
                    (Piece::Text(a), Piece::Text(b)) => a == b,
                    (Piece::Parameter(_), Piece::Parameter(_)) => true,
                    _ => false,
                })
        }
        (a, b) => a == b,
    }
}
