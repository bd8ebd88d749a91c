//! The schemas of an API, each once, however many operations refer to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microgw_proto::contracts::v1::Schemas as Proto;
use microgw_schemas::resources::{Scope, Scopes};
use microgw_schemas::{MAX_SCHEMAS, MAX_SCHEMAS_SIZE, Schemas, formats};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::batches::{Batch, batches};
use super::{Dialect, Draft, Flaw, Side, dialect};
use crate::compile::Report;
use crate::definition::references::Resolver;
use crate::diagnostic::Code;
use crate::source::{Spot, Value};

/// In the place of an index: a schema that has none yet.
const INLINE: u32 = u32::MAX;

/// Collects schemas. Those that references lead to have their place before they are converted, so that cycles end.
pub(super) struct Shelf<'d> {
    root: Value<'d>,
    pub dialect: Dialect,
    entries: Vec<Entry<'d>>,
    /// By where they stand, and what dynamic names mean there.
    by_place: HashMap<(Spot, Scope), u32>,
    /// Equal ones that nothing refers to are one.
    by_text: HashMap<[u8; 32], u32>,
    waiting: Vec<u32>,
    /// The entry that is converted, and its scope.
    current: u32,
    scope: Scope,
    scopes: Scopes<Spot>,
    /// A dialect of schemas that is none of those that are known.
    foreign: Option<Value<'d>>,
    notes: Vec<(u32, Value<'d>, String)>,
    formats: BTreeMap<&'d str, Value<'d>>,
    /// Named schemas by those that they are an `allOf` of.
    children: Option<HashMap<(usize, u32), Vec<Named<'d>>>>,
}

/// A component, and what it is called.
type Named<'d> = (String, Value<'d>);

struct Entry<'d> {
    text: String,
    origin: Value<'d>,
    scope: Scope,
}

// === impl Shelf ===

