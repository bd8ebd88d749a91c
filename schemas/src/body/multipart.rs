//! `multipart/form-data`, RFC 7578. Read strictly: what two parsers could divide differently is refused.

use std::borrow::Cow;

use memchr::memmem;

use super::form::scalars;
use super::{Content, Field};
use crate::MAX_FIELDS;
use crate::instance::Instance;
use crate::json::{self, NotJson};
use crate::media_type::{Kind, MediaType, is_token, rank, split_parameter, unquoted};
use crate::parameter::Reader;
use crate::scalar::{self, Types};
use crate::violation::{Place, Violations};

const BOUNDARY: &str = "boundary";
/// Bytes of a part's headers.
const MAX_HEAD: usize = 8 << 10;

struct Part<'a> {
    name: Cow<'a, str>,
    file: bool,
    content_type: Option<&'a str>,
    content: &'a [u8],
}

// === impl Content ===

impl Content {
    pub(super) fn multipart<'a>(
        &self,
        reader: &Reader<'_>,
        media_type: &MediaType<'_>,
        bytes: &'a [u8],
        violations: &mut Violations,
    ) -> Option<Instance<'a>> {
        let parts = match boundary(media_type).and_then(|boundary| divide(bytes, boundary)) {
            Ok(parts) => parts,
            Err(why) => {
                violations.add(Place::Body, "", format!("is no form that can be taken: {why}"));
                return None;
            }
        };
        let before = violations.len();
        let mut members: Vec<(Cow<'a, str>, Instance<'a>)> = Vec::new();
        for part in parts {
            let shape = reader.shapes.get(reader.shapes.get(self.shape).property(&part.name));
            let field = self.fields.iter().find(|field| *field.parameter.name == *part.name);
            let (item, is_list) = if shape.types != Types::ANY && shape.types.has(Types::LIST) {
                (reader.shapes.get(shape.items), true)
            } else {
                (shape, false)
            };
            let name = part.name.clone();
            match part.read(field, item.types, item.binary, reader.compiled.max_depth) {
                Err(why) => violations.add(Place::Body, &format!("/{name}"), why),
                Ok(value) => match members.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, Instance::List(items))) if is_list => items.push(value),
                    Some(_) => violations.add(Place::Body, &format!("/{name}"), "is given more than once"),
                    // One part may be all of a list, as JSON.
                    None if is_list && !matches!(value, Instance::List(_)) => {
                        members.push((name, Instance::List(vec![value])));
                    }
                    None => members.push((name, value)),
                },
            }
        }
        Instance::map(members).ok().filter(|_| violations.len() == before)
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    fn read(
        self,
        field: Option<&Field>,
        types: Types,
        is_binary: bool,
        max_depth: usize,
    ) -> Result<Instance<'a>, Cow<'static, str>> {
        let media_type = match self.content_type {
            Some(text) => Some(MediaType::parse(text).ok_or("has a part with a media type that is none")?),
            None => None,
        };
        let essence = media_type.as_ref().map_or("text/plain", |media_type| &*media_type.essence);
        let declared = field.map(|field| field.content_types.as_slice()).unwrap_or_default();
        let is_plain_json = media_type.is_none() && declared.iter().any(|kind| Kind::of(kind) == Kind::Json);
        let kind = media_type.as_ref().map_or(Kind::Text, MediaType::kind);
        let structured = types != Types::ANY && types.has(Types::MAP) && !types.has(Types::TEXT);
        let is_declared = match declared {
            [] => types == Types::ANY || is_binary || is_usual(types, kind, essence),
            declared => is_plain_json || declared.iter().any(|range| rank(range, essence).is_some()),
        };
        // Whoever goes by its own word reads something else than was compared.
        if !is_declared {
            return Err("has a part with a media type that is not declared".into());
        }
        if !is_binary && media_type.as_ref().is_some_and(|media_type| !media_type.is_utf8()) {
            return Err("must be UTF-8".into());
        }
        if kind == Kind::Json || is_plain_json || (structured && matches!(kind, Kind::Text)) {
            return match json::parse(self.content, max_depth.saturating_sub(1)) {
                Ok((value, _)) => Ok(value),
                Err(NotJson(why)) => Err(format!("is no JSON that can be taken: {why}").into()),
            };
        }
        if structured {
            return Err("has a part with a media type that cannot be compared with its schema".into());
        }
        // Most frameworks have files elsewhere than fields: nobody would find it.
        if self.file && !is_binary && types != Types::ANY && declared.is_empty() {
            return Err("is a file, and is declared as none".into());
        }
        if self.file || is_binary {
            return Ok(Instance::Text(String::from_utf8_lossy(self.content)));
        }
        let text = std::str::from_utf8(self.content).map_err(|_| "is not UTF-8")?;
        Ok(scalar::reading(text.into(), scalars(types)))
    }
}

/// What OpenAPI has where no `encoding` says otherwise: JSON for objects, and text for texts and numbers. Objects without a word are
/// what many clients send.
fn is_usual(types: Types, kind: Kind, essence: &str) -> bool {
    let scalars = Types::TEXT.or(Types::NUMBER).or(Types::BOOLEAN).or(Types::NULL);
    match kind {
        Kind::Json => types.has(Types::MAP.or(Types::LIST)),
        Kind::Text => !types.has(scalars) || essence == "text/plain",
        _ => false,
    }
}

