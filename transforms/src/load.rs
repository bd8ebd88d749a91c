//! Transformations as artifacts and rule books have them, checked and compiled.

use microgw_expressions::{Expression, Variable};
use microgw_proto::transforms::v1 as proto;
use microgw_proto::transforms::v1::edit::Operation;
use microgw_proto::transforms::v1::step::Action as Written;

use crate::editable::{self, Direction};
use crate::error::{Cause, TransformError};
use crate::json::Json;
use crate::json_edit::JsonEdit;
use crate::step::{Action, Edit, Filled, Filler, METHODS, Step, is_status};
use crate::template::{Syntax, TemplateError, Templates, Words, from_json, is_one_value, is_template};
use crate::xml::{ToJson, is_name};
use crate::{MAX_EDITS, MAX_STEPS, Mentions, Needs, Transform, names, path};

/// Which edit is at fault, if it is one, and why.
type Wrong = (Option<usize>, Cause);

/// Of XML that nobody calls otherwise.
const XML: &str = "application/xml; charset=utf-8";

struct Loader {
    direction: Direction,
    templates: Templates,
}

// === impl Transform ===

impl Transform {
    pub fn load(transform: &proto::Transform, direction: Direction) -> Result<Transform, TransformError> {
        let failed = |step| move |(edit, cause): Wrong| TransformError { step, edit, cause };
        if transform.steps.len() > MAX_STEPS {
            return Err(failed(MAX_STEPS)((None, Cause::TooManySteps)));
        }
        let parameters = transform.parameters.iter().map(|text| match Json::read(text.as_bytes()) {
            Ok(json @ Json::Object(_)) => Ok(from_json(&json)),
            _ => Err(failed(0)((None, Cause::Parameters))),
        });
        let parameters: Box<[_]> = parameters.collect::<Result<_, _>>()?;
        let mut loader = Loader { direction, templates: Templates::new() };
        let steps = transform
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| loader.step(step, parameters.len()).map_err(|wrong| failed(index)(wrong)));
        let steps: Box<[Step]> = steps.collect::<Result<_, _>>()?;
        let (needs, mentions) = (needs(&steps), mentions(&steps));
        Ok(Transform { direction, steps, templates: loader.templates, parameters, needs, mentions })
    }
}

fn needs(steps: &[Step]) -> Needs {
    let mut needs = Needs::default();
    for step in steps {
        needs.body |= step.action.templates().iter().any(|template| template.uses.body);
        match &step.action {
            Action::Json(_) | Action::ToXml { .. } | Action::ToJson(_) => {
                needs.body = true;
                needs.writes_body = true;
            }
            Action::Body { .. } => needs.writes_body = true,
            Action::Path(_) | Action::Query(_) => needs.writes_path = true,
            Action::Method(_) => needs.writes_method = true,
            Action::Guard(_) | Action::Headers(_) | Action::Status(_) => {}
        }
    }
    needs
}

fn mentions(steps: &[Step]) -> Mentions {
    let mut mentions = Mentions::default();
    for (index, step) in steps.iter().enumerate() {
        for template in step.action.templates() {
            let subscribed = ["caller.application", "caller.tier"];
            mentions.subscriptions |= subscribed.iter().any(|field| template.uses.fields.contains(field));
            mentions.claims.extend(template.uses.claims.iter().cloned());
            mentions.path_parameters.extend(template.uses.path.iter().map(|name| (index, name.clone())));
            mentions.parameters.extend(template.uses.parameters.iter().map(|name| (index, name.clone())));
        }
        for variable in step.condition.iter().flat_map(Expression::variables) {
            let variable = if let Variable::Present(inner) = variable { inner } else { variable };
            match variable {
                Variable::Claim(name) => drop(mentions.claims.insert(name.to_string())),
                Variable::Application | Variable::Tier => mentions.subscriptions = true,
                _ => {}
            }
        }
        let (edits, named) = match &step.action {
            Action::Headers(edits) => (edits, &mut mentions.headers),
            Action::Query(edits) => (edits, &mut mentions.query),
            _ => continue,
        };
        for edit in edits {
            named.insert((index, edit.name.to_string()));
            if let (Operation::Rename, Words::Plain(to)) = (edit.operation, &edit.value) {
                named.insert((index, to.clone()));
            }
        }
    }
    mentions
}

// === impl Loader ===

