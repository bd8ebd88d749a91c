//! Who calls, as far as limits tell callers apart, and under which tiers.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::tiers::{Tier, Tiers};
use super::{Level, UnknownTier};
use crate::client_address::network;
use crate::identity::{Application, Identity};
use crate::realm::CredentialKind;
use crate::subscription::Subscription;

#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// `None`: nothing is known of the caller.
    pub(crate) identity: Option<&'a Identity>,
    /// To the API, as the credential says or a store knows.
    pub(crate) subscription: Option<&'a Subscription>,
    /// Where one credential was not enough, whom each of them stands for: what the first does not say is for the next to say.
    pub(crate) vouchers: &'a [Voucher],
}

/// Whom one of several credentials stands for.
pub(crate) struct Voucher {
    pub(crate) identity: Arc<Identity>,
    pub(crate) subscription: Option<Arc<Subscription>>,
}

/// Of one request, in the order of how much they say.
pub(crate) type Vouchers = SmallVec<[Voucher; 2]>;

/// What an application is told from others by: what kind of name it is, whose it is, the name.
pub(super) type ApplicationName<'a> = [&'a str; 3];

const ANONYMOUS: &str = "anonymous";

// === impl Caller ===

impl<'a> Caller<'a> {
    /// The same of each credential, this one's first.
    pub(crate) fn each(self) -> impl Iterator<Item = Caller<'a>> {
        let is_another = move |voucher: &&Voucher| {
            self.identity.is_none_or(|identity| !std::ptr::eq(identity, Arc::as_ptr(&voucher.identity)))
        };
        let others = self.vouchers.iter().filter(is_another);
        std::iter::once(self).chain(others.map(move |voucher| Caller {
            identity: Some(&voucher.identity),
            subscription: voucher.subscription.as_deref(),
            vouchers: self.vouchers,
        }))
    }

    /// Of each credential.
    pub(super) fn identities(self) -> impl Iterator<Item = &'a Identity> {
        self.each().filter_map(|caller| caller.identity)
    }

    /// Of each credential: as a store knows it today, or as the credential says.
    pub(super) fn applications(self) -> impl Iterator<Item = &'a Application> {
        self.each().filter_map(|caller| {
            let known = caller.subscription.map(|subscription| &subscription.application);
            known.filter(|known| !known.is_nobodys()).or(caller.identity.and_then(Identity::application))
        })
    }

    /// Callers with one name share counters. An OAuth2 client is one application; an opaque key of none has a name of its own, as
    /// its operator made it. Keys that say nothing more are made at will by whoever may log in, so they count together, as users do.
    pub(super) fn application_name(&self) -> ApplicationName<'a> {
        let of_application = |application: &'a Application| {
            let Application { id, uuid, name, owner, .. } = application;
            match (id, uuid, name) {
                (Some(id), _, _) => Some(["id", "", &**id]),
                (None, Some(uuid), _) => Some(["uuid", "", &**uuid]),
                (None, None, Some(name)) => Some(["name", owner.as_deref().unwrap_or(""), &**name]),
                (None, None, None) => None,
            }
        };
        let of_identity = |identity: &'a Identity| {
            let opaque = identity.kind == CredentialKind::ApiKey && identity.key.is_none();
            match (identity.client(), identity.key_id().filter(|_| opaque)) {
                (Some(client), _) => Some(["client", "", client]),
                (None, Some(key)) => Some(["key", "", key]),
                (None, None) => None,
            }
        };
        let named = self.applications().find_map(of_application);
        named.or_else(|| self.identities().find_map(of_identity)).unwrap_or(["", "", ANONYMOUS])
    }

    pub(super) fn user(&self) -> &'a str {
        self.identities().find_map(Identity::subject).unwrap_or("")
    }

    /// That the caller is subscribed with.
    pub(super) fn tier(&self) -> Option<&'a str> {
        self.each().find_map(|caller| {
            let of_key = caller.identity.and_then(Identity::tier);
            caller.subscription.and_then(|subscription| subscription.tier.as_deref()).or(of_key)
        })
    }

    /// `Default`, where nothing is known of a subscription. A tier that is not declared is told of.
    pub(super) fn subscription_tier<'t>(&self, tiers: &'t Tiers, unknown: &mut UnknownTier<'_>) -> Option<&'t Tier> {
        match self.tier() {
            Some(name) => tiers.subscription(name, |name| unknown(Level::Subscription, name)),
            None => tiers.default.as_ref(),
        }
    }

    /// None, where nothing is known of one.
    pub(super) fn application_tier<'t>(&self, tiers: &'t Tiers, unknown: &mut UnknownTier<'_>) -> Option<&'t Tier> {
        let name = self.applications().find_map(|application| application.tier.as_deref())?;
        tiers.application(name, |name| unknown(Level::Application, name))
    }
}

/// Where requests come from that say nothing of a caller: the bytes of a network's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkName {
    V4([u8; 4]),
    V6([u8; 16]),
    Unknown,
}

// === impl NetworkName ===

impl NetworkName {
    pub(super) fn of(address: Option<IpAddr>) -> NetworkName {
        match address.map(network) {
            Some(IpAddr::V4(address)) => NetworkName::V4(address.octets()),
            Some(IpAddr::V6(address)) => NetworkName::V6(address.octets()),
            None => NetworkName::Unknown,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            NetworkName::V4(octets) => octets,
            NetworkName::V6(octets) => octets,
            NetworkName::Unknown => ANONYMOUS.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
