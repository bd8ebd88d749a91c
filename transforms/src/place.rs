//! Places in a JSON value: JSON Pointer (RFC 6901) and the part of JSONPath (RFC 9535) that needs no expressions: names, indexes,
//! wildcards, slices and descendants. The time it takes is bounded, whatever a body says.

mod path;

use crate::json::{Json, Object};
use crate::{Failure, MAX_DEPTH};

pub use self::path::JsonPath;
pub(crate) use self::path::Last;

/// Characters of a pointer or path.
pub const MAX_LENGTH: usize = 512;

/// Positions of members and items, from the root.
pub(crate) type Location = Vec<usize>;

/// Where to edit.
#[derive(Clone, Debug)]
pub enum Place {
    Pointer(Pointer),
    Path(JsonPath),
}

/// The names from the root, decoded. Never empty: the whole is no place within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    above: Vec<String>,
    last: String,
}

/// Why a place cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("it is longer than {MAX_LENGTH} bytes, or has more than {MAX_DEPTH} parts")]
    Length,
    #[error("a JSON Pointer begins with `/`, a JSONPath with `$`")]
    Start,
    #[error("`~` is followed by `0` or `1` in a JSON Pointer")]
    Tilde,
    #[error("it is the whole body; `body` is there to replace that")]
    Whole,
    #[error("at character {0}: names, indexes, slices, `*` and `..` are what a JSONPath can have here")]
    Syntax(usize),
    #[error("it can mean several places, and only one can be meant here")]
    Several,
    #[error("it must end with a name here")]
    NoName,
    #[error("it must end with a name, or an index from the start, here")]
    NoMember,
    #[error("what is moved would be moved into itself")]
    Within,
}

// === impl Place ===

impl Place {
    pub fn read(text: &str) -> Result<Place, PlaceError> {
        if text.len() > MAX_LENGTH {
            return Err(PlaceError::Length);
        }
        match text.as_bytes().first() {
            Some(b'$') => JsonPath::read(text).map(Place::Path),
            Some(b'/') | None => Pointer::read(text).map(Place::Pointer),
            Some(_) => Err(PlaceError::Start),
        }
    }

    /// Can be added to.
    pub(crate) fn names_member(&self) -> Result<(), PlaceError> {
        match self {
            Place::Pointer(_) => Ok(()),
            Place::Path(path) => path.last().map(drop).ok_or(PlaceError::NoMember),
        }
    }

    /// Ends with a name that can be another.
    pub(crate) fn names_name(&self) -> Result<(), PlaceError> {
        match self {
            Place::Pointer(_) => Ok(()),
            Place::Path(path) if matches!(path.last(), Some(Last::Name(_))) => Ok(()),
            Place::Path(_) => Err(PlaceError::NoName),
        }
    }

    pub(crate) fn is_one(&self) -> Result<(), PlaceError> {
        match self {
            Place::Path(path) if !path.is_singular() => Err(PlaceError::Several),
            _ => Ok(()),
        }
    }

    /// All of what is there, parents before what is in them.
    pub(crate) fn find(&self, root: &Json) -> Result<Vec<Location>, Failure> {
        match self {
            Place::Path(path) => path.find(root),
            Place::Pointer(pointer) => Ok(pointer.find(root).into_iter().collect()),
        }
    }

    /// What holds the last part, whether or not that is there; parents before what is in them.
    pub(crate) fn find_parents(&self, root: &Json) -> Result<Vec<Location>, Failure> {
        match self {
            Place::Path(path) => path.find_parents(root),
            Place::Pointer(pointer) => Ok(locate(root, &pointer.above).into_iter().collect()),
        }
    }

    pub(crate) fn last(&self) -> Option<Last<'_>> {
        match self {
            Place::Path(path) => path.last(),
            Place::Pointer(pointer) => Some(Last::Name(&pointer.last)),
        }
    }
}

// === impl Pointer ===

