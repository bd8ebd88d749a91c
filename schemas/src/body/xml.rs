//! XML, as a schema's `xml` says. No document type, no entities but the five, no processing instructions.

use std::borrow::Cow;

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use super::form::scalars;
use crate::instance::Instance;
use crate::scalar::{self, Types};
use crate::shape::{Shape, ShapeId, Shapes};

/// Elements and attributes.
const MAX_NODES: u32 = 200_000;

/// An element, before anything says what it means.
struct Element<'a> {
    name: String,
    namespace: Option<String>,
    /// The namespace is neither that of what it is in nor that of the root.
    foreign: bool,
    nil: bool,
    attributes: Vec<Attribute>,
    children: Vec<Element<'a>>,
    text: Cow<'a, str>,
}

struct Attribute {
    name: String,
    /// `None`: none, or that of its element.
    namespace: Option<String>,
    value: String,
}

struct Source<'a> {
    reader: NsReader<&'a [u8]>,
    max_depth: usize,
    count: u32,
}

const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

type Why = Cow<'static, str>;

/// The value that a document stands for, and how many values it has in it.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    shapes: &Shapes,
    shape: Option<ShapeId>,
    root: &str,
    max_depth: usize,
) -> Result<(Instance<'a>, u32), Why> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    if !text.chars().all(is_character) {
        return Err("it has a character that XML does not know".into());
    }
    let mut source = Source { reader: NsReader::from_str(text), max_depth, count: 0 };
    source.reader.config_mut().check_comments = true;
    let element = source.document()?;
    let wanted = shapes.get(shape);
    let name = wanted.xml.name.as_deref().unwrap_or(root);
    if !name.is_empty() && *local(name) != *element.name {
        return Err(format!("its root must be `{}`", crate::violation::shortened(name)).into());
    }
    check_namespace(&element, wanted)?;
    Ok((value(element, shapes, shape)?, source.count))
}

// === impl Source ===

impl<'a> Source<'a> {
    fn document(&mut self) -> Result<Element<'a>, Why> {
        let mut open: Vec<Element<'a>> = Vec::new();
        let mut root = None;
        let mut first = true;
        loop {
            let (namespace, event) = self.reader.read_resolved_event().map_err(|_| "it is not well-formed")?;
            let namespace = match namespace {
                ResolveResult::Bound(Namespace(namespace)) => Some(namespace.to_owned()),
                ResolveResult::Unbound => None,
                ResolveResult::Unknown(_) => return Err("a prefix is not declared".into()),
            };
            match event {
                Event::Start(start) => {
                    if root.is_some() || open.len() >= self.max_depth {
                        return Err("it is nested too deep, or has several roots".into());
                    }
                    open.push(self.element(&start, namespace, &open)?);
                }
                Event::Empty(start) => {
                    let element = self.element(&start, namespace, &open)?;
                    close(element, &mut open, &mut root)?;
                }
                Event::End(_) => {
                    let element = open.pop().ok_or("it is not well-formed")?;
                    close(element, &mut open, &mut root)?;
                }
                Event::Text(text) if text.contains("]]>") => return Err("it is not well-formed".into()),
                Event::Text(text) => add(&mut open, text.xml10_content())?,
                Event::CData(_) if open.is_empty() => return Err("it is not well-formed".into()),
                Event::CData(text) => add(&mut open, text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|_| "it is not well-formed")?;
                    match character {
                        Some(character) if !is_character(character) => return Err("it is not well-formed".into()),
                        Some(character) => add(&mut open, Cow::Owned(character.to_string()))?,
                        None => {
                            let known = resolve_xml_entity(&reference);
                            add(&mut open, Cow::Borrowed(known.ok_or("it has an entity")?))?;
                        }
                    }
                }
                Event::Decl(declaration) if first => check_declaration(&declaration)?,
                Event::Comment(_) => {}
                Event::DocType(_) => return Err("it has a document type".into()),
                Event::Decl(_) | Event::PI(_) => return Err("it has a processing instruction".into()),
                Event::Eof if open.is_empty() => return root.ok_or_else(|| "it has no root".into()),
                Event::Eof => return Err("it ends too early".into()),
            }
            first = false;
        }
    }

    /// `within`: the elements that are open, the root first.
    fn element(
        &mut self,
        start: &BytesStart<'_>,
        namespace: Option<String>,
        within: &[Element<'_>],
    ) -> Result<Element<'a>, Why> {
        self.count()?;
        let (mut attributes, mut nil) = (Vec::new(), false);
        for attribute in start.attributes() {
            self.count()?;
            let attribute = attribute.map_err(|_| "an attribute is malformed, or stands there twice")?;
            if attribute.value.contains('<') {
                return Err("it is not well-formed".into());
            }
            if let Some(binding) = attribute.key.as_namespace_binding() {
                // Namespaces in XML 1.0, section 2.2: a prefix cannot be taken back.
                if attribute.value.is_empty() && binding != PrefixDeclaration::Default {
                    return Err("it is not well-formed".into());
                }
                continue;
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| "an attribute has an entity")?
                .into_owned();
            let (resolved, name) = self.reader.resolver().resolve_attribute(attribute.key);
            match resolved {
                ResolveResult::Bound(Namespace(of)) if of == INSTANCE => {
                    nil |= name.as_ref() == "nil" && matches!(value.as_str(), "true" | "1");
                }
                ResolveResult::Unknown(_) => return Err("a prefix is not declared".into()),
                ResolveResult::Bound(Namespace(of)) => {
                    let of = Some(of.to_owned()).filter(|of| namespace.as_ref() != Some(of));
                    attributes.push(Attribute { name: name.as_ref().to_owned(), namespace: of, value });
                }
                ResolveResult::Unbound => {
                    attributes.push(Attribute { name: name.as_ref().to_owned(), namespace: None, value });
                }
            }
        }
        let name = start.local_name().as_ref().to_owned();
        let homes = [within.first(), within.last()].into_iter().flatten();
        let foreign = namespace.is_some()
            && !within.is_empty()
            && !homes.map(|home| &home.namespace).any(|home| *home == namespace);
        Ok(Element { name, namespace, foreign, nil, attributes, children: Vec::new(), text: Cow::Borrowed("") })
    }

    fn count(&mut self) -> Result<(), Why> {
        self.count += 1;
        if self.count > MAX_NODES { Err("it has too many elements".into()) } else { Ok(()) }
    }
}

