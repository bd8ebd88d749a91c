//! HTTP Basic, RFC 7617.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::TokenError;

/// Bytes of the encoded credentials; longer ones are refused unread.
const MAX_LENGTH: usize = 4096;

/// Name and password, from what follows `Basic`. A password may have colons, a name cannot.
pub(crate) fn read(encoded: &str) -> Result<(Box<str>, Box<str>), TokenError> {
    if encoded.len() > MAX_LENGTH {
        return Err(TokenError::TooLong);
    }
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or(TokenError::Presentation)?;
    let (name, password) = decoded.split_once(':').ok_or(TokenError::Presentation)?;
    Ok((name.into(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_colon() {
        let read_as = |text: &str| read(&STANDARD.encode(text));
        assert_eq!(read_as("alice:se:cret"), Ok(("alice".into(), "se:cret".into())));
        assert_eq!(read_as(":"), Ok(("".into(), "".into())));
        assert_eq!(read_as("alice"), Err(TokenError::Presentation));
        assert_eq!(read("%%%"), Err(TokenError::Presentation));
        assert_eq!(read(&STANDARD.encode(b"\xff:x")), Err(TokenError::Presentation));
        assert_eq!(read(&"A".repeat(MAX_LENGTH + 4)), Err(TokenError::TooLong));
    }
}
