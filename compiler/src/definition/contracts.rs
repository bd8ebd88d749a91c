//! What operations take and answer: parameters, bodies, responses, and the schemas that they share.
//!
//! Whether any of it is compared with messages is for settings to say, unless the definition does. So what cannot be compared is an
//! error where the definition asks for it; otherwise it is a note, and kept for those who ask later.

mod batches;
mod bodies;
mod dialect;
mod discriminator;
mod parameters;
mod shelf;

use std::collections::BTreeSet;

use microgw_proto::contracts::v1::{Body, Contract, Mode, Schemas as Proto};
use microgw_schemas::Schemas;

use super::Version;
use super::fields::object;
use super::references::Resolver;
use super::shape::{Words, one_of, unknown_key};
use super::streams::Endless;
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::model::{Operation, Position};
use crate::source::{Content, Value};
use shelf::Shelf;

const KEY: &str = "x-microgw-validation";

/// What is asked for of requests, and of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modes {
    request: Mode,
    response: Mode,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// Reads the contracts of one definition.
pub(super) struct Contracts<'d> {
    root: Value<'d>,
    dialect: Dialect,
    modes: Modes,
    shelf: Shelf<'d>,
    drafts: Vec<Draft>,
    /// Parameters that no request has, each told once.
    unreachable: BTreeSet<Position>,
}

/// How a definition writes schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Swagger2,
    OpenApi30,
    /// As they are.
    OpenApi31,
}

/// A contract whose schemas are not checked yet.
struct Draft {
    contract: Contract,
    label: String,
    place: Place,
    /// With the base path.
    path: String,
    flaws: Vec<Flaw>,
    /// Schemas that it refers to itself.
    requests: BTreeSet<u32>,
    responses: BTreeSet<u32>,
}

/// What cannot be compared with messages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flaw {
    side: Side,
    place: Place,
    position: Position,
    message: String,
}

/// One operation, as it is read.
struct Reader<'a, 'd> {
    root: Value<'d>,
    dialect: Dialect,
    resolver: &'a mut Resolver<'d>,
    shelf: &'a mut Shelf<'d>,
    flaws: Vec<Flaw>,
    side: Side,
    /// Schemas that are referred to, of the side that is read.
    used: BTreeSet<u32>,
}

// === impl Modes ===

impl Modes {
    /// What an API or an operation says.
    fn read(report: &mut Report, owner: Value<'_>) -> Modes {
        let Some(at) = owner.get(KEY) else { return Modes::default() };
        if let Content::Text(_) = at.content() {
            let mode = mode(report, KEY, at);
            return Modes { request: mode, response: mode };
        }
        let Some(map) = object(report, KEY, at) else { return Modes::default() };
        let mut modes = Modes::default();
        for (key, value) in map.entries() {
            match key.text() {
                "request" => modes.request = mode(report, "request", value),
                "response" => modes.response = mode(report, "response", value),
                _ => unknown_key(report, Words::Own, KEY, key, ["request", "response"]),
            }
        }
        modes
    }

    fn or(self, other: Modes) -> Modes {
        let first = |a: Mode, b: Mode| if a == Mode::Unsaid { b } else { a };
        Modes { request: first(self.request, other.request), response: first(self.response, other.response) }
    }
}

fn mode(report: &mut Report, key: &str, value: Value<'_>) -> Mode {
    match one_of(report, key, value, &["enforce", "report", "off"]) {
        Some("enforce") => Mode::Enforce,
        Some("report") => Mode::Report,
        Some(_) => Mode::Off,
        None => Mode::Unsaid,
    }
}

// === impl Dialect ===

impl Dialect {
    fn of(root: Value<'_>, version: Version) -> Dialect {
        match version {
            Version::Swagger2 => Dialect::Swagger2,
            Version::OpenApi3 if root.get("openapi").is_some_and(|number| number.text().starts_with("3.0")) => {
                Dialect::OpenApi30
            }
            Version::OpenApi3 => Dialect::OpenApi31,
        }
    }
}

