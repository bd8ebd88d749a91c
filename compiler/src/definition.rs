//! A definition as it was written to an [`Api`]: Swagger 2.0, OpenAPI 3.0 and 3.1 in one shape.
//!
//! Schemas are brought to one dialect; what they say is another crate's to understand.

mod access;
mod answers;
mod bodies;
mod contracts;
mod cors;
mod endpoints;
mod extensions;
mod features;
mod fields;
mod headers;
mod hosts;
mod limits;
mod mirrors;
mod mutual_tls;
mod operations;
mod references;
mod schemes;
mod servers;
mod shape;
mod streams;

use std::collections::HashMap;

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::traffic::v1::ApiTraffic;

use crate::compile::{EmptySecurity, Policies, Report};
use crate::diagnostic::{Code, Place};
use crate::model::{Api, Endpoint, EndpointId, Transports};
use crate::names;
use crate::path::normal;
use crate::source::{Document, Value};
use crate::url;
use crate::{interceptors, transforms};
use access::Guard;
use answers::Answers;
use contracts::Contracts;
use endpoints::{Environments, Named};
use extensions::Level;
pub(crate) use fields::{boolean, did_you_mean, list, object, scalar, suggest, text};
use mutual_tls::MutualTls;
use operations::Paths;
pub(crate) use references::{Bundle, Library, Resolver};
use schemes::Schemes;
use servers::{Address, Server};
pub(crate) use shape::{integer, one_of};
use streams::Streams;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Swagger2,
    OpenApi3,
}

/// Each distinct endpoint once.
#[derive(Default)]
pub(crate) struct EndpointTable {
    endpoints: Vec<Endpoint>,
    ids: HashMap<Endpoint, EndpointId>,
}

/// One definition, read.
pub(crate) struct Definition {
    pub api: Api,
    /// Where the base path was declared, for what is wrong between definitions.
    pub base_path: Place,
}

/// Whether a file is a definition; other files are fragments that definitions may refer to.
pub(crate) fn is_definition(document: &Document) -> bool {
    ["openapi", "swagger"].into_iter().any(|key| document.root().get(key).is_some())
}

/// Reads a definition. `None` when it has no identity; whatever else is wrong is reported, and the rest is read.
pub(crate) fn read(
    bundle: &Bundle,
    report: &mut Report,
    policies: &mut Policies,
    table: &mut EndpointTable,
    empty: EmptySecurity,
) -> Option<Definition> {
    let root = bundle.root();
    let version = version(report, root)?;
    let (name, api_version, source) = identity(report, root)?;
    extensions::check(report, Level::Api, root);

    let servers = match version {
        Version::Swagger2 => servers::of_swagger(report, root),
        Version::OpenApi3 => servers::of_openapi(report, root),
    };
    let (base_path, base_path_at) = base_path(report, root, api_version.text(), &servers, name)?;
    let named = Named::of(report, root);
    let id = endpoints::id_of_api(name.text(), api_version.text());
    let of_servers = endpoints::from_servers(report, &servers, &id);
    let environments = Environments::of(report, root, &of_servers, &named, &id);

    let mut resolver = Resolver::new(bundle);
    let schemes = Schemes::of(report, &mut resolver, root, version);
    let cors = cors::read(report, root);
    let mutual_tls = mutual_tls::read(report, root);
    let edits = headers::read(report, root);
    let compressed = features::compression(report, root);
    let bodies = bodies::read(report, root, &OperationBodies::default());
    let limit = limits::tier(report, policies, root, source);
    let cost = limits::cost(report, policies, root, source);
    let guard = Guard::new(report, root, schemes, empty, mutual_tls);
    let answers = Answers::of(report, root, version);
    let streams = Streams::of(report, root);
    let mirrors = mirrors::read(report, table, &named, root).unwrap_or_default();
    let contracts = Contracts::of(report, root, version);
    let mut transports = transports(report, root);
    // As in 3.2.
    transports.https |= mutual_tls == Some(MutualTls::Mandatory);
    let hosts = hosts::read(report, root);
    let credential_header = credential_header(report, root);
    let owner = root.get("x-wso2-owner").and_then(|owner| text(report, "x-wso2-owner", owner)).map(str::to_owned);

    let transforms = transforms::read(report, &mut policies.transforms, root);
    let interceptors = interceptors::read(report, &mut policies.interceptors, root);
    let relative = servers.iter().find(|server| matches!(server.address, Address::Relative(_))).map(|server| server.at);
    let paths = Paths {
        report,
        resolver: &mut resolver,
        policies,
        table,
        guard,
        answers,
        streams,
        mirrors,
        contracts,
        named,
        environments,
        version,
        base_path: &base_path,
        cost,
        edits,
        compressed,
        bodies,
        transforms,
        interceptors,
        credential_header: credential_header.as_deref(),
        relative,
    };
    let (mut operations, schemas) = paths.read(root);
    features::response_cache(report, root, &mut operations);
    let api = Api {
        name: name.text().to_owned(),
        version: api_version.text().to_owned(),
        base_path,
        owner,
        transports,
        credential_header,
        limit,
        traffic: ApiTraffic { cors, hosts },
        source,
        operations,
        schemas,
    };
    Some(Definition { api, base_path: base_path_at })
}

