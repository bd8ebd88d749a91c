//! Protobuf as a model. What the compiler guarantees is checked here once more: an artifact may come from anywhere,
//! and its checksum only shows that it is whole.

mod contracts;
mod interceptors;
mod limits;
mod traffic;
mod transforms;

use microgw_proto::artifact::v1 as proto;

use super::ArtifactError;
use crate::bodies;
use crate::error_template::{self, ErrorTemplate, Syntax};
use crate::hosts;
use crate::model::{
    Access, Alternative, Api, EndpointId, KeyLocation, LimitId, Method, Model, Operation, Position, Requirement,
    Transports, Unenforced,
};
use crate::names;
use crate::path::{PathTemplate, normal};
use crate::traffic::answer;
use crate::url;

type Result<T> = std::result::Result<T, ArtifactError>;

pub(super) fn model(artifact: proto::Artifact) -> Result<Model> {
    let files = artifact.files;
    let endpoints = artifact.endpoints.into_iter().map(traffic::endpoint).collect::<Result<Vec<_>>>()?;
    let sound = transforms::Sound::of(&artifact.transforms);
    interceptors::check(&artifact.interceptors)?;
    let bounds = Bounds {
        files: files.len(),
        endpoints: endpoints.len(),
        limits: artifact.limits.len(),
        transforms: sound,
        interceptors: interceptors::times(&artifact.interceptors),
    };
    let apis = artifact.apis.into_iter().map(|api| bounds.api(api)).collect::<Result<Vec<_>>>()?;
    if !apis.is_sorted_by(|a, b| a.base_path <= b.base_path) || share_hosts(&apis) {
        return invalid("its base paths are not distinct and sorted");
    }
    if hosts::repeated(&apis) > hosts::MOST_REPEATED {
        return invalid("its APIs have too many hosts");
    }
    let unenforced = artifact.unenforced.into_iter().map(|entry| bounds.unenforced(entry)).collect::<Result<_>>()?;
    let error_templates = artifact.error_templates.into_iter().map(error_template).collect::<Result<_>>()?;
    let (project, limits, tiers) = (artifact.project, artifact.limits, artifact.tiers.unwrap_or_default());
    limits::check(&limits, &tiers)?;
    let (transforms, interceptors) = (artifact.transforms, artifact.interceptors);
    Ok(Model { project, files, endpoints, apis, unenforced, error_templates, limits, tiers, transforms, interceptors })
}

/// Whether two APIs with one base path answer to a common host.
fn share_hosts(apis: &[Api]) -> bool {
    apis.chunk_by(|a, b| a.base_path == b.base_path).any(|apis| {
        apis.iter().enumerate().any(|(index, api)| {
            apis.iter().skip(index + 1).any(|other| hosts::overlap(&api.traffic.hosts, &other.traffic.hosts))
        })
    })
}

/// One that does not render words nothing: the gateway's own texts are used.
fn error_template(template: proto::ErrorTemplate) -> Result<ErrorTemplate> {
    if template.source.len() > error_template::MAX_SIZE {
        return invalid("an error template is too long");
    }
    let Some(syntax) = Syntax::of_extension(&template.extension) else {
        return invalid(format!("`{}` is no kind of error template", template.extension));
    };
    let code = (template.code != 0).then_some(template.code);
    Ok(ErrorTemplate { code, problem: template.problem, syntax, source: template.source })
}

/// What indexes must stay below.
struct Bounds {
    files: usize,
    endpoints: usize,
    limits: usize,
    transforms: transforms::Sound,
    /// Milliseconds of each.
    interceptors: Vec<u64>,
}

// === impl Bounds ===

impl Bounds {
    fn api(&self, api: proto::Api) -> Result<Api> {
        let transports = Transports { http: api.http, https: api.https };
        if !transports.http && !transports.https {
            return invalid(format!("the API `{}` has no transport", api.name));
        }
        if !url::is_normal_path(&api.base_path) || normal::literal_path(&api.base_path).as_ref() != Ok(&api.base_path) {
            return invalid(format!("`{}` is no base path", api.base_path));
        }
        let credential_header = given(api.credential_header);
        if let Some(header) = credential_header.as_deref().filter(|header| !names::is_credential_header(header)) {
            return invalid(format!("`{header}` is no header for credentials"));
        }
        let operations =
            api.operations.into_iter().map(|operation| self.operation(operation)).collect::<Result<Vec<_>>>()?;
        let answers = operations.iter().filter_map(|operation: &Operation| operation.traffic.answer.as_ref());
        if answers.map(answer::size).sum::<usize>() > answer::MAX_BODIES {
            return invalid(format!("the answers of the API `{}` are too long", api.name));
        }
        let schemas = api.schemas.unwrap_or_default();
        contracts::check(&schemas, &operations)?;
        Ok(Api {
            schemas,
            name: api.name,
            version: api.version,
            base_path: api.base_path,
            owner: given(api.owner),
            transports,
            credential_header,
            limit: self.limit(api.limit)?,
            traffic: traffic::of_api(api.traffic)?,
            source: self.position(api.source)?,
            operations,
        })
    }

