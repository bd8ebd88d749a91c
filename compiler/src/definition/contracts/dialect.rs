//! A schema as a definition writes it, as JSON Schema 2020-12.

use microgw_schemas::dialect::{self as modern, Arrangement};
use serde_json::{Map, Value as Json, json};

use super::Dialect;
use super::discriminator;
use super::shelf::Shelf;
use crate::definition::answers::number_of;
use crate::definition::references::Resolver;
use crate::source::{Content, Value};

/// Keywords that are taken as they are, beside those that assert something. All others say nothing of values.
const PLAIN: &[&str] =
    &["additionalItems", "contentEncoding", "contentMediaType", "nullable", "readOnly", "type", "writeOnly", "xml"];
/// Words that say nothing of values, and are meant to.
const SILENT: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$ref",
    "$schema",
    "$vocabulary",
    "contentSchema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "id",
    "required",
    "title",
];
/// Dialects of 3.1, and what is said of others.
const DIALECTS: [&str; 2] =
    ["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/"];
pub(super) const FOREIGN: &str = "schemas are those of JSON Schema 2020-12, or of OpenAPI 3.1";

/// Whether the value of `$schema` or `jsonSchemaDialect` is a dialect that is checked.
pub(super) fn is_known(dialect: Value<'_>) -> bool {
    let [draft, openapi] = DIALECTS;
    dialect.text().trim_end_matches('#') == draft || dialect.text().starts_with(openapi)
}

/// The schema, and those that it leads to put on the shelf. What cannot be said is left out, and noted there.
pub(super) fn of<'d>(schema: Value<'d>, shelf: &mut Shelf<'d>, resolver: &mut Resolver<'d>) -> Json {
    match schema.content() {
        Content::Map => {}
        // What is none is found out when all are.
        _ => return data(schema).unwrap_or(Json::Null),
    }
    let before = shelf.enter(schema, resolver);
    let map = object(schema, shelf, resolver);
    shelf.leave(before);
    Json::Object(map)
}

fn object<'d>(schema: Value<'d>, shelf: &mut Shelf<'d>, resolver: &mut Resolver<'d>) -> Map<String, Json> {
    let old = shelf.dialect != Dialect::OpenApi31;
    let mut map = Map::new();
    if let Some(reference) = schema.get("$ref").filter(|reference| matches!(reference.content(), Content::Text(_))) {
        match resolver.step(schema) {
            Some(target) => {
                let index = shelf.put_target(target, resolver);
                map.insert("$ref".to_owned(), Json::String(modern::pointer(index as usize)));
            }
            None => shelf.note(reference, "a reference leads nowhere"),
        }
        if old {
            return map;
        }
    }
    for (key, value) in schema.entries() {
        let word = key.text();
        if word == "$recursiveRef" || (word == "$dynamicRef" && old) {
            shelf.note(key, format!("`{word}` is not followed"));
        } else if word == "$schema" && !old && !is_known(value) {
            shelf.note(value, FOREIGN);
        } else if let Some(arrangement) = arrangement(word, value, old) {
            map.insert(word.to_owned(), arranged(arrangement, value, shelf, resolver));
        } else if (PLAIN.contains(&word) || modern::ASSERTIONS.contains(&word))
            && !(word == "required" && matches!(value.content(), Content::Bool(_)))
        {
            match data(value) {
                Some(data) => {
                    map.insert(word.to_owned(), data);
                }
                None => shelf.note(value, format!("`{word}` has a number that JSON does not know")),
            }
        } else if let Some(meant) = nearly(word) {
            shelf.note(key, format!("`{word}` says nothing of values: did you mean `{meant}`?"));
        }
    }
    if let Some(reference) = schema.get("$dynamicRef").filter(|_| !old) {
        match shelf.put_dynamic(reference, resolver) {
            Some(index) => modern::refer(&mut map, [modern::reference(index as usize)]),
            None => shelf.note(reference, "a reference leads nowhere"),
        }
    }
    if let Some(format) = schema.get("format") {
        shelf.format(format);
    }
    discriminator::apply(schema, &mut map, shelf, resolver);
    if old {
        modern::modernise_object(&mut map);
    } else {
        modern::divide_dependencies(&mut map);
    }
    map
}

/// The keyword that a word is nearly: whoever wrote it thinks that it counts.
fn nearly(word: &str) -> Option<&'static str> {
    if SILENT.contains(&word) || word.starts_with("x-") {
        return None;
    }
    let most = match word.len() {
        0..5 => 0,
        5..10 => 1,
        _ => 2,
    };
    let is_near = |keyword: &str| {
        *keyword != *word && (keyword.eq_ignore_ascii_case(word) || strsim::osa_distance(keyword, word) <= most)
    };
    PLAIN.iter().copied().chain(modern::ASSERTIONS).chain(modern::arranged()).find(|keyword| is_near(keyword))
}

fn arrangement(word: &str, value: Value<'_>, old: bool) -> Option<Arrangement> {
    match word {
        // A list of schemas was called so.
        "items" if old && matches!(value.content(), Content::List) => Some(Arrangement::Several),
        "dependencies" => Some(Arrangement::Named),
        // Without a schema it says that there may be others, or none.
        "additionalItems" => None,
        _ => modern::arrangement(word),
    }
}

fn arranged<'d>(
    arrangement: Arrangement,
    value: Value<'d>,
    shelf: &mut Shelf<'d>,
    resolver: &mut Resolver<'d>,
) -> Json {
    match (arrangement, value.content()) {
        (Arrangement::One, _) => of(value, shelf, resolver),
        (Arrangement::Several, Content::List) => value.items().map(|item| of(item, shelf, resolver)).collect(),
        (Arrangement::Named, Content::Map) => {
            let named = value.entries().map(|(name, item)| (name.text().to_owned(), of(item, shelf, resolver)));
            Json::Object(named.collect())
        }
        _ => data(value).unwrap_or(Json::Null),
    }
}

/// `None`: there is a number that JSON does not know.
pub(super) fn data(value: Value<'_>) -> Option<Json> {
    Some(match value.content() {
        Content::Null => Json::Null,
        Content::Bool(value) => Json::Bool(value),
        Content::Number(text) => serde_json::from_str(&number_of(text)?).ok()?,
        Content::Text(text) => json!(text),
        Content::List => Json::Array(value.items().map(data).collect::<Option<_>>()?),
        Content::Map => {
            let entries = value.entries().map(|(key, value)| Some((key.text().to_owned(), data(value)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
    })
}

/// What a reference calls its schema.
pub(super) fn last_name(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or_default();
    last.replace("~1", "/").replace("~0", "~")
}
