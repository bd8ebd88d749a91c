//! Certificates of clients: whether they are asked for, whose are good, and who may tell of them.

use std::fmt;
use std::net::IpAddr;

use super::TrustStore;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    pub request: CertificateRequest,
    /// Each API may have several: any one suffices.
    pub apis: Vec<ApiCertificates>,
    /// Proxies that end TLS and tell of their clients' certificates. `None`: nobody is believed.
    pub header: Option<CertificateHeader>,
    /// The header that nobody may send where `header` is `None`, lower-case. Empty: there is none.
    pub forbidden_header: String,
}

/// What the HTTPS listener asks of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CertificateRequest {
    /// Nothing.
    #[default]
    None,
    /// A certificate, if they have one.
    Optional,
    /// A certificate. Clients are told these authorities' names to choose by; Envoy cannot insist without.
    Required(TrustStore),
}

/// Certificates that are good for an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCertificates {
    /// In any case. `*`: every API.
    pub name: String,
    /// In any case. `*`: every version.
    pub version: String,
    pub rule: CertificateRule,
}

/// A certificate is one of `pins`, or from one of `authorities`; and it has one of the names, and one of the subjects.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CertificateRule {
    /// SHA-256 of DER.
    pub pins: Vec<[u8; 32]>,
    /// DER.
    pub authorities: Vec<Vec<u8>>,
    /// Empty: not checked.
    pub names: Vec<AlternativeName>,
    /// Empty: not checked.
    pub subjects: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    Dns(String),
    Uri(String),
    Email(String),
}

/// Attributes by object identifier, all of which a subject must have. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub Vec<(String, String)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHeader {
    /// Lower-case.
    pub name: String,
    /// Whose certificates the proxies have; `None`: they have none.
    pub proxies: Option<CertificateRule>,
    /// Where they connect from: addresses, and the leading bits that count.
    pub addresses: Vec<(IpAddr, u8)>,
}

// === impl ClientCertificates ===

impl ClientCertificates {
    /// What is good for an API.
    pub fn of<'a>(&'a self, name: &'a str, version: &'a str) -> impl Iterator<Item = &'a CertificateRule> {
        let is = |pattern: &str, own: &str| pattern == "*" || pattern.to_lowercase() == own.to_lowercase();
        let theirs = self.apis.iter().filter(move |api| is(&api.name, name) && is(&api.version, version));
        theirs.map(|api| &api.rule)
    }

    /// Whether a client's certificate can arrive at all.
    pub fn can_arrive(&self) -> bool {
        self.request != CertificateRequest::None
            || self.header.as_ref().is_some_and(|header| !header.addresses.is_empty())
    }
}

/// It takes part in the generation, and authorities are long.
impl fmt::Debug for CertificateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = |der: &Vec<u8>| crate::assemble::fingerprint(der);
        f.debug_struct("CertificateRule")
            .field("pins", &self.pins)
            .field("authorities", &self.authorities.iter().map(hash).collect::<Vec<_>>())
            .field("names", &self.names)
            .field("subjects", &self.subjects)
            .finish()
    }
}
