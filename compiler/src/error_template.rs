//! How a project words faults: templates in Jinja's syntax, one for an error code or for all.
//!
//! A template is rendered once per snapshot and fault, never per request.

use microgw_faults::{Fault, Form};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

/// Bytes of a template, and of what it renders to.
pub const MAX_SIZE: usize = 64 * 1024;
/// Instructions that one rendering may take.
const FUEL: u64 = 50_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTemplate {
    /// `None`: every fault that has no template of its own.
    pub code: Option<u32>,
    /// For clients that ask for problem details (RFC 9457); else for all others.
    pub problem: bool,
    pub syntax: Syntax,
    pub source: String,
}

/// What a template renders to, which decides the content type and what is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Values are written as JSON: texts come with their quotes.
    Json,
    Xml,
    Html,
    Text,
}

/// What a template says of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// Bytes from the start at which the name of a policy is to be put in, ascending: it is known when a request is refused.
    pub policy_at: Vec<u32>,
}

/// Stand for a policy's name while a template is rendered. No filter that changes letters changes them.
const STAND_INS: [&str; 2] = ["\u{f0b1}\u{f0b2}", "\u{f0b3}\u{f0b4}\u{f0b3}"];

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// From 1.
    pub line: u32,
    pub message: String,
}

// === impl ErrorTemplate ===

impl ErrorTemplate {
    /// Whether it is for this fault in this form, and how well it fits.
    pub fn fits(&self, fault: Fault, form: Form) -> Option<Fit> {
        let form = match form {
            Form::Fault => !self.problem,
            Form::Problem => self.problem,
            Form::Text => false,
        };
        let fit = match self.code {
            None => Fit::Default,
            Some(code) if code == fault.code() => Fit::Code,
            Some(_) => return None,
        };
        form.then_some(fit)
    }

    pub fn content_type(&self) -> &'static str {
        if self.problem { Form::Problem.content_type() } else { self.syntax.content_type() }
    }

    /// What it says for `fault`.
    ///
    /// # Errors
    /// When it is not well-formed, asks for what there is not, takes too long, renders to something too long or,
    /// as JSON, not well-formed, or does with a policy's name what can only be done once it is known.
    pub fn render(&self, fault: Fault) -> Result<Rendered, TemplateError> {
        if !fault.names_policy() {
            return Ok(Rendered { text: self.render_with(fault, None)?, policy_at: Vec::new() });
        }
        let [one, other] = STAND_INS;
        let with = |stand_in| Ok(missing(&self.render_with(fault, Some(stand_in))?, stand_in));
        let (rendered, same) = (with(one)?, with(other)?);
        if rendered == same {
            Ok(rendered)
        } else {
            let message =
                "`policy` can only be written as it is: its value is known when a request is refused".to_owned();
            Err(TemplateError { line: 1, message })
        }
    }

    fn render_with(&self, fault: Fault, policy: Option<&str>) -> Result<String, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let syntax = self.syntax;
        environment.set_auto_escape_callback(move |_| syntax.escape());
        let failed = |error: &minijinja::Error| TemplateError {
            line: error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(1).max(1),
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        };
        let template = environment.template_from_str(&self.source).map_err(|error| failed(&error))?;
        let values = context! {
            name => fault.name(),
            code => fault.code(),
            status => fault.status(),
            message => fault.message(),
            description => fault.description(),
            type => Value::from(fault.type_uri()),
            policy => policy,
        };
        let text = template.render(values).map_err(|error| failed(&error))?;
        let wrong = |message: String| TemplateError { line: 1, message };
        if text.len() > MAX_SIZE {
            return Err(wrong(format!("it renders to more than {MAX_SIZE} bytes")));
        }
        if self.syntax == Syntax::Json {
            let json = serde_json::from_str::<serde_json::Value>(&text)
                .map_err(|error| wrong(format!("it does not render to JSON for {}: {error}", fault.code())))?;
            if self.problem && !json.is_object() {
                return Err(wrong("problem details must be an object".to_owned()));
            }
        }
        Ok(text)
    }
}

/// The text without the stand-in, and where that was.
fn missing(text: &str, stand_in: &str) -> Rendered {
    let mut rendered = Rendered { text: String::with_capacity(text.len()), policy_at: Vec::new() };
    for (index, part) in text.split(stand_in).enumerate() {
        if index > 0 {
            rendered.policy_at.push(u32::try_from(rendered.text.len()).unwrap_or(u32::MAX));
        }
        rendered.text.push_str(part);
    }
    rendered
}

/// Better ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Default,
    Code,
}

// === impl Syntax ===

impl Syntax {
    const ALL: [Syntax; 4] = [Syntax::Json, Syntax::Xml, Syntax::Html, Syntax::Text];

    /// Of a file with this extension.
    pub fn of_extension(extension: &str) -> Option<Syntax> {
        Syntax::ALL.into_iter().find(|syntax| syntax.extension() == extension)
    }

    pub fn extension(self) -> &'static str {
        match self {
            Syntax::Json => "json",
            Syntax::Xml => "xml",
            Syntax::Html => "html",
            Syntax::Text => "txt",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Syntax::Json => "application/json",
            Syntax::Xml => "application/xml; charset=utf-8",
            Syntax::Html => "text/html; charset=utf-8",
            Syntax::Text => "text/plain; charset=utf-8",
        }
    }

    fn escape(self) -> AutoEscape {
        match self {
            Syntax::Json => AutoEscape::Json,
            Syntax::Xml | Syntax::Html => AutoEscape::Html,
            Syntax::Text => AutoEscape::None,
        }
    }
}

#[cfg(test)]
mod tests;