impl Pointer {
    pub fn read(text: &str) -> Result<Pointer, PlaceError> {
        if text.is_empty() {
            return Err(PlaceError::Whole);
        }
        let rest = text.strip_prefix('/').ok_or(PlaceError::Start)?;
        let mut above = rest.split('/').map(unescape).collect::<Result<Vec<_>, _>>()?;
        if text.len() > MAX_LENGTH || above.len() > MAX_DEPTH {
            return Err(PlaceError::Length);
        }
        let last = above.pop().ok_or(PlaceError::Whole)?;
        Ok(Pointer { above, last })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.above.iter().chain([&self.last]).map(String::as_str)
    }

    pub(crate) fn is_within(&self, other: &Pointer) -> bool {
        let mut names = self.names();
        other.names().all(|name| names.next() == Some(name))
    }

    fn find(&self, root: &Json) -> Option<Location> {
        let mut location = locate(root, &self.above)?;
        let parent = get(root, &location)?;
        location.push(position(parent, &self.last)?);
        Some(location)
    }

    /// What the last name is to be in; objects are made where there is nothing. Of what is neither object nor array: [`Failure::Place`].
    pub(crate) fn parent<'j>(&self, root: &'j mut Json) -> Result<&'j mut Json, Failure> {
        let mut at = root;
        for name in &self.above {
            at = match at {
                Json::Object(members) => members.entry(name.clone()).or_insert_with(|| Json::Object(Object::new())),
                Json::Array(items) => index(name).and_then(|index| items.get_mut(index)).ok_or(Failure::Place)?,
                _ => return Err(Failure::Place),
            };
        }
        Ok(at)
    }

    /// RFC 6902 section 4.1, and objects are made on the way.
    pub(crate) fn add(&self, root: &mut Json, value: Json) -> Result<(), Failure> {
        match self.parent(root)? {
            Json::Object(members) => {
                members.insert(self.last.clone(), value);
            }
            Json::Array(items) if self.last == "-" => items.push(value),
            Json::Array(items) => {
                let index = index(&self.last).filter(|index| *index <= items.len()).ok_or(Failure::Place)?;
                items.insert(index, value);
            }
            _ => return Err(Failure::Place),
        }
        Ok(())
    }
}

fn unescape(text: &str) -> Result<String, PlaceError> {
    let mut parts = text.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', part.get(1..)),
            Some(b'1') => ('/', part.get(1..)),
            _ => return Err(PlaceError::Tilde),
        };
        name.push(sign);
        name.push_str(rest.unwrap_or_default());
    }
    Ok(name)
}

/// RFC 6901 section 4: no leading zeros.
fn index(name: &str) -> Option<usize> {
    let canonical = name == "0" || !name.starts_with('0');
    let digits = canonical && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

fn position(value: &Json, name: &str) -> Option<usize> {
    match value {
        Json::Object(members) => members.get_index_of(name),
        Json::Array(items) => index(name).filter(|index| *index < items.len()),
        _ => None,
    }
}

fn locate(root: &Json, names: &[String]) -> Option<Location> {
    let mut location = Vec::with_capacity(names.len() + 1);
    let mut at = root;
    for name in names {
        let position = position(at, name)?;
        location.push(position);
        at = child(at, position)?;
    }
    Some(location)
}

pub(crate) fn child(value: &Json, position: usize) -> Option<&Json> {
    match value {
        Json::Object(members) => members.get_index(position).map(|(_, value)| value),
        Json::Array(items) => items.get(position),
        _ => None,
    }
}

pub(crate) fn get<'j>(root: &'j Json, location: &[usize]) -> Option<&'j Json> {
    location.iter().try_fold(root, |at, position| child(at, *position))
}

pub(crate) fn get_mut<'j>(root: &'j mut Json, location: &[usize]) -> Option<&'j mut Json> {
    location.iter().try_fold(root, |at, position| match at {
        Json::Object(members) => members.get_index_mut(*position).map(|(_, value)| value),
        Json::Array(items) => items.get_mut(*position),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