impl<'d> Shelf<'d> {
    pub(super) fn new(root: Value<'d>, dialect: Dialect) -> Shelf<'d> {
        Shelf {
            root,
            dialect,
            entries: Vec::new(),
            by_place: HashMap::new(),
            by_text: HashMap::new(),
            waiting: Vec::new(),
            current: 0,
            scope: Scope::default(),
            scopes: Scopes::default(),
            foreign: root.get("jsonSchemaDialect").filter(|said| !dialect::is_known(*said)),
            notes: Vec::new(),
            formats: BTreeMap::new(),
            children: None,
        }
    }

    /// The place of a schema.
    pub(super) fn put(&mut self, schema: Value<'d>, resolver: &mut Resolver<'d>) -> u32 {
        self.put_at(schema, false, resolver)
    }

    /// The place of a schema that a reference leads to.
    pub(super) fn put_target(&mut self, schema: Value<'d>, resolver: &mut Resolver<'d>) -> u32 {
        self.put_at(schema, true, resolver)
    }

    /// The place of what a `$dynamicRef` leads to: the schema of that name that was entered first.
    pub(super) fn put_dynamic(&mut self, reference: Value<'d>, resolver: &mut Resolver<'d>) -> Option<u32> {
        let (target, name) = resolver.lead(reference)?;
        let first = name.and_then(|name| self.scopes.outermost(self.scope, name)).and_then(|spot| resolver.at(spot));
        Some(self.put_target(first.unwrap_or(target), resolver))
    }

    /// What is read from now on is in `schema`; to be given to [`Shelf::leave`].
    pub(super) fn enter(&mut self, schema: Value<'d>, resolver: &Resolver<'d>) -> Scope {
        let before = self.scope;
        if resolver.resources().is_dynamic()
            && let Some(resource) = resolver.resource(schema)
        {
            match self.scopes.enter(resolver.resources(), before, resource) {
                Some(scope) => self.scope = scope,
                None => self.note(schema, "there are too many ways to schemas with a `$dynamicAnchor`"),
            }
        }
        before
    }

    pub(super) fn leave(&mut self, before: Scope) {
        self.scope = before;
    }

    fn put_at(&mut self, schema: Value<'d>, referred: bool, resolver: &mut Resolver<'d>) -> u32 {
        let before = self.enter(schema, resolver);
        // A reference alone is what it leads to.
        let (mut schema, mut referred) = (schema, referred);
        for _ in 0..32 {
            let alone = self.dialect != Dialect::OpenApi31 || schema.entries().count() == 1;
            match resolver.step(schema).filter(|_| alone) {
                Some(target) => (schema, referred) = (target, true),
                None => break,
            }
            self.enter(schema, resolver);
        }
        let place = (schema.spot(), self.scope);
        let index = match self.by_place.get(&place).copied() {
            Some(index) => index,
            None if referred => {
                let index = self.add(schema);
                self.waiting.push(index);
                index
            }
            None => self.put_inline(schema, resolver),
        };
        self.by_place.insert(place, index);
        self.leave(before);
        index
    }

    /// Nothing refers to it, so whatever is equal to it is it.
    fn put_inline(&mut self, schema: Value<'d>, resolver: &mut Resolver<'d>) -> u32 {
        let before = std::mem::replace(&mut self.current, INLINE);
        let text = dialect::of(schema, self, resolver).to_string();
        self.current = before;
        let is_noted = self.notes.iter().any(|(of, ..)| *of == INLINE);
        let digest = Sha256::digest(&text).into();
        if let Some(index) = self.by_text.get(&digest).filter(|_| !is_noted) {
            return *index;
        }
        let index = self.add(schema);
        for (of, ..) in self.notes.iter_mut().filter(|(of, ..)| *of == INLINE) {
            *of = index;
        }
        self.keep(index, text);
        self.by_text.insert(digest, index);
        index
    }

    /// The place of an object that has these properties.
    pub(super) fn put_form(
        &mut self,
        at: Value<'d>,
        properties: &[(String, Value<'d>)],
        required: &[String],
        resolver: &mut Resolver<'d>,
    ) -> u32 {
        let index = self.add(at);
        let before = std::mem::replace(&mut self.current, index);
        let mut form = Map::from_iter([("type".to_owned(), json!("object"))]);
        let fields = properties.iter().map(|(name, field)| {
            let field = dialect::of(*field, self, resolver);
            // A file is bytes.
            let is_file = field.as_object().is_some_and(Map::is_empty);
            (name.clone(), if is_file { json!({ "type": "string", "format": "binary" }) } else { field })
        });
        form.insert("properties".to_owned(), Json::Object(fields.collect()));
        self.current = before;
        if !required.is_empty() {
            form.insert("required".to_owned(), json!(required));
        }
        let form = Json::Object(form);
        self.keep(index, form.to_string());
        index
    }

    /// Converts all that have a place, and all that they lead to.
    pub(super) fn fill(&mut self, resolver: &mut Resolver<'d>) {
        // Beyond that nothing is checked, and a schema may be there once for each way to it.
        while let Some(index) = self.waiting.pop().filter(|_| self.entries.len() <= MAX_SCHEMAS) {
            let Some((origin, scope)) = self.entries.get(index as usize).map(|entry| (entry.origin, entry.scope))
            else {
                continue;
            };
            (self.current, self.scope) = (index, scope);
            let text = dialect::of(origin, self, resolver).to_string();
            self.keep(index, text);
        }
        self.scope = Scope::default();
    }

    pub(super) fn note(&mut self, at: Value<'d>, message: impl Into<String>) {
        self.notes.push((self.current, at, message.into()));
    }

    pub(super) fn format(&mut self, format: Value<'d>) {
        if !formats::is_known(format.text()) {
            self.formats.entry(format.text()).or_insert(format);
        }
    }

    pub(super) fn report_formats(&self, report: &mut Report) {
        for (name, at) in &self.formats {
            report.say(Code::UnknownFormat, *at, format!("the format `{name}` is not known, and not checked"));
        }
    }

    /// What a component of the definition is called.
    pub(super) fn name_of(&self, schema: Value<'d>) -> Option<String> {
        self.components().find(|(_, component)| component.is(schema)).map(|(name, _)| name.text().to_owned())
    }

    /// The components that are an `allOf` of `base`.
    pub(super) fn children(&mut self, base: Value<'d>, resolver: &mut Resolver<'d>) -> Vec<(String, Value<'d>)> {
        if self.children.is_none() {
            let mut children: HashMap<(usize, u32), Vec<Named<'d>>> = HashMap::new();
            for (name, component) in self.components() {
                for part in component.get("allOf").into_iter().flat_map(Value::items) {
                    if let Some(target) = resolver.step(part) {
                        children.entry(target.id()).or_default().push((name.text().to_owned(), component));
                    }
                }
            }
            self.children = Some(children);
        }
        self.children.as_ref().and_then(|children| children.get(&base.id())).cloned().unwrap_or_default()
    }

    /// Checks all and the contracts that they are for, and gives `drafts` what is wrong with those that they use.
    pub(super) fn check(&mut self, drafts: &mut [Draft]) -> Proto {
        let leading = self.leading();
        let texts = self.entries.iter_mut().map(|entry| std::mem::take(&mut entry.text));
        let mut schemas = Proto { schemas: texts.collect() };
        let size: usize = schemas.schemas.iter().map(String::len).sum();
        let mut wrong: BTreeMap<u32, Vec<(Value<'d>, String)>> = BTreeMap::new();
        if schemas.schemas.len() > MAX_SCHEMAS || size > MAX_SCHEMAS_SIZE {
            let message =
                format!("the schemas of the API are more than {MAX_SCHEMAS}, or longer than {MAX_SCHEMAS_SIZE} bytes");
            for draft in drafts {
                draft.flaw(self.root, &message);
            }
            return Proto::default();
        }
        for Batch { members, drafts: of_batch } in batches(&schemas, &leading, drafts) {
            let (mistakes, compiled) = Schemas::check(&mut schemas, &members);
            for mistake in mistakes {
                let Some(entry) = self.entries.get(mistake.schema) else { continue };
                let at = walk(entry.origin, &mistake.pointer);
                wrong.entry(index_of(mistake.schema)).or_default().push((at, mistake.reason));
            }
            let Some(compiled) = compiled else { continue };
            for index in of_batch {
                if let Some(draft) = drafts.get_mut(index) {
                    draft.compile(&compiled);
                }
            }
        }
        for (index, at, message) in &self.notes {
            wrong.entry(*index).or_default().push((*at, message.clone()));
        }
        if !wrong.is_empty() {
            for draft in drafts {
                for side in [Side::Request, Side::Response] {
                    let used = match side {
                        Side::Request => &draft.requests,
                        Side::Response => &draft.responses,
                    };
                    let reached = reached(used, &leading);
                    let flaws = wrong.iter().filter(|(index, _)| reached.contains(index)).flat_map(|(_, flaws)| flaws);
                    let flaws: Vec<Flaw> = flaws.map(|(at, message)| flaw(side, *at, message)).collect();
                    draft.flaws.extend(flaws);
                }
            }
        }
        schemas
    }

    fn components(&self) -> impl Iterator<Item = (Value<'d>, Value<'d>)> + use<'d> {
        let root = self.root;
        let components = root.get("components").and_then(|components| components.get("schemas"));
        components.or_else(|| root.get("definitions")).into_iter().flat_map(Value::entries)
    }

    fn add(&mut self, origin: Value<'d>) -> u32 {
        let index = index_of(self.entries.len());
        self.notes.extend(self.foreign.map(|at| (index, at, dialect::FOREIGN.to_owned())));
        self.entries.push(Entry { text: "true".to_owned(), origin, scope: self.scope });
        index
    }

    fn keep(&mut self, index: u32, text: String) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.text = text;
        }
    }

    /// Which lead to which.
    fn leading(&self) -> Vec<Vec<u32>> {
        let targets = |text: &str| -> Vec<u32> {
            let ends = text.split("\"#/$defs/").skip(1);
            ends.filter_map(|end| end.split('"').next()?.parse().ok()).collect()
        };
        self.entries.iter().map(|entry| targets(&entry.text)).collect()
    }
}

// === impl Draft ===

impl Draft {
    fn flaw(&mut self, at: Value<'_>, message: &str) {
        self.flaws.extend([Side::Request, Side::Response].map(|side| flaw(side, at, message)));
    }
}

fn flaw(side: Side, at: Value<'_>, message: &str) -> Flaw {
    Flaw { side, place: at.place(), position: at.position(), message: message.to_owned() }
}

fn index_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// What a pointer leads to, as far as it does: some of what is checked stands nowhere.
fn walk<'d>(origin: Value<'d>, pointer: &str) -> Value<'d> {
    let mut at = origin;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let next = at.get(&token).or_else(|| at.items().nth(token.parse().ok()?));
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

fn reached(from: &BTreeSet<u32>, leading: &[Vec<u32>]) -> BTreeSet<u32> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<u32> = from.iter().copied().collect();
    while let Some(index) = waiting.pop() {
        if reached.insert(index) {
            waiting.extend(leading.get(index as usize).into_iter().flatten());
        }
    }
    reached
}
