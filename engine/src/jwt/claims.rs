//! The claims of a token, checked against what its issuer is configured to say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TokenError;
use crate::facts::UnixTime;
use crate::identity::{ApiGrant, Application, ClaimKind, ClaimText, ClaimValue, Confirmation, Identity, KeyType};
use crate::json::{Json, Object};
use crate::realm::{CredentialKind, Issuer};
use crate::subscription::Membership;

/// Whom the token stands for, if its signature holds.
pub(super) fn read(claims: &Object, kind: CredentialKind, issuer: &Issuer) -> Result<Identity, TokenError> {
    let audiences = audiences(claims)?;
    check_audiences(&audiences, &issuer.audiences)?;
    let expires = date(claims, "exp", f64::floor)?;
    if expires.is_none() && !issuer.allow_unlimited {
        return Err(TokenError::Claim("exp"));
    }
    // Nothing follows from `iat` (RFC 7519 section 4.1.6): a clock that runs ahead of ours is no attack. It must be a date.
    date(claims, "iat", f64::floor)?;
    let not_before = date(claims, "nbf", f64::ceil)?.unwrap_or_default();

    // Access tokens have scopes, keys have APIs.
    let (scopes, allowed_apis) = match kind {
        CredentialKind::ApiKey => (Box::default(), allowed_apis(claims)?),
        _ => (scopes(claims)?, None),
    };
    let confirmation = confirmation(claims)?;
    if issuer.require_dpop && confirmation.key.is_none() {
        return Err(TokenError::Claim("cnf"));
    }
    if issuer.require_allowed_apis && allowed_apis.is_none() {
        return Err(TokenError::Claim("allowedAPIs"));
    }
    Ok(Identity {
        not_before: UnixTime(not_before.0.saturating_sub(issuer.skew_seconds)),
        expires: expires.map(|expires| UnixTime(expires.0.saturating_add(issuer.skew_seconds))),
        subject: text(claims, "sub")?.map(Box::from),
        client: client(claims, &audiences, &issuer.client_claim)?,
        id: id(claims)?,
        key_type: key_type(claims)?,
        scopes,
        allowed_apis,
        confirmation,
        application: application(claims),
        claims: limiting(claims, &issuer.limiting),
        passed_on: issuer.kept.as_ref().map(|kept| kept.text(claims)).transpose()?,
        user_claims: issuer.user_claims,
        membership: membership(claims, issuer)?,
        ..Identity::new(kind)
    })
}

/// Whether one of `wanted` is among `audiences`; with none wanted all will do.
pub(crate) fn check_audiences(audiences: &[&str], wanted: &[Box<str>]) -> Result<(), TokenError> {
    let meant = wanted.is_empty() || wanted.iter().any(|wanted| audiences.contains(&&**wanted));
    if meant { Ok(()) } else { Err(TokenError::Audience) }
}

pub(crate) fn text<'a>(claims: &'a Object, name: &'static str) -> Result<Option<&'a str>, TokenError> {
    claims.get(name).map(|value| value.as_str().ok_or(TokenError::Claim(name))).transpose()
}

/// A NumericDate, RFC 7519 section 2, brought to whole seconds in the direction that lets less through.
pub(crate) fn date(claims: &Object, name: &'static str, round: fn(f64) -> f64) -> Result<Option<UnixTime>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        // A cast from a float saturates: what lies before 1970 is 0, what lies beyond the end of time is the end of time.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Json::Number(seconds)) => Ok(Some(UnixTime(round(*seconds) as u64))),
        Some(Json::Large(seconds)) => Ok(Some(UnixTime(u64::try_from(*seconds).unwrap_or_default()))),
        Some(_) => Err(TokenError::Claim(name)),
    }
}

/// One string or an array of them, RFC 7519 section 4.1.3.
pub(crate) fn audiences(claims: &Object) -> Result<Vec<&str>, TokenError> {
    strings(claims, "aud", |text| vec![text])
}

/// Separated by spaces (RFC 8693 section 4.2), or the array that some issuers make of them; `scp` where there is no `scope`.
pub(crate) fn scopes(claims: &Object) -> Result<Box<[Box<str>]>, TokenError> {
    let name = if claims.contains_key("scope") { "scope" } else { "scp" };
    let scopes = strings(claims, name, |text| text.split(' ').filter(|scope| !scope.is_empty()).collect())?;
    Ok(scopes.into_iter().map(Box::from).collect())
}

fn strings<'a>(
    claims: &'a Object,
    name: &'static str,
    split: fn(&'a str) -> Vec<&'a str>,
) -> Result<Vec<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(split(text)),
        Some(Json::Array(items)) => items.iter().map(|item| item.as_str().ok_or(TokenError::Claim(name))).collect(),
        Some(_) => Err(TokenError::Claim(name)),
    }
}

/// From the claim that is configured, or else from the usual ones, the first that there is.
fn client(claims: &Object, audiences: &[&str], configured: &str) -> Result<Option<Box<str>>, TokenError> {
    let audience = || if let [audience] = audiences { Some(*audience) } else { None };
    if configured.is_empty() {
        let named = ["consumerKey", "azp", "client_id"].iter().find_map(|name| claims.get(*name)?.as_str());
        return Ok(named.or_else(audience).map(Box::from));
    }
    Ok(match claims.get(configured) {
        None => None,
        Some(Json::String(client)) => Some(client.as_str().into()),
        // Of several audiences none is the client more than another.
        Some(Json::Array(_)) if configured == "aud" => audience().map(Box::from),
        Some(_) => return Err(TokenError::Claim("consumerKeyClaim")),
    })
}

