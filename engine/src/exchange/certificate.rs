//! The client's certificate: whose it is, whoever ended its TLS.

use std::sync::Arc;

use super::credential::Failure;
use super::{ClientCertificate, Exchange};
use crate::certificate;
use crate::client_trust::ClientTrust;
use crate::facts::CredentialDigest;
use crate::identity::Identity;
use crate::jwt::TokenError;
use crate::realm::CredentialKind;
use crate::revocation;

/// Where the client's certificate is. Whoever put it there is believed.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// In the handshake.
    Here(ClientCertificate<'a>),
    /// In the header of a proxy that ended TLS.
    Header(&'a str),
}

const KIND: CredentialKind = CredentialKind::Certificate;

impl<'a> Exchange<'a> {
    /// What the client's certificate says, if the policy takes it.
    pub(super) fn client_certificate(&self) -> Result<Arc<Identity>, Failure> {
        let shown = self.shown()?;
        let Some(trust) = &self.rule.policy.client_trust else { return Err(Failure::MISSING) };
        let thumbprint = self.thumbprint_of(shown)?;
        let chain = match shown {
            Shown::Here(certificate) => certificate.chain,
            Shown::Header(text) => text,
        };
        self.verified(trust, thumbprint, chain).map_err(|error| Failure::invalid(KIND, error))
    }

    /// `x5t#S256` of the client's certificate. That its client has the key is known, and nothing else.
    pub(super) fn thumbprint(&self) -> Option<[u8; 32]> {
        self.shown().and_then(|shown| self.thumbprint_of(shown)).ok()
    }

    fn shown(&self) -> Result<Shown<'a>, Failure> {
        let head = self.head.ok_or(Failure::MISSING)?;
        let here = head.certificate.map(Shown::Here).ok_or(Failure::MISSING);
        let Some(source) = &self.rule.realm.certificate_header else { return here };
        let header = head.headers.get(&source.name).filter(|text| !text.is_empty()).map(Shown::Header);
        // The certificate of a proxy is no client's: what comes without the header comes from a client without one.
        let by_proxy = head.certificate.is_some_and(|own| self.is_of(&source.proxies, own));
        if by_proxy || source.believes(head.peer) { header.ok_or(Failure::MISSING) } else { here }
    }

    fn thumbprint_of(&self, shown: Shown<'a>) -> Result<[u8; 32], Failure> {
        let text = match shown {
            Shown::Here(certificate) => return Ok(certificate.thumbprint),
            Shown::Header(text) => text,
        };
        let digest = CredentialDigest::new(&self.rule.realm, KIND, text, None);
        if let Some(thumbprint) = self.facts.get(&digest).and_then(|identity| identity.thumbprint) {
            return Ok(thumbprint);
        }
        let chain = certificate::read(text).map_err(|error| Failure::invalid(KIND, error))?;
        let first = chain.first().ok_or(Failure::invalid(KIND, TokenError::CertificateForm))?;
        let thumbprint = certificate::thumbprint(first);
        self.facts.put(digest, Arc::new(Identity { thumbprint: Some(thumbprint), ..Identity::new(KIND) }));
        Ok(thumbprint)
    }

    /// Whether a proxy has shown this certificate. Clients of our own have others, which is remembered, too.
    fn is_of(&self, proxies: &ClientTrust, certificate: ClientCertificate<'_>) -> bool {
        if proxies.is_nobody() {
            return false;
        }
        let digest = CredentialDigest::of_certificate(proxies.hash(), &certificate.thumbprint);
        if self.facts.get(&digest).is_some_and(|known| known.thumbprint.is_none()) {
            return false;
        }
        match self.verified(proxies, certificate.thumbprint, certificate.chain) {
            // What it said before it was revoked is not believed any more.
            Ok(_) => !self.is_revoked_certificate(certificate.thumbprint),
            Err(TokenError::CertificateUnknown | TokenError::CertificateName | TokenError::CertificateUsage) => {
                self.facts.put(digest, Arc::new(Identity::new(KIND)));
                false
            }
            Err(_) => false,
        }
    }

    /// Whom a certificate stands for under `trust`; its dates are checked however well it is known.
    fn verified(&self, trust: &ClientTrust, thumbprint: [u8; 32], chain: &str) -> Result<Arc<Identity>, TokenError> {
        let digest = CredentialDigest::of_certificate(trust.hash(), &thumbprint);
        let identity = match self.facts.get(&digest) {
            Some(identity) if identity.thumbprint == Some(thumbprint) => identity,
            _ => {
                let chain = certificate::read(chain)?;
                let identity = trust.verify(&chain, self.now)?;
                // What names it in the cache must be its own.
                if identity.thumbprint != Some(thumbprint) {
                    return Err(TokenError::CertificateForm);
                }
                // Always: what is known of it outlasts the settings that ask for its names.
                let names = revocation::names(&identity, "");
                let identity = Arc::new(Identity { names, ..identity });
                self.facts.put(digest, Arc::clone(&identity));
                identity
            }
        };
        identity.check_time(self.now).map_err(|(_, error)| error)?;
        Ok(identity)
    }
}
