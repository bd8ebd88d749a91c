//! `interceptors/`: components as they are, and descriptions of components and services.

use std::collections::BTreeMap;

use microgw_proto::interceptors::v1 as proto;

use super::component::Shape;
use super::{MEMORIES, TIMEOUTS};
use crate::compile::Report;
use crate::definition::{Library, did_you_mean};
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::packages::MANIFEST;
use crate::transforms::{Carrier, INTERCEPTOR, Node, Parameters, Tree};
use crate::url;

pub(crate) const DIRECTORY: &str = "interceptors";
const KEYS: [&str; 9] =
    ["description", "version", "component", "service", "body", "timeoutMs", "maxMemoryMb", "claims", "parameters"];
const PARAMETERS: &str = "parameters";
/// Bytes of a component.
const MAX_COMPONENT: u64 = 64 << 20;
const MAX_CLAIMS: usize = 64;
/// Milliseconds that a call takes at most, unless its description says otherwise.
const TIMEOUT: u32 = 1_000;
/// Bytes of a component's memories, likewise.
const MEMORY: u64 = 64 << 20;

/// By name.
#[derive(Default)]
pub(crate) struct InterceptorFiles {
    files: BTreeMap<String, InterceptorFile>,
    /// Files that could not be read, and that was said.
    broken: Vec<String>,
}

struct InterceptorFile {
    interceptor: proto::Interceptor,
    parameters: Parameters,
    /// It can see requests, and responses.
    directions: [bool; 2],
    file: String,
    used: bool,
}

/// What a use of an interceptor is checked against.
pub(super) struct Usable<'f> {
    pub parameters: &'f Parameters,
    pub directions: [bool; 2],
}

pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(plain)
}

/// A URL that is asked: http or https, without credentials, query and fragment.
pub(super) fn is_service(url: &str) -> bool {
    url::parse(url).is_ok()
}

// === impl InterceptorFiles ===

impl InterceptorFiles {
    /// Reads `paths`, which are below [`DIRECTORY`].
    pub(crate) fn read(
        files: &dyn Files,
        library: &mut Library<'_>,
        paths: &[String],
        carriers: &[Carrier],
        report: &mut Report,
    ) -> InterceptorFiles {
        let mut read = InterceptorFiles::default();
        let mut described = Vec::new();
        for path in paths.iter().filter(|path| has_extension(path, &["yaml", "yml", "json"])) {
            read.description(files, library, path, &mut described, report);
        }
        // What no description names is its own.
        for path in paths.iter().filter(|path| has_extension(path, &["wasm"]) && !described.contains(*path)) {
            let Some(name) = name(path) else {
                elsewhere(path, report);
                continue;
            };
            let interceptor = proto::Interceptor { timeout_milliseconds: TIMEOUT, ..Default::default() };
            let component = component(files, path).map(|(code, shape)| {
                let component = proto::Component { code, max_memory: MEMORY };
                InterceptorFile::of_component(interceptor, component, shape, path)
            });
            match component {
                Ok(file) => read.put(name, file, report),
                Err(message) => {
                    report.add(Diagnostic::new(Code::BadInterceptor, Place::whole(path.as_str()), message));
                    read.broken.push(name.to_owned());
                }
            }
        }
        for carrier in carriers {
            read.carried(files, carrier, report);
        }
        read
    }

