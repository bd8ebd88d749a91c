//! Parameters in paths, queries, headers and cookies, and fields of forms: text that stands for lists and objects.

mod pairs;
mod style;

use std::borrow::Cow;
use std::sync::Arc;

use microgw_proto::contracts::v1 as proto;

pub(crate) use pairs::{Pair, Pairs, decoded, pairs};
pub(crate) use style::Style;

use crate::instance::Instance;
use crate::json;
use crate::scalar::{self, Types};
use crate::schemas::Compiled;
use crate::shape::{ShapeId, Shapes};
use crate::violation::{Place, Violations};

/// One parameter that is declared.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is declared by itself
pub(crate) struct Parameter {
    pub place: Place,
    pub name: Box<str>,
    pub required: bool,
    pub style: Style,
    pub explode: bool,
    pub allow_empty: bool,
    /// The schema's name among all.
    pub schema: Option<Box<str>>,
    pub shape: Option<ShapeId>,
    /// Its value is JSON.
    pub json: bool,
    pub form: Form,
}

/// What its value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Scalar,
    /// `mixed`: or a scalar.
    List {
        mixed: bool,
    },
    Map,
}

/// Why a text is no value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub &'static str);

pub(crate) const ENCODING: Unreadable = Unreadable("is not encoded as it must be");
pub(crate) const REPEATED: Unreadable = Unreadable("is given more than once");
const PROPERTY_TWICE: Unreadable = Unreadable("has a property twice");
const STYLE: Unreadable = Unreadable("is not written as it must be");

/// What a parameter is read with.
pub(crate) struct Reader<'c> {
    pub compiled: &'c Arc<Compiled>,
    pub shapes: &'c Shapes,
}

/// A value that is there, or not.
pub(crate) type Found<'a> = Result<Option<Instance<'a>>, Unreadable>;

// === impl Form ===

impl Form {
    pub(crate) fn of(types: Types) -> Form {
        let scalars = Types::TEXT.or(Types::NUMBER).or(Types::BOOLEAN);
        match () {
            () if types == Types::ANY => Form::Scalar,
            () if types.has(Types::LIST) => Form::List { mixed: types.has(scalars) },
            () if types.has(Types::MAP) => Form::Map,
            () => Form::Scalar,
        }
    }
}

// === impl Parameter ===

impl Parameter {
    /// Checks `found`, and that it is there.
    pub(crate) fn check(&self, reader: &Reader<'_>, found: Found<'_>, violations: &mut Violations) {
        match found {
            Err(Unreadable(reason)) => violations.add(self.place, &self.name, reason),
            Ok(None) if self.required => violations.add(self.place, &self.name, "is required"),
            Ok(None) => {}
            Ok(Some(value)) => {
                if let Some(schema) = &self.schema {
                    self.check_value(reader, schema, &value, violations);
                }
            }
        }
    }

    /// A text is whatever its schema lets it be.
    fn check_value(&self, reader: &Reader<'_>, schema: &str, value: &Instance<'_>, violations: &mut Violations) {
        let compiled = reader.compiled;
        let types = reader.shapes.get(self.shape).types;
        if let (Instance::Text(text), false) = (value, self.json) {
            if text.is_empty() && self.allow_empty {
                return;
            }
            let mut readings = scalar::readings(Cow::Borrowed(text), types);
            if !readings.any(|reading| compiled.is_valid(schema, &reading, 1) == Ok(true)) {
                let reading = scalar::reading(Cow::Borrowed(text), types);
                compiled.tell(schema, &reading, self.place, &self.name, 1, violations);
            }
            return;
        }
        compiled.check(schema, value, self.place, &self.name, 1, violations);
    }

