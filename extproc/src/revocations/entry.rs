//! One revocation as it is written, in a line of a file or an entry of a stream.

use std::fmt;

use microgw_engine::{RevocationName, Revoked};
use serde_json::Value;

/// Seconds above this are milliseconds: it is the year 5138.
const LATEST: u64 = 100_000_000_000;
/// Bytes of what is revoked by its text.
const MAX_TEXT: usize = 4096;

/// What was revoked, and when that ceases to matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: RevocationName,
    /// Seconds since 1970, of the credential itself; [`Entry::NEVER`] of what has none. `None`: it was not said.
    pub end: Option<u64>,
}

/// Why an entry cannot be read. Nothing of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("it is no object with text and numbers")]
    Form,
    #[error(
        "it must have exactly one of `jti`, `token_sha256`, `jwt_signature`, `key_id`, `user` and `certificate_sha256`"
    )]
    Kind,
    #[error("a hash is not 64 hexadecimal digits")]
    Hash,
    #[error("a text is empty or longer than {MAX_TEXT} bytes")]
    Text,
    #[error("`exp` is no number of seconds since 1970")]
    End,
}

impl Entry {
    /// A key, a user or a certificate that was revoked must not come back because nobody said when it ends.
    pub const NEVER: u64 = u64::MAX;

    /// From the names and values that both forms have.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Entry, EntryError> {
        let (mut name, mut end, mut lasts) = (None, None, false);
        for (field, value) in fields {
            let revoked = match field {
                // What a gateway remembers of one: only this is left to tell others.
                "name" => {
                    let bits = u128::from_str_radix(value, 16).map_err(|_| EntryError::Hash)?;
                    lasts = true;
                    if name.replace(RevocationName::from_bits(bits)).is_some() {
                        return Err(EntryError::Kind);
                    }
                    continue;
                }
                "jti" => Revoked::TokenId(text(value)?),
                "token_sha256" => Revoked::Token(digest(value)?),
                // As API Manager lists them, too.
                "jwt_signature" | "jwtSignature" => Revoked::Signature(text(value)?),
                "key_id" => Revoked::KeyId(text(value)?),
                "user" => Revoked::User(text(value)?),
                "certificate_sha256" => Revoked::Certificate(digest(value)?),
                "exp" | "expiry_time" | "expiryTime" => {
                    let number: u64 = value.parse().map_err(|_| EntryError::End)?;
                    end = Some(if number > LATEST { number / 1000 } else { number });
                    continue;
                }
                // What others add for themselves.
                _ => continue,
            };
            lasts |= matches!(revoked, Revoked::KeyId(_) | Revoked::User(_) | Revoked::Certificate(_));
            if name.replace(revoked.name()).is_some() {
                return Err(EntryError::Kind);
            }
        }
        Ok(Entry { name: name.ok_or(EntryError::Kind)?, end: end.or(lasts.then_some(Entry::NEVER)) })
    }

    pub fn from_json(value: &Value) -> Result<Entry, EntryError> {
        let members = value.as_object().ok_or(EntryError::Form)?;
        let numbers: Vec<String> = members.values().map(Value::to_string).collect();
        let fields = members.iter().zip(&numbers).map(|((name, value), number)| match value {
            Value::String(text) => Ok((name.as_str(), text.as_str())),
            Value::Number(_) => Ok((name.as_str(), number.as_str())),
            _ => Err(EntryError::Form),
        });
        Entry::read(fields.collect::<Result<Vec<_>, _>>()?)
    }
}

fn text(value: &str) -> Result<&str, EntryError> {
    if value.is_empty() || value.len() > MAX_TEXT { Err(EntryError::Text) } else { Ok(value) }
}

fn digest(hex: &str) -> Result<[u8; 32], EntryError> {
    let bytes = hex.as_bytes();
    let mut digest = [0; 32];
    if bytes.len() != 64 {
        return Err(EntryError::Hash);
    }
    for (byte, digits) in digest.iter_mut().zip(bytes.as_chunks::<2>().0) {
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let [high, low] = digits.map(value);
        *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or(EntryError::Hash)?;
    }
    Ok(digest)
}

/// 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub struct Hex(pub [u8; 32]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
