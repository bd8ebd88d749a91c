//! What a policy is used with: a JSON Schema in the policy, of which `type`, `enum`, `items`, `default` and `required` count, and
//! values at the place of use.

use std::collections::BTreeMap;

use microgw_transforms::json::Json;

use super::tree::{Node, Tree};
use crate::definition::did_you_mean;
use crate::diagnostic::{Code, Diagnostic};

/// Bytes of all values of one use.
const MAX_VALUES: usize = 64 * 1024;
const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "array", "object"];
/// What schemas say to people.
const WORDS: [&str; 5] = ["description", "title", "examples", "example", "$schema"];
const OF_OBJECT: [&str; 4] = ["type", "properties", "required", "additionalProperties"];
const OF_PROPERTY: [&str; 4] = ["type", "enum", "items", "default"];

/// Those that a policy declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    declared: BTreeMap<String, Parameter>,
}

#[derive(Clone, Debug)]
struct Parameter {
    form: Form,
    default: Option<Tree>,
    required: bool,
}

/// What a value is to be.
#[derive(Clone, Debug, Default)]
struct Form {
    kind: Option<String>,
    choices: Option<Vec<Json>>,
    items: Option<Box<Form>>,
}

/// What a use gives, with defaults for the rest.
pub(crate) type Given = BTreeMap<String, Tree>;

fn wrong(at: &Tree, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::BadTransform, at.at.clone(), message)
}

// === impl Parameters ===

