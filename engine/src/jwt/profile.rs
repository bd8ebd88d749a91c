//! RFC 9068: what access tokens of an issuer that keeps to it must say.

use super::{TokenError, short_type};
use crate::json::{Json, Object};

/// Section 4, beside what is asked of every token: the type is named (a token for another purpose is none), and the claims of
/// section 2.2 are there.
pub(super) fn check(header: &Object, claims: &Object) -> Result<(), TokenError> {
    let named = header.get("typ").and_then(Json::as_str).map(short_type);
    if !named.is_some_and(|name| name.eq_ignore_ascii_case("at+jwt")) {
        return Err(TokenError::Type);
    }
    for name in ["iss", "sub", "client_id", "jti"] {
        if claims.get(name).and_then(Json::as_str).is_none_or(str::is_empty) {
            return Err(TokenError::Claim(name));
        }
    }
    for name in ["exp", "iat"] {
        if !matches!(claims.get(name), Some(Json::Number(_))) {
            return Err(TokenError::Claim(name));
        }
    }
    match claims.get("aud") {
        Some(Json::String(audience)) if !audience.is_empty() => Ok(()),
        Some(Json::Array(audiences)) if !audiences.is_empty() => Ok(()),
        _ => Err(TokenError::Claim("aud")),
    }
}
