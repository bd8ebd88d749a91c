//! Rules in memory. Ten thousand cost a few megabytes: what rules have in common they share.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use microgw_proto::rules::v1 as proto;
use microgw_transforms::Direction;

use crate::answers::Answers;
use crate::backend_jwt::Terms;
use crate::interceptors::{Interceptors, Programs};
use crate::keep::Keep;
use crate::limits::{Loader, Plan};
use crate::policy::Policy;
use crate::realm::Realm;
use crate::reserved::Reserved;
use crate::transforms::{Loaded, Transforms};
use crate::validation::{Library, Validation};

/// Names a rule by its content. Written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u128);

#[derive(Debug, PartialEq, Eq)]
pub struct Api {
    pub name: Box<str>,
    pub version: Box<str>,
    pub base_path: Box<str>,
    /// On other hosts its base path may be another API's.
    pub of_hosts: bool,
}

/// What one guarded operation asks of its callers.
#[derive(Debug)]
pub struct Rule {
    pub(crate) api: Arc<Api>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) realm: Arc<Realm>,
    answers: Arc<Answers>,
    /// `None`: backends are sent no JWT of the gateway's own.
    pub(crate) backend_jwt: Option<Arc<Terms>>,
    /// What requests draw on. `None`: nothing.
    pub(crate) limits: Option<Box<Plan>>,
    beyond: Option<Box<Beyond>>,
    operation: Box<str>,
}

/// What a rule does with messages, beside deciding. Few rules do: one pointer for all of it.
#[derive(Debug, Default)]
struct Beyond {
    /// `None`: it looks at the request's head alone.
    phases: Option<Phases>,
    transforms: Option<Transforms>,
    /// What neither those nor programs set.
    reserved: Option<Arc<Reserved>>,
    /// What messages go through.
    interceptors: Option<Box<Interceptors>>,
    /// What messages are compared with.
    validation: Option<Box<Validation>>,
    /// For how long its responses are good for others.
    keep: Option<Box<Keep>>,
}

/// Messages of an exchange that follow the request's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each says something by itself.
pub struct Phases {
    /// Collected: something needs the whole.
    pub request_body: bool,
    pub response_head: bool,
    /// Comes with its head.
    pub response_body: bool,
    /// Bytes of a request's body, collected or not.
    pub max_request_body: usize,
    pub max_response_body: usize,
    /// A body is collected to be reported on, and for nothing else: one that is too long, or encoded, passes.
    pub request_optional: bool,
    pub response_optional: bool,
    /// Comes with its head, and is copied as it passes.
    pub response_copied: bool,
    /// Envoy keeps requests to send them again, and would send the body of one with trailers twice.
    pub retried: bool,
}

/// The rules of one generation.
pub type Rules = Vec<(RuleId, Arc<Rule>)>;

/// The book contradicts itself: nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("a rule's id has {0} bytes, not 16")]
    RuleId(usize),
    #[error("rule `{0}` refers to an API that the book does not have")]
    UnknownApi(RuleId),
    #[error("rule `{0}` refers to a policy that the book does not have")]
    UnknownPolicy(RuleId),
    #[error("an alternative of a policy asks for nothing")]
    EmptyAlternative,
    #[error("a requirement of a policy is of a kind that this version does not know")]
    UnknownRequirement,
    #[error("an API key requirement does not say where the key is found")]
    KeyLocation,
    #[error("`{0}` is not a header name in lower case")]
    HeaderName(String),
    #[error("an issuer allows the algorithm `{0}`, which is not supported")]
    UnknownAlgorithm(String),
    #[error("a header for backends says something that this version does not know")]
    UnknownFact,
    #[error("issuer `{0}` allows no algorithm")]
    NoAlgorithm(String),
    #[error("issuer `{0}` is configured twice, or issues both API keys and access tokens")]
    RepeatedIssuer(String),
    #[error("a rule about clients' certificates is malformed")]
    ClientTrust,
    #[error("a range of addresses is malformed")]
    AddressRange,
    #[error("a limit is malformed, or of a kind that this version does not know")]
    Limit,
    #[error("a condition, a key or a cost is malformed: {0}")]
    Condition(String),
    #[error("a rule refers to a transformation that the book does not have")]
    UnknownTransform,
    #[error("a transformation is malformed: {0}")]
    Transform(String),
    #[error("an interceptor is malformed, or a rule refers to one that the book does not have")]
    Interceptor,
    #[error("a contract cannot be used: {0}")]
    Contract(String),
    #[error("responses are to be kept of an operation that is not public, or for no time")]
    Keep,
    #[error("a deny policy names nothing, or an application without its owner")]
    Denial,
}

// === impl RuleId ===

impl FromStr for RuleId {
    type Err = ParseRuleIdError;

    fn from_str(text: &str) -> Result<RuleId, ParseRuleIdError> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digits) {
            return Err(ParseRuleIdError);
        }
        u128::from_str_radix(text, 16).map(RuleId).map_err(|_| ParseRuleIdError)
    }
}

/// Not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule's id is written as 32 lower-case hex digits")]
pub struct ParseRuleIdError;

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Rule ===

