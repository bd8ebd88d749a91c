//! Who is believed: the issuers of access tokens and of API keys.

use std::sync::Arc;

use microgw_proto::rules::v1 as proto;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::backend_jwt::Kept;
use crate::certificate_header::CertificateHeader;
use crate::dpop::Dpop;
use crate::identity_headers::IdentityHeader;
use crate::introspection::Introspection;
use crate::jwt::mapping::ClaimMapping;
use crate::key::Algorithm;
use crate::limits::Interest;
use crate::policy::Presentations;
use crate::rules::LoadError;

/// How a credential was presented, which decides what it may be: an API key is no access token, nor the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    AccessToken,
    ApiKey,
    /// A user with a password.
    User,
    /// A client's certificate.
    Certificate,
}

impl CredentialKind {
    /// As backends are told.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialKind::AccessToken => "access_token",
            CredentialKind::ApiKey => "api_key",
            CredentialKind::User => "user",
            CredentialKind::Certificate => "certificate",
        }
    }

    pub const ALL: [CredentialKind; 4] =
        [CredentialKind::AccessToken, CredentialKind::ApiKey, CredentialKind::User, CredentialKind::Certificate];
}

/// Whose keys are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// By the name that `iss` carries.
    Issuer(Arc<str>),
    ApiKeys,
}

/// One issuer, and what its tokens must say.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is a setting of its own.
pub struct Issuer {
    pub(crate) source: KeySource,
    pub(crate) name: Arc<str>,
    /// Empty: not checked.
    pub(crate) audiences: Box<[Box<str>]>,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) skew_seconds: u64,
    pub(crate) claims: Box<[ClaimMapping]>,
    /// The claim that holds the client; empty: whichever of the usual ones there is.
    pub(crate) client_claim: Box<str>,
    /// Tokens are as RFC 9068 says.
    pub(crate) rfc9068: bool,
    /// Tokens are bound to a key.
    pub(crate) require_dpop: bool,
    /// Tokens without `exp` are accepted.
    pub(crate) allow_unlimited: bool,
    pub(crate) require_allowed_apis: bool,
    /// Of the claims, what is kept for backends.
    pub(crate) kept: Option<Arc<Kept>>,
    pub(crate) user_claims: bool,
    /// Of the claims, those that limits look at.
    pub(crate) limiting: Arc<[Box<str>]>,
    /// What tokens say of subscriptions is kept.
    pub(crate) subscriptions: bool,
    /// One that says it so that it cannot be read is refused.
    pub(crate) strict_subscriptions: bool,
    /// Only subscribers are let in.
    pub(crate) validate_subscription: bool,
}

/// Every issuer that is believed by the rules of one book.
#[derive(Debug)]
pub struct Realm {
    access_tokens: Box<[Issuer]>,
    api_keys: Option<Issuer>,
    /// `None`: opaque access tokens are refused.
    pub(crate) introspection: Option<Arc<Introspection>>,
    /// Callers' subscriptions are looked at: who must have one, or how much those may use who do.
    pub(crate) subscriptions: bool,
    /// Credentials can be revoked.
    pub(crate) revocable: bool,
    pub(crate) dpop: Dpop,
    /// `None`: only the handshake tells a client's certificate.
    pub(crate) certificate_header: Option<CertificateHeader>,
    /// Of tokens' claims, what is kept for backends.
    pub(crate) kept: Option<Arc<Kept>>,
    /// What backends are told in headers of their own.
    pub(crate) identity_headers: Box<[IdentityHeader]>,
    /// Proxies in front of Envoy that append to `x-forwarded-for`.
    pub(crate) trusted_hops: u32,
    /// Ready to take in a credential of each kind.
    hashes: [Sha256; CredentialKind::ALL.len()],
}

