//! What a policy is used with: a JSON Schema in the policy, and values at the place of use.

use std::collections::BTreeMap;
use std::sync::Arc;

use microgw_schemas::Standalone;
use microgw_transforms::MAX_DEPTH;
use microgw_transforms::json::Json;

use super::tree::{Node, Tree};
use crate::definition::did_you_mean;
use crate::diagnostic::{Code, Diagnostic};

/// Bytes of all values of one use.
const MAX_VALUES: usize = 64 * 1024;
/// Looks at a schema while defaults are filled in.
const MAX_FILLS: u32 = 10_000;

/// Those that a policy declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    declared: Option<Arc<Declared>>,
}

#[derive(Debug)]
struct Declared {
    /// As it is written.
    schema: Tree,
    compiled: Standalone,
}

/// What a use gives, with defaults for the rest.
pub(crate) type Given = BTreeMap<String, Tree>;

fn wrong(at: &Tree, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::BadTransform, at.at.clone(), message)
}

// === impl Parameters ===

impl Parameters {
    /// `{type: object, properties: {...}, required: [...]}`, and whatever else JSON Schema has to say of it.
    pub(crate) fn read(schema: &Tree) -> Result<Parameters, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        if !matches!(schema.content, Node::Map(_)) {
            return Err(vec![wrong(schema, format!("`parameters` must be a JSON Schema, not {}", schema.type_name()))]);
        }
        if let Some(kind) = schema.get("type").filter(|kind| kind.text() != Some("object")) {
            problems.push(wrong(kind, "`parameters` are the members of an object"));
        }
        if let Some(others) = schema.get("additionalProperties")
            && !matches!(others.content, Node::Bool(false))
        {
            problems.push(wrong(others, "parameters that are not declared are never taken"));
        }
        if let Some(patterns) = schema.get("patternProperties") {
            problems.push(wrong(patterns, "parameters are declared by their names, in `properties`"));
        }
        let declared = schema.get("properties").map(Tree::entries).unwrap_or_default();
        for (name, _) in declared {
            let text = name.text().unwrap_or_default();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if text.is_empty() || !text.bytes().all(plain) || text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
                problems.push(wrong(name, format!("`{text}` cannot be named in a template")));
            }
        }
        for name in required(schema) {
            if !declared.iter().any(|(declared, _)| declared.text() == name.text()) {
                problems.push(wrong(name, "what is required is not declared"));
            }
        }
        let text = schema.json().and_then(|json| json.write().ok());
        let Some(value) = text.and_then(|text| serde_json::from_str(&text).ok()) else {
            return Err(vec![wrong(
                schema,
                "the schema has a number that JSON has no form for, or is nested too deep",
            )]);
        };
        match Standalone::compile(&value) {
            Ok(compiled) if problems.is_empty() => {
                Ok(Parameters { declared: Some(Arc::new(Declared { schema: schema.clone(), compiled })) })
            }
            Ok(_) => Err(problems),
            Err(flaws) => {
                for flaw in flaws {
                    let at = schema.nearest(&flaw.pointer);
                    let of_default = flaw.pointer.split('/').any(|part| part == "default");
                    problems.push(wrong(
                        at,
                        match flaw.reason {
                            reason if of_default && reason.starts_with("must") => format!("the default {reason}"),
                            reason => format!("the schema of the parameters is not accepted: {reason}"),
                        },
                    ));
                }
                Err(problems)
            }
        }
    }

    fn properties(&self) -> &[(Tree, Tree)] {
        let properties = self.declared.as_ref().and_then(|declared| declared.schema.get("properties"));
        properties.map(Tree::entries).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.properties().iter().any(|(declared, _)| declared.text() == Some(name))
    }

    /// What `with` says, which is there or not; `at` is the use.
    pub(crate) fn give(&self, with: Option<&Tree>, at: &Tree, policy: &str) -> Result<Given, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        if let Some(with) = with.filter(|with| !matches!(with.content, Node::Map(_))) {
            return Err(vec![wrong(with, format!("`with` must be an object, not {}", with.type_name()))]);
        }
        let mut members = Vec::new();
        for (key, value) in with.map(Tree::entries).unwrap_or_default() {
            let name = key.text().unwrap_or_default();
            if !self.has(name) {
                let problem = wrong(key, format!("the policy `{policy}` has no parameter `{name}`"));
                let near = did_you_mean(name, self.properties().iter().filter_map(|(name, _)| name.text()));
                problems.push(match near {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            } else if value.json().is_none() {
                problems.push(wrong(value, format!("`{name}` has a number that JSON has no form for")));
            } else {
                members.push((key.given(), value.given()));
            }
        }
        let mut values = Tree { content: Node::Map(members), at: at.at.clone(), is_given: true };
        if let Some(declared) = &self.declared {
            let mut filler = Filler { declared, fuel: MAX_FILLS };
            filler.fill(&mut values, "", 0);
            if filler.fuel == 0 {
                problems.push(wrong(at, format!("`{policy}` has too many defaults to fill in")));
            } else {
                problems.extend(declared.problems(&values, with, at, policy));
            }
        }
        let size: usize = values.json().as_ref().map_or(0, Json::size);
        if size > MAX_VALUES {
            problems.push(wrong(at, format!("what `{policy}` is used with has more than {MAX_VALUES} bytes")));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let given = values.entries().iter().filter_map(|(name, value)| Some((name.text()?.to_owned(), value.clone())));
        Ok(given.collect())
    }
}

/// Names that must be there.
fn required(schema: &Tree) -> &[Tree] {
    match schema.get("required").map(|required| &required.content) {
        Some(Node::List(names)) => names,
        _ => &[],
    }
}

/// Defaults for what is not there, at any depth.
struct Filler<'d> {
    declared: &'d Declared,
    fuel: u32,
}

