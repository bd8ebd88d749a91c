//! The security schemes that a definition declares.

use super::Version;
use super::fields::{object, text};
use super::references::Resolver;
use super::shape::one_of;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::KeyLocation;
use crate::names;
use crate::source::Value;

/// The declared schemes, in the order of the definition.
pub(super) struct Schemes<'d>(Vec<(&'d str, Scheme)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// An access token: `oauth2`, `http` with `bearer` or `jwt`, `openIdConnect`.
    Token,
    /// `basic`, or `http` with `basic`.
    Basic,
    ApiKey {
        location: KeyLocation,
        name: String,
    },
    /// A client's certificate.
    MutualTls,
    /// What it is called in messages.
    Unenforceable(&'static str),
    /// Reported.
    Broken,
}

// === impl Schemes ===

impl<'d> Schemes<'d> {
    pub(super) fn of(
        report: &mut Report,
        resolver: &mut Resolver<'d>,
        root: Value<'d>,
        version: Version,
    ) -> Schemes<'d> {
        let (key, declared) = match version {
            Version::Swagger2 => ("securityDefinitions", root.get("securityDefinitions")),
            Version::OpenApi3 => {
                let components = root.get("components").and_then(|components| object(report, "components", components));
                ("securitySchemes", components.and_then(|components| components.get("securitySchemes")))
            }
        };
        let declared = declared.and_then(|declared| object(report, key, declared));
        let entries = declared.into_iter().flat_map(Value::entries).filter(|(name, _)| !name.text().starts_with("x-"));
        Schemes(entries.map(|(name, value)| (name.text(), read(report, resolver, name, value))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Scheme> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, scheme)| scheme)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'d str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// API keys, in declared order.
    pub(super) fn api_keys(&self) -> impl Iterator<Item = (KeyLocation, &str)> {
        self.0.iter().filter_map(|(_, scheme)| match scheme {
            Scheme::ApiKey { location, name } => Some((*location, name.as_str())),
            _ => None,
        })
    }
}

fn read<'d>(report: &mut Report, resolver: &mut Resolver<'d>, name: Value<'d>, value: Value<'d>) -> Scheme {
    let scheme = object(report, name.text(), value).and_then(|value| resolver.follow(report, value));
    scheme.and_then(|scheme| kind(report, name.text(), scheme)).unwrap_or(Scheme::Broken)
}

fn kind(report: &mut Report, name: &str, scheme: Value<'_>) -> Option<Scheme> {
    let Some(at) = scheme.get("type") else {
        report.say(Code::BadScheme, scheme, format!("the security scheme `{name}` has no `type`"));
        return None;
    };
    let kind = text(report, "type", at)?;
    match kind {
        "oauth2" | "openIdConnect" => Some(Scheme::Token),
        "basic" => Some(Scheme::Basic),
        "mutualTLS" => Some(Scheme::MutualTls),
        "apiKey" => api_key(report, name, scheme),
        "http" => {
            let Some(at) = scheme.get("scheme") else {
                report.say(Code::BadScheme, scheme, format!("the security scheme `{name}` has no `scheme`"));
                return None;
            };
            // RFC 9110 section 11.1: in any case.
            match text(report, "scheme", at)?.to_ascii_lowercase().as_str() {
                "bearer" | "jwt" => Some(Scheme::Token),
                "basic" => Some(Scheme::Basic),
                _ => Some(Scheme::Unenforceable("this HTTP authentication scheme")),
            }
        }
        _ => {
            let allowed = ["oauth2", "apiKey", "http", "openIdConnect", "mutualTLS", "basic"];
            one_of(report, "type", at, &allowed)?;
            None
        }
    }
}

fn api_key(report: &mut Report, scheme_name: &str, scheme: Value<'_>) -> Option<Scheme> {
    let (Some(place), Some(at)) = (scheme.get("in"), scheme.get("name")) else {
        report.say(Code::BadScheme, scheme, format!("the API key `{scheme_name}` needs both `in` and `name`"));
        return None;
    };
    let place = one_of(report, "in", place, &["header", "query", "cookie"])?;
    let name = text(report, "name", at)?;
    let key = match place {
        "header" => names::credential_header(name).map(|name| Scheme::ApiKey { location: KeyLocation::Header, name }),
        "query" => {
            names::query_name(name).map(|()| Scheme::ApiKey { location: KeyLocation::Query, name: name.to_owned() })
        }
        _ => names::cookie_name(name).map(|()| Scheme::ApiKey { location: KeyLocation::Cookie, name: name.to_owned() }),
    };
    key.map_err(|error| {
        report.say(Code::BadHeaderName, at, format!("`{name}` cannot carry an API key in the {place}: {error}"));
    })
    .ok()
}
