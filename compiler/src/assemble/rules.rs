//! The rules of a snapshot: what the engine asks of each guarded operation.

use std::collections::{BTreeSet, HashMap};

use microgw_proto::contracts::v1::{Contract, Mode};
use microgw_proto::limits::v1::Tiers;
use microgw_proto::rules::v1 as pb;
use microgw_transforms::{Direction, Needs, Transform};
use prost::Message as _;

use super::answers::Answers;
use super::client_certificates;
use super::kept;
use super::phases;
use super::resource_metadata;
use super::validation;
use super::wire::{digest, hex};
use crate::model::{
    Access, Alternative, Api, KeyLocation, LimitId, Model, Operation, Requirement, TransformId, Transforms,
};
use crate::settings::{BackendJwt, ClaimMapping, Fact, IdentityHeader, Settings};

/// Collects the rules of one snapshot; equal policies are stored once.
pub struct Rules<'a> {
    settings: &'a Settings,
    model: &'a Model,
    book: pb::RuleBook,
    /// What every rule's identity covers besides its own content: issuers, API keys, what backends are told of callers, and
    /// how faults are worded.
    realm: Vec<u8>,
    policies: HashMap<Vec<u8>, u32>,
    /// Of transformations, for requests or for responses.
    needs: HashMap<(TransformId, bool), Needs>,
    /// Of each interceptor of the model.
    program_digests: Vec<[u8; 16]>,
    /// Of the API at hand: a hash of all of its schemas, and those that contracts refer to.
    schemas: Option<([u8; 16], BTreeSet<u32>)>,
}

/// 32 hexadecimal digits: what a route carries.
pub type RuleId = String;

/// The rule of a route, and what the service is asked about for it.
#[derive(Clone, Debug)]
pub struct Ruled {
    pub id: RuleId,
    /// `None`: the request's head alone.
    pub phases: Option<pb::Phases>,
    /// It matters whether requests have a body.
    pub looks_for_body: bool,
    /// Requests may arrive at the backend with another method.
    pub remade: bool,
    /// The path that arrives at the backend may be another one than was matched.
    pub rewrites: bool,
}

// === impl Rules ===

