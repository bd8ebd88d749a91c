//! `explain`: one request through the very engine, offline: which operation it reaches, what is decided and why, and what its backend
//! would get.

mod facts;
mod told;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use micro_gw::config::with_pretended_secrets;
use microgw_compiler::artifact;
use microgw_compiler::assemble::{Input, assemble, conflict, overridden};
use microgw_compiler::hosts;
use microgw_compiler::model::{Api, Model, Operation};
use microgw_compiler::path::normal::{Normal, Version, normalise};
use microgw_compiler::settings::Settings;
use microgw_compiler::snapshot::Fallbacks;
use microgw_engine::{
    Decision, Exchange, Headers, Phases, Reason, RequestHead, ResponseHead, ResponseStep, Rule, RuleId, Step, UnixTime,
    joint,
};
use microgw_extproc::response_cache;
use microgw_proto::rules::v1::RuleBook;

pub use self::facts::Facts;
use self::told::{Outcome, Secrets, Told};
use crate::args;
use crate::build;
use crate::inspect::{self, paths};
use crate::output;

/// Bytes of a body, at most.
const MAX_BODY: u64 = 64 << 20;
/// Answers that a decision may ask for: an end, should it never come to one.
const MOST_ASKED: usize = 64;

/// What Envoy calls a request.
const REQUEST_ID: &str = "x-request-id";
/// In the place of one that it would make up.
const NO_ID: &str = "00000000-0000-4000-8000-000000000000";

/// As a client would send it.
pub struct Request {
    method: String,
    scheme: String,
    authority: String,
    /// As it was written, with its query.
    target: String,
    /// By lower-case name; several of one name joined, as [`joint`] says.
    headers: HashMap<String, String>,
    body: Vec<u8>,
    /// What its backend would answer, if that is told.
    response: Option<Response>,
}

/// Of a backend.
pub struct Response {
    status: u16,
    headers: Fields,
    body: Vec<u8>,
}

/// Headers as they come, one by one.
struct Fields(Vec<(String, String)>);

pub fn explain(args: &args::Explain) -> anyhow::Result<()> {
    let (model, bytes) = build::load(&args.artifact)?;
    let facts = match &args.facts {
        Some(file) => Facts::load(file).with_context(|| format!("cannot read facts from `{}`", file.display()))?,
        None => Facts::default(),
    };
    let request = Request::read(args)?;
    let settings = with_pretended_secrets(&inspect::settings(args.config.as_ref(), &args.overrides)?, &model);
    let id = artifact::id(&bytes);
    with_told(&model, &id, &settings, request, &facts, |told| {
        output::line(&if args.json { serde_json::to_string_pretty(&told.as_json())? } else { told.as_text() });
        Ok(())
    })
}

/// What `explain --json` says.
pub fn explained(
    model: &Model,
    artifact: &str,
    settings: &Settings,
    request: Request,
    facts: &Facts,
) -> anyhow::Result<serde_json::Value> {
    with_told(model, artifact, settings, request, facts, |told| Ok(told.as_json()))
}

