//! The JWT that tells the backend who calls.

use super::credential::Failure;
use super::{Answer, Exchange, Lookup, Step};
use crate::backend_jwt::{Assertion, Order};

/// How far the JWT for the backend is.
pub(super) enum Signing {
    NotYet,
    Ordered(Order),
    Done(Order, Assertion),
}

impl<'a> Exchange<'a> {
    /// What was made for this request, however soon it ends; or from memory.
    pub(super) fn assertion(&self, order: &Order) -> Option<Assertion> {
        match &self.signing {
            Signing::Done(made, assertion) if made == order => Some(assertion.clone()),
            _ => self.facts.assertion(order).filter(|known| known.is_good(self.now)),
        }
    }

    /// Once for each request.
    pub(super) fn ask_for(&mut self, order: Order) -> Step<'a> {
        if !matches!(self.signing, Signing::NotYet) {
            return self.deny(Failure::NO_ANSWER);
        }
        self.signing = Signing::Ordered(order.clone());
        Step::Ask(Lookup::Sign(order))
    }

    /// Everything about the caller is judged once more: signing may have taken longer than the credential lives.
    pub(super) fn signed(&mut self, order: Order, answer: Answer) -> Step<'a> {
        let Answer::Assertion(assertion) = answer else { return self.deny(Failure::NO_ANSWER) };
        self.signing = Signing::Done(order, assertion);
        self.proceed()
    }
}
