//! The paths of a definition and the operations on them.

use std::collections::BTreeSet;

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::contracts::v1::Schemas;
use microgw_proto::interceptors::v1::OperationInterceptors;
use microgw_proto::limits::v1::Cost;
use microgw_proto::traffic::v1::{HeaderEdits, Mirror, OperationTraffic, Protocol};

use super::access::Guard;
use super::answers::{Answers, Declared as Answered};
use super::bodies;
use super::contracts::Contracts;
use super::endpoints::{self, Declared, Environments, Named};
use super::extensions::{self, Level};
use super::features;
use super::fields::{object, suggest, text};
use super::headers::{self, Edits};
use super::limits;
use super::mirrors;
use super::references::Resolver;
use super::servers::{self, Address};
use super::streams::{self, Endless, Streams};
use super::{EndpointTable, Version};
use crate::compile::{Policies, Report};
use crate::diagnostic::{Code, Diagnostic};
use crate::interceptors::{self, Said};
use crate::model::{Access, Endpoint, EndpointId, KeyLocation, Method, Operation, Requirement, Transforms};
use crate::path::PathTemplate;
use crate::source::Value;
use crate::traffic::mirror::fits;
use crate::transforms::{self, Both, Owner};

/// Characters; base path included. Envoy's routes repeat it, and its regular expressions grow with it.
const MAX_PATH: usize = 1024;
const MAX_PARAMETERS: usize = 32;

/// Keys of a path item besides methods.
const PATH_KEYS: &[&str] = &["$ref", "summary", "description", "servers", "parameters"];

/// What the operations of one definition share.
pub(super) struct Paths<'a, 'd> {
    pub report: &'a mut Report,
    pub resolver: &'a mut Resolver<'d>,
    pub policies: &'a mut Policies,
    pub table: &'a mut EndpointTable,
    pub guard: Guard<'d>,
    pub answers: Answers<'d>,
    /// The API's own.
    pub streams: Streams,
    pub mirrors: Vec<(Mirror, Value<'d>)>,
    pub contracts: Contracts<'d>,
    pub named: Named<'d>,
    /// The API's own.
    pub environments: Environments,
    pub version: Version,
    pub base_path: &'a str,
    /// What the API says that its requests count.
    pub cost: Option<Cost>,
    /// What the API says of its headers.
    pub edits: Edits,
    /// Whether its responses may be compressed.
    pub compressed: Option<bool>,
    /// What it says of bodies.
    pub bodies: OperationBodies,
    /// What the API says of its messages.
    pub transforms: Both,
    /// Which programs they go through.
    pub interceptors: Said,
    /// Where its callers' tokens are, if it says so.
    pub credential_header: Option<&'a str>,
    /// Where a server URL gives a path and no host.
    pub relative: Option<Value<'d>>,
}

// === impl Paths ===

impl<'d> Paths<'_, 'd> {
    /// Every operation that can be served, in the order of the definition, and the schemas that their contracts share.
    pub(super) fn read(mut self, root: Value<'d>) -> (Vec<Operation>, Schemas) {
        let mut operations = Vec::new();
        let mut declared = 0;
        let mut homeless = Vec::new();
        let paths = root.get("paths").and_then(|paths| object(self.report, "paths", paths));
        for (key, item) in paths.into_iter().flat_map(Value::entries).filter(|(key, _)| !key.text().starts_with("x-")) {
            let template = self.template(key);
            let Some(item) =
                object(self.report, key.text(), item).and_then(|item| self.resolver.follow(self.report, item))
            else {
                continue;
            };
            let servers = self.servers(item);
            extensions::check(self.report, Level::Path, item);
            for (method, operation) in self.methods(key, item) {
                declared += 1;
                let Some(path) = template.clone() else { continue };
                let label = format!("{} {path}", method.1);
                let Some(value) = object(self.report, &label, operation) else { continue };
                let environments = self.environments(value, &servers);
                // What is wrong has been reported, and there will be no model: shut, it takes part in the other checks.
                let access =
                    self.guard.access(self.report, &label, value).unwrap_or_else(|| Access::Guarded(Vec::new()));
                let (report, resolver) = (&mut *self.report, &mut *self.resolver);
                let answered = self.answers.read(report, resolver, &label, method.0, value, self.base_path);
                let (mut traffic, mut production, mut sandbox) = (OperationTraffic::default(), None, None);
                let mut endless = Endless::default();
                match answered {
                    Answered::Nothing => {
                        production = self.endpoint(&environments.production);
                        sandbox = self.endpoint(&environments.sandbox);
                        if environments.are_nothing() {
                            homeless.push((label.clone(), method.0));
                        }
                        let streams = Streams::of(self.report, value);
                        endless = streams.apply(self.report, self.streams, method.1, value, &mut traffic);
                        self.tries(&label, value, &environments, &traffic);
                        self.handshake(&label, value, &environments, &traffic);
                        self.mirror(&label, value, &environments.production, &mut traffic);
                    }
                    Answered::Broken => {}
                    Answered::Answer(answer) => {
                        traffic.answer = Some(answer);
                        self.without_effect(&label, value);
                    }
                }
                let operation_id =
                    value.get("operationId").and_then(|id| text(self.report, "operationId", id)).map(str::to_owned);
                let source = method.0.position();
                let edits = self.edits.then(headers::read(self.report, value));
                (traffic.request, traffic.response) = (given(edits.request), given(edits.response));
                traffic.uncompressed = features::compression(self.report, value).or(self.compressed) == Some(false);
                let transforms = self.transforms(
                    value,
                    &label,
                    (method.1, &path),
                    &access,
                    &traffic,
                    [production.is_some() && sandbox.is_some(), endless.responses],
                );
                let interceptors = self.interceptors(value, &label, &traffic, endless.responses);
                let bodies = bodies::read(self.report, value, &self.bodies);
                bodies::check(self.report, &label, value, bodies, endless);
                let full = format!("{}{path}", self.base_path);
                let (report, resolver) = (&mut *self.report, &mut *self.resolver);
                self.contracts.read(report, resolver, (&label, full), method.0, (item, value), endless);
                operations.push(Operation {
                    method: method.1,
                    path,
                    operation_id,
                    access,
                    production,
                    sandbox,
                    traffic,
                    transforms,
                    interceptors,
                    bodies,
                    limit: limits::tier(self.report, self.policies, value, source),
                    cost: limits::cost(self.report, self.policies, value, source).or_else(|| self.cost.clone()),
                    contract: None,
                    source,
                });
            }
        }
        self.report_homeless(&homeless);
        if declared == 0 {
            let at = paths.unwrap_or(root);
            self.report.say(Code::NoOperation, at, "the definition has no operation");
        }
        let schemas = self.contracts.finish(self.report, self.resolver, &mut operations);
        (operations, schemas)
    }

