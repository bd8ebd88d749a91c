//! `[[httpClients.tlsProfiles]]`: other certificates and authorities, for endpoints that ask for them by name.

use microgw_compiler::settings::TlsRange;
use microgw_compiler::traffic::is_profile_name;

use super::ciphers;
use super::diagnostic::{Code, ConfigDiagnostic};
use super::tls::{self, IdentityFiles, Store, Trust};
use super::values::Values;

/// Without what is read from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProfile {
    pub name: String,
    /// `None`: the system's authorities.
    pub trust: Option<Store>,
    /// `None`: nothing is presented.
    pub identity: Option<IdentityFiles>,
    pub range: TlsRange,
}

const SECTION: &str = "httpClients.tlsProfiles";

pub fn read(values: &Values, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Vec<TlsProfile> {
    let mut profiles: Vec<TlsProfile> = Vec::new();
    for entry in values.entries(SECTION) {
        let at = |key: &str| format!("{entry}.{key}");
        let name = values.text(&at("name"));
        if !is_profile_name(&name) {
            let message = format!("`{}` must be letters, digits, `-` and `_`, at most 64", at("name"));
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message));
        } else if profiles.iter().any(|known| known.name == name) {
            let message = format!("`{}` is `{name}`, as that of another profile is", at("name"));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at("name")), message));
        }
        let instead = "backends are verified as all others are";
        let own = tls::store(values, &at("trustStorePath"), &at("trustStorePassword"), instead, problems);
        profiles.push(TlsProfile {
            name,
            trust: own.or_else(|| trust.backends.clone()),
            identity: tls::identity(values, &entry, problems),
            range: ciphers::range(values, &entry, problems),
        });
    }
    profiles
}

#[cfg(test)]
#[path = "tls_profiles_tests.rs"]
mod tests;