fn with_told<T>(
    model: &Model,
    artifact: &str,
    settings: &Settings,
    mut request: Request,
    facts: &Facts,
    then: impl FnOnce(&Told<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if let Some(conflict) = conflict(model, settings) {
        bail!(conflict);
    }
    let fallbacks = Fallbacks::new();
    let snapshot = assemble(Input { model, artifact, settings, fallbacks: &fallbacks, previous: None });
    let model = overridden(model, settings).0.into_owned();
    let removed = request.strip(settings);
    let told = outcome(&model, &snapshot.rules, &request, facts)?;
    then(&Told {
        model: &model,
        request: &request,
        secrets: Secrets::of(&model, settings),
        removed,
        outcome: told,
        asked: facts.asked(),
        unused: facts.unused(),
    })
}

/// What becomes of the request.
fn outcome<'m>(model: &'m Model, book: &RuleBook, request: &Request, facts: &Facts) -> anyhow::Result<Outcome<'m>> {
    let normal = match normalise(request.target.as_bytes(), Version::Http1) {
        Ok(normal) => normal,
        Err(refusal) => return Ok(Outcome::Unrouted { status: 400, reason: refusal.to_string(), normal: None }),
    };
    let (api, operation) = match route(model, request, &normal) {
        Ok(found) => found,
        Err((status, reason)) => return Ok(Outcome::Unrouted { status, reason, normal: Some(normal) }),
    };
    let Some((id, rule)) = rule(book, api, operation)? else {
        return Ok(Outcome::Public { api, operation, normal });
    };
    let path = normal.to_string();
    let now = facts
        .now()
        .unwrap_or_else(|| UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())));
    let head = RequestHead {
        method: &request.method,
        scheme: &request.scheme,
        authority: &request.authority,
        path: &path,
        headers: &request.headers,
        certificate: (request.scheme == "https").then(|| facts.certificate()).flatten(),
        peer: "127.0.0.1",
        has_body: Some(!request.body.is_empty()),
    };
    let mut exchange = Exchange::new(&rule, facts, now);
    let mut step = exchange.on_request_head(head);
    for _ in 0..MOST_ASKED {
        step = match step {
            Step::Intercept(call) => exchange.on_verdict_of_request(facts.intercept(*call), now),
            Step::Ask(lookup) => exchange.resume(facts.answer(&lookup, now), now),
            Step::NeedBody => {
                let most = rule.phases().map_or(0, |phases| phases.max_request_body);
                if request.body.len() > most {
                    let Decision::Deny(deny) = exchange.refuse_request(Reason::BodyTooLarge) else {
                        bail!("the engine let pass what it was to refuse");
                    };
                    let decision = told::Decided::denied(&deny, &rule);
                    return Ok(Outcome::Decided { api, operation, normal, rule: id, decision, answer: None });
                }
                exchange.on_request_body(&request.body, now)
            }
            Step::Done(decision) => {
                let counted = rule.phases().and_then(Phases::counted_request);
                let too_long = counted.is_some_and(|most| request.body.len() > most);
                let decision = match decision {
                    Decision::Allow(_) if too_long => exchange.refuse_request(Reason::BodyTooLarge),
                    decision => decision,
                };
                let (decision, answer) = match decision {
                    Decision::Allow(allow) => {
                        let keep = rule.keep().filter(|_| request.body.is_empty());
                        let kept = keep.is_some_and(|keep| response_cache::may_answer(keep, head, &allow));
                        let decision = told::Decided::allowed(allow, kept, request, &normal);
                        let answer =
                            request.response.as_ref().map(|response| answer(&mut exchange, response, &rule, facts));
                        (decision, answer)
                    }
                    Decision::Deny(deny) => (told::Decided::denied(&deny, &rule).because(facts.failed()), None),
                    Decision::Respond(respond) => {
                        (told::Decided::Answered(Box::new(told::Answered::of(&respond.message))), None)
                    }
                };
                return Ok(Outcome::Decided { api, operation, normal, rule: id, decision, answer });
            }
        };
    }
    bail!("the engine asks for ever")
}

/// What becomes of its backend's response.
fn answer<'a>(exchange: &mut Exchange<'a>, response: &'a Response, rule: &Rule, facts: &Facts) -> told::Answered {
    let phases = rule.phases().copied().unwrap_or_default();
    if !phases.response_head {
        return told::Answered::passed(response, None);
    }
    let ended = response.body.is_empty();
    let mut step =
        exchange.on_response_head(ResponseHead { status: response.status, headers: &response.headers, ended });
    if phases.counted_response().is_some_and(|most| response.body.len() > most) {
        step = exchange.refuse_response(Reason::ResponseTooLarge);
    }
    step = match step {
        ResponseStep::NeedBody if response.body.len() > phases.max_response_body => {
            exchange.refuse_response(Reason::ResponseTooLarge)
        }
        ResponseStep::NeedBody => exchange.on_response_body(&response.body),
        step => step,
    };
    while let ResponseStep::Intercept(call) = step {
        step = exchange.on_verdict_of_response(facts.intercept(*call));
    }
    match step {
        ResponseStep::Respond(message) => told::Answered::of(&message),
        ResponseStep::Pass(edits) => told::Answered::passed(response, edits),
        ResponseStep::Refuse(deny) => told::Answered::Refused(told::Decided::denied(&deny, rule)),
        ResponseStep::NeedBody | ResponseStep::Intercept(_) => told::Answered::Refused(told::Decided::internal()),
    }
}

/// The operation, as Envoy's table has it: of the APIs that answer to the host, over the listener that serves them.
fn route<'m>(model: &'m Model, request: &Request, normal: &Normal) -> Result<(&'m Api, &'m Operation), (u16, String)> {
    let name = request.authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(request.authority.as_str(), |(name, _)| name);
    let host = [hosts::parse(name).map_err(|error| (400, format!("the host `{name}` cannot be: {error}")))?];
    let found = paths::find(model, &request.method, &normal.path, |api| hosts::contain(&api.traffic.hosts, &host))?;
    let (api, _) = found;
    let served = if request.scheme == "https" { api.transports.https } else { api.transports.http };
    if served {
        Ok(found)
    } else {
        Err((404, format!("`{} {}` is not served over {}", api.name, api.version, request.scheme)))
    }
}

