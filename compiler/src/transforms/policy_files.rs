//! `policies/<name>.yaml`: steps for use by name.

use std::collections::BTreeMap;

use super::parameters::Parameters;
use super::tree::{Node, Tree};
use crate::compile::Report;
use crate::definition::{Library, did_you_mean};
use crate::diagnostic::{Code, Diagnostic, Place};

pub(crate) const DIRECTORY: &str = "policies";
const KEYS: [&str; 5] = ["description", "version", "parameters", "request", "response"];

/// By name.
#[derive(Default)]
pub(crate) struct PolicyFiles {
    files: BTreeMap<String, PolicyFile>,
    /// Files that could not be read, and that was said.
    broken: Vec<String>,
}

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
        for path in paths {
            let Some(name) = name(&path) else {
                if is_structured(&path) {
                    let message = format!("`{path}` is not read: policies are files of `{DIRECTORY}` itself");
                    report.add(Diagnostic::new(Code::UnusedTransforms, Place::whole(path.as_str()), message));
                }
                continue;
            };
            if let Some(other) = policies.files.get(name) {
                let message = format!("`{path}` and `{}` are one policy, `{name}`", other.file);
                report.add(Diagnostic::new(Code::BadTransform, Place::whole(path.as_str()), message));
                continue;
            }
            let name = name.to_owned();
            let read = match library.open(&path) {
                Ok(document) => PolicyFile::of(&path, &Tree::of(document.root())),
                Err(diagnostics) => Err(diagnostics),
            };
            match read {
                Ok(policy) => {
                    policies.files.insert(name, policy);
                }
                Err(diagnostics) => {
                    report.extend(diagnostics);
                    policies.broken.push(name);
                }
            }
        }
        policies
    }

    /// `Err`: the help for whoever looks for it; `None` where what is wrong has been said.
    pub(crate) fn use_policy(&mut self, name: &str) -> Result<&PolicyFile, Option<String>> {
        if self.broken.iter().any(|broken| broken == name) {
            return Err(None);
        }
        let near = did_you_mean(name, self.files.keys().map(String::as_str));
        let missing = near.unwrap_or_else(|| format!("put its steps into `{DIRECTORY}/{name}.yaml`"));
        let policy = self.files.get_mut(name).ok_or(Some(missing))?;
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

/// What stands before the extension of a file in the directory itself.
fn name(path: &str) -> Option<&str> {
    let file = path.strip_prefix(DIRECTORY)?.strip_prefix('/').filter(|file| !file.contains('/'))?;
    is_structured(file).then(|| file.rsplit_once('.').map(|(name, _)| name))?
}

fn is_structured(path: &str) -> bool {
    matches!(path.rsplit_once('.'), Some((_, "yaml" | "yml" | "json")))
}

// === impl PolicyFile ===

impl PolicyFile {
    fn of(path: &str, root: &Tree) -> Result<PolicyFile, Vec<Diagnostic>> {
        let wrong = |at: &Tree, message: String| Diagnostic::new(Code::BadTransform, at.at.clone(), message);
        if !matches!(root.content, Node::Map(_)) {
            return Err(vec![wrong(root, format!("`{path}` must be an object, not {}", root.type_name()))]);
        }
        let mut problems = Vec::new();
        for (key, value) in root.entries() {
            let name = key.text().unwrap_or_default();
            if !KEYS.contains(&name) {
                let problem = wrong(key, format!("a policy has no key `{name}`"));
                problems.push(match did_you_mean(name, KEYS) {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            } else if ["description", "version"].contains(&name) && value.scalar().is_none() {
                problems.push(wrong(value, format!("`{name}` must be text, not {}", value.type_name())));
            }
        }
        let steps = |key: &str| root.get(key).cloned();
        let (request, response) = (steps("request"), steps("response"));
        if request.is_none() && response.is_none() {
            problems.push(wrong(root, format!("`{path}` has no steps: neither `request` nor `response`")));
        }
        let parameters =
            root.get("parameters").map(Parameters::read).transpose().map_err(|found| problems.extend(found));
        match parameters {
            Ok(parameters) if problems.is_empty() => Ok(PolicyFile {
                parameters: parameters.unwrap_or_default(),
                request,
                response,
                file: path.to_owned(),
                used: false,
            }),
            _ => Err(problems),
        }
    }
}