// === impl Filler ===

impl Filler<'_> {
    /// `at`: where the schema of `value` is.
    fn fill(&mut self, value: &mut Tree, at: &str, depth: usize) {
        self.fuel = if depth < MAX_DEPTH { self.fuel.saturating_sub(1) } else { 0 };
        let Declared { schema: root, compiled } = self.declared;
        let Some(schema) = root.pointer(at).filter(|_| self.fuel > 0) else { return };
        if let Some(target) = compiled.target(at) {
            self.fill(value, target, depth + 1);
        }
        if let Some(Node::List(parts)) = schema.get("allOf").map(|all| &all.content) {
            for index in 0..parts.len() {
                self.fill(value, &format!("{at}/allOf/{index}"), depth + 1);
            }
        }
        match &mut value.content {
            Node::Map(members) => {
                for (name, property) in schema.get("properties").map(Tree::entries).unwrap_or_default() {
                    let text = name.text().unwrap_or_default();
                    let at = format!("{at}/properties/{}", text.replace('~', "~0").replace('/', "~1"));
                    if let Some((_, present)) = members.iter_mut().find(|(present, _)| present.text() == name.text()) {
                        self.fill(present, &at, depth + 1);
                        continue;
                    }
                    let default =
                        property.get("default").or_else(|| root.pointer(compiled.target(&at)?)?.get("default"));
                    if let Some(default) = default {
                        let mut default = default.given();
                        self.fill(&mut default, &at, depth + 1);
                        members.push((name.given(), default));
                    }
                }
            }
            Node::List(items) => {
                let at = format!("{at}/items");
                for item in items {
                    self.fill(item, &at, depth + 1);
                }
            }
            _ => {}
        }
    }
}

// === impl Declared ===

impl Declared {
    /// What is wrong with `values`, which are those of `with` and defaults: told where they are used, beside where they are declared.
    fn problems(&self, values: &Tree, with: Option<&Tree>, at: &Tree, policy: &str) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let property = |name: &str| {
            let properties = self.schema.get("properties").map(Tree::entries).unwrap_or_default();
            properties.iter().find(|(declared, _)| declared.text() == Some(name))
        };
        let declared = |problem: Diagnostic, name: &str| match property(name) {
            Some((key, _)) => problem.related(key.at.clone(), "declared here"),
            None => problem,
        };
        for name in required(&self.schema).iter().filter_map(Tree::text) {
            let given = with.is_some_and(|with| with.get(name).is_some());
            if values.get(name).is_none() && !given {
                let problem = wrong(at, format!("the policy `{policy}` needs the parameter `{name}`"));
                problems.push(declared(problem, name));
            }
        }
        let Some(text) = values.json().and_then(|json| json.write().ok()) else {
            return vec![wrong(at, format!("`{policy}` is used with too much"))];
        };
        for flaw in self.compiled.check(&text) {
            let pointer = flaw.pointer.trim_start_matches('/');
            if pointer.is_empty() {
                // Said above, or what is missing is wrong, and that is said.
                if !flaw.reason.starts_with("must have the property") || problems.is_empty() && values_are(values, with)
                {
                    problems.push(wrong(at, format!("what `{policy}` is used with {}", flaw.reason)));
                }
                continue;
            }
            let name = pointer.split('/').next().unwrap_or_default();
            // A default stands elsewhere.
            let place = with.filter(|with| with.get(name).is_some()).map_or(at, |with| with.nearest(&flaw.pointer));
            let problem = wrong(place, format!("the parameter `{pointer}` of `{policy}` {}", flaw.reason));
            problems.push(declared(problem, name));
        }
        problems
    }
}

/// All that `with` says is among the values.
fn values_are(values: &Tree, with: Option<&Tree>) -> bool {
    with.is_none_or(|with| {
        with.entries().iter().all(|(name, _)| name.text().is_some_and(|name| values.get(name).is_some()))
    })
}
