//! Faults in the words of a project that has error templates.

use microgw_faults::{Fault, Form};
use microgw_proto::rules::v1 as proto;

/// What a project says instead of the usual. Few, and only looked at when a request is refused.
#[derive(Debug, Default)]
pub struct Answers(Box<[Own]>);

#[derive(Debug)]
struct Own {
    fault: Fault,
    form: Form,
    content_type: Box<str>,
    body: Box<str>,
}

/// A body and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    pub content_type: &'a str,
    pub body: &'a str,
}

// === impl Answers ===

impl Answers {
    pub fn load(book: &proto::RuleBook) -> Answers {
        Answers(book.fault_bodies.iter().filter_map(Own::load).collect())
    }

    /// What the client is told.
    pub fn body(&self, fault: Fault, form: Form) -> Body<'_> {
        self.own(fault, form).unwrap_or_else(|| Body { content_type: form.content_type(), body: fault.body(form) })
    }

    /// The same, where the project has words of its own for it.
    pub fn own(&self, fault: Fault, form: Form) -> Option<Body<'_>> {
        let own = self.0.iter().find(|own| own.fault == fault && own.form == form)?;
        Some(Body { content_type: &own.content_type, body: &own.body })
    }
}

impl Own {
    /// `None` for a fault of another version: nobody will ask for it.
    fn load(body: &proto::FaultBody) -> Option<Own> {
        use proto::fault_body::Form as Written;
        let form = match body.form() {
            Written::Fault => Form::Fault,
            Written::Problem => Form::Problem,
            Written::Unspecified => return None,
        };
        Some(Own {
            fault: Fault::named(&body.fault)?,
            form,
            content_type: body.content_type.as_str().into(),
            body: body.body.as_str().into(),
        })
    }
}
