//! JSON to XML.

use super::{ATTRIBUTE, ITEM, TEXT, is_character, is_name};
use crate::json::Json;
use crate::{Failure, MAX_BODY, MAX_DEPTH};

struct Writer {
    out: String,
}

/// With `root` around everything; without, the value must be an object with one member, which is no list.
pub fn to_xml(value: &Json, root: Option<&str>) -> Result<String, Failure> {
    let mut writer = Writer { out: r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned() };
    match (root, value) {
        (Some(root), Json::Array(items)) => writer.list(root, items)?,
        (Some(root), value) => writer.element(root, value, 0)?,
        (None, Json::Object(members)) if members.len() == 1 => {
            for (name, value) in members.iter().filter(|(_, value)| !matches!(value, Json::Array(_))) {
                writer.element(name, value, 0)?;
            }
            if matches!(members.first(), Some((_, Json::Array(_)))) {
                return Err(Failure::NoXmlForm);
            }
        }
        (None, _) => return Err(Failure::NoXmlForm),
    }
    if writer.out.len() > MAX_BODY { Err(Failure::TooLarge) } else { Ok(writer.out) }
}

// === impl Writer ===

impl Writer {
    /// A list that is a whole body.
    fn list(&mut self, root: &str, items: &[Json]) -> Result<(), Failure> {
        self.open(root)?;
        self.out.push('>');
        items.iter().try_for_each(|item| self.item(ITEM, item, 1))?;
        self.close(root);
        Ok(())
    }

    /// A list within a list is an element whose items are called `item`.
    fn item(&mut self, name: &str, item: &Json, depth: usize) -> Result<(), Failure> {
        let Json::Array(items) = item else { return self.element(name, item, depth) };
        if depth > MAX_DEPTH {
            return Err(Failure::NoXmlForm);
        }
        self.open(name)?;
        self.out.push('>');
        items.iter().try_for_each(|item| self.item(ITEM, item, depth + 1))?;
        self.close(name);
        Ok(())
    }

    fn element(&mut self, name: &str, value: &Json, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Err(Failure::NoXmlForm);
        }
        self.open(name)?;
        let Json::Object(members) = value else {
            let text = scalar(value).ok_or(Failure::NoXmlForm)?;
            return self.content(name, text);
        };
        for (member, value) in members {
            let Some(attribute) = member.strip_prefix(ATTRIBUTE) else { continue };
            let text = scalar(value).filter(|_| is_name(attribute)).ok_or(Failure::NoXmlForm)?;
            self.out.push(' ');
            self.out.push_str(attribute);
            self.out.push_str("=\"");
            self.text(text, true)?;
            self.out.push('"');
        }
        let children = || members.iter().filter(|(member, _)| !member.starts_with(ATTRIBUTE) && *member != TEXT);
        let text = match members.get(TEXT) {
            Some(value) => scalar(value).ok_or(Failure::NoXmlForm)?,
            None => "",
        };
        if children().next().is_none() {
            return self.content(name, text);
        }
        self.out.push('>');
        self.text(text, false)?;
        for (member, value) in children() {
            match value {
                Json::Array(items) => items.iter().try_for_each(|item| self.item(member, item, depth + 1))?,
                value => self.element(member, value, depth + 1)?,
            }
        }
        self.close(name);
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<(), Failure> {
        if self.out.len() > MAX_BODY {
            return Err(Failure::TooLarge);
        }
        if !is_name(name) {
            return Err(Failure::NoXmlForm);
        }
        self.out.push('<');
        self.out.push_str(name);
        Ok(())
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn content(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            self.out.push_str("/>");
            return Ok(());
        }
        self.out.push('>');
        self.text(text, false)?;
        self.close(name);
        Ok(())
    }

    /// What readers would take for the end of a line is written as a character reference.
    fn text(&mut self, text: &str, within_attribute: bool) -> Result<(), Failure> {
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '\r' => self.out.push_str("&#13;"),
                '"' if within_attribute => self.out.push_str("&quot;"),
                '\n' if within_attribute => self.out.push_str("&#10;"),
                '\t' if within_attribute => self.out.push_str("&#9;"),
                character if is_character(character) => self.out.push(character),
                _ => return Err(Failure::NoXmlForm),
            }
        }
        Ok(())
    }
}

fn scalar(value: &Json) -> Option<&str> {
    match value {
        Json::Null => Some(""),
        Json::Bool(value) => Some(if *value { "true" } else { "false" }),
        Json::Number(digits) => Some(digits),
        Json::Text(text) => Some(text),
        Json::Array(_) | Json::Object(_) => None,
    }
}
