//! What becomes of messages: what is declared of them, then the programs that they go through; of responses the other way round.

use std::borrow::Cow;
use std::sync::Arc;

use microgw_transforms::{Direction, Message, Transform};

use super::credential::Failure;
use super::{Decision, Edits, Exchange, Respond, ResponseHead, ResponseStep, Step};
use crate::facts::UnixTime;
use crate::identity::Identity;
use crate::interceptors::{About, Attributes, InterceptorFailure, Interceptors, Verdict};
use crate::query;
use crate::reason::Reason;
use crate::reserved::{ACCEPTED, UNREADABLE};
use crate::subscription::Subscription;
use crate::transforms::{self, Known};

/// How far that has come.
#[derive(Default)]
pub(super) struct Changing {
    /// As the client sent it, without credentials and body; for whoever changes the response.
    asked: Option<Arc<Message>>,
    about: Option<Arc<About>>,
    attributes: Attributes,
    /// Of the message at hand, once programs have seen it.
    seen: Seen,
}

/// How many programs have seen the message at hand, and what it is like now.
#[derive(Default)]
enum Seen {
    #[default]
    Nothing,
    /// A program has it, the `usize`th.
    Out(usize),
    Message(Box<Message>, usize),
    Responded(Box<Message>),
    Failed(Reason),
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    /// Takes what a program says of the request. Whoever calls is judged once more: it took time.
    pub fn on_verdict_of_request(&mut self, verdict: Verdict, now: UnixTime) -> Step<'a> {
        self.now = now;
        self.take_verdict(verdict, Direction::Request);
        self.proceed()
    }

    /// Takes what a program says of the response.
    pub fn on_verdict_of_response(&mut self, verdict: Verdict) -> ResponseStep<'a> {
        self.take_verdict(verdict, Direction::Response);
        self.answer()
    }

    fn take_verdict(&mut self, verdict: Verdict, direction: Direction) {
        let Seen::Out(place) = self.following.changing.seen else {
            self.following.changing.seen = Seen::Failed(Reason::Internal);
            return;
        };
        self.following.changing.seen = match verdict {
            Verdict::Continue { message, attributes } => {
                self.following.changing.attributes = attributes;
                Seen::Message(Box::new(message), place + 1)
            }
            Verdict::Respond(answer) => Seen::Responded(Box::new(answer)),
            Verdict::Failed(failure) => self.tell_failed(failure, direction, place),
        };
    }

    fn tell_failed(&self, failure: InterceptorFailure, direction: Direction, place: usize) -> Seen {
        let uses = self.rule.interceptors().map(|all| all.uses(direction));
        if let Some(one) = uses.and_then(|uses| uses.get(place)) {
            self.facts.not_intercepted(&one.interceptor.name, &one.source, failure);
        }
        Seen::Failed(failure.reason())
    }

    pub(super) fn changes_responses(&self) -> bool {
        self.rule.transforms().is_some_and(|transforms| transforms.response.is_some())
            || self.rule.interceptors().is_some_and(|programs| !programs.response.is_empty())
    }

    /// What becomes of a request that is let through; `Err`: what comes first.
    pub(super) fn change_request(
        &mut self,
        identity: &Arc<Identity>,
        subscription: Option<&Subscription>,
    ) -> Result<Option<Box<Edits>>, Box<Step<'a>>> {
        let Some(phases) = self.rule.phases() else { return Ok(None) };
        self.following.admitted = Some(Arc::clone(identity));
        let mut edits = self.pass_request(identity, subscription)?;
        if phases.response_body {
            edits.headers.push((Cow::Borrowed(ACCEPTED), vec![b"identity".to_vec()]));
            let present = |name: &&str| self.head.is_some_and(|head| head.headers.get(name).is_some());
            let unreadable = UNREADABLE.into_iter().filter(present);
            edits.headers.extend(unreadable.map(|name| (Cow::Borrowed(name), Vec::new())));
        }
        Ok((edits != Edits::default()).then(|| Box::new(edits)))
    }

    fn pass_request(
        &mut self,
        identity: &Arc<Identity>,
        subscription: Option<&Subscription>,
    ) -> Result<Edits, Box<Step<'a>>> {
        let (rule, programs) = (self.rule, self.rule.interceptors());
        if rule.transforms().is_none() && programs.is_none() {
            return Ok(Edits::default());
        }
        let (message, next) = match std::mem::take(&mut self.following.changing.seen) {
            Seen::Nothing => match self.transform_request(identity, subscription) {
                Ok(Some(message)) => (message, 0),
                Ok(None) => return Ok(Edits::default()),
                Err(reason) => return Err(self.failed(reason)),
            },
            Seen::Message(message, next) => (*message, next),
            Seen::Responded(message) => {
                return Err(Box::new(Step::Done(Decision::Respond(Respond {
                    message: *message,
                    identity: Arc::clone(identity),
                    limits: std::mem::take(&mut self.balances),
                }))));
            }
            Seen::Failed(reason) => return Err(self.failed(reason)),
            Seen::Out(_) => return Err(self.failed(Reason::Internal)),
        };
        if let Some((programs, one)) = programs.and_then(|programs| Some((programs, programs.request.get(next)?))) {
            let about = self.about(programs, Some(identity), subscription);
            self.following.changing.seen = Seen::Out(next);
            let attributes = std::mem::take(&mut self.following.changing.attributes);
            let call = programs.call(one, Direction::Request, message, None, about, attributes);
            return Err(Box::new(Step::Intercept(Box::new(call))));
        }
        let Some(reserved) = rule.reserved() else { return Err(self.failed(Reason::Internal)) };
        let mut edits = transforms::edits(message, |name| reserved.has_header(name));
        let has_none = self.head.is_some_and(|head| head.has_body == Some(false));
        if has_none && self.makes_too_much(&edits) {
            return Err(self.failed(Reason::NotTransformed));
        }
        if let (Some(path), Some(head)) = (&mut edits.path, self.head) {
            // A credential is what a client shows, and nobody else.
            if let Some(without) = query::cut(path, &reserved.parameters) {
                *path = without;
            }
            // Nobody but the backend sees one that is to reach it.
            if rule.policy.query_cuts.is_empty() {
                query::restore(path, head.path, &reserved.parameters);
            }
        }
        Ok(edits)
    }

    fn failed(&self, reason: Reason) -> Box<Step<'a>> {
        Box::new(self.deny(Failure { reason, ..Failure::MISSING }))
    }

    /// `None`: nothing changes requests.
    fn transform_request(
        &mut self,
        identity: &Arc<Identity>,
        subscription: Option<&Subscription>,
    ) -> Result<Option<Message>, Reason> {
        let rule = self.rule;
        let Some(head) = self.head else { return Err(Reason::Internal) };
        let path = query::cut(head.path, &rule.policy.credential_parameters);
        let path = path.as_deref().unwrap_or(head.path);
        let headers = transforms::headers(head.headers, &rule.policy.credential_headers);
        let mut message = Message::request(head.method, path, headers, None);
        if self.changes_responses() {
            self.following.changing.asked = Some(Arc::new(message.clone()));
        }
        let transform = rule.transforms().and_then(|transforms| Some((transforms, transforms.request.as_ref()?)));
        if transform.is_none() && rule.interceptors().is_none_or(|programs| programs.request.is_empty()) {
            return Ok(None);
        }
        if let Some(body) = self.request_body().filter(|body| !body.is_empty()) {
            message.read_body(body.to_vec());
        }
        if let Some((transforms, transform)) = transform {
            let vouchers = self.vouchers();
            let request = self.request(Some(identity), subscription, &vouchers);
            let known = Known { request, transforms, path: head.path, asked: None };
            self.transform(transform, &mut message, &known, Direction::Request)?;
        }
        Ok(Some(message))
    }

    /// `None`: it goes on as it is. `Err`: what comes first, or in its place.
    pub(super) fn change_response(
        &mut self,
        head: ResponseHead<'a>,
        body: &'a [u8],
    ) -> Result<Option<Edits>, Box<ResponseStep<'a>>> {
        if !self.changes_responses() {
            return Ok(None);
        }
        let refuse = |exchange: &Self, reason| Box::new(exchange.refuse_response(reason));
        let (mut message, next) = match std::mem::take(&mut self.following.changing.seen) {
            Seen::Nothing => {
                let body = (!body.is_empty()).then(|| body.to_vec());
                (Message::response(head.status, transforms::headers(head.headers, &[]), body), 0)
            }
            Seen::Message(message, next) => (*message, next),
            Seen::Responded(message) => return Err(Box::new(ResponseStep::Respond(message))),
            Seen::Failed(reason) => return Err(refuse(self, reason)),
            Seen::Out(_) => return Err(refuse(self, Reason::Internal)),
        };
        let rule = self.rule;
        let Some(identity) = self.following.admitted.clone() else { return Err(refuse(self, Reason::Internal)) };
        let subscription = self.subscription(&identity);
        let programs = rule.interceptors();
        if let Some((programs, one)) = programs.and_then(|programs| Some((programs, programs.response.get(next)?))) {
            let about = self.about(programs, Some(&identity), subscription.as_deref());
            let changing = &mut self.following.changing;
            changing.seen = Seen::Out(next);
            let attributes = std::mem::take(&mut changing.attributes);
            let asked = changing.asked.clone();
            let call = programs.call(one, Direction::Response, message, asked, about, attributes);
            return Err(Box::new(ResponseStep::Intercept(Box::new(call))));
        }
        if let Some((transforms, transform)) = rule.transforms().and_then(|all| Some((all, all.response.as_ref()?))) {
            let vouchers = self.vouchers();
            let known = Known {
                request: self.request(Some(&identity), subscription.as_deref(), &vouchers),
                transforms,
                path: self.head.map_or("", |head| head.path),
                asked: self.following.changing.asked.as_deref(),
            };
            let transformed = self.transform(transform, &mut message, &known, Direction::Response);
            transformed.map_err(|reason| refuse(self, reason))?;
        }
        let edits = transforms::edits(message, |_| false);
        Ok((edits != Edits::default()).then_some(edits))
    }

    fn about(
        &mut self,
        programs: &Interceptors,
        identity: Option<&Arc<Identity>>,
        subscription: Option<&Subscription>,
    ) -> Arc<About> {
        if let Some(about) = &self.following.changing.about {
            return Arc::clone(about);
        }
        let vouchers = self.vouchers();
        let request = self.request(identity, subscription, &vouchers);
        let about = Arc::new(programs.about(&request, self.rule.operation()));
        self.following.changing.about = Some(Arc::clone(&about));
        about
    }

    fn transform(
        &self,
        transform: &Transform,
        message: &mut Message,
        known: &Known<'_>,
        direction: Direction,
    ) -> Result<(), Reason> {
        transform.apply_or_tell(message, known).map_err(|(step, failure)| {
            self.facts.not_transformed(transform.source(step).unwrap_or_default(), &failure.to_string());
            transforms::reason(failure, direction)
        })
    }
}
