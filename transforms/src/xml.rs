//! JSON as XML, and back. One convention: attributes are members called `@name`, text beside attributes or elements is `#text`, and
//! what repeats is a list. `docs/transformations.md` has what is lost on the way.

mod read;
mod write;

pub use self::read::ToJson;
pub use self::write::to_xml;

/// The text is no XML 1.0 in UTF-8 without document type, or is larger or deeper than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not well-formed XML, has a document type or an entity of its own, or nests too deeply")]
pub struct NoXml;

/// The member of an object that is its element's text.
const TEXT: &str = "#text";
/// Before the name of an attribute.
const ATTRIBUTE: char = '@';
/// What items of a list are called that has no name: one in a list, and one that is a whole body.
const ITEM: &str = "item";

/// XML 1.0 section 2.3, with at most one colon, and none at an end (Namespaces in XML 1.0).
pub fn is_name(text: &str) -> bool {
    let parts = text.split(':').count();
    parts <= 2 && text.split(':').all(is_part)
}

fn is_part(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(begins_name) && characters.all(is_in_name)
}

fn begins_name(character: char) -> bool {
    matches!(character,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn is_in_name(character: char) -> bool {
    begins_name(character)
        || matches!(character, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// XML 1.0 section 2.2.
fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests;