    /// Of a policy that is a package.
    fn carried(&mut self, files: &dyn Files, carrier: &Carrier, report: &mut Report) {
        let Carrier { name, path, root } = carrier;
        let Some(written) = root.get(INTERCEPTOR) else { return };
        let content = match &written.content {
            // The component alone.
            Node::Text(_) => {
                let key = Tree { content: Node::Text("component".to_owned()), at: written.at.clone(), is_given: false };
                Node::Map(vec![(key, written.clone())])
            }
            content => content.clone(),
        };
        let mut described = Tree { content, at: written.at.clone(), is_given: false };
        let is_parameters = |(key, _): &&(Tree, Tree)| key.text() == Some(PARAMETERS);
        if let Node::Map(entries) = &mut described.content {
            if let Some((other, _)) = entries.iter().find(is_parameters) {
                let message = format!("`{PARAMETERS}` stand beside `{INTERCEPTOR}`");
                report.add(Diagnostic::new(Code::BadInterceptor, other.at.clone(), message));
            } else {
                entries.extend(root.entries().iter().find(is_parameters).cloned());
            }
        }
        if let Some(service) = described.get("service") {
            report.add(service_of_stranger(service));
            self.broken.push(name.clone());
            return;
        }
        let directory = path.strip_suffix(MANIFEST).unwrap_or(path).trim_end_matches('/');
        match (Description { files, path, directory, described: &mut Vec::new() }).read(name, &described) {
            Ok(file) => self.put(name, file, report),
            Err(diagnostics) => {
                report.extend(diagnostics);
                self.broken.push(name.clone());
            }
        }
    }

    fn description(
        &mut self,
        files: &dyn Files,
        library: &mut Library<'_>,
        path: &str,
        described: &mut Vec<String>,
        report: &mut Report,
    ) {
        let Some(name) = name(path) else { return elsewhere(path, report) };
        let file = match library.open(path) {
            Ok(document) => {
                Description { files, path, directory: DIRECTORY, described }.read(name, &Tree::of(document.root()))
            }
            Err(diagnostics) => Err(diagnostics),
        };
        match file {
            Ok(file) => self.put(name, file, report),
            Err(diagnostics) => {
                report.extend(diagnostics);
                self.broken.push(name.to_owned());
            }
        }
    }

    fn put(&mut self, name: &str, mut file: InterceptorFile, report: &mut Report) {
        if let Some(other) = self.files.get(name) {
            let message = format!("`{}` and `{}` are one interceptor, `{name}`", file.file, other.file);
            report.add(Diagnostic::new(Code::BadInterceptor, Place::whole(file.file.as_str()), message));
            return;
        }
        name.clone_into(&mut file.interceptor.name);
        self.files.insert(name.to_owned(), file);
    }

    /// `Err`: the help for whoever looks for it; `None` where what is wrong has been said.
    pub(super) fn use_interceptor(&mut self, name: &str) -> Result<Usable<'_>, Option<String>> {
        if self.broken.iter().any(|broken| broken == name) {
            return Err(None);
        }
        let near = did_you_mean(name, self.files.keys().map(String::as_str));
        let missing = near.unwrap_or_else(|| {
            format!(
                "put a component into `{DIRECTORY}/{name}.wasm`, or describe a service in `{DIRECTORY}/{name}.yaml`"
            )
        });
        let file = self.files.get_mut(name).ok_or(Some(missing))?;
        file.used = true;
        Ok(Usable { parameters: &file.parameters, directions: file.directions })
    }

    pub(super) fn get(&self, name: &str) -> Option<&proto::Interceptor> {
        self.files.get(name).map(|file| &file.interceptor)
    }

    /// One note for each that nothing uses.
    pub(crate) fn report_unused(&self, report: &mut Report) {
        for file in self.files.values().filter(|file| !file.used) {
            let message = format!("no API and no operation uses `{}`", file.file);
            report.add(Diagnostic::new(Code::UnusedInterceptor, Place::whole(file.file.as_str()), message));
        }
    }
}

/// Messages would go wherever somebody else says.
pub(crate) fn service_of_stranger(service: &Tree) -> Diagnostic {
    let message = "a package carries a `component`: where a service is, its project says";
    let help = format!("describe the service in `{DIRECTORY}/` of the project that uses it");
    Diagnostic::new(Code::BadInterceptor, service.at.clone(), message).help(help)
}

fn elsewhere(path: &str, report: &mut Report) {
    let message = format!(
        "`{path}` is not read: interceptors are files of `{DIRECTORY}` itself, with letters, digits, `-`, `_` and `.` in their names"
    );
    report.add(Diagnostic::new(Code::UnusedInterceptor, Place::whole(path), message));
}