/// XML 1.0, section 2.8: `version`, `encoding`, `standalone`, in this order, and nothing else.
fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), Why> {
    const MALFORMED: &str = "it is not well-formed";
    let mut rest = declaration.strip_prefix("xml").ok_or(MALFORMED)?;
    for name in ["version", "encoding", "standalone"] {
        let trimmed = rest.trim_start_matches(BLANKS);
        let Some(tail) = trimmed.strip_prefix(name).filter(|_| trimmed.len() < rest.len()) else {
            if name == "version" {
                return Err(MALFORMED.into());
            }
            continue;
        };
        let tail = tail.trim_start_matches(BLANKS).strip_prefix('=').ok_or(MALFORMED)?.trim_start_matches(BLANKS);
        let quote = tail.chars().next().filter(|quote| ['"', '\''].contains(quote)).ok_or(MALFORMED)?;
        let (value, after) = tail.get(1..).and_then(|tail| tail.split_once(quote)).ok_or(MALFORMED)?;
        match name {
            "version" if value != "1.0" => return Err("its version is not 1.0".into()),
            "encoding" if !["utf-8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known)) => {
                return Err("it is not UTF-8".into());
            }
            "standalone" if !["yes", "no"].contains(&value) => return Err(MALFORMED.into()),
            _ => {}
        }
        rest = after;
    }
    if rest.trim_matches(BLANKS).is_empty() { Ok(()) } else { Err(MALFORMED.into()) }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// XML 1.0, section 2.2.
fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

fn close<'a>(element: Element<'a>, open: &mut [Element<'a>], root: &mut Option<Element<'a>>) -> Result<(), Why> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err("it has several roots".into()),
    }
    Ok(())
}

fn add<'a>(open: &mut [Element<'a>], text: Cow<'a, str>) -> Result<(), Why> {
    match open.last_mut() {
        Some(element) if element.text.is_empty() => element.text = text,
        Some(element) => element.text.to_mut().push_str(&text),
        None if text.trim_ascii().is_empty() => {}
        None => return Err("it has text outside its root".into()),
    }
    Ok(())
}

// === meaning ===

/// An element as the value that its schema makes of it.
fn value<'a>(element: Element<'a>, shapes: &Shapes, id: Option<ShapeId>) -> Result<Instance<'a>, Why> {
    let shape = shapes.get(id);
    if element.nil {
        let is_empty =
            element.children.is_empty() && element.attributes.is_empty() && element.text.trim_ascii().is_empty();
        // Whoever does not know of it reads what is in there.
        return if is_empty { Ok(Instance::Null) } else { Err("an element is nil and has something in it".into()) };
    }
    let free = shape.types == Types::ANY;
    let structured = !element.children.is_empty() || !element.attributes.is_empty();
    if !free && shape.types.has(Types::LIST) {
        // The root of a document that is a list: its items.
        bare(&element)?;
        element.children.iter().try_for_each(|child| check_namespace(child, shapes.get(shape.items)))?;
        let items = element.children.into_iter().map(|child| value(child, shapes, shape.items));
        return Ok(Instance::List(items.collect::<Result<_, _>>()?));
    }
    if structured || (!free && shape.types.has(Types::MAP) && !shape.types.has(Types::TEXT)) {
        return object(element, shapes, shape);
    }
    Ok(scalar::reading(element.text, scalars(shape.types)))
}

