//! Programs that messages go through, and what they are told and say. Whoever hosts the engine runs them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use microgw_expressions::{Value, Variable, Variables};
use microgw_proto::interceptors::v1 as proto;
use microgw_proto::rules::v1::{Rule, RuleBook};
use microgw_transforms::parameters::PathParameters;
use microgw_transforms::{Direction, Message, Terms};
use sha2::{Digest as _, Sha256};

use crate::limits::{Interest, Request};
use crate::reason::Reason;
use crate::reserved::Reserved;
use crate::rules::{Api, LoadError};

/// A program.
#[derive(Debug, PartialEq, Eq)]
pub struct Interceptor {
    pub name: Box<str>,
    pub program: Program,
    /// For one call.
    pub timeout: Duration,
    /// Bodies are brought along.
    pub request_body: bool,
    pub response_body: bool,
    /// Of tokens, beside what every program is told of callers.
    claims: Box<[Box<str>]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A WebAssembly component.
    Component {
        /// SHA-256 of its code.
        digest: [u8; 32],
        code: Bytes,
        /// Bytes of all its memories together.
        max_memory: usize,
    },
    /// Asked over HTTP.
    Service { url: Box<str> },
}

/// One call of a program.
#[derive(Debug)]
pub struct Interception {
    pub interceptor: Arc<Interceptor>,
    /// A JSON object, or empty.
    pub parameters: Arc<str>,
    pub direction: Direction,
    /// As it is now, without credentials.
    pub message: Message,
    /// What a response answers: as the client sent it, without credentials and body.
    pub asked: Option<Arc<Message>>,
    pub about: Arc<About>,
    /// What programs of this exchange tell each other.
    pub attributes: Attributes,
    is_matched_again: bool,
    reserved: Arc<Reserved>,
    /// The response answers HEAD, or the request is one.
    is_head: bool,
}

pub type Attributes = BTreeMap<String, String>;

/// What is known of an exchange, and does not change.
#[derive(Debug)]
pub struct About {
    pub api: Arc<Api>,
    /// Method and path template with the base path: `GET /v2/pet/{petId}`.
    pub operation: Box<str>,
    /// `http` or `https`.
    pub scheme: Box<str>,
    pub host: Box<str>,
    /// Of the client.
    pub address: Option<IpAddr>,
    pub caller: CallerFacts,
    /// Decoded.
    pub path_parameters: Vec<(Box<str>, String)>,
}

/// Who calls, as far as it is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CallerFacts {
    pub subject: Option<String>,
    /// The OAuth2 client.
    pub client: Option<String>,
    pub application: Option<String>,
    pub tier: Option<String>,
    pub scopes: Vec<String>,
    /// `PRODUCTION` or `SANDBOX`.
    pub key_type: Option<String>,
    /// By name, as JSON; those that the interceptor asks for.
    pub claims: Vec<(Box<str>, String)>,
}

/// What a program says.
#[derive(Debug)]
pub enum Verdict {
    /// The message goes on, as it is now.
    Continue { message: Message, attributes: Attributes },
    /// The client is answered this: the message goes no further.
    Respond(Message),
    /// It cannot be used: it crashed, took too long, or said something that makes no sense.
    Failed(InterceptorFailure),
}

/// A closed list. None of them says anything of what the message has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InterceptorFailure {
    #[error("it crashed")]
    Trap,
    #[error("it took too long")]
    Timeout,
    #[error("it took too long, together with what came before it")]
    Late,
    #[error("it took too much memory")]
    Memory,
    #[error("it says that it failed")]
    Error,
    #[error("it answered something that is none of the answers it has")]
    Malformed,
    #[error("it could not be reached")]
    Unreachable,
    #[error("there was no room for what it is asked or answers: too much is under way")]
    Crowded,
    #[error("this program cannot run it")]
    NotHosted,
}

/// Programs of one rule, in the order in which they run.
#[derive(Debug)]
pub(crate) struct Interceptors {
    pub(crate) request: Box<[Use]>,
    pub(crate) response: Box<[Use]>,
    /// For all calls about a request, and about a response.
    times: [Duration; 2],
    path: PathParameters,
    is_matched_again: bool,
    reserved: Arc<Reserved>,
}

