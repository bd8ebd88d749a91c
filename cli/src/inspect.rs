//! `inspect`: what an artifact contains, and the snapshot it becomes.

mod bodies;
pub mod destinations;
mod endpoints;
mod limits;
pub mod paths;
pub mod traffic;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use micro_gw::certificates::{self, Listed};
use micro_gw::config::{self, Config, Material, Store, with_pretended_secrets};
use microgw_compiler::artifact;
use microgw_compiler::assemble::{Input, assemble, conflict, overridden};
use microgw_compiler::model::{Access, Api, KeyLocation, Model, Operation, Requirement};
use microgw_compiler::settings::{
    CertificateRequest, ClientCertificates, ListedCertificate, Settings, TlsIdentity, TlsProfile, TrustStore,
};
use microgw_compiler::snapshot::{Fallbacks, Snapshot};
use serde_json::{Value, json};

use self::bodies::Bodies;
use crate::args::{self, Format};
use crate::build;
use crate::output;
use crate::preflight::Trial;

pub fn inspect(args: &args::Inspect) -> anyhow::Result<()> {
    let (mut model, bytes) = build::load(&args.artifact)?;
    let id = artifact::id(&bytes);
    if let Some([method, target]) = args.path.as_deref() {
        let reached = paths::reached(&model, method, target);
        output::line(&match args.format {
            Format::Json => serde_json::to_string_pretty(&reached.as_json(&model))?,
            Format::Human => reached.as_text(&model),
        });
        return Ok(());
    }
    if args.envoy {
        return resources(args, model, id);
    }
    let mut bodies = Bodies::default();
    let snapshot = if args.config.is_some() || !args.overrides.is_empty() {
        let settings = with_pretended_secrets(&settings(args.config.as_ref(), &args.overrides)?, &model);
        if let Some(conflict) = conflict(&model, &settings) {
            bail!(conflict);
        }
        let fallbacks = Fallbacks::new();
        let input = Input { model: &model, artifact: &id, settings: &settings, fallbacks: &fallbacks, previous: None };
        let snapshot = assemble(input);
        bodies = Bodies::new(&model, &settings);
        model = overridden(&model, &settings).0.into_owned();
        Some(snapshot)
    } else {
        // Bounds and modes are those of a gateway without settings.
        if let Ok(settings) = settings(None, &[]) {
            bodies = Bodies::new(&model, &with_pretended_secrets(&settings, &model));
        }
        None
    };
    output::line(&match args.format {
        Format::Json => serde_json::to_string_pretty(&as_json(&model, &id, &bodies, snapshot.as_ref()))?,
        Format::Human => as_text(&model, &id, &bodies, snapshot.as_ref()),
    });
    Ok(())
}

/// What a real Envoy makes of the snapshot. Its ports are not opened, and Envoy itself blots out private keys.
fn resources(args: &args::Inspect, model: Model, id: String) -> anyhow::Result<()> {
    let settings = settings(args.config.as_ref(), &args.overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let trial = Trial::offer(Arc::new(model), id, settings, args.binary.as_deref()).await?;
        let mut shown = serde_json::Map::new();
        for (name, mask) in [
            ("clusters", "dynamic_active_clusters"),
            ("listeners", "dynamic_listeners"),
            ("routes", "dynamic_route_configs"),
            ("secrets", "dynamic_active_secrets"),
        ] {
            let dump = trial.admin.get(&format!("/config_dump?resource={mask}")).await;
            let mut dump: Value = serde_json::from_slice(&dump.context("Envoy does not show its configuration")?)?;
            forget(&mut dump, "bind_to_port");
            shown.insert(name.to_owned(), dump.get("configs").cloned().unwrap_or_default());
        }
        trial.end().await;
        output::line(&serde_json::to_string_pretty(&shown)?);
        Ok(())
    })
}

/// Removes a member wherever it is: what only the trial needed is no part of the snapshot.
fn forget(value: &mut Value, member: &str) {
    match value {
        Value::Object(members) => {
            members.remove(member);
            members.values_mut().for_each(|value| forget(value, member));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| forget(value, member)),
        _ => {}
    }
}

/// The settings, with a certificate made for the occasion: neither files nor keys are needed to look at an artifact.
pub fn settings(config: Option<&PathBuf>, overrides: &[String]) -> anyhow::Result<Settings> {
    let sources = args::Settings { config: config.cloned(), overrides: overrides.to_vec() };
    let config = crate::settings(&PathBuf::new(), &sources, false)?;
    Ok(config.settings(material(&config)?))
}

