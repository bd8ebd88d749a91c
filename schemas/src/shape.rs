//! What a schema says of how texts are read: types, items, properties, and names in XML.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::dialect;
use crate::scalar::Types;

/// Of one schema, with all that it is composed of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub types: Types,
    /// Bytes that are not looked into.
    pub binary: bool,
    pub items: Option<ShapeId>,
    /// By name.
    pub properties: Vec<(Box<str>, ShapeId)>,
    /// Of properties that have no name.
    pub others: Option<ShapeId>,
    pub xml: Xml,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Xml {
    pub name: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    pub attribute: bool,
    pub wrapped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapeId(u32);

/// The shapes that a contract needs, each once.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    shapes: Vec<Shape>,
}

/// Schemas that one is composed of, at most; and what is looked at for one contract.
const MAX_PARTS: usize = 500;
const MAX_SHAPES: usize = 10_000;

/// Makes shapes of schemas.
pub(crate) struct Shaper<'s> {
    schemas: &'s [Value],
    known: HashMap<*const Value, ShapeId>,
    shapes: Vec<Shape>,
}

static NOTHING: Shape = Shape {
    types: Types::ANY,
    binary: false,
    items: None,
    properties: Vec::new(),
    others: None,
    xml: Xml { name: None, namespace: None, attribute: false, wrapped: false },
};

// === impl Shapes ===

impl Shapes {
    pub(crate) fn get(&self, id: Option<ShapeId>) -> &Shape {
        id.and_then(|ShapeId(index)| self.shapes.get(index as usize)).unwrap_or(&NOTHING)
    }
}

// === impl Shape ===

impl Shape {
    pub(crate) fn property(&self, name: &str) -> Option<ShapeId> {
        self.properties.iter().find(|(known, _)| &**known == name).map(|(_, id)| *id).or(self.others)
    }
}

// === impl Shaper ===

impl<'s> Shaper<'s> {
    pub(crate) fn new(schemas: &'s [Value]) -> Shaper<'s> {
        Shaper { schemas, known: HashMap::new(), shapes: Vec::new() }
    }

    pub(crate) fn finish(self) -> Shapes {
        Shapes { shapes: self.shapes }
    }

    /// Of a schema by index, and of all that its values have in them. `None`: there is too much.
    pub(crate) fn of(&mut self, index: usize) -> Option<ShapeId> {
        let schemas = self.schemas;
        let mut work = Vec::new();
        let id = self.enter(schemas.get(index)?, &mut work)?;
        while let Some((schema, ShapeId(at))) = work.pop() {
            let parts = self.parts(schema)?;
            let shape = self.shape(schema, &parts, &mut work)?;
            *self.shapes.get_mut(at as usize)? = shape;
        }
        Some(id)
    }

    pub(crate) fn types(&self, id: ShapeId) -> Types {
        self.shapes.get(id.0 as usize).map_or(Types::ANY, |shape| shape.types)
    }

    pub(crate) fn get(&self, id: Option<ShapeId>) -> &Shape {
        id.and_then(|ShapeId(index)| self.shapes.get(index as usize)).unwrap_or(&NOTHING)
    }

    fn enter(&mut self, schema: &'s Value, work: &mut Vec<(&'s Value, ShapeId)>) -> Option<ShapeId> {
        let mut target = schema;
        // A reference alone is what it leads to.
        for _ in 0..MAX_PARTS {
            let alone = target.as_object().is_some_and(|map| map.len() == 1);
            match dialect::target(target).filter(|_| alone) {
                Some(index) => target = self.schemas.get(index)?,
                None => break,
            }
        }
        if let Some(id) = self.known.get(&std::ptr::from_ref(target)) {
            return Some(*id);
        }
        if self.shapes.len() >= MAX_SHAPES {
            return None;
        }
        let id = ShapeId(u32::try_from(self.shapes.len()).ok()?);
        self.shapes.push(NOTHING.clone());
        self.known.insert(std::ptr::from_ref(target), id);
        work.push((target, id));
        Some(id)
    }