impl Parameters {
    /// `{type: object, properties: {...}, required: [...]}`.
    pub(crate) fn read(schema: &Tree) -> Result<Parameters, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        if !matches!(schema.content, Node::Map(_)) {
            return Err(vec![wrong(schema, format!("`parameters` must be a JSON Schema, not {}", schema.type_name()))]);
        }
        keywords(schema, &OF_OBJECT, &mut problems);
        if let Some(kind) = schema.get("type").filter(|kind| kind.text() != Some("object")) {
            problems.push(wrong(kind, "`parameters` are the members of an object"));
        }
        if let Some(others) = schema.get("additionalProperties")
            && !matches!(others.content, Node::Bool(false))
        {
            problems.push(wrong(others, "parameters that are not declared are never taken"));
        }
        let required: Vec<&Tree> = match schema.get("required").map(|required| &required.content) {
            Some(Node::List(items)) => items.iter().collect(),
            Some(_) => {
                problems.push(wrong(schema, "`required` must be a list of names"));
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut declared = BTreeMap::new();
        for (name, property) in schema.get("properties").map(Tree::entries).unwrap_or_default() {
            let Some(name) = name.text() else { continue };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(plain) || name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
                problems.push(wrong(property, format!("`{name}` cannot be named in a template")));
            }
            let form = Form::read(property, &mut problems);
            let default = property.get("default").cloned();
            if let Some(default) = &default
                && let Err(problem) = form.check(default, name)
            {
                problems.push(problem);
            }
            let required = required.iter().any(|required| required.text() == Some(name));
            declared.insert(name.to_owned(), Parameter { form, default, required });
        }
        for name in required {
            if !name.text().is_some_and(|name| declared.contains_key(name)) {
                problems.push(wrong(name, "what is required is not declared"));
            }
        }
        if problems.is_empty() { Ok(Parameters { declared }) } else { Err(problems) }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    /// What `with` says, which is there or not; `at` is the use.
    pub(crate) fn give(&self, with: Option<&Tree>, at: &Tree, policy: &str) -> Result<Given, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut given = Given::new();
        if let Some(with) = with.filter(|with| !matches!(with.content, Node::Map(_))) {
            problems.push(wrong(with, format!("`with` must be an object, not {}", with.type_name())));
        }
        for (key, value) in with.map(Tree::entries).unwrap_or_default() {
            let name = key.text().unwrap_or_default();
            let Some(parameter) = self.declared.get(name) else {
                let problem = wrong(key, format!("the policy `{policy}` has no parameter `{name}`"));
                let near = did_you_mean(name, self.declared.keys().map(String::as_str));
                problems.push(match near {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                continue;
            };
            match parameter.form.check(value, name) {
                Ok(()) => {
                    given.insert(name.to_owned(), value.given());
                }
                Err(problem) => problems.push(problem),
            }
        }
        for (name, parameter) in &self.declared {
            if given.contains_key(name) || problems.iter().any(|problem| problem.message.contains(&format!("`{name}`")))
            {
                continue;
            }
            match &parameter.default {
                Some(default) => {
                    given.insert(name.clone(), default.given());
                }
                None if parameter.required => {
                    problems.push(wrong(at, format!("the policy `{policy}` needs the parameter `{name}`")));
                }
                None => {}
            }
        }
        let size: usize = given.values().filter_map(Tree::json).map(|json| json.size()).sum();
        if size > MAX_VALUES {
            problems.push(wrong(at, format!("what `{policy}` is used with has more than {MAX_VALUES} bytes")));
        }
        if problems.is_empty() { Ok(given) } else { Err(problems) }
    }
}

/// A keyword that is not looked at would be believed to be.
fn keywords(schema: &Tree, known: &[&str], problems: &mut Vec<Diagnostic>) {
    for (key, _) in schema.entries() {
        let name = key.text().unwrap_or_default();
        if !known.contains(&name) && !WORDS.contains(&name) {
            let message = format!("`{name}` is no keyword that is looked at here: {} are", known.join(", "));
            problems.push(wrong(key, message));
        }
    }
}

// === impl Form ===

impl Form {
    fn read(schema: &Tree, problems: &mut Vec<Diagnostic>) -> Form {
        if !matches!(schema.content, Node::Map(_)) {
            problems.push(wrong(schema, format!("a parameter is a JSON Schema, not {}", schema.type_name())));
            return Form::default();
        }
        keywords(schema, &OF_PROPERTY, problems);
        let kind = schema.get("type").and_then(|kind| {
            let known = kind.text().filter(|kind| TYPES.contains(kind));
            if known.is_none() {
                problems.push(wrong(kind, format!("a `type` is one of {}", TYPES.join(", "))));
            }
            known.map(str::to_owned)
        });
        let choices = schema.get("enum").and_then(|choices| match choices.json() {
            Some(Json::Array(choices)) if !choices.is_empty() => Some(choices),
            _ => {
                problems.push(wrong(choices, "`enum` must be a list of values"));
                None
            }
        });
        let items = schema.get("items").map(|items| Box::new(Form::read(items, problems)));
        Form { kind, choices, items }
    }

    fn check(&self, value: &Tree, name: &str) -> Result<(), Diagnostic> {
        let Some(json) = value.json() else {
            return Err(wrong(value, format!("`{name}` has a number that JSON has no form for")));
        };
        let fits = match (self.kind.as_deref(), &json) {
            (None, _)
            | (Some("string"), Json::Text(_))
            | (Some("number"), Json::Number(_))
            | (Some("boolean"), Json::Bool(_))
            | (Some("array"), Json::Array(_))
            | (Some("object"), Json::Object(_)) => true,
            (Some("integer"), Json::Number(digits)) => !digits.contains(['.', 'e', 'E']),
            _ => false,
        };
        if !fits {
            let kind = self.kind.as_deref().unwrap_or_default();
            return Err(wrong(value, format!("`{name}` must be of type `{kind}`, not {}", value.type_name())));
        }
        if self.choices.as_ref().is_some_and(|choices| !choices.contains(&json)) {
            return Err(wrong(value, format!("`{name}` is none of the values that it can have")));
        }
        if let (Some(form), Node::List(items)) = (&self.items, &value.content) {
            return items.iter().try_for_each(|item| form.check(item, name));
        }
        Ok(())
    }
}