/// What stands before the extension of a file in the directory itself.
fn name(path: &str) -> Option<&str> {
    let file = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?;
    file.rsplit_once('.').map(|(name, _)| name).filter(|name| is_name(name))
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

fn component(files: &dyn Files, path: &str) -> Result<(bytes::Bytes, Shape), String> {
    let code = files.read(path, MAX_COMPONENT).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    let shape = Shape::of(&code).map_err(|error| format!("`{path}` cannot be an interceptor: {error}"))?;
    Ok((code.into(), shape))
}

// === impl InterceptorFile ===

impl InterceptorFile {
    fn of_component(
        interceptor: proto::Interceptor,
        component: proto::Component,
        shape: Shape,
        file: &str,
    ) -> InterceptorFile {
        InterceptorFile {
            interceptor: proto::Interceptor {
                host: Some(proto::interceptor::Host::Component(component)),
                request_body: shape.bodies && shape.requests,
                response_body: shape.bodies && shape.responses,
                ..interceptor
            },
            parameters: Parameters::default(),
            directions: [shape.requests, shape.responses],
            file: file.to_owned(),
            used: false,
        }
    }
}

/// A file that describes an interceptor.
struct Description<'d> {
    files: &'d dyn Files,
    path: &'d str,
    /// Where components are.
    directory: &'d str,
    described: &'d mut Vec<String>,
}

// === impl Description ===