    /// All schemas that say something of the same value.
    fn parts(&self, schema: &'s Value) -> Option<Vec<&'s Map<String, Value>>> {
        let mut parts: Vec<&'s Map<String, Value>> = Vec::new();
        let mut waiting = vec![schema];
        while let Some(schema) = waiting.pop() {
            let Value::Object(map) = schema else { continue };
            if parts.iter().any(|known| std::ptr::eq(*known, map)) {
                continue;
            }
            if parts.len() >= MAX_PARTS {
                return None;
            }
            parts.push(map);
            if let Some(index) = dialect::target(schema) {
                waiting.extend(self.schemas.get(index));
            }
            for key in ["allOf", "anyOf", "oneOf"] {
                waiting.extend(map.get(key).and_then(Value::as_array).into_iter().flatten());
            }
            waiting.extend(["then", "else"].iter().filter_map(|key| map.get(*key)));
        }
        Some(parts)
    }

    fn shape(
        &mut self,
        schema: &'s Value,
        parts: &[&'s Map<String, Value>],
        work: &mut Vec<(&'s Value, ShapeId)>,
    ) -> Option<Shape> {
        let mut shape = Shape { types: self.types_of(schema, 0), ..NOTHING.clone() };
        for part in parts {
            shape.binary |= part.get("format").is_some_and(|format| format == "binary");
            shape.binary |= part.contains_key("contentMediaType") && !part.contains_key("contentEncoding");
            for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if !shape.properties.iter().any(|(known, _)| **known == **name) {
                    let id = self.enter(property, work)?;
                    shape.properties.push((name.as_str().into(), id));
                }
            }
            if shape.items.is_none()
                && let Some(items) = part.get("items").or_else(|| part.get("prefixItems")?.as_array()?.first())
            {
                shape.items = Some(self.enter(items, work)?);
            }
            if shape.others.is_none()
                && let Some(others) = part.get("additionalProperties").filter(|others| others.is_object())
            {
                shape.others = Some(self.enter(others, work)?);
            }
            if let Some(xml) = part.get("xml") {
                let text = |key: &str| xml.get(key).and_then(Value::as_str).map(Into::into);
                let is = |key: &str| xml.get(key) == Some(&Value::Bool(true));
                shape.xml.name = shape.xml.name.or_else(|| text("name"));
                shape.xml.namespace = shape.xml.namespace.or_else(|| text("namespace"));
                shape.xml.attribute |= is("attribute");
                shape.xml.wrapped |= is("wrapped");
            }
        }
        shape.properties.sort_by(|a, b| a.0.cmp(&b.0));
        Some(shape)
    }

    fn types_of(&self, schema: &Value, depth: usize) -> Types {
        let Value::Object(map) = schema else { return Types::ANY };
        if depth > 32 {
            return Types::ANY;
        }
        let own = match map.get("type") {
            Some(Value::String(name)) => Types::named(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).fold(Types::NONE, |types, name| types.or(Types::named(name)))
            }
            _ => inferred(map),
        };
        let several = |key: &str| map.get(key).and_then(Value::as_array).map(Vec::as_slice);
        let mut types = own;
        for part in several("allOf").unwrap_or_default() {
            types = types.and(self.types_of(part, depth + 1));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(parts) = several(key) {
                let any = parts.iter().fold(Types::NONE, |types, part| types.or(self.types_of(part, depth + 1)));
                types = types.and(any);
            }
        }
        if let Some(target) = dialect::target(schema).and_then(|index| self.schemas.get(index)) {
            types = types.and(self.types_of(target, depth + 1));
        }
        types
    }
}

/// Keywords that speak of values of one type.
const HINTS: &[(Types, &[&str])] = &[
    (Types::TEXT, &["pattern", "minLength", "maxLength"]),
    (Types::NUMBER, &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    (Types::LIST, &["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"]),
    (Types::MAP, &["properties", "required", "minProperties", "maxProperties", "patternProperties"]),
];

/// Where no type is said: of the values that are, or of those that keywords speak of.
fn inferred(map: &Map<String, Value>) -> Types {
    if let Some(value) = map.get("const") {
        return Types::of(value);
    }
    if let Some(values) = map.get("enum").and_then(Value::as_array) {
        return values.iter().fold(Types::NONE, |types, value| types.or(Types::of(value)));
    }
    let hinted = HINTS.iter().filter(|(_, keywords)| keywords.iter().any(|keyword| map.contains_key(*keyword)));
    let types = hinted.fold(Types::NONE, |types, (hint, _)| types.or(*hint));
    if types == Types::NONE { Types::ANY } else { types }
}
