//! Faults in the words of a project that has error templates.

use std::borrow::Cow;

use microgw_faults::wording::{Syntax, Violated, Wording};
use microgw_faults::{Fault, Form};
use microgw_proto::rules::v1 as proto;
use proto::fault_body::Escape;

use crate::exchange::Deny;
use crate::limits::Limit;

/// What a project says instead of the usual. Few, and only looked at when a request is refused.
#[derive(Debug, Default)]
pub struct Answers(Box<[Own]>);

#[derive(Debug)]
struct Own {
    fault: Fault,
    form: Form,
    content_type: Box<str>,
    /// Between them the name of the policy is missing that is used up.
    parts: Box<[Box<str>]>,
    escape: Escape,
    /// What lists violations, which are known when a request is refused.
    wording: Option<Wording>,
}

/// A body and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    pub content_type: &'a str,
    pub body: Cow<'a, str>,
}

// === impl Answers ===

impl Answers {
    pub fn load(book: &proto::RuleBook) -> Answers {
        Answers(book.fault_bodies.iter().filter_map(Own::load).collect())
    }

    /// What the client is told. `limit` is the one that has not enough left.
    pub fn body(&self, fault: Fault, form: Form, limit: Option<&Limit>) -> Body<'_> {
        let usual = || match limit {
            Some(limit) if fault.names_policy() => fault.body_naming(form, &limit.policy, limit.told.label()),
            _ => Cow::Borrowed(fault.body(form)),
        };
        let own = self.own(fault, form, limit.map_or("", |limit| &limit.policy));
        own.unwrap_or_else(|| Body { content_type: form.content_type(), body: usual() })
    }

    /// What the client is told of a refusal: of a request that is not as it must be, also why.
    pub fn refusal(&self, deny: &Deny<'_>, form: Form) -> Body<'_> {
        let fault = deny.reason.fault();
        if deny.violations.is_empty() || fault.status() >= 500 {
            return self.body(fault, form, deny.limit);
        }
        let told = deny.violations.iter();
        let errors: Vec<Violated<'_>> =
            told.map(|told| Violated { place: told.place.as_str(), name: &told.name, reason: &told.reason }).collect();
        let usual = || {
            let body = fault.body_listing(form, &deny.violations.to_string(), &errors);
            Body { content_type: form.content_type(), body: Cow::Owned(body) }
        };
        let own = self.0.iter().find(|own| own.is(fault, form));
        match own.map(|own| (own, own.wording.as_ref())) {
            None => usual(),
            Some((_, None)) => self.own(fault, form, "").unwrap_or_else(usual),
            // One that fails at something that nobody foresaw is as good as none.
            Some((own, Some(wording))) => wording
                .render(fault, None, &errors)
                .map_or_else(|_| usual(), |body| Body { content_type: &own.content_type, body: Cow::Owned(body) }),
        }
    }

    /// The same, where the project has words of its own for it.
    pub fn own(&self, fault: Fault, form: Form, policy: &str) -> Option<Body<'_>> {
        let own = self.0.iter().find(|own| own.is(fault, form))?;
        let body = match &*own.parts {
            [only] => Cow::Borrowed(&**only),
            parts => Cow::Owned(parts.join(&*escaped(policy, own.escape))),
        };
        Some(Body { content_type: &own.content_type, body })
    }
}

impl Own {
    fn is(&self, fault: Fault, form: Form) -> bool {
        self.fault == fault && self.form == form
    }

    /// `None` for a fault of another version, which nobody will ask for, and for a template that is none.
    fn load(body: &proto::FaultBody) -> Option<Own> {
        use proto::fault_body::Form as Written;
        let form = match body.form() {
            Written::Fault => Form::Fault,
            Written::Problem => Form::Problem,
            Written::Unspecified => return None,
        };
        let mut parts = Vec::with_capacity(body.policy_at.len() + 1);
        let mut rest = body.body.as_str();
        let mut taken = 0;
        for at in &body.policy_at {
            let at = usize::try_from(*at).ok()?;
            let (part, tail) = rest.split_at_checked(at.checked_sub(taken)?)?;
            parts.push(part.into());
            (rest, taken) = (tail, at);
        }
        parts.push(rest.into());
        let syntax = match body.escape() {
            Escape::Plain => Syntax::Text,
            Escape::Json => Syntax::Json,
            Escape::Markup => Syntax::Html,
        };
        let wording = match body.template.as_str() {
            "" => None,
            template => Some(Wording::new(syntax, template).ok()?),
        };
        Some(Own {
            wording,
            escape: body.escape(),
            fault: Fault::named(&body.fault)?,
            form,
            content_type: body.content_type.as_str().into(),
            parts: parts.into(),
        })
    }
}

/// As it may stand in such a body.
fn escaped(name: &str, escape: Escape) -> Cow<'_, str> {
    match escape {
        Escape::Plain => Cow::Borrowed(name),
        Escape::Json => {
            let quoted = serde_json::Value::from(name).to_string();
            Cow::Owned(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or("").to_owned())
        }
        Escape::Markup => {
            let mut text = String::with_capacity(name.len());
            for character in name.chars() {
                match character {
                    '<' => text.push_str("&lt;"),
                    '>' => text.push_str("&gt;"),
                    '&' => text.push_str("&amp;"),
                    '"' => text.push_str("&quot;"),
                    '\'' => text.push_str("&#x27;"),
                    // XML has no way to write the others.
                    '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => text.push(' '),
                    _ => text.push(character),
                }
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests;
