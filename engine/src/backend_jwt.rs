//! What backends are told of the caller: a JWT of the gateway's own. What it says is decided here; the host signs it, and
//! keeps it for as long as it says the same.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use microgw_proto::rules::v1 as proto;
use prost::Message as _;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::facts::UnixTime;
use crate::identity::{Application, Identity};
use crate::json::{self, Object};
use crate::jwt::TokenError;
use crate::rules::{Api, LoadError};
use crate::subscription::Subscription;

/// Bytes of the claims that are passed on for one caller. Backends read heads of 8 KB, as a rule.
pub const MAX_PASSED_ON: usize = 8 * 1024;
/// One that is about to end is made anew this much earlier, for it must outlast the request.
const MARGIN_SECONDS: u64 = 30;

/// Claims that are never passed on: those that the gateway says itself, and those that mean something to whoever reads
/// the first token alone. A `cnf` would bind the gateway's JWT to the client's key.
const RESTRICTED: [&str; 15] = [
    "allowedAPIs",
    "application",
    "aud",
    "backendJwt",
    "cnf",
    "exp",
    "iat",
    "iss",
    "jti",
    "keytype",
    "nbf",
    "scopes",
    "sub",
    "subscribedAPIs",
    "tierInfo",
];
/// What follows the dialect in the names of the gateway's own claims.
const OWN: [&str; 15] = [
    "apicontext",
    "apiname",
    "applicationUUId",
    "applicationid",
    "applicationname",
    "applicationtier",
    "credential",
    "enduser",
    "enduserTenantDomain",
    "enduserTenantId",
    "keytype",
    "subscriber",
    "tier",
    "usertype",
    "version",
];
/// Of every caller, as in the old product.
const USER_TYPE: &str = "Application_User";

/// What the JWTs of one API say, whoever calls.
#[derive(PartialEq, Eq)]
pub struct Terms {
    header: Box<str>,
    dialect: Box<str>,
    /// Their first claims, which are the same for everybody. Ends with a comma.
    opening: Box<str>,
    lifetime_seconds: u64,
    reuse_seconds: u64,
    kept: Arc<Kept>,
    /// Hash of all of the above.
    id: u128,
}

/// Which claims of a token are kept to be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    restricted: BTreeSet<Box<str>>,
}

/// Claims of a user that the token does not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserClaims(Object);

/// A JWT to be signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// JSON.
    pub claims: String,
    /// Not to be used from then on.
    pub until: UnixTime,
}

/// A signed one.
#[derive(Clone, PartialEq, Eq)]
pub struct Assertion {
    text: Arc<str>,
    until: UnixTime,
}

/// One that is wanted.
#[derive(Clone)]
pub struct Order {
    pub terms: Arc<Terms>,
    pub identity: Arc<Identity>,
    /// Of the caller to the API, where that is known. Stores change while a credential lives.
    pub subscription: Option<Arc<Subscription>>,
}

/// What claim retrievers answer is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserClaimsError {
    #[error("it is no JSON object, repeats a member, or nests too deeply")]
    Json,
    #[error("it has no `list` of claims with `uri` and `value`")]
    List,
    #[error("the claims are longer than {MAX_PASSED_ON} bytes")]
    TooLong,
}

// === impl Kept ===

impl Kept {
    pub(crate) fn load(settings: &proto::BackendJwt) -> Kept {
        let own = OWN.iter().map(|name| claim(&settings.dialect, name).into());
        let configured = settings.restricted.iter().map(|name| name.as_str().into());
        Kept { restricted: RESTRICTED.into_iter().map(Box::from).chain(own).chain(configured).collect() }
    }

    /// The claims that are passed on, as JSON. Too many of them are refused with their token: without some of them it might
    /// say more than with all.
    pub(crate) fn text(&self, claims: &Object) -> Result<Box<str>, TokenError> {
        let passed: Vec<_> = claims.iter().filter(|(name, _)| !self.restricted.contains(name.as_str())).collect();
        let text = write(passed.iter().copied()).ok_or(TokenError::Json)?;
        if text.len() > MAX_PASSED_ON { Err(TokenError::TooManyClaims) } else { Ok(text.into()) }
    }
}

