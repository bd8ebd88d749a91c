//! `policies/<name>.yaml`, and packages in `policies/<name>/`: steps for use by name.

use std::collections::{BTreeMap, BTreeSet};

use super::parameters::Parameters;
use super::tree::{Node, Tree};
use crate::compile::Report;
use crate::definition::{Library, did_you_mean};
use crate::diagnostic::{Code, Diagnostic, Place};
pub(crate) use crate::packages::DIRECTORY;
use crate::packages::{MANIFEST, is_name};

const KEYS: [&str; 6] = ["name", "description", "version", "parameters", "request", "response"];
/// What a package says of itself.
const NEEDED: [&str; 3] = ["name", "version", "description"];

/// What a path below [`DIRECTORY`] is.
enum Kind<'p> {
    /// The policy of that name.
    File(&'p str),
    /// The one that says what a package is, of that name.
    Manifest(&'p str),
    /// Something that a package has beside it.
    OfPackage,
    /// Something that looks like a policy, and is where none is looked for.
    Astray,
    Other,
}

/// By name.
#[derive(Default)]
pub(crate) struct PolicyFiles {
    files: BTreeMap<String, PolicyFile>,
    /// Files that could not be read, and that was said.
    broken: Vec<String>,
    carriers: Vec<Carrier>,
}

/// A package that has an interceptor in the place of steps. It is used as one.
pub(crate) struct Carrier {
    pub name: String,
    pub path: String,
    pub root: Tree,
}

/// Why a policy cannot be used.
pub(crate) enum Unusable {
    /// What is wrong has been said.
    Said,
    /// There is none; the help for whoever looks for it.
    Missing(String),
    Interceptor,
}

/// What a package carries an interceptor by.
pub(crate) const INTERCEPTOR: &str = "interceptor";

pub(crate) struct PolicyFile {
    pub parameters: Parameters,
    pub request: Option<Tree>,
    pub response: Option<Tree>,
    file: String,
    used: bool,
}

// === impl PolicyFiles ===

impl PolicyFiles {
    /// Reads `paths`, which are below [`DIRECTORY`].
    pub(crate) fn read(library: &mut Library<'_>, paths: Vec<String>, report: &mut Report) -> PolicyFiles {
        let mut policies = PolicyFiles::default();
        let packages: BTreeSet<String> = paths.iter().filter_map(|path| manifest_of(path)).map(str::to_owned).collect();
        for path in paths {
            let (name, is_package) = match kind(&path, &packages) {
                Kind::File(name) => (name, false),
                Kind::Manifest(name) => (name, true),
                Kind::Astray => {
                    let message = format!(
                        "`{path}` is not read: policies are files of `{DIRECTORY}` itself, or `{MANIFEST}` in a directory there"
                    );
                    report.add(Diagnostic::new(Code::UnusedTransforms, Place::whole(path.as_str()), message));
                    continue;
                }
                Kind::OfPackage | Kind::Other => continue,
            };
            if let Some(other) = policies.files.get(name) {
                let message = format!("`{path}` and `{}` are one policy, `{name}`", other.file);
                report.add(Diagnostic::new(Code::BadTransform, Place::whole(path.as_str()), message));
                continue;
            }
            if is_package && !is_name(name) {
                let message =
                    format!("`{name}` cannot be the name of a policy: it has lower-case letters, digits and `-`");
                report.add(Diagnostic::new(Code::BadTransform, Place::whole(path.as_str()), message));
            }
            let name = name.to_owned();
            let read = library.open(&path).and_then(|document| {
                let root = Tree::of(document.root());
                Ok((PolicyFile::of(&path, &root, is_package)?, root))
            });
            match read {
                Ok((Some(policy), _)) => {
                    policies.files.insert(name, policy);
                }
                Ok((None, root)) => policies.carriers.push(Carrier { name, path, root }),
                Err(diagnostics) => {
                    report.extend(diagnostics);
                    policies.broken.push(name);
                }
            }
        }
        policies
    }

    /// Those that carry interceptors.
    pub(crate) fn carriers(&self) -> &[Carrier] {
        &self.carriers
    }

    pub(crate) fn use_policy(&mut self, name: &str) -> Result<&PolicyFile, Unusable> {
        if self.broken.iter().any(|broken| broken == name) {
            return Err(Unusable::Said);
        }
        if self.carriers.iter().any(|carrier| carrier.name == name) {
            return Err(Unusable::Interceptor);
        }
        let near = did_you_mean(name, self.files.keys().map(String::as_str));
        let missing = near.unwrap_or_else(|| {
            format!("put its steps into `{DIRECTORY}/{name}.yaml`, or take one in: `micro-gw policy add`")
        });
        let policy = self.files.get_mut(name).ok_or(Unusable::Missing(missing))?;
        policy.used = true;
        Ok(policy)
    }

    /// One note for each that nothing uses.
    pub(crate) fn report_unused(&self, report: &mut Report) {
        for policy in self.files.values().filter(|policy| !policy.used) {
            let message = format!("no API and no operation uses `{}`", policy.file);
            report.add(Diagnostic::new(Code::UnusedTransforms, Place::whole(policy.file.as_str()), message));
        }
    }
}

fn kind<'p>(path: &'p str, packages: &BTreeSet<String>) -> Kind<'p> {
    let below = path.strip_prefix(DIRECTORY).and_then(|path| path.strip_prefix('/')).unwrap_or_default();
    match (manifest_of(path), below.split_once('/')) {
        (Some(name), _) => Kind::Manifest(name),
        (None, Some((directory, _))) if packages.contains(directory) => Kind::OfPackage,
        (None, Some(_)) if is_structured(path) => Kind::Astray,
        (None, None) if is_structured(below) => {
            below.rsplit_once('.').map_or(Kind::Other, |(name, _)| Kind::File(name))
        }
        _ => Kind::Other,
    }
}