impl<'a> Rules<'a> {
    pub fn new(settings: &'a Settings, model: &'a Model, answers: &Answers) -> Rules<'a> {
        let issuers = settings.issuers.iter().map(|issuer| pb::Issuer {
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            algorithms: issuer.algorithms.clone(),
            skew_seconds: issuer.skew_seconds,
            claims: issuer.claims.iter().map(claim_mapping).collect(),
            client_claim: issuer.client_claim.clone(),
            rfc9068: issuer.rfc9068,
            require_dpop: issuer.require_dpop,
            user_claims: issuer.user_claims,
            validate_subscription: issuer.validate_subscription,
        });
        let keys = &settings.api_keys;
        let mut book = pb::RuleBook {
            issuers: issuers.collect(),
            api_keys: Some(pb::ApiKeys {
                issuer: keys.issuer.clone(),
                skew_seconds: keys.skew_seconds,
                allow_unlimited: keys.allow_unlimited,
                require_allowed_apis: keys.require_allowed_apis,
            }),
            introspection: settings.introspection.as_ref().map(|introspection| pb::Introspection {
                issuer: introspection.issuer.clone(),
                audiences: introspection.audiences.clone(),
                skew_seconds: introspection.skew_seconds,
                failed_jwts: introspection.failed_jwts,
                remember_milliseconds: introspection.remember_milliseconds,
                user_claims: introspection.user_claims,
                validate_subscription: introspection.validate_subscription,
            }),
            revocable: settings.revocable,
            dpop: Some(pb::Dpop {
                origins: origins(settings, model),
                max_age_seconds: settings.dpop.max_age_seconds,
                skew_seconds: settings.dpop.skew_seconds,
            }),
            certificate_header: client_certificates::header(&settings.client_certificates),
            backend_jwt: settings.backend_jwt.as_ref().map(backend_jwt),
            identity_headers: settings.identity_headers.iter().map(identity_header).collect(),
            subscriptions: settings.subscriptions,
            fault_bodies: answers.own(),
            tiers: (model.tiers != Tiers::default()).then(|| model.tiers.clone()),
            trusted_hops: settings.listeners.trusted_hops,
            ..Default::default()
        };
        let realm = book.encode_to_vec();
        // Each rule's identity has those that it is subject to.
        book.limits.clone_from(&model.limits);
        book.transforms.clone_from(&model.transforms);
        book.interceptors.clone_from(&model.interceptors);
        let program_digests = model.interceptors.iter().map(|program| digest(&[&program.encode_to_vec()])).collect();
        let (policies, needs) = (HashMap::new(), HashMap::new());
        Rules { settings, model, realm, book, policies, needs, program_digests, schemas: None }
    }

    /// What is to become of an operation's messages takes.
    fn needs(&mut self, transforms: Transforms) -> [Option<Needs>; 2] {
        let model = self.model;
        let mut of = |id: Option<TransformId>, direction| {
            let id = id?;
            let load = || Transform::load(model.transform(id)?, direction).ok().map(|transform| transform.needs());
            // One that cannot be loaded is met by nobody: the book is refused.
            Some(*self.needs.entry((id, direction == Direction::Request)).or_insert_with(|| load().unwrap_or_default()))
        };
        [of(transforms.request, Direction::Request), of(transforms.response, Direction::Response)]
    }

    /// What the programs of an operation are, for its rule's identity.
    fn programs(&self, operation: &Operation) -> Vec<u8> {
        let uses = &operation.interceptors;
        let mut told = uses.encode_to_vec();
        for one in uses.request.iter().chain(&uses.response) {
            told.extend(self.program_digests.get(one.interceptor as usize).into_iter().flatten());
        }
        told
    }

    /// Call before the API's operations.
    pub fn api(&mut self, api: &Api) {
        self.book.apis.push(pb::Api {
            name: api.name.clone(),
            version: api.version.clone(),
            base_path: api.base_path.clone(),
            of_hosts: !api.traffic.hosts.is_empty(),
            schemas: None,
        });
    }

    /// Whether something limits those who call a public operation. Without a production endpoint, or an answer, nobody can.
    fn is_limited(&self, operation: &Operation, limits: [Option<LimitId>; 2]) -> bool {
        (operation.production.is_some() || operation.traffic.answer.is_some())
            && (self.model.limits_everybody() || limits.iter().any(Option::is_some))
    }

    fn phases(
        &self,
        api: &Api,
        operation: &Operation,
        needs: [Option<Needs>; 2],
        contract: Option<&Contract>,
        programs: phases::Programs,
    ) -> Option<pb::Phases> {
        let of_contract = contract.map(validation::needs).unwrap_or_default();
        let limited = self.is_limited(operation, [api.limit, operation.limit]);
        phases::of(self.model, self.settings, operation, limited, needs, of_contract, programs)
    }

    /// What of an operation's messages is looked at.
    pub fn looks_at(&mut self, api: &Api, operation: &Operation) -> Option<pb::Phases> {
        let needs = self.needs(operation.transforms);
        let contract = validation::contract(self.settings, operation);
        let programs = phases::Programs::of(self.model, &operation.interceptors);
        self.phases(api, operation, needs, contract.as_ref(), programs)
    }

    /// The rule of an operation of the last [`Self::api`]; `None` where it is public, nothing limits it and nothing looks at what
    /// passes.
    pub fn operation(&mut self, api: &Api, operation: &Operation) -> Option<Ruled> {
        let limits = [api.limit, operation.limit];
        let needs = self.needs(operation.transforms);
        let contract = validation::contract(self.settings, operation);
        let programs = phases::Programs::of(self.model, &operation.interceptors);
        let phases = self.phases(api, operation, needs, contract.as_ref(), programs);
        let rewrites = needs[0].is_some_and(|needs| needs.writes_path) || programs.requests;
        let alternatives = match &operation.access {
            Access::Guarded(alternatives) => alternatives.as_slice(),
            Access::Public if phases.is_some() || contract.is_some() || self.is_limited(operation, limits) => &[],
            Access::Public => return None,
        };
        let mut requirements = alternatives.iter().flat_map(|alternative| &alternative.0);
        let takes_tokens = requirements.any(|requirement| matches!(requirement, Requirement::OAuth2 { .. }));
        let resource_metadata = if takes_tokens { resource_metadata::url(self.settings, api) } else { None };
        let public = operation.access == Access::Public;
        let policy = pb::Policy {
            alternatives: alternatives.iter().map(alternative).collect(),
            credential_header: api
                .credential_header
                .clone()
                .unwrap_or_else(|| self.settings.credentials.header.clone()),
            // Those of a public operation are its backend's.
            remove_credentials: self.settings.credentials.remove && !public,
            // What the gateway answers by itself is for callers of both kinds.
            production: operation.production.is_some() || operation.traffic.answer.is_some(),
            sandbox: operation.sandbox.is_some() || operation.traffic.answer.is_some(),
            client_trust: client_certificates::trust(&self.settings.client_certificates, api, &operation.access),
            resource_metadata: resource_metadata.unwrap_or_default(),
            public,
        };
        let remade = needs[0].is_some_and(|needs| needs.writes_method) || programs.requests;
        let looks_for_body = contract.as_ref().is_some_and(|contract| contract.request_mode() != Mode::Off && contract.request.is_none())
            // Its client may wait for the first word.
            && !operation.traffic.unbuffered;
        let agreed = contract.as_ref().map(|contract| self.agree(api, contract)).unwrap_or_default();
        let encoded = policy.encode_to_vec();
        let path = format!("{}{}", api.base_path, operation.path);
        let method = operation.method.as_str();
        let identity =
            [&self.realm[..], &encoded, api.name.as_bytes(), api.version.as_bytes(), api.base_path.as_bytes()];
        let policies = limits.map(|limit| limit.and_then(|id| self.model.limit(id)));
        let limited = policies.map(|policy| policy.map(prost::Message::encode_to_vec).unwrap_or_default());
        let cost = operation.cost.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let hosts = api.traffic.hosts.join(" ");
        let followed = phases.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let transforms = [operation.transforms.request, operation.transforms.response];
        let changed = transforms.map(|id| {
            id.and_then(|id| self.model.transform(id)).map(prost::Message::encode_to_vec).unwrap_or_default()
        });
        let own = [
            method.as_bytes(),
            path.as_bytes(),
            &limited[0],
            &limited[1],
            &cost,
            hosts.as_bytes(),
            &followed,
            &(changed[0].len() as u64).to_be_bytes(),
            &changed[0],
            &changed[1],
            &(agreed.len() as u64).to_be_bytes(),
            &agreed,
            &self.programs(operation),
            &kept::told(self.model, api, operation),
        ];
        let id = digest(&[&identity[..], &own].concat());
        let next = u32::try_from(self.book.policies.len()).unwrap_or(u32::MAX);
        let index = *self.policies.entry(encoded).or_insert(next);
        if index == next {
            self.book.policies.push(policy);
        }
        self.book.rules.push(pb::Rule {
            id: id.to_vec(),
            api: u32::try_from(self.book.apis.len()).unwrap_or(u32::MAX).saturating_sub(1),
            policy: index,
            method: method.to_owned(),
            path,
            api_limit: limit_index(api.limit),
            operation_limit: limit_index(operation.limit),
            cost: operation.cost.clone(),
            phases,
            request_transform: transform_index(operation.transforms.request),
            response_transform: transform_index(operation.transforms.response),
            contract,
            interceptors: (programs.requests || programs.responses).then(|| operation.interceptors.clone()),
            keep: kept::keep(self.model, operation),
        });
        Some(Ruled { id: hex(&id), phases, looks_for_body, remade, rewrites })
    }

    /// Notes which schemas of the API a contract needs, and tells what it and they say.
    fn agree(&mut self, api: &Api, contract: &Contract) -> Vec<u8> {
        let (schemas, used) =
            self.schemas.get_or_insert_with(|| (digest(&[&api.schemas.encode_to_vec()]), BTreeSet::new()));
        used.extend(validation::used(contract));
        [&contract.encode_to_vec()[..], schemas].concat()
    }

    /// Call after the API's operations.
    pub fn end_of_api(&mut self, api: &Api) {
        if let Some((_, used)) = self.schemas.take()
            && let Some(book) = self.book.apis.last_mut()
        {
            book.schemas = Some(validation::pruned(&api.schemas, &used));
        }
    }

    pub fn finish(self, generation: &str) -> pb::RuleBook {
        pb::RuleBook { generation: generation.to_owned(), ..self.book }
    }
}

