//! What follows a request's head, where its rule looks at more: the request's body, and the response.

use std::borrow::Cow;
use std::sync::Arc;

use microgw_transforms::Message;

use super::change::Changing;
use super::credential::Failure;
use super::{Decision, Deny, Exchange, Headers, Step};
use crate::facts::UnixTime;
use crate::identity::Identity;
use crate::interceptors::Interception;
use crate::reason::Reason;

/// Bytes of a body that is made for a message without one: Envoy takes it in one piece, and has room for as many.
pub const MAX_MADE: usize = 32 * 1024;

/// What becomes of a message, beside what becomes of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    pub method: Option<String>,
    /// With its query.
    pub path: Option<String>,
    pub status: Option<u16>,
    /// Headers by lower-case name, each with all the values that it is to have; none: it goes.
    pub headers: Vec<(Cow<'static, str>, Vec<Vec<u8>>)>,
    pub body: Option<Vec<u8>>,
}

/// What the engine reads of a response's head.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    pub status: u16,
    pub headers: &'a dyn Headers,
    /// No body follows.
    pub ended: bool,
}

/// What becomes of a response.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Moved once.
pub enum ResponseStep<'a> {
    /// It goes on, changed like this.
    Pass(Option<Box<Edits>>),
    /// Bring its body, and go on with [`Exchange::on_response_body`].
    NeedBody,
    /// Let the program see it, and go on with [`Exchange::on_verdict_of_response`].
    Intercept(Box<Interception>),
    /// The client is answered this in its place.
    Respond(Box<Message>),
    /// The client is told this in its place.
    Refuse(Deny<'a>),
}

/// How far an exchange has come after the request's head.
#[derive(Default)]
pub(super) struct Following<'a> {
    body: Awaited<'a>,
    /// The request was let through, as this caller's.
    pub(super) admitted: Option<Arc<Identity>>,
    response: Option<(ResponseHead<'a>, &'a [u8])>,
    pub(super) changing: Changing,
}