    fn transforms(
        &mut self,
        operation: Value<'d>,
        label: &str,
        (method, path): (Method, &PathTemplate),
        access: &Access,
        traffic: &OperationTraffic,
        [is_matched_again, streams]: [bool; 2],
    ) -> Transforms {
        let transformations = &mut self.policies.transforms;
        let own = transforms::read(self.report, transformations, operation);
        let without = if traffic.answer.is_some() {
            Some("is answered by the gateway itself")
        } else if traffic.websocket {
            Some("is for WebSocket")
        } else {
            None
        };
        if let Some(why) = without {
            if let Some(at) = own.place() {
                let message = format!("`{label}` {why}: nothing of it would be transformed");
                transformations.say(self.report, Diagnostic::new(Code::BadTransform, at, message));
            }
            return Transforms::default();
        }
        let both = self.transforms.around(&own);
        if both.is_empty() {
            return Transforms::default();
        }
        let mut owner = Owner {
            label,
            parameters: path.parameters().collect(),
            credential_headers: self.credential_header.into_iter().collect(),
            credential_parameters: BTreeSet::new(),
            is_head: method == Method::Head,
            is_matched_again,
            streams: false,
        };
        let Access::Guarded(alternatives) = access else {
            // Those of a public operation are its backend's.
            owner.credential_headers.clear();
            return transformations.ids(self.report, &both, &owner, [traffic.unbuffered, streams]);
        };
        for requirement in alternatives.iter().flat_map(|alternative| &alternative.0) {
            if let Requirement::ApiKey { location, name } = requirement {
                match location {
                    KeyLocation::Header => owner.credential_headers.insert(name),
                    KeyLocation::Query => owner.credential_parameters.insert(name),
                    KeyLocation::Cookie => false,
                };
            }
        }
        transformations.ids(self.report, &both, &owner, [traffic.unbuffered, streams])
    }

