//! What a request that may pass draws on limits: once, however often it is judged.

use std::cmp::Reverse;
use std::sync::Arc;

use super::credential::Slot;
use super::judge::rank;
use super::{Balance, Decision, Deny, Exchange, NOBODY, Step};
use crate::identity::Identity;
use crate::limits::{Caller, Charges, Micros, OwnedCharge, Request, Spending, Usage, Voucher, Vouchers};
use crate::policy::Requirement;
use crate::reason::Reason;
use crate::subscription::Subscription;
use crate::{Answer, Lookup};

/// How far it is.
pub(super) enum Spent<'a> {
    NotYet,
    /// The host was asked.
    Asked(Charges<'a>),
    Done,
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    /// `None`: limits let it pass.
    pub(super) fn spend(&mut self, identity: &Arc<Identity>, subscription: Option<&Subscription>) -> Option<Step<'a>> {
        let limits = self.rule.limits.as_deref()?;
        let vouchers = self.vouchers();
        let request = self.request(Some(identity), subscription, &vouchers);
        if let Some(policy) = limits.denies(&request, true) {
            return Some(blocked(policy, Some(identity)));
        }
        if matches!(self.spent, Spent::Done) {
            return None;
        }
        let mut charges = Charges::new();
        limits.charge(&request, &mut charges);
        if charges.is_empty() {
            self.spent = Spent::Done;
            return None;
        }
        match self.facts.spend(&charges) {
            Spending::Ask => {
                let draft = charges.iter().map(|charge| charge.owned()).collect::<Vec<OwnedCharge>>();
                self.spent = Spent::Asked(charges);
                Some(Step::Ask(Lookup::Spend(draft.into())))
            }
            spending => self.settle_spending(&charges, &spending, Some(identity)),
        }
    }

    /// Takes the answer to [`Lookup::Spend`]. Whoever calls is judged once more: asking took time.
    pub(super) fn spent(&mut self, charges: &Charges<'a>, answer: Answer) -> Step<'a> {
        let spending = if let Answer::Spent(spending) = answer { *spending } else { Spending::Unavailable };
        match self.settle_spending(charges, &spending, None) {
            Some(step) => step,
            None => self.proceed(),
        }
    }

    fn settle_spending(
        &mut self,
        charges: &Charges<'a>,
        spending: &Spending,
        identity: Option<&Arc<Identity>>,
    ) -> Option<Step<'a>> {
        let (reason, limit, wait) = match spending {
            Spending::Granted(usages) => {
                self.spent = Spent::Done;
                self.balance(charges, usages);
                return None;
            }
            Spending::Refused { by, wait, usages } => {
                self.balance(charges, usages);
                let limit = charges.get(*by).map(|charge| &**charge.limit);
                let reason = limit.map_or(Reason::Internal, |limit| limit.level.reason());
                let wait = (*wait != Micros::NEVER).then(|| wait.whole_seconds().max(1));
                (reason, limit, wait)
            }
            Spending::Ask | Spending::Unavailable => (Reason::LimitsUnknown, None, None),
        };
        let identity = identity.filter(|identity| !Arc::ptr_eq(identity, &NOBODY)).cloned().or_else(|| self.genuine());
        let limits = std::mem::take(&mut self.balances);
        let deny = Deny { identity, retry_after: wait, limit, limits, ..Deny::of(reason) };
        Some(Step::Done(Decision::Deny(deny)))
    }

    /// Written where they are kept, as large as they are.
    fn balance(&mut self, charges: &Charges<'a>, usages: &[Usage]) {
        for (charge, usage) in charges.iter().zip(usages) {
            self.balances.push(Balance { limit: charge.limit, key: charge.key, usage: *usage });
        }
    }

    /// `None`: nothing refuses it already, whoever calls.
    pub(super) fn refuse(&self) -> Option<Step<'a>> {
        let limits = self.rule.limits.as_deref()?;
        limits.denies(&self.request(None, None, &[]), false).map(|policy| blocked(policy, None))
    }

    /// Whom each credential stands for that the alternative at hand asks for, if it asks for several and has got them.
    pub(super) fn vouchers(&self) -> Vouchers {
        let policy = &self.rule.policy;
        let alternative = policy.alternatives.get(self.position).filter(|_| !policy.public);
        let several = alternative.map(|alternative| &alternative.0).filter(|requirements| requirements.len() > 1);
        several.map_or_else(Vouchers::new, |requirements| self.vouchers_of(requirements))
    }

    #[cold]
    fn vouchers_of(&self, requirements: &[Requirement]) -> Vouchers {
        let mut all = Vouchers::new();
        for requirement in requirements {
            let Requirement::Credential { credential, .. } = requirement else { continue };
            let Some(Slot::Verified(identity)) = self.slots.get(*credential) else { continue };
            if !all.iter().any(|voucher| Arc::ptr_eq(&voucher.identity, identity)) {
                all.push(Voucher { identity: Arc::clone(identity), subscription: None });
            }
        }
        if all.len() < 2 {
            return Vouchers::new();
        }
        for voucher in &mut all {
            voucher.subscription = self.subscription(&voucher.identity);
        }
        all.sort_by_key(|voucher| Reverse(rank(voucher.identity.kind)));
        all
    }

    pub(super) fn request<'r>(
        &'r self,
        identity: Option<&'r Arc<Identity>>,
        subscription: Option<&'r Subscription>,
        vouchers: &'r [Voucher],
    ) -> Request<'r>
    where
        'a: 'r,
    {
        let known = identity.filter(|identity| !Arc::ptr_eq(identity, &NOBODY));
        Request {
            rule: self.rule,
            facts: self.facts,
            head: self.head,
            caller: Caller { identity: known.map(|identity| &**identity), subscription, vouchers },
            key_type: self.key_type,
            address: &self.address,
        }
    }
}

/// Whatever is left of any limit.
fn blocked<'a>(policy: &'a str, identity: Option<&Arc<Identity>>) -> Step<'a> {
    let identity = identity.filter(|identity| !Arc::ptr_eq(identity, &NOBODY)).cloned();
    Step::Done(Decision::Deny(Deny { identity, policy: Some(policy), ..Deny::of(Reason::Blocked) }))
}
