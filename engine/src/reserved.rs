//! What nobody sets in requests but clients, who are judged by it, and the gateway itself.

use microgw_transforms::editable::alike;

use crate::backend_jwt::Terms;
use crate::policy::Policy;
use crate::realm::Realm;
use crate::rules::Phases;

/// The backend is to answer in full, and readably.
pub(crate) const ACCEPTED: &str = "accept-encoding";
pub(crate) const UNREADABLE: [&str; 2] = ["range", "if-range"];

/// Of one rule, for whatever changes its requests.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// Lower-case.
    pub(crate) headers: Box<[Box<str>]>,
    /// Query parameters with credentials.
    pub(crate) parameters: Box<[Box<str>]>,
}

// === impl Reserved ===

impl Reserved {
    pub(crate) fn of(policy: &Policy, realm: &Realm, backend_jwt: Option<&Terms>, phases: &Phases) -> Reserved {
        let told = realm.identity_headers.iter().map(|told| told.name().into());
        let signed = backend_jwt.map(|terms| terms.header().into());
        let readable = phases.response_body.then(|| [ACCEPTED].into_iter().chain(UNREADABLE).map(Into::into));
        let headers = policy.credential_headers.iter().cloned().chain(told).chain(signed);
        Reserved {
            headers: headers.chain(readable.into_iter().flatten()).collect(),
            parameters: policy.credential_parameters.clone(),
        }
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|reserved| alike(name, reserved))
    }
}
