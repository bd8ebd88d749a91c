//! Certificates of clients: what the listener tells the service of them, and whose the rules take.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::SetCurrentClientCertDetails;
use microgw_proto::rules::v1 as pb;

use super::names;
use crate::model::{Access, Api, Model, Requirement};
use crate::settings::{AlternativeName, CertificateRequest, CertificateRule, ClientCertificates, Settings, Subject};

/// Every certificate that a client has sent; Envoy adds the hash of its own by itself.
pub fn shown(certificates: &ClientCertificates) -> Option<SetCurrentClientCertDetails> {
    (certificates.request != CertificateRequest::None)
        .then(|| SetCurrentClientCertDetails { chain: true, ..Default::default() })
}

/// Headers with certificates in them: the service reads them, backends do not get them.
pub fn withheld(certificates: &ClientCertificates) -> Vec<String> {
    let own = (certificates.request != CertificateRequest::None).then(|| names::CLIENT_CERTIFICATE_HEADER.to_owned());
    own.into_iter().chain(certificates.header.as_ref().map(|header| header.name.clone())).collect()
}

/// The APIs that ask for certificates, where none can arrive: whoever calls them would be refused for ever. In words, with the
/// place of the declaration.
pub fn unheard(model: &Model, settings: &Settings) -> Vec<String> {
    if settings.client_certificates.can_arrive() {
        return Vec::new();
    }
    asking(model).map(|api| in_words(model, api)).collect()
}

/// The APIs that ask for certificates, and for which nobody's are good, in the same words.
pub fn untrusting(model: &Model, settings: &Settings) -> Vec<String> {
    let certificates = &settings.client_certificates;
    let nobodys = |api: &&Api| certificates.of(&api.name, &api.version).next().is_none();
    asking(model).filter(nobodys).map(|api| in_words(model, api)).collect()
}

fn asking(model: &Model) -> impl Iterator<Item = &Api> {
    model.apis.iter().filter(|api| api.operations.iter().any(|operation| asks(&operation.access)))
}

fn in_words(model: &Model, api: &Api) -> String {
    format!("{} {} ({})", api.name, api.version, model.locate(api.source))
}

fn asks(access: &Access) -> bool {
    let Access::Guarded(alternatives) = access else { return false };
    alternatives.iter().flat_map(|alternative| &alternative.0).any(is_certificate)
}

fn is_certificate(requirement: &Requirement) -> bool {
    matches!(requirement, Requirement::ClientCertificate { .. })
}

/// Whose certificates an operation takes; `None`: it does not ask for any.
pub fn trust(certificates: &ClientCertificates, api: &Api, access: &Access) -> Option<pb::ClientTrust> {
    asks(access).then(|| pb::ClientTrust { rules: certificates.of(&api.name, &api.version).map(rule).collect() })
}

pub fn header(certificates: &ClientCertificates) -> Option<pb::CertificateHeader> {
    let header = certificates.header.as_ref()?;
    let range = |(address, prefix): &(std::net::IpAddr, u8)| pb::AddressRange {
        address: match address {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        },
        prefix: u32::from(*prefix),
    };
    Some(pb::CertificateHeader {
        name: header.name.clone(),
        proxies: header.proxies.as_ref().map(|proxies| pb::ClientTrust { rules: vec![rule(proxies)] }),
        addresses: header.addresses.iter().map(range).collect(),
    })
}

fn rule(rule: &CertificateRule) -> pb::CertificateRule {
    pb::CertificateRule {
        pins: rule.pins.iter().map(|pin| pin.to_vec()).collect(),
        authorities: rule.authorities.clone(),
        names: rule.names.iter().map(name).collect(),
        subjects: rule.subjects.iter().map(subject).collect(),
    }
}

fn name(name: &AlternativeName) -> pb::AlternativeName {
    use pb::alternative_name::Kind;
    let (kind, name) = match name {
        AlternativeName::Dns(name) => (Kind::Dns, name),
        AlternativeName::Uri(name) => (Kind::Uri, name),
        AlternativeName::Email(name) => (Kind::Email, name),
    };
    pb::AlternativeName { kind: kind.into(), name: name.clone() }
}

fn subject(Subject(attributes): &Subject) -> pb::Subject {
    let attribute = |(oid, value): &(String, String)| pb::Attribute { oid: oid.clone(), value: value.clone() };
    pb::Subject { attributes: attributes.iter().map(attribute).collect() }
}