#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) interceptor: Arc<Interceptor>,
    pub(crate) parameters: Arc<str>,
    pub(crate) source: Box<str>,
}

/// Those of a book, each once.
pub(crate) struct Programs(Vec<Arc<Interceptor>>);

/// The programs of a book.
///
/// # Errors
/// One of them is malformed.
pub fn load(book: &RuleBook) -> Result<Vec<Arc<Interceptor>>, LoadError> {
    book.interceptors.iter().map(|program| Interceptor::load(program).map(Arc::new)).collect()
}

// === impl Interceptor ===

impl Interceptor {
    fn load(interceptor: &proto::Interceptor) -> Result<Interceptor, LoadError> {
        let program = match &interceptor.host {
            Some(proto::interceptor::Host::Component(component)) => Program::Component {
                digest: Sha256::digest(&component.code).into(),
                code: component.code.clone(),
                max_memory: usize::try_from(component.max_memory).unwrap_or(usize::MAX),
            },
            Some(proto::interceptor::Host::Service(service)) => Program::Service { url: service.url.as_str().into() },
            None => return Err(LoadError::Interceptor),
        };
        let claims: Vec<Box<str>> = interceptor.claims.iter().map(|name| name.as_str().into()).collect();
        Ok(Interceptor {
            name: interceptor.name.as_str().into(),
            program,
            timeout: Duration::from_millis(interceptor.timeout_milliseconds.into()),
            request_body: interceptor.request_body,
            response_body: interceptor.response_body,
            claims: claims.into(),
        })
    }
}

// === impl Programs ===

impl Programs {
    pub(crate) fn load(book: &RuleBook) -> Result<Programs, LoadError> {
        load(book).map(Programs)
    }

    /// Adds what they look at.
    pub(crate) fn looks_at(&self, interest: &mut Interest) {
        self.0.iter().flat_map(|program| &program.claims).for_each(|name| interest.in_claim(name));
        // Each may ask by which application somebody calls.
        interest.subscriptions |= !self.0.is_empty();
    }

    /// `None`: there are none.
    pub(crate) fn of(
        &self,
        rule: &Rule,
        api: &Api,
        reserved: Option<&Arc<Reserved>>,
    ) -> Result<Option<Interceptors>, LoadError> {
        let Some(uses) = &rule.interceptors else { return Ok(None) };
        let read = |uses: &[proto::Use]| {
            let read = uses.iter().map(|one| {
                let interceptor = self.0.get(one.interceptor as usize).ok_or(LoadError::Interceptor)?;
                Ok(Use {
                    interceptor: Arc::clone(interceptor),
                    parameters: one.parameters.as_str().into(),
                    source: one.source.as_str().into(),
                })
            });
            read.collect::<Result<Box<[Use]>, LoadError>>()
        };
        let (request, response) = (read(&uses.request)?, read(&uses.response)?);
        if request.is_empty() && response.is_empty() {
            return Ok(None);
        }
        // Nobody would call them.
        let (phases, reserved) = rule.phases.as_ref().zip(reserved).ok_or(LoadError::Interceptor)?;
        let reserved = Arc::clone(reserved);
        let path = rule.path.strip_prefix(&*api.base_path).unwrap_or(&rule.path);
        let (path, is_matched_again) = (PathParameters::of(path), phases.matched_again);
        let times = [&request, &response].map(|uses| uses.iter().map(|one| one.interceptor.timeout).sum());
        Ok(Some(Interceptors { request, response, times, path, is_matched_again, reserved }))
    }
}

// === impl Interceptors ===