/// Whom backends are verified by. An artifact can be looked at where the gateway's files are not.
fn backend_trust(store: Option<&Store>) -> Option<TrustStore> {
    certificates::backend_trust(store).unwrap_or_else(|error| {
        output::note(&format!("{error:#}: the generation is not the one that a gateway with that file has"));
        certificates::system_trust()
    })
}

/// Whose certificates clients may have, as far as the files are here.
fn client_certificates(config: &Config) -> ClientCertificates {
    certificates::client_certificates(config).unwrap_or_else(|error| {
        output::note(&format!("{error:#}: the generation is not the one that a gateway with that file has"));
        ClientCertificates { request: CertificateRequest::Optional, ..ClientCertificates::default() }
    })
}

/// What a gateway would read from files, as far as a snapshot shows it.
pub fn material(config: &Config) -> anyhow::Result<Material> {
    Ok(Material {
        identity: passing_identity()?,
        certificates: listed(config)?,
        backend_trust: backend_trust(config.trust.backends.as_ref()),
        backend_identity: config.backend_identity.as_ref().map(|_| passing_identity()).transpose()?,
        tls_profiles: config.tls_profiles.iter().map(tls_profile).collect::<anyhow::Result<_>>()?,
        client_certificates: client_certificates(config),
    })
}

/// For the names that they are for, as far as the files are here.
fn listed(config: &Config) -> anyhow::Result<Vec<ListedCertificate>> {
    let mut listed = Vec::new();
    for (index, files) in config.listeners.certificates.iter().enumerate() {
        let server_names = match Listed::load(index, files) {
            Ok(listed) => listed.settings().server_names,
            Err(_) if !files.server_names.is_empty() => files.server_names.clone(),
            Err(error) => {
                output::note(&format!("{error:#}: the generation is not the one that a gateway with that file has"));
                continue;
            }
        };
        listed.push(ListedCertificate { server_names, identity: passing_identity()? });
    }
    Ok(listed)
}

fn tls_profile(profile: &config::TlsProfile) -> anyhow::Result<TlsProfile> {
    Ok(TlsProfile {
        name: profile.name.clone(),
        trust: backend_trust(profile.trust.as_ref()),
        identity: profile.identity.as_ref().map(|_| passing_identity()).transpose()?,
        tls: profile.range.clone(),
    })
}

/// A self-signed certificate that nobody will see.
fn passing_identity() -> anyhow::Result<TlsIdentity> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).context("cannot make a certificate")?;
    Ok(TlsIdentity { certificate_chain: made.cert.pem(), private_key: made.signing_key.serialize_pem() })
}

fn as_text(model: &Model, id: &str, bodies: &Bodies, snapshot: Option<&Snapshot>) -> String {
    let mut text = format!("project {}  artifact {id}\n", model.project);
    for (index, api) in model.apis.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{} {}  {}  ({})", api.name, api.version, base(api), model.locate(api.source));
        if !api.traffic.hosts.is_empty() {
            let _ = writeln!(text, "  hosts {}", api.traffic.hosts.join(", "));
        }
        limits::of_api(&mut text, model, api);
        for (number, operation) in api.operations.iter().enumerate() {
            let _ = writeln!(
                text,
                "  {:7} {:40} {:40} -> {}",
                operation.method.as_str(),
                operation.path.as_str(),
                rule(operation),
                traffic::answer(operation).unwrap_or_else(|| destinations::of_operation(model, operation))
            );
            endpoints::of_operation(&mut text, model, operation);
            traffic::of_operation(&mut text, model, operation);
            bodies.of_operation(&mut text, index, number);
            limits::of_operation(&mut text, model, operation);
        }
    }
    destinations::names(&mut text, model);
    limits::of_callers(&mut text, model);
    for unenforced in &model.unenforced {
        let _ = writeln!(
            text,
            "\nnot enforced: {}: {} [{}]",
            model.locate(unenforced.source),
            unenforced.message,
            unenforced.code
        );
    }
    if let Some(snapshot) = snapshot {
        let _ = writeln!(text, "\ngeneration {}", snapshot.generation);
        for (kind, resources) in &snapshot.resources {
            for (name, resource) in resources {
                let size = resource.body.len();
                let _ = writeln!(text, "  {kind:?} {name}  version {}  {size} bytes", resource.version);
            }
        }
        let rules = &snapshot.rules;
        let _ = writeln!(text, "  {} rules, {} policies", rules.rules.len(), rules.policies.len());
    }
    text.trim_end().to_owned()
}

