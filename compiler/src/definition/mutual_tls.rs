//! `x-wso2-mutual-ssl`: certificates of clients, beside whatever else an API asks for.

use super::shape::one_of;
use crate::compile::Report;
use crate::model::{Access, Alternative, Requirement};
use crate::source::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MutualTls {
    Mandatory,
    /// A client may come without one. It may not come with a bad one.
    Optional,
}

pub(super) fn read(report: &mut Report, root: Value<'_>) -> Option<MutualTls> {
    let at = root.get("x-wso2-mutual-ssl")?;
    match one_of(report, "x-wso2-mutual-ssl", at, &["mandatory", "optional"])? {
        "mandatory" => Some(MutualTls::Mandatory),
        _ => Some(MutualTls::Optional),
    }
}

// === impl MutualTls ===

impl MutualTls {
    /// Each alternative asks for the certificate, too, and first: it is the cheapest to judge. What is open to all without
    /// it is open to those with a good one.
    pub(super) fn beside(self, access: Access) -> Access {
        let own = Requirement::ClientCertificate { optional: self == MutualTls::Optional };
        let insists = Requirement::ClientCertificate { optional: false };
        let beside = |Alternative(requirements): Alternative| {
            let others = requirements.into_iter().filter(|other| *other != own);
            let mut requirements: Vec<_> = others.collect();
            if !requirements.contains(&insists) {
                requirements.insert(0, own.clone());
            }
            Alternative(requirements)
        };
        match access {
            Access::Public => Access::Guarded(vec![Alternative(vec![own])]),
            Access::Guarded(alternatives) => Access::Guarded(alternatives.into_iter().map(beside).collect()),
        }
    }
}