/// One that all parsers take for the same: others cut it off at a comma, or go by `boundary*` (RFC 2231), which is for mail.
fn boundary<'m>(media_type: &MediaType<'m>) -> Result<&'m str, &'static str> {
    let mut named = media_type.parameters().filter(|(name, _)| {
        name.get(..BOUNDARY.len()).is_some_and(|start| start.eq_ignore_ascii_case(BOUNDARY)) || name.contains('*')
    });
    let (Some((name, value)), None) = (named.next(), named.next()) else {
        return Err("its media type names no boundary, or more than one");
    };
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let is_one = match quoted {
        Some(boundary) => boundary.bytes().all(is_of_boundary) && !boundary.ends_with(' '),
        None => is_token(value),
    };
    let boundary = quoted.unwrap_or(value);
    let is_named = name.eq_ignore_ascii_case(BOUNDARY) && (1..=70).contains(&boundary.len());
    if is_named && is_one { Ok(boundary) } else { Err("its media type names no boundary that all read alike") }
}

/// RFC 2046, section 5.1.1, but for the comma.
fn is_of_boundary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_-./:=? ".contains(&byte)
}

/// The parts between the boundaries, with nothing before the first and nothing after the last.
fn divide<'a>(bytes: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, &'static str> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let first = delimiter.get(2..).unwrap_or_default().as_bytes();
    let mut rest = bytes.strip_prefix(first).ok_or("it does not begin with its boundary")?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return match end {
                b"" | b"\r\n" => Ok(parts),
                _ => Err("something follows its end"),
            };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary is followed by something else than a part")?;
        let end = finder.find(rest).ok_or("its last boundary is missing")?;
        let (part, tail) = rest.split_at_checked(end).ok_or("its last boundary is missing")?;
        if parts.len() >= MAX_FIELDS {
            return Err("it has too many parts");
        }
        if has_loose_boundary(part, boundary) {
            return Err("a boundary follows half an end of a line");
        }
        parts.push(read_part(part)?);
        rest = tail.get(delimiter.len()..).unwrap_or_default();
    }
}

/// Some parsers divide there, too.
fn has_loose_boundary(part: &[u8], boundary: &str) -> bool {
    let marked = format!("--{boundary}");
    memmem::find_iter(part, marked.as_bytes()).any(|at| {
        let before = part.get(..at).unwrap_or_default();
        before.ends_with(b"\n") || before.ends_with(b"\r")
    })
}

fn read_part(part: &[u8]) -> Result<Part<'_>, &'static str> {
    // Without headers there would be no name.
    let end = memmem::find(part, b"\r\n\r\n").ok_or("the head of a part does not end")?;
    let (head, content) = part.split_at_checked(end).ok_or("the head of a part does not end")?;
    let head = std::str::from_utf8(head).ok().filter(|head| head.len() <= MAX_HEAD);
    let head = head.ok_or("the head of a part is too long, or is not UTF-8")?;
    let (mut disposition, mut content_type) = (None, None);
    for line in head.split("\r\n") {
        if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
            return Err("the head of a part is malformed");
        }
        let (name, value) = line.split_once(':').ok_or("the head of a part is malformed")?;
        let value = value.trim_ascii();
        let slot = match name.to_ascii_lowercase().as_str() {
            "content-disposition" => &mut disposition,
            "content-type" => &mut content_type,
            "content-encoding" => return Err("a part is encoded"),
            // These change nothing, and some clients write them.
            "content-transfer-encoding" => match value.to_ascii_lowercase().as_str() {
                "7bit" | "8bit" | "binary" => continue,
                _ => return Err("a part has a transfer encoding"),
            },
            name if name.is_empty() || name.ends_with([' ', '\t']) => return Err("the head of a part is malformed"),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err("a part has a header twice");
        }
    }
    let (kind, parameters) = disposition.ok_or("a part has no name")?.split_once(';').ok_or("a part has no name")?;
    if !kind.trim_ascii().eq_ignore_ascii_case("form-data") {
        return Err("a part is no field of a form");
    }
    let (name, file) = names(parameters)?;
    let name = name.ok_or("a part has no name")?;
    Ok(Part { name, file, content_type, content: content.get(4..).unwrap_or_default() })
}

/// The field's name, and whether there is one of a file.
fn names(parameters: &str) -> Result<(Option<Cow<'_, str>>, bool), &'static str> {
    let (mut name, mut files, mut rest) = (None, [false; 2], parameters);
    while !rest.is_empty() {
        let (parameter, tail) = split_parameter(rest);
        rest = tail;
        let Some((key, value)) = parameter.split_once('=') else {
            if parameter.trim_ascii().is_empty() {
                continue;
            }
            return Err("the name of a part is malformed");
        };
        // Whether a backslash escapes is what parsers do not agree on, and what an asterisk says is for mail alone.
        match key.trim_ascii().to_ascii_lowercase().as_str() {
            "name" if name.is_none() && !value.contains('\\') => name = Some(unquoted(value.trim_ascii())),
            // Some clients write both.
            "filename" if !std::mem::replace(&mut files[0], true) => {}
            "filename*" if !std::mem::replace(&mut files[1], true) => {}
            _ => return Err("the name of a part is malformed"),
        }
    }
    Ok((name, files.contains(&true)))
}