    fn interceptors(
        &mut self,
        operation: Value<'d>,
        label: &str,
        traffic: &OperationTraffic,
        streams: bool,
    ) -> OperationInterceptors {
        let interceptors = &mut self.policies.interceptors;
        let own = match interceptors::read(self.report, interceptors, operation) {
            Said::Nothing => return OperationInterceptors::default(),
            Said::Uses(own) => own,
        };
        let both = match &self.interceptors {
            Said::Nothing => own,
            Said::Uses(of_api) => of_api.around(&own),
        };
        let without = if traffic.answer.is_some() {
            Some("is answered by the gateway itself")
        } else if traffic.websocket {
            Some("is for WebSocket")
        } else {
            None
        };
        let owner = interceptors::Owner { label, without, streams: [traffic.unbuffered, streams] };
        interceptors.of(self.report, &both, owner)
    }

    fn template(&mut self, key: Value<'d>) -> Option<PathTemplate> {
        let text = key.text();
        let template = match PathTemplate::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.report.say(Code::BadPath, key, format!("`{text}` is no valid path: {error}"));
                return None;
            }
        };
        if self.base_path.len() + text.len() > MAX_PATH {
            self.report.say(Code::BadPath, key, format!("the path is longer than {MAX_PATH} characters"));
            return None;
        }
        if template.parameters().count() > MAX_PARAMETERS {
            self.report.say(Code::BadPath, key, format!("the path has more than {MAX_PARAMETERS} parameters"));
            return None;
        }
        Some(template)
    }

    /// The operations of a path item: where each one's key is, its method, and its object.
    fn methods(&mut self, path: Value<'d>, item: Value<'d>) -> Vec<((Value<'d>, Method), Value<'d>)> {
        let mut methods = Vec::new();
        for (key, value) in item.entries() {
            let word = key.text();
            let method = Method::parse(word).filter(|_| word.bytes().all(|byte| byte.is_ascii_lowercase()));
            match method {
                Some(method) => methods.push(((key, method), value)),
                None if word == "trace" => {
                    let message = format!("`TRACE {}` is not served", path.text());
                    self.report.say(Code::UnsupportedMethod, key, message);
                }
                None if word.starts_with("x-") || PATH_KEYS.contains(&word) => {}
                None => {
                    let methods = ["delete", "get", "head", "options", "patch", "post", "put"];
                    let known = methods.into_iter().chain(PATH_KEYS.iter().copied());
                    let message = format!("`{}` has no key `{word}`", path.text());
                    suggest(self.report, Code::UnknownKey, key, message, word, known);
                }
            }
        }
        methods
    }

    fn environments(&mut self, operation: Value<'d>, of_path: &Declared) -> Environments {
        extensions::check(self.report, Level::Operation, operation);
        let servers = self.servers(operation).or(of_path);
        Environments::of(self.report, operation, &servers, &self.named, "").or(&self.environments)
    }

    /// The endpoint of a path's or operation's own servers.
    fn servers(&mut self, owner: Value<'d>) -> Declared {
        if self.version == Version::Swagger2 {
            return Declared::Nothing;
        }
        let servers = servers::of_openapi(self.report, owner);
        let mut elsewhere = false;
        for server in &servers {
            if let Address::Relative(path) = &server.address
                && !path.is_empty()
            {
                elsewhere = true;
                let message = format!("the relative server URL `{path}` would move one operation to another base path");
                self.report.advise(
                    Code::BadUrl,
                    server.at,
                    message,
                    "name a host in it, or declare the base path for the whole API",
                );
            }
        }
        let declared = endpoints::from_servers(self.report, &servers, "");
        if elsewhere { Declared::Broken } else { declared }
    }

    /// What the operation's requests are copied to: its own mirrors, or the API's as far as they can be.
    fn mirror(&mut self, label: &str, operation: Value<'d>, production: &Declared, traffic: &mut OperationTraffic) {
        let own = mirrors::read(self.report, self.table, &self.named, operation);
        let endless = traffic.websocket || traffic.timeout == Some(0);
        let declared = match own {
            Some(own) => own,
            // A stream cannot be copied, and is not meant.
            None if endless => return,
            None => self.mirrors.clone(),
        };
        let Declared::Endpoint(production) = production else {
            if let Some((_, at)) = declared.first().filter(|_| operation.get(mirrors::MIRROR).is_some()) {
                let message = format!("`{label}` has no production endpoint: none of its requests would be copied");
                self.report.say(Code::BadMirror, *at, message);
            }
            return;
        };
        for (mirror, at) in declared {
            let target = mirror.endpoint.checked_sub(1).and_then(|index| self.table.get(EndpointId(index)));
            if endless {
                let message = format!("`{label}` has no end that could be waited for: it cannot be copied");
                self.report.say(Code::BadMirror, at, message);
            } else if target.is_some_and(|target| !fits(target, production)) {
                let message = format!(
                    "the copies of `{label}` have the path that its backend gets, not that of the mirror's URL"
                );
                self.report.advise(Code::BadMirror, at, message, "leave the path out of the mirror's URL");
            } else {
                traffic.mirrors.push(mirror);
            }
        }
    }

    /// Envoy forgets the bound of one attempt that all of them together do not reach.
    fn tries(&mut self, label: &str, operation: Value<'d>, environments: &Environments, traffic: &OperationTraffic) {
        let Some(whole @ 1..) = traffic.timeout else { return };
        let tries =
            environments.endpoints().filter_map(|endpoint| Some(endpoint.policy.retry.as_ref()?.per_try_timeout));
        if let Some(one) = tries.into_iter().find(|one| *one >= whole) {
            let at = operation.get(streams::TIMEOUT).unwrap_or(operation);
            let message = format!(
                "`{label}` has {whole} ms in all: `perTryTimeoutInMillis` of its endpoint, {one}, has no effect"
            );
            self.report.advise(Code::WithoutEffect, at, message, "make it shorter, or the whole longer");
        }
    }

    /// Envoy makes no WebSocket connection of HTTP/2 that the client would take for one.
    fn handshake(
        &mut self,
        label: &str,
        operation: Value<'d>,
        environments: &Environments,
        traffic: &OperationTraffic,
    ) {
        let http2 = |endpoint: &Endpoint| endpoint.policy.protocol() == Protocol::Http2;
        let websocket = operation.entry(streams::WEBSOCKET).filter(|_| traffic.websocket);
        if let Some((key, _)) = websocket.filter(|_| environments.endpoints().any(http2)) {
            let message =
                format!("WebSocket connections are made over HTTP/1.1, and the endpoint of `{label}` has HTTP/2 alone");
            self.report.advise(
                Code::BadStream,
                key,
                message,
                "give the operation an endpoint without `protocol: http2`",
            );
        }
    }

    /// What is only for operations with a backend.
    fn without_effect(&mut self, label: &str, operation: Value<'d>) {
        const KEYS: [&str; 5] =
            [streams::TIMEOUT, streams::IDLE_TIMEOUT, streams::STREAM, streams::WEBSOCKET, mirrors::MIRROR];
        for key in KEYS.iter().filter_map(|key| Some(operation.entry(key)?.0)) {
            let message = format!("`{label}` is answered by the gateway: `{}` would have no effect", key.text());
            self.report.say(Code::BadAnswer, key, message);
        }
    }

    fn endpoint(&mut self, declared: &Declared) -> Option<EndpointId> {
        match declared {
            Declared::Endpoint(endpoint) => Some(self.table.id(endpoint)),
            Declared::Nothing | Declared::Broken => None,
        }
    }

    /// One diagnostic for all operations without an endpoint: they lack it for one reason.
    fn report_homeless(&mut self, homeless: &[(String, Value<'d>)]) {
        let Some((label, at)) = homeless.first() else { return };
        let others = match homeless.len() {
            1 => String::new(),
            count => format!(" (and {} other operations)", count - 1),
        };
        let message = format!("`{label}`{others} has no endpoint");
        let mut diagnostic = Diagnostic::new(Code::NoEndpoint, at.place(), message).help(
            "declare `x-wso2-production-endpoints` or a server with a host, at the top level or on the operation",
        );
        if let Some(relative) = self.relative {
            diagnostic = diagnostic.related(relative.place(), "this names a path and no host");
        }
        self.report.add(diagnostic);
    }
}

fn given(edits: HeaderEdits) -> Option<HeaderEdits> {
    (edits != HeaderEdits::default()).then_some(edits)
}
