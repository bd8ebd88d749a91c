//! A project in one text: files are preceded by a line `--- path`. Without one it is the one definition.

use std::collections::{BTreeMap, BTreeSet};

use micro_gw::config::{Material, Sources, resolve};
use microgw_compiler::artifact;
use microgw_compiler::assemble::names::STATIC_CLUSTERS;
use microgw_compiler::assemble::{self, Input, assemble};
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::{Diagnostic, Place, render_github, render_human, render_json, render_sarif};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::model::{Access, Model};
use microgw_compiler::path::PathTemplate;
use microgw_compiler::settings::{ClientCertificates, Settings, TlsIdentity, TrustStore};
use microgw_compiler::snapshot::{Fallbacks, ResourceType, Snapshot};
use microgw_engine::Rule;

use crate::table::{Route, Table};

pub const STANDARD: &str = "[project]\nopenapiSecurity = \"standard\"\n";

/// By path.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// More than this is no project that anybody reads.
const MAX_FILES: usize = 16;

pub fn read(text: &[u8], definition: &str) -> Contents {
    const MARK: &[u8] = b"--- ";
    let mut contents = Contents::new();
    let mut current: Option<(String, Vec<u8>)> = None;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(MARK) {
            Some(path) if contents.len() < MAX_FILES => {
                contents.extend(current.take());
                current = Some((String::from_utf8_lossy(path).trim_end().to_owned(), Vec::new()));
            }
            _ => current.get_or_insert_with(|| (definition.to_owned(), Vec::new())).1.extend_from_slice(line),
        }
    }
    contents.extend(current);
    contents
}

/// Compiles it and says whether that gave a model. Everything that should hold of what comes out does.
pub fn check(contents: &Contents, options: Options) -> Option<Model> {
    let files =
        contents.iter().fold(MemoryFiles::new(), |files, (path, content)| files.with(path.as_str(), content.clone()));
    let Compilation { model, diagnostics, coverage } = compile(&files, "project", &options);
    let again = compile(&files, "project", &options);
    assert_eq!(model, again.model);
    assert_eq!(diagnostics, again.diagnostics);
    assert_eq!(coverage, again.coverage);

    assert_eq!(model.is_none(), diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:?}");
    for diagnostic in &diagnostics {
        let related = diagnostic.related.iter().map(|(place, _)| place);
        diagnostic.place.iter().chain(related).for_each(|place| check_place(place, contents));
        assert!(!diagnostic.message.is_empty());
    }
    let human = render_human(&diagnostics, &files, false);
    assert!(human.len() >= diagnostics.len());
    // Every form that it can take.
    let locate = |path: &str| path.to_owned();
    for report in [render_json(&diagnostics, &locate), render_sarif(&diagnostics, "project", &locate)] {
        serde_json::from_str::<serde_json::Value>(&report).expect("the report is no JSON");
    }
    let commands = render_github(&diagnostics, &locate);
    assert!(commands.lines().all(|line| line.starts_with("::")), "a line that is no command: {commands}");
    let _ = coverage.render();
    if let Some(model) = &model {
        check_model(model);
    }
    model
}

/// A place is in its file: what points elsewhere sends people astray, and editors to an error.
fn check_place(place: &Place, contents: &Contents) {
    assert!(place.start <= place.end, "{place} ends before it begins");
    assert!(place.start.line >= 1 && place.start.column >= 1);
    let Some(content) = contents.get(&*place.file) else { return };
    let text = String::from_utf8_lossy(content);
    for at in [place.start, place.end] {
        // After the last line break there is one more line.
        let line = text.split('\n').nth(at.line as usize - 1);
        let length = line.map(|line| line.chars().count() + 2);
        assert!(
            length.is_some_and(|length| at.column as usize <= length),
            "{place}: line {}, column {}",
            at.line,
            at.column
        );
    }
}