/// Where proofs may be for: the gateway's own place, and the same with each name that APIs answer to.
fn origins(settings: &Settings, model: &Model) -> Vec<String> {
    let names: BTreeSet<&String> =
        model.apis.iter().flat_map(|api| &api.traffic.hosts).filter(|host| !host.starts_with('*')).collect();
    let of_hosts = settings
        .dpop
        .origins
        .iter()
        .flat_map(|origin| names.iter().filter_map(move |host| resource_metadata::on_host(origin, host)));
    settings.dpop.origins.iter().cloned().chain(of_hosts).collect()
}

fn transform_index(id: Option<TransformId>) -> u32 {
    id.map_or(0, |TransformId(index)| index + 1)
}

fn limit_index(id: Option<LimitId>) -> u32 {
    id.map_or(0, |LimitId(index)| index + 1)
}

fn claim_mapping(mapping: &ClaimMapping) -> pb::ClaimMapping {
    let replacement = |(from, to): &(String, String)| pb::Replacement { from: from.clone(), to: to.clone() };
    pb::ClaimMapping {
        from: mapping.from.clone(),
        to: mapping.to.clone(),
        split: mapping.split.clone(),
        strip_prefix: mapping.strip_prefix.clone(),
        values: mapping.values.iter().map(replacement).collect(),
        keep_others: mapping.keep_others,
        join: mapping.join.clone(),
    }
}

