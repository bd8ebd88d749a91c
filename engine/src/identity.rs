//! Who calls: what a genuine credential says, reduced to what decisions need.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::facts::UnixTime;
use crate::key::Key;
use crate::reason::Reason;
use crate::revocation::{RevocationName, Revoked};
use crate::subscription::Membership;
use crate::{CredentialKind, TokenError};

/// What is known of a caller. Holds for the credential, not for a request: it may be enough for one operation and not for
/// the next.
#[derive(Clone)]
pub struct Identity {
    pub(crate) kind: CredentialKind,
    /// What verified the credential, and takes it along when it is withdrawn. `None`: it was not verified by a key.
    pub(crate) key: Option<Arc<Key>>,
    /// Skew is already allowed for in both.
    pub(crate) not_before: UnixTime,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) client: Option<Box<str>>,
    pub(crate) id: Option<Box<str>>,
    /// What revokes it. Empty where nothing can be revoked.
    pub(crate) names: Box<[RevocationName]>,
    pub(crate) key_type: KeyType,
    pub(crate) scopes: Box<[Box<str>]>,
    /// `None`: not limited.
    pub(crate) allowed_apis: Option<Box<[ApiGrant]>>,
    pub(crate) application: Option<Box<Application>>,
    /// Of the credential itself: the application may have another.
    pub(crate) tier: Option<Box<str>>,
    /// What its owner keeps with an opaque key.
    pub(crate) metadata: Metadata,
    /// `x5t#S256` of the certificate that it was read from.
    pub(crate) thumbprint: Option<[u8; 32]>,
    /// What else must be proved on each request.
    pub(crate) confirmation: Confirmation,
    /// How long it may be remembered at most: others may withdraw it without a word. `None`: as long as any.
    pub(crate) remembered: Option<Duration>,
    /// Claims that limits look at, by name, in the order of names.
    pub(crate) claims: Box<[(Box<str>, ClaimValue)]>,
    /// Claims for backends, a JSON object. `None`: nobody asks for them, or there are none.
    pub(crate) passed_on: Option<Box<str>>,
    /// Backends are also told what the claim retriever knows of the user.
    pub(crate) user_claims: bool,
    /// What it says of subscriptions, and whether it needs one.
    pub(crate) membership: Membership,
}

/// A claim that limits look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClaimValue {
    One(ClaimText),
    Several(Box<[ClaimText]>),
}

/// As it is compared with texts, and as expressions see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClaimText {
    pub(crate) text: Box<str>,
    pub(crate) kind: ClaimKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ClaimKind {
    Text,
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

/// What a credential says by one name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim<'a> {
    Kept(&'a ClaimValue),
    /// Of what is kept with an opaque key.
    Text(&'a str),
}

/// Names and values.
pub type Metadata = Box<[(Box<str>, Box<str>)]>;

/// What the caller's credential was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    pub id: Option<Box<str>>,
    pub uuid: Option<Box<str>>,
    pub name: Option<Box<str>>,
    pub tier: Option<Box<str>>,
    pub owner: Option<Box<str>>,
}

/// What is kept with an opaque API key.
#[derive(Clone, Debug, Default)]
pub struct KeyTerms {
    pub id: Box<str>,
    pub owner: Box<str>,
    pub application: Option<Application>,
    pub tier: Option<Box<str>>,
    pub key_type: KeyType,
    /// `None`: every API.
    pub apis: Option<Box<[ApiGrant]>>,
    pub metadata: Metadata,
    /// `None`: without end.
    pub expires: Option<UnixTime>,
}

/// What a credential is bound to, `cnf` of RFC 7800: it is worth nothing to those who have only the credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// `x5t#S256`: the client's certificate, RFC 8705 section 3.1.
    pub(crate) certificate: Option<[u8; 32]>,
    /// `jkt`: a key that each request proves to have, RFC 9449 section 6.
    pub(crate) key: Option<[u8; 32]>,
}

