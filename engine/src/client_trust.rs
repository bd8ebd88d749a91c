//! Whose certificates are good: pinned ones, and those of authorities whose names suit.

use std::sync::Arc;
use std::time::Duration;

use microgw_proto::rules::v1 as proto;
use prost::Message as _;
use proto::alternative_name::Kind;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime as WebPkiTime};
use sha2::{Digest, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::certificate::thumbprint;
use crate::facts::UnixTime;
use crate::identity::Identity;
use crate::jwt::TokenError;
use crate::realm::CredentialKind;
use crate::rules::LoadError;

/// X.520's `commonName`.
const COMMON_NAME: &str = "2.5.4.3";

/// Any one rule suffices.
#[derive(Debug)]
pub(crate) struct ClientTrust {
    rules: Box<[CertificateRule]>,
    /// Ready to take in a certificate: what is known of one is known under these rules only.
    hash: Sha256,
}

#[derive(Debug)]
struct CertificateRule {
    pins: Box<[[u8; 32]]>,
    authorities: Box<[Authority]>,
    /// Empty: not checked.
    names: Box<[Name]>,
    /// Empty: not checked.
    subjects: Box<[Box<[Attribute]>]>,
}

#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    dates: Dates,
}

/// When a certificate is good; both ends included.
#[derive(Clone, Copy, Debug)]
struct Dates {
    from: UnixTime,
    to: UnixTime,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// Lower-case.
    Dns(Box<str>),
    Uri(Box<str>),
    /// Its domain in lower case.
    Email(Box<str>),
}

#[derive(Debug)]
struct Attribute {
    oid: Box<str>,
    value: Box<str>,
}

// === impl ClientTrust ===

impl ClientTrust {
    pub(crate) fn load(trust: &proto::ClientTrust) -> Result<Arc<ClientTrust>, LoadError> {
        let rules = trust.rules.iter().map(CertificateRule::load).collect::<Result<_, _>>()?;
        let own = Sha256::digest(trust.encode_to_vec());
        let hash = Sha256::new().chain_update(own).chain_update([CredentialKind::Certificate as u8; 32]);
        Ok(Arc::new(ClientTrust { rules, hash }))
    }

    /// No certificate is good.
    pub(crate) fn is_nobody(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn hash(&self) -> &Sha256 {
        &self.hash
    }

    /// Whom the first certificate of `chain` stands for, and when. The others may lead from it to an authority.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Result<Identity, TokenError> {
        let (own, others) = chain.split_first().ok_or(TokenError::CertificateForm)?;
        let (rest, leaf) = X509Certificate::from_der(own).map_err(|_| TokenError::CertificateForm)?;
        if !rest.is_empty() {
            return Err(TokenError::CertificateForm);
        }
        let purposes = leaf.extended_key_usage().map_err(|_| TokenError::CertificateForm)?;
        if purposes.is_some_and(|purposes| !purposes.value.client_auth) {
            return Err(TokenError::CertificateUsage);
        }
        let dates = Dates::of(leaf.validity());
        dates.check(now)?;
        let names = names(&leaf)?;
        let hash = thumbprint(own);
        let mut failure = TokenError::CertificateUnknown;
        for rule in &self.rules {
            let path = if rule.pins.contains(&hash) { Some(dates) } else { rule.path(own, others, now) };
            let Some(path) = path else { continue };
            if rule.suits(&names, leaf.subject()) {
                let path = path.and(dates);
                return Ok(Identity {
                    not_before: path.from,
                    expires: Some(UnixTime(path.to.0.saturating_add(1))),
                    subject: subject(&leaf, &names),
                    thumbprint: Some(hash),
                    ..Identity::new(CredentialKind::Certificate)
                });
            }
            failure = TokenError::CertificateName;
        }
        Err(failure)
    }
}

impl CertificateRule {
    fn load(rule: &proto::CertificateRule) -> Result<CertificateRule, LoadError> {
        let pin = |pin: &Vec<u8>| <[u8; 32]>::try_from(pin.as_slice()).map_err(|_| LoadError::ClientTrust);
        let subject = |subject: &proto::Subject| {
            // All of nothing would be everybody.
            if subject.attributes.is_empty() { Err(LoadError::ClientTrust) } else { Ok(attributes(subject)) }
        };
        Ok(CertificateRule {
            pins: rule.pins.iter().map(pin).collect::<Result<_, _>>()?,
            authorities: rule.authorities.iter().map(|der| Authority::load(der)).collect::<Result<_, _>>()?,
            names: rule.names.iter().map(Name::load).collect::<Result<_, _>>()?,
            subjects: rule.subjects.iter().map(subject).collect::<Result<_, _>>()?,
        })
    }