/// The package that this says it is.
fn manifest_of(path: &str) -> Option<&str> {
    let (name, file) = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.split_once('/')?;
    (file == MANIFEST).then_some(name)
}

fn is_structured(path: &str) -> bool {
    matches!(path.rsplit_once('.'), Some((_, "yaml" | "yml" | "json")))
}

// === impl PolicyFile ===

impl PolicyFile {
    /// `None`: it carries an interceptor.
    pub(crate) fn of(path: &str, root: &Tree, is_package: bool) -> Result<Option<PolicyFile>, Vec<Diagnostic>> {
        let wrong = |at: &Tree, message: String| Diagnostic::new(Code::BadTransform, at.at.clone(), message);
        if !matches!(root.content, Node::Map(_)) {
            return Err(vec![wrong(root, format!("`{path}` must be an object, not {}", root.type_name()))]);
        }
        let mut problems = Vec::new();
        let carries = root.get(INTERCEPTOR).is_some();
        for (key, value) in root.entries() {
            let name = key.text().unwrap_or_default();
            if name == INTERCEPTOR {
                if !is_package {
                    let message =
                        format!("a file has steps alone: what carries an interceptor is a directory of `{DIRECTORY}`");
                    problems.push(wrong(key, message));
                }
            } else if carries && ["request", "response"].contains(&name) {
                problems.push(wrong(key, "a policy that carries an interceptor has no steps".to_owned()));
            } else if !KEYS.contains(&name) {
                let problem = wrong(key, format!("a policy has no key `{name}`"));
                problems.push(match did_you_mean(name, KEYS) {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            } else if NEEDED.contains(&name) && value.scalar().is_none() {
                problems.push(wrong(value, format!("`{name}` must be text, not {}", value.type_name())));
            }
        }
        if is_package {
            for name in NEEDED {
                let said = root.get(name).map(|value| (value, value.scalar().unwrap_or_default()));
                let problem = match said {
                    None => Some((root, format!("`{path}` is a policy of its own, and needs `{name}`"))),
                    Some((value, text)) if name == "name" && !is_name(&text) => Some((
                        value,
                        format!("`{text}` is no name of a policy: it has lower-case letters, digits and `-`"),
                    )),
                    Some((value, text)) if name == "version" && semver::Version::parse(&text).is_err() => {
                        Some((value, format!("`{text}` is no version as in `1.0.0` (SemVer)")))
                    }
                    Some((value, text)) if text.trim().is_empty() => Some((value, format!("`{name}` is empty"))),
                    Some(_) => None,
                };
                problems.extend(problem.map(|(at, message)| wrong(at, message)));
            }
        }
        let steps = |key: &str| root.get(key).cloned();
        let (request, response) = (steps("request"), steps("response"));
        if request.is_none() && response.is_none() && !carries {
            problems.push(wrong(root, format!("`{path}` has no steps: neither `request` nor `response`")));
        }
        let parameters =
            root.get("parameters").map(Parameters::read).transpose().map_err(|found| problems.extend(found));
        match parameters {
            Ok(_) if problems.is_empty() && carries => Ok(None),
            Ok(parameters) if problems.is_empty() => Ok(Some(PolicyFile {
                parameters: parameters.unwrap_or_default(),
                request,
                response,
                file: path.to_owned(),
                used: false,
            })),
            _ => Err(problems),
        }
    }
}