/// Which endpoints a credential is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    #[default]
    Production,
    Sandbox,
}

/// An API that a key may call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiGrant {
    pub name: Box<str>,
    /// `*`: every version.
    pub version: Box<str>,
}

// === impl KeyType ===

impl KeyType {
    /// As tokens call it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyType::Production => "PRODUCTION",
            KeyType::Sandbox => "SANDBOX",
        }
    }
}

// === impl Identity ===

impl Identity {
    /// Nobody in particular: the rest is up to the credential.
    pub(crate) fn new(kind: CredentialKind) -> Identity {
        Identity {
            kind,
            key: None,
            not_before: UnixTime::default(),
            expires: None,
            subject: None,
            client: None,
            id: None,
            names: Box::default(),
            key_type: KeyType::default(),
            scopes: Box::default(),
            allowed_apis: None,
            application: None,
            tier: None,
            metadata: Box::default(),
            thumbprint: None,
            confirmation: Confirmation::default(),
            remembered: None,
            claims: Box::default(),
            passed_on: None,
            user_claims: false,
            membership: Membership::default(),
        }
    }

    /// A user whose password was right.
    pub fn user<'a>(name: &str, scopes: impl IntoIterator<Item = &'a str>) -> Identity {
        Identity {
            subject: Some(name.into()),
            scopes: scopes.into_iter().map(Box::from).collect(),
            ..Identity::new(CredentialKind::User)
        }
    }

    /// Who presents an opaque API key.
    pub fn opaque_key(terms: KeyTerms) -> Identity {
        let KeyTerms { id, owner, application, tier, key_type, apis, metadata, expires } = terms;
        Identity {
            names: [Revoked::KeyId(&id).name()].into(),
            id: Some(id),
            subject: Some(owner),
            application: application.map(Box::new),
            tier,
            key_type,
            allowed_apis: apis,
            metadata,
            expires,
            ..Identity::new(CredentialKind::ApiKey)
        }
    }

    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// `x5t#S256` of the certificate that the caller has shown, or had to show for its token.
    pub fn certificate(&self) -> Option<&[u8; 32]> {
        self.thumbprint.as_ref().or(self.confirmation.certificate.as_ref())
    }

    /// `sub`, the name of the user, or what a certificate calls its owner.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The OAuth2 client: `consumerKey`, else `azp`, else `client_id`, else a single `aud`.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// `jti`, where it is kept, or the id of an opaque key: names the credential, and opens nothing.
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.kind == CredentialKind::ApiKey)
    }

    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    pub fn application(&self) -> Option<&Application> {
        self.application.as_deref()
    }

    /// The tier that an opaque key has for itself.
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// What its owner keeps with an opaque key.
    pub fn metadata(&self) -> &[(Box<str>, Box<str>)] {
        &self.metadata
    }

    /// Whether somebody vouches for it. Of certificates it is remembered, too, what was read of them and that they are no
    /// proxy's: anybody can make as many as he likes, so that a cache keeps those where they displace nothing else.
    pub fn is_vouched_for(&self) -> bool {
        self.kind != CredentialKind::Certificate || !self.names.is_empty()
    }

    /// How long a cache may keep it at most, its end apart. `None`: as long as any.
    pub fn remembered(&self) -> Option<Duration> {
        self.remembered
    }

    /// The scopes, with blanks between them. One with a blank of its own would read as two, and is left out.
    pub fn scope_text(&self) -> Cow<'_, str> {
        let mut scopes = self.scopes.iter().filter(|scope| !scope.is_empty() && !scope.contains(char::is_whitespace));
        let Some(first) = scopes.next() else { return Cow::Borrowed("") };
        let Some(second) = scopes.next() else { return Cow::Borrowed(first) };
        let mut text = String::with_capacity(self.scopes.iter().map(|scope| scope.len() + 1).sum());
        text.push_str(first);
        for scope in std::iter::once(second).chain(scopes) {
            text.push(' ');
            text.push_str(scope);
        }
        Cow::Owned(text)
    }

    /// What the credential says by that name, where it is kept.
    pub(crate) fn claim(&self, name: &str) -> Option<Claim<'_>> {
        let kept = self.claims.binary_search_by(|(own, _)| (**own).cmp(name));
        if let Some((_, value)) = kept.ok().and_then(|index| self.claims.get(index)) {
            return Some(Claim::Kept(value));
        }
        self.metadata.iter().find(|(own, _)| **own == *name).map(|(_, value)| Claim::Text(value))
    }

    /// Claims for backends, a JSON object.
    pub(crate) fn passed_on(&self) -> Option<&str> {
        self.passed_on.as_deref()
    }

    /// Backends are to be told what the claim retriever knows of the user.
    pub fn wants_user_claims(&self) -> bool {
        self.user_claims
    }

    /// Bytes that a cache should count for this entry.
    pub fn weight(&self) -> usize {
        let texts =
            self.subject.iter().chain(&self.client).chain(&self.id).chain(&self.scopes).map(|text| text.len() + 16);
        let passed_on = self.passed_on.as_ref().map_or(0, |claims| claims.len());
        let grants = self
            .allowed_apis
            .iter()
            .flat_map(|grants| grants.iter().map(|api| api.name.len() + api.version.len() + 32));
        let application = self.application.as_ref().map_or(0, |application| application.weight());
        let metadata = self.metadata.iter().map(|(name, value)| name.len() + value.len() + 32);
        let tier = self.tier.as_ref().map_or(0, |tier| tier.len());
        let claims = self.claims.iter().map(|(name, value)| name.len() + value.weight()).sum::<usize>();
        size_of::<Identity>()
            + size_of_val(&*self.names)
            + self.membership.weight()
            + application
            + tier
            + passed_on
            + claims
            + texts.chain(grants).chain(metadata).sum::<usize>()
    }

    /// The key that verified it is no longer its issuer's.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_withdrawn())
    }

    /// RFC 7519 sections 4.1.4 and 4.1.5: on `exp` a token is no longer valid, on `nbf` it already is.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), (Reason, TokenError)> {
        if self.expires.is_some_and(|expires| now >= expires) {
            Err((Reason::Expired, TokenError::Expired))
        } else if now < self.not_before {
            Err((Reason::InvalidCredentials, TokenError::NotYetValid))
        } else {
            Ok(())
        }
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| **own == *scope)
    }

    pub(crate) fn allows(&self, api: &str, version: &str) -> bool {
        self.allowed_apis.as_deref().is_none_or(|grants| grants.iter().any(|grant| grant.covers(api, version)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("kind", &self.kind)
            .field("key", &self.key)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

// === impl ClaimValue ===

impl ClaimValue {
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let items = match self {
            ClaimValue::One(item) => std::slice::from_ref(item),
            ClaimValue::Several(items) => items,
        };
        items.iter().map(|item| &*item.text)
    }

    fn weight(&self) -> usize {
        size_of::<(Box<str>, ClaimValue)>()
            + self.texts().map(|text| text.len() + size_of::<ClaimText>()).sum::<usize>()
    }
}

// === impl Application ===

impl Application {
    /// Nothing is known of it.
    pub(crate) fn is_nobodys(&self) -> bool {
        let Application { id, uuid, name, tier, owner } = self;
        [id, uuid, name, tier, owner].into_iter().all(Option::is_none)
    }

    fn weight(&self) -> usize {
        let Application { id, uuid, name, tier, owner } = self;
        let texts = [id, uuid, name, tier, owner];
        size_of::<Application>() + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

// === impl ApiGrant ===

impl ApiGrant {
    /// Names and versions are compared exactly.
    pub fn covers(&self, name: &str, version: &str) -> bool {
        *self.name == *name && (&*self.version == "*" || *self.version == *version)
    }
}