// === impl Contracts ===

impl<'d> Contracts<'d> {
    pub(super) fn of(report: &mut Report, root: Value<'d>, version: Version) -> Contracts<'d> {
        let dialect = Dialect::of(root, version);
        Contracts {
            root,
            dialect,
            modes: Modes::read(report, root),
            shelf: Shelf::new(root, dialect),
            drafts: Vec::new(),
            unreachable: BTreeSet::new(),
        }
    }

    /// Reads one operation of a path item; call in their order, for those that the API will have. `path`: with the base path.
    pub(super) fn read(
        &mut self,
        report: &mut Report,
        resolver: &mut Resolver<'d>,
        (label, path): (&str, String),
        at: Value<'d>,
        (item, operation): (Value<'d>, Value<'d>),
        endless: Endless,
    ) {
        self.refuse_matrix(report, resolver, [item, operation]);
        let modes = Modes::read(report, operation).or(self.modes);
        let mut contract = Contract::default();
        contract.set_request_mode(modes.request);
        contract.set_response_mode(modes.response);
        let mut reader = Reader {
            root: self.root,
            dialect: self.dialect,
            resolver,
            shelf: &mut self.shelf,
            flaws: Vec::new(),
            side: Side::Request,
            used: BTreeSet::new(),
        };
        if modes.request != Mode::Off {
            let (parameters, body) = reader.parameters(item, operation);
            contract.parameters = parameters;
            contract.request = body.or_else(|| reader.request_body(operation));
            if endless.requests && contract.request.as_ref().is_some_and(is_collected) {
                reader.flaw(at, ENDLESS);
            }
            if endless.brings_bodies && contract.request.is_none() {
                reader.flaw(at, NO_REQUEST);
            }
        }
        let requests = std::mem::take(&mut reader.used);
        reader.side = Side::Response;
        if modes.response != Mode::Off {
            contract.responses = reader.responses(operation);
            if endless.responses
                && contract.responses.iter().filter_map(|answer| answer.body.as_ref()).any(is_collected)
            {
                reader.flaw(at, ENDLESS);
            }
        }
        let (responses, flaws) = (reader.used, reader.flaws);
        let (label, place) = (label.to_owned(), at.place());
        self.drafts.push(Draft { contract, label, place, path, flaws, requests, responses });
    }

    /// Such an operation would be declared for nobody, whether or not its requests are compared.
    fn refuse_matrix(&mut self, report: &mut Report, resolver: &mut Resolver<'d>, owners: [Value<'d>; 2]) {
        for at in owners.into_iter().filter_map(|owner| owner.get("parameters")).flat_map(Value::items) {
            let Some(parameter) = follow(resolver, at) else { continue };
            let is = |key: &str, text: &str| parameter.get(key).is_some_and(|value| value.text() == text);
            if let Some(style) = parameter.get("style")
                && is("in", "path")
                && is("style", "matrix")
                && self.unreachable.insert(style.position())
            {
                let message = "`matrix` writes a `;` before the value, and no parameter of a path matches one";
                report.advise(
                    Code::BadPath,
                    style,
                    message,
                    "no request would reach the operation: write `simple` or `label`",
                );
            }
        }
    }

    /// Gives `operations` their contracts, in the order in which they were read, and the API its schemas.
    pub(super) fn finish(
        mut self,
        report: &mut Report,
        resolver: &mut Resolver<'d>,
        operations: &mut [Operation],
    ) -> Proto {
        self.shelf.fill(resolver);
        let asked = |modes: &Contract| {
            let is = |mode| matches!(mode, Mode::Enforce | Mode::Report);
            is(modes.request_mode()) || is(modes.response_mode())
        };
        if self.drafts.iter().any(|draft| asked(&draft.contract)) {
            self.shelf.report_formats(report);
        }
        let schemas = self.shelf.check(&mut self.drafts);
        let mut noted = BTreeSet::new();
        for (draft, operation) in self.drafts.iter_mut().zip(operations) {
            draft.tell(report, &mut noted);
            let contract = std::mem::take(&mut draft.contract);
            let off = contract.request_mode() == Mode::Off && contract.response_mode() == Mode::Off;
            operation.contract = (!off).then_some(contract);
        }
        schemas
    }
}

