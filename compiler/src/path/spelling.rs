//! Text with parameters in it, within one segment: matched as normalised requests have it, or in whatever way it is encoded.

use super::normal::{decoded, escape, is_raw, is_unreserved};
use super::{Piece, push_escaped};

/// Which ways to write a text count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The text's own.
    Own,
    /// Each character as it is or encoded, with digits in either case.
    Any,
}

/// Whether requests can write it in several ways that differ when they have been normalised.
pub fn varies(text: &str) -> bool {
    !text.bytes().all(is_unreserved)
}

/// Follows all positions that can be reached at once, so that the time is bounded by pieces times length.
pub fn match_pieces(spelling: Spelling, pieces: &[Piece], text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut reached = vec![false; bytes.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    let bare = spelling == Spelling::Own && matches!(pieces, [Piece::Parameter(_)]);
    for piece in pieces {
        let mut next = vec![false; bytes.len() + 1];
        let mut reach = |end: usize| {
            if let Some(end) = next.get_mut(end) {
                *end = true;
            }
        };
        match piece {
            Piece::Text(fixed) => {
                for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                    text_end(spelling, fixed, bytes, at).map(&mut reach);
                }
            }
            Piece::Parameter(_) if bare => {
                if !bytes.contains(&b';') && !bytes.is_empty() {
                    reach(bytes.len());
                }
            }
            Piece::Parameter(_) => parameter_ends(&reached, bytes, &mut reach),
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// All that a parameter can end at which begins where it may: no escape is cut in two, and `;` is none of it.
fn parameter_ends(starts: &[bool], bytes: &[u8], reach: &mut impl FnMut(usize)) {
    let mut within = vec![false; bytes.len() + 1];
    for (at, byte) in bytes.iter().enumerate() {
        let goes_on = starts.get(at) == Some(&true) || within.get(at) == Some(&true);
        let step = match byte {
            b';' => None,
            b'%' => bytes.get(at..).and_then(escape).map(|_| 3),
            _ => Some(1),
        };
        if let (true, Some(step)) = (goes_on, step) {
            if let Some(end) = within.get_mut(at + step) {
                *end = true;
            }
            reach(at + step);
        }
    }
}

/// Where `fixed` ends that begins `at`.
fn text_end(spelling: Spelling, fixed: &str, bytes: &[u8], at: usize) -> Option<usize> {
    let tail = bytes.get(at..)?;
    if spelling == Spelling::Own {
        return tail.starts_with(fixed.as_bytes()).then(|| at + fixed.len());
    }
    let mut end = at;
    for wanted in decoded(fixed.as_bytes())? {
        let here = bytes.get(end..)?;
        end += match here {
            [b'%', ..] if escape(here) == Some(wanted) && !is_unreserved(wanted) => 3,
            [byte, ..] if *byte == wanted && is_raw(wanted) => 1,
            _ => return None,
        };
    }
    Some(end)
}

/// Appends the regular expression (RE2 syntax) that matches what [`match_pieces`] does.
pub fn push_pieces(spelling: Spelling, pieces: &[Piece], regex: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Parameter(_) => regex.push_str("(?:[^/;%]|%[0-9A-Fa-f]{2})+"),
            Piece::Text(text) if spelling == Spelling::Own => push_escaped(regex, text),
            Piece::Text(text) => decoded(text.as_bytes()).iter().flatten().for_each(|byte| push_byte(regex, *byte)),
        }
    }
}

fn push_byte(regex: &mut String, byte: u8) {
    let raw = is_raw(byte).then(|| char::from(byte).to_string());
    if is_unreserved(byte) {
        push_escaped(regex, &char::from(byte).to_string());
        return;
    }
    regex.push_str("(?:");
    if let Some(raw) = raw {
        push_escaped(regex, &raw);
        regex.push('|');
    }
    regex.push('%');
    for digit in [byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(u32::from(digit), 16)) {
        if digit.is_ascii_digit() {
            regex.push(digit);
        } else {
            regex.extend(['[', digit.to_ascii_uppercase(), digit, ']']);
        }
    }
    regex.push(')');
}
