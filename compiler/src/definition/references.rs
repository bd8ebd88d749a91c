//! A definition with the files that it refers to, and what a `$ref` in it leads to. Every `$ref` is checked, read or
//! not; cycles are fine. Nothing outside the project is ever opened.

mod names;
mod survey;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use microgw_schemas::resources::{DynamicName, Named, ResourceId, Resources, percent_decoded};

use super::extensions;
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::source::{self, Content, Document, Spot, Value, Wide};
use names::Names;
use survey::Survey;

/// References that lead to references: more than anybody writes, fewer than a cycle.
const MAX_HOPS: usize = 32;

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
    /// Paths by the number of the document.
    paths: HashMap<u32, String>,
    names: Names,
}

/// Follows references within a [`Bundle`].
pub(crate) struct Resolver<'b> {
    bundle: &'b Bundle,
    wide: HashMap<&'b str, Wide<'b>>,
}

/// Why a `$ref` leads nowhere: the code, what is wrong, and what helps.
type Astray = (Code, String, &'static str);

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
        // A word of OpenAPI 3.1.
        let ids = main.root().get("openapi").is_some_and(|version| !version.text().starts_with("3.0"));
        let (mut fragments, mut names) = (HashMap::new(), Names::default());
        let mut paths = HashMap::from([(main.number(), main.file().to_string())]);
        let mut unread = take_in(&mut names, &main, ids, Some(report));
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
                let told = self.checked.contains(&path);
                unread.extend(take_in(&mut names, &fragment, ids, (!told).then_some(&mut *report)));
                paths.insert(fragment.number(), path.clone());
                fragments.insert(path, fragment);
            }
        }
        let bundle = Bundle { main, fragments, paths, names };
        let mut resolver = Resolver::new(&bundle);
        let survey = resolver.check(&bundle.main, self, report);
        survey.strays.into_iter().for_each(|key| extensions::stray(report, key));
        for (path, fragment) in &bundle.fragments {
            // What answers to a URI depends on what else there is.
            if self.checked.insert(path.clone()) || bundle.names.has_ids() {
                resolver.check(fragment, self, report);
            }
        }
        bundle
    }
}

