//! Path templates: what they match, and which of two wins. Envoy's routes are generated from them, and
//! [`PathTemplate::matches`] says the same as those routes: a property test compares the two.

pub mod normal;
mod spelling;

use std::cmp::{Ordering, Reverse};
use std::fmt;

use normal::Refusal;
use spelling::Spelling;

/// A path of a definition such as `/pet/{petId}` or `/files/*`.
///
/// `{name}` matches one or more characters other than `/` and `;`, anywhere in a segment (`/v{major}.json`).
/// A trailing `/*` matches the rest, if it has no `;`, including nothing after its slash.
///
/// `;` is left out because many backends cut path parameters off before they route: `/pet/findByStatus;x` would be judged
/// as `/pet/{petId}` and answered as `/pet/findByStatus`.
///
/// Text has one spelling, whatever the definition's: characters stand as they are where they can, others are encoded with upper-case
/// digits. [`PathTemplate::respelled`] matches the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Also the empty text after a trailing slash.
    Literal(String),
    /// Contains at least one parameter.
    Template(Vec<Piece>),
    /// Text, and parameters if there are any, in whatever way the text is encoded. Not in definitions.
    Respelled(Vec<Piece>),
    /// A trailing `*`: the rest of the path.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    Text(String),
    Parameter(String),
}

/// Why a path is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("it does not start with `/`")]
    NoLeadingSlash,
    #[error("a brace is not closed, or closed without being opened")]
    UnbalancedBrace,
    #[error("a parameter has no name")]
    EmptyParameter,
    #[error("two parameters follow each other with nothing between them")]
    AdjacentParameters,
    #[error("`*` is only allowed as the last segment")]
    MisplacedWildcard,
    #[error("it has a character that cannot stand in a path (space, control, `\\`, `?` or `#`)")]
    BadCharacter,
    #[error("it has an empty, `.` or `..` segment, which Envoy's normalisation would remove")]
    NotNormal,
    #[error("no request can have it: {0}")]
    Unmatched(#[from] Refusal),
}

// === impl PathTemplate ===

impl PathTemplate {
    /// Parses a template as written in a definition.
    pub fn parse(text: &str) -> Result<PathTemplate, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError::NoLeadingSlash)?;
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '?' | '#')) {
            return Err(PathError::BadCharacter);
        }
        let count = rest.split('/').count();
        let mut segments = Vec::with_capacity(count);
        for (index, segment) in rest.split('/').enumerate() {
            let last = index + 1 == count;
            let segment = match segment {
                "*" if last => Segment::Rest,
                _ if segment.contains('*') => return Err(PathError::MisplacedWildcard),
                _ => parse_segment(segment)?,
            };
            if let Segment::Literal(text) = &segment
                && (matches!(text.as_str(), "." | "..") || (text.is_empty() && !last))
            {
                return Err(PathError::NotNormal);
            }
            segments.push(segment);
        }
        Ok(PathTemplate { text: text.to_owned(), segments })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What matches the same requests when their escapes are decoded: `/%40me` for `/@me`, and `/@me` itself. `None` if there is
    /// one spelling alone. The first `fixed` segments are matched as they are.
    ///
    /// A backend that decodes before it routes takes such a request for the template's, whatever the gateway took it for.
    pub fn respelled(&self, fixed: usize) -> Option<PathTemplate> {
        let mut segments = self.segments.clone();
        let mut differs = false;
        for segment in segments.iter_mut().skip(fixed) {
            if let Some(other) = segment.respelled() {
                *segment = other;
                differs = true;
            }
        }
        differs.then(|| PathTemplate { text: self.text.clone(), segments })
    }

    /// The template with `base` (`""` or `/...` without a trailing slash) in front.
    pub fn under(&self, base: &str) -> Result<PathTemplate, PathError> {
        PathTemplate::parse(&format!("{base}{}", self.text))
    }

    pub fn is_concrete(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// The one path of a concrete template.
    pub fn concrete(&self) -> String {
        self.segments.iter().fold(String::with_capacity(self.text.len()), |mut path, segment| {
            path.push('/');
            if let Segment::Literal(text) = segment {
                path.push_str(text);
            }
            path
        })
    }

    /// Names of the parameters in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments
            .iter()
            .flat_map(|segment| match segment {
                Segment::Template(pieces) | Segment::Respelled(pieces) => pieces.as_slice(),
                Segment::Literal(_) | Segment::Rest => &[],
            })
            .filter_map(|piece| match piece {
                Piece::Parameter(name) => Some(name.as_str()),
                Piece::Text(_) => None,
            })
    }

    /// The same template with every parameter called `{}`: equal shapes match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Rest => shape.push('*'),
                Segment::Template(pieces) | Segment::Respelled(pieces) => pieces.iter().for_each(|piece| match piece {
                    Piece::Text(text) => shape.push_str(text),
                    Piece::Parameter(_) => shape.push_str("{}"),
                }),
            }
        }
        shape
    }
}

// === matching ===

