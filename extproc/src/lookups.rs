//! What the engine cannot know by itself, and who is asked.

use std::sync::Arc;

use microgw_engine::{Answer, Lookup, TokenError};

use crate::keys::KeyStore;
use crate::users::Users;

/// Whoever can be asked.
pub struct Lookups {
    pub keys: KeyStore,
    pub users: Arc<Users>,
}

impl Lookups {
    /// Keys alone: there are no users.
    pub fn new(keys: KeyStore) -> Lookups {
        Lookups { keys, users: Arc::default() }
    }

    /// The caller bounds the time.
    pub async fn answer(&self, lookup: &Lookup) -> Answer {
        match lookup {
            Lookup::Keys(source) => self.keys.keys(source).await,
            Lookup::FreshKeys(source) => self.keys.fresh_keys(source).await,
            Lookup::Introspection { .. } => Answer::Unavailable,
            Lookup::Password { user, password, .. } => match self.users.verify(&user.0, password.0.to_string()).await {
                Some(identity) => Answer::Identity(identity),
                None => Answer::Refused(TokenError::Password),
            },
        }
    }
}
