//! What a decision says about itself to Envoy's access log and traces, beside its answer.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use microgw_engine::{Decision, Identity};

/// Where ext_authz puts what decisions say: one place for whoever reads it, whichever filter asked.
pub(crate) const NAMESPACE: &str = "envoy.filters.http.ext_authz";
/// In the place of a reason: nobody is refused.
const RESPONDED: &str = "responded";
/// Bytes of a name that are told: nobody's fills a log.
const MAX_TEXT: usize = 256;

/// How much is told. What nobody reads costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Description {
    #[default]
    Nothing,
    /// The reason of a denial, the policy that denies or whose quota is exceeded, and the type of the caller's key.
    Outcome,
    /// Also who called. Never the credential.
    Caller,
}

// === impl Description ===

impl Description {
    pub(crate) fn of(self, decision: &Decision<'_>) -> Option<Struct> {
        let (reason, identity) = match decision {
            Decision::Allow(allow) => (None, Some(&*allow.identity)),
            Decision::Respond(respond) => (Some(RESPONDED), Some(&*respond.identity)),
            Decision::Deny(deny) => (Some(deny.reason.as_str()), deny.identity.as_deref()),
        };
        if self == Description::Nothing {
            return None;
        }
        let mut fields = HashMap::with_capacity(6);
        let mut put = |name: &str, text: &str| {
            let value = Value { kind: Some(Kind::StringValue(bounded(text).to_owned())) };
            fields.insert(name.to_owned(), value);
        };
        if let Some(reason) = reason {
            put("reason", reason);
        }
        if let Some(limit) = decision.exceeded() {
            put("exceeded", &limit.policy);
        }
        if let Decision::Deny(deny) = decision
            && let Some(policy) = deny.policy
        {
            put("denied_by", policy);
        }
        if let Some(identity) = identity {
            put("key_type", identity.key_type().as_str());
            if self == Description::Caller {
                let claims = [
                    ("caller", Identity::subject as fn(&Identity) -> Option<&str>),
                    ("client_id", Identity::client),
                    ("key_id", Identity::key_id),
                ];
                for (name, claim) in claims {
                    if let Some(text) = claim(identity) {
                        put(name, text);
                    }
                }
                if let Some(thumbprint) = identity.certificate() {
                    put("certificate", &URL_SAFE_NO_PAD.encode(thumbprint));
                }
            }
        }
        Some(Struct { fields })
    }
}

pub(crate) fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}