impl Description<'_> {
    fn read(self, name: &str, root: &Tree) -> Result<InterceptorFile, Vec<Diagnostic>> {
        let wrong = |at: &Tree, message: String| Diagnostic::new(Code::BadInterceptor, at.at.clone(), message);
        if !matches!(root.content, Node::Map(_)) {
            return Err(vec![wrong(root, format!("`{}` must be an object, not {}", self.path, root.type_name()))]);
        }
        let mut problems = Vec::new();
        for (key, value) in root.entries() {
            let name = key.text().unwrap_or_default();
            if !KEYS.contains(&name) {
                let problem = wrong(key, format!("an interceptor has no key `{name}`"));
                problems.push(match did_you_mean(name, KEYS) {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            } else if ["description", "version"].contains(&name) && value.scalar().is_none() {
                problems.push(wrong(value, format!("`{name}` must be text, not {}", value.type_name())));
            }
        }
        let mut number = |key: &str, usual: u64, bounds: std::ops::RangeInclusive<u64>| {
            let Some(value) = root.get(key) else { return usual };
            let number = match &value.content {
                Node::Number(text) => text.parse().ok().filter(|number| bounds.contains(number)),
                _ => None,
            };
            number.unwrap_or_else(|| {
                let (least, most) = bounds.into_inner();
                problems.push(wrong(value, format!("`{key}` must be a whole number from {least} to {most}")));
                usual
            })
        };
        let timeout = number("timeoutMs", TIMEOUT.into(), (*TIMEOUTS.start()).into()..=(*TIMEOUTS.end()).into());
        let memory = number("maxMemoryMb", MEMORY >> 20, 1..=MEMORIES.end() >> 20) << 20;
        let claims = claims(root, &mut problems);
        let bodies = bodies(root, &mut problems);
        let parameters =
            root.get("parameters").map(Parameters::read).transpose().map_err(|found| problems.extend(found));
        let interceptor = proto::Interceptor {
            timeout_milliseconds: u32::try_from(timeout).unwrap_or(TIMEOUT),
            claims,
            ..Default::default()
        };
        let file = match (root.get("component"), root.get("service")) {
            (Some(component), None) => self
                .component(component, interceptor, memory)
                .map_err(|message| problems.push(wrong(component, message))),
            (None, Some(service)) => {
                if let Some(memory) = root.get("maxMemoryMb") {
                    problems.push(wrong(memory, "`maxMemoryMb` is of components alone".to_owned()));
                }
                if bodies.is_none() {
                    let message =
                        "a service says whether it needs bodies: `body: true`, `false`, or `{request, response}`";
                    problems.push(wrong(root, message.to_owned()));
                }
                self.service(service, interceptor, &mut problems)
            }
            _ => {
                let message = format!("`{name}` is either a `component` or a `service`");
                problems.push(wrong(root, message));
                Err(())
            }
        };
        match (file, parameters) {
            (Ok(mut file), Ok(parameters)) if problems.is_empty() => {
                file.parameters = parameters.unwrap_or_default();
                if let Some([request, response]) = bodies {
                    file.interceptor.request_body = request && file.directions[0];
                    file.interceptor.response_body = response && file.directions[1];
                }
                Ok(file)
            }
            _ => Err(problems),
        }
    }

    fn component(
        self,
        component: &Tree,
        interceptor: proto::Interceptor,
        max_memory: u64,
    ) -> Result<InterceptorFile, String> {
        let file = component.text().filter(|file| !file.contains('/') && has_extension(file, &["wasm"]));
        let file = file.ok_or_else(|| format!("`component` must name a `.wasm` file of `{}`", self.directory))?;
        let path = format!("{}/{file}", self.directory);
        self.described.push(path.clone());
        let (code, shape) = self::component(self.files, &path)?;
        let component = proto::Component { code, max_memory };
        Ok(InterceptorFile::of_component(interceptor, component, shape, self.path))
    }

    fn service(
        self,
        service: &Tree,
        interceptor: proto::Interceptor,
        problems: &mut Vec<Diagnostic>,
    ) -> Result<InterceptorFile, ()> {
        let mut wrong = |at: &Tree, message: &str| {
            problems.push(Diagnostic::new(Code::BadInterceptor, at.at.clone(), message));
        };
        if let Some((key, _)) = service.entries().iter().find(|(key, _)| key.text() != Some("url")) {
            wrong(key, "a `service` has `url` alone");
            return Err(());
        }
        let Some(url) = service.get("url").and_then(Tree::text).filter(|url| is_service(url)) else {
            wrong(service, "a `service` needs `url`: http or https, without credentials, query and fragment");
            return Err(());
        };
        Ok(InterceptorFile {
            interceptor: proto::Interceptor {
                host: Some(proto::interceptor::Host::Service(proto::Service { url: url.to_owned() })),
                ..interceptor
            },
            parameters: Parameters::default(),
            directions: [true, true],
            file: self.path.to_owned(),
            used: false,
        })
    }
}

fn claims(root: &Tree, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let Some(claims) = root.get("claims") else { return Vec::new() };
    let Node::List(items) = &claims.content else {
        let message = format!("`claims` must be a list of names, not {}", claims.type_name());
        problems.push(Diagnostic::new(Code::BadInterceptor, claims.at.clone(), message));
        return Vec::new();
    };
    if items.len() > MAX_CLAIMS {
        let message = format!("there are more than {MAX_CLAIMS} `claims`");
        problems.push(Diagnostic::new(Code::BadInterceptor, claims.at.clone(), message));
    }
    let mut names = Vec::new();
    for item in items {
        match item.text().filter(|name| !name.is_empty() && name.len() <= 256) {
            Some(name) => names.push(name.to_owned()),
            None => problems.push(Diagnostic::new(Code::BadInterceptor, item.at.clone(), "a claim has a name")),
        }
    }
    names
}

/// Whether bodies of requests, and of responses, are brought along. `None`: nothing is said.
fn bodies(root: &Tree, problems: &mut Vec<Diagnostic>) -> Option<[bool; 2]> {
    let body = root.get("body")?;
    let of = |key: &str| match body.get(key).map(|value| &value.content) {
        Some(Node::Bool(value)) => Some(*value),
        Some(_) => None,
        None => Some(false),
    };
    let known = |(key, _): &(Tree, Tree)| matches!(key.text(), Some("request" | "response"));
    let said = match &body.content {
        Node::Bool(value) => Some([*value, *value]),
        Node::Map(entries) if !entries.is_empty() && entries.iter().all(known) => {
            of("request").zip(of("response")).map(|(request, response)| [request, response])
        }
        _ => None,
    };
    if said.is_none() {
        let message = "`body` must be `true`, `false`, or `{request: true, response: true}`";
        problems.push(Diagnostic::new(Code::BadInterceptor, body.at.clone(), message));
    }
    Some(said.unwrap_or_default())
}
