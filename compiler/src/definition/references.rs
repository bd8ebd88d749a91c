//! A definition with the files that it refers to, and what a `$ref` in it leads to. Every `$ref` is checked, read or
//! not; cycles are fine. Nothing outside the project is ever opened.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::extensions;
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::model::Method;
use crate::source::{self, Content, Document, Value, Wide};

/// References that lead to references: more than anybody writes, fewer than a cycle.
const MAX_HOPS: usize = 32;

/// Mappings whose keys are names, not the words of OpenAPI.
const NAMED: &[&str] = &[
    "$defs",
    "callbacks",
    "content",
    "definitions",
    "dependentSchemas",
    "encoding",
    "headers",
    "links",
    "parameters",
    "pathItems",
    "paths",
    "patternProperties",
    "properties",
    "requestBodies",
    "responses",
    "schemas",
    "scopes",
    "securityDefinitions",
    "securitySchemes",
    "variables",
    "webhooks",
];
/// Data, in which `$ref` is a key like any other.
const DATA: &[&str] = &["const", "default", "enum", "example", "examples"];

/// The project's files as they are opened, and the fragments that several definitions share.
pub(crate) struct Library<'f> {
    files: &'f dyn Files,
    names: Vec<String>,
    fragments: HashMap<String, Option<Rc<Document>>>,
    checked: HashSet<String>,
}

/// One definition and all files that it refers to, directly or not.
pub(crate) struct Bundle {
    main: Document,
    fragments: HashMap<String, Rc<Document>>,
}

/// Follows references within a [`Bundle`].
pub(crate) struct Resolver<'b> {
    bundle: &'b Bundle,
    wide: HashMap<&'b str, Wide<'b>>,
}

/// Where a `$ref` leads: a file (`None`: its own) and a fragment without `#`.
struct Target {
    file: Option<String>,
    fragment: String,
}

/// What a document says that is looked at wherever it stands.
#[derive(Default)]
struct Survey<'d> {
    references: Vec<Value<'d>>,
    anchors: HashSet<&'d str>,
    /// Our extensions where no reader looks for them.
    strays: Vec<Value<'d>>,
}

/// What kind of object the survey is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    Root,
    Components,
    /// Keys are paths, values path items.
    Paths,
    Path,
    Operation,
    /// Keys are names.
    Names,
    Other,
}

// === impl Library ===

impl<'f> Library<'f> {
    pub(crate) fn new(files: &'f dyn Files) -> Library<'f> {
        Library { files, names: Vec::new(), fragments: HashMap::new(), checked: HashSet::new() }
    }

    /// Every file that was opened, in that order: positions are indexes into it.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Whether a definition refers to this file.
    pub(crate) fn is_fragment(&self, path: &str) -> bool {
        self.fragments.contains_key(path)
    }

    /// Reads and parses one file.
    pub(crate) fn open(&mut self, path: &str) -> Result<Document, Vec<Diagnostic>> {
        let bytes = self.files.read(path, source::MAX_FILE).map_err(|error| {
            let message = format!("`{path}` cannot be read: {error}");
            vec![Diagnostic::new(Code::UnreadableFile, Place::whole(path), message)]
        })?;
        let id = self.names.iter().position(|name| name == path).unwrap_or_else(|| {
            self.names.push(path.to_owned());
            self.names.len() - 1
        });
        Document::parse(path, u32::try_from(id).unwrap_or(u32::MAX), bytes)
    }

    /// Opens all that `main` refers to, and checks that every reference leads somewhere.
    pub(crate) fn bundle(&mut self, main: Document, report: &mut Report) -> Bundle {
        let mut fragments = HashMap::new();
        let mut unread: Vec<String> = files_of(&main);
        while let Some(path) = unread.pop() {
            if fragments.contains_key(&path) || path == **main.file() {
                continue;
            }
            let known = self.fragments.get(&path).cloned();
            let fragment = known.unwrap_or_else(|| {
                let opened = self.open(&path).map(Rc::new).map_err(|mut diagnostics| {
                    // That it cannot be read is said of each reference to it.
                    diagnostics.retain(|diagnostic| diagnostic.code != Code::UnreadableFile);
                    report.extend(diagnostics);
                });
                let opened = opened.ok();
                self.fragments.insert(path.clone(), opened.clone());
                opened
            });
            if let Some(fragment) = fragment {
                unread.extend(files_of(&fragment));
                fragments.insert(path, fragment);
            }
        }
        let bundle = Bundle { main, fragments };
        let mut resolver = Resolver::new(&bundle);
        let survey = resolver.check(&bundle.main, self, report);
        survey.strays.into_iter().for_each(|key| extensions::stray(report, key));
        for (path, fragment) in &bundle.fragments {
            if self.checked.insert(path.clone()) {
                resolver.check(fragment, self, report);
            }
        }
        bundle
    }
}

// === impl Bundle ===

impl Bundle {
    pub(crate) fn root(&self) -> Value<'_> {
        self.main.root()
    }

