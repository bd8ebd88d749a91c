//! What a document says that is looked at wherever it stands: references, names of schemas, our extensions.

use microgw_schemas::dialect as modern;

use crate::definition::extensions;
use crate::model::Method;
use crate::source::{Content, Document, Value};

/// Mappings whose keys are names, not the words of OpenAPI.
const NAMED: &[&str] = &[
    "$defs",
    "callbacks",
    "content",
    "definitions",
    "dependencies",
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
/// Objects with schemas in them, and a keyword of old.
const WORDS: &[&str] = &["additionalItems", "requestBody", "schema"];
/// Data, in which `$ref` is a key like any other.
const DATA: &[&str] = &["const", "default", "enum", "example", "examples"];

#[derive(Default)]
pub(super) struct Survey<'d> {
    /// `$ref` and `$dynamicRef`.
    pub references: Vec<Value<'d>>,
    /// Schemas, and their `$id`. In their order.
    pub ids: Vec<(Value<'d>, Value<'d>)>,
    pub anchors: Vec<Anchor<'d>>,
    /// Our extensions where no reader looks for them.
    pub strays: Vec<Value<'d>>,
}

pub(super) struct Anchor<'d> {
    pub schema: Value<'d>,
    pub name: Value<'d>,
    pub is_dynamic: bool,
}

/// What kind of object the survey is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    Root,
    /// A file that definitions refer to.
    Fragment,
    Components,
    /// Keys are paths, values path items.
    Paths,
    Path,
    Operation,
    /// Keys are names.
    Names,
    Other,
}

// === impl Survey ===

impl<'d> Survey<'d> {
    pub(super) fn of(document: &'d Document) -> Survey<'d> {
        let mut survey = Survey::default();
        let root = document.root();
        let is_definition = ["openapi", "swagger"].into_iter().any(|key| root.get(key).is_some());
        survey.object(root, if is_definition { Site::Root } else { Site::Fragment }, true);
        survey.ids.sort_by_key(|(schema, _)| schema.spot());
        survey
    }

    /// `known`: what it is below are words of OpenAPI and JSON Schema alone. Elsewhere nothing is the name of a schema.
    fn object(&mut self, owner: Value<'d>, site: Site, known: bool) {
        let schemas = known && matches!(site, Site::Other | Site::Fragment);
        for (key, value) in owner.entries() {
            let word = key.text();
            let below = site.below(word);
            match (word, value.content()) {
                _ if matches!(site, Site::Names | Site::Paths) => self.object(value, below, known),
                ("$ref" | "$dynamicRef", Content::Text(_)) => self.references.push(value),
                ("$id", Content::Text(_)) if schemas => self.ids.push((owner, value)),
                ("$anchor" | "$dynamicAnchor", Content::Text(_)) if schemas => {
                    self.anchors.push(Anchor { schema: owner, name: value, is_dynamic: word == "$dynamicAnchor" });
                }
                _ if site == Site::Other && extensions::is_ours(word) => self.strays.push(key),
                ("examples", Content::Map) => self.examples(value),
                _ if word.starts_with("x-") || DATA.contains(&word) => {}
                _ => self.object(value, below, known && (site != Site::Other || is_word(word))),
            }
        }
        for item in owner.items() {
            self.object(item, Site::Other, known);
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

/// Whether there can be schemas below this key of a schema, or of an object of OpenAPI that has them. Callbacks are called by expressions.
fn is_word(key: &str) -> bool {
    modern::arrangement(key).is_some()
        || NAMED.contains(&key)
        || WORDS.contains(&key)
        || Method::parse(key).is_some()
        || key.contains('{')
}

// === impl Site ===

impl Site {
    fn below(self, key: &str) -> Site {
        match self {
            Site::Root | Site::Fragment if key == "components" => Site::Components,
            Site::Root | Site::Fragment if key == "paths" => Site::Paths,
            Site::Components if key == "pathItems" => Site::Paths,
            Site::Paths => Site::Path,
            Site::Path if Method::parse(key).is_some() => Site::Operation,
            Site::Names => Site::Other,
            _ if NAMED.contains(&key) => Site::Names,
            // Schemas may be anywhere in a file that is no definition, until one has begun.
            Site::Fragment if modern::arrangement(key).is_none() => Site::Fragment,
            _ => Site::Other,
        }
    }
}
