//! Bodies: of which media type, and what is in them.

mod form;
mod multipart;
mod xml;

use microgw_proto::contracts::v1 as proto;

use crate::contract::{ContractError, best};
use crate::json::{self, NotJson};
use crate::media_type::{Kind, MediaType};
use crate::parameter::{Parameter, Reader};
use crate::scalar::{self, Types};
use crate::shape::{ShapeId, Shaper};
use crate::violation::{Place, Violations};

/// Bytes; who buffers has lower limits.
const MAX_BODY: usize = 64 << 20;

/// What is declared of a body.
#[derive(Debug)]
pub(crate) struct Body {
    pub required: bool,
    /// None: any.
    contents: Vec<Content>,
}

/// A body of some media type.
#[derive(Debug)]
pub(crate) struct Content {
    pub range: Box<str>,
    /// The schema's name among all.
    schema: Option<Box<str>>,
    shape: Option<ShapeId>,
    /// Of XML; empty: anything.
    root: Box<str>,
    /// Of forms.
    fields: Vec<Field>,
}

/// A field of a form.
#[derive(Debug)]
struct Field {
    parameter: Parameter,
    /// Of its part. None: what follows from its schema.
    content_types: Vec<Box<str>>,
}

// === impl Body ===

impl Body {
    pub(crate) fn compile(body: &proto::Body, shaper: &mut Shaper<'_>) -> Result<Body, ContractError> {
        let contents = body.contents.iter().map(|content| Content::compile(content, shaper));
        Ok(Body { required: body.required, contents: contents.collect::<Result<_, _>>()? })
    }

    /// It has to be read for that.
    pub(crate) fn is_checked(&self) -> bool {
        self.required || self.contents.iter().any(|content| content.schema.is_some())
    }

    pub(crate) fn has_contents(&self) -> bool {
        !self.contents.is_empty()
    }

    pub(crate) fn check_media_type(&self, content_type: &str, violations: &mut Violations) {
        if self.contents.is_empty() {
            return;
        }
        match MediaType::parse(content_type) {
            None => violations.add_media_type("must name its media type"),
            Some(media_type) if best(&self.contents, &media_type).is_none() => {
                violations.add_media_type("has a media type that is not declared");
            }
            Some(media_type) if !media_type.is_utf8() && media_type.kind() != Kind::Opaque => {
                violations.add_media_type("must be UTF-8");
            }
            Some(_) => {}
        }
    }

    pub(crate) fn check(
        &self,
        reader: &Reader<'_>,
        content_type: Option<&str>,
        bytes: &[u8],
        violations: &mut Violations,
    ) {
        let content_type = content_type.unwrap_or_default();
        let before = violations.len();
        self.check_media_type(content_type, violations);
        let Some(media_type) = MediaType::parse(content_type).filter(|_| violations.len() == before) else { return };
        if let Some(content) = best(&self.contents, &media_type)
            && let Some(schema) = &content.schema
        {
            if bytes.len() > MAX_BODY {
                violations.add(Place::Body, "", "is too long to be checked");
            } else {
                content.check(reader, schema, &media_type, bytes, violations);
            }
        }
    }
}

// === impl Content ===

impl Content {
    fn compile(content: &proto::Content, shaper: &mut Shaper<'_>) -> Result<Content, ContractError> {
        let schema = content.schema.checked_sub(1);
        let shape = match schema {
            Some(index) => Some(shaper.of(index as usize).ok_or(ContractError::TooMuch)?),
            None => None,
        };
        let kind = Kind::of(&content.range);
        let is_text = shape.is_none_or(|shape| shaper.types(shape).has(Types::TEXT));
        if kind == Kind::Opaque && !content.range.ends_with('*') && !is_text {
            return Err(ContractError::Uncheckable(content.range.clone()));
        }
        let mut fields = Vec::new();
        if matches!(kind, Kind::Form | Kind::Multipart) || content.range.ends_with('*') {
            let properties = shaper.get(shape).properties.clone();
            for (name, id) in properties {
                let encoding = content.encodings.iter().find(|encoding| *encoding.property == *name);
                fields.push(Field::new(&name, id, encoding, shaper));
            }
        }
        Ok(Content {
            range: content.range.as_str().into(),
            schema: schema.map(|index| index.to_string().into()),
            shape,
            root: content.root.as_str().into(),
            fields,
        })
    }

    fn check(
        &self,
        reader: &Reader<'_>,
        schema: &str,
        media_type: &MediaType<'_>,
        bytes: &[u8],
        violations: &mut Violations,
    ) {
        let max_depth = reader.compiled.max_depth;
        let wrong = |violations: &mut Violations, what: &str, why: &str| {
            violations.add(Place::Body, "", format!("is no {what} that can be taken: {why}"));
        };
        let check = |value, count, violations: &mut Violations| {
            reader.compiled.check(schema, &value, Place::Body, "", count, violations);
        };
        match media_type.kind() {
            Kind::Json => match json::parse(bytes, max_depth) {
                Ok((value, count)) => check(value, count, violations),
                Err(NotJson(why)) => wrong(violations, "JSON", &why),
            },
            Kind::Form => {
                if let Some(value) = self.form(reader, bytes, violations) {
                    check(value, 1_000, violations);
                }
            }
            Kind::Multipart => {
                if let Some(value) = self.multipart(reader, media_type, bytes, violations) {
                    check(value, 1_000, violations);
                }
            }
            Kind::Xml => match xml::parse(bytes, reader.shapes, self.shape, &self.root, max_depth) {
                Ok((value, count)) => check(value, count, violations),
                Err(why) => wrong(violations, "XML", &why),
            },
            kind @ (Kind::Text | Kind::Opaque) => {
                let shape = reader.shapes.get(self.shape);
                if kind == Kind::Opaque && !shape.types.has(Types::TEXT) {
                    violations.add_media_type("has a media type that cannot be compared with its schema");
                    return;
                }
                if shape.binary {
                    return;
                }
                match std::str::from_utf8(bytes) {
                    Ok(text) => check(scalar::reading(text.into(), shape.types), 1, violations),
                    Err(_) => violations.add(Place::Body, "", "is not UTF-8"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
