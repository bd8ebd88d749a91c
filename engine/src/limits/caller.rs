//! Who calls, as far as limits tell callers apart, and under which tiers.

use std::net::IpAddr;

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
}

/// What an application is told from others by: what kind of name it is, whose it is, the name.
pub(super) type ApplicationName<'a> = [&'a str; 3];

const ANONYMOUS: &str = "anonymous";

// === impl Caller ===

impl<'a> Caller<'a> {
    /// As a store knows it today, or as the credential says.
    pub(super) fn application(&self) -> Option<&'a Application> {
        let known = self.subscription.map(|subscription| &subscription.application);
        known.filter(|known| !known.is_nobodys()).or(self.identity.and_then(Identity::application))
    }

    /// Callers with one name share counters. An OAuth2 client is one application; an opaque key of none has a name of its own, as
    /// its operator made it. Keys that say nothing more are made at will by whoever may log in, so they count together, as users do.
    pub(super) fn application_name(&self) -> ApplicationName<'a> {
        if let Some(application) = self.application() {
            let Application { id, uuid, name, owner, .. } = application;
            match (id, uuid, name) {
                (Some(id), _, _) => return ["id", "", id],
                (None, Some(uuid), _) => return ["uuid", "", uuid],
                (None, None, Some(name)) => return ["name", owner.as_deref().unwrap_or(""), name],
                (None, None, None) => {}
            }
        }
        let Some(identity) = self.identity else { return ["", "", ANONYMOUS] };
        let opaque = identity.kind == CredentialKind::ApiKey && identity.key.is_none();
        match (identity.client(), identity.key_id().filter(|_| opaque)) {
            (Some(client), _) => ["client", "", client],
            (None, Some(key)) => ["key", "", key],
            (None, None) => ["", "", ANONYMOUS],
        }
    }

    pub(super) fn user(&self) -> &'a str {
        self.identity.and_then(Identity::subject).unwrap_or("")
    }

    /// That the caller is subscribed with.
    pub(super) fn tier(&self) -> Option<&'a str> {
        let of_key = self.identity.and_then(Identity::tier);
        self.subscription.and_then(|subscription| subscription.tier.as_deref()).or(of_key)
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
        let name = self.application()?.tier.as_deref()?;
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