/// A model survives its artifact, and becomes a snapshot that guards what the model guards.
pub fn check_model(model: &Model) {
    let bytes = artifact::encode(model);
    let decoded = artifact::decode(&bytes).unwrap_or_else(|error| panic!("what was built cannot be read: {error}"));
    assert_eq!(&decoded, model);
    assert_eq!(artifact::encode(&decoded), bytes);
    check_snapshot(model, &snapshot(model, &artifact::id(&bytes)));
}

pub fn snapshot(model: &Model, artifact: &str) -> Snapshot {
    let (settings, fallbacks) = (settings(), Fallbacks::new());
    let input = Input { model, artifact, settings: &settings, fallbacks: &fallbacks, previous: None };
    let snapshot = assemble(input);
    let again = assemble(input);
    assert_eq!(snapshot.generation, again.generation);
    assert_eq!(snapshot.resources, again.resources, "equal input, other bytes");
    assert_eq!(snapshot.rules, again.rules);
    snapshot
}

/// What applies where nothing is configured.
fn settings() -> Settings {
    let sources = Sources::default();
    let (config, _) = resolve(&sources).expect("the defaults are sound");
    let identity = TlsIdentity { certificate_chain: "chain".to_owned(), private_key: "key".to_owned() };
    let backend_trust = Some(TrustStore("authorities".to_owned()));
    config.settings(Material {
        identity,
        certificates: Vec::new(),
        backend_trust,
        backend_identity: None,
        tls_profiles: Vec::new(),
        client_certificates: ClientCertificates::default(),
    })
}

fn check_snapshot(model: &Model, snapshot: &Snapshot) {
    // Everything that is referred to exists.
    let exists = |kind: ResourceType, name: &str| {
        // Some clusters are in Envoy's bootstrap.
        snapshot.resources.get(&kind).is_some_and(|named| named.contains_key(name))
            || kind == ResourceType::Cluster && STATIC_CLUSTERS.contains(&name)
            // Addresses come later.
            || kind == ResourceType::Endpoint && snapshot.assignments.contains_key(name)
    };
    for resource in snapshot.resources.values().flat_map(BTreeMap::values) {
        for (kind, name) in resource.references.iter() {
            assert!(exists(*kind, name), "{kind:?} `{name}` is referred to and not there");
        }
    }
    let rules = Rule::load(&snapshot.rules).expect("the engine refuses the rules");
    assert_eq!(rules.len(), snapshot.rules.rules.len());
    let table = Table::of(snapshot);
    let carried: BTreeSet<String> = table.routes().filter_map(Route::rule).collect();
    let ids: BTreeSet<String> = rules.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(carried, ids, "rules without routes, or the reverse");

    // By method and shape of the path: templates that differ in the names of their parameters alone are one.
    let mut public = BTreeSet::new();
    for api in &model.apis {
        for operation in &api.operations {
            let path = format!("{}{}", api.base_path, operation.path);
            let of_it =
                |rule: &&microgw_proto::rules::v1::Rule| rule.method == operation.method.as_str() && rule.path == path;
            let count = snapshot.rules.rules.iter().filter(of_it).count();
            let limited = model.limits_everybody() || api.limit.is_some() || operation.limit.is_some();
            let asked = operation.access != Access::Public || limited && operation.production.is_some();
            assert_eq!(count, usize::from(asked), "rules of {} {path}", operation.method);
            if !asked {
                public.insert(named(operation.method.as_str(), &path));
            }
        }
    }
    for route in table.routes().filter(|route| route.rule().is_none() && route.forwards()) {
        let (method, path) = route.name().split_once(' ').expect("a route has the name of its operation");
        assert!(public.contains(&named(method, path)), "{} is let by without a question", route.name());
    }
    assert_eq!(snapshot.sources.len(), model.apis.len());
    assert!(snapshot.sources.iter().zip(&model.apis).all(|(source, api)| source.key == assemble::key(api)));
}

fn named(method: &str, path: &str) -> String {
    format!("{method} {}", PathTemplate::parse(path).expect("it is a path").shape())
}
