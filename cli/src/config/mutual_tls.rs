//! `[mutualSSLConfig]`: certificates of clients.

use std::net::IpAddr;
use std::path::PathBuf;

use microgw_compiler::names;
use microgw_compiler::settings::{AlternativeName, Subject};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::tls::{self, Trust};
use super::values::Values;

/// Without what is read from files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    pub request: Request,
    pub apis: Vec<ApiCertificates>,
    /// Lower-case.
    pub header: String,
    /// `None`: nobody may send the header.
    pub proxies: Option<Proxies>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Request {
    #[default]
    None,
    Optional,
    Required,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCertificates {
    pub name: String,
    pub version: String,
    pub good: Good,
}

/// Whose certificates are good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Good {
    /// Of the trust store.
    pub aliases: Vec<String>,
    /// PEM.
    pub certificates: Option<PathBuf>,
    pub authority_aliases: Vec<String>,
    pub authorities: Option<PathBuf>,
    pub names: Vec<AlternativeName>,
    pub subjects: Vec<Subject>,
}

/// Who ends TLS in front of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxies {
    Certified(Good),
    At(Vec<(IpAddr, u8)>),
}

const VERIFY: &str = "mutualSSLConfig.sslVerifyClient";
const CERTIFICATES: &str = "mutualSSLConfig.api.certificates";
const HEADER: &str = "mutualSSLConfig.certificateHeaderName";
const VALIDATED: &str = "mutualSSLConfig.isClientCertificateValidationEnabled";
const PROXY: &str = "mutualSSLConfig.proxy";
const ADDRESSES: &str = "mutualSSLConfig.proxy.addresses";

/// Attributes by the names that people write, RFC 4514 section 3 and what OpenSSL and Java add.
const ATTRIBUTES: [(&str, &str); 13] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("GN", "2.5.4.42"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

pub fn read(values: &Values, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> ClientCertificates {
    let mut apis = Vec::new();
    for entry in values.entries(CERTIFICATES) {
        let text = |key: &str| values.text(&format!("{entry}.{key}"));
        let (name, version) = (text("name"), text("version"));
        if name.is_empty() || version.is_empty() {
            let message = format!("`{entry}` needs the `name` and the `version` of an API; `*` stands for every one");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message));
        }
        if let Some(good) = good(values, &entry, trust, problems) {
            apis.push(ApiCertificates { name, version, good });
        } else {
            let message = format!("`{entry}` names no certificate and no authority: nobody could call the API");
            let help = "give it an `aliasList`, a `certificatePath`, a `caAliasList` or a `caPath`";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message).help(help));
        }
    }
    let request = match values.text(VERIFY).as_str() {
        "require" => Request::Required,
        "optional" => Request::Optional,
        // Who says whose certificates are good wants to see them.
        _ if !values.is_given(VERIFY) && !apis.is_empty() => Request::Optional,
        _ => Request::None,
    };
    if request == Request::Required && apis.is_empty() {
        let message = format!(
            "`{VERIFY} = \"require\"` needs `[[{CERTIFICATES}]]`: clients are told whose certificates to choose"
        );
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(VERIFY), message));
    }
    ClientCertificates {
        request,
        apis,
        header: header(values, problems),
        proxies: proxies(values, trust, request, problems),
    }
}

fn header(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> String {
    let name = values.text(HEADER);
    names::credential_header(&name).unwrap_or_else(|error| {
        let message = format!("`{HEADER}` is `{name}`, which cannot carry a certificate: {error}");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(HEADER), message));
        String::new()
    })
}

/// One way to know them, as the switch says: a certificate must not count less because an address is trusted as well.
fn proxies(values: &Values, trust: &Trust, request: Request, problems: &mut Vec<ConfigDiagnostic>) -> Option<Proxies> {
    let certified = good(values, PROXY, trust, problems);
    let addresses = values.list(ADDRESSES);
    if !values.bool(VALIDATED) {
        if let Some(given) = values.members(PROXY).iter().find(|member| **member != "addresses") {
            let path = format!("{PROXY}.{given}");
            let message = format!("`{path}` has no effect: `{VALIDATED}` is `false`");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&path), message));
        }
        if addresses.is_empty() {
            let message =
                format!("`{VALIDATED} = false` needs `{ADDRESSES}`: otherwise anybody could send any certificate");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(VALIDATED), message));
            return None;
        }
        let ranges = addresses.iter().map(|text| {
            let range = range(text);
            if range.is_none() {
                let message = format!(
                    "`{ADDRESSES}` has `{text}` in it, which is neither an address nor a range such as `10.0.0.0/8`"
                );
                problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(ADDRESSES), message));
            }
            range
        });
        return ranges.collect::<Option<Vec<_>>>().map(Proxies::At);
    }
    if !addresses.is_empty() {
        let message = format!("`{ADDRESSES}` has no effect: `{VALIDATED}` is `true`");
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(ADDRESSES), message));
    }
    if certified.is_some() && request == Request::None {
        let message = format!("`[{PROXY}]` names certificates, and `{VERIFY}` lets nobody show one");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin(PROXY), message));
    }
    if certified.is_none() && values.is_given(HEADER) {
        let message = format!("`{HEADER}` has no effect: `[{PROXY}]` names no proxy that may send it, so nobody may");
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(HEADER), message));
    }
    certified.map(Proxies::Certified)
}

