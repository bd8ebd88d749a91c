//! `x-microgw-transform`, and the steps of policies: each is read and checked by itself, so that what is wrong is told where it stands.

use std::collections::HashMap;

use microgw_proto::transforms::v1 as proto;
use microgw_transforms::json::Json;
use microgw_transforms::{Cause, Direction, Mentions, Transform};
use proto::edit::Operation;
use proto::json_edit::Operation as JsonOperation;
use proto::step::Action;

use super::parameters::{Given, Parameters};
use super::policy_files::Unusable;
use super::tree::{Node, Tree};
use super::{Both, EXTENSION, Placed, Steps, Transformations};
use crate::compile::Report;
use crate::definition::did_you_mean;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::source::Value;

const DIRECTIONS: [(&str, Direction); 2] = [("request", Direction::Request), ("response", Direction::Response)];
/// What a step does: one of these.
const ACTIONS: [&str; 10] =
    ["headers", "query", "path", "method", "json", "body", "toXml", "toJson", "status", "policy"];
/// In the order in which they are made.
const EDITS: [(&str, Operation); 5] = [
    ("rename", Operation::Rename),
    ("remove", Operation::Remove),
    ("set", Operation::Set),
    ("append", Operation::Append),
    ("add", Operation::Add),
];
const JSON_EDITS: [(&str, JsonOperation); 5] = [
    ("add", JsonOperation::Add),
    ("replace", JsonOperation::Replace),
    ("remove", JsonOperation::Remove),
    ("rename", JsonOperation::Rename),
    ("move", JsonOperation::Move),
];

/// What is read of one list of steps.
struct Reader<'r> {
    report: &'r mut Report,
    transformations: &'r mut Transformations,
    direction: Direction,
    steps: Steps,
    /// Of the policy whose steps are read: what it declares and is given, and where that is among [`Steps::parameters`].
    policy: Option<(Parameters, Given, u32)>,
}

/// Where the parts of an edit are: what it edits, and what it puts there.
#[derive(Clone)]
struct Parts {
    name: Place,
    value: Place,
}

/// Something is wrong, and that has been said.
struct Wrong;

type Read<T> = Result<T, Wrong>;

/// What an API or operation says.
pub(crate) fn read(report: &mut Report, transformations: &mut Transformations, owner: Value<'_>) -> Both {
    let Some(written) = owner.get(EXTENSION).map(Tree::of) else { return Both::default() };
    let mut both = Both::default();
    for (key, direction) in DIRECTIONS {
        let mut reader = Reader { report, transformations, direction, steps: Steps::default(), policy: None };
        match &written.content {
            // Policies alone, in whichever direction they have steps.
            Node::List(uses) => {
                for step in uses {
                    let _ = reader.whole_policy(step);
                }
            }
            Node::Map(entries) => {
                for (name, _) in entries.iter().filter(|(name, _)| !name.text().is_some_and(is_direction)) {
                    reader.unknown(name, EXTENSION, DIRECTIONS.iter().map(|(key, _)| *key));
                }
                if let Some(list) = written.get(key) {
                    let _ = reader.list(list);
                }
            }
            _ => {
                let message = format!(
                    "`{EXTENSION}` must have `request` and `response`, or be a list of policies, not {}",
                    written.type_name()
                );
                reader.wrong(&written.at, message);
            }
        }
        let steps = reader.steps;
        match direction {
            Direction::Request => both.request = steps,
            Direction::Response => both.response = steps,
        }
    }
    if both.is_empty() && !report.has_errors() {
        let message = format!("`{EXTENSION}` has no steps");
        report.add(Diagnostic::new(Code::BadTransform, written.at, message));
    }
    both
}

fn is_direction(name: &str) -> bool {
    DIRECTIONS.iter().any(|(key, _)| *key == name)
}

// === impl Reader ===