const NO_REQUEST: &str =
    "its requests are streams, and it declares no body: declare a `requestBody` with a media type and no schema";
const ENDLESS: &str = "the operation streams, and what has a schema is collected first";

fn is_collected(body: &Body) -> bool {
    body.required || body.contents.iter().any(|content| content.schema > 0)
}

// === impl Draft ===

impl Draft {
    /// What nobody sees before all of it is put together.
    fn compile(&mut self, compiled: &Schemas) {
        let sides = [
            (Side::Request, Contract { responses: Vec::new(), ..self.contract.clone() }),
            (Side::Response, Contract { responses: self.contract.responses.clone(), ..Contract::default() }),
        ];
        for (side, contract) in sides {
            if let Err(error) = microgw_schemas::Contract::compile(&contract, &self.path, compiled, compiled) {
                let (place, position) = (self.place.clone(), Position::default());
                self.flaws.push(Flaw { side, place, position, message: error.to_string() });
            }
        }
    }

    /// Reports what cannot be compared, and keeps it.
    fn tell(&mut self, report: &mut Report, noted: &mut BTreeSet<(Position, String)>) {
        for side in [Side::Request, Side::Response] {
            let mode = match side {
                Side::Request => self.contract.request_mode(),
                Side::Response => self.contract.response_mode(),
            };
            let mut kept = String::new();
            for flaw in self.flaws.iter().filter(|flaw| flaw.side == side && mode != Mode::Off) {
                if kept.is_empty() {
                    let Place { file, start, .. } = &flaw.place;
                    kept = format!("{} ({file}:{}:{})", flaw.message, start.line, start.column);
                }
                // Several operations may share what is wrong.
                if !noted.insert((flaw.position, format!("{:?} {}", flaw.place, flaw.message))) {
                    continue;
                }
                let asked = matches!(mode, Mode::Enforce | Mode::Report);
                let code = if asked { Code::BadContract } else { Code::UncheckedContract };
                let what = match side {
                    Side::Request => "requests",
                    Side::Response => "responses",
                };
                let message = format!("{what} of `{}` cannot be validated: {}", self.label, flaw.message);
                let mut diagnostic = Diagnostic::new(code, flaw.place.clone(), message);
                if asked {
                    diagnostic = diagnostic.help("change it, or write `x-microgw-validation: off` on the operation");
                }
                report.add(diagnostic);
            }
            match side {
                Side::Request => self.contract.request_flaw = kept,
                Side::Response => self.contract.response_flaw = kept,
            }
        }
    }
}

fn follow<'d>(resolver: &mut Resolver<'d>, value: Value<'d>) -> Option<Value<'d>> {
    let mut value = value;
    for _ in 0..32 {
        if value.get("$ref").is_none() {
            return Some(value);
        }
        value = resolver.step(value)?;
    }
    None
}

// === impl Reader ===

impl<'d> Reader<'_, 'd> {
    /// `value`, or what its references lead to in the end. `None` for one that leads nowhere, which is reported elsewhere.
    fn follow(&mut self, value: Value<'d>) -> Option<Value<'d>> {
        follow(self.resolver, value)
    }

    fn flaw(&mut self, at: Value<'d>, message: impl Into<String>) {
        let (side, place, position) = (self.side, at.place(), at.position());
        self.flaws.push(Flaw { side, place, position, message: message.into() });
    }

    /// Its place among the API's schemas, plus one.
    fn schema(&mut self, schema: Value<'d>) -> u32 {
        let index = self.shelf.put(schema, self.resolver);
        self.used.insert(index);
        index + 1
    }

    fn is(value: Value<'d>, key: &str) -> bool {
        value.get(key).is_some_and(|value| matches!(value.content(), Content::Bool(true)))
    }
}
