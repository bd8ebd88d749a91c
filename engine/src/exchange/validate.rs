//! Messages against the contract of the operation: a request once whoever calls may, and before anything is drawn on limits.

use microgw_schemas::{Presence, RequestHead, Violations};

use super::{Decision, Deny, Edits, Exchange, ResponseHead, ResponseStep, Step};
use crate::reason::Reason;
use crate::validation::{Check, Flow};

/// How far it is. Judging may be repeated; this is not.
#[derive(Default)]
pub(super) struct Validated {
    head: bool,
    body: bool,
    /// The response's body passes without being looked at.
    unread: bool,
    /// What passed all the same.
    reported: Option<Box<Reported>>,
}

#[derive(Default)]
struct Reported {
    request: Violations,
    response: Violations,
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    /// What is wrong with messages that were let through, as the rule has it. Once: what was told is not told again.
    pub fn reported(&mut self) -> impl Iterator<Item = (Flow, Violations)> + use<> {
        let reported = self.validated.reported.take();
        let both = reported.map(|reported| [(Flow::Request, reported.request), (Flow::Response, reported.response)]);
        both.into_iter().flatten().filter(|(_, violations)| !violations.is_empty())
    }

    pub(super) fn report_unread_request(&mut self) {
        self.validated.reported.get_or_insert_default().request.append(Violations::unread());
    }

    /// Nothing is said of what would be in it.
    pub(super) fn report_unread_response(&mut self) {
        self.validated.unread = true;
        self.validated.reported.get_or_insert_default().response.append(Violations::unread());
    }

    /// `None`: the request's head is as it must be, or passes as it is.
    pub(super) fn validate_head(&mut self) -> Option<Step<'a>> {
        let validation = self.rule.validation()?;
        if validation.request == Check::Off || std::mem::replace(&mut self.validated.head, true) {
            return None;
        }
        let head = self.head?;
        let header = |name: &str| head.headers.get(name);
        let presence = match head.has_body {
            Some(true) => Presence::Present,
            Some(false) => Presence::Absent,
            None => Presence::Unknown,
        };
        let found = validation.contract.request_head(&RequestHead { path: head.path, headers: &header }, presence);
        self.judge_request(validation.request, found)
    }

    /// The same of its body, once that is here.
    pub(super) fn validate_body(&mut self) -> Option<Step<'a>> {
        let validation = self.rule.validation()?;
        let body = self.request_body()?;
        if validation.request == Check::Off || std::mem::replace(&mut self.validated.body, true) {
            return None;
        }
        let content_type = self.head.and_then(|head| head.headers.get("content-type"));
        let found = validation.contract.request_body(content_type, body);
        self.judge_request(validation.request, found)
    }

    fn judge_request(&mut self, check: Check, found: Violations) -> Option<Step<'a>> {
        if found.is_empty() {
            return None;
        }
        if check == Check::Report {
            self.validated.reported.get_or_insert_default().request.append(found);
            return None;
        }
        let reason = if found.is_media_type() { Reason::UnsupportedMediaType } else { Reason::InvalidRequest };
        let identity = self.genuine();
        Some(Step::Done(Decision::Deny(Deny { identity, violations: found, ..Deny::of(reason) })))
    }

    /// `edits`: what becomes of it before clients see it.
    pub(super) fn validate_response_head(
        &mut self,
        head: &ResponseHead<'a>,
        edits: &Edits,
    ) -> Option<ResponseStep<'a>> {
        let validation = self.rule.validation().filter(|validation| validation.response != Check::Off)?;
        let found = validation.contract.response_head(status(head, edits), &|name: &str| header(head, edits, name));
        self.judge_response(validation.response, found)
    }

    pub(super) fn validate_response_body(
        &mut self,
        head: &ResponseHead<'a>,
        edits: &Edits,
        body: &[u8],
    ) -> Option<ResponseStep<'a>> {
        let validation = self.rule.validation().filter(|validation| validation.response != Check::Off)?;
        let is_head = self.head.is_some_and(|request| request.method == "HEAD");
        if is_head || self.validated.unread || !self.rule.phases().is_some_and(|phases| phases.response_body) {
            return None;
        }
        let body = edits.body.as_deref().unwrap_or(body);
        let content_type = header(head, edits, "content-type");
        let found = validation.contract.response_body(status(head, edits), content_type, body);
        self.judge_response(validation.response, found)
    }

    fn judge_response(&mut self, check: Check, found: Violations) -> Option<ResponseStep<'a>> {
        if found.is_empty() {
            return None;
        }
        if check == Check::Report {
            self.validated.reported.get_or_insert_default().response.append(found);
            return None;
        }
        let ResponseStep::Refuse(deny) = self.refuse_response(Reason::InvalidResponse) else { return None };
        Some(ResponseStep::Refuse(Deny { violations: found, ..deny }))
    }
}

fn status(head: &ResponseHead<'_>, edits: &Edits) -> u16 {
    edits.status.unwrap_or(head.status)
}

/// Of several edited values the first; what is no text is nothing that a contract knows.
fn header<'m>(head: &ResponseHead<'m>, edits: &'m Edits, name: &str) -> Option<&'m str> {
    match edits.headers.iter().find(|(edited, _)| edited == name) {
        Some((_, values)) => values.first().and_then(|value| std::str::from_utf8(value).ok()),
        None => head.headers.get(name),
    }
}