// === impl Terms ===

impl Terms {
    pub(crate) fn load(settings: &proto::BackendJwt, kept: &Arc<Kept>, api: &Api) -> Result<Terms, LoadError> {
        let mut hash = Sha256::new();
        hash.update(settings.encode_length_delimited_to_vec());
        for text in [&api.name, &api.version, &api.base_path] {
            hash.update(text.len().to_be_bytes());
            hash.update(text.as_bytes());
        }
        let id = hash.finalize().first_chunk().map_or(0, |first| u128::from_be_bytes(*first));
        let mut opening = Claims::default();
        opening.put("iss", &settings.issuer);
        match settings.audiences.as_slice() {
            [] => {}
            // RFC 7519 section 4.1.3: what more libraries read.
            [audience] => opening.put("aud", audience),
            audiences => opening.put("aud", audiences),
        }
        for (name, value) in [("apiname", &api.name), ("version", &api.version), ("apicontext", &api.base_path)] {
            opening.put_own(&settings.dialect, name, value);
        }
        Ok(Terms {
            header: crate::policy::header_name(&settings.header)?.into(),
            dialect: settings.dialect.as_str().into(),
            opening: opening.0.into(),
            lifetime_seconds: settings.lifetime_seconds.into(),
            reuse_seconds: settings.reuse_seconds.into(),
            kept: Arc::clone(kept),
            id,
        })
    }

    /// The header that carries the JWT, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Equal for equal terms, of whatever generation.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// A JWT that says who calls, and what `more` is known of them. `id` is unique and cannot be guessed. It ends no
    /// later than the credential does.
    pub fn draft(
        &self,
        identity: &Identity,
        subscription: Option<&Subscription>,
        more: Option<&UserClaims>,
        id: &str,
        now: UnixTime,
    ) -> Draft {
        let own_end = now.0.saturating_add(self.lifetime_seconds);
        let end = identity.expires.map_or(own_end, |expires| expires.0.min(own_end));
        let mut claims = Claims("{".to_owned());
        claims.0.push_str(&self.opening);
        claims.put("jti", id);
        claims.put("iat", &now.0);
        claims.put("exp", &end);
        let scopes = identity.scope_text();
        if !scopes.is_empty() {
            claims.put("scopes", &*scopes);
        }
        if let Some(subject) = identity.subject() {
            claims.put("sub", subject);
            claims.put_own(&self.dialect, "enduser", subject);
        }
        if let Some(tier) = subscription.and_then(|subscription| subscription.tier.as_ref()) {
            claims.put_own(&self.dialect, "tier", tier);
        }
        // A store knows the application of today.
        let application = subscription.map(|subscription| &subscription.application);
        if let Some(application) =
            application.filter(|known| **known != Application::default()).or(identity.application())
        {
            let known = [
                ("applicationid", &application.id),
                ("applicationUUId", &application.uuid),
                ("applicationname", &application.name),
                ("applicationtier", &application.tier),
                ("subscriber", &application.owner),
            ];
            for (name, value) in known {
                if let Some(value) = value {
                    claims.put_own(&self.dialect, name, value);
                }
            }
        }
        claims.put_own(&self.dialect, "keytype", identity.key_type().as_str());
        claims.put_own(&self.dialect, "usertype", USER_TYPE);
        // A user with a password and the subject of a token may have one name.
        claims.put_own(&self.dialect, "credential", identity.kind.as_str());
        self.pass_on(&mut claims, identity, more);
        claims.0.pop();
        claims.0.push('}');
        // With its credential it ends anyway.
        let margin = if end < own_end { 0 } else { MARGIN_SECONDS.min(self.lifetime_seconds / 4) };
        let until = (end - margin.min(end)).min(now.0.saturating_add(self.reuse_seconds));
        Draft { claims: claims.0, until: UnixTime(until) }
    }