    fn document(&self, path: &str) -> Option<&Document> {
        if path == &**self.main.file() {
            return Some(&self.main);
        }
        self.fragments.get(path).map(Rc::as_ref)
    }
}

// === impl Resolver ===

impl<'b> Resolver<'b> {
    pub(crate) fn new(bundle: &'b Bundle) -> Resolver<'b> {
        Resolver { bundle, wide: HashMap::new() }
    }

    /// `value`, or what its `$ref` leads to in the end. `None` for one that leads nowhere, which has been reported,
    /// or back to itself, which is reported here.
    pub(crate) fn follow(&mut self, report: &mut Report, value: Value<'b>) -> Option<Value<'b>> {
        let mut current = value;
        for _ in 0..MAX_HOPS {
            let Some(reference) = current.get("$ref") else { return Some(current) };
            let Content::Text(_) = reference.content() else {
                report.say(Code::WrongType, reference, format!("`$ref` must be text, not {}", reference.type_name()));
                return None;
            };
            if let Some((key, _)) =
                current.entries().find(|(key, _)| !matches!(key.text(), "$ref" | "summary" | "description"))
            {
                let message = format!("`{}` beside `$ref` has no defined meaning", key.text());
                report.advise(
                    Code::BadValue,
                    key,
                    message,
                    "move it to where the reference leads, or write the object out",
                );
            }
            current = self.resolve(&Target::of(reference).ok()?, current.document())?;
        }
        report.say(Code::UnresolvedReference, value, "this `$ref` leads back to itself");
        None
    }

    /// What the `$ref` of `value` leads to, which may be one again. Nothing is reported, whatever stands beside it.
    pub(crate) fn step(&mut self, value: Value<'b>) -> Option<Value<'b>> {
        let reference = value.get("$ref").filter(|reference| matches!(reference.content(), Content::Text(_)))?;
        self.resolve(&Target::of(reference).ok()?, value.document())
    }

    fn resolve(&mut self, target: &Target, from: &'b Document) -> Option<Value<'b>> {
        let document = match &target.file {
            None => from,
            Some(path) => self.bundle.document(path)?,
        };
        document.resolve(&target.fragment, self.wide.entry(document.file().as_ref()).or_default())
    }

    /// Reports the references of `document` that lead nowhere.
    fn check(&mut self, document: &'b Document, library: &Library<'_>, report: &mut Report) -> Survey<'b> {
        let survey = Survey::of(document);
        for reference in &survey.references {
            let target = match Target::of(*reference) {
                Ok(target) => target,
                Err((code, message, help)) => {
                    report.advise(code, *reference, message, help);
                    continue;
                }
            };
            if let Some(path) = target.file.as_deref().filter(|path| self.bundle.document(path).is_none()) {
                // A file that was opened and is not well-formed has been reported itself.
                if !library.names.iter().any(|name| name == path) {
                    let message = format!("`$ref` names the file `{path}`, which cannot be read");
                    report.say(Code::UnresolvedReference, *reference, message);
                }
                continue;
            }
            let anchor = target.file.is_none() && survey.anchors.contains(target.fragment.as_str());
            if !anchor && self.resolve(&target, document).is_none() {
                let message = format!("`$ref` leads nowhere: there is no `{}`", reference.text());
                report.say(Code::UnresolvedReference, *reference, message);
            }
        }
        survey
    }
}

// === impl Target ===

impl Target {
    /// What the reference says, its file relative to the project.
    fn of(reference: Value<'_>) -> Result<Target, (Code, String, &'static str)> {
        let text = reference.text();
        let outside = |what: &str| {
            let message = format!("`$ref` {what}: `{text}`");
            (Code::OutsideReference, message, "copy what it refers to into the project")
        };
        let (file, fragment) = text.split_once('#').unwrap_or((text, ""));
        let undecodable =
            || (Code::UnresolvedReference, format!("`$ref` is no valid reference: `{text}`"), "write `file#/pointer`");
        let fragment = percent_decoded(fragment).ok_or_else(undecodable)?;
        if file.is_empty() {
            return Ok(Target { file: None, fragment });
        }
        let scheme = file.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
        if scheme || file.starts_with("//") {
            return Err(outside("is a URL, and nothing is fetched"));
        }
        let file = percent_decoded(file).ok_or_else(undecodable)?;
        if file.starts_with('/') || file.contains(['\\', '\0']) {
            return Err(outside("is not relative to its file"));
        }
        let mut path: Vec<&str> = reference.document().file().split('/').collect();
        path.pop();
        for segment in file.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    path.pop().ok_or_else(|| outside("leaves the project"))?;
                }
                segment => path.push(segment),
            }
        }
        let path = path.join("/");
        let own = path == **reference.document().file();
        Ok(Target { file: (!own).then_some(path), fragment })
    }
}

