//! Paths that templates make: of the normal form that requests have once the gateway has taken them in, so that nobody behind it reads
//! another one out of them. A test of the compiler compares this with its model of that form.

/// Characters of a rewritten path with its query.
pub const MAX_LENGTH: usize = 8 * 1024;

/// Why a path cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("it does not start with `/`, or is longer than {MAX_LENGTH} bytes")]
    Start,
    #[error("it has an empty segment, or one that is `.` or `..`")]
    Segment,
    #[error("it has `;`, `?`, `#`, a backslash or another character that cannot stand in a path")]
    Character,
    #[error("it has an encoded slash, backslash, `;` or control character, or something encoded that need not be")]
    Encoded,
    #[error("what is encoded in it is not UTF-8")]
    NotUtf8,
}

/// One slash at the end is no empty segment.
pub fn check(path: &str) -> Result<(), PathError> {
    let rest = path.strip_prefix('/').filter(|_| path.len() <= MAX_LENGTH).ok_or(PathError::Start)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if path == "/" {
        return Ok(());
    }
    rest.split('/').try_for_each(segment)
}

fn segment(text: &str) -> Result<(), PathError> {
    if matches!(text, "" | "." | "..") {
        return Err(PathError::Segment);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'%' {
            let [high, low, after @ ..] = tail else { return Err(PathError::Encoded) };
            let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(PathError::Encoded) };
            let byte = high << 4 | low;
            if is_unreserved(byte) || matches!(byte, b'/' | b'\\' | b';') || byte.is_ascii_control() {
                return Err(PathError::Encoded);
            }
            decoded.push(byte);
            rest = after;
        } else if is_unreserved(*byte) || b"!$&'()*+,=:@[]".contains(byte) {
            decoded.push(*byte);
        } else {
            return Err(PathError::Character);
        }
    }
    std::str::from_utf8(&decoded).map(drop).map_err(|_| PathError::NotUtf8)
}

/// Letters, digits and what RFC 3986 calls unreserved.
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

pub fn push_escape(out: &mut String, byte: u8) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_may_be() {
        for good in ["/", "/a", "/a/b/", "/a.b/..c", "/%C3%A9", "/a%20b", "/v1/a@b", "/a%3Fb"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "//", "/a//b", "/a//", "/.", "/..", "/a/../b", "/a/./", "/a;b", "/a?b", "/a#b", "/a\\b", "/a%2Fb",
            "/a%5cb", "/a%3Bb", "/a%00b", "/a%0Ab", "/a%41", "/%2e%2e", "/a%", "/a%2", "/a%zz", "/%C3", "/\u{e9}",
            "/a b", "/a\"b",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&format!("/{}", "a".repeat(MAX_LENGTH))).is_err());
    }
}
