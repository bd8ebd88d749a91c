//! What expressions may name.

use std::borrow::Cow;

use crate::check::Kind;

/// Something about a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    Method,
    /// Without its query.
    Path,
    Host,
    Scheme,
    /// By its lower-case name.
    Header(Box<str>),
    /// Its values, by the parameter's name.
    Query(Box<str>),
    Address,
    /// The address, or all that a host of IPv6 has. Of keys alone.
    Network,
    Subject,
    Client,
    /// By its name.
    Application,
    /// Of keys alone.
    ApplicationId,
    Tier,
    Scopes,
    KeyType,
    Claim(Box<str>),
    ApiName,
    ApiVersion,
    ApiBasePath,
    /// Method and path template.
    Operation,
    /// Of a response.
    Status,
    /// Of a response, by its lower-case name.
    ResponseHeader(Box<str>),
    /// Whether there is such a header, parameter or claim.
    Present(Box<Variable>),
}

/// What a request has for a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Absent,
    /// It is there, or ought to be, and nobody can tell which it is: no expression that needs it has a result.
    Unclear,
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

/// What is known of a request.
pub trait Variables: Sync {
    /// Never asked for [`Variable::Present`].
    fn get(&self, variable: &Variable) -> Value<'_>;
}

// === impl Variable ===

impl Variable {
    /// By the names that lead to it; `Err`: they lead to several things of which one must be named.
    pub(crate) fn find(path: &[&str]) -> Option<Result<Variable, &'static str>> {
        let named = |map: &'static str, path: &[&str], variable: fn(Box<str>) -> Variable| match path {
            [] => Err(map),
            [name] => Ok(variable((*name).into())),
            _ => Ok(Variable::Operation),
        };
        Some(Ok(match path {
            ["request", "headers", rest @ ..] if rest.len() < 2 => {
                return Some(named("request.headers", rest, |name| Variable::Header(name.to_ascii_lowercase().into())));
            }
            ["response", "headers", rest @ ..] if rest.len() < 2 => {
                let header = |name: Box<str>| Variable::ResponseHeader(name.to_ascii_lowercase().into());
                return Some(named("response.headers", rest, header));
            }
            ["request", "query", rest @ ..] if rest.len() < 2 => {
                return Some(named("request.query", rest, Variable::Query));
            }
            ["caller", "claims", rest @ ..] if rest.len() < 2 => {
                return Some(named("caller.claims", rest, Variable::Claim));
            }
            ["request", "method"] => Variable::Method,
            ["request", "path"] => Variable::Path,
            ["request", "host"] => Variable::Host,
            ["request", "scheme"] => Variable::Scheme,
            ["client", "ip"] => Variable::Address,
            ["caller", "subject"] => Variable::Subject,
            ["caller", "client"] => Variable::Client,
            ["caller", "application"] => Variable::Application,
            ["caller", "tier"] => Variable::Tier,
            ["caller", "scopes"] => Variable::Scopes,
            ["caller", "keyType"] => Variable::KeyType,
            ["api", "name"] => Variable::ApiName,
            ["api", "version"] => Variable::ApiVersion,
            ["api", "basePath"] => Variable::ApiBasePath,
            ["operation"] => Variable::Operation,
            ["response", "status"] => Variable::Status,
            _ => return None,
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Variable::Query(_) | Variable::Scopes => Kind::List,
            Variable::Claim(_) => Kind::Any,
            Variable::Present(_) => Kind::Boolean,
            Variable::Status => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// Is there for some requests only.
    pub(crate) fn may_be_absent(&self) -> bool {
        matches!(self, Variable::Header(_) | Variable::Query(_) | Variable::Claim(_) | Variable::ResponseHeader(_))
    }

    /// As it is written; `None`: there is none before a response has come.
    pub(crate) fn of_response(&self) -> Option<&'static str> {
        match self {
            Variable::Status => Some("response.status"),
            Variable::ResponseHeader(_) => Some("response.headers"),
            Variable::Present(variable) => variable.of_response(),
            _ => None,
        }
    }
}