/// The request's body.
#[derive(Default)]
enum Awaited<'a> {
    #[default]
    NotYet,
    Asked,
    Here(&'a [u8]),
    /// It passes, and nobody looks at it.
    Unread,
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    /// Takes the request's body, whole; empty, where there is none. Whoever calls is judged once more: it took time to arrive.
    pub fn on_request_body(&mut self, body: &'a [u8], now: UnixTime) -> Step<'a> {
        if !matches!(self.following.body, Awaited::Asked) {
            return self.deny(Failure { reason: Reason::Internal, ..Failure::MISSING });
        }
        self.following.body = Awaited::Here(body);
        self.now = now;
        self.proceed()
    }

    /// The request's body is too long to be collected.
    pub fn on_long_request_body(&mut self, now: UnixTime) -> Step<'a> {
        let is_optional = self.rule.phases().is_some_and(|phases| phases.request_optional);
        if !matches!(self.following.body, Awaited::Asked) || !is_optional {
            return Step::Done(self.refuse_request(Reason::BodyTooLarge));
        }
        self.leave_request_body();
        self.now = now;
        self.proceed()
    }

    fn leave_request_body(&mut self) {
        self.following.body = Awaited::Unread;
        self.report_unread_request();
    }

    /// The request's, once it has arrived.
    pub fn request_body(&self) -> Option<&'a [u8]> {
        match self.following.body {
            Awaited::Here(body) => Some(body),
            Awaited::NotYet | Awaited::Asked | Awaited::Unread => None,
        }
    }

    /// Not the exchange's own matter, as where a body is longer than the host may collect.
    pub fn refuse_request(&self, reason: Reason) -> Decision<'a> {
        Decision::Deny(Deny { identity: self.genuine(), ..Deny::of(reason) })
    }

    /// Takes the head of the backend's response to a request that was let through.
    pub fn on_response_head(&mut self, head: ResponseHead<'a>) -> ResponseStep<'a> {
        let (Some(phases), Some(_)) = (self.rule.phases(), &self.following.admitted) else {
            return self.refuse_response(Reason::Internal);
        };
        if !head.ended && phases.counted_response().is_some_and(|most| promised(head.headers) > most) {
            return self.refuse_response(Reason::ResponseTooLarge);
        }
        // What is changed is compared as clients get it.
        if !self.changes_responses()
            && let Some(refused) = self.validate_response_head(&head, &Edits::default())
        {
            return refused;
        }
        if !phases.response_body || head.ended {
            self.following.response = Some((head, &[]));
            return self.answer();
        }
        self.following.response = Some((head, &[]));
        if !is_encoded(head.headers) {
            return ResponseStep::NeedBody;
        }
        if phases.response_optional {
            self.leave_response_body()
        } else {
            self.refuse_response(Reason::UnreadableResponse)
        }
    }

    /// Takes the response's body, whole.
    pub fn on_response_body(&mut self, body: &'a [u8]) -> ResponseStep<'a> {
        match &mut self.following.response {
            Some((_, known)) => *known = body,
            None => return self.refuse_response(Reason::Internal),
        }
        self.answer()
    }

    /// The response's body is too long to be collected.
    pub fn on_long_response_body(&mut self) -> ResponseStep<'a> {
        let is_optional = self.rule.phases().is_some_and(|phases| phases.response_optional);
        if self.following.response.is_some() && is_optional {
            self.leave_response_body()
        } else {
            self.refuse_response(Reason::ResponseTooLarge)
        }
    }

    /// It passes, changed as far as its head is.
    fn leave_response_body(&mut self) -> ResponseStep<'a> {
        self.report_unread_response();
        self.answer()
    }

    /// As [`Self::refuse_request`].
    pub fn refuse_response(&self, reason: Reason) -> ResponseStep<'a> {
        ResponseStep::Refuse(Deny { identity: self.following.admitted.clone(), ..Deny::of(reason) })
    }

    /// What becomes of the response, as far as it is known.
    pub(super) fn answer(&mut self) -> ResponseStep<'a> {
        let Some((head, body)) = self.following.response else { return self.refuse_response(Reason::Internal) };
        let edits = match self.change_response(head, body) {
            Ok(edits) => edits,
            Err(step) => return *step,
        };
        self.following.response = None;
        if head.ended && edits.as_ref().is_some_and(|edits| self.makes_too_much(edits)) {
            return self.refuse_response(Reason::NotTransformed);
        }
        let none = Edits::default();
        let told = edits.as_ref().unwrap_or(&none);
        if self.changes_responses()
            && let Some(refused) = self.validate_response_head(&head, told)
        {
            return refused;
        }
        if let Some(refused) = self.validate_response_body(&head, told, body) {
            return refused;
        }
        ResponseStep::Pass(edits.map(Box::new))
    }

    /// Of a message that has no body.
    pub(super) fn makes_too_much(&self, edits: &Edits) -> bool {
        let too_much = edits.body.as_ref().is_some_and(|body| body.len() > MAX_MADE);
        if too_much {
            self.facts.not_transformed(self.rule.operation(), "its body is too long for a message that had none");
        }
        too_much
    }

    /// `None`: the rule does not look at the body, or it is here.
    pub(super) fn look_at_body(&mut self) -> Option<Step<'a>> {
        let phases = self.rule.phases()?;
        let promised = self.head.map_or(0, |head| promised(head.headers));
        if phases.counted_request().is_some_and(|most| promised > most) {
            return Some(self.deny(Failure { reason: Reason::BodyTooLarge, ..Failure::MISSING }));
        }
        if !phases.request_body {
            return None;
        }
        if let Awaited::Here(_) | Awaited::Unread = self.following.body {
            return None;
        }
        if self.head.is_some_and(|head| is_encoded(head.headers)) {
            if phases.request_optional {
                self.leave_request_body();
                return None;
            }
            return Some(self.deny(Failure { reason: Reason::EncodedBody, ..Failure::MISSING }));
        }
        self.following.body = Awaited::Asked;
        Some(Step::NeedBody)
    }
}

/// Bytes of the body, so far as the head tells; whoever lets it pass counts them.
fn promised(headers: &dyn Headers) -> usize {
    headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// RFC 9110, section 8.4: it would have to be decoded before it could be read.
fn is_encoded(headers: &dyn Headers) -> bool {
    let codings = headers.get("content-encoding").into_iter().flat_map(|codings| codings.split(','));
    codings.map(str::trim).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}