impl Rule {
    /// Reads a book. All or nothing.
    pub fn load(book: &proto::RuleBook) -> Result<Rules, LoadError> {
        let limits = Loader::load(book)?;
        let transforms = Loaded::load(book)?;
        let mut interest = limits.interest();
        transforms.looks_at(&mut interest);
        let programs = Programs::load(book)?;
        programs.looks_at(&mut interest);
        let realm = Arc::new(Realm::load(book, &interest)?);
        let answers = Arc::new(Answers::load(book));
        let apis: Vec<Arc<Api>> = book.apis.iter().map(|api| Arc::new(Api::from(api))).collect();
        let policies = book
            .policies
            .iter()
            .map(|policy| Policy::load(policy, realm.presentations()).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let terms = |api: &Arc<Api>| match (&book.backend_jwt, &realm.kept) {
            (Some(settings), Some(kept)) => Terms::load(settings, kept, api).map(|terms| Some(Arc::new(terms))),
            _ => Ok(None),
        };
        let terms = apis.iter().map(terms).collect::<Result<Vec<_>, _>>()?;
        let libraries = book.apis.iter().map(Library::load).collect::<Result<Vec<_>, _>>()?;
        let rule = |rule: &proto::Rule| {
            let id = <[u8; 16]>::try_from(rule.id.as_slice()).map_err(|_| LoadError::RuleId(rule.id.len()))?;
            let id = RuleId(u128::from_be_bytes(id));
            let api = apis.get(rule.api as usize).ok_or(LoadError::UnknownApi(id))?;
            let policy = policies.get(rule.policy as usize).ok_or(LoadError::UnknownPolicy(id))?;
            let backend_jwt = terms.get(rule.api as usize).cloned().flatten();
            let phases = rule.phases.as_ref().map(Phases::from);
            let changes = rule.request_transform > 0 || rule.interceptors.is_some();
            let reserved = phases
                .filter(|_| changes)
                .map(|phases| Arc::new(Reserved::of(policy, &realm, backend_jwt.as_deref(), &phases)));
            let loaded = Rule {
                api: Arc::clone(api),
                policy: Arc::clone(policy),
                realm: Arc::clone(&realm),
                answers: Arc::clone(&answers),
                backend_jwt: backend_jwt.clone(),
                limits: limits.plan(api, rule)?,
                beyond: Beyond {
                    phases,
                    transforms: rule.phases.and_then(|_| transforms.of(rule, api)),
                    interceptors: programs.of(rule, api, reserved.as_ref())?.map(Box::new),
                    reserved,
                    validation: Validation::load(rule, libraries.get(rule.api as usize).and_then(Option::as_ref))?,
                    keep: rule.keep.as_ref().map(|keep| Keep::load(keep, policy).map(Box::new)).transpose()?,
                }
                .boxed(),
                operation: format!("{} {}", rule.method, rule.path).into(),
            };
            Ok((id, Arc::new(loaded)))
        };
        book.rules.iter().map(rule).collect()
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Method and path template: `GET /v2/pet/{petId}`.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// What its backend is told in a JWT of the gateway's own.
    pub fn backend_jwt(&self) -> Option<&Arc<Terms>> {
        self.backend_jwt.as_ref()
    }

    /// How the project that the rule belongs to words its faults.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    pub fn phases(&self) -> Option<&Phases> {
        self.beyond.as_ref()?.phases.as_ref()
    }

    pub(crate) fn transforms(&self) -> Option<&Transforms> {
        self.beyond.as_ref()?.transforms.as_ref()
    }

    pub(crate) fn reserved(&self) -> Option<&Reserved> {
        self.beyond.as_ref()?.reserved.as_deref()
    }

    pub(crate) fn interceptors(&self) -> Option<&Interceptors> {
        self.beyond.as_ref()?.interceptors.as_deref()
    }

    /// How long messages may take in the programs that they go through, all together.
    pub fn time_in_programs(&self, direction: Direction) -> Duration {
        self.interceptors().map_or(Duration::ZERO, |programs| programs.time(direction))
    }

    pub(crate) fn validation(&self) -> Option<&Validation> {
        self.beyond.as_ref()?.validation.as_deref()
    }

    /// `None`: its responses are for those alone who asked for them.
    pub fn keep(&self) -> Option<&Keep> {
        self.beyond.as_ref()?.keep.as_deref()
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

// === impl Beyond ===

impl Beyond {
    /// `None`: nothing of it.
    fn boxed(self) -> Option<Box<Beyond>> {
        let Beyond { phases, transforms, reserved: _, interceptors, validation, keep } = &self;
        let nothing = phases.is_none()
            && transforms.is_none()
            && interceptors.is_none()
            && validation.is_none()
            && keep.is_none();
        (!nothing).then(|| Box::new(self))
    }
}

impl Phases {
    /// Bytes that a request's body may have that is not collected, but counted as it passes.
    pub fn counted_request(&self) -> Option<usize> {
        Some(self.max_request_body).filter(|most| *most > 0 && !self.request_body)
    }

    /// The same of a response's.
    pub fn counted_response(&self) -> Option<usize> {
        let most = match self.max_response_body {
            0 if self.response_copied => usize::MAX,
            most => most,
        };
        Some(most).filter(|most| *most > 0 && self.response_head && !self.response_body)
    }
}

impl From<&proto::Phases> for Phases {
    fn from(phases: &proto::Phases) -> Phases {
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Phases {
            request_optional: phases.request_optional,
            response_optional: phases.response_optional,
            response_copied: phases.response_copied,
            retried: phases.retried,
            request_body: phases.request_body,
            response_head: phases.response_head,
            response_body: phases.response_body,
            max_request_body: bytes(phases.max_request_body),
            max_response_body: bytes(phases.max_response_body),
        }
    }
}

impl From<&proto::Api> for Api {
    fn from(api: &proto::Api) -> Api {
        Api {
            name: api.name.as_str().into(),
            version: api.version.as_str().into(),
            base_path: api.base_path.as_str().into(),
            of_hosts: api.of_hosts,
        }
    }
}

#[cfg(test)]
mod tests;