    /// In a query, a form or a cookie: its pairs among all.
    pub(crate) fn of_pairs<'a>(&self, shapes: &Shapes, pairs: &Pairs<'a>) -> Found<'a> {
        match (self.json, self.style, self.form) {
            (false, Style::DeepObject, _) => self.deep(shapes, pairs),
            (false, Style::Form, Form::Map) if self.explode => self.spread(shapes, pairs),
            _ => {
                let mut named = pairs.iter().filter(|pair| pair.name == *self.name);
                let Some(first) = named.next() else { return Ok(None) };
                self.of_several(shapes, first.value, named.map(|pair| pair.value))
            }
        }
    }

    /// The values of the pairs that have its name.
    fn of_several<'a>(&self, shapes: &Shapes, first: &'a str, others: impl Iterator<Item = &'a str>) -> Found<'a> {
        let plus = self.place == Place::Query || self.place == Place::Body;
        let mut others = others.peekable();
        if others.peek().is_none() {
            return self.of_one(shapes, first, plus).map(Some);
        }
        let Form::List { .. } = self.form else {
            // Without a schema anything goes.
            let free = self.schema.is_none() || shapes.get(self.shape).types == Types::ANY;
            if !free || self.json {
                return Err(REPEATED);
            }
            let items = std::iter::once(first).chain(others).map(|value| decoded(value, plus));
            return Ok(Some(list(shapes, None, items)?));
        };
        if self.json || !self.explode {
            return Err(REPEATED);
        }
        let items = std::iter::once(first).chain(others).map(|value| decoded(value, plus));
        Ok(Some(list(shapes, self.shape, items)?))
    }

    /// One value that is all of it. `plus`: a `+` is a blank.
    pub(crate) fn of_one<'a>(&self, shapes: &Shapes, raw: &'a str, plus: bool) -> Result<Instance<'a>, Unreadable> {
        if self.json {
            return self.of_json(raw, plus);
        }
        let decode = |raw: &'a str| decoded_in(self.place, raw, plus);
        match self.form {
            Form::Scalar => decode(self.style.bare(raw, &self.name).ok_or(STYLE)?).map(Instance::Text),
            Form::List { mixed } => {
                let pieces = self.style.list(raw, &self.name, self.explode, &decode)?;
                match <[Cow<'a, str>; 1]>::try_from(pieces) {
                    // One that may be a scalar is a list if it cannot be.
                    Ok([single]) if mixed => Ok(Instance::Text(single)),
                    Ok([single]) => list(shapes, self.shape, std::iter::once(Ok(single))),
                    Err(pieces) => list(shapes, self.shape, pieces.into_iter().map(Ok)),
                }
            }
            Form::Map => {
                let members = self.style.members(raw, &self.name, self.explode, &decode)?;
                map(shapes, self.shape, members)
            }
        }
    }

    fn of_json<'a>(&self, raw: &'a str, plus: bool) -> Result<Instance<'a>, Unreadable> {
        const JSON: Unreadable = Unreadable("is no JSON, or none that can be taken");
        match decoded_in(self.place, raw, plus)? {
            Cow::Borrowed(text) => json::parse(text.as_bytes(), 16).map(|(value, _)| value).map_err(|_| JSON),
            Cow::Owned(text) => json::parse(text.as_bytes(), 16).map(|(value, _)| value.into_owned()).map_err(|_| JSON),
        }
    }

    /// `name[key]=value`, also of objects in objects: `name[key][key]=value`.
    fn deep<'a>(&self, shapes: &Shapes, pairs: &Pairs<'a>) -> Found<'a> {
        let mut root = Vec::new();
        for pair in pairs {
            // Whoever looks for it by its name finds that.
            if pair.name == *self.name {
                return Err(STYLE);
            }
            let Some(keys) = pair.name.strip_prefix(&*self.name).filter(|keys| keys.starts_with('[')) else { continue };
            let keys = style::keys(keys).ok_or(STYLE)?;
            let value = decoded(pair.value, true)?;
            style::insert(&mut root, &keys, value, &mut |path| {
                let mut at = self.shape;
                for key in path {
                    at = shapes.get(at).property(key);
                }
                (shapes.get(at).types, shapes.get(at).items.map(|items| shapes.get(Some(items)).types))
            })?;
        }
        if root.is_empty() {
            return Ok(None);
        }
        root.into_iter()
            .map(style::Branch::into_member)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|members| Instance::map(members).map(Some).map_err(|_| PROPERTY_TWICE))
    }

    /// An object whose properties are parameters by themselves.
    fn spread<'a>(&self, shapes: &Shapes, pairs: &Pairs<'a>) -> Found<'a> {
        let shape = shapes.get(self.shape);
        let mut members = Vec::new();
        for (name, id) in &shape.properties {
            let mut values = pairs.iter().filter(|pair| pair.name == **name).map(|pair| decoded(pair.value, true));
            let Some(first) = values.next() else { continue };
            let (first, rest) = (first?, values.collect::<Result<Vec<_>, _>>()?);
            let types = shapes.get(Some(*id)).types;
            let value = match rest.is_empty() && !types.has(Types::LIST) {
                true => scalar::reading(first, types),
                false if types.has(Types::LIST) => list(shapes, Some(*id), std::iter::once(first).chain(rest).map(Ok))?,
                false => return Err(REPEATED),
            };
            members.push((Cow::Owned(name.to_string()), value));
        }
        if members.is_empty() {
            return Ok(None);
        }
        Instance::map(members).map(Some).map_err(|_| PROPERTY_TWICE)
    }
}

/// Headers and cookies of some clients are not encoded at all: what cannot be decoded there is as it is.
fn decoded_in(place: Place, raw: &str, plus: bool) -> Result<Cow<'_, str>, Unreadable> {
    match place {
        Place::Header => Ok(Cow::Borrowed(raw)),
        Place::Cookie => Ok(decoded(raw, false).unwrap_or(Cow::Borrowed(raw))),
        _ => decoded(raw, plus),
    }
}

pub(crate) fn list<'a>(
    shapes: &Shapes,
    shape: Option<ShapeId>,
    texts: impl Iterator<Item = Result<Cow<'a, str>, Unreadable>>,
) -> Result<Instance<'a>, Unreadable> {
    let types = shapes.get(shapes.get(shape).items).types;
    Ok(Instance::List(texts.map(|text| Ok(scalar::reading(text?, types))).collect::<Result<_, Unreadable>>()?))
}

fn map<'a>(
    shapes: &Shapes,
    shape: Option<ShapeId>,
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
) -> Result<Instance<'a>, Unreadable> {
    let shape = shapes.get(shape);
    let read = |(name, text): (Cow<'a, str>, Cow<'a, str>)| {
        let types = shapes.get(shape.property(&name)).types;
        (name, scalar::reading(text, types))
    };
    Instance::map(members.into_iter().map(read).collect()).map_err(|_| PROPERTY_TWICE)
}

// === impl Style ===

impl From<proto::Style> for Style {
    fn from(style: proto::Style) -> Style {
        match style {
            proto::Style::Simple => Style::Simple,
            proto::Style::Label => Style::Label,
            proto::Style::Matrix => Style::Matrix,
            proto::Style::Form => Style::Form,
            proto::Style::Space => Style::Space,
            proto::Style::Pipe => Style::Pipe,
            proto::Style::DeepObject => Style::DeepObject,
            proto::Style::Tab => Style::Tab,
        }
    }
}

#[cfg(test)]
mod tests;
