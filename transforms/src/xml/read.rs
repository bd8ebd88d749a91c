//! XML to JSON. quick-xml finds the tags; what makes a document well-formed beyond that is checked here.

use indexmap::map::Entry;
use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesStart, Event};

use super::{ATTRIBUTE, NoXml, TEXT, is_character, is_name};
use crate::json::{Json, Object, is_number};
use crate::{MAX_DEPTH, MAX_VALUES};

/// How XML is read.
#[derive(Clone, Debug, Default)]
pub struct ToJson {
    /// The element that is taken off; a document that begins with another one is none.
    pub root: Option<Box<str>>,
    /// Elements that are lists even if there is one alone.
    pub arrays: Box<[Box<str>]>,
    /// Texts that are numbers, `true` or `false` become such.
    pub typed: bool,
}

/// Of one element.
const MAX_ATTRIBUTES: usize = 128;

/// An element that is not closed yet.
struct Element {
    name: String,
    members: Object,
    text: String,
    has_attributes: bool,
}

struct Document<'o> {
    options: &'o ToJson,
    open: Vec<Element>,
    root: Option<Element>,
    values: usize,
}

// === impl ToJson ===

impl ToJson {
    pub fn read(&self, xml: &[u8]) -> Result<Json, NoXml> {
        let xml = std::str::from_utf8(xml).map_err(|_| NoXml)?;
        let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
        if !xml.chars().all(is_character) {
            return Err(NoXml);
        }
        let mut reader = Reader::from_str(xml);
        let config = reader.config_mut();
        config.check_comments = true;
        config.check_end_names = true;
        config.allow_dangling_amp = false;
        config.allow_unmatched_ends = false;
        let mut document = Document { options: self, open: Vec::new(), root: None, values: 0 };
        let mut is_start = true;
        loop {
            match reader.read_event().map_err(|_| NoXml)? {
                Event::Start(tag) => document.start(&tag)?,
                Event::Empty(tag) => {
                    document.start(&tag)?;
                    document.end()?;
                }
                Event::End(_) => document.end()?,
                Event::Text(text) => document.text(&text)?,
                Event::CData(text) => document.cdata(&text)?,
                Event::GeneralRef(reference) => document.reference(&reference)?,
                Event::Decl(declaration) if is_start => declared(&declaration)?,
                Event::Comment(_) => {}
                Event::PI(instruction) => {
                    let target = instruction.target();
                    if !is_name(target) || target.eq_ignore_ascii_case("xml") {
                        return Err(NoXml);
                    }
                }
                Event::Decl(_) | Event::DocType(_) => return Err(NoXml),
                Event::Eof => break,
            }
            is_start = false;
        }
        let root = document.root.filter(|_| document.open.is_empty()).ok_or(NoXml)?;
        match &self.root {
            Some(name) if **name == *root.name => Ok(root.value(self)),
            Some(_) => Err(NoXml),
            None => {
                let name = root.name.clone();
                Ok(Json::Object(Object::from_iter([(name, root.value(self))])))
            }
        }
    }

    fn scalar(&self, text: String) -> Json {
        match text.as_str() {
            "true" if self.typed => Json::Bool(true),
            "false" if self.typed => Json::Bool(false),
            number if self.typed && is_number(number) => Json::Number(number.into()),
            _ => Json::Text(text),
        }
    }
}

/// `<?xml version="1.0" encoding="UTF-8"?>`: no other version, and no other encoding that it could be in.
fn declared(declaration: &BytesDecl<'_>) -> Result<(), NoXml> {
    let version = declaration.version().map_err(|_| NoXml)?;
    if version != "1.0" {
        return Err(NoXml);
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(encoding)) if is_utf8(&encoding) => Ok(()),
        Some(_) => Err(NoXml),
    }
}

fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "us-ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

