//! JSONPath, RFC 9535, without filters and functions.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{Location, MAX_LENGTH, PlaceError, child};
use crate::json::Json;
use crate::{Failure, MAX_DEPTH, MAX_HITS, MAX_VALUES};

/// `$`, and segments. Never empty.
#[derive(Clone, Debug)]
pub struct JsonPath {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
struct Segment {
    /// `..`: of a value and all that is in it.
    descendants: bool,
    /// Never empty.
    selectors: Vec<Selector>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Name(String),
    /// From the end if it is less than nothing.
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    All,
}

/// What a path ends with, where that is one member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Last<'p> {
    Name(&'p str),
    Index(usize),
}

/// RFC 9535 section 2.1: numbers that every reader has.
const MAX_INTEGER: i64 = (1 << 53) - 1;
/// Values that are looked at, counting those that are met again.
const MAX_VISITS: usize = 2 * MAX_VALUES;

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

/// A value, and where it is.
type Node<'j> = (Location, &'j Json);

// === impl JsonPath ===

impl JsonPath {
    pub fn read(text: &str) -> Result<JsonPath, PlaceError> {
        if text.len() > MAX_LENGTH {
            return Err(PlaceError::Length);
        }
        let mut reader = Reader { text, at: 0 };
        if !reader.takes("$") {
            return Err(PlaceError::Start);
        }
        let mut segments = Vec::new();
        while reader.at < text.len() {
            segments.push(reader.segment()?);
        }
        match segments.len() {
            0 => Err(PlaceError::Whole),
            count if count > MAX_DEPTH => Err(PlaceError::Length),
            _ => Ok(JsonPath { segments }),
        }
    }

    pub(crate) fn is_singular(&self) -> bool {
        let one = |segment: &Segment| {
            !segment.descendants && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
        };
        self.segments.iter().all(one)
    }

    pub(super) fn last(&self) -> Option<Last<'_>> {
        match self.segments.last()?.selectors.as_slice() {
            [Selector::Name(name)] => Some(Last::Name(name)),
            [Selector::Index(index)] => usize::try_from(*index).ok().map(Last::Index),
            _ => None,
        }
    }

    pub(super) fn find(&self, root: &Json) -> Result<Vec<Location>, Failure> {
        let mut visits = 0;
        let mut nodes = vec![(Vec::new(), root)];
        for segment in &self.segments {
            nodes = segment.apply(nodes, &mut visits)?;
        }
        locations(nodes)
    }

    pub(super) fn find_parents(&self, root: &Json) -> Result<Vec<Location>, Failure> {
        let Some((last, above)) = self.segments.split_last() else { return Ok(Vec::new()) };
        let mut visits = 0;
        let mut nodes = vec![(Vec::new(), root)];
        for segment in above {
            nodes = segment.apply(nodes, &mut visits)?;
        }
        if last.descendants {
            nodes = descend(nodes, &mut visits)?;
        }
        locations(nodes)
    }
}

/// In the order of the document.
fn locations(nodes: Vec<Node<'_>>) -> Result<Vec<Location>, Failure> {
    if nodes.len() > MAX_HITS {
        return Err(Failure::Hits);
    }
    let mut locations: Vec<Location> = nodes.into_iter().map(|(location, _)| location).collect();
    locations.sort_unstable();
    Ok(locations)
}

fn visit(visits: &mut usize) -> Result<(), Failure> {
    *visits += 1;
    if *visits > MAX_VISITS { Err(Failure::Hits) } else { Ok(()) }
}

/// Each of them and all that is in it, once.
fn descend<'j>(nodes: Vec<Node<'j>>, visits: &mut usize) -> Result<Vec<Node<'j>>, Failure> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut open = nodes;
    open.reverse();
    while let Some((location, value)) = open.pop() {
        visit(visits)?;
        if !seen.insert(std::ptr::from_ref(value)) {
            continue;
        }
        let count = match value {
            Json::Array(items) => items.len(),
            Json::Object(members) => members.len(),
            _ => 0,
        };
        for position in (0..count).rev() {
            open.extend(child(value, position).map(|value| (below(&location, position), value)));
        }
        all.push((location, value));
    }
    Ok(all)
}

fn below(location: &Location, position: usize) -> Location {
    let mut location = location.clone();
    location.push(position);
    location
}

// === impl Segment ===

impl Segment {
    /// What a value is that is met twice counts once: it is edited once.
    fn apply<'j>(&self, nodes: Vec<Node<'j>>, visits: &mut usize) -> Result<Vec<Node<'j>>, Failure> {
        let nodes = if self.descendants { descend(nodes, visits)? } else { nodes };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for (location, value) in &nodes {
            for selector in &self.selectors {
                for position in selector.select(value) {
                    visit(visits)?;
                    let Some(value) = child(value, position) else { continue };
                    if seen.insert(std::ptr::from_ref(value)) {
                        found.push((below(location, position), value));
                    }
                }
            }
        }
        Ok(found)
    }
}

// === impl Selector ===