impl Realm {
    pub(crate) fn load(book: &proto::RuleBook, interest: &Interest) -> Result<Realm, LoadError> {
        let claims = &interest.claims();
        let kept = book.backend_jwt.as_ref().map(|settings| Arc::new(Kept::load(settings)));
        let subscriptions = book.subscriptions || interest.subscriptions;
        let keep = |issuer| Issuer { subscriptions, strict_subscriptions: book.subscriptions, ..issuer };
        let access_tokens = book
            .issuers
            .iter()
            .map(|settings| issuer(settings, kept.as_ref(), claims).map(keep))
            .collect::<Result<Box<[_]>, _>>()?;
        let api_keys = book.api_keys.as_ref().map(|settings| api_keys(settings, kept.as_ref(), claims));
        // Nobody needs a subscription with an API key: it only says how much its application may use.
        let api_keys = api_keys.map(|keys| Issuer { subscriptions: interest.subscriptions, ..keys });
        for (index, issuer) in access_tokens.iter().enumerate() {
            if access_tokens.iter().take(index).any(|other| other.name == issuer.name)
                || api_keys.as_ref().is_some_and(|keys| keys.name == issuer.name)
            {
                return Err(LoadError::RepeatedIssuer(issuer.name.to_string()));
            }
        }
        // What is cached about a token holds only for the settings it was verified under.
        let mut settings = Sha256::new();
        for issuer in &book.issuers {
            settings.update(issuer.encode_length_delimited_to_vec());
        }
        settings.update(book.api_keys.as_ref().map(prost::Message::encode_length_delimited_to_vec).unwrap_or_default());
        // What cannot be revoked is remembered without the names to revoke it by.
        settings.update([u8::from(book.revocable), u8::from(book.subscriptions), u8::from(interest.subscriptions)]);
        settings.update(
            book.introspection.as_ref().map(prost::Message::encode_length_delimited_to_vec).unwrap_or_default(),
        );
        settings
            .update(book.backend_jwt.as_ref().map(prost::Message::encode_length_delimited_to_vec).unwrap_or_default());
        for name in claims.iter() {
            settings.update(u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
            settings.update(name.as_bytes());
        }
        let settings = settings.finalize();
        // One full block, already compressed.
        let hash = |kind| Sha256::new().chain_update(settings).chain_update([kind as u8; 32]);
        let dpop = Dpop::load(&book.dpop.clone().unwrap_or_default());
        let certificate_header = book.certificate_header.as_ref().map(CertificateHeader::load).transpose()?;
        let introspection = book
            .introspection
            .as_ref()
            .map(|settings| Arc::new(Introspection::load(settings).keeping(kept.clone(), claims)));
        let identity_headers = book.identity_headers.iter().map(IdentityHeader::load).collect::<Result<_, _>>()?;
        Ok(Realm {
            access_tokens,
            api_keys,
            introspection,
            dpop,
            certificate_header,
            revocable: book.revocable,
            kept,
            trusted_hops: book.trusted_hops,
            identity_headers,
            subscriptions,
            hashes: CredentialKind::ALL.map(hash),
        })
    }

    /// The issuer that a token of this kind claims, before anything about it is verified.
    pub(crate) fn issuer(&self, kind: CredentialKind, name: &str) -> Option<&Issuer> {
        match kind {
            CredentialKind::AccessToken => self.access_tokens.iter().find(|issuer| *issuer.name == *name),
            CredentialKind::ApiKey => self.api_keys.as_ref().filter(|issuer| *issuer.name == *name),
            CredentialKind::User | CredentialKind::Certificate => None,
        }
    }

    /// API keys must list the APIs that they are for.
    pub(crate) fn requires_allowed_apis(&self) -> bool {
        self.api_keys.as_ref().is_some_and(|keys| keys.require_allowed_apis)
    }

    /// What clients are told of how tokens are presented.
    pub(crate) fn presentations(&self) -> Presentations {
        let bound = |issuer: &Issuer| issuer.require_dpop;
        let tokens = &self.access_tokens;
        let free = tokens.is_empty() || self.introspection.is_some() || !tokens.iter().all(bound);
        Presentations { free, by_proof: tokens.iter().any(bound) }
    }

    /// The hash state that a digest of such a credential starts from.
    pub(crate) fn hash(&self, kind: CredentialKind) -> &Sha256 {
        let [access_token, api_key, user, certificate] = &self.hashes;
        match kind {
            CredentialKind::AccessToken => access_token,
            CredentialKind::ApiKey => api_key,
            CredentialKind::User => user,
            CredentialKind::Certificate => certificate,
        }
    }
}

fn issuer(issuer: &proto::Issuer, kept: Option<&Arc<Kept>>, limiting: &Arc<[Box<str>]>) -> Result<Issuer, LoadError> {
    let name: Arc<str> = issuer.issuer.as_str().into();
    let algorithms = issuer
        .algorithms
        .iter()
        .map(|name| name.parse().map_err(|_| LoadError::UnknownAlgorithm(name.clone())))
        .collect::<Result<Box<[_]>, _>>()?;
    if algorithms.is_empty() {
        return Err(LoadError::NoAlgorithm(issuer.issuer.clone()));
    }
    Ok(Issuer {
        source: KeySource::Issuer(Arc::clone(&name)),
        name,
        audiences: issuer.audiences.iter().map(|audience| audience.as_str().into()).collect(),
        algorithms,
        skew_seconds: issuer.skew_seconds.into(),
        claims: issuer.claims.iter().map(ClaimMapping::load).collect(),
        client_claim: issuer.client_claim.as_str().into(),
        rfc9068: issuer.rfc9068,
        require_dpop: issuer.require_dpop,
        allow_unlimited: false,
        require_allowed_apis: false,
        kept: kept.cloned(),
        limiting: Arc::clone(limiting),
        user_claims: issuer.user_claims,
        subscriptions: false,
        strict_subscriptions: false,
        validate_subscription: issuer.validate_subscription,
    })
}

fn api_keys(keys: &proto::ApiKeys, kept: Option<&Arc<Kept>>, limiting: &Arc<[Box<str>]>) -> Issuer {
    Issuer {
        source: KeySource::ApiKeys,
        name: keys.issuer.as_str().into(),
        audiences: Box::default(),
        // What this gateway signs with, and what 3.2 did.
        algorithms: [Algorithm::Es256, Algorithm::Rs256].into(),
        skew_seconds: keys.skew_seconds.into(),
        claims: Box::default(),
        client_claim: Box::default(),
        rfc9068: false,
        require_dpop: false,
        allow_unlimited: keys.allow_unlimited,
        require_allowed_apis: keys.require_allowed_apis,
        kept: kept.cloned(),
        limiting: Arc::clone(limiting),
        user_claims: false,
        subscriptions: false,
        strict_subscriptions: false,
        validate_subscription: false,
    }
}