fn version(report: &mut Report, root: Value<'_>) -> Option<Version> {
    let (swagger, openapi) = (root.get("swagger"), root.get("openapi"));
    let at = swagger.or(openapi)?;
    let number = scalar(report, if swagger.is_some() { "swagger" } else { "openapi" }, at)?;
    let minor = |minor: &str| number == minor || number.strip_prefix(minor).is_some_and(|patch| patch.starts_with('.'));
    match (swagger, openapi) {
        (Some(_), None) if number == "2.0" => Some(Version::Swagger2),
        (None, Some(_)) if minor("3.0") || minor("3.1") => Some(Version::OpenApi3),
        (Some(_), Some(_)) => {
            report.say(Code::UnsupportedVersion, at, "the definition has both `swagger` and `openapi`");
            None
        }
        _ => {
            let message = format!("version `{number}` is not supported: only Swagger 2.0, OpenAPI 3.0 and OpenAPI 3.1");
            report.say(Code::UnsupportedVersion, at, message);
            None
        }
    }
}

/// Title, version, and where the title is.
fn identity<'d>(report: &mut Report, root: Value<'d>) -> Option<(Value<'d>, Value<'d>, crate::model::Position)> {
    let Some(info) = features::part(report, root, "info") else {
        if root.get("info").is_none() {
            report.say(Code::MissingInfo, root, "the definition has no `info`");
        }
        return None;
    };
    let mut part = |key: &str| {
        let Some(value) = info.get(key) else {
            report.say(Code::MissingInfo, info, format!("`info` has no `{key}`"));
            return None;
        };
        let written = scalar(report, key, value)?;
        if written.trim().is_empty() || written.chars().any(char::is_control) {
            report.say(Code::MissingInfo, value, format!("`info.{key}` is empty or has control characters"));
            return None;
        }
        Some(value)
    };
    let (title, version) = (part("title"), part("version"));
    let title = title?;
    Some((title, version?, title.position()))
}

/// `x-wso2-basePath`, else the path of the first server, else the root; and where it was declared.
fn base_path(
    report: &mut Report,
    root: Value<'_>,
    version: &str,
    servers: &[Server<'_>],
    title: Value<'_>,
) -> Option<(String, Place)> {
    if let Some(at) = root.get("x-wso2-basePath") {
        let written = text(report, "x-wso2-basePath", at)?;
        let resolved = written.replace("{version}", version);
        let rooted = if resolved.starts_with('/') { resolved } else { format!("/{resolved}") };
        let Some(path) = url::normal_path(&rooted).and_then(|path| normal::literal_path(&path).ok()) else {
            let message = format!("the base path `{rooted}` is not a concrete, normalised path");
            report.advise(Code::BadBasePath, at, message, "`{version}` is the only placeholder");
            return None;
        };
        return Some((path, at.place()));
    }
    let first = servers.first().map(|server| {
        let path = match &server.address {
            Address::Absolute(url) => url.path.as_str(),
            Address::Relative(path) => path.as_str(),
            Address::Broken => "",
        };
        (path.to_owned(), server.at)
    });
    // The backend's own path stays as it is written.
    let first = match first {
        Some((path, at)) => match normal::literal_path(&path) {
            Ok(path) => Some((path, at.place())),
            Err(error) => {
                report.say(Code::BadBasePath, at, format!("the base path `{path}` matches nothing: {error}"));
                return None;
            }
        },
        None => None,
    };
    let (path, place) = first.unwrap_or_else(|| (String::new(), title.place()));
    let broken = servers.first().is_some_and(|server| matches!(server.address, Address::Broken));
    if path.is_empty() && !broken {
        let message = format!("`{}` names no base path: `/` is used", title.text());
        report.advise(Code::NoBasePath, title, message, "add `x-wso2-basePath`");
    }
    Some((path, place))
}

fn transports(report: &mut Report, root: Value<'_>) -> Transports {
    let both = Transports { http: true, https: true };
    let Some(listed) = root.get("x-wso2-transports").and_then(|value| list(report, "x-wso2-transports", value)) else {
        return both;
    };
    let mut transports = Transports { http: false, https: false };
    for item in listed.items() {
        match shape::one_of(report, "x-wso2-transports", item, &["http", "https"]) {
            Some("http") => transports.http = true,
            Some(_) => transports.https = true,
            None => return both,
        }
    }
    if transports == (Transports { http: false, https: false }) {
        report.say(Code::BadValue, listed, "`x-wso2-transports` is empty: nothing would serve the API");
        return both;
    }
    transports
}

fn credential_header(report: &mut Report, root: Value<'_>) -> Option<String> {
    let at = root.get("x-wso2-auth-header")?;
    let name = text(report, "x-wso2-auth-header", at)?;
    let header = names::credential_header(name);
    header
        .map_err(|error| report.say(Code::BadHeaderName, at, format!("`{name}` cannot carry credentials: {error}")))
        .ok()
}

// === impl EndpointTable ===

impl EndpointTable {
    pub(crate) fn into_endpoints(self) -> Vec<Endpoint> {
        self.endpoints
    }

    fn get(&self, EndpointId(index): EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(index as usize)
    }

    fn id(&mut self, endpoint: &Endpoint) -> EndpointId {
        if let Some(id) = self.ids.get(endpoint) {
            return *id;
        }
        let id = EndpointId(u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX));
        self.endpoints.push(endpoint.clone());
        self.ids.insert(endpoint.clone(), id);
        id
    }
}
