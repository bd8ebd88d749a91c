//! Whether the application that a token was issued to is subscribed to an API: as the token says, or as stores know.

use std::sync::Arc;

use crate::identity::{Application, KeyType};
use crate::json::{Json, Object};
use crate::jwt::TokenError;
use crate::jwt::claims::named;
use crate::reason::Reason;

/// Of one application to one API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub application: Application,
    /// Of the subscription: the application has one of its own.
    pub tier: Option<Box<str>>,
    pub state: State,
}

/// As API Manager calls them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no subscription, or one in a state that lets nobody in: waiting for approval, rejected.
    #[default]
    None,
    /// Also while another tier waits for approval.
    Unblocked,
    OnHold,
    Blocked,
    /// For production keys alone.
    ProductionBlocked,
}

/// What stores know of a client and an API.
#[derive(Clone, Debug)]
pub enum Subscribed {
    /// The client's application; its state says whether it is subscribed. With the type of the client's key, where it is known.
    Known(Arc<Subscription>, Option<KeyType>),
    /// Nobody has this client.
    Unknown,
    /// Nobody can tell: the stores have not been loaded, or there is not room for all of it.
    Unavailable,
}

/// What a token says of subscriptions, and whether it needs one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    /// Only subscribers are let in.
    pub(crate) required: bool,
    /// `subscribedAPIs`. `None`: it does not say, and stores are asked.
    pub(crate) claimed: Option<Box<[Claimed]>>,
}

/// An entry of `subscribedAPIs`.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    name: Box<str>,
    /// `*`: every version.
    version: Box<str>,
    subscription: Arc<Subscription>,
}

/// Of one API.
pub(crate) enum Says<'a> {
    /// It is not for the token to say.
    Nothing,
    No,
    Yes(&'a Arc<Subscription>),
}

// === impl State ===

impl State {
    /// What is none of these lets nobody in.
    pub fn named(name: &str) -> State {
        match name {
            "UNBLOCKED" | "TIER_UPDATE_PENDING" => State::Unblocked,
            "ON_HOLD" => State::OnHold,
            "BLOCKED" => State::Blocked,
            "PROD_ONLY_BLOCKED" => State::ProductionBlocked,
            _ => State::None,
        }
    }

    /// Whether it lets keys of this type in.
    pub(crate) fn admits(self, key_type: KeyType) -> Result<(), Reason> {
        match (self, key_type) {
            (State::Unblocked, _) | (State::ProductionBlocked, KeyType::Sandbox) => Ok(()),
            (State::None, _) => Err(Reason::NotSubscribed),
            (State::OnHold, _) => Err(Reason::SubscriptionInactive),
            (State::Blocked, _) | (State::ProductionBlocked, KeyType::Production) => Err(Reason::SubscriptionBlocked),
        }
    }
}

// === impl Membership ===

impl Membership {
    /// What the claims of a token say. The application is the token's, and the same for all.
    pub(crate) fn read(
        claims: &Object,
        application: Option<&Application>,
        required: bool,
    ) -> Result<Membership, TokenError> {
        const NAME: &str = "subscribedAPIs";
        let application = application.cloned().unwrap_or_default();
        let claimed = claims.get(NAME).map(|list| {
            let list = list.as_array()?.iter().map(|api| Claimed::read(api.as_object()?, &application));
            list.collect::<Option<Box<[_]>>>()
        });
        // A list that cannot be read is no subscription, and not a token that does not say.
        let claimed = claimed.map(|claimed| claimed.ok_or(TokenError::Claim(NAME))).transpose()?;
        Ok(Membership { required, claimed })
    }

    /// Of an opaque token or of another that says nothing.
    pub(crate) fn silent(required: bool) -> Membership {
        Membership { required, claimed: None }
    }

    pub(crate) fn says(&self, api: &str, version: &str) -> Says<'_> {
        let covers =
            |claimed: &&Claimed| *claimed.name == *api && (&*claimed.version == "*" || *claimed.version == *version);
        match &self.claimed {
            None => Says::Nothing,
            Some(claimed) => claimed.iter().find(covers).map_or(Says::No, |claimed| Says::Yes(&claimed.subscription)),
        }
    }

    pub(crate) fn weight(&self) -> usize {
        let claimed = self.claimed.iter().flatten();
        claimed
            .map(|claimed| {
                let Application { id, uuid, name, tier, owner } = &claimed.subscription.application;
                let texts = [id, uuid, name, tier, owner, &claimed.subscription.tier].into_iter().flatten();
                size_of::<Claimed>()
                    + size_of::<Subscription>()
                    + claimed.name.len()
                    + claimed.version.len()
                    + texts.map(|text| text.len()).sum::<usize>()
            })
            .sum()
    }
}

impl Claimed {
    fn read(api: &Object, application: &Application) -> Option<Claimed> {
        let text = |name| api.get(name).and_then(Json::as_str);
        let subscription = Subscription {
            application: application.clone(),
            // A number is the name of a tier that nobody declared, not of none.
            tier: api.get("subscriptionTier").and_then(named),
            state: State::Unblocked,
        };
        Some(Claimed {
            name: text("name")?.into(),
            version: text("version")?.into(),
            subscription: Arc::new(subscription),
        })
    }
}