/// Takes in a document's names; gives the files that it may refer to.
fn take_in(names: &mut Names, document: &Document, ids: bool, mut report: Option<&mut Report>) -> Vec<String> {
    let survey = Survey::of(document);
    for (name, error) in names.add(document, &survey, ids) {
        if let Some(report) = &mut report {
            report.say(Code::BadValue, name, format!("`{}` can be no name of a schema: {error}", name.text()));
        }
    }
    let mut files: Vec<String> = Vec::new();
    for reference in survey.references {
        files.extend(beside(reference).ok().flatten());
        if names.has_ids() {
            files.extend(names.of(reference).and_then(|within| names.resources.path(within, reference.text())));
        }
    }
    files.sort();
    files.dedup();
    files
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

    fn at(&self, spot: Spot) -> Option<Value<'_>> {
        Some(self.document(self.paths.get(&spot.0)?)?.at(spot))
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
            current = self.lead(reference)?.0;
        }
        report.say(Code::UnresolvedReference, value, "this `$ref` leads back to itself");
        None
    }

    /// What the `$ref` of `value` leads to, which may be one again. Nothing is reported, whatever stands beside it.
    pub(crate) fn step(&mut self, value: Value<'b>) -> Option<Value<'b>> {
        let reference = value.get("$ref").filter(|reference| matches!(reference.content(), Content::Text(_)))?;
        self.lead(reference).map(|(target, _)| target)
    }

    /// What a reference leads to; by a name that others may have, too, if it is a `$dynamicAnchor`.
    pub(crate) fn lead(&mut self, reference: Value<'b>) -> Option<(Value<'b>, Option<DynamicName>)> {
        let (resource, fragment) = self.target(reference).ok()?;
        self.reach(reference, resource, &fragment)
    }

    /// The innermost schema with a URI, or the document, that `value` is in.
    pub(crate) fn resource(&self, value: Value<'b>) -> Option<ResourceId> {
        self.bundle.names.of(value)
    }

    pub(crate) fn resources(&self) -> &'b Resources<Spot> {
        &self.bundle.names.resources
    }

    pub(crate) fn at(&self, spot: Spot) -> Option<Value<'b>> {
        self.bundle.at(spot)
    }

    /// `Err`: it leads nowhere, and why.
    fn target(&self, reference: Value<'b>) -> Result<(ResourceId, String), Option<Astray>> {
        let (names, text) = (&self.bundle.names, reference.text());
        let own = names.of(reference).ok_or(None)?;
        if names.has_ids() || text.starts_with('#') {
            match names.resources.find(own, text) {
                Named::One(resource, fragment) => return Ok((resource, fragment)),
                Named::Several => {
                    let message = format!("`$ref` leads to several schemas: their `$id` is the same, `{text}`");
                    return Err(Some((Code::UnresolvedReference, message, "give each schema an `$id` of its own")));
                }
                Named::Nothing => {}
            }
        }
        // A file with URIs of its own names those beside it by their paths, as often as not.
        let path = names.has_ids().then(|| names.resources.path(own, text)).flatten();
        let path = match path.filter(|path| names.document(path).is_some()) {
            Some(path) => Some(path),
            None => beside(reference).map_err(Some)?,
        };
        let fragment =
            percent_decoded(text.split_once('#').unwrap_or_default().1).ok_or_else(|| Some(unreadable(text)))?;
        let document = path.as_deref().unwrap_or(reference.document().file());
        names.document(document).map(|resource| (resource, fragment)).ok_or(None)
    }

    /// Those who give schemas an `$id` often write pointers from the document's root all the same.
    fn reach(
        &mut self,
        reference: Value<'b>,
        resource: ResourceId,
        fragment: &str,
    ) -> Option<(Value<'b>, Option<DynamicName>)> {
        let found = self.within(resource, fragment);
        if found.is_some() || !reference.text().starts_with("#/") {
            return found;
        }
        let document = self.bundle.names.document(reference.document().file())?;
        self.within(document, fragment)
    }

    fn within(&mut self, resource: ResourceId, fragment: &str) -> Option<(Value<'b>, Option<DynamicName>)> {
        let resources = self.resources();
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let (spot, name) = resources.anchored(resource, fragment)?;
            return Some((self.bundle.at(spot)?, name));
        }
        let root = self.bundle.at(resources.root(resource)?)?;
        let wide = self.wide.entry(root.document().file().as_ref()).or_default();
        root.resolve(fragment, wide).map(|target| (target, None))
    }

    /// Reports the references of `document` that lead nowhere.
    fn check(&mut self, document: &'b Document, library: &Library<'_>, report: &mut Report) -> Survey<'b> {
        let survey = Survey::of(document);
        for reference in &survey.references {
            let (resource, fragment) = match self.target(*reference) {
                Ok(target) => target,
                Err(Some((code, message, help))) => {
                    report.advise(code, *reference, message, help);
                    continue;
                }
                Err(None) => {
                    // A file that was opened and is not well-formed has been reported itself.
                    if let Ok(Some(path)) = beside(*reference)
                        && !library.names.contains(&path)
                    {
                        let message = format!("`$ref` names the file `{path}`, which cannot be read");
                        report.say(Code::UnresolvedReference, *reference, message);
                    }
                    continue;
                }
            };
            if self.reach(*reference, resource, &fragment).is_none() {
                let message = format!("`$ref` leads nowhere: there is no `{}`", reference.text());
                report.say(Code::UnresolvedReference, *reference, message);
            }
        }
        survey
    }
}

/// The file that a reference names by its path, relative to the project. `None`: its own.
fn beside(reference: Value<'_>) -> Result<Option<String>, Astray> {
    let text = reference.text();
    let outside = |what: &str| {
        let message = format!("`$ref` {what}: `{text}`");
        (Code::OutsideReference, message, "copy what it refers to into the project")
    };
    let file = text.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return Ok(None);
    }
    let scheme = file.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
    if scheme || file.starts_with("//") {
        return Err(outside("is a URL, and nothing is fetched"));
    }
    let file = percent_decoded(file).ok_or_else(|| unreadable(text))?;
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
    Ok((!own).then_some(path))
}

fn unreadable(text: &str) -> Astray {
    (Code::UnresolvedReference, format!("`$ref` is no valid reference: `{text}`"), "write `file#/pointer`")
}
