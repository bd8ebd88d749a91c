//! Messages that are compared with the contract of their operation.

use microgw_proto::contracts::v1::{Contract as Declared, Mode};
use microgw_proto::rules::v1 as proto;
use microgw_schemas::{Contract, Direction, Schemas};

use crate::rules::LoadError;

/// Of a rule.
#[derive(Debug)]
pub(crate) struct Validation {
    pub contract: Contract,
    pub request: Check,
    pub response: Check,
}

/// What becomes of what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Off,
    Report,
    Enforce,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Request,
    Response,
}

/// The schemas of an API, compiled.
pub(crate) struct Library {
    requests: Schemas,
    responses: Schemas,
}

// === impl Flow ===

impl Flow {
    pub const ALL: [Flow; 2] = [Flow::Request, Flow::Response];

    /// A stable name for logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Flow::Request => "request",
            Flow::Response => "response",
        }
    }
}

// === impl Check ===

impl Check {
    fn of(mode: Mode) -> Check {
        match mode {
            Mode::Unsaid | Mode::Off => Check::Off,
            Mode::Report => Check::Report,
            Mode::Enforce => Check::Enforce,
        }
    }
}

// === impl Library ===

impl Library {
    /// `None`: no rule of the API has a contract.
    pub(crate) fn load(api: &proto::Api) -> Result<Option<Library>, LoadError> {
        let Some(schemas) = &api.schemas else { return Ok(None) };
        let compile = |direction| {
            Schemas::compile(schemas, direction)
                .map_err(|mistake| LoadError::Contract(format!("{}: {mistake}", api.name)))
        };
        Ok(Some(Library { requests: compile(Direction::Request)?, responses: compile(Direction::Response)? }))
    }
}

// === impl Validation ===

impl Validation {
    /// `path`: with the base path. What is to be checked and cannot be is an error.
    pub(crate) fn load(rule: &proto::Rule, library: Option<&Library>) -> Result<Option<Box<Validation>>, LoadError> {
        let Some(declared) = &rule.contract else { return Ok(None) };
        let wrong = |what: String| LoadError::Contract(format!("{} {}: {what}", rule.method, rule.path));
        let (request, response) = (Check::of(declared.request_mode()), Check::of(declared.response_mode()));
        let Declared { request_flaw, response_flaw, .. } = declared;
        if let Some(flaw) = [request_flaw, response_flaw].into_iter().find(|flaw| !flaw.is_empty()) {
            return Err(wrong(flaw.clone()));
        }
        let library = library.ok_or_else(|| wrong("there are no schemas".to_owned()))?;
        let contract = Contract::compile(declared, &rule.path, &library.requests, &library.responses)
            .map_err(|error| wrong(error.to_string()))?;
        let phases = rule.phases.unwrap_or_default();
        let seen = |needed: bool, seen: bool| !needed || seen;
        let complete = (request == Check::Off
            || seen(contract.needs_request_body(), phases.request_body)
                && seen(contract.looks_at_cookies(), rule.phases.is_some()))
            && (response == Check::Off
                || seen(contract.needs_response_head(), phases.response_head)
                    && seen(contract.needs_response_body(), phases.response_body));
        if !complete {
            return Err(wrong("nobody would see all that is to be checked".to_owned()));
        }
        Ok(Some(Box::new(Validation { contract, request, response })))
    }
}
