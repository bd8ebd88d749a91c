//! Requests that are refused, whatever else would let them in.

use microgw_proto::limits::v1 as proto;

use super::condition::Condition;
use super::{Interest, Request};
use crate::identity::Identity;
use crate::rules::{Api, LoadError};

#[derive(Debug)]
pub(crate) struct Denial {
    pub(super) name: Box<str>,
    when: Option<Condition>,
    /// `/context/version` of an API.
    api: Option<Box<str>>,
    /// Owner and name.
    application: Option<(Box<str>, Box<str>)>,
    user: Option<Box<str>>,
    /// It cannot be judged before it is known who calls.
    needs_caller: bool,
}

/// What API Manager adds to the names of users of its first tenant.
const TENANT: &str = "@carbon.super";

// === impl Denial ===

impl Denial {
    pub(super) fn load(policy: &proto::DenyPolicy) -> Result<Denial, LoadError> {
        let given = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        let application = match policy.application.as_str() {
            "" => None,
            text => {
                let (owner, name) = text.split_once(':').ok_or(LoadError::Denial)?;
                Some((owner.into(), name.into()))
            }
        };
        let when = policy.when.as_ref().map(Condition::load).transpose()?;
        let (api, user) = (given(&policy.api), given(&policy.user));
        // A policy that names nothing would refuse everything.
        if when.is_none() && api.is_none() && application.is_none() && user.is_none() {
            return Err(LoadError::Denial);
        }
        let needs_caller =
            application.is_some() || user.is_some() || when.as_ref().is_some_and(Condition::needs_caller);
        Ok(Denial { name: policy.name.as_str().into(), when, api, application, user, needs_caller })
    }

    /// With its version, which may be a part of the base path already.
    pub(super) fn concerns(&self, api: &Api) -> bool {
        let Some(wanted) = &self.api else { return true };
        let base = api.base_path.trim_end_matches('/');
        let wanted = wanted.trim_end_matches('/');
        let versioned = wanted.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
        let has_version = base.rsplit('/').next() == Some(&*api.version);
        versioned == Some(&*api.version) || has_version && wanted == base
    }

    pub(super) fn needs_caller(&self) -> bool {
        self.needs_caller
    }

    /// Where nobody can tell, it does; and where any of the caller's credentials stands for whom it names.
    pub(super) fn refuses(&self, request: &Request<'_>) -> bool {
        let user = |user: &str| {
            let plain = |name: &str| -> usize { name.strip_suffix(TENANT).unwrap_or(name).len() };
            let same = |name: &str| name.get(..plain(name)) == user.get(..plain(user));
            request.caller.identities().filter_map(Identity::subject).any(same)
        };
        let application = |(owner, name): &(Box<str>, Box<str>)| {
            request
                .caller
                .applications()
                .any(|application| application.name.as_ref() == Some(name) && application.owner.as_ref() == Some(owner))
        };
        self.user.as_deref().is_none_or(user)
            && self.application.as_ref().is_none_or(application)
            && self.when.as_ref().is_none_or(|when| request.each().any(|request| when.may_hold(&request)))
    }

    pub(super) fn looks_at(&self, interest: &mut Interest) {
        self.when.iter().for_each(|when| when.looks_at(interest));
        interest.subscriptions |= self.application.is_some();
    }
}