    fn operation(&self, operation: proto::Operation) -> Result<Operation> {
        let method = Method::ALL.into_iter().find(|method| method.as_str() == operation.method);
        let Some(method) = method else { return invalid(format!("`{}` is no method", operation.method)) };
        let path = PathTemplate::parse(&operation.path)
            .or_else(|error| invalid(format!("the path `{}`: {error}", operation.path)))?;
        let (production, sandbox) = (self.endpoint(operation.production)?, self.endpoint(operation.sandbox)?);
        let traffic = self.traffic(operation.traffic)?;
        if traffic.websocket && method != Method::Get {
            return invalid(format!("`{method} {path}` is no beginning of a WebSocket connection"));
        }
        if production.is_none() && sandbox.is_none() && traffic.answer.is_none() {
            return invalid(format!("`{method} {path}` has no endpoint"));
        }
        let bodies = operation.bodies.unwrap_or_default();
        if !bodies::are_sound(bodies) || traffic.unbuffered && bodies.max_request > 0 {
            return invalid("what an operation says of bodies is malformed");
        }
        let access = match operation.guard {
            None => Access::Public,
            Some(guard) => {
                Access::Guarded(guard.alternatives.into_iter().map(alternative).collect::<Result<Vec<_>>>()?)
            }
        };
        if bodies.kept_seconds > 0 && !bodies::can_be_kept(method, &access) {
            return invalid(format!("responses of `{method} {path}` are for nobody else"));
        }
        Ok(Operation {
            method,
            path,
            operation_id: given(operation.operation_id),
            access,
            production,
            sandbox,
            traffic,
            bodies,
            transforms: self.transforms.both(operation.request_transform, operation.response_transform)?,
            limit: self.limit(operation.limit)?,
            cost: limits::cost(operation.cost)?,
            contract: operation.contract,
            interceptors: interceptors::of_operation(operation.interceptors, &self.interceptors)?,
            source: self.position(operation.source)?,
        })
    }

    fn limit(&self, index: u32) -> Result<Option<LimitId>> {
        match index.checked_sub(1) {
            None => Ok(None),
            Some(id) if (id as usize) < self.limits => Ok(Some(LimitId(id))),
            Some(_) => invalid("an operation refers to a limit that does not exist"),
        }
    }

    fn endpoint(&self, index: u32) -> Result<Option<EndpointId>> {
        match index.checked_sub(1) {
            None => Ok(None),
            Some(id) if (id as usize) < self.endpoints => Ok(Some(EndpointId(id))),
            Some(_) => invalid("an operation refers to an endpoint that does not exist"),
        }
    }

    fn unenforced(&self, entry: proto::Unenforced) -> Result<Unenforced> {
        Ok(Unenforced { code: entry.code, message: entry.message, source: self.position(entry.source)? })
    }

    fn position(&self, position: Option<proto::Position>) -> Result<Position> {
        let Some(proto::Position { file, line, column }) = position else { return invalid("a position is missing") };
        if file as usize >= self.files || line == 0 || column == 0 {
            return invalid("a position is out of bounds");
        }
        Ok(Position { file, line, column })
    }
}

fn alternative(alternative: proto::Alternative) -> Result<Alternative> {
    if alternative.requirements.is_empty() {
        return invalid("an alternative asks for nothing");
    }
    alternative.requirements.into_iter().map(requirement).collect::<Result<_>>().map(Alternative)
}

fn requirement(requirement: proto::Requirement) -> Result<Requirement> {
    use proto::requirement::Kind;
    match requirement.kind {
        Some(Kind::Oauth2(proto::OAuth2 { scopes, all_scopes })) => {
            Ok(Requirement::OAuth2 { scopes: valid_scopes(scopes)?, all_scopes })
        }
        Some(Kind::Basic(proto::Basic { scopes, all_scopes })) => {
            Ok(Requirement::Basic { scopes: valid_scopes(scopes)?, all_scopes })
        }
        Some(Kind::ApiKey(proto::ApiKey { in_query, in_cookie, name })) => {
            let (location, sound) = match (in_query, in_cookie) {
                (false, false) => (KeyLocation::Header, names::is_credential_header(&name)),
                (true, false) => (KeyLocation::Query, names::is_query_name(&name)),
                (false, true) => (KeyLocation::Cookie, names::is_cookie_name(&name)),
                (true, true) => return invalid(format!("the API key `{name}` is in two places")),
            };
            if sound {
                Ok(Requirement::ApiKey { location, name })
            } else {
                invalid(format!("`{name}` is no name for an API key"))
            }
        }
        Some(Kind::ClientCertificate(proto::ClientCertificate { optional })) => {
            Ok(Requirement::ClientCertificate { optional })
        }
        Some(Kind::Unenforceable(scheme)) => Ok(Requirement::Unenforceable(scheme)),
        // A kind that a later minor version added: to drop it would let requests through.
        None => invalid("a security requirement is of an unknown kind"),
    }
}

fn valid_scopes(scopes: Vec<String>) -> Result<Vec<String>> {
    match scopes.iter().find(|scope| !names::is_scope(scope)) {
        Some(scope) => invalid(format!("`{scope}` is no scope")),
        None => Ok(scopes),
    }
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn invalid<T>(what: impl Into<String>) -> Result<T> {
    Err(ArtifactError::Invalid(what.into()))
}