fn object<'a>(element: Element<'a>, shapes: &Shapes, shape: &Shape) -> Result<Instance<'a>, Why> {
    let mut members: Vec<(Cow<'a, str>, Instance<'a>)> = Vec::new();
    for Attribute { name, namespace, value: text } in element.attributes {
        let property = shape.properties.iter().find(|(known, id)| {
            let xml = &shapes.get(Some(*id)).xml;
            xml.attribute && *local(xml.name.as_deref().unwrap_or(known)) == *name
        });
        if property.is_none() && shape.properties.iter().any(|(known, id)| is_called(&name, known, shapes, *id)) {
            return Err(format!(
                "`{}` is an attribute, and declared as an element",
                crate::violation::shortened(&name)
            )
            .into());
        }
        if let Some((_, id)) = property
            && namespace.is_some()
            && namespace.as_deref() != shapes.get(Some(*id)).xml.namespace.as_deref()
        {
            return Err(other_namespace(&name));
        }
        let (name, id) = property.map_or((name, None), |(known, id)| (known.to_string(), Some(*id)));
        let types = scalars(shapes.get(id).types);
        members.push((Cow::Owned(name), scalar::reading(Cow::Owned(text), types)));
    }
    let has_text = !element.text.trim_ascii().is_empty();
    for child in element.children {
        let property = shape.properties.iter().find(|(known, id)| is_of(&child, known, shapes, *id));
        let Some((known, id)) = property else {
            let name: Cow<'a, str> = Cow::Owned(child.name.clone());
            members.push((name, value(child, shapes, shape.others)?));
            continue;
        };
        let of_property = shapes.get(Some(*id));
        let name: Cow<'a, str> = Cow::Owned(known.to_string());
        if of_property.types == Types::ANY || !of_property.types.has(Types::LIST) {
            check_namespace(&child, of_property)?;
            members.push((name, value(child, shapes, Some(*id))?));
        } else if of_property.xml.wrapped {
            check_namespace(&child, of_property)?;
            bare(&child)?;
            let items = shapes.get(of_property.items);
            let wanted = items.xml.name.as_deref().unwrap_or(known);
            if child.children.iter().any(|item| item.name != local(wanted)) {
                return Err(
                    format!("`{}` has something else in it than items", crate::violation::shortened(known)).into()
                );
            }
            child.children.iter().try_for_each(|item| check_namespace(item, items))?;
            let items = child.children.into_iter().map(|item| value(item, shapes, of_property.items));
            members.push((name, Instance::List(items.collect::<Result<_, _>>()?)));
        } else {
            // An item is called by the list's name where it has none of its own.
            let items = shapes.get(of_property.items);
            check_namespace(&child, if items.xml.namespace.is_some() { items } else { of_property })?;
            let item = value(child, shapes, of_property.items)?;
            match members.iter_mut().find(|(member, _)| *member == name) {
                Some((_, Instance::List(items))) => items.push(item),
                _ => members.push((name, Instance::List(vec![item]))),
            }
        }
    }
    if has_text {
        return Err("it has text where elements are declared".into());
    }
    Instance::map(members).map_err(|name| format!("`{}` stands there twice", crate::violation::shortened(&name)).into())
}

/// Nobody looks at what is beside the items of a list.
fn bare(list: &Element<'_>) -> Result<(), Why> {
    let is_bare = list.attributes.is_empty() && list.text.trim_ascii().is_empty();
    if is_bare { Ok(()) } else { Err("a list has something beside its items".into()) }
}

/// Whether an element is the property of that name, or one of its items.
fn is_of(child: &Element<'_>, known: &str, shapes: &Shapes, id: ShapeId) -> bool {
    is_called(&child.name, known, shapes, id)
}

fn is_called(name: &str, known: &str, shapes: &Shapes, id: ShapeId) -> bool {
    let shape = shapes.get(Some(id));
    if shape.xml.attribute {
        return false;
    }
    let is_list = shape.types != Types::ANY && shape.types.has(Types::LIST);
    let own = shape.xml.name.as_deref();
    let wanted = if is_list && !shape.xml.wrapped {
        shapes.get(shape.items).xml.name.as_deref().or(own).unwrap_or(known)
    } else {
        own.unwrap_or(known)
    };
    local(wanted) == name
}

/// Where the schema names no namespace, those of a document may be what they are, as long as they are one: what is of another than
/// its surroundings is not what is declared.
fn check_namespace(element: &Element<'_>, shape: &Shape) -> Result<(), Why> {
    let is_meant = match &shape.xml.namespace {
        Some(namespace) => element.namespace.as_deref() == Some(namespace),
        None => !element.foreign,
    };
    if is_meant { Ok(()) } else { Err(other_namespace(&element.name)) }
}

fn other_namespace(name: &str) -> Why {
    format!("`{}` has another namespace", crate::violation::shortened(name)).into()
}

/// Some write the prefix into the name.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}
