//! Policies: alternatives and everything about their answers that can be made ready beforehand.

use std::sync::Arc;

use microgw_proto::rules::v1 as proto;
use proto::api_key::Location;
use proto::requirement::Kind;

use crate::client_trust::ClientTrust;
use crate::dpop;
use crate::identity::{Identity, KeyType};
use crate::key::Algorithm;
use crate::realm::CredentialKind;
use crate::reason::Reason;
use crate::rules::LoadError;

/// Tells Envoy which of two sibling routes to take; clients' copies are removed before routing.
pub const ENVIRONMENT_HEADER: &str = "x-microgw-environment";
/// The value of [`ENVIRONMENT_HEADER`] for callers with a sandbox credential. Production callers have no header.
pub const SANDBOX: &str = "sandbox";

const REALM: &str = "realm=\"micro-gw\"";
const INVALID_TOKEN: &str = ", error=\"invalid_token\"";

/// What a request must satisfy. Shared by all operations that ask for the same.
#[derive(Debug)]
pub struct Policy {
    /// No credential is asked for.
    pub(crate) public: bool,
    /// Any one suffices.
    pub(crate) alternatives: Box<[Alternative]>,
    /// What the alternatives refer to, each once.
    pub(crate) credentials: Box<[Credential]>,
    pub(crate) credential_header: Box<str>,
    /// Headers to remove.
    header_cuts: Box<[Box<str>]>,
    /// Query parameters to cut.
    pub(crate) query_cuts: Box<[Box<str>]>,
    /// Headers and query parameters with credentials, whether or not backends see them.
    pub(crate) credential_headers: Box<[Box<str>]>,
    pub(crate) credential_parameters: Box<[Box<str>]>,
    /// Cookies to cut.
    pub(crate) cookie_cuts: Box<[Box<str>]>,
    /// Whose certificates are good here; `None`: none is asked for.
    pub(crate) client_trust: Option<Arc<ClientTrust>>,
    production: bool,
    sandbox: bool,
    challenges: Box<[Box<str>]>,
    invalid_token_challenges: Box<[Box<str>]>,
    /// `None`: no access tokens are asked for.
    by_proof: Option<Box<ByProof>>,
}

/// What is different where a token is presented with proof of possession.
#[derive(Debug)]
struct ByProof {
    header_cuts: Box<[Box<str>]>,
    invalid_token_challenges: Box<[Box<str>]>,
    invalid_proof_challenges: Box<[Box<str>]>,
}

/// How access tokens may be presented, as far as clients are told before they present one. Those that are bound to a key are
/// never presented otherwise than with its proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presentations {
    pub(crate) free: bool,
    pub(crate) by_proof: bool,
}

/// Where a credential is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `Bearer` in the policy's credential header.
    Bearer,
    /// `Basic` in the same header.
    Basic,
    HeaderKey(Box<str>),
    QueryKey(Box<str>),
    CookieKey(Box<str>),
    /// Shown when the connection was made, to us or to a proxy that is trusted.
    Certificate,
}

/// Every requirement must hold. Never empty.
#[derive(Debug)]
pub(crate) struct Alternative(pub(crate) Box<[Requirement]>);

#[derive(Debug)]
pub(crate) enum Requirement {
    Credential {
        /// Index into [`Policy::credentials`].
        credential: usize,
        scopes: Option<Scopes>,
        /// One that is not presented is none that is missing.
        optional: bool,
    },
    /// Declared, and not enforceable by this version: never satisfied.
    Unenforceable,
}

#[derive(Debug)]
pub(crate) struct Scopes {
    names: Box<[Box<str>]>,
    all: bool,
    /// Value of `WWW-Authenticate` for those who lack them.
    challenge: Option<Box<str>>,
    by_proof: Option<Box<str>>,
}

// === impl Policy ===

