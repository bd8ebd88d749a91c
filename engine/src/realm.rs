//! Who is believed: the issuers of access tokens and of API keys.

use std::sync::Arc;

use microgw_proto::rules::v1 as proto;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::key::Algorithm;
use crate::rules::LoadError;

/// How a token was presented, which decides what it may be: an API key is no access token, nor the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    AccessToken,
    ApiKey,
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
pub struct Issuer {
    pub(crate) source: KeySource,
    pub(crate) name: Arc<str>,
    /// Empty: not checked.
    pub(crate) audiences: Box<[Box<str>]>,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) skew_seconds: u64,
    /// Tokens without `exp` are accepted.
    pub(crate) allow_unlimited: bool,
    pub(crate) require_allowed_apis: bool,
}

/// Every issuer that is believed by the rules of one book.
#[derive(Debug)]
pub struct Realm {
    access_tokens: Box<[Issuer]>,
    api_keys: Option<Issuer>,
    /// Ready to take in an access token.
    access_token_hash: Sha256,
    api_key_hash: Sha256,
}

impl Realm {
    pub(crate) fn load(book: &proto::RuleBook) -> Result<Realm, LoadError> {
        let access_tokens = book.issuers.iter().map(issuer).collect::<Result<Box<[_]>, _>>()?;
        let api_keys = book.api_keys.as_ref().map(api_keys);
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
        settings.update(book.api_keys.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default());
        let settings = settings.finalize();
        let prefix = |kind: [u8; 32]| Sha256::new().chain_update(settings).chain_update(kind);
        Ok(Realm { access_tokens, api_keys, access_token_hash: prefix([0; 32]), api_key_hash: prefix([1; 32]) })
    }

    /// The issuer that a token of this kind claims, before anything about it is verified.
    pub(crate) fn issuer(&self, kind: CredentialKind, name: &str) -> Option<&Issuer> {
        match kind {
            CredentialKind::AccessToken => self.access_tokens.iter().find(|issuer| *issuer.name == *name),
            CredentialKind::ApiKey => self.api_keys.as_ref().filter(|issuer| *issuer.name == *name),
        }
    }

    /// The hash state that a digest of such a token starts from: one full block, already compressed.
    pub(crate) fn hash(&self, kind: CredentialKind) -> &Sha256 {
        match kind {
            CredentialKind::AccessToken => &self.access_token_hash,
            CredentialKind::ApiKey => &self.api_key_hash,
        }
    }
}

fn issuer(issuer: &proto::Issuer) -> Result<Issuer, LoadError> {
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
        allow_unlimited: false,
        require_allowed_apis: false,
    })
}

fn api_keys(keys: &proto::ApiKeys) -> Issuer {
    Issuer {
        source: KeySource::ApiKeys,
        name: keys.issuer.as_str().into(),
        audiences: Box::default(),
        // What this gateway signs with, and what 3.2 did.
        algorithms: [Algorithm::Es256, Algorithm::Rs256].into(),
        skew_seconds: keys.skew_seconds.into(),
        allow_unlimited: keys.allow_unlimited,
        require_allowed_apis: keys.require_allowed_apis,
    }
}
