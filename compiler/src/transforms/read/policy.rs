//! Steps of policies, and what their parameters are given.

use microgw_proto::transforms::v1 as proto;
use microgw_transforms::json::Json;
use microgw_transforms::{Direction, Mentions};

use super::{Read, Reader, Wrong};
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::transforms::policy_files::Unusable;
use crate::transforms::tree::{Node, Tree};

impl Reader<'_> {
    /// A use of both directions of a policy.
    pub(super) fn whole_policy(&mut self, step: &Tree) -> Read<()> {
        if let Some((other, _)) = step.entries().iter().find(|(key, _)| !is_use(key)) {
            return Err(self.unknown(other, "a use of a policy", ["policy", "with", "if"]));
        }
        let Some(name) = step.get("policy") else {
            let message = "a list has policies alone, as in `- policy: name`: steps go below `request` and `response`";
            return Err(self.wrong(&step.at, message));
        };
        self.policy(step, name, false)
    }

    /// Of a policy, with its parameters as what they are to CEL: texts come with quotes, and nothing in them is more than a text.
    pub(super) fn expression(&mut self, text: &str, at: &Tree) -> Read<String> {
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

    pub(super) fn check_parameters(&mut self, mentions: &Mentions, at: &Place) -> Read<()> {
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
    pub(super) fn policy(&mut self, step: &Tree, name: &Tree, must: bool) -> Read<()> {
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
    pub(super) fn fixed(&mut self, tree: &Tree) -> Read<Tree> {
        match tree.text().filter(|_| !tree.is_given).and_then(parameter) {
            Some(name) => self.given(name, tree),
            None => Ok(tree.clone()),
        }
    }

    /// What a parameter is, named by `tree`.
    pub(super) fn given(&mut self, name: &str, tree: &Tree) -> Read<Tree> {
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

    pub(super) fn fixed_text(&mut self, tree: &Tree, key: &str) -> Read<(String, Place)> {
        let fixed = self.fixed(tree)?;
        match fixed.scalar() {
            Some(text) => Ok((text, fixed.at)),
            None => Err(self.wrong_type(&fixed, key, "text")),
        }
    }

    /// One text, or a list of them.
    pub(super) fn fixed_texts(&mut self, tree: &Tree, key: &str) -> Read<Vec<(String, Place)>> {
        let fixed = self.fixed(tree)?;
        match &fixed.content {
            Node::List(items) => items.iter().map(|item| self.fixed_text(item, key)).collect(),
            _ => Ok(vec![self.fixed_text(&fixed, key)?]),
        }
    }

    /// A template. What a parameter says is none, whatever it looks like.
    pub(super) fn template(&mut self, tree: &Tree, key: &str) -> Read<String> {
        match tree.scalar() {
            Some(text) if tree.is_given && text.contains("{{") | text.contains("{%") | text.contains("{#") => {
                Err(self.wrong(&tree.at, "what a parameter says is no template"))
            }
            Some(text) => Ok(text),
            None => Err(self.wrong_type(tree, key, "text")),
        }
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
