//! What a schema that stands by itself has in it, and how each part of it is compiled.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Flaw;
use crate::dialect::{self, Arrangement};
use crate::resources::{BadName, Named, ResourceId, Resources, Scope, Scopes};
use crate::{MAX_DEPTH, formats};

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// What says something to people, or has a meaning of its own here.
const WORDS: [&str; 8] =
    ["$comment", "$schema", "default", "deprecated", "description", "example", "examples", "title"];
pub(super) const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Schemas that references lead to, or that have a default.
const MAX_PARTS: usize = 500;

/// A document on its way to be compiled: each part that is referred to, or has a default, is a schema of its own.
pub(super) struct Survey<'d> {
    document: &'d Value,
    pub flaws: Vec<Flaw>,
    pub parts: Vec<Part<'d>>,
    /// By place, and by what dynamic names mean there.
    known: HashMap<(String, Scope), usize>,
    /// The pointers of those that have names.
    places: Vec<String>,
    resources: Resources<usize>,
    /// Those that have a URI, by their pointers.
    ids: HashMap<String, ResourceId>,
    scopes: Scopes<usize>,
    /// Where the `$ref` of a schema leads to, by pointers.
    pub targets: HashMap<String, String>,
}

pub(super) struct Part<'d> {
    pub site: Site<'d>,
    pub has_default: bool,
    /// As it is compiled.
    pub text: String,
}

/// A schema, where it is met.
#[derive(Clone)]
pub(super) struct Site<'d> {
    pub pointer: String,
    pub schema: &'d Value,
    scope: Scope,
    within: ResourceId,
}

// === impl Survey ===

impl<'d> Survey<'d> {
    pub(super) fn of(document: &'d Value) -> Survey<'d> {
        let mut survey = Survey {
            document,
            flaws: Vec::new(),
            parts: Vec::new(),
            known: HashMap::new(),
            places: vec![String::new()],
            resources: Resources::default(),
            ids: HashMap::new(),
            scopes: Scopes::default(),
            targets: HashMap::new(),
        };
        let id = document.get("$id").and_then(Value::as_str);
        let (within, named) = survey.resources.document("", 0, id);
        if let Err(error) = named {
            survey.wrong("/$id".to_owned(), error.to_string());
        }
        survey.ids.insert(String::new(), within);
        survey.names("", document, within, 0);
        survey.part(String::new(), document, Scope::default());
        survey
    }

    pub(super) fn told(mut self) -> Vec<Flaw> {
        self.flaws.sort();
        self.flaws.dedup();
        self.flaws
    }

    fn wrong(&mut self, pointer: String, reason: impl Into<String>) {
        self.flaws.push(Flaw { pointer, reason: reason.into() });
    }

    /// Finds out what a schema and those in it call themselves.
    fn names(&mut self, pointer: &str, schema: &Value, within: ResourceId, depth: usize) {
        let Value::Object(map) = schema else { return };
        if depth > MAX_DEPTH {
            return;
        }
        let mut within = within;
        for key in ["$id", "$anchor", "$dynamicAnchor"] {
            let at = || format!("{pointer}/{key}");
            let name = match map.get(key) {
                None => continue,
                Some(Value::String(name)) => name,
                Some(_) => {
                    self.wrong(at(), format!("`{key}` must be text"));
                    continue;
                }
            };
            let place = self.places.len();
            self.places.push(pointer.to_owned());
            let named = match key {
                "$id" if pointer.is_empty() => Ok(()),
                "$id" => self.resources.add(within, name, place).and_then(|resource| {
                    self.ids.insert(pointer.to_owned(), resource);
                    within = resource;
                    if self.resources.is_shared(resource) { Err(BadName::Taken) } else { Ok(()) }
                }),
                _ => self.resources.anchor(within, name, place, key == "$dynamicAnchor"),
            };
            if let Err(error) = named {
                self.wrong(at(), error.to_string());
            }
        }
        each_part(map, pointer, &mut |pointer, part| self.names(pointer, part, within, depth + 1));
    }

    /// The innermost that a pointer leads into.
    fn resource(&self, pointer: &str) -> Option<ResourceId> {
        let mut pointer = pointer;
        loop {
            if let Some(resource) = self.ids.get(pointer) {
                return Some(*resource);
            }
            pointer = pointer.get(..pointer.rfind('/')?)?;
        }
    }

    fn enter(&mut self, pointer: &str, scope: Scope) -> Scope {
        let Some(resource) = self.resource(pointer) else { return scope };
        let entered = self.scopes.enter(&self.resources, scope, resource);
        entered.unwrap_or_else(|| {
            self.wrong(pointer.to_owned(), "there are too many ways to schemas with a `$dynamicAnchor`");
            scope
        })
    }

    /// A schema that is one of its own.
    fn part(&mut self, pointer: String, schema: &'d Value, scope: Scope) -> Option<usize> {
        let scope = self.enter(&pointer, scope);
        let within = self.resource(&pointer)?;
        let index = self.parts.len();
        match self.known.get(&(pointer.clone(), scope)) {
            Some(index) => Some(*index),
            None if index >= MAX_PARTS => {
                self.wrong(pointer, format!("more than {MAX_PARTS} parts are referred to, or have a default"));
                None
            }
            None => {
                self.known.insert((pointer.clone(), scope), index);
                let site = Site { pointer, schema, scope, within };
                self.parts.push(Part { site, has_default: false, text: String::new() });
                Some(index)
            }
        }
    }

    /// A schema as it is compiled.
    pub(super) fn schema(&mut self, site: &Site<'d>, depth: usize) -> Value {
        let Site { pointer, schema, scope, within } = site;
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(_) => return (*schema).clone(),
            _ => {
                self.wrong(pointer.clone(), "it is no schema: neither an object nor true or false");
                return Value::Null;
            }
        };
        if depth > MAX_DEPTH {
            self.wrong(pointer.clone(), "it is nested too deep");
            return Value::Null;
        }
        let mut compiled = Map::new();
        let mut references = Vec::new();
        for (key, value) in map {
            let at = format!("{pointer}/{}", escaped(key));
            match (key.as_str(), arrangement(key), value) {
                ("contentSchema", ..) => self.wrong(at, "`contentSchema` is no keyword that is looked at here"),
                (_, Some(Arrangement::One), part) => {
                    compiled.insert(key.clone(), self.below(at, part, site, depth));
                }
                (_, Some(Arrangement::Several), Value::Array(items)) => {
                    let items = items.iter().enumerate();
                    let items = items.map(|(index, part)| self.below(format!("{at}/{index}"), part, site, depth));
                    compiled.insert(key.clone(), items.collect());
                }
                // Those of `$defs` as well, so that all that is wrong is told.
                (_, Some(Arrangement::Named), Value::Object(named)) => {
                    let named = named.iter().map(|(name, part)| {
                        (name.clone(), self.below(format!("{at}/{}", escaped(name)), part, site, depth))
                    });
                    compiled.insert(key.clone(), Value::Object(named.collect()));
                }
                (key, Some(_), _) => self.wrong(at, format!("`{key}` must have schemas")),
                ("$ref" | "$dynamicRef", ..) => {
                    let target = self.reference(at, value, *within, *scope, key == "$dynamicRef");
                    references.extend(target.map(dialect::reference));
                }
                ("$schema", _, Value::String(draft)) if draft.trim_end_matches('#') == DRAFT => {}
                ("$schema", ..) => self.wrong(at, format!("schemas are those of `{DRAFT}`")),
                ("$id" | "$anchor" | "$dynamicAnchor", ..) => {}
                ("format", _, Value::String(format)) if !formats::is_known(format) => {
                    self.wrong(at, format!("nothing is known of the format `{format}`"));
                }
                // Values are compared with the part of it that has it.
                ("default", ..) => {
                    let index = self.part(pointer.clone(), schema, *scope);
                    if let Some(part) = index.and_then(|index| self.parts.get_mut(index)) {
                        part.has_default = true;
                    }
                }
                ("definitions", ..) => self.wrong(at, "`definitions` is called `$defs`"),
                ("type", _, kinds) if !is_type(kinds) => {
                    self.wrong(at, format!("a type is one of {}, or a list of them", TYPES.join(", ")));
                }
                (key, ..) if key == "type" || dialect::ASSERTIONS.contains(&key) => {
                    compiled.insert(key.to_owned(), value.clone());
                }
                (key, ..) if WORDS.contains(&key) => {}
                (key, ..) => self.wrong(at, format!("`{key}` is no keyword that is looked at here")),
            }
        }
        dialect::refer(&mut compiled, references);
        Value::Object(compiled)
    }

