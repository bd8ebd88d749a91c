//! TLS, on the side of clients and on that of backends.

use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    TlsParameters, UpstreamTlsContext, subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::wire::{any, no, yes};
use super::{ads, names};
use crate::settings::{CertificateRequest, Listeners, TlsRange, TlsVersion, Verification};

/// What clients meet; the certificate arrives as a secret of that name.
pub fn presented(listeners: &Listeners, request: &CertificateRequest, identity: &str) -> TransportSocket {
    let protocols: &[&str] = if listeners.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters(&listeners.tls)),
            tls_certificate_sds_secret_configs: vec![secret(identity)],
            alpn_protocols: protocols.iter().map(|&protocol| protocol.to_owned()).collect(),
            validation_context_type: of_clients(request),
            ..Default::default()
        }),
        // In words wherever clients are asked: what Envoy does without them is to change.
        require_client_certificate: match request {
            CertificateRequest::None => None,
            CertificateRequest::Optional => no(),
            CertificateRequest::Required(_) => yes(),
        },
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&context))),
    }
}

/// Every certificate is let in whose key the client has: whether it is good is judged for each request, where it can be
/// answered. Envoy insists on one only where it knows authorities.
fn of_clients(request: &CertificateRequest) -> Option<ValidationContextType> {
    let anybody = CertificateValidationContext {
        trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
        ..Default::default()
    };
    Some(match request {
        CertificateRequest::None => return None,
        CertificateRequest::Optional => ValidationContextType::ValidationContext(anybody),
        CertificateRequest::Required(_) => {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(anybody),
                validation_context_sds_secret_config: Some(secret(names::CLIENT_AUTHORITIES_SECRET)),
                ..Default::default()
            })
        }
    })
}

/// With the backend's name in SNI (Envoy's `auto_host_sni` would send the port along); its certificate must chain to a
/// trusted authority, which arrives as a secret, and be for that name. (Envoy's `system_root_certs` does not go with a
/// check of names.)
pub fn to_backend(host: &str, terms: &Terms<'_>, naming: Naming) -> TransportSocket {
    upstream(host, terms, &[], naming)
}

/// The same, always verified: credentials may go there.
pub fn to_collector(host: &str, range: &TlsRange, alpn: &str) -> TransportSocket {
    let trust = Some(names::BACKEND_TRUST_SECRET);
    let terms = Terms { range, identity: None, trust, verification: Verification::Full };
    upstream(host, &terms, &[alpn], Naming::Fixed)
}

/// What backends are met with.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub range: &'a TlsRange,
    /// Names of secrets: what is presented, and whom certificates must come from. `None`: nothing, and anybody.
    pub identity: Option<&'a str>,
    pub trust: Option<&'a str>,
    pub verification: Verification,
}

/// Whose name is sent and verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Fixed,
    /// Names are found out later: each host is asked for by its own, which Envoy knows with its address, and its certificate must be for
    /// that. The name that is given is that of those that have none.
    ByHost,
}

fn upstream(host: &str, terms: &Terms<'_>, alpn: &[&str], naming: Naming) -> TransportSocket {
    let Terms { range, identity, trust, verification } = *terms;
    // An address is no server name (RFC 6066 section 3).
    let sni = if host.parse::<IpAddr>().is_ok() { String::new() } else { host.to_owned() };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters(range)),
            tls_certificate_sds_secret_configs: identity.map(secret).into_iter().collect(),
            alpn_protocols: alpn.iter().map(|&protocol| protocol.to_owned()).collect(),
            validation_context_type: trust.and_then(|trust| validation(host, trust, verification)),
            ..Default::default()
        }),
        sni,
        auto_host_sni: naming == Naming::ByHost,
        auto_sni_san_validation: naming == Naming::ByHost && verification == Verification::Full,
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&context))),
    }
}

fn validation(host: &str, trust: &str, verification: Verification) -> Option<ValidationContextType> {
    let authorities = secret(trust);
    Some(match verification {
        Verification::Full => ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
            default_validation_context: Some(CertificateValidationContext {
                match_typed_subject_alt_names: vec![subject(host)],
                ..Default::default()
            }),
            validation_context_sds_secret_config: Some(authorities),
            ..Default::default()
        }),
        Verification::AnyName => ValidationContextType::ValidationContextSdsSecretConfig(authorities),
        Verification::Nothing => return None,
    })
}

fn subject(host: &str) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: if host.parse::<IpAddr>().is_ok() { SanType::IpAddress } else { SanType::Dns }.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(host.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Both ends are named: by itself Envoy offers backends no TLS 1.3.
fn parameters(range: &TlsRange) -> TlsParameters {
    let version = |version| match version {
        TlsVersion::V12 => TlsProtocol::TlSv12,
        TlsVersion::V13 => TlsProtocol::TlSv13,
    };
    TlsParameters {
        tls_minimum_protocol_version: version(range.least).into(),
        tls_maximum_protocol_version: version(range.most).into(),
        cipher_suites: range.ciphers.clone(),
        ..Default::default()
    }
}

pub fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) }
}