impl Loader {
    fn step(&mut self, step: &proto::Step, parameters: usize) -> Result<Step, Wrong> {
        let condition = match (step.condition.as_str(), self.direction) {
            ("", _) => None,
            (text, Direction::Request) => Some(Expression::condition(text)),
            (text, Direction::Response) => Some(Expression::response_condition(text)),
        };
        let condition = condition.transpose().map_err(|error| (None, Cause::Condition(error)))?;
        let given = usize::try_from(step.parameters).unwrap_or(usize::MAX);
        if given > parameters {
            return Err((None, Cause::Parameters));
        }
        let guards = usize::try_from(step.guards).unwrap_or(usize::MAX);
        let action = match &step.action {
            Some(action) if guards == 0 => self.action(action)?,
            None if guards > 0 && condition.is_some() => Action::Guard(guards),
            _ => return Err((None, Cause::Nothing)),
        };
        Ok(Step { condition, parameters: given.checked_sub(1), source: step.source.as_str().into(), action })
    }

    fn action(&mut self, action: &Written) -> Result<Action, Wrong> {
        let whole = |cause: Cause| (None, cause);
        match (action, self.direction) {
            (Written::Path(_), Direction::Response) => return Err(whole(Cause::OfRequests("path"))),
            (Written::Method(_), Direction::Response) => return Err(whole(Cause::OfRequests("method"))),
            (Written::Query(_), Direction::Response) => return Err(whole(Cause::OfRequests("query"))),
            (Written::Status(_), Direction::Request) => return Err(whole(Cause::OfResponses("status"))),
            _ => {}
        }
        Ok(match action {
            Written::Headers(edits) => Action::Headers(self.edits(&edits.edits, Loader::header)?),
            Written::Query(edits) => Action::Query(self.edits(&edits.edits, Loader::query)?),
            Written::Path(text) => Action::Path(self.path(text).map_err(whole)?),
            Written::Method(text) => {
                let method = METHODS.into_iter().find(|method| method == text);
                Action::Method(method.ok_or_else(|| whole(Cause::Method(text.clone())))?)
            }
            Written::Json(edits) => Action::Json(self.json(&edits.edits)?),
            Written::Body(body) => {
                let content_type = body.content_type.as_str();
                if !is_content_type(content_type) {
                    return Err(whole(Cause::ContentType(content_type.to_owned())));
                }
                let syntax = Syntax::of_content_type(content_type);
                let words = self.words(syntax, &body.template).map_err(whole)?;
                if let Words::Plain(text) = &words {
                    crate::apply::well_formed(syntax, text).map_err(|_| whole(Cause::Value))?;
                }
                Action::Body { words, syntax, content_type: content_type.into() }
            }
            Written::ToXml(form) => {
                let content_type = match form.content_type.as_str() {
                    "" => XML,
                    text if is_content_type(text) && Syntax::of_content_type(text) == Syntax::Xml => text,
                    text => return Err(whole(Cause::XmlContentType(text.to_owned()))),
                };
                Action::ToXml { content_type: content_type.into(), root: element(&form.root).map_err(whole)? }
            }
            Written::ToJson(form) => {
                let arrays = form.arrays.iter().map(|name| element(name).map_err(whole));
                let arrays = arrays.filter_map(Result::transpose).collect::<Result<_, _>>()?;
                if form.arrays.len() > MAX_EDITS {
                    return Err(whole(Cause::TooManyEdits));
                }
                Action::ToJson(ToJson { root: element(&form.root).map_err(whole)?, arrays, typed: form.typed })
            }
            Written::Status(status) => {
                let known = u16::try_from(*status).ok().filter(|status| is_status(*status));
                Action::Status(known.ok_or_else(|| whole(Cause::Status(*status)))?)
            }
        })
    }

    fn words(&mut self, syntax: Syntax, text: &str) -> Result<Words, Cause> {
        self.templates.words(syntax, self.direction, text).map_err(Cause::Template)
    }

    fn edits(
        &mut self,
        edits: &[proto::Edit],
        read: fn(&mut Loader, &proto::Edit) -> Result<Edit, Cause>,
    ) -> Result<Box<[Edit]>, Wrong> {
        match edits.len() {
            0 => Err((None, Cause::Nothing)),
            count if count > MAX_EDITS => Err((None, Cause::TooManyEdits)),
            _ => edits
                .iter()
                .enumerate()
                .map(|(index, edit)| read(self, edit).map_err(|cause| (Some(index), cause)))
                .collect(),
        }
    }

    fn header(&mut self, edit: &proto::Edit) -> Result<Edit, Cause> {
        let direction = self.direction;
        let name =
            |name: &str| editable::editable(direction, name).map_err(|error| Cause::Header(name.to_owned(), error));
        let (operation, own) = (edit.operation(), name(&edit.name)?);
        let value = match operation {
            Operation::Remove => Words::Plain(String::new()),
            Operation::Rename => Words::Plain(name(&edit.value)?),
            Operation::Append if own == "set-cookie" => return Err(Cause::AppendedCookie),
            Operation::Set | Operation::Add | Operation::Append => self.words(Syntax::Text, &edit.value)?,
        };
        if let (Words::Plain(text), Operation::Set | Operation::Add | Operation::Append) = (&value, operation) {
            editable::value(text).map_err(|error| Cause::HeaderValue(own.clone(), error))?;
        }
        Ok(Edit { operation, name: own.into(), value })
    }

