//! `application/x-www-form-urlencoded`: each property is written as a parameter of a query would be.

use std::borrow::Cow;

use microgw_proto::contracts::v1 as proto;

use super::{Content, Field};
use crate::instance::Instance;
use crate::media_type::Kind;
use crate::parameter::{Form, Parameter, Reader, Style, Unreadable, decoded, pairs};
use crate::scalar::{self, Types};
use crate::shape::{ShapeId, Shaper};
use crate::violation::{Place, Violations};

// === impl Field ===

impl Field {
    pub(super) fn new(name: &str, shape: ShapeId, encoding: Option<&proto::Encoding>, shaper: &Shaper<'_>) -> Field {
        let form = Form::of(shaper.types(shape));
        let content_types: Vec<Box<str>> = encoding
            .into_iter()
            .flat_map(|encoding| &encoding.content_types)
            .map(|kind| kind.as_str().into())
            .collect();
        let (mut style, explode) =
            encoding.map_or((Style::Form, true), |encoding| (Style::from(encoding.style()), encoding.explode));
        if explode && matches!(style, Style::Space | Style::Pipe | Style::Tab | Style::Simple) {
            style = Style::Form;
        }
        let parameter = Parameter {
            place: Place::Body,
            name: name.into(),
            required: false,
            style,
            explode,
            allow_empty: false,
            schema: Some(Box::default()),
            shape: Some(shape),
            json: content_types.iter().any(|kind| Kind::of(kind) == Kind::Json),
            form,
        };
        Field { parameter, content_types }
    }
}

// === impl Content ===

impl Content {
    pub(super) fn form<'a>(
        &self,
        reader: &Reader<'_>,
        bytes: &'a [u8],
        violations: &mut Violations,
    ) -> Option<Instance<'a>> {
        let read = std::str::from_utf8(bytes).map_err(|_| Unreadable("is not UTF-8")).and_then(pairs);
        let pairs = read.map_err(|Unreadable(why)| violations.add(Place::Body, "", why)).ok()?;
        let before = violations.len();
        let (mut members, mut taken) = (Vec::new(), Vec::new());
        for Field { parameter, .. } in &self.fields {
            if parameter.form == Form::Map && !parameter.json {
                // The names of what it has in it are not the form's.
                let names = &reader.shapes.get(parameter.shape).properties;
                taken.extend(names.iter().filter(|_| is_spread(parameter)).map(|(name, _)| name.to_string()));
            }
            match parameter.of_pairs(reader.shapes, &pairs) {
                Ok(None) => {}
                Ok(Some(Instance::Text(text))) => {
                    let types = reader.shapes.get(parameter.shape).types;
                    members.push((Cow::Owned(parameter.name.to_string()), scalar::reading(text, types)));
                }
                Ok(Some(value)) => members.push((Cow::Owned(parameter.name.to_string()), value)),
                Err(Unreadable(why)) => violations.add(Place::Body, &format!("/{}", parameter.name), why),
            }
        }
        let is_known = |name: &str| {
            self.fields.iter().any(|field| {
                let own = &*field.parameter.name;
                // One that is spread has no pair of its own name.
                (own == name && !is_spread(&field.parameter))
                    || (field.parameter.style == Style::DeepObject
                        && name.strip_prefix(own).is_some_and(|rest| rest.starts_with('[')))
            }) || taken.iter().any(|taken| taken == name)
        };
        let others = reader.shapes.get(self.shape).others;
        let types = reader.shapes.get(others).types;
        for pair in pairs.iter().filter(|pair| !is_known(&pair.name)) {
            match decoded(pair.value, true) {
                Ok(text) => members.push((pair.name.clone(), scalar::reading(text, scalars(types)))),
                Err(Unreadable(why)) => violations.add(Place::Body, &format!("/{}", pair.name), why),
            }
        }
        let map = Instance::map(members).map_err(|name| {
            violations.add(Place::Body, &format!("/{name}"), "is given more than once");
        });
        map.ok().filter(|_| violations.len() == before)
    }
}

/// An object whose members are the form's own.
fn is_spread(parameter: &Parameter) -> bool {
    parameter.form == Form::Map && !parameter.json && parameter.style == Style::Form && parameter.explode
}

pub(super) fn scalars(types: Types) -> Types {
    if types == Types::ANY { Types::TEXT } else { types }
}
