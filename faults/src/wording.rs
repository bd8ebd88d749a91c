//! Faults in other words: templates in Jinja's syntax.
//!
//! Most are rendered when a project is built. Those that list what is wrong with a request are rendered when that is known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::Fault;

/// Bytes of a template, and of what it renders to.
pub const MAX_SIZE: usize = 64 * 1024;
/// Instructions that one rendering may take.
const FUEL: u64 = 50_000;

/// What a template renders to, which decides what is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Values are written as JSON: texts come with their quotes.
    Json,
    Xml,
    Html,
    Text,
}

/// Something that is wrong with a request: where, its name or JSON pointer, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violated<'a> {
    pub place: &'a str,
    pub name: &'a str,
    pub reason: &'a str,
}

/// A template that can be rendered.
pub struct Wording {
    environment: Environment<'static>,
    syntax: Syntax,
    lists_errors: bool,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// From 1.
    pub line: u32,
    pub message: String,
}

const NAME: &str = "template";
/// The value that is only known when a request is refused.
const ERRORS: &str = "errors";

// === impl Wording ===

impl Wording {
    /// # Errors
    /// When it is not well-formed.
    pub fn new(syntax: Syntax, source: &str) -> Result<Wording, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(move |_| syntax.escape());
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| TemplateError::of(&error))?;
        let template = environment.get_template(NAME).map_err(|error| TemplateError::of(&error))?;
        let lists_errors = template.undeclared_variables(false).contains(ERRORS);
        if lists_errors {
            // What clients chose is escaped, whatever a template would have.
            environment.remove_filter("safe");
            if source.contains("autoescape") {
                let message = "`errors` are always escaped: there is no `autoescape` beside them".to_owned();
                return Err(TemplateError { line: 1, message });
            }
        }
        Ok(Wording { environment, syntax, lists_errors })
    }

    /// Whether it says what is wrong with a request, one by one.
    pub fn lists_errors(&self) -> bool {
        self.lists_errors
    }

    /// What it says for `fault`; `policy` is the one that is used up.
    ///
    /// # Errors
    /// When it asks for what there is not, takes too long, renders to something too long or, as JSON, not well-formed.
    pub fn render(&self, fault: Fault, policy: Option<&str>, errors: &[Violated<'_>]) -> Result<String, TemplateError> {
        let template = self.environment.get_template(NAME).map_err(|error| TemplateError::of(&error))?;
        let values = context! {
            name => fault.name(),
            code => fault.code(),
            status => fault.status(),
            message => fault.message(),
            description => fault.description(),
            type => Value::from(fault.type_uri()),
            policy => policy,
            errors => errors.iter().map(|error| self.value(error)).collect::<Vec<_>>(),
        };
        let text = template.render(values).map_err(|error| TemplateError::of(&error))?;
        let wrong = |message: String| TemplateError { line: 1, message };
        if text.len() > MAX_SIZE {
            return Err(wrong(format!("it renders to more than {MAX_SIZE} bytes")));
        }
        if self.syntax == Syntax::Json {
            serde_json::from_str::<serde_json::Value>(&text)
                .map_err(|error| wrong(format!("it does not render to JSON for {}: {error}", fault.code())))?;
        }
        Ok(text)
    }

    fn value(&self, error: &Violated<'_>) -> Value {
        let members = [("in", error.place), ("name", error.name), ("reason", error.reason)];
        let members = members.map(|(key, text)| (key, Value::from(self.writable(text))));
        Value::from(BTreeMap::from(members))
    }

    /// As it can be written at all: XML has no way to say some characters.
    fn writable<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let is_none =
            |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        match self.syntax {
            Syntax::Xml | Syntax::Html if text.contains(is_none) => Cow::Owned(text.replace(is_none, " ")),
            _ => Cow::Borrowed(text),
        }
    }
}

impl fmt::Debug for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wording").field("syntax", &self.syntax).finish_non_exhaustive()
    }
}

// === impl TemplateError ===

impl TemplateError {
    fn of(error: &minijinja::Error) -> TemplateError {
        TemplateError {
            line: error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(1).max(1),
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        }
    }
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

    pub fn content_type(self) -> &'static str {
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
mod tests {
    use super::*;

    const HOSTILE: [Violated<'static>; 2] = [
        Violated { place: "query", name: "limit", reason: "must be at most 100" },
        Violated {
            place: "body",
            name: "/a\"<b>&'\\\u{ffff}",
            reason: "has the property `</p>`, which is not declared",
        },
    ];

    fn render(syntax: Syntax, source: &str) -> Result<String, TemplateError> {
        Wording::new(syntax, source)?.render(Fault::InvalidRequest, None, &HOSTILE)
    }

    #[test]
    fn what_is_wrong_is_written_as_the_template_is() {
        let list = "{% for error in errors %}{{ error.in }} {{ error.name }}: {{ error.reason }}\n{% endfor %}";
        assert_eq!(
            render(Syntax::Text, list).unwrap(),
            "query limit: must be at most 100\nbody /a\"<b>&'\\\u{ffff}: has the property `</p>`, which is not declared\n"
        );
        for syntax in [Syntax::Xml, Syntax::Html] {
            let text = render(syntax, list).unwrap();
            assert!(
                text.contains("body &#x2f;a&quot;&lt;b&gt;&amp;&#x27;\\ : has the property `&lt;&#x2f;p&gt;`"),
                "{text}"
            );
        }
        for source in [
            "{{ errors }}",
            "[{% for error in errors %}{{ error }}{% if not loop.last %},{% endif %}{% endfor %}]",
            r#"[{% for error in errors %}{"reason": {{ error.reason }}, "name": {{ error.name }}, "in": {{ error.in }}}{% if not loop.last %},{% endif %}{% endfor %}]"#,
        ] {
            let json: serde_json::Value = serde_json::from_str(&render(Syntax::Json, source).unwrap()).unwrap();
            assert_eq!(json[1]["name"], HOSTILE[1].name, "{source}");
            assert_eq!((&json[1]["reason"], &json[0]["in"]), (&HOSTILE[1].reason.into(), &"query".into()), "{source}");
        }
        let chosen = r#"{{ errors|selectattr("in", "eq", "body")|list|length }}"#;
        assert_eq!(render(Syntax::Text, chosen).unwrap(), "1");
    }

    #[test]
    fn what_clients_chose_is_never_left_as_it_is() {
        for source in [
            "{% for error in errors %}{{ error.name|safe }}{% endfor %}",
            "{% autoescape false %}{% for error in errors %}{{ error.name }}{% endfor %}{% endautoescape %}",
        ] {
            assert!(render(Syntax::Html, source).is_err(), "{source}");
        }
        assert!(render(Syntax::Json, r#"["{{ errors[1].name }}"]"#).is_err());
        // What is the project's own may be written so.
        assert_eq!(render(Syntax::Html, "{{ message|safe }}").unwrap(), "Bad Request");
        let kept = "{% set all %}<li>{{ errors[1].name }}</li>{% endset %}{{ all }}";
        assert!(render(Syntax::Html, kept).unwrap().starts_with("<li>&#x2f;a&quot;&lt;b&gt;"));
    }

    #[test]
    fn whether_errors_are_listed_is_known() {
        let lists = |source| Wording::new(Syntax::Text, source).unwrap().lists_errors();
        assert!(lists("{% for e in errors %}{% endfor %}") && lists("{{ errors|length }}"));
        assert!(!lists("{{ message }} errors {# errors #}") && !lists("{% set errors = 1 %}{{ errors }}"));
    }
}