impl Reader<'_> {
    fn say(&mut self, diagnostic: Diagnostic) {
        self.transformations.say(self.report, diagnostic);
    }

    fn wrong(&mut self, at: &Place, message: impl Into<String>) -> Wrong {
        self.say(Diagnostic::new(Code::BadTransform, at.clone(), message));
        Wrong
    }

    fn unknown<'k>(&mut self, key: &Tree, owner: &str, known: impl IntoIterator<Item = &'k str>) -> Wrong {
        let name = key.text().unwrap_or_default();
        let diagnostic = Diagnostic::new(Code::BadTransform, key.at.clone(), format!("`{owner}` has no key `{name}`"));
        self.say(match did_you_mean(name, known) {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
        Wrong
    }

    fn wrong_type(&mut self, at: &Tree, key: &str, expected: &str) -> Wrong {
        self.wrong(&at.at, format!("`{key}` must be {expected}, not {}", at.type_name()))
    }

    fn list(&mut self, list: &Tree) -> Read<()> {
        let Node::List(steps) = &list.content else {
            return Err(self.wrong_type(list, "steps", "a list"));
        };
        for step in steps {
            // What is wrong in one says nothing of the next.
            let _ = self.step(step);
        }
        Ok(())
    }

    /// A use of both directions of a policy.
    fn whole_policy(&mut self, step: &Tree) -> Read<()> {
        if let Some((other, _)) = step.entries().iter().find(|(key, _)| !is_use(key)) {
            return Err(self.unknown(other, "a use of a policy", ["policy", "with", "if"]));
        }
        let Some(name) = step.get("policy") else {
            let message = "a list has policies alone, as in `- policy: name`: steps go below `request` and `response`";
            return Err(self.wrong(&step.at, message));
        };
        self.policy(step, name, false)
    }

    fn step(&mut self, step: &Tree) -> Read<()> {
        if !matches!(step.content, Node::Map(_)) {
            return Err(self.wrong_type(step, "a step", "an object"));
        }
        let known = || ACTIONS.into_iter().chain(["if", "with"]);
        if let Some((key, _)) =
            step.entries().iter().find(|(key, _)| !key.text().is_some_and(|key| known().any(|known| known == key)))
        {
            return Err(self.unknown(key, "a step", known()));
        }
        let mut actions = step.entries().iter().filter(|(key, _)| key.text().is_some_and(|key| ACTIONS.contains(&key)));
        let (Some((key, value)), None) = (actions.next(), actions.next()) else {
            let message = format!("a step has exactly one of {}", ACTIONS.map(|key| format!("`{key}`")).join(", "));
            return Err(self.wrong(&step.at, message));
        };
        let name = key.text().unwrap_or_default();
        if name == "policy" {
            return self.policy(step, value, true);
        }
        if let Some(with) = step.get("with") {
            return Err(self.wrong(&with.at, "`with` has a meaning beside `policy` only"));
        }
        let (action, parts) = self.action(key, value)?;
        let condition = self.condition(step)?;
        self.add(proto::Step { action: Some(action), ..condition }, &key.at, step, &parts)
    }

    /// A step that has nothing but its condition, parameters and source.
    fn condition(&mut self, step: &Tree) -> Read<proto::Step> {
        let condition = match step.get("if") {
            None => String::new(),
            Some(condition) => match &condition.content {
                Node::Text(text) if !text.is_empty() => self.expression(text, condition)?,
                Node::Bool(value) => value.to_string(),
                _ => return Err(self.wrong_type(condition, "if", "an expression")),
            },
        };
        let Place { file, start, .. } = &step.at;
        Ok(proto::Step {
            condition,
            parameters: self.policy.as_ref().map_or(0, |(_, _, index)| *index),
            source: format!("{file}:{}:{}", start.line, start.column),
            ..proto::Step::default()
        })
    }

    /// Of a policy, with its parameters as what they are to CEL: texts come with quotes, and nothing in them is more than a text.
    fn expression(&mut self, text: &str, at: &Tree) -> Read<String> {
        if self.policy.is_none() {
            return Ok(text.to_owned());
        }
        let mut whole = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").unwrap_or((after, ""));
            let Some(name) = parameter_name(inside) else {
                return Err(self.wrong(&at.at, "in an `if` braces have `parameters.name` alone"));
            };
            let value = self.given(name, at)?;
            let literal = match value.json() {
                Some(Json::Object(_)) | None => None,
                Some(json) => json.write().ok(),
            };
            let Some(literal) = literal else {
                return Err(self.wrong(&at.at, format!("`parameters.{name}` is an object, and none can be compared")));
            };
            whole.push_str(before);
            whole.push_str(&literal);
            rest = after;
        }
        whole.push_str(rest);
        Ok(whole)
    }

    /// Takes a step that can be loaded; `parts` are those of its edits.
    fn add(&mut self, step: proto::Step, at: &Place, written: &Tree, parts: &[Parts]) -> Read<()> {
        let transform = proto::Transform { steps: vec![step.clone()], parameters: self.steps.parameters.clone() };
        match Transform::load(&transform, self.direction) {
            Ok(loaded) => {
                let mentions = loaded.mentions().clone();
                self.check_parameters(&mentions, at)?;
                let sets_method = matches!(step.action, Some(Action::Method(_)));
                let reroutes = sets_method || matches!(step.action, Some(Action::Path(_)));
                let needs_body = loaded.needs().body || loaded.needs().writes_body;
                self.steps.list.push(Placed { step, at: at.clone(), mentions, sets_method, reroutes, needs_body });
                Ok(())
            }
            Err(error) => {
                let edit = error.edit.and_then(|edit| parts.get(edit)).or(parts.first());
                let of_value = matches!(error.cause, Cause::Template(_) | Cause::HeaderValue(..) | Cause::Value);
                let condition = written.get("if").filter(|_| matches!(error.cause, Cause::Condition(_)));
                let place = match (condition, edit) {
                    (Some(condition), _) => &condition.at,
                    (None, Some(parts)) if of_value => &parts.value,
                    (None, Some(parts)) => &parts.name,
                    (None, None) => at,
                };
                Err(self.wrong(place, error.to_string()))
            }
        }
    }

    fn check_parameters(&mut self, mentions: &Mentions, at: &Place) -> Read<()> {
        for (_, name) in &mentions.parameters {
            let known = self.policy.as_ref().is_some_and(|(declared, _, _)| declared.has(name));
            if !known {
                let message = if self.policy.is_some() {
                    format!("the policy declares no parameter `{name}`")
                } else {
                    format!("`parameters.{name}` has a meaning in policies only")
                };
                return Err(self.wrong(at, message));
            }
        }
        Ok(())
    }

    /// The steps of a policy. `must`: it must have some in this direction.
    fn policy(&mut self, step: &Tree, name: &Tree, must: bool) -> Read<()> {
        if self.policy.is_some() {
            return Err(self.wrong(&name.at, "a policy cannot use another one"));
        }
        let Some(called) = name.text() else { return Err(self.wrong_type(name, "policy", "text")) };
        let direction = self.direction;
        let found = self.transformations.files.use_policy(called).map(|policy| {
            let steps = match direction {
                Direction::Request => &policy.request,
                Direction::Response => &policy.response,
            };
            (policy.parameters.clone(), steps.clone())
        });
        let (parameters, steps) = match found {
            Ok(found) => found,
            Err(Unusable::Said) => return Err(Wrong),
            Err(Unusable::Missing(help)) => {
                let message = format!("there is no policy `{called}`");
                self.say(Diagnostic::new(Code::BadTransform, name.at.clone(), message).help(help));
                return Err(Wrong);
            }
            Err(Unusable::Interceptor) => {
                let message = format!("`{called}` carries an interceptor, and has no steps");
                let help = format!("name it where interceptors are: `x-microgw-interceptors: {{request: [{called}]}}`");
                self.say(Diagnostic::new(Code::BadTransform, name.at.clone(), message).help(help));
                return Err(Wrong);
            }
        };
        let given = match parameters.give(step.get("with"), name, called) {
            Ok(given) => given,
            Err(problems) => {
                for problem in problems {
                    self.say(problem);
                }
                return Err(Wrong);
            }
        };
        let Some(steps) = steps else {
            let direction = if direction == Direction::Request { "requests" } else { "responses" };
            return if must {
                Err(self.wrong(&name.at, format!("the policy `{called}` has no steps for {direction}")))
            } else {
                Ok(())
            };
        };
        let values = Tree {
            content: Node::Map(given.iter().map(|(name, value)| (key(name, &value.at), value.clone())).collect()),
            at: name.at.clone(),
            is_given: true,
        };
        let Some(json) = values.json().and_then(|json| json.write().ok()) else {
            return Err(self.wrong(&name.at, format!("`{called}` is used with too much")));
        };
        let condition = self.condition(step)?;
        self.steps.parameters.push(json);
        let index = u32::try_from(self.steps.parameters.len()).unwrap_or(u32::MAX);
        let guard = (!condition.condition.is_empty()).then_some(self.steps.list.len());
        if guard.is_some() {
            self.add(proto::Step { guards: 1, ..condition }, &name.at, step, &[])?;
        }
        self.policy = Some((parameters, given, index));
        let before = self.steps.list.len();
        let read = self.list(&steps);
        self.policy = None;
        let count = u32::try_from(self.steps.list.len() - before).unwrap_or(u32::MAX);
        match guard {
            // It would guard what is none of the policy's.
            Some(guard) if count == 0 => self.steps.list.truncate(guard),
            Some(guard) => {
                if let Some(placed) = self.steps.list.get_mut(guard) {
                    placed.step.guards = count;
                }
            }
            None => {}
        }
        read
    }

    /// What a part says that is no template: where it is a parameter and nothing else, what that is given.
    fn fixed(&mut self, tree: &Tree) -> Read<Tree> {
        match tree.text().filter(|_| !tree.is_given).and_then(parameter) {
            Some(name) => self.given(name, tree),
            None => Ok(tree.clone()),
        }
    }

    /// What a parameter is, named by `tree`.
    fn given(&mut self, name: &str, tree: &Tree) -> Read<Tree> {
        let (declared, given) = match &self.policy {
            Some((declared, given, _)) => (declared.has(name), given.get(name).cloned()),
            None => return Err(self.wrong(&tree.at, format!("`parameters.{name}` has a meaning in policies only"))),
        };
        match given {
            Some(given) => Ok(given),
            None if declared => {
                Err(self.wrong(&tree.at, format!("the parameter `{name}` is needed here, and not given")))
            }
            None => Err(self.wrong(&tree.at, format!("the policy declares no parameter `{name}`"))),
        }
    }

    fn fixed_text(&mut self, tree: &Tree, key: &str) -> Read<(String, Place)> {
        let fixed = self.fixed(tree)?;
        match fixed.scalar() {
            Some(text) => Ok((text, fixed.at)),
            None => Err(self.wrong_type(&fixed, key, "text")),
        }
    }

    /// One text, or a list of them.
    fn fixed_texts(&mut self, tree: &Tree, key: &str) -> Read<Vec<(String, Place)>> {
        let fixed = self.fixed(tree)?;
        match &fixed.content {
            Node::List(items) => items.iter().map(|item| self.fixed_text(item, key)).collect(),
            _ => Ok(vec![self.fixed_text(&fixed, key)?]),
        }
    }

    /// A template. What a parameter says is none, whatever it looks like.
    fn template(&mut self, tree: &Tree, key: &str) -> Read<String> {
        match tree.scalar() {
            Some(text) if tree.is_given && text.contains("{{") | text.contains("{%") | text.contains("{#") => {
                Err(self.wrong(&tree.at, "what a parameter says is no template"))
            }
            Some(text) => Ok(text),
            None => Err(self.wrong_type(tree, key, "text")),
        }
    }

    fn action(&mut self, key: &Tree, value: &Tree) -> Read<(Action, Vec<Parts>)> {
        let name = key.text().unwrap_or_default();
        let whole = |action: Action| (action, vec![Parts { name: key.at.clone(), value: value.at.clone() }]);
        Ok(match name {
            "headers" | "query" => {
                let (edits, parts) = self.edits(value, name)?;
                let edits = proto::Edits { edits };
                (if name == "headers" { Action::Headers(edits) } else { Action::Query(edits) }, parts)
            }
            "path" => whole(Action::Path(self.template(value, "path")?)),
            "method" => whole(Action::Method(self.fixed_text(value, "method")?.0)),
            "json" => {
                let (edits, parts) = self.json_edits(value)?;
                (Action::Json(proto::JsonEdits { edits }), parts)
            }
            "body" => {
                let body = self.members(value, "body", &["template", "contentType"])?;
                let (Some(template), Some(content_type)) = (body.get("template"), body.get("contentType")) else {
                    return Err(self.wrong(&value.at, "`body` needs `template` and `contentType`"));
                };
                let parts = Parts { name: content_type.at.clone(), value: template.at.clone() };
                let content_type = self.fixed_text(content_type, "contentType")?.0;
                let template = self.template(template, "template")?;
                (Action::Body(proto::NewBody { template, content_type }), vec![parts])
            }
            "toXml" => {
                let members = self.members(value, "toXml", &["root", "contentType"])?;
                let root = self.root(&members)?;
                let content_type = members.get("contentType").map(|kind| self.fixed_text(kind, "contentType"));
                let content_type = content_type.transpose()?.map(|(text, _)| text).unwrap_or_default();
                whole(Action::ToXml(proto::ToXml { root, content_type }))
            }
            "toJson" => {
                let members = self.members(value, "toJson", &["root", "arrays", "typed"])?;
                let root = self.root(&members)?;
                let arrays = members.get("arrays").map(|arrays| self.fixed_texts(arrays, "arrays")).transpose()?;
                let typed = match members.get("typed").map(|typed| self.fixed(typed)).transpose()? {
                    None => false,
                    Some(Tree { content: Node::Bool(typed), .. }) => typed,
                    Some(other) => return Err(self.wrong_type(&other, "typed", "`true` or `false`")),
                };
                let arrays = arrays.unwrap_or_default().into_iter().map(|(name, _)| name).collect();
                whole(Action::ToJson(proto::ToJson { root, arrays, typed }))
            }
            _ => {
                let (text, at) = self.fixed_text(value, "status")?;
                let Ok(status) = text.parse() else {
                    return Err(self.wrong(&at, format!("`status` must be a number, not `{text}`")));
                };
                whole(Action::Status(status))
            }
        })
    }

    /// Members by name; `true` is an object without any.
    fn members(&mut self, tree: &Tree, owner: &str, known: &[&'static str]) -> Read<HashMap<&'static str, Tree>> {
        match &tree.content {
            Node::Bool(true) => return Ok(HashMap::new()),
            Node::Map(_) => {}
            _ => return Err(self.wrong_type(tree, owner, "an object")),
        }
        let mut members = HashMap::new();
        for (key, value) in tree.entries() {
            match known.iter().find(|known| key.text() == Some(known)) {
                Some(known) => {
                    members.insert(*known, value.clone());
                }
                None => return Err(self.unknown(key, owner, known.iter().copied())),
            }
        }
        Ok(members)
    }

    fn root(&mut self, members: &HashMap<&'static str, Tree>) -> Read<String> {
        members.get("root").map_or(Ok(String::new()), |root| Ok(self.fixed_text(root, "root")?.0))
    }

    fn edits(&mut self, tree: &Tree, owner: &str) -> Read<(Vec<proto::Edit>, Vec<Parts>)> {
        if !matches!(tree.content, Node::Map(_)) {
            return Err(self.wrong_type(tree, owner, "an object"));
        }
        let known = || EDITS.iter().map(|(key, _)| *key);
        if let Some((key, _)) =
            tree.entries().iter().find(|(key, _)| !key.text().is_some_and(|key| known().any(|known| known == key)))
        {
            return Err(self.unknown(key, owner, known()));
        }
        let (mut edits, mut parts) = (Vec::new(), Vec::new());
        for (key, operation) in EDITS {
            let Some(written) = tree.get(key) else { continue };
            let mut put = |name: String, value: String, at: Parts| {
                edits.push(proto::Edit { operation: operation.into(), name, value });
                parts.push(at);
            };
            if operation == Operation::Remove {
                for (name, at) in self.fixed_texts(written, key)? {
                    put(name, String::new(), Parts { name: at.clone(), value: at });
                }
                continue;
            }
            let fixed = self.fixed(written)?;
            if !matches!(fixed.content, Node::Map(_)) {
                return Err(self.wrong_type(&fixed, key, "an object"));
            }
            for (name, value) in fixed.entries() {
                let (called, named) = self.fixed_text(name, key)?;
                let values = match &value.content {
                    Node::List(items) if operation == Operation::Add => items.iter().collect(),
                    _ => vec![value],
                };
                for value in values {
                    let at = Parts { name: named.clone(), value: value.at.clone() };
                    let text = match operation {
                        Operation::Rename => self.fixed_text(value, &called)?.0,
                        _ => self.template(value, &called)?,
                    };
                    put(called.clone(), text, at);
                }
            }
        }
        Ok((edits, parts))
    }

    fn json_edits(&mut self, tree: &Tree) -> Read<(Vec<proto::JsonEdit>, Vec<Parts>)> {
        let items = match &tree.content {
            Node::List(items) => items.as_slice(),
            Node::Map(_) => std::slice::from_ref(tree),
            _ => return Err(self.wrong_type(tree, "json", "a list of edits")),
        };
        let (mut edits, mut parts) = (Vec::new(), Vec::new());
        for item in items {
            self.json_edit(item, &mut edits, &mut parts)?;
        }
        Ok((edits, parts))
    }

    fn json_edit(&mut self, item: &Tree, edits: &mut Vec<proto::JsonEdit>, parts: &mut Vec<Parts>) -> Read<()> {
        let known = || JSON_EDITS.iter().map(|(key, _)| *key).chain(["to", "value"]);
        if let Some((key, _)) =
            item.entries().iter().find(|(key, _)| !key.text().is_some_and(|key| known().any(|known| known == key)))
        {
            return Err(self.unknown(key, "an edit", known()));
        }
        let mut found = JSON_EDITS.iter().filter_map(|(key, operation)| Some((*key, *operation, item.get(key)?)));
        let (Some((key, operation, at)), None) = (found.next(), found.next()) else {
            let message = "an edit has exactly one of `add`, `replace`, `remove`, `rename` and `move`";
            return Err(self.wrong(&item.at, message));
        };
        let (takes_value, takes_to) = match operation {
            JsonOperation::Add | JsonOperation::Replace => (true, false),
            JsonOperation::Remove => (false, false),
            JsonOperation::Rename | JsonOperation::Move => (false, true),
        };
        for (part, taken) in [("value", takes_value), ("to", takes_to)] {
            if let Some(other) = item.get(part).filter(|_| !taken) {
                return Err(self.wrong(&other.at, format!("`{part}` has no meaning beside `{key}`")));
            }
        }
        let mut put = |at: String, to: String, value: String, places: Parts| {
            edits.push(proto::JsonEdit { operation: operation.into(), at, to, value });
            parts.push(places);
        };
        if takes_to && item.get("to").is_none() {
            // From old to new.
            let fixed = self.fixed(at)?;
            if !matches!(fixed.content, Node::Map(_)) {
                return Err(self.wrong(&fixed.at, format!("`{key}` needs `to`, or names to names")));
            }
            for (from, to) in fixed.entries() {
                let places = Parts { name: from.at.clone(), value: to.at.clone() };
                put(from.text().unwrap_or_default().to_owned(), self.fixed_text(to, key)?.0, String::new(), places);
            }
            return Ok(());
        }
        let to = item.get("to").map(|to| self.fixed_text(to, "to")).transpose()?;
        let value = match item.get("value") {
            None if takes_value => return Err(self.wrong(&item.at, format!("`{key}` needs a `value`"))),
            None => None,
            Some(value) => match value.json().and_then(|json| json.write().ok()) {
                Some(json) => Some((json, value.at.clone())),
                None => return Err(self.wrong(&value.at, "the value has a number that JSON has no form for")),
            },
        };
        for (at, place) in self.fixed_texts(at, key)? {
            let (to, to_at) = to.clone().unzip();
            let (value, value_at) = value.clone().unzip();
            let places = Parts { value: value_at.or(to_at).unwrap_or_else(|| place.clone()), name: place };
            put(at, to.unwrap_or_default(), value.unwrap_or_default(), places);
        }
        Ok(())
    }
}

fn is_use(key: &Tree) -> bool {
    key.text().is_some_and(|key| ["policy", "with", "if"].contains(&key))
}

fn key(name: &str, at: &Place) -> Tree {
    Tree { content: Node::Text(name.to_owned()), at: at.clone(), is_given: true }
}

/// `{{ parameters.name }}` and nothing else.
fn parameter(text: &str) -> Option<&str> {
    parameter_name(text.trim().strip_prefix("{{")?.strip_suffix("}}")?)
}

/// Of `parameters.name`.
fn parameter_name(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("parameters.")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}
