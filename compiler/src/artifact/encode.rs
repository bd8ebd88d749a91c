//! The model as protobuf.

use microgw_proto::artifact::v1 as proto;
use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::contracts::v1::{Contract, Mode};
use microgw_proto::interceptors::v1::OperationInterceptors;
use microgw_proto::limits::v1::Tiers;
use microgw_proto::traffic::v1::{ApiTraffic, EndpointPolicy, OperationTraffic};

use super::{BODIES, CONTRACTS, INTERCEPTORS, KEPT, LIMITS, TRAFFIC};
use crate::error_template::ErrorTemplate;
use crate::model::{
    Access, Alternative, Api, BackendUrl, Canary, Endpoint, EndpointId, KeyLocation, LimitId, Lookup, Model, Operation,
    Position, Requirement, Target, TransformId, Transforms, Unenforced,
};

pub(super) fn artifact(model: &Model) -> proto::Artifact {
    proto::Artifact {
        project: model.project.clone(),
        files: model.files.clone(),
        endpoints: model.endpoints.iter().map(endpoint).collect(),
        apis: model.apis.iter().map(api).collect(),
        unenforced: model.unenforced.iter().map(unenforced).collect(),
        requires: requires(model),
        error_templates: model.error_templates.iter().map(error_template).collect(),
        limits: model.limits.clone(),
        tiers: (model.tiers != Tiers::default()).then(|| model.tiers.clone()),
        transforms: model.transforms.clone(),
        interceptors: model.interceptors.clone(),
    }
}

fn endpoint(endpoint: &Endpoint) -> proto::Endpoint {
    proto::Endpoint {
        targets: endpoint.targets.iter().map(target).collect(),
        name: endpoint.name.clone(),
        policy: given(&endpoint.policy),
        canary: endpoint.canary.as_ref().map(canary),
    }
}

fn target(target: &Target) -> proto::Target {
    use proto::target::Lookup as Found;
    proto::Target {
        url: Some(url(&target.url)),
        weight: target.weight,
        lookup: match &target.lookup {
            Lookup::Host => None,
            Lookup::Etcd(key) => Some(Found::Etcd(key.clone())),
            Lookup::Srv(name) => Some(Found::Srv(name.clone())),
            Lookup::Consul(service) => Some(Found::Consul(service.clone())),
        },
    }
}

fn canary(canary: &Canary) -> proto::Canary {
    let (header, value) = canary.header.clone().unwrap_or_default();
    proto::Canary {
        targets: canary.targets.iter().map(target).collect(),
        share: canary.share,
        header,
        value: value.unwrap_or_default(),
    }
}

fn url(url: &BackendUrl) -> proto::Url {
    proto::Url { tls: url.tls, host: url.host.clone(), port: url.port.into(), path: url.path.clone() }
}

fn api(api: &Api) -> proto::Api {
    proto::Api {
        name: api.name.clone(),
        version: api.version.clone(),
        base_path: api.base_path.clone(),
        owner: api.owner.clone().unwrap_or_default(),
        http: api.transports.http,
        https: api.transports.https,
        credential_header: api.credential_header.clone().unwrap_or_default(),
        source: Some(position(api.source)),
        limit: limit_index(api.limit),
        traffic: given(&api.traffic),
        schemas: given(&api.schemas),
        operations: api.operations.iter().map(operation).collect(),
    }
}

fn operation(operation: &Operation) -> proto::Operation {
    proto::Operation {
        method: operation.method.as_str().to_owned(),
        path: operation.path.as_str().to_owned(),
        operation_id: operation.operation_id.clone().unwrap_or_default(),
        guard: match &operation.access {
            Access::Public => None,
            Access::Guarded(alternatives) => {
                Some(proto::Guard { alternatives: alternatives.iter().map(alternative).collect() })
            }
        },
        production: endpoint_index(operation.production),
        sandbox: endpoint_index(operation.sandbox),
        source: Some(position(operation.source)),
        limit: limit_index(operation.limit),
        cost: operation.cost.clone(),
        traffic: given(&operation.traffic),
        bodies: given(&operation.bodies),
        request_transform: transform_index(operation.transforms.request),
        response_transform: transform_index(operation.transforms.response),
        contract: operation.contract.clone(),
        interceptors: given(&operation.interceptors),
    }
}

