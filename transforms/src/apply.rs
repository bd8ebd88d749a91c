//! Steps, taken on a copy of the message: whoever fails leaves nothing half done.

use microgw_proto::transforms::v1::edit::Operation;
use minijinja::value::Value;

use crate::context::{Context, View};
use crate::editable::is_value;
use crate::editor::may_have_body;
use crate::json::Json;
use crate::json_edit::Budget;
use crate::message::Message;
use crate::query::{self, MAX_PAIRS, Query};
use crate::step::{Action, Edit, Filled, Step};
use crate::template::{Syntax, Template, Words, from_json};
use crate::xml::{ToJson, to_xml};
use crate::{Failure, MAX_BODY, MAX_DEPTH, MAX_HEAD, Transform, path};

struct Work<'a> {
    transform: &'a Transform,
    context: &'a dyn Context,
    message: Message,
    /// The body, once somebody has read it as such.
    json: Option<Json>,
    /// The message's body is behind it.
    edited: bool,
    /// The same for templates.
    body: Option<Value>,
    budget: Budget,
}

// === impl Transform ===

impl Transform {
    /// All of it, or nothing. Steps see what those before them did.
    pub fn apply(&self, message: &mut Message, context: &dyn Context) -> Result<(), Failure> {
        self.apply_or_tell(message, context).map_err(|(_, failure)| failure)
    }

    /// The same; a failure comes with its step.
    pub fn apply_or_tell(&self, message: &mut Message, context: &dyn Context) -> Result<(), (usize, Failure)> {
        let mut work = Work {
            transform: self,
            context,
            message: message.clone(),
            json: None,
            edited: false,
            body: None,
            budget: Budget::default(),
        };
        let mut next = 0;
        while let Some(step) = self.steps.get(next) {
            let left_out = work.step(step).map_err(|failure| (next, failure))?;
            next = next.saturating_add(1 + left_out);
        }
        work.write().map_err(|failure| (self.steps.len().saturating_sub(1), failure))?;
        *message = work.message;
        Ok(())
    }
}

// === impl Work ===