impl Policy {
    pub(crate) fn load(policy: &proto::Policy, tokens: Presentations) -> Result<Policy, LoadError> {
        let mut credentials = Vec::new();
        // RFC 9728 section 5.1.
        let metadata = match policy.resource_metadata.as_str() {
            "" => String::new(),
            url => format!(", resource_metadata=\"{url}\""),
        };
        let alternatives =
            policy.alternatives.iter().map(|alternative| Alternative::load(alternative, &metadata, &mut credentials));
        let alternatives = alternatives.collect::<Result<Box<[_]>, _>>()?;
        let credential_header: Box<str> = header_name(&policy.credential_header)?.into();

        let (mut credential_headers, mut credential_parameters) = (vec![credential_header.clone()], Vec::new());
        let mut cookie_cuts = Vec::new();
        for credential in &credentials {
            match credential {
                Credential::HeaderKey(name) if !credential_headers.contains(name) => {
                    credential_headers.push(name.clone());
                }
                Credential::QueryKey(name) => credential_parameters.push(name.clone()),
                Credential::CookieKey(name) if policy.remove_credentials => cookie_cuts.push(name.clone()),
                _ => {}
            }
        }
        let cut = |names: &[Box<str>]| if policy.remove_credentials { names.to_vec() } else { Vec::new() };
        let (header_cuts, query_cuts) = (cut(&credential_headers), cut(&credential_parameters));
        let (free, bound) = (tokens.free.then_some(""), tokens.by_proof.then_some(""));
        let takes_tokens = credentials.contains(&Credential::Bearer);
        let by_proof = takes_tokens.then(|| {
            let mut header_cuts = header_cuts.clone();
            if policy.remove_credentials && !header_cuts.iter().any(|name| **name == *dpop::HEADER) {
                header_cuts.push(dpop::HEADER.into());
            }
            Box::new(ByProof {
                header_cuts: header_cuts.into(),
                invalid_token_challenges: challenges(&credentials, &metadata, free, Some(INVALID_TOKEN)),
                invalid_proof_challenges: challenges(
                    &credentials,
                    &metadata,
                    free,
                    Some(", error=\"invalid_dpop_proof\""),
                ),
            })
        });
        let plain = challenges(&credentials, &metadata, free, bound);
        let invalid_token = challenges(&credentials, &metadata, free.map(|_| INVALID_TOKEN), bound);
        Ok(Policy {
            public: policy.public,
            alternatives,
            credentials: credentials.into(),
            credential_header,
            header_cuts: header_cuts.into(),
            query_cuts: query_cuts.into(),
            credential_headers: credential_headers.into(),
            credential_parameters: credential_parameters.into(),
            cookie_cuts: cookie_cuts.into(),
            client_trust: policy.client_trust.as_ref().map(ClientTrust::load).transpose()?,
            production: policy.production,
            sandbox: policy.sandbox,
            challenges: plain,
            invalid_token_challenges: invalid_token,
            by_proof,
        })
    }

    pub(crate) fn takes_tokens(&self) -> bool {
        self.by_proof.is_some()
    }

    /// Headers to remove.
    pub(crate) fn header_cuts(&self, by_proof: bool) -> &[Box<str>] {
        match &self.by_proof {
            Some(with_proof) if by_proof => &with_proof.header_cuts,
            _ => &self.header_cuts,
        }
    }

    /// `WWW-Authenticate` values that say what is accepted here. No error attribute: RFC 6750 section 3.1 keeps it for
    /// requests that carried a token.
    pub(crate) fn challenges(&self) -> &[Box<str>] {
        &self.challenges
    }

    /// The same after an access token was refused.
    pub(crate) fn invalid_token_challenges(&self, by_proof: bool) -> &[Box<str>] {
        match &self.by_proof {
            Some(with_proof) if by_proof => &with_proof.invalid_token_challenges,
            _ => &self.invalid_token_challenges,
        }
    }

    /// The same after a proof of possession was refused.
    pub(crate) fn invalid_proof_challenges(&self) -> &[Box<str>] {
        self.by_proof.as_ref().map_or(&self.invalid_token_challenges, |with_proof| &with_proof.invalid_proof_challenges)
    }

    /// Whether callers of this type have an endpoint.
    pub(crate) fn check_environment(&self, key_type: KeyType) -> Result<(), Reason> {
        match key_type {
            KeyType::Production if !self.production => Err(Reason::NoProductionEndpoint),
            KeyType::Sandbox if !self.sandbox => Err(Reason::NoSandboxEndpoint),
            KeyType::Production | KeyType::Sandbox => Ok(()),
        }
    }

    /// The value of [`ENVIRONMENT_HEADER`], where the route depends on it.
    pub(crate) fn environment(&self, key_type: KeyType) -> Option<&'static str> {
        (self.production && self.sandbox && key_type == KeyType::Sandbox).then_some(SANDBOX)
    }
}

impl Alternative {
    fn load(
        alternative: &proto::Alternative,
        metadata: &str,
        credentials: &mut Vec<Credential>,
    ) -> Result<Alternative, LoadError> {
        let requirements =
            alternative.requirements.iter().map(|requirement| Requirement::load(requirement, metadata, credentials));
        let requirements = requirements.collect::<Result<Box<[_]>, _>>()?;
        // All of nothing would hold.
        if requirements.is_empty() { Err(LoadError::EmptyAlternative) } else { Ok(Alternative(requirements)) }
    }
}

