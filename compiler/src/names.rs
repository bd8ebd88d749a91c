//! Names that stand in requests: headers, query parameters, scopes.

use microgw_transforms::names::{MAX_NAME, is_token};
pub use microgw_transforms::names::{
    NameError, credential_header, header, is_credential_header, is_header, is_query_name, query_name,
};

/// A cookie's name, RFC 6265 section 4.1.1: a token. Case counts.
pub fn cookie_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    if name.bytes().all(is_token) { Ok(()) } else { Err(NameError::Character) }
}

pub fn is_cookie_name(name: &str) -> bool {
    cookie_name(name).is_ok()
}

/// RFC 6749 section 3.3.
pub fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}