/// XML 1.0 section 2.11.
fn lines(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

/// What a reference stands for, without its `&` and `;`: one of the five entities, or a character.
fn resolve(reference: &str) -> Option<char> {
    let code = match reference {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        number => number.strip_prefix('#')?,
    };
    let (digits, radix) = code.strip_prefix('x').map_or((code, 10), |digits| (digits, 16));
    let sound = !digits.is_empty() && digits.len() <= 8 && digits.chars().all(|digit| digit.is_digit(radix));
    let character = u32::from_str_radix(digits, radix).ok().filter(|_| sound).and_then(char::from_u32);
    character.filter(|character| is_character(*character))
}

/// XML 1.0 section 3.3.3.
fn attribute(raw: &str) -> Result<String, NoXml> {
    let raw = lines(raw);
    let mut parts = raw.split('&');
    let mut value = parts.next().unwrap_or_default().replace(['\n', '\t'], " ");
    for part in parts {
        let (reference, rest) = part.split_once(';').ok_or(NoXml)?;
        value.push(resolve(reference).ok_or(NoXml)?);
        value.push_str(&rest.replace(['\n', '\t'], " "));
    }
    if raw.contains('<') { Err(NoXml) } else { Ok(value) }
}

// === impl Document ===

impl Document<'_> {
    fn count(&mut self) -> Result<(), NoXml> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(NoXml) } else { Ok(()) }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), NoXml> {
        self.count()?;
        let name = tag.name().into_inner().to_owned();
        if !is_name(&name) || self.open.len() >= MAX_DEPTH || (self.open.is_empty() && self.root.is_some()) {
            return Err(NoXml);
        }
        let mut members = Object::new();
        for found in tag.attributes() {
            self.count()?;
            let found = found.map_err(|_| NoXml)?;
            let name = found.key.into_inner();
            if !is_name(name) || members.len() == MAX_ATTRIBUTES {
                return Err(NoXml);
            }
            let value = self.options.scalar(attribute(&found.value)?);
            if members.insert(format!("{ATTRIBUTE}{name}"), value).is_some() {
                return Err(NoXml);
            }
        }
        let has_attributes = !members.is_empty();
        self.open.push(Element { name, members, text: String::new(), has_attributes });
        Ok(())
    }

    fn end(&mut self) -> Result<(), NoXml> {
        let element = self.open.pop().ok_or(NoXml)?;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(element);
            return Ok(());
        };
        let is_list = self.options.arrays.iter().any(|name| **name == *element.name);
        let name = element.name.clone();
        let value = element.value(self.options);
        match parent.members.entry(name) {
            Entry::Vacant(place) => {
                place.insert(if is_list { Json::Array(vec![value]) } else { value });
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                Json::Array(items) => items.push(value),
                first => *first = Json::Array(vec![std::mem::take(first), value]),
            },
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), NoXml> {
        match self.open.last_mut() {
            _ if text.contains("]]>") => Err(NoXml),
            Some(element) => {
                element.text.push_str(&lines(text));
                Ok(())
            }
            None if text.chars().all(is_space) => Ok(()),
            None => Err(NoXml),
        }
    }

    fn cdata(&mut self, text: &str) -> Result<(), NoXml> {
        self.open.last_mut().ok_or(NoXml)?.text.push_str(&lines(text));
        Ok(())
    }

    fn reference(&mut self, reference: &str) -> Result<(), NoXml> {
        let character = resolve(reference).ok_or(NoXml)?;
        self.open.last_mut().ok_or(NoXml)?.text.push(character);
        Ok(())
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

// === impl Element ===

impl Element {
    fn value(self, options: &ToJson) -> Json {
        let Element { mut members, text, has_attributes, .. } = self;
        if members.is_empty() {
            return options.scalar(text);
        }
        // Between elements it is layout.
        let has_elements = members.keys().any(|name| !name.starts_with(ATTRIBUTE));
        let is_layout = text.chars().all(is_space) && (has_elements || !has_attributes || text.is_empty());
        if !is_layout {
            members.insert(TEXT.to_owned(), options.scalar(text));
        }
        Json::Object(members)
    }
}
