//! What the engine cannot know by itself, and who is asked.

use std::net::IpAddr;
use std::sync::Arc;

use microgw_engine::{Answer, Lookup, TokenError};

use crate::backend_jwt::BackendJwts;
use crate::introspection::Introspector;
use crate::keys::KeyStore;
use crate::limits::Limits;
use crate::login::Login;
use crate::transport::{ClientError, Transport};

/// Whoever can be asked.
pub struct Lookups {
    pub keys: KeyStore,
    /// `None`: there are no users.
    pub login: Option<Arc<Login>>,
    /// `None`: nobody can be asked about opaque tokens.
    pub introspector: Option<Introspector>,
    /// `None`: backends are sent no JWT of the gateway's own.
    pub backend_jwts: Option<Arc<BackendJwts>>,
    /// Counters, some of which may be kept elsewhere.
    pub limits: Arc<Limits>,
}

impl Lookups {
    /// Keys alone.
    pub fn new(keys: KeyStore) -> Lookups {
        Lookups { keys, login: None, introspector: None, backend_jwts: None, limits: Arc::default() }
    }

    /// Asks over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.keys.reach_over(transport)?;
        if let Some(signer) = &self.backend_jwts {
            signer.reach_over(transport)?;
        }
        self.introspector.as_ref().map_or(Ok(()), |introspector| introspector.reach_over(transport))
    }

    /// `address` is the client's, where who fails counts. The caller bounds the time.
    pub async fn answer(&self, lookup: &Lookup, address: Option<IpAddr>) -> Answer {
        match lookup {
            Lookup::Keys(source) => self.keys.keys(source).await,
            Lookup::FreshKeys(source) => self.keys.fresh_keys(source).await,
            Lookup::Introspection { digest, token, reader } => match &self.introspector {
                Some(introspector) => introspector.ask(*digest, token, reader).await,
                None => Answer::Unavailable,
            },
            Lookup::Sign(order) => match &self.backend_jwts {
                Some(signer) => Box::pin(signer.sign(order)).await,
                None => Answer::Unavailable,
            },
            Lookup::Spend(draft) => Answer::Spent(Box::new(Box::pin(self.limits.ask(draft)).await)),
            Lookup::Password { digest, user, password } => match &self.login {
                // Boxed: decisions that ask nothing must not carry its room along.
                Some(login) => Box::pin(login.verify(*digest, &user.0, &password.0, address)).await,
                None => Answer::Refused(TokenError::Password),
            },
        }
    }
}
