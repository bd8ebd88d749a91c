//! Where parameters are in a path.

use smallvec::SmallVec;

/// A path template, with its base path.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    segments: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Parameter,
}

/// The parameters of a path, in the template's order, as they are written.
pub(crate) type Captures<'a> = SmallVec<[&'a str; 8]>;

// === impl Template ===

impl Template {
    /// The template, and the names of its parameters.
    pub(crate) fn parse(text: &str) -> (Template, Vec<String>) {
        let mut names = Vec::new();
        let segments = text.trim_start_matches('/').split('/').map(|segment| pieces(segment, &mut names)).collect();
        (Template { segments }, names)
    }

    /// `None`: the path is none of the template's.
    pub(crate) fn capture<'a>(&self, path: &'a str) -> Option<Captures<'a>> {
        let mut captures = Captures::new();
        let mut rest = path.strip_prefix('/').unwrap_or(path).split('/');
        for pieces in &self.segments {
            let segment = rest.next()?;
            if let [Piece::Text(text)] = pieces.as_slice() {
                // A wildcard takes the rest.
                if &**text == "*" {
                    return Some(captures);
                }
                continue;
            }
            capture_segment(pieces, segment, &mut captures)?;
        }
        rest.next().is_none().then_some(captures)
    }
}

fn pieces(segment: &str, names: &mut Vec<String>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some((text, tail)) = rest.split_once('{') {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        let (name, tail) = tail.split_once('}').unwrap_or((tail, ""));
        pieces.push(Piece::Parameter);
        names.push(name.to_owned());
        rest = tail;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    pieces
}

/// A parameter ends where the text after it begins; it has one character at least.
fn capture_segment<'a>(pieces: &[Piece], segment: &'a str, captures: &mut Captures<'a>) -> Option<()> {
    let mut rest = segment;
    let mut pieces = pieces.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(&**text)?,
            Piece::Parameter => {
                let first = rest.chars().next()?.len_utf8();
                let end = match pieces.peek() {
                    Some(Piece::Text(text)) => {
                        let last = !matches!(pieces.clone().nth(1), Some(Piece::Parameter));
                        let tail = rest.get(first..)?;
                        first + if last { tail.rfind(&**text)? } else { tail.find(&**text)? }
                    }
                    _ => rest.len(),
                };
                captures.push(rest.get(..end)?);
                rest = rest.get(end..)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        let of = |template: &str, path: &'static str| {
            let (template, names) = Template::parse(template);
            template.capture(path).map(|captures| names.into_iter().zip(captures).collect::<Vec<_>>())
        };
        let pairs = |pairs: &[(&str, &'static str)]| {
            Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>())
        };
        assert_eq!(of("/a/{x}/b/{y}", "/a/1/b/2"), pairs(&[("x", "1"), ("y", "2")]));
        assert_eq!(of("/v{major}.{minor}.json", "/v1.2.json"), pairs(&[("major", "1"), ("minor", "2")]));
        assert_eq!(of("/{name}.json", "/a.json.json"), pairs(&[("name", "a.json")]));
        assert_eq!(of("/{x}/*", "/1/2/3"), pairs(&[("x", "1")]));
        assert_eq!(of("/{x}/*", "/1/"), pairs(&[("x", "1")]));
        assert_eq!(of("/a", "/a"), pairs(&[]));
        assert_eq!(of("/a/{x}", "/a/1/2"), None);
        assert_eq!(of("/a/{x}.json", "/a/x.xml"), None);
    }
}