    /// When the whole way to one of the authorities is good.
    fn path(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Option<Dates> {
        if self.authorities.is_empty() {
            return None;
        }
        let leaf = EndEntityCert::try_from(own).ok()?;
        let time = WebPkiTime::since_unix_epoch(Duration::from_secs(now.0));
        self.authorities.iter().filter(|authority| authority.dates.check(now).is_ok()).find_map(|authority| {
            let anchors = std::slice::from_ref(&authority.anchor);
            let usage = KeyUsage::client_auth();
            let path = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, others, time, usage, None, None).ok()?;
            path.intermediate_certificates().try_fold(authority.dates, |dates, certificate| {
                let der = certificate.der();
                let (_, certificate) = X509Certificate::from_der(&der).ok()?;
                Some(dates.and(Dates::of(certificate.validity())))
            })
        })
    }

    fn suits(&self, names: &[Name], subject: &X509Name<'_>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| names.contains(name));
        let has = |wanted: &Attribute| {
            subject.iter_attributes().any(|attribute| {
                attribute.attr_type().to_id_string() == *wanted.oid
                    && attribute.as_str().is_ok_and(|value| value == &*wanted.value)
            })
        };
        named && (self.subjects.is_empty() || self.subjects.iter().any(|subject| subject.iter().all(has)))
    }
}

impl Authority {
    fn load(der: &[u8]) -> Result<Authority, LoadError> {
        let der = CertificateDer::from(der);
        let anchor = anchor_from_trusted_cert(&der).map_err(|_| LoadError::ClientTrust)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| LoadError::ClientTrust)?;
        Ok(Authority { anchor: anchor.to_owned(), dates: Dates::of(parsed.validity()) })
    }
}

// === impl Dates ===

impl Dates {
    /// Before 1970 is 1970.
    fn of(validity: &Validity) -> Dates {
        let time = |seconds: i64| UnixTime(u64::try_from(seconds).unwrap_or_default());
        Dates { from: time(validity.not_before.timestamp()), to: time(validity.not_after.timestamp()) }
    }

    /// When both are.
    fn and(self, other: Dates) -> Dates {
        Dates { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    fn check(self, now: UnixTime) -> Result<(), TokenError> {
        if now > self.to {
            Err(TokenError::Expired)
        } else if now < self.from {
            Err(TokenError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

// === impl Name ===

impl Name {
    fn load(name: &proto::AlternativeName) -> Result<Name, LoadError> {
        match name.kind() {
            Kind::Dns => Ok(Name::dns(&name.name)),
            Kind::Uri => Ok(Name::Uri(name.name.as_str().into())),
            Kind::Email => Ok(Name::email(&name.name)),
            Kind::Unspecified => Err(LoadError::ClientTrust),
        }
    }

    fn dns(name: &str) -> Name {
        Name::Dns(name.to_ascii_lowercase().into())
    }

    /// RFC 5321 section 2.4: what is before `@` is up to the domain.
    fn email(name: &str) -> Name {
        Name::Email(match name.rsplit_once('@') {
            Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()).into(),
            None => name.into(),
        })
    }

    fn as_str(&self) -> &str {
        let (Name::Dns(name) | Name::Uri(name) | Name::Email(name)) = self;
        name
    }
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, TokenError> {
    let extension = certificate.subject_alternative_name().map_err(|_| TokenError::CertificateForm)?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(Name::dns(name)),
        GeneralName::URI(name) => Some(Name::Uri((*name).into())),
        GeneralName::RFC822Name(name) => Some(Name::email(name)),
        _ => None,
    };
    Ok(extension.map(|names| names.value.general_names.iter().filter_map(name).collect()).unwrap_or_default())
}

/// What the caller is called: the common name; without one the first URI, DNS name or address among the alternative names, in
/// this order.
fn subject(certificate: &X509Certificate<'_>, names: &[Name]) -> Option<Box<str>> {
    let mut attributes = certificate.subject().iter_attributes();
    let common = attributes.find(|attribute| attribute.attr_type().to_id_string() == COMMON_NAME);
    let common = common.and_then(|attribute| attribute.as_str().ok()).filter(|name| !name.is_empty());
    let first = |kind: fn(&Name) -> bool| names.iter().find(|name| kind(name)).map(Name::as_str);
    common
        .or_else(|| first(|name| matches!(name, Name::Uri(_))))
        .or_else(|| first(|name| matches!(name, Name::Dns(_))))
        .or_else(|| first(|name| matches!(name, Name::Email(_))))
        .map(Box::from)
}

fn attributes(subject: &proto::Subject) -> Box<[Attribute]> {
    let attribute = |attribute: &proto::Attribute| Attribute {
        oid: attribute.oid.as_str().into(),
        value: attribute.value.as_str().into(),
    };
    subject.attributes.iter().map(attribute).collect()
}

#[cfg(test)]
mod tests;
