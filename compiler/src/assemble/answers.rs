//! What the gateway says itself: in its own words, or in those of the project's templates.

use std::borrow::Cow;
use std::collections::BTreeMap;

use microgw_faults::{Fault, Form};
use microgw_proto::rules::v1 as pb;

use crate::error_template::{ErrorTemplate, Rendered, Syntax};

/// The bodies of faults, rendered.
#[derive(Default)]
pub struct Answers(BTreeMap<(Fault, Form), Own>);

struct Own {
    content_type: &'static str,
    body: Rendered,
    syntax: Syntax,
    /// Where it lists what is wrong with requests.
    template: String,
}

// === impl Answers ===

impl Answers {
    /// What does not render keeps the gateway's own words: a project that builds has none such.
    pub fn new(templates: &[ErrorTemplate]) -> Answers {
        let mut answers = BTreeMap::new();
        for (fault, form) in Fault::ALL.iter().flat_map(|fault| Form::ALL.map(|form| (*fault, form))) {
            let fitting = templates.iter().filter_map(|template| Some((template.fits(fault, form)?, template)));
            let Some((_, template)) = fitting.max_by_key(|(fit, _)| *fit) else { continue };
            if let Ok(body) = template.render(fault) {
                let source = if body.lists_errors { template.source.clone() } else { String::new() };
                let (content_type, syntax) = (template.content_type(), template.syntax);
                let own = Own { content_type, body, syntax, template: source };
                answers.insert((fault, form), own);
            }
        }
        Answers(answers)
    }

    /// Content type and body.
    pub fn body(&self, fault: Fault, form: Form) -> (&'static str, Cow<'_, str>) {
        self.0.get(&(fault, form)).map_or_else(
            || (form.content_type(), Cow::Borrowed(fault.body(form))),
            |own| (own.content_type, Cow::Borrowed(&own.body.text)),
        )
    }

    /// For the rule book: only what differs from the gateway's own.
    pub fn own(&self) -> Vec<pb::FaultBody> {
        use pb::fault_body::{Escape, Form as Written};
        let body = |(&(fault, form), own): (&(Fault, Form), &Own)| pb::FaultBody {
            fault: fault.name().to_owned(),
            form: match form {
                Form::Fault => Written::Fault,
                Form::Problem => Written::Problem,
                Form::Text => Written::Unspecified,
            }
            .into(),
            content_type: own.content_type.to_owned(),
            body: own.body.text.clone(),
            policy_at: own.body.policy_at.clone(),
            escape: match own.syntax {
                _ if own.body.policy_at.is_empty() && own.template.is_empty() => Escape::Plain,
                Syntax::Json => Escape::Json,
                Syntax::Xml | Syntax::Html => Escape::Markup,
                Syntax::Text => Escape::Plain,
            }
            .into(),
            template: own.template.clone(),
        };
        self.0.iter().map(body).collect()
    }
}
