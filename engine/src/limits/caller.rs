//! Who calls, as far as limits tell callers apart, and under which tiers.

use std::fmt::{self, Write as _};
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

/// An address, written without a heap.
#[derive(Clone, Copy, Default)]
pub(super) struct NetworkName {
    // The longest address has 45 characters.
    bytes: [[u8; 16]; 3],
    length: usize,
}

// === impl NetworkName ===

impl NetworkName {
    /// Where requests come from that say nothing of a caller.
    pub(super) fn of(address: Option<IpAddr>) -> NetworkName {
        let mut name = NetworkName::default();
        let _ = match address {
            Some(address) => write!(name, "{}", network(address)),
            None => name.write_str(ANONYMOUS),
        };
        name
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.as_flattened().get(..self.length).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Write for NetworkName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.bytes.as_flattened_mut().get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