/// `None`: no certificate would be.
fn good(values: &Values, entry: &str, trust: &Trust, problems: &mut Vec<ConfigDiagnostic>) -> Option<Good> {
    let at = |key: &str| format!("{entry}.{key}");
    for path in [at("aliasList"), at("caAliasList")] {
        if trust.services.is_none() && !values.list(&path).is_empty() {
            problems.push(tls::no_store_for(values, &path));
        }
    }
    let mut names = Vec::new();
    for text in values.list(&at("sans")) {
        if let Some(name) = alternative_name(&text) {
            names.push(name);
        } else {
            let path = at("sans");
            let message = format!(
                "`{path}` has `{text}` in it, which is not `DNS:name`, `URI:scheme:...` or `email:local@domain`: names are compared whole"
            );
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), message));
        }
    }
    let mut subjects = Vec::new();
    for text in values.list(&at("subjects")) {
        if let Some(subject) = subject(&text) {
            subjects.push(subject);
        } else {
            let path = at("subjects");
            let known = ATTRIBUTES.map(|(name, _)| name).join(", ");
            let message = format!("`{path}` has `{text}` in it, which is no subject such as `CN=shop,O=Example`");
            let help = format!(
                "attributes are {known}, or object identifiers; `\\` stands before a comma that belongs to a value"
            );
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), message).help(help));
        }
    }
    let good = Good {
        aliases: values.list(&at("aliasList")),
        certificates: values.path(&at("certificatePath")),
        authority_aliases: values.list(&at("caAliasList")),
        authorities: values.path(&at("caPath")),
        names,
        subjects,
    };
    let names_any = !good.aliases.is_empty() || !good.authority_aliases.is_empty();
    (names_any || good.certificates.is_some() || good.authorities.is_some()).then_some(good)
}

/// An address, or those that begin as it does.
pub fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |prefix| prefix.trim().parse().ok())?;
    (prefix <= most).then_some((address, prefix))
}

fn alternative_name(text: &str) -> Option<AlternativeName> {
    let (kind, name) = text.split_once(':')?;
    let whole = !name.is_empty() && !name.contains('*') && name.chars().all(|character| character.is_ascii_graphic());
    match kind.to_ascii_lowercase().as_str() {
        _ if !whole => None,
        "dns" => Some(AlternativeName::Dns(name.to_owned())),
        "uri" => name.contains(':').then(|| AlternativeName::Uri(name.to_owned())),
        "email" => name.contains('@').then(|| AlternativeName::Email(name.to_owned())),
        _ => None,
    }
}

/// `CN=shop,O=Example`, with `\` before a character that is none of the form's.
fn subject(text: &str) -> Option<Subject> {
    let mut attributes = Vec::new();
    let mut part = (String::new(), None::<String>);
    let mut characters = text.chars();
    loop {
        let character = characters.next();
        match character {
            Some(',') | None => {
                let (name, value) = std::mem::take(&mut part);
                let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())?;
                attributes.push((identifier(name.trim())?, value));
                if character.is_none() {
                    return Some(Subject(attributes));
                }
            }
            Some('=') if part.1.is_none() => part.1 = Some(String::new()),
            Some(character) => {
                let character = if character == '\\' { characters.next()? } else { character };
                part.1.as_mut().unwrap_or(&mut part.0).push(character);
            }
        }
    }
}

fn identifier(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if let Some((_, oid)) = ATTRIBUTES.iter().find(|(known, _)| *known == upper) {
        return Some((*oid).to_owned());
    }
    let numbers = name.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    (numbers && name.contains('.')).then(|| name.to_owned())
}

#[cfg(test)]
#[path = "mutual_tls_tests.rs"]
mod tests;
