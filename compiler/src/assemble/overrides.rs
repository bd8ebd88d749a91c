//! Endpoints as the settings have them, where they say something else than the definitions; and the secrets that are missing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::{Balance, Credentials};

use crate::model::{Endpoint, EndpointId, Lookup, Model};
use crate::settings::{Change, EndpointOverride, Environment, Settings, password};
use crate::traffic::mirror::has_one_scheme;

/// Who uses a secret: `API `name:version` (file:line:column)`.
type User = String;

/// `model` with each endpoint as `settings` have it, as far as they fit; and what does not, in words.
pub fn overridden<'m>(model: &'m Model, settings: &Settings) -> (Cow<'m, Model>, Vec<String>) {
    if settings.endpoints.is_empty() && !model.endpoints.iter().any(lacks_password) {
        return (Cow::Borrowed(model), Vec::new());
    }
    let mut result = model.clone();
    let mut problems = BTreeSet::new();
    let mut used = BTreeSet::new();
    let mut made: BTreeMap<(EndpointId, Environment), EndpointId> = BTreeMap::new();
    let mut own = |endpoints: &mut Vec<Endpoint>, id: EndpointId, environment: Environment| {
        *made.entry((id, environment)).or_insert_with(|| {
            let Some(endpoint) = endpoints.get(id.0 as usize) else { return id };
            let mut changed = endpoint.clone();
            for (index, one) in settings.endpoints.iter().enumerate() {
                if one.is_for(&endpoint.name, environment) {
                    used.insert(index);
                    problems.extend(change(&mut changed, one).err());
                }
            }
            needs_password(&mut changed, environment);
            if changed == *endpoint {
                return id;
            }
            endpoints.push(changed);
            EndpointId(u32::try_from(endpoints.len() - 1).unwrap_or(u32::MAX))
        })
    };
    for operation in result.apis.iter_mut().flat_map(|api| &mut api.operations) {
        let environments =
            [(&mut operation.production, Environment::Production), (&mut operation.sandbox, Environment::Sandbox)];
        for (id, environment) in environments {
            *id = id.map(|id| own(&mut result.endpoints, id, environment));
        }
        for mirror in &mut operation.traffic.mirrors {
            if let Some(id) = mirror.endpoint.checked_sub(1) {
                mirror.endpoint = own(&mut result.endpoints, EndpointId(id), Environment::Production).0 + 1;
            }
        }
    }
    let operations = result.apis.iter().flat_map(|api| api.operations.iter().map(move |operation| (api, operation)));
    for (api, operation) in operations {
        let ids = operation.traffic.mirrors.iter().filter_map(|mirror| mirror.endpoint.checked_sub(1));
        let mut mirrors = ids.filter_map(|id| result.endpoints.get(id as usize));
        if mirrors.any(|mirror| !has_one_scheme(mirror)) {
            problems.insert(format!("a mirror of the API `{}:{}` has URLs of both schemes", api.name, api.version));
        }
    }
    for (_, unused) in settings.endpoints.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
        problems.insert(format!("`{}` is for an endpoint that does not exist{}", unused.key(), known(model, unused)));
    }
    let model = if result.endpoints.len() == model.endpoints.len() { Cow::Borrowed(model) } else { Cow::Owned(result) };
    (model, problems.into_iter().collect())
}

/// Why endpoints cannot be as the settings have them, or have no secret that they need.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let (model, mut problems) = overridden(model, settings);
    for (reference, user) in references(&model) {
        let missing = match settings.secrets.0.get(&reference) {
            Some(Ok(value)) if !value.is_empty() && !value.chars().any(char::is_control) => continue,
            Some(Ok(_)) => "is empty, or has characters that cannot be sent".to_owned(),
            Some(Err(reason)) => reason.clone(),
            None => "is not set".to_owned(),
        };
        let name = reference.strip_prefix("$setting{").and_then(|rest| rest.strip_suffix('}')).unwrap_or(&reference);
        problems.push(format!("`{name}`, a secret for the backend of {user}, {missing}"));
    }
    (!problems.is_empty()).then(|| problems.join("\n"))
}