/// Of an access token it is kept no longer than it takes to name it (`Exchange::named`).
/// One that is no text would be a token that nobody can revoke by it.
pub(crate) fn id(claims: &Object) -> Result<Option<Box<str>>, TokenError> {
    Ok(text(claims, "jti")?.map(Box::from))
}

pub(crate) fn key_type(claims: &Object) -> Result<KeyType, TokenError> {
    match text(claims, "keytype")? {
        None | Some("PRODUCTION") => Ok(KeyType::Production),
        Some("SANDBOX") => Ok(KeyType::Sandbox),
        Some(_) => Err(TokenError::Claim("keytype")),
    }
}

/// What the credential is bound to. One that is bound, and to nothing that is known here, is not accepted as if it were free.
pub(crate) fn confirmation(claims: &Object) -> Result<Confirmation, TokenError> {
    const ERROR: TokenError = TokenError::Claim("cnf");
    let Some(bound) = claims.get("cnf") else { return Ok(Confirmation::default()) };
    let bound = bound.as_object().ok_or(ERROR)?;
    let hash = |name| {
        let decode = |text: &Json| URL_SAFE_NO_PAD.decode(text.as_str()?).ok()?.try_into().ok();
        bound.get(name).map(|text| decode(text).ok_or(ERROR)).transpose()
    };
    let confirmation = Confirmation { certificate: hash("x5t#S256")?, key: hash("jkt")? };
    if confirmation == Confirmation::default() { Err(ERROR) } else { Ok(confirmation) }
}

/// Those of `names` that are texts, numbers or truth values, or lists of them. What else they are is no matter of limits.
pub(crate) fn limiting(claims: &Object, names: &[Box<str>]) -> Box<[(Box<str>, ClaimValue)]> {
    let value = |name: &str| match claims.get(name)? {
        Json::Array(items) => Some(ClaimValue::Several(items.iter().filter_map(claim_text).collect())),
        item => claim_text(item).map(ClaimValue::One),
    };
    names.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

fn claim_text(item: &Json) -> Option<ClaimText> {
    #[allow(clippy::cast_possible_truncation)] // Whole, and less than 2^53.
    let kind = match item {
        Json::String(_) => ClaimKind::Text,
        Json::Bool(value) => ClaimKind::Boolean(*value),
        Json::Number(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            ClaimKind::Integer(*number as i64)
        }
        Json::Number(number) => ClaimKind::Number(*number),
        Json::Large(number) => i64::try_from(*number).map_or(ClaimKind::Text, ClaimKind::Integer),
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    };
    let text = match item {
        Json::String(text) => text.as_str().into(),
        other => serde_json::to_string(other).ok()?.into(),
    };
    Some(ClaimText { text, kind })
}

/// What the token says of subscriptions, where that is looked at.
fn membership(claims: &Object, issuer: &Issuer) -> Result<Membership, TokenError> {
    if !issuer.subscriptions {
        return Ok(Membership::default());
    }
    let membership = Membership::read(claims, application(claims).as_deref(), issuer.validate_subscription);
    // Where it only says how much is allowed, what cannot be read says nothing.
    if issuer.strict_subscriptions { membership } else { Ok(membership.unwrap_or_default()) }
}

/// `application` of API Manager's tokens. Names it, and opens nothing: what cannot be read is left out.
pub(crate) fn application(claims: &Object) -> Option<Box<Application>> {
    let members = claims.get("application")?.as_object()?;
    let text = |name| members.get(name).and_then(named);
    let application = Application {
        id: text("id"),
        uuid: text("uuid"),
        name: text("name"),
        tier: text("tier"),
        owner: text("owner"),
    };
    (application != Application::default()).then(|| Box::new(application))
}

/// What a text or a number names.
pub(crate) fn named(value: &Json) -> Option<Box<str>> {
    match value {
        Json::String(text) if !text.is_empty() => Some(text.as_str().into()),
        number @ (Json::Number(_) | Json::Large(_)) => serde_json::to_string(number).ok().map(Box::from),
        _ => None,
    }
}

/// `allowedAPIs`, or `subscribedAPIs` of API Manager's keys. An empty list allows nothing.
fn allowed_apis(claims: &Object) -> Result<Option<Box<[ApiGrant]>>, TokenError> {
    const NAME: &str = "allowedAPIs";
    let Some(list) = claims.get(NAME).or_else(|| claims.get("subscribedAPIs")) else { return Ok(None) };
    let grant = |api: &Json| {
        let member = |name| api.as_object()?.get(name)?.as_str();
        Some(ApiGrant { name: member("name")?.into(), version: member("version")?.into() })
    };
    let grants = list.as_array().and_then(|list| list.iter().map(grant).collect::<Option<Box<[_]>>>());
    grants.map(Some).ok_or(TokenError::Claim(NAME))
}
