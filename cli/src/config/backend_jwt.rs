//! `[jwtGeneratorConfig]` and `[identityHeaders]`: what backends are told of callers.

use std::path::PathBuf;
use std::time::Duration;

use microgw_compiler::settings::{self, Fact};
use microgw_extproc::backend_jwt::SigningAlgorithm;
use microgw_extproc::user_claims::ClaimRetrieval;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::key_manager;
use super::tls::{self, KeyEntry, SHIPPED, SigningKeyFile};
use super::values::Values;

/// A JWT of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendJwt {
    pub settings: settings::BackendJwt,
    pub algorithm: SigningAlgorithm,
    /// `None`: the key in `gateway.dataDir`.
    pub key: Option<SigningKeyFile>,
    /// Public keys that are published beside its own.
    pub published: Option<PathBuf>,
    /// JWTs that are kept.
    pub capacity: usize,
    /// `None`: nobody is asked about users.
    pub claim_retrieval: Option<ClaimRetrieval>,
}

const SECTION: &str = "jwtGeneratorConfig";
const HEADERS: &str = "identityHeaders";

/// The headers that say one thing each, by the names of their settings.
const FACTS: [(&str, Fact); 6] = [
    ("user", Fact::User),
    ("client", Fact::Client),
    ("application", Fact::Application),
    ("scopes", Fact::Scopes),
    ("keyId", Fact::KeyId),
    ("keyType", Fact::KeyType),
];

/// `header` is where it goes. `None`: backends are sent none, or a problem leaves nothing to go on with.
pub fn read(values: &Values, header: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<BackendJwt> {
    let at = |key| format!("{SECTION}.{key}");
    let wanted = wants_user_claims(values);
    if !values.bool(&at("jwtGeneratorEnabled")) {
        for path in wanted {
            tls::without_effect(values, &path, "`jwtGeneratorConfig.jwtGeneratorEnabled` is off", problems);
        }
        return None;
    }
    no_java(values, problems);
    let algorithm = algorithm(values, problems)?;
    let lifetime: u64 = values.number(&at("tokenExpiry"));
    let cached = values.bool(&at("jwtGeneratorCaching.tokenCacheEnable"));
    let reuse: u64 = if cached { values.number(&at("jwtGeneratorCaching.tokenCacheExpiryTime")) } else { 0 };
    let seconds = |milliseconds| u32::try_from(Duration::from_millis(milliseconds).as_secs()).unwrap_or(u32::MAX);
    let issuer = values.text(&at("issuer"));
    if issuer.is_empty() || issuer == values.text("apikey.tokenConfigs.issuer") {
        let message = format!("`{}` must not be empty, nor the issuer of API keys", at("issuer"));
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at("issuer")), message));
    }
    let dialect = values.text(&at("claimDialect")).trim_end_matches('/').to_owned();
    Some(BackendJwt {
        settings: settings::BackendJwt {
            header: header.to_owned(),
            issuer,
            audiences: values.list(&at("audience")),
            dialect,
            restricted: values.list(&at("restrictedClaims")),
            lifetime_seconds: seconds(lifetime),
            reuse_seconds: seconds(reuse),
        },
        algorithm,
        key: key(values, problems),
        published: values.path(&at("publishedKeysPath")),
        capacity: if cached { values.number(&at("jwtGeneratorCaching.tokenCacheCapacity")) } else { 0 },
        claim_retrieval: claim_retrieval(values, &wanted, problems),
    })
}

/// The settings that ask for what is known of users.
fn wants_user_claims(values: &Values) -> Vec<String> {
    let issuers = values.entries("jwtTokenConfig").into_iter().chain(["keyManager".to_owned()]);
    let paths = issuers.map(|section| format!("{section}.remoteUserClaimRetrievalEnabled"));
    paths.filter(|path| values.bool(path)).collect()
}

fn claim_retrieval(values: &Values, wanted: &[String], problems: &mut Vec<ConfigDiagnostic>) -> Option<ClaimRetrieval> {
    let at = |key| format!("{SECTION}.claimRetrieval.configuration.{key}");
    if wanted.is_empty() {
        return None;
    }
    let server = key_manager::safe_url(values, &at("serverUrl"), problems)?;
    Some(ClaimRetrieval {
        server_url: server.into(),
        user: values.text(&at("username")),
        password: values.text(&at("password")),
    })
}