    fn query(&mut self, edit: &proto::Edit) -> Result<Edit, Cause> {
        let name = |name: &str| names::query_name(name).map_err(|error| Cause::Query(name.to_owned(), error));
        name(&edit.name)?;
        let operation = edit.operation();
        let value = match operation {
            Operation::Remove => Words::Plain(String::new()),
            Operation::Rename => {
                name(&edit.value)?;
                Words::Plain(edit.value.clone())
            }
            Operation::Set | Operation::Add | Operation::Append => self.words(Syntax::Text, &edit.value)?,
        };
        Ok(Edit { operation, name: edit.name.as_str().into(), value })
    }

    fn path(&mut self, text: &str) -> Result<Words, Cause> {
        if !text.starts_with('/') {
            return Err(Cause::PathStart);
        }
        let words = self.words(Syntax::Path, text)?;
        if let Words::Plain(text) = &words {
            path::check(text).map_err(Cause::Path)?;
        }
        Ok(words)
    }

    fn json(&mut self, edits: &[proto::JsonEdit]) -> Result<Box<[Filled]>, Wrong> {
        match edits.len() {
            0 => return Err((None, Cause::Nothing)),
            count if count > MAX_EDITS => return Err((None, Cause::TooManyEdits)),
            _ => {}
        }
        let edits =
            edits.iter().enumerate().map(|(index, edit)| self.json_edit(edit).map_err(|cause| (Some(index), cause)));
        edits.collect()
    }

    fn json_edit(&mut self, edit: &proto::JsonEdit) -> Result<Filled, Cause> {
        use proto::json_edit::Operation;
        let (at, to) = (edit.at.as_str(), edit.to.as_str());
        let read = match edit.operation() {
            Operation::Add => JsonEdit::add(at),
            Operation::Replace => JsonEdit::replace(at),
            Operation::Remove => JsonEdit::remove(at),
            Operation::Rename => JsonEdit::rename(at, to),
            Operation::Move => JsonEdit::moved(at, to),
        };
        let read = read.map_err(|error| Cause::Place(at.to_owned(), error))?;
        let value = read.takes_value().then(|| Json::read(edit.value.as_bytes()).map_err(|_| Cause::Value));
        let value = value.transpose()?.map(|json| self.filler(json)).transpose()?;
        Ok((read, value))
    }

    fn filler(&mut self, json: Json) -> Result<Filler, Cause> {
        let mut add = |syntax, text: &str| self.templates.add(syntax, self.direction, text).map_err(Cause::Template);
        Ok(match json {
            Json::Text(text) if is_one_value(&text) => Filler::Value(add(Syntax::Json, text.trim())?),
            Json::Text(text) if is_template(&text) => Filler::Text(add(Syntax::Text, &text)?),
            Json::Array(items) => {
                Filler::Array(items.into_iter().map(|item| self.filler(item)).collect::<Result<_, _>>()?).plain()
            }
            Json::Object(members) => {
                let members = members.into_iter().map(|(name, value)| Ok((name, self.filler(value)?)));
                Filler::Object(members.collect::<Result<_, Cause>>()?).plain()
            }
            plain => Filler::Plain(plain),
        })
    }
}

// === impl Filler ===

impl Filler {
    /// In one piece, if there is nothing to be filled in.
    fn plain(self) -> Filler {
        let nothing = |_: &crate::template::Template, _: bool| Err(());
        match self.fill(&mut { nothing }) {
            Ok(json) => Filler::Plain(json),
            Err(()) => self,
        }
    }
}

/// RFC 9110 section 8.3: `type/subtype`, and parameters.
pub(crate) fn is_content_type(text: &str) -> bool {
    let kind = text.split(';').next().unwrap_or_default().trim_end();
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(names::is_token);
    editable::value(text).is_ok() && kind.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}

/// Empty: none is named.
fn element(name: &str) -> Result<Option<Box<str>>, Cause> {
    match name {
        "" => Ok(None),
        name if is_name(name) => Ok(Some(name.into())),
        name => Err(Cause::Element(name.to_owned())),
    }
}

impl From<TemplateError> for Cause {
    fn from(error: TemplateError) -> Cause {
        Cause::Template(error)
    }
}