fn as_json(model: &Model, id: &str, bodies: &Bodies, snapshot: Option<&Snapshot>) -> Value {
    let operation = |api: &Api, index: usize, (number, operation): (usize, &Operation)| {
        json!({
            "bodies": bodies.as_json(index, number),
            "validation": bodies.compared_as_json(index, number),
            "method": operation.method.as_str(),
            "path": operation.path.as_str(),
            "operationId": operation.operation_id,
            "rule": rule(operation),
            "production": operation.production.map(|id| destinations::urls(model, id)),
            "sandbox": operation.sandbox.map(|id| destinations::urls(model, id)),
            "endpoints": {
                "production": operation.production.map(|id| destinations::as_json(model, id)),
                "sandbox": operation.sandbox.map(|id| destinations::as_json(model, id)),
            },
            "answer": traffic::answer_as_json(operation),
            "traffic": traffic::of_operation_as_json(model, operation),
            "transforms": traffic::transforms_as_json(model, operation),
            "endpointPolicies": endpoints::of_operation_as_json(model, operation),
            "limits": limits::of_operation_as_json(model, api, operation),
            "cost": limits::cost_as_json(operation),
            "source": model.locate(operation.source),
        })
    };
    let apis = model.apis.iter().enumerate().map(|(index, api)| {
        json!({
            "name": api.name,
            "version": api.version,
            "basePath": base(api),
            "hosts": api.traffic.hosts,
            "source": model.locate(api.source),
            "operations": api.operations.iter().enumerate().map(|own| operation(api, index, own)).collect::<Vec<_>>(),
        })
    });
    let unenforced = model.unenforced.iter().map(|unenforced| {
        let source = model.locate(unenforced.source);
        json!({ "code": unenforced.code, "message": unenforced.message, "source": source })
    });
    let snapshot = snapshot.map(|snapshot| {
        let resources = snapshot.resources.iter().flat_map(|(kind, resources)| {
            resources.iter().map(move |(name, resource)| {
                json!({
                    "type": kind.type_url(), "name": &**name, "version": &*resource.version,
                    "bytes": resource.body.len(),
                })
            })
        });
        json!({
            "generation": snapshot.generation.to_string(),
            "resources": resources.collect::<Vec<_>>(),
            "rules": snapshot.rules.rules.len(),
        })
    });
    json!({
        "project": model.project,
        "artifact": id,
        "apis": apis.collect::<Vec<_>>(),
        "limitsOfCallers": limits::of_callers_as_json(model),
        "unenforced": unenforced.collect::<Vec<_>>(),
        "snapshot": snapshot,
    })
}

fn base(api: &Api) -> &str {
    if api.base_path.is_empty() { "/" } else { &api.base_path }
}

/// `oauth2(read or write) and key in header x-api-key, or ...`.
fn rule(operation: &Operation) -> String {
    let Access::Guarded(alternatives) = &operation.access else { return "public".to_owned() };
    if alternatives.is_empty() {
        return "refused".to_owned();
    }
    let all = |requirements: &[Requirement]| requirements.iter().map(requirement).collect::<Vec<_>>().join(" and ");
    alternatives.iter().map(|alternative| all(&alternative.0)).collect::<Vec<_>>().join(", or ")
}

fn requirement(requirement: &Requirement) -> String {
    match requirement {
        Requirement::OAuth2 { scopes, all_scopes } => scoped("oauth2", scopes, *all_scopes),
        Requirement::Basic { scopes, all_scopes } => scoped("basic", scopes, *all_scopes),
        Requirement::ApiKey { location: KeyLocation::Header, name } => format!("key in header {name}"),
        Requirement::ApiKey { location: KeyLocation::Query, name } => format!("key in query {name}"),
        Requirement::ApiKey { location: KeyLocation::Cookie, name } => format!("key in cookie {name}"),
        Requirement::ClientCertificate { optional: false } => "client certificate".to_owned(),
        Requirement::ClientCertificate { optional: true } => "client certificate, if one is shown".to_owned(),
        Requirement::Unenforceable(scheme) => format!("never ({scheme} cannot be enforced)"),
    }
}

fn scoped(scheme: &str, scopes: &[String], all: bool) -> String {
    match scopes {
        [] => scheme.to_owned(),
        _ => format!("{scheme}({})", scopes.join(if all { " and " } else { " or " })),
    }
}