impl Interceptors {
    pub(crate) fn uses(&self, direction: Direction) -> &[Use] {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    pub(crate) fn time(&self, direction: Direction) -> Duration {
        let [request, response] = self.times;
        match direction {
            Direction::Request => request,
            Direction::Response => response,
        }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Arc<Interceptor>> {
        self.request.iter().chain(&self.response).map(|one| &one.interceptor)
    }

    /// One call of `one`, with the message as it is now.
    pub(crate) fn call(
        &self,
        one: &Use,
        direction: Direction,
        message: Message,
        asked: Option<Arc<Message>>,
        about: Arc<About>,
        attributes: Attributes,
    ) -> Interception {
        let is_head = asked.as_deref().unwrap_or(&message).method() == "HEAD";
        Interception {
            interceptor: Arc::clone(&one.interceptor),
            parameters: Arc::clone(&one.parameters),
            direction,
            message,
            asked,
            about,
            attributes,
            is_matched_again: self.is_matched_again,
            reserved: Arc::clone(&self.reserved),
            is_head,
        }
    }

    pub(crate) fn about(&self, request: &Request<'_>, operation: &str) -> About {
        let head = request.head;
        let path = head.map_or("", |head| head.path);
        let api = &request.rule.api;
        let below = path.strip_prefix(&*api.base_path).unwrap_or(path);
        let named = |name: &str| Some((name.into(), self.path.get(below, name)?.into_owned()));
        let text = |variable: &Variable| match request.get(variable) {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        };
        let scopes = match request.get(&Variable::Scopes) {
            Value::Texts(scopes) => scopes.into_iter().map(Cow::into_owned).collect(),
            _ => Vec::new(),
        };
        let names = self.each().flat_map(|program| &program.claims);
        let claims: BTreeMap<&Box<str>, String> =
            names.filter_map(|name| Some((name, json(request.get(&Variable::Claim(name.clone())))?))).collect();
        About {
            api: Arc::clone(api),
            operation: operation.into(),
            scheme: head.map_or("", |head| head.scheme).into(),
            host: head.map_or("", |head| head.authority).into(),
            address: request.address(),
            caller: CallerFacts {
                subject: text(&Variable::Subject),
                client: text(&Variable::Client),
                application: text(&Variable::Application),
                tier: text(&Variable::Tier),
                scopes,
                key_type: text(&Variable::KeyType),
                claims: claims.into_iter().map(|(name, value)| (name.clone(), value)).collect(),
            },
            path_parameters: self.path.names().filter_map(named).collect(),
        }
    }
}

// === impl Interception ===

impl Interception {
    /// What its edits are held to.
    pub fn terms(&self) -> Terms<'_> {
        let Interceptor { request_body, response_body, .. } = *self.interceptor;
        Terms {
            direction: self.direction,
            base_path: &self.about.api.base_path,
            is_head: self.is_head,
            is_matched_again: self.is_matched_again,
            reserved: &self.reserved.headers,
            reserved_parameters: &self.reserved.parameters,
            has_bodies: if self.direction == Direction::Request { request_body } else { response_body },
        }
    }

    /// Of the message, if this program is brought bodies: another rule's need of them shows it none.
    pub fn body(&self) -> Option<&[u8]> {
        self.message.body().filter(|_| self.terms().has_bodies)
    }

    /// The claims that this program asks for, by name, as JSON.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        let asked = |name: &str| self.interceptor.claims.iter().any(|own| **own == *name);
        let claims = &self.about.caller.claims;
        claims.iter().filter(move |(name, _)| asked(name)).map(|(name, value)| (&**name, value.as_str()))
    }
}

// === impl InterceptorFailure ===

impl InterceptorFailure {
    /// For metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            InterceptorFailure::Trap => "trap",
            InterceptorFailure::Timeout => "timeout",
            InterceptorFailure::Late => "late",
            InterceptorFailure::Memory => "memory",
            InterceptorFailure::Error => "error",
            InterceptorFailure::Malformed => "malformed",
            InterceptorFailure::Unreachable => "unreachable",
            InterceptorFailure::Crowded => "crowded",
            InterceptorFailure::NotHosted => "not_hosted",
        }
    }

    pub(crate) fn reason(self) -> Reason {
        match self {
            InterceptorFailure::Timeout | InterceptorFailure::Late => Reason::InterceptorTimeout,
            InterceptorFailure::Unreachable | InterceptorFailure::Crowded => Reason::InterceptorUnavailable,
            _ => Reason::InterceptorFailed,
        }
    }
}

/// `None`: nothing is known, or not which.
fn json(value: Value<'_>) -> Option<String> {
    let json = match value {
        Value::Absent | Value::Unclear => return None,
        Value::Text(text) => serde_json::Value::from(text.into_owned()),
        Value::Texts(texts) => texts.into_iter().map(|text| serde_json::Value::from(text.into_owned())).collect(),
        Value::Integer(number) => number.into(),
        Value::Number(number) => number.into(),
        Value::Boolean(value) => value.into(),
    };
    Some(json.to_string())
}
