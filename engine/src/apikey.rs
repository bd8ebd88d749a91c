//! What an API key says. The host signs it, and takes the time and the random id.

use serde::{Deserialize, Serialize};

use crate::facts::UnixTime;
use crate::identity::ApiGrant;

/// `typ` of the keys that we make: no other token may pass for one, nor the reverse (RFC 8725 section 3.11).
pub const TYPE: &str = "apikey+jwt";

/// What every caller of the issuer is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Seconds. `None`: without end.
    pub validity: Option<u64>,
    /// Empty: every API.
    pub apis: Vec<ApiGrant>,
}

/// What a caller asks for instead. It can only be less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Seconds.
    #[serde(rename = "validityTime")]
    pub validity: Option<u64>,
    #[serde(rename = "allowedAPIs")]
    pub apis: Option<Vec<WishedApi>>,
}

/// One API, in one version or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WishedApi {
    name: Box<str>,
    version: Option<Box<str>>,
    versions: Option<Vec<Box<str>>>,
}

/// Why a wish is not granted. Told to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    #[error("validityTime must be between 1 and {0} seconds")]
    Validity(u64),
    #[error("validityTime must be at least 1 second")]
    NoValidity,
    #[error("allowedAPIs must not be empty")]
    NoApi,
    #[error("an entry of allowedAPIs needs either version or versions")]
    Version,
    #[error("the API is not among those that keys are issued for")]
    WiderApi,
}

/// The claims of a key, ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims<'a> {
    pub sub: &'a str,
    pub iss: &'a str,
    pub jti: &'a str,
    pub iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    pub keytype: &'static str,
    #[serde(rename = "allowedAPIs", skip_serializing_if = "<[_]>::is_empty")]
    pub allowed_apis: &'a [ApiGrant],
}

/// The claims of a production key for `subject`. `id` is unique and cannot be guessed.
pub fn claims<'a>(issuer: &'a str, subject: &'a str, id: &'a str, terms: &'a Terms, now: UnixTime) -> Claims<'a> {
    Claims {
        sub: subject,
        iss: issuer,
        jti: id,
        iat: now.0,
        exp: terms.validity.map(|seconds| now.0.saturating_add(seconds)),
        keytype: "PRODUCTION",
        allowed_apis: &terms.apis,
    }
}

impl Terms {
    /// These terms, narrowed as wished.
    pub fn narrow(&self, wish: Wish) -> Result<Terms, WishError> {
        let validity = match (wish.validity, self.validity) {
            (None, own) => own,
            (Some(0), None) => return Err(WishError::NoValidity),
            (Some(wished), Some(own)) if wished == 0 || wished > own => return Err(WishError::Validity(own)),
            (wished, _) => wished,
        };
        let apis = match wish.apis {
            None => self.apis.clone(),
            Some(wished) => self.narrow_apis(wished)?,
        };
        Ok(Terms { validity, apis })
    }

    fn narrow_apis(&self, wished: Vec<WishedApi>) -> Result<Vec<ApiGrant>, WishError> {
        let mut apis = Vec::new();
        for api in wished {
            let versions = match (api.version, api.versions) {
                (Some(version), None) => vec![version],
                (None, Some(versions)) if !versions.is_empty() => versions,
                _ => return Err(WishError::Version),
            };
            apis.extend(versions.into_iter().map(|version| ApiGrant { name: api.name.clone(), version }));
        }
        // An empty list would be no claim at all: a key for everything.
        if apis.is_empty() {
            return Err(WishError::NoApi);
        }
        let granted =
            |api: &ApiGrant| self.apis.is_empty() || self.apis.iter().any(|own| own.covers(&api.name, &api.version));
        if apis.iter().all(granted) { Ok(apis) } else { Err(WishError::WiderApi) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(validity: Option<u64>, apis: &[(&str, &str)]) -> Terms {
        let grant = |&(name, version): &(&str, &str)| ApiGrant { name: name.into(), version: version.into() };
        Terms { validity, apis: apis.iter().map(grant).collect() }
    }

    fn narrow(own: &Terms, wish: &str) -> Result<Terms, WishError> {
        own.narrow(serde_json::from_str(wish).unwrap())
    }

    #[test]
    fn validity_can_only_shrink() {
        let limited = terms(Some(100), &[]);
        assert_eq!(narrow(&limited, "{}"), Ok(limited.clone()));
        assert_eq!(narrow(&limited, r#"{"validityTime":99}"#), Ok(terms(Some(99), &[])));
        assert_eq!(narrow(&limited, r#"{"validityTime":101}"#), Err(WishError::Validity(100)));
        assert_eq!(narrow(&limited, r#"{"validityTime":0}"#), Err(WishError::Validity(100)));
        let unlimited = terms(None, &[]);
        assert_eq!(narrow(&unlimited, r#"{"validityTime":1}"#), Ok(terms(Some(1), &[])));
        assert_eq!(narrow(&unlimited, r#"{"validityTime":0}"#), Err(WishError::NoValidity));
        assert!(serde_json::from_str::<Wish>(r#"{"validityTime":-1}"#).is_err());
        assert!(serde_json::from_str::<Wish>(r#"{"validity":1}"#).is_err());
    }

    #[test]
    fn apis_can_only_be_narrowed() {
        let own = terms(None, &[("a", "*"), ("b", "1")]);
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[{"name":"a","version":"7"}]}"#), Ok(terms(None, &[("a", "7")])));
        assert_eq!(
            narrow(&own, r#"{"allowedAPIs":[{"name":"a","versions":["7","8"]},{"name":"b","version":"1"}]}"#),
            Ok(terms(None, &[("a", "7"), ("a", "8"), ("b", "1")]))
        );
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[{"name":"b","version":"*"}]}"#), Err(WishError::WiderApi));
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[{"name":"c","version":"1"}]}"#), Err(WishError::WiderApi));
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[]}"#), Err(WishError::NoApi));
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[{"name":"a","versions":[]}]}"#), Err(WishError::Version));
        assert_eq!(narrow(&own, r#"{"allowedAPIs":[{"name":"a"}]}"#), Err(WishError::Version));
        assert!(narrow(&terms(None, &[]), r#"{"allowedAPIs":[{"name":"x","version":"*"}]}"#).is_ok());
    }

    #[test]
    fn claims_are_those_of_the_old_product() {
        let terms = terms(Some(60), &[("pets", "1.0")]);
        let claims = claims("https://localhost:9095/apikey", "admin", "id", &terms, UnixTime(1000));
        assert_eq!(
            serde_json::to_value(&claims).unwrap(),
            serde_json::json!({
                "sub": "admin", "iss": "https://localhost:9095/apikey", "jti": "id", "iat": 1000, "exp": 1060,
                "keytype": "PRODUCTION", "allowedAPIs": [{"name": "pets", "version": "1.0"}]
            })
        );
    }

    #[test]
    fn a_key_without_end_has_no_exp_and_one_for_every_api_no_list() {
        let terms = terms(None, &[]);
        let claims = serde_json::to_value(claims("i", "s", "id", &terms, UnixTime(1))).unwrap();
        assert!(claims.get("exp").is_none() && claims.get("allowedAPIs").is_none());
    }
}