impl Requirement {
    fn load(
        requirement: &proto::Requirement,
        metadata: &str,
        credentials: &mut Vec<Credential>,
    ) -> Result<Requirement, LoadError> {
        let mut optional = false;
        let (credential, scopes) = match requirement.kind.as_ref().ok_or(LoadError::UnknownRequirement)? {
            Kind::Oauth2(oauth2) => (
                Credential::Bearer,
                Scopes::load(&oauth2.scopes, oauth2.all_scopes, CredentialKind::AccessToken, metadata),
            ),
            Kind::Basic(basic) => {
                (Credential::Basic, Scopes::load(&basic.scopes, basic.all_scopes, CredentialKind::User, metadata))
            }
            Kind::ApiKey(key) => match key.location() {
                Location::Header => (Credential::HeaderKey(header_name(&key.name)?.into()), None),
                Location::Query => (Credential::QueryKey(key.name.as_str().into()), None),
                Location::Cookie => (Credential::CookieKey(key.name.as_str().into()), None),
                Location::Unspecified => return Err(LoadError::KeyLocation),
            },
            Kind::ClientCertificate(certificate) => {
                optional = certificate.optional;
                (Credential::Certificate, None)
            }
            Kind::Unenforceable(_) => return Ok(Requirement::Unenforceable),
        };
        let known = credentials.iter().position(|other| *other == credential);
        let index = known.unwrap_or_else(|| {
            credentials.push(credential);
            credentials.len() - 1
        });
        Ok(Requirement::Credential { credential: index, scopes, optional })
    }
}

// === impl Credential ===

impl Credential {
    pub(crate) fn kind(&self) -> CredentialKind {
        match self {
            Credential::Bearer => CredentialKind::AccessToken,
            Credential::Basic => CredentialKind::User,
            Credential::HeaderKey(_) | Credential::QueryKey(_) | Credential::CookieKey(_) => CredentialKind::ApiKey,
            Credential::Certificate => CredentialKind::Certificate,
        }
    }
}

// === impl Scopes ===

impl Scopes {
    fn load(scopes: &[String], all: bool, kind: CredentialKind, metadata: &str) -> Option<Scopes> {
        if scopes.is_empty() {
            return None;
        }
        // RFC 6750 section 3 restricts the attribute's characters; a scope that has others cannot be told.
        let printable = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let told: Vec<_> = scopes.iter().filter(|scope| scope.bytes().all(printable)).map(String::as_str).collect();
        // Another token may have them; a user is who it is.
        let challenge = |scheme: &str, algorithms: &str| {
            let text = || {
                format!(
                    "{scheme} {REALM}{algorithms}, error=\"insufficient_scope\", scope=\"{}\"{metadata}",
                    told.join(" ")
                )
                .into()
            };
            (kind == CredentialKind::AccessToken).then(text)
        };
        Some(Scopes {
            names: scopes.iter().map(|scope| scope.as_str().into()).collect(),
            all,
            challenge: challenge("Bearer", ""),
            by_proof: challenge("DPoP", &format!(", algs=\"{}\"", algorithms())),
        })
    }

    /// For those who lack them.
    pub(crate) fn challenges(&self, by_proof: bool) -> &[Box<str>] {
        if by_proof { self.by_proof.as_slice() } else { self.challenge.as_slice() }
    }

    pub(crate) fn granted_to(&self, identity: &Identity) -> bool {
        let mut names = self.names.iter();
        if self.all { names.all(|name| identity.has_scope(name)) } else { names.any(|name| identity.has_scope(name)) }
    }
}

/// One for each kind of credential; tokens have two schemes, both with `metadata`, each with what is wrong, and none where it is `None`.
fn challenges(credentials: &[Credential], metadata: &str, bearer: Option<&str>, dpop: Option<&str>) -> Box<[Box<str>]> {
    let accepts = |kind| credentials.iter().any(|credential| credential.kind() == kind);
    let takes_tokens = accepts(CredentialKind::AccessToken);
    let bearer = bearer.filter(|_| takes_tokens).map(|error| format!("Bearer {REALM}{error}{metadata}"));
    let dpop = dpop.filter(|_| takes_tokens);
    let dpop = dpop.map(|error| format!("DPoP {REALM}, algs=\"{}\"{error}{metadata}", algorithms()));
    // RFC 7617 section 2.1.
    let basic = accepts(CredentialKind::User).then(|| format!("Basic {REALM}, charset=\"UTF-8\""));
    let api_key = accepts(CredentialKind::ApiKey).then(|| format!("ApiKey {REALM}"));
    let certificate = accepts(CredentialKind::Certificate).then(|| format!("MutualTLS {REALM}"));
    [bearer, dpop, basic, api_key, certificate].into_iter().flatten().map(String::into_boxed_str).collect()
}

/// With which a proof of possession may be signed.
fn algorithms() -> String {
    Algorithm::ALL.map(Algorithm::as_str).join(" ")
}

/// Only lower-case names are found in, and removed from, what Envoy sends.
pub(crate) fn header_name(name: &str) -> Result<&str, LoadError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(allowed) { Err(LoadError::HeaderName(name.to_owned())) } else { Ok(name) }
}
