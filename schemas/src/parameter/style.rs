//! How lists and objects are written, RFC 6570 and OpenAPI's own ways.

use std::borrow::Cow;

use super::{PROPERTY_TWICE, REPEATED, STYLE, Unreadable};
use crate::instance::Instance;
use crate::scalar::{self, Types};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Simple,
    Label,
    Matrix,
    Form,
    Space,
    Pipe,
    DeepObject,
    Tab,
}

/// Objects inside each other in `name[key][key]`.
const MAX_KEYS: usize = 8;

type Decode<'d, 'a> = &'d dyn Fn(&'a str) -> Result<Cow<'a, str>, Unreadable>;
/// The types of what a path of keys leads to, and of its items.
type TypesAt<'t> = &'t mut dyn FnMut(&[String]) -> (Types, Option<Types>);
type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

// === impl Style ===

impl Style {
    /// A scalar without what stands before it.
    pub(super) fn bare<'a>(self, raw: &'a str, name: &str) -> Option<&'a str> {
        match self {
            Style::Label => raw.strip_prefix('.'),
            Style::Matrix => {
                let rest = raw.strip_prefix(';')?.strip_prefix(name)?;
                if rest.is_empty() { Some(rest) } else { rest.strip_prefix('=') }
            }
            _ => Some(raw),
        }
    }

    pub(super) fn list<'a>(
        self,
        raw: &'a str,
        name: &str,
        explode: bool,
        decode: Decode<'_, 'a>,
    ) -> Result<Vec<Cow<'a, str>>, Unreadable> {
        match self {
            // One of several pairs, or a list in one.
            Style::Form if explode => Ok(vec![decode(raw)?]),
            Style::Matrix if explode => {
                let prefixed = raw.strip_prefix(';').ok_or(STYLE)?.split(';');
                prefixed.map(|item| decode(own(item, name).ok_or(STYLE)?)).collect()
            }
            Style::Label if explode => raw.strip_prefix('.').ok_or(STYLE)?.split('.').map(decode).collect(),
            Style::Space | Style::Pipe | Style::Tab => Ok(self.split_decoded(decode(raw)?)),
            _ => self.bare(raw, name).ok_or(STYLE)?.split(',').map(|item| decode(item.trim_ascii())).collect(),
        }
    }

    pub(super) fn members<'a>(
        self,
        raw: &'a str,
        name: &str,
        explode: bool,
        decode: Decode<'_, 'a>,
    ) -> Result<Vec<Member<'a>>, Unreadable> {
        let assigned = |item: &'a str| -> Result<Member<'a>, Unreadable> {
            let (key, value) = item.split_once('=').ok_or(STYLE)?;
            Ok((decode(key)?, decode(value)?))
        };
        match self {
            Style::Matrix if explode => raw.strip_prefix(';').ok_or(STYLE)?.split(';').map(assigned).collect(),
            Style::Label if explode => raw.strip_prefix('.').ok_or(STYLE)?.split('.').map(assigned).collect(),
            Style::Simple if explode => raw.split(',').map(|item| assigned(item.trim_ascii())).collect(),
            _ => {
                let pieces = self.list(raw, name, false, decode)?;
                let mut pieces = pieces.into_iter();
                let mut members = Vec::new();
                while let Some(key) = pieces.next() {
                    members.push((key, pieces.next().ok_or(STYLE)?));
                }
                Ok(members)
            }
        }
    }

    fn split_decoded(self, text: Cow<'_, str>) -> Vec<Cow<'_, str>> {
        let delimiter = match self {
            Style::Space => ' ',
            Style::Pipe => '|',
            _ => '\t',
        };
        match text {
            Cow::Borrowed(text) => text.split(delimiter).map(Cow::Borrowed).collect(),
            Cow::Owned(text) => text.split(delimiter).map(|item| Cow::Owned(item.to_owned())).collect(),
        }
    }
}

/// `value` of `name=value`.
fn own<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    item.strip_prefix(name)?.strip_prefix('=')
}

/// The keys of `[key][key]`. An empty one is an item, and comes last.
pub(super) fn keys(text: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, tail) = rest.strip_prefix('[')?.split_once(']')?;
        if key.is_empty() && (keys.is_empty() || !tail.is_empty()) {
            return None;
        }
        keys.push(key.to_owned());
        rest = tail;
    }
    (!keys.is_empty() && keys.len() <= MAX_KEYS).then_some(keys)
}

/// A part of an object that comes in pieces.
pub(super) struct Branch<'a> {
    key: String,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Leaf(Instance<'a>),
    Items(Vec<Instance<'a>>),
    Branches(Vec<Branch<'a>>),
}

/// Puts a value where its keys lead. `types`: of what is there, and of its items.
pub(super) fn insert<'a>(
    branches: &mut Vec<Branch<'a>>,
    keys: &[String],
    value: Cow<'a, str>,
    types: TypesAt<'_>,
) -> Result<(), Unreadable> {
    insert_at(branches, keys, 0, value, types)
}

fn insert_at<'a>(
    branches: &mut Vec<Branch<'a>>,
    keys: &[String],
    at: usize,
    value: Cow<'a, str>,
    types: TypesAt<'_>,
) -> Result<(), Unreadable> {
    let (path, rest) = keys.split_at_checked(at + 1).ok_or(STYLE)?;
    let key = path.last().ok_or(STYLE)?;
    let known = branches.iter_mut().find(|branch| branch.key == *key);
    // `name[key][]=value` is an item, too.
    let is_leaf = rest.is_empty() || matches!(rest, [item] if item.is_empty());
    if is_leaf {
        let (of_value, of_items) = types(path);
        let is_list = of_value.has(Types::LIST) && of_value != Types::ANY;
        if !is_list && !rest.is_empty() {
            return Err(STYLE);
        }
        let value = scalar::reading(value, if is_list { of_items.unwrap_or(Types::ANY) } else { of_value });
        match known.map(|branch| &mut branch.kind) {
            None => {
                let kind = if is_list { Kind::Items(vec![value]) } else { Kind::Leaf(value) };
                branches.push(Branch { key: key.clone(), kind });
            }
            Some(Kind::Items(items)) => items.push(value),
            Some(_) => return Err(REPEATED),
        }
        return Ok(());
    }
    match known.map(|branch| &mut branch.kind) {
        None => {
            let mut inner = Vec::new();
            insert_at(&mut inner, keys, at + 1, value, types)?;
            branches.push(Branch { key: key.clone(), kind: Kind::Branches(inner) });
        }
        Some(Kind::Branches(inner)) => insert_at(inner, keys, at + 1, value, types)?,
        Some(_) => return Err(PROPERTY_TWICE),
    }
    Ok(())
}

// === impl Branch ===

impl<'a> Branch<'a> {
    pub(super) fn into_member(self) -> Result<(Cow<'a, str>, Instance<'a>), Unreadable> {
        let value = match self.kind {
            Kind::Leaf(value) => value,
            Kind::Items(items) => Instance::List(items),
            Kind::Branches(branches) => {
                let members = branches.into_iter().map(Branch::into_member).collect::<Result<Vec<_>, _>>()?;
                Instance::map(members).map_err(|_| PROPERTY_TWICE)?
            }
        };
        Ok((Cow::Owned(self.key), value))
    }
}