    /// One that is in another.
    fn below(&mut self, pointer: String, schema: &'d Value, above: &Site<'d>, depth: usize) -> Value {
        let (mut scope, mut within) = (above.scope, above.within);
        if let Some(own) = self.ids.get(&pointer).copied() {
            scope = self.enter(&pointer, scope);
            within = own;
        }
        self.schema(&Site { pointer, schema, scope, within }, depth + 1)
    }

    /// The part that a reference leads to.
    fn reference(
        &mut self,
        at: String,
        reference: &'d Value,
        within: ResourceId,
        scope: Scope,
        is_dynamic: bool,
    ) -> Option<usize> {
        let found = reference.as_str().map(|reference| self.resources.find(within, reference));
        let Some(Named::One(resource, fragment)) = found else {
            self.wrong(at, "a reference leads to a part of the same schema, as in `#/$defs/name`");
            return None;
        };
        let place = |place: usize| self.places.get(place).cloned();
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            self.resources.root(resource).and_then(place).map(|root| format!("{root}{fragment}"))
        } else {
            self.resources.anchored(resource, &fragment).and_then(|(target, name)| {
                let first = name.filter(|_| is_dynamic).and_then(|name| self.scopes.outermost(scope, name));
                place(first.unwrap_or(target))
            })
        };
        let Some((pointer, target)) =
            pointer.and_then(|pointer| self.document.pointer(&pointer).map(|at| (pointer, at)))
        else {
            self.wrong(at, "it leads nowhere");
            return None;
        };
        if let Some(schema) = at.strip_suffix("/$ref") {
            self.targets.insert(schema.to_owned(), pointer.clone());
        }
        self.part(pointer, target, scope)
    }
}

/// Where schemas stand, `$defs` included.
fn arrangement(key: &str) -> Option<Arrangement> {
    dialect::arrangement(key).or((key == "$defs").then_some(Arrangement::Named))
}

fn each_part(map: &Map<String, Value>, pointer: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (key, value) in map {
        let at = format!("{pointer}/{}", escaped(key));
        match (arrangement(key), value) {
            (Some(Arrangement::One), part) => visit(&at, part),
            (Some(Arrangement::Several), Value::Array(items)) => {
                items.iter().enumerate().for_each(|(index, part)| visit(&format!("{at}/{index}"), part));
            }
            (Some(Arrangement::Named), Value::Object(named)) => {
                named.iter().for_each(|(name, part)| visit(&format!("{at}/{}", escaped(name)), part));
            }
            _ => {}
        }
    }
}

fn is_type(kinds: &Value) -> bool {
    let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    match kinds {
        Value::Array(kinds) => !kinds.is_empty() && kinds.iter().all(known),
        kind => known(kind),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
