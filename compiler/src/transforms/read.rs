//! `x-microgw-transform`, and the steps of policies: each is read and checked by itself, so that what is wrong is told where it stands.

mod action;
mod policy;

use microgw_proto::transforms::v1 as proto;
use microgw_transforms::{Cause, Direction, Transform};
use proto::step::Action;

use super::parameters::{Given, Parameters};
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
}