fn backend_jwt(settings: &BackendJwt) -> pb::BackendJwt {
    pb::BackendJwt {
        header: settings.header.clone(),
        issuer: settings.issuer.clone(),
        audiences: settings.audiences.clone(),
        dialect: settings.dialect.clone(),
        restricted: settings.restricted.clone(),
        lifetime_seconds: settings.lifetime_seconds,
        reuse_seconds: settings.reuse_seconds,
    }
}

fn identity_header(header: &IdentityHeader) -> pb::IdentityHeader {
    use pb::identity_header::Fact as Told;
    let fact = match header.fact {
        Fact::User => Told::User,
        Fact::Client => Told::Client,
        Fact::Application => Told::Application,
        Fact::Scopes => Told::Scopes,
        Fact::KeyId => Told::KeyId,
        Fact::KeyType => Told::KeyType,
    };
    pb::IdentityHeader { fact: fact.into(), name: header.name.clone() }
}

fn alternative(alternative: &Alternative) -> pb::Alternative {
    pb::Alternative { requirements: alternative.0.iter().map(requirement).collect() }
}

fn requirement(requirement: &Requirement) -> pb::Requirement {
    use pb::requirement::Kind;
    let kind = match requirement {
        Requirement::OAuth2 { scopes, all_scopes } => {
            Kind::Oauth2(pb::OAuth2 { scopes: scopes.clone(), all_scopes: *all_scopes })
        }
        Requirement::Basic { scopes, all_scopes } => {
            Kind::Basic(pb::Basic { scopes: scopes.clone(), all_scopes: *all_scopes })
        }
        Requirement::ApiKey { location, name } => Kind::ApiKey(pb::ApiKey {
            location: match location {
                KeyLocation::Header => pb::api_key::Location::Header,
                KeyLocation::Query => pb::api_key::Location::Query,
                KeyLocation::Cookie => pb::api_key::Location::Cookie,
            }
            .into(),
            name: name.clone(),
        }),
        Requirement::ClientCertificate { optional } => {
            Kind::ClientCertificate(pb::ClientCertificate { optional: *optional })
        }
        Requirement::Unenforceable(scheme) => Kind::Unenforceable(scheme.clone()),
    };
    pb::Requirement { kind: Some(kind) }
}