// === impl Survey ===

impl<'d> Survey<'d> {
    fn of(document: &'d Document) -> Survey<'d> {
        let mut survey = Survey::default();
        survey.object(document.root(), Site::Root);
        survey
    }

    fn object(&mut self, value: Value<'d>, site: Site) {
        for (key, value) in value.entries() {
            let word = key.text();
            match (word, value.content()) {
                _ if matches!(site, Site::Names | Site::Paths) => self.object(value, site.below(word)),
                ("$ref", Content::Text(_)) => self.references.push(value),
                ("$anchor" | "$dynamicAnchor", Content::Text(anchor)) => {
                    self.anchors.insert(anchor);
                }
                _ if site == Site::Other && extensions::is_ours(word) => self.strays.push(key),
                ("examples", Content::Map) => self.examples(value),
                _ if word.starts_with("x-") || DATA.contains(&word) => {}
                _ => self.object(value, site.below(word)),
            }
        }
        for item in value.items() {
            self.object(item, Site::Other);
        }
    }

    /// Examples by name, of which each can be a reference. By media type, as in Swagger 2.0, they are data.
    fn examples(&mut self, examples: Value<'d>) {
        for (_, example) in examples.entries().filter(|(name, _)| !name.text().contains('/')) {
            let is_reference =
                |(key, _): (Value<'d>, Value<'d>)| matches!(key.text(), "$ref" | "summary" | "description");
            if let Some(reference) = example.get("$ref")
                && matches!(reference.content(), Content::Text(_))
                && example.entries().all(is_reference)
            {
                self.references.push(reference);
            }
        }
    }
}

// === impl Site ===

impl Site {
    fn below(self, key: &str) -> Site {
        match self {
            Site::Root if key == "components" => Site::Components,
            Site::Root if key == "paths" => Site::Paths,
            Site::Components if key == "pathItems" => Site::Paths,
            Site::Paths => Site::Path,
            Site::Path if Method::parse(key).is_some() => Site::Operation,
            Site::Names => Site::Other,
            _ if NAMED.contains(&key) => Site::Names,
            _ => Site::Other,
        }
    }
}

/// The files that the references of `document` name, as far as they are inside the project.
fn files_of(document: &Document) -> Vec<String> {
    let targets = Survey::of(document).references.into_iter().filter_map(|reference| Target::of(reference).ok());
    let mut files: Vec<String> = targets.filter_map(|target| target.file).collect();
    files.sort();
    files.dedup();
    files
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}
