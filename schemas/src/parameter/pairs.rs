//! `name=value&name=value`.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{ENCODING, Unreadable};
use crate::MAX_FIELDS;

/// One of a query, a form or a cookie.
#[derive(Clone, Debug)]
pub(crate) struct Pair<'a> {
    pub name: Cow<'a, str>,
    /// As it is written.
    pub value: &'a str,
}

pub(crate) type Pairs<'a> = SmallVec<[Pair<'a>; 12]>;

/// All of a query or a form. Whose a name is that cannot be decoded is for each backend to guess.
pub(crate) fn pairs(text: &str) -> Result<Pairs<'_>, Unreadable> {
    let mut pairs = Pairs::new();
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        if pairs.len() >= MAX_FIELDS {
            return Err(Unreadable("has too many names and values"));
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        pairs.push(Pair { name: decoded(name, true)?, value });
    }
    Ok(pairs)
}

/// Percent-decoded; `plus`: and `+` is a blank.
pub(crate) fn decoded(text: &str, plus: bool) -> Result<Cow<'_, str>, Unreadable> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' if plus => bytes.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or(ENCODING)?;
                let digit = |at: usize| digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let (high, low) = digit(0).zip(digit(1)).ok_or(ENCODING)?;
                bytes.push(u8::try_from(high * 16 + low).map_err(|_| ENCODING)?);
                rest = tail;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| ENCODING)
}