    /// The token's own claims, and then what the token does not say.
    fn pass_on(&self, claims: &mut Claims, identity: &Identity, more: Option<&UserClaims>) {
        let passed = identity.passed_on();
        if let Some(inside) =
            passed.and_then(|text| text.strip_prefix('{')?.strip_suffix('}')).filter(|text| !text.is_empty())
        {
            claims.0.push_str(inside);
            claims.0.push(',');
        }
        let Some(UserClaims(more)) = more else { return };
        let said = passed.and_then(|text| json::object(text.as_bytes()).ok()).unwrap_or_default();
        for (name, value) in more {
            if !said.contains_key(name) && !self.kept.restricted.contains(name.as_str()) {
                claims.put(name, value);
            }
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("header", &self.header).field("id", &self.id).finish_non_exhaustive()
    }
}

// === impl UserClaims ===

impl UserClaims {
    /// Reads `{"list": [{"uri": .., "value": ..}]}`, as API Manager's key manager answers.
    pub fn read(answer: &[u8]) -> Result<UserClaims, UserClaimsError> {
        let answer = json::object(answer).map_err(|_| UserClaimsError::Json)?;
        let list = answer.get("list").and_then(json::Json::as_array).ok_or(UserClaimsError::List)?;
        let mut claims = Object::new();
        for claim in list {
            let member = |name| claim.as_object()?.get(name);
            let name = member("uri").and_then(json::Json::as_str).ok_or(UserClaimsError::List)?;
            let value = member("value").ok_or(UserClaimsError::List)?;
            // One name with two values is no fact.
            if claims.insert(name.to_owned(), value.clone()).is_some() {
                return Err(UserClaimsError::List);
            }
        }
        let claims = UserClaims(claims);
        if claims.weight() > MAX_PASSED_ON { Err(UserClaimsError::TooLong) } else { Ok(claims) }
    }

    /// Bytes that a cache should count for them.
    pub fn weight(&self) -> usize {
        write(&self.0).map_or(0, |text| text.len())
    }
}

// === impl Assertion ===

impl Assertion {
    pub fn new(text: impl Into<Arc<str>>, until: UnixTime) -> Assertion {
        Assertion { text: text.into(), until }
    }

    /// In compact form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may still be used.
    pub fn is_good(&self, now: UnixTime) -> bool {
        now < self.until
    }
}

/// Whoever has it can pass for the gateway until it ends.
impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("until", &self.until).finish_non_exhaustive()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("until", &self.until).finish_non_exhaustive()
    }
}

// === impl Order ===

/// The very identity: another of the same name may say something else.
impl PartialEq for Order {
    fn eq(&self, other: &Order) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
            && self.terms.id == other.terms.id
            // Of one text, mostly of one place: a store that was read anew says the same of most.
            && match (&self.subscription, &other.subscription) {
                (Some(own), Some(other)) => Arc::ptr_eq(own, other) || own == other,
                (own, other) => own.is_none() && other.is_none(),
            }
    }
}

impl Eq for Order {}

impl std::hash::Hash for Order {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.identity).hash(state);
        self.terms.id.hash(state);
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Members of a JSON object, each with a comma behind it.
#[derive(Default)]
struct Claims(String);

// === impl Claims ===

impl Claims {
    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // What the engine has read, it can write: text and numbers.
        if let (Ok(name), Ok(value)) = (serde_json::to_string(name), serde_json::to_string(value)) {
            self.0.extend([&name, ":", &value, ","]);
        }
    }

    fn put_own(&mut self, dialect: &str, name: &str, value: &str) {
        self.put(&claim(dialect, name), value);
    }
}

fn claim(dialect: &str, name: &str) -> String {
    format!("{dialect}/{name}")
}

fn write<'a>(members: impl IntoIterator<Item = (&'a String, &'a json::Json)>) -> Option<String> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    serde::Serializer::collect_map(&mut serializer, members).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