impl PathTemplate {
    /// Whether `path` (no query) is one of the template's paths.
    pub fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix('/') else { return false };
        let mut segments = self.segments.iter();
        while let Some(segment) = segments.next() {
            if matches!(segment, Segment::Rest) {
                return !rest.contains(';');
            }
            let (text, tail) = rest.split_once('/').map_or((rest, None), |(text, tail)| (text, Some(tail)));
            if !segment.matches(text) {
                return false;
            }
            match tail {
                Some(tail) => rest = tail,
                None => return segments.next().is_none(),
            }
        }
        false
    }

    fn is_respelled(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Respelled(_)))
    }

    /// Which template wins where both match: `Less` is tried first. At the first segment that differs in kind, concrete
    /// text comes before a template with text around its parameters, that before a bare parameter, that before `*`. What is spelled
    /// otherwise comes after what is not, and before what is less specific.
    pub fn precedence(&self, other: &PathTemplate) -> Ordering {
        let kinds = self.segments.iter().map(Segment::breadth).cmp(other.segments.iter().map(Segment::breadth));
        kinds.then_with(|| self.text.cmp(&other.text)).then_with(|| self.is_respelled().cmp(&other.is_respelled()))
    }

    /// Whether some path may match both. `true` where that is not obvious.
    pub fn may_overlap(&self, other: &PathTemplate) -> bool {
        let is_rest = |segment: &Segment| matches!(segment, Segment::Rest);
        for (own, other) in self.segments.iter().zip(&other.segments) {
            match (own, other) {
                (Segment::Rest, _) | (_, Segment::Rest) => return true,
                (Segment::Literal(text), segment) | (segment, Segment::Literal(text)) if !segment.matches(text) => {
                    return false;
                }
                _ => {}
            }
        }
        // One that is longer matches what is as long as it, except that `*` also matches nothing.
        match self.segments.len().cmp(&other.segments.len()) {
            Ordering::Equal => true,
            Ordering::Less => other.segments.get(self.segments.len()).is_some_and(is_rest),
            Ordering::Greater => self.segments.get(other.segments.len()).is_some_and(is_rest),
        }
    }

    /// The regular expression (RE2 syntax, whole path without query) that matches what [`Self::matches`] does.
    pub fn regex(&self) -> String {
        let mut regex = String::with_capacity(self.text.len() + 16);
        for segment in &self.segments {
            regex.push('/');
            segment.push_regex(&mut regex);
        }
        regex
    }
}

// === impl Segment ===

impl Segment {
    /// Whether the text between two slashes is one of the segment's.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Segment::Literal(literal) => literal == text,
            Segment::Template(pieces) => spelling::match_pieces(Spelling::Own, pieces, text),
            Segment::Respelled(pieces) => spelling::match_pieces(Spelling::Any, pieces, text),
            Segment::Rest => !text.contains(';'),
        }
    }

    /// Appends the regular expression for the segment's text.
    pub fn push_regex(&self, regex: &mut String) {
        match self {
            Segment::Literal(text) => push_escaped(regex, text),
            Segment::Rest => regex.push_str("[^;]*"),
            // The whole segment: no escape can be cut in two.
            Segment::Template(pieces) if matches!(pieces[..], [Piece::Parameter(_)]) => regex.push_str("[^/;]+"),
            Segment::Template(pieces) => spelling::push_pieces(Spelling::Own, pieces, regex),
            Segment::Respelled(pieces) => spelling::push_pieces(Spelling::Any, pieces, regex),
        }
    }

    /// The same in all spellings; `None` if there is one alone.
    fn respelled(&self) -> Option<Segment> {
        let pieces = match self {
            Segment::Literal(text) => vec![Piece::Text(text.clone())],
            Segment::Template(pieces) => pieces.clone(),
            Segment::Respelled(_) | Segment::Rest => return None,
        };
        let varies = |piece: &Piece| matches!(piece, Piece::Text(text) if spelling::varies(text));
        pieces.iter().any(varies).then_some(Segment::Respelled(pieces))
    }

    /// Rank of the segment's kind, and within templates the more fixed text the lower.
    fn breadth(&self) -> (u8, Reverse<usize>) {
        match self {
            Segment::Literal(_) => (0, Reverse(0)),
            Segment::Respelled(pieces) if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) => (0, Reverse(0)),
            Segment::Template(pieces) | Segment::Respelled(pieces) => {
                let fixed = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
                (if fixed > 0 { 1 } else { 2 }, Reverse(fixed))
            }
            Segment::Rest => (3, Reverse(0)),
        }
    }
}

/// RE2 takes a backslash before any punctuation as that character itself.
pub(crate) fn push_escaped(regex: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_ascii_punctuation()
            && !matches!(c, '_' | '-' | '/' | '~' | '%' | '&' | ',' | ';' | ':' | '=' | '@' | '!' | '\'')
        {
            regex.push('\\');
        }
        regex.push(c);
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segment(segment: &str) -> Result<Segment, PathError> {
    if !segment.contains(['{', '}']) {
        return Ok(Segment::Literal(normal::literal(segment)?));
    }
    let mut pieces = Vec::new();
    let mut rest = segment;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('{') {
            let (name, tail) = inner.split_once('}').ok_or(PathError::UnbalancedBrace)?;
            if name.is_empty() {
                return Err(PathError::EmptyParameter);
            }
            if name.contains('{') {
                return Err(PathError::UnbalancedBrace);
            }
            if matches!(pieces.last(), Some(Piece::Parameter(_))) {
                return Err(PathError::AdjacentParameters);
            }
            pieces.push(Piece::Parameter(name.to_owned()));
            rest = tail;
        } else {
            let (text, tail) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if text.contains('}') {
                return Err(PathError::UnbalancedBrace);
            }
            pieces.push(Piece::Text(normal::literal(text)?));
            rest = tail;
        }
    }
    Ok(Segment::Template(pieces))
}
