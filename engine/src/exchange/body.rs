//! What follows a request's head, where its rule looks at more: the request's body, and the response.

use std::borrow::Cow;
use std::sync::Arc;

use microgw_transforms::{Direction, Message, Transform};

use super::credential::Failure;
use super::{Decision, Deny, Exchange, Headers, RequestHead, Step};
use crate::facts::UnixTime;
use crate::identity::Identity;
use crate::query;
use crate::reason::Reason;
use crate::subscription::Subscription;
use crate::transforms::{self, Known};

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
    /// The client is told this in its place.
    Refuse(Deny<'a>),
}

/// How far an exchange has come after the request's head.
#[derive(Default)]
pub(super) struct Following<'a> {
    body: Awaited<'a>,
    /// The request was let through, as this caller's.
    admitted: Option<Arc<Identity>>,
    response: Option<ResponseHead<'a>>,
    /// As the client sent it, without credentials and body; for whoever transforms the response.
    asked: Option<Box<Message>>,
}

/// The request's body.
#[derive(Default)]
enum Awaited<'a> {
    #[default]
    NotYet,
    Asked,
    Here(&'a [u8]),
}

/// The backend is to answer in full, and readably.
const ACCEPTED: &str = "accept-encoding";
const UNREADABLE: [&str; 2] = ["range", "if-range"];

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

    /// The request's, once it has arrived.
    pub fn request_body(&self) -> Option<&'a [u8]> {
        match self.following.body {
            Awaited::Here(body) => Some(body),
            Awaited::NotYet | Awaited::Asked => None,
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
        self.following.response = Some(head);
        // What is transformed is compared as clients get it.
        if !self.transforms_responses()
            && let Some(refused) = self.validate_response_head(&head, &Edits::default())
        {
            return refused;
        }
        if !phases.response_body || head.ended {
            return self.finish(&[]);
        }
        if is_encoded(head.headers) {
            return self.refuse_response(Reason::UnreadableResponse);
        }
        ResponseStep::NeedBody
    }

    /// Takes the response's body, whole.
    pub fn on_response_body(&mut self, body: &'a [u8]) -> ResponseStep<'a> {
        self.finish(body)
    }

    /// As [`Self::refuse_request`].
    pub fn refuse_response(&self, reason: Reason) -> ResponseStep<'a> {
        ResponseStep::Refuse(Deny { identity: self.following.admitted.clone(), ..Deny::of(reason) })
    }

    fn finish(&mut self, body: &'a [u8]) -> ResponseStep<'a> {
        let Some(head) = self.following.response.take() else { return self.refuse_response(Reason::Internal) };
        let edits = match self.transform_response(head, body) {
            Ok(edits) => edits,
            Err(reason) => return self.refuse_response(reason),
        };
        let none = Edits::default();
        let told = edits.as_ref().unwrap_or(&none);
        if self.transforms_responses()
            && let Some(refused) = self.validate_response_head(&head, told)
        {
            return refused;
        }
        if let Some(refused) = self.validate_response_body(&head, told, body) {
            return refused;
        }
        ResponseStep::Pass(edits.map(Box::new))
    }

    fn transforms_responses(&self) -> bool {
        self.rule.transforms().is_some_and(|transforms| transforms.response.is_some())
    }

    /// `None`: it goes on as it is.
    fn transform_response(&self, head: ResponseHead<'_>, body: &[u8]) -> Result<Option<Edits>, Reason> {
        let Some((transforms, transform)) = self.rule.transforms().and_then(|all| Some((all, all.response.as_ref()?)))
        else {
            return Ok(None);
        };
        let identity = self.following.admitted.as_ref().ok_or(Reason::Internal)?;
        let subscription = self.subscription(identity);
        let body = (!body.is_empty()).then(|| body.to_vec());
        let mut message = Message::response(head.status, transforms::headers(head.headers, &[]), body);
        let vouchers = self.vouchers();
        let known = Known {
            request: self.request(Some(identity), subscription.as_deref(), &vouchers),
            transforms,
            path: self.head.map_or("", |head| head.path),
            asked: self.following.asked.as_deref(),
        };
        self.transform(transform, &mut message, &known, Direction::Response)?;
        let edits = transforms::edits(&message.changes(), |_| false);
        Ok((edits != Edits::default()).then_some(edits))
    }

    fn transform(
        &self,
        transform: &Transform,
        message: &mut Message,
        known: &Known<'_>,
        direction: Direction,
    ) -> Result<(), Reason> {
        transform.apply_or_tell(message, known).map_err(|(step, failure)| {
            self.facts.not_transformed(transform.source(step).unwrap_or_default(), failure.as_str());
            transforms::reason(failure, direction)
        })
    }

    /// `None`: the rule does not look at the body, or it is here.
    pub(super) fn look_at_body(&mut self) -> Option<Step<'a>> {
        if !self.rule.phases().is_some_and(|phases| phases.request_body) {
            return None;
        }
        if let Awaited::Here(_) = self.following.body {
            return None;
        }
        if self.head.is_some_and(|head| is_encoded(head.headers)) {
            return Some(self.deny(Failure { reason: Reason::EncodedBody, ..Failure::MISSING }));
        }
        self.following.body = Awaited::Asked;
        Some(Step::NeedBody)
    }

    /// What becomes of a request that is let through.
    pub(super) fn edits(
        &mut self,
        identity: &Arc<Identity>,
        subscription: Option<&Subscription>,
    ) -> Result<Option<Box<Edits>>, Reason> {
        let Some(phases) = self.rule.phases() else { return Ok(None) };
        self.following.admitted = Some(Arc::clone(identity));
        let mut edits = self.transform_request(identity, subscription)?;
        if phases.response_body {
            edits.headers.push((Cow::Borrowed(ACCEPTED), vec![b"identity".to_vec()]));
            let present = |name: &&str| self.head.is_some_and(|head: RequestHead<'_>| head.headers.get(name).is_some());
            let unreadable = UNREADABLE.into_iter().filter(present);
            edits.headers.extend(unreadable.map(|name| (Cow::Borrowed(name), Vec::new())));
        }
        Ok((edits != Edits::default()).then(|| Box::new(edits)))
    }

    fn transform_request(
        &mut self,
        identity: &Arc<Identity>,
        subscription: Option<&Subscription>,
    ) -> Result<Edits, Reason> {
        let rule = self.rule;
        let Some((transforms, head)) = rule.transforms().zip(self.head) else { return Ok(Edits::default()) };
        let cuts = rule.policy.header_cuts(self.by_proof);
        let path = query::cut(head.path, &rule.policy.query_cuts);
        let path = path.as_deref().unwrap_or(head.path);
        let mut message = Message::request(head.method, path, transforms::headers(head.headers, cuts), None);
        if transforms.response.is_some() {
            self.following.asked = Some(Box::new(message.clone()));
        }
        let Some(transform) = &transforms.request else { return Ok(Edits::default()) };
        if let Some(body) = self.request_body().filter(|body| !body.is_empty()) {
            message.read_body(body.to_vec());
        }
        let vouchers = self.vouchers();
        let request = self.request(Some(identity), subscription, &vouchers);
        let known = Known { request, transforms, path: head.path, asked: None };
        self.transform(transform, &mut message, &known, Direction::Request)?;
        let looks_at_response = rule.phases().is_some_and(|phases| phases.response_body);
        let is_reserved = |name: &str| {
            cuts.iter().any(|cut| **cut == *name)
                || rule.realm.identity_headers.iter().any(|told| told.name() == name)
                || rule.backend_jwt.as_ref().is_some_and(|terms| terms.header() == name)
                || looks_at_response && (name == ACCEPTED || UNREADABLE.contains(&name))
        };
        Ok(transforms::edits(&message.changes(), is_reserved))
    }
}

/// RFC 9110, section 8.4: it would have to be decoded before it could be read.
fn is_encoded(headers: &dyn Headers) -> bool {
    let codings = headers.get("content-encoding").into_iter().flat_map(|codings| codings.split(','));
    codings.map(str::trim).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}