/// The secrets that endpoints in use refer to, and for each an API that uses it.
pub fn references(model: &Model) -> BTreeMap<String, User> {
    let mut references = BTreeMap::new();
    for api in &model.apis {
        for operation in &api.operations {
            let mirrors = operation.traffic.mirrors.iter().filter_map(|mirror| mirror.endpoint.checked_sub(1));
            let endpoints = operation.production.into_iter().chain(operation.sandbox).chain(mirrors.map(EndpointId));
            for endpoint in endpoints.filter_map(|id| model.endpoint(id)) {
                let Some(reference) = endpoint.policy.credentials.as_ref().and_then(reference) else { continue };
                references.entry(reference.to_owned()).or_insert_with(|| {
                    format!("API `{}:{}` ({})", api.name, api.version, model.locate(operation.source))
                });
            }
        }
    }
    references
}

/// Where the secret of credentials is kept.
pub fn reference(credentials: &Credentials) -> Option<&str> {
    Some(match credentials.kind.as_ref()? {
        Kind::Basic(basic) => &basic.password,
        Kind::Bearer(token) => token,
        Kind::ApiKey(key) => &key.value,
        Kind::Oauth2(oauth2) => &oauth2.client_secret,
    })
}

fn change(endpoint: &mut Endpoint, one: &EndpointOverride) -> Result<(), String> {
    let urls = endpoint.targets.len();
    let failover = endpoint.policy.balance() == Balance::Failover;
    let alike = endpoint.targets.first().map(|first| first.url.clone());
    match &one.change {
        Change::Url(index, _) | Change::EtcdKey(index, _) if *index >= urls => {
            return Err(format!("`{}` is for a URL that the endpoint does not have: it has {urls}", one.key()));
        }
        Change::Url(_, url) if failover && urls > 1 && alike.is_some_and(|first| !first.is_like(url)) => {
            return Err(format!(
                "`{}` differs in scheme or path from the URLs that it fails over to, or that fail over to it",
                one.key()
            ));
        }
        Change::Url(index, url) => {
            if let Some(target) = endpoint.targets.get_mut(*index) {
                target.url = url.clone();
            }
        }
        Change::EtcdKey(index, key) => {
            if let Some(target) = endpoint.targets.get_mut(*index) {
                target.lookup = Lookup::Etcd(key.clone());
            }
        }
        Change::User(_) | Change::Password => {
            let credentials = endpoint.policy.credentials.as_mut().and_then(|credentials| credentials.kind.as_mut());
            let Some(Kind::Basic(basic)) = credentials else {
                return Err(format!("`{}` is for an endpoint without a `securityConfig` of type `basic`", one.key()));
            };
            match &one.change {
                Change::User(user) => basic.user.clone_from(user),
                _ => basic.password = one.password(),
            }
        }
    }
    Ok(())
}

fn lacks_password(endpoint: &Endpoint) -> bool {
    let credentials = endpoint.policy.credentials.as_ref().and_then(|credentials| credentials.kind.as_ref());
    matches!(credentials, Some(Kind::Basic(basic)) if basic.password.is_empty())
}

/// A password that no definition names is the settings' to name.
fn needs_password(endpoint: &mut Endpoint, environment: Environment) {
    let credentials = endpoint.policy.credentials.as_mut().and_then(|credentials| credentials.kind.as_mut());
    if let Some(Kind::Basic(basic)) = credentials
        && basic.password.is_empty()
    {
        basic.password = password(&endpoint.name, environment);
    }
}

/// What there is instead.
fn known(model: &Model, unused: &EndpointOverride) -> String {
    let mut names = BTreeSet::new();
    for operation in model.apis.iter().flat_map(|api| &api.operations) {
        let id = match unused.environment {
            Environment::Production => operation.production,
            Environment::Sandbox => operation.sandbox,
        };
        names.extend(id.and_then(|id| model.endpoint(id)).map(|endpoint| endpoint.name.as_str()));
    }
    let mut names: Vec<String> =
        names.into_iter().filter(|name| !name.is_empty()).map(|name| format!("`{name}`")).take(6).collect();
    if names.len() == 6 {
        names.pop();
        names.push("others".to_owned());
    }
    let environment = match unused.environment {
        Environment::Production => "production",
        Environment::Sandbox => "sandbox",
    };
    if names.is_empty() {
        return format!(": no endpoint of {environment} has a name");
    }
    format!("; for {environment} there are {}", names.join(", "))
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
mod tests;
