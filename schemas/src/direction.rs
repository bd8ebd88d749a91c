//! What a schema means in requests, and what in responses.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::dialect::{self, Site};
use crate::formats;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Request,
    Response,
}

/// A keyword of our own: no value is right.
pub(crate) const NEVER: &str = "x-microgw-never";

// === impl Direction ===

impl Direction {
    /// The annotation of properties that do not go this way.
    pub(crate) fn excluded(self) -> &'static str {
        match self {
            Direction::Request => "readOnly",
            Direction::Response => "writeOnly",
        }
    }

    /// Makes `schemas` those of this direction: what does not go this way must not be there, and is not asked for.
    pub(crate) fn apply(self, schemas: &mut [Value]) {
        let excluded: Vec<BTreeSet<String>> = (0..schemas.len())
            .map(|index| {
                schemas.get(index).map(|schema| self.names(schema, schemas, &mut Vec::new())).unwrap_or_default()
            })
            .collect();
        let marked: Vec<bool> = schemas.iter().map(|schema| self.is_excluded(schema)).collect();
        for (schema, names) in schemas.iter_mut().zip(&excluded) {
            self.rewrite(schema, names, &marked);
        }
    }

    /// The properties of `schema` itself, and of all that it is an `allOf` of, that do not go this way.
    fn names(self, schema: &Value, schemas: &[Value], visited: &mut Vec<usize>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let Value::Object(map) = schema else { return names };
        for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let target = dialect::target(property).and_then(|index| schemas.get(index));
            if self.is_excluded(property) || target.is_some_and(|target| self.is_excluded(target)) {
                names.insert(name.clone());
            }
        }
        for part in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            names.append(&mut self.names(part, schemas, visited));
        }
        if let Some(index) = dialect::target(schema)
            && !visited.contains(&index)
            && visited.len() < 64
        {
            visited.push(index);
            if let Some(target) = schemas.get(index) {
                names.append(&mut self.names(target, schemas, visited));
            }
        }
        names
    }

    fn is_excluded(self, schema: &Value) -> bool {
        schema.get(self.excluded()) == Some(&Value::Bool(true))
    }

    fn rewrite(self, schema: &mut Value, names: &BTreeSet<String>, marked: &[bool]) {
        let Value::Object(map) = schema else { return };
        formats::bind(map);
        if let Some(Value::Array(required)) = map.get_mut("required")
            && !names.is_empty()
        {
            required.retain(|name| !name.as_str().is_some_and(|name| names.contains(name)));
        }
        if let Some(Value::Object(properties)) = map.get_mut("properties") {
            for property in properties.values_mut() {
                let target = dialect::target(property).and_then(|index| marked.get(index));
                if self.is_excluded(property) || target == Some(&true) {
                    *property = json!({ NEVER: self.excluded() });
                }
            }
        }
        self.below(map, names, marked);
    }

    fn below(self, map: &mut Map<String, Value>, names: &BTreeSet<String>, marked: &[bool]) {
        dialect::each_part(map, &mut |site, part| {
            // Of the same object: what it must not have, no part of it asks for.
            let own = match (site, &*part) {
                (Site::Same, Value::Object(part)) => part.contains_key("properties").then(|| self.names_of(part)),
                (Site::Below, part) => part.as_object().map(|part| self.names_of(part)),
                _ => None,
            };
            match (site, own) {
                (Site::Same, None) => self.rewrite(part, names, marked),
                (Site::Same, Some(own)) => self.rewrite(part, &own.union(names).cloned().collect(), marked),
                (Site::Below, own) => self.rewrite(part, &own.unwrap_or_default(), marked),
            }
        });
    }

    /// Without following references.
    fn names_of(self, map: &Map<String, Value>) -> BTreeSet<String> {
        let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        let own = properties.filter(|(_, property)| self.is_excluded(property)).map(|(name, _)| name.clone());
        let parts = map.get("allOf").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
        own.chain(parts.flat_map(|part| self.names_of(part))).collect()
    }
}
