//! Path templates: what they match, and which of two wins. Envoy's routes are generated from them, and
//! [`PathTemplate::matches`] says the same as those routes: a property test compares the two.

use std::fmt;

/// A path of a definition such as `/pet/{petId}` or `/files/*`.
///
/// `{name}` matches one or more characters other than `/`, anywhere in a segment (`/v{major}.json`).
/// A trailing `/*` matches the rest, including nothing after its slash.
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
    #[error("it has a character that cannot stand in a path (space, control, `?` or `#`)")]
    BadCharacter,
    #[error("it has an empty, `.` or `..` segment, which Envoy's normalisation would remove")]
    NotNormal,
}

// === impl PathTemplate ===

impl PathTemplate {
    /// Parses a template as written in a definition.
    pub fn parse(text: &str) -> Result<PathTemplate, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError::NoLeadingSlash)?;
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '?' || c == '#') {
            return Err(PathError::BadCharacter);
        }
        let count = rest.split('/').count();
        let mut segments = Vec::with_capacity(count);
        for (index, segment) in rest.split('/').enumerate() {
            let last = index + 1 == count;
            if matches!(segment, "." | "..") || (segment.is_empty() && !last) {
                return Err(PathError::NotNormal);
            }
            segments.push(match segment {
                "*" if last => Segment::Rest,
                _ if segment.contains('*') => return Err(PathError::MisplacedWildcard),
                _ => parse_segment(segment)?,
            });
        }
        Ok(PathTemplate { text: text.to_owned(), segments })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The template with `base` (`""` or `/...` without a trailing slash) in front.
    pub fn under(&self, base: &str) -> Result<PathTemplate, PathError> {
        PathTemplate::parse(&format!("{base}{}", self.text))
    }

    pub fn is_concrete(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Names of the parameters in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segment| match segment {
            Segment::Template(pieces) => pieces.as_slice(),
            Segment::Literal(_) | Segment::Rest => &[],
        }).filter_map(|piece| match piece {
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
                Segment::Template(pieces) => pieces.iter().for_each(|piece| match piece {
                    Piece::Text(text) => shape.push_str(text),
                    Piece::Parameter(_) => shape.push_str("{}"),
                }),
            }
        }
        shape
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segment(segment: &str) -> Result<Segment, PathError> {
    if !segment.contains(['{', '}']) {
        return Ok(Segment::Literal(segment.to_owned()));
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
            pieces.push(Piece::Text(text.to_owned()));
            rest = tail;
        }
    }
    Ok(Segment::Template(pieces))
}
