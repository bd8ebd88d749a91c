//! What the engine cannot know by itself, and who is asked.

use std::sync::Arc;

use microgw_engine::{Answer, Lookup, TokenError};

use crate::introspection::Introspector;
use crate::keys::KeyStore;
use crate::transport::{ClientError, Transport};
use crate::users::Users;

/// Whoever can be asked.
pub struct Lookups {
    pub keys: KeyStore,
    pub users: Arc<Users>,
    /// `None`: nobody can be asked about opaque tokens.
    pub introspector: Option<Introspector>,
}

impl Lookups {
    /// Keys alone.
    pub fn new(keys: KeyStore) -> Lookups {
        Lookups { keys, users: Arc::default(), introspector: None }
    }

    /// Asks over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.keys.reach_over(transport)?;
        self.introspector.as_ref().map_or(Ok(()), |introspector| introspector.reach_over(transport))
    }

    /// The caller bounds the time.
    pub async fn answer(&self, lookup: &Lookup) -> Answer {
        match lookup {
            Lookup::Keys(source) => self.keys.keys(source).await,
            Lookup::FreshKeys(source) => self.keys.fresh_keys(source).await,
            Lookup::Introspection { digest, token, reader } => match &self.introspector {
                Some(introspector) => introspector.ask(*digest, token, reader).await,
                None => Answer::Unavailable,
            },
            Lookup::Password { user, password, .. } => match self.users.verify(&user.0, password.0.to_string()).await {
                Some(identity) => Answer::Identity(identity),
                None => Answer::Refused(TokenError::Password),
            },
        }
    }
}