impl Selector {
    /// Positions of what it selects, most of them there.
    fn select(&self, value: &Json) -> Box<dyn Iterator<Item = usize>> {
        match (self, value) {
            (Selector::Name(name), Json::Object(members)) => Box::new(members.get_index_of(name).into_iter()),
            (Selector::All, Json::Object(members)) => Box::new(0..members.len()),
            (Selector::All, Json::Array(items)) => Box::new(0..items.len()),
            (Selector::Index(index), Json::Array(items)) => Box::new(from_start(*index, items.len()).into_iter()),
            (Selector::Slice { start, end, step }, Json::Array(items)) => slice(*start, *end, *step, items.len()),
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn from_start(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

/// RFC 9535 section 2.3.4.2.
fn slice(start: Option<i64>, end: Option<i64>, step: i64, length: usize) -> Box<dyn Iterator<Item = usize>> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let normal = |index: i64| if index < 0 { index + length } else { index };
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    let position = |index: i64| usize::try_from(index).ok();
    match step.cmp(&0) {
        Ordering::Greater => {
            let lower = normal(start.unwrap_or(0)).clamp(0, length);
            let upper = normal(end.unwrap_or(length)).clamp(0, length);
            Box::new((lower..upper).step_by(stride).filter_map(position))
        }
        Ordering::Less => {
            let upper = start.map_or(length - 1, normal).clamp(-1, length - 1);
            let lower = end.map_or(-1, normal).clamp(-1, length - 1);
            Box::new((lower + 1..=upper).rev().step_by(stride).filter_map(position))
        }
        Ordering::Equal => Box::new(std::iter::empty()),
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn wrong<T>(&self) -> Result<T, PlaceError> {
        let before = self.text.get(..self.at).unwrap_or_default();
        Err(PlaceError::Syntax(before.chars().count() + 1))
    }

    fn segment(&mut self) -> Result<Segment, PlaceError> {
        let descendants = self.takes("..");
        if self.takes("[") {
            return Ok(Segment { descendants, selectors: self.bracketed()? });
        }
        if !descendants && !self.takes(".") {
            return self.wrong();
        }
        let selector = if self.takes("*") { Selector::All } else { Selector::Name(self.name()?) };
        Ok(Segment { descendants, selectors: vec![selector] })
    }

    /// Letters, digits and `_`; anything else takes quotes.
    fn name(&mut self) -> Result<String, PlaceError> {
        let first = |character: char| character.is_ascii_alphabetic() || character == '_' || !character.is_ascii();
        let next = |character: char| first(character) || character.is_ascii_digit();
        if !self.rest().starts_with(first) {
            return self.wrong();
        }
        let end = self.rest().find(|character| !next(character)).unwrap_or(self.rest().len());
        let name = self.rest().get(..end).unwrap_or_default().to_owned();
        self.at += end;
        Ok(name)
    }

    /// After `[`.
    fn bracketed(&mut self) -> Result<Vec<Selector>, PlaceError> {
        let mut selectors = Vec::new();
        loop {
            self.space();
            selectors.push(self.selector()?);
            self.space();
            if self.takes("]") {
                return Ok(selectors);
            }
            if !self.takes(",") {
                return self.wrong();
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, PlaceError> {
        if self.takes("*") {
            return Ok(Selector::All);
        }
        for quote in ['\'', '"'] {
            if self.rest().starts_with(quote) {
                return self.quoted(quote).map(Selector::Name);
            }
        }
        let start = self.integer()?;
        self.space();
        if !self.takes(":") {
            return start.map_or_else(|| self.wrong(), |index| Ok(Selector::Index(index)));
        }
        self.space();
        let end = self.integer()?;
        self.space();
        let step = if self.takes(":") {
            self.space();
            self.integer()?.unwrap_or(1)
        } else {
            1
        };
        Ok(Selector::Slice { start, end, step })
    }

    fn integer(&mut self) -> Result<Option<i64>, PlaceError> {
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let sign = rest.len() - digits.len();
        if length == 0 {
            return if sign == 0 { Ok(None) } else { self.wrong() };
        }
        let text = rest.get(..sign + length).unwrap_or_default();
        let zeros = digits.starts_with('0') && (length > 1 || sign > 0);
        match text.parse::<i64>().ok().filter(|number| number.abs() <= MAX_INTEGER && !zeros) {
            Some(number) => {
                self.at += sign + length;
                Ok(Some(number))
            }
            None => self.wrong(),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, PlaceError> {
        self.at += 1;
        let mut name = String::new();
        loop {
            let Some(character) = self.rest().chars().next() else { return self.wrong() };
            match character {
                _ if character == quote => {
                    self.at += 1;
                    return Ok(name);
                }
                '\\' => {
                    let escaped = self.rest().chars().nth(1);
                    name.push(match escaped {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('b') => '\u{8}',
                        Some('f') => '\u{c}',
                        Some(sign @ ('/' | '\\')) => sign,
                        Some(sign) if sign == quote => sign,
                        // `\u0000`: characters can be written as they are.
                        _ => return self.wrong(),
                    });
                    self.at += 2;
                }
                character if u32::from(character) < 0x20 => return self.wrong(),
                character => {
                    name.push(character);
                    self.at += character.len_utf8();
                }
            }
        }
    }
}