fn algorithm(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<SigningAlgorithm> {
    let path = format!("{SECTION}.signingAlgorithm");
    match values.text(&path).as_str() {
        "SHA256withRSA" | "RS256" => Some(SigningAlgorithm::Rs256),
        "SHA256withECDSA" | "ES256" => Some(SigningAlgorithm::Es256),
        "NONE" => {
            let message = format!("`{path}` is `NONE`: whoever reaches a backend could say who calls");
            let help = "sign with `SHA256withRSA` or `SHA256withECDSA`; where the way to the backends is trusted, \
                        `[identityHeaders]` say the same without a JWT around it";
            problems.push(ConfigDiagnostic::error(Code::Insecure, &values.origin(&path), message).help(help));
            None
        }
        // It is none of these, which has been said.
        _ => None,
    }
}

/// Classes of the old product that somebody wrote: what they say cannot be known here.
fn no_java(values: &Values, problems: &mut Vec<ConfigDiagnostic>) {
    for (key, shipped, instead) in [
        (
            "generatorImpl",
            &["org.wso2.micro.gateway.jwt.generator.MGWJWTGeneratorImpl"][..],
            "`restrictedClaims` says which claims are left out, `[[jwtTokenConfig.claims]]` renames them, and \
             `claimRetrieval.configuration` names a server that knows more of users",
        ),
        (
            "claimRetrieval.retrieverImpl",
            &[
                "org.wso2.micro.gateway.jwt.generator.MGWClaimRetrieverImpl",
                "org.mgw.jwt.retriever.SampleClaimRetriever",
            ],
            "`claimRetrieval.configuration.serverUrl` names a server that is asked as the shipped class asks it: an adapter \
             that answers so can do what the class did",
        ),
    ] {
        let path = format!("{SECTION}.{key}");
        let class = values.text(&path);
        if !class.is_empty() && !shipped.contains(&class.as_str()) {
            let message = format!("`{path}` names a Java class, which is not run");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), message).help(instead));
        }
    }
}

/// Given as PEM, by an alias of a store of its own, or by one of the listener's.
fn key(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<SigningKeyFile> {
    let at = |key| format!("{SECTION}.{key}");
    let alias = tls::given_text(values, &at("privateKeyAlias"));
    if let Some(pem) = values.path(&at("privateKeyPath")) {
        tls::needless(values, &at("keyStorePath"), &at("privateKeyPath"), problems);
        tls::needless(values, &at("privateKeyAlias"), &at("privateKeyPath"), problems);
        return Some(SigningKeyFile::Pem(pem));
    }
    let instead = "a key of our own signs backend JWTs";
    let own = tls::store(values, &at("keyStorePath"), &at("keyStorePassword"), instead, problems);
    // What is wrong with the listener's has been said.
    let (path, password) = ("listenerConfig.keyStorePath", "listenerConfig.keyStorePassword");
    let store = own.or_else(|| {
        let wanted = alias.is_some() && !values.is_given(&at("keyStorePath"));
        wanted.then(|| tls::store(values, path, password, instead, &mut Vec::new())).flatten()
    });
    match (store, alias) {
        (Some(store), alias) => Some(SigningKeyFile::Store(KeyEntry { store, alias })),
        (None, Some(alias)) if alias == SHIPPED => {
            tls::without_effect(values, &at("privateKeyAlias"), instead, problems);
            None
        }
        (None, Some(_)) => {
            let path = at("privateKeyAlias");
            let message = format!("`{path}` names a key of a store, and there is none");
            let help = "name the store in `keyStorePath`, or a PEM file in `privateKeyPath`";
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&path), message).help(help));
            None
        }
        (None, None) => None,
    }
}

/// Headers that say who calls. `others` are the names that are taken.
pub fn identity_headers(
    values: &Values,
    others: &[String],
    problems: &mut Vec<ConfigDiagnostic>,
) -> Vec<settings::IdentityHeader> {
    let mut headers: Vec<settings::IdentityHeader> = Vec::new();
    for (key, fact) in FACTS {
        let path = format!("{HEADERS}.{key}");
        if values.text(&path).is_empty() {
            continue;
        }
        let Some(name) = super::resolve::header(values, &path, problems) else { continue };
        // To many backends `-` and `_` are one.
        let same = |other: &str| other.replace('_', "-") == name.replace('_', "-");
        let taken = others.iter().map(String::as_str).chain(headers.iter().map(|header| header.name.as_str()));
        if CARRIED.contains(&name.as_str()) || taken.into_iter().any(same) {
            let message = format!("`{path}` is `{name}`, which has another meaning already");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&path), message));
            continue;
        }
        headers.push(settings::IdentityHeader { fact, name });
    }
    headers
}

/// What clients need to send: it would be removed from their requests.
const CARRIED: [&str; 16] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "dpop",
    "if-match",
    "if-none-match",
    "origin",
    "range",
    "referer",
    "traceparent",
    "user-agent",
];

#[cfg(test)]
#[path = "backend_jwt_tests.rs"]
mod tests;