/// What a reader that does not know it would not enforce.
fn requires(model: &Model) -> Vec<String> {
    let limited = !model.limits.is_empty() || model.tiers != Tiers::default();
    let plain = |endpoint: &Endpoint| {
        endpoint.policy == EndpointPolicy::default()
            && endpoint.canary.is_none()
            && endpoint.targets.iter().all(|target| target.weight == 1 && target.lookup == Lookup::Host)
    };
    let shaped = |api: &Api| {
        api.traffic != ApiTraffic::default()
            || api.operations.iter().any(|operation| operation.traffic != OperationTraffic::default())
    };
    let traffic = !model.endpoints.iter().all(plain) || model.apis.iter().any(shaped);
    let asked = |contract: &Contract| {
        [contract.request_mode(), contract.response_mode()]
            .iter()
            .any(|mode| matches!(mode, Mode::Enforce | Mode::Report))
    };
    let operations = || model.apis.iter().flat_map(|api| &api.operations);
    let bodies = operations().any(|operation| {
        operation.bodies != OperationBodies::default() || operation.transforms != Transforms::default()
    });
    let kept = operations().any(|operation| operation.bodies.kept_seconds > 0);
    let intercepted = operations().any(|operation| operation.interceptors != OperationInterceptors::default());
    let contracts = operations().filter_map(|operation| operation.contract.as_ref()).any(asked);
    let required = [
        limited.then_some(LIMITS),
        traffic.then_some(TRAFFIC),
        bodies.then_some(BODIES),
        kept.then_some(KEPT),
        intercepted.then_some(INTERCEPTORS),
        contracts.then_some(CONTRACTS),
    ];
    required.into_iter().flatten().map(str::to_owned).collect()
}

/// Nothing, where all is as it is by default.
fn given<T: Default + PartialEq + Clone>(message: &T) -> Option<T> {
    (*message != T::default()).then(|| message.clone())
}

fn transform_index(id: Option<TransformId>) -> u32 {
    id.map_or(0, |TransformId(index)| index + 1)
}

fn limit_index(id: Option<LimitId>) -> u32 {
    id.map_or(0, |LimitId(index)| index + 1)
}

fn endpoint_index(id: Option<EndpointId>) -> u32 {
    id.map_or(0, |EndpointId(index)| index + 1)
}

fn alternative(Alternative(requirements): &Alternative) -> proto::Alternative {
    proto::Alternative { requirements: requirements.iter().map(requirement).collect() }
}

fn requirement(requirement: &Requirement) -> proto::Requirement {
    use proto::requirement::Kind;
    let kind = match requirement {
        Requirement::OAuth2 { scopes, all_scopes } => {
            Kind::Oauth2(proto::OAuth2 { scopes: scopes.clone(), all_scopes: *all_scopes })
        }
        Requirement::Basic { scopes, all_scopes } => {
            Kind::Basic(proto::Basic { scopes: scopes.clone(), all_scopes: *all_scopes })
        }
        Requirement::ApiKey { location, name } => Kind::ApiKey(proto::ApiKey {
            in_query: *location == KeyLocation::Query,
            in_cookie: *location == KeyLocation::Cookie,
            name: name.clone(),
        }),
        Requirement::ClientCertificate { optional } => {
            Kind::ClientCertificate(proto::ClientCertificate { optional: *optional })
        }
        Requirement::Unenforceable(scheme) => Kind::Unenforceable(scheme.clone()),
    };
    proto::Requirement { kind: Some(kind) }
}

fn error_template(template: &ErrorTemplate) -> proto::ErrorTemplate {
    proto::ErrorTemplate {
        code: template.code.unwrap_or_default(),
        problem: template.problem,
        extension: template.syntax.extension().to_owned(),
        source: template.source.clone(),
    }
}

fn unenforced(unenforced: &Unenforced) -> proto::Unenforced {
    proto::Unenforced {
        code: unenforced.code.clone(),
        message: unenforced.message.clone(),
        source: Some(position(unenforced.source)),
    }
}

fn position(Position { file, line, column }: Position) -> proto::Position {
    proto::Position { file, line, column }
}
