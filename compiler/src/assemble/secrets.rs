//! Keys and certificate authorities, for Envoy's secret discovery.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, GenericSecret, Secret, TlsCertificate,
};
use prost::Message as _;

use super::names;
use super::wire::resource;
use crate::settings::{Listeners, TlsIdentity, TrustStore};
use crate::snapshot::Resource;

/// What listeners present.
pub fn presented(listeners: &Listeners) -> BTreeMap<Arc<str>, Resource> {
    let listed = listeners.certificates.iter().enumerate();
    let listed = listed.map(|(index, listed)| (names::listed_secret(index), &listed.identity));
    std::iter::once((names::IDENTITY_SECRET.to_owned(), &listeners.identity))
        .chain(listed)
        .map(|(name, pair)| (name.as_str().into(), identity(&name, pair)))
        .collect()
}

/// What is presented, to clients or to backends.
pub fn identity(name: &str, identity: &TlsIdentity) -> Resource {
    secret(
        name,
        Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(&identity.certificate_chain)),
            private_key: Some(inline(&identity.private_key)),
            ..Default::default()
        }),
    )
}

/// Whom certificates must come from, or may.
pub fn trust(name: &str, store: &TrustStore) -> Resource {
    secret(
        name,
        Type::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(inline(&store.0)),
            ..Default::default()
        }),
    )
}

/// A text for a header.
pub fn generic(name: &str, text: &str) -> Resource {
    secret(name, Type::GenericSecret(GenericSecret { secret: Some(inline(text)), ..Default::default() }))
}

fn secret(name: &str, kind: Type) -> Resource {
    let secret = Secret { name: name.to_owned(), r#type: Some(kind) };
    resource(secret.encode_to_vec(), Vec::new())
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() }
}