impl Work<'_> {
    fn view(&self) -> View<'_> {
        View { message: &self.message, direction: self.transform.direction, context: self.context }
    }

    /// How many steps that follow are left out.
    fn step(&mut self, step: &Step) -> Result<usize, Failure> {
        if let Some(condition) = &step.condition
            && !condition.is_true(&self.view()).map_err(|_| Failure::Condition)?
        {
            return Ok(if let Action::Guard(count) = step.action { count } else { 0 });
        }
        self.act(step).map(|()| 0)
    }

    fn act(&mut self, step: &Step) -> Result<(), Failure> {
        let parameters = step.parameters.and_then(|index| self.transform.parameters.get(index));
        match &step.action {
            Action::Guard(_) => Ok(()),
            Action::Headers(edits) => self.headers(edits, parameters),
            Action::Query(edits) => self.query(edits, parameters),
            Action::Path(words) => self.path(words, parameters),
            // What answers HEAD has no body, whoever is asked.
            Action::Method(_) if self.message.method() == "HEAD" => Ok(()),
            Action::Method(method) => {
                self.message.set_method(method);
                Ok(())
            }
            Action::Json(edits) => self.edit(edits, parameters),
            Action::Body { words, syntax, content_type } => {
                if !self.may_have_body() {
                    return Ok(());
                }
                let text = self.text(words, parameters)?;
                well_formed(*syntax, &text)?;
                self.replace(text.into_bytes(), content_type);
                Ok(())
            }
            Action::ToXml { root, content_type } => {
                if !self.has_body() {
                    return Ok(());
                }
                let xml = to_xml(self.json()?, root.as_deref())?;
                self.replace(xml.into_bytes(), content_type);
                Ok(())
            }
            Action::ToJson(form) => self.convert(form),
            Action::Status(status) => {
                self.message.set_status(*status);
                Ok(())
            }
        }
    }

    fn text(&mut self, words: &Words, parameters: Option<&Value>) -> Result<String, Failure> {
        match words {
            Words::Plain(text) => Ok(text.clone()),
            Words::Template(template) => self.render(template, parameters),
        }
    }

    fn render(&mut self, template: &Template, parameters: Option<&Value>) -> Result<String, Failure> {
        let body = if template.uses.body && self.has_body() { Some(self.body()?) } else { None };
        let values = self.view().values(&template.uses, body, parameters);
        self.transform.templates.render(template, Value::from_pairs(values))
    }

    /// Values first: an edit sees nothing of the others of its step.
    fn values<'e>(
        &mut self,
        edits: &'e [Edit],
        parameters: Option<&Value>,
    ) -> Result<Vec<(&'e Edit, String)>, Failure> {
        edits.iter().map(|edit| Ok((edit, self.text(&edit.value, parameters)?))).collect()
    }

    fn headers(&mut self, edits: &[Edit], parameters: Option<&Value>) -> Result<(), Failure> {
        for (edit, value) in self.values(edits, parameters)? {
            if !is_value(&value) {
                return Err(Failure::Value);
            }
            let headers = &mut self.message.headers;
            match edit.operation {
                Operation::Set => headers.set(&edit.name, value.into_bytes()),
                Operation::Add => headers.add(&edit.name, value.into_bytes()),
                Operation::Append => headers.append(&edit.name, value.as_bytes()),
                Operation::Remove => headers.remove(&edit.name),
                Operation::Rename => headers.rename(&edit.name, &value),
            }
        }
        if self.message.headers.size() > MAX_HEAD { Err(Failure::Value) } else { Ok(()) }
    }

    fn query(&mut self, edits: &[Edit], parameters: Option<&Value>) -> Result<(), Failure> {
        let values = self.values(edits, parameters)?;
        let (before, query) = query::split(self.message.path());
        let mut query = Query::read(query);
        for (edit, value) in values {
            // Each edit looks at all of them.
            if query.len() > MAX_PAIRS {
                return Err(Failure::Value);
            }
            match edit.operation {
                Operation::Set => query.set(&edit.name, &value),
                Operation::Add => query.add(&edit.name, &value),
                Operation::Append => query.append(&edit.name, &value),
                Operation::Remove => query.remove(&edit.name),
                Operation::Rename => query.rename(&edit.name, &value),
            }
        }
        let mut path = before.to_owned();
        query.write_to(&mut path);
        self.send_to(path)
    }

    fn path(&mut self, words: &Words, parameters: Option<&Value>) -> Result<(), Failure> {
        let below = self.text(words, parameters)?;
        path::check(&below).map_err(|_| Failure::Path)?;
        let mut path = self.context.base_path().to_owned();
        path.push_str(&below);
        if let (_, Some(query)) = query::split(self.message.path()) {
            path.push('?');
            path.push_str(query);
        }
        self.send_to(path)
    }

    fn send_to(&mut self, path: String) -> Result<(), Failure> {
        if path.len() > path::MAX_LENGTH {
            return Err(Failure::Path);
        }
        self.message.set_path(path);
        Ok(())
    }

    // === the body ===

    fn may_have_body(&self) -> bool {
        let is_head = self.context.request().is_some_and(|request| request.method() == "HEAD");
        may_have_body(&self.message, self.transform.direction, is_head)
    }

    /// What is empty is not edited.
    fn has_body(&self) -> bool {
        let is_there = self.json.is_some() || self.message.body().is_some_and(|body| !body.is_empty());
        is_there && self.may_have_body()
    }

    fn readable(&self) -> Result<(), Failure> {
        let headers = &self.message.headers;
        let is_plain = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"identity");
        let encoded = !headers.get("content-encoding").all(is_plain);
        if encoded || !headers.get("content-type").all(is_utf8) {
            return Err(Failure::Encoded);
        }
        if self.message.status() == 206 || headers.has("content-range") {
            return Err(Failure::Partial);
        }
        if self.message.body().is_some_and(|body| body.len() > MAX_BODY) {
            return Err(Failure::TooLarge);
        }
        Ok(())
    }

    fn json(&mut self) -> Result<&mut Json, Failure> {
        if self.json.is_none() {
            self.readable()?;
            let read = Json::read(self.message.body().unwrap_or_default()).map_err(|_| Failure::NoJson)?;
            self.json = Some(read);
        }
        self.json.as_mut().ok_or(Failure::NoJson)
    }

    fn body(&mut self) -> Result<Value, Failure> {
        if self.body.is_none() {
            let value = from_json(self.json()?);
            self.body = Some(value);
        }
        Ok(self.body.clone().unwrap_or_default())
    }

    fn edit(&mut self, edits: &[Filled], parameters: Option<&Value>) -> Result<(), Failure> {
        if !self.has_body() {
            return Ok(());
        }
        self.json()?;
        let mut values = Vec::with_capacity(edits.len());
        for (_, filler) in edits {
            let mut render = |template: &Template, keeps_kind: bool| {
                let text = self.render(template, parameters)?;
                if keeps_kind { Json::read(text.as_bytes()).map_err(|_| Failure::Value) } else { Ok(Json::Text(text)) }
            };
            values.push(filler.as_ref().map(|filler| filler.fill(&mut render)).transpose()?);
        }
        let mut budget = self.budget;
        let json = self.json()?;
        let mut edited = false;
        for ((edit, _), value) in edits.iter().zip(&values) {
            edited |= edit.apply(json, value.as_ref(), &mut budget)?;
        }
        if edited && json.depth() > MAX_DEPTH {
            return Err(Failure::Place);
        }
        self.budget = budget;
        // What nothing is found in stays as it is, byte for byte.
        if edited {
            (self.edited, self.body) = (true, None);
        }
        Ok(())
    }

    fn convert(&mut self, form: &ToJson) -> Result<(), Failure> {
        if !self.has_body() {
            return Ok(());
        }
        self.write()?;
        self.readable()?;
        let json = form.read(self.message.body().unwrap_or_default()).map_err(|_| Failure::NoXml)?;
        self.message.headers.set("content-type", b"application/json".to_vec());
        (self.json, self.edited, self.body) = (Some(json), true, None);
        Ok(())
    }

    /// Brings the message's body up to what was edited.
    fn write(&mut self) -> Result<(), Failure> {
        if let Some(json) = self.json.take_if(|_| self.edited) {
            let text = json.write().map_err(|_| Failure::TooLarge)?;
            self.message.replace_body(text.into_bytes(), self.transform.direction);
            self.edited = false;
        }
        Ok(())
    }

    fn replace(&mut self, body: Vec<u8>, content_type: &str) {
        (self.json, self.edited, self.body) = (None, false, None);
        self.message.headers.set("content-type", content_type.as_bytes().to_vec());
        self.message.replace_body(body, self.transform.direction);
    }
}

/// Of a content type; what says nothing of it is taken at its word when it is read.
fn is_utf8(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return false };
    let mut parameters = text.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    parameters.all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("us-ascii")
    })
}

/// A body that a template makes is what its content type says.
pub(crate) fn well_formed(syntax: Syntax, text: &str) -> Result<(), Failure> {
    let sound = match syntax {
        Syntax::Json => Json::read(text.as_bytes()).is_ok(),
        Syntax::Xml => ToJson::default().read(text.as_bytes()).is_ok(),
        Syntax::Html | Syntax::Text | Syntax::Path => true,
    };
    if sound { Ok(()) } else { Err(Failure::Malformed) }
}
