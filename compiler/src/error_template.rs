//! How a project words faults: templates in Jinja's syntax, one for an error code or for all.
//!
//! A template is rendered once per snapshot and fault; one that lists what is wrong with requests goes along with the rules, for those that
//! are refused so.

use microgw_faults::wording::{Violated, Wording};
use microgw_faults::{Fault, Form};

pub use microgw_faults::wording::{MAX_SIZE, Syntax, TemplateError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTemplate {
    /// `None`: every fault that has no template of its own.
    pub code: Option<u32>,
    /// For clients that ask for problem details (RFC 9457); else for all others.
    pub problem: bool,
    pub syntax: Syntax,
    pub source: String,
}

/// What a template says of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// Bytes from the start at which the name of a policy is to be put in, ascending: it is known when a request is refused.
    pub policy_at: Vec<u32>,
    /// It is for those that are refused for no reason that could be listed: the others have it rendered again.
    pub lists_errors: bool,
}

/// Stand for a policy's name while a template is rendered. No filter that changes letters changes them.
const STAND_INS: [&str; 2] = ["\u{f0b1}\u{f0b2}", "\u{f0b3}\u{f0b4}\u{f0b3}"];

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
        let wording = Wording::new(self.syntax, &self.source)?;
        let lists_errors = wording.lists_errors() && fault.lists_errors();
        if lists_errors {
            let examples = examples();
            for errors in [examples.as_slice()].into_iter().chain(examples.chunks(1)) {
                self.render_with(&wording, fault, None, errors)?;
            }
        }
        if !fault.names_policy() {
            let text = self.render_with(&wording, fault, None, &[])?;
            return Ok(Rendered { text, policy_at: Vec::new(), lists_errors });
        }
        let [one, other] = STAND_INS;
        let with = |stand_in| Ok(missing(&self.render_with(&wording, fault, Some(stand_in), &[])?, stand_in));
        let (rendered, same) = (with(one)?, with(other)?);
        if rendered == same {
            Ok(rendered)
        } else {
            let message =
                "`policy` can only be written as it is: its value is known when a request is refused".to_owned();
            Err(TemplateError { line: 1, message })
        }
    }

    fn render_with(
        &self,
        wording: &Wording,
        fault: Fault,
        policy: Option<&str>,
        errors: &[Violated<'_>],
    ) -> Result<String, TemplateError> {
        let text = wording.render(fault, policy, errors)?;
        let is_object = || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
        if self.problem && !is_object() {
            return Err(TemplateError { line: 1, message: "problem details must be an object".to_owned() });
        }
        Ok(text)
    }
}

/// One of each kind, with names such as clients might choose.
fn examples() -> Vec<Violated<'static>> {
    let places = ["path", "query", "header", "cookie", "body", "body"];
    let names = ["id", "limit", "X-Trace", "session", "/\"<a>\\&'~1b/0", ""];
    let both = places.into_iter().zip(names);
    both.map(|(place, name)| Violated { place, name, reason: "must match the pattern `^\"</a>\\d+$`" }).collect()
}

/// The text without the stand-in, and where that was.
fn missing(text: &str, stand_in: &str) -> Rendered {
    let mut rendered = Rendered { text: String::with_capacity(text.len()), policy_at: Vec::new(), lists_errors: false };
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

#[cfg(test)]
mod tests;