/// `None`: Envoy serves the operation without a question.
fn rule(book: &RuleBook, api: &Api, operation: &Operation) -> anyhow::Result<Option<(RuleId, Arc<Rule>)>> {
    let index = book.apis.iter().position(|other| other.name == api.name && other.version == api.version);
    let path = format!("{}{}", api.base_path, operation.path);
    let found = book
        .rules
        .iter()
        .find(|rule| Some(rule.api as usize) == index && rule.method == operation.method.as_str() && rule.path == path);
    let Some(found) = found else { return Ok(None) };
    let id = RuleId(u128::from_be_bytes(found.id.as_slice().try_into().context("a rule's id is malformed")?));
    let rules = Rule::load(book)?;
    let rule = rules.into_iter().find(|(other, _)| *other == id);
    Ok(rule)
}

// === impl Request ===

impl Request {
    pub fn new(
        method: &str,
        scheme: &str,
        authority: &str,
        target: &str,
        headers: HashMap<String, String>,
        body: Vec<u8>,
        response: Option<Response>,
    ) -> Request {
        let [method, scheme, authority, target] = [method, scheme, authority, target].map(str::to_owned);
        Request { method, scheme, authority, target, headers, body, response }
    }

    fn read(args: &args::Explain) -> anyhow::Result<Request> {
        let (scheme, rest) = match args.url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("https".to_owned(), args.url.as_str()),
        };
        if !["http", "https"].contains(&scheme.as_str()) {
            bail!("`{}` is neither for http nor for https", args.url);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let mut authority = if authority.is_empty() { "localhost" } else { authority }.to_owned();
        let mut headers: HashMap<String, String> = HashMap::new();
        for line in &args.headers {
            let (name, value) = header(line)?;
            if name == "host" {
                authority = value;
                continue;
            }
            match headers.entry(name) {
                Entry::Vacant(first) => drop(first.insert(value)),
                Entry::Occupied(mut known) => {
                    let joint = joint(known.key());
                    known.get_mut().extend([joint, &value]);
                }
            }
        }
        let response = match args.response {
            None => None,
            Some(status) => {
                let headers = args.response_headers.iter().map(|line| header(line)).collect::<anyhow::Result<_>>()?;
                let body = args.response_data.as_deref().map(body).transpose()?.unwrap_or_default();
                Some(Response { status, headers: Fields(headers), body })
            }
        };
        let body = args.data.as_deref().map(body).transpose()?;
        let method = args.request.clone().unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
        Ok(Request { method, scheme, authority, target, headers, body: body.unwrap_or_default(), response })
    }

    /// Takes away what the listener takes away before anything else; their names. A request has an id from then on.
    fn strip(&mut self, settings: &Settings) -> Vec<String> {
        let spelled = |name: &str| name.replace('_', "-");
        let forbidden = microgw_compiler::assemble::forbidden_headers(settings);
        let is_forbidden = |name: &String| {
            let name = spelled(name);
            name.starts_with(microgw_compiler::assemble::names::INTERNAL_PREFIX)
                || forbidden.iter().any(|other| spelled(other) == name)
        };
        let mut removed: Vec<String> = self.headers.keys().filter(|name| is_forbidden(name)).cloned().collect();
        removed.sort_unstable();
        self.headers.retain(|name, _| !removed.contains(name));
        self.headers.entry(REQUEST_ID.to_owned()).or_insert_with(|| NO_ID.to_owned());
        removed
    }
}

// === impl Response ===

impl Response {
    /// Headers by lower-case name.
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Response {
        Response { status, headers: Fields(headers), body }
    }
}

/// Its name, lower-case, and its value.
fn header(line: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = line.split_once(':').with_context(|| format!("`{line}` has no colon"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

impl Headers for Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.0 {
            visitor(name, value.as_bytes());
        }
    }
}

/// Text, or a file's after `@`.
fn body(data: &str) -> anyhow::Result<Vec<u8>> {
    let Some(file) = data.strip_prefix('@') else { return Ok(data.as_bytes().to_vec()) };
    let file = Path::new(file);
    let size = std::fs::metadata(file).with_context(|| format!("cannot read `{}`", file.display()))?.len();
    if size > MAX_BODY {
        bail!("`{}` is longer than any body that is looked at", file.display());
    }
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}
