//! Whom decisions may ask, as configured.

use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_compiler::url;
use microgw_engine::{KeySet, KeySource};
use microgw_extproc::introspection::Introspector;
use microgw_extproc::keys::{IssuerKeys, KeyLocation, KeyStore, KeyTiming};
use microgw_extproc::login::Login;
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::opaque_keys::OpaqueKeys;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::transport::{ForwardProxy, Transport};
use microgw_extproc::users::{UserConfig, Users};
use tracing::Level;

use crate::config::{self, Config, ServicesProxy};
use crate::{keys, logging, output};
use micro_gw::certificates::Certificates;
use microgw_extproc::redis::Redis;

/// Per minute and address, of logins to operations, to `/apikey` and to the admin interface together.
const FAILED_LOGINS: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Starts, on the current runtime, to find out what needs no request to be asked. `key` signs API keys.
pub fn start(
    config: &Config,
    certificates: &Certificates,
    key: &SigningKey,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Lookups> {
    let mut issuers: Vec<_> = config.issuers.iter().map(|issuer| issuer_keys(issuer, certificates)).collect();
    issuers.push(IssuerKeys { source: KeySource::ApiKeys, location: None, pinned: api_keys(key, certificates) });
    let transport = transport(config.services_proxy.as_ref(), certificates);
    let keys = KeyStore::start(issuers, KeyTiming::default(), &transport, metrics).context("cannot fetch keys")?;
    let introspector = config.introspection.as_ref().map(|introspection| {
        Introspector::new(introspection.service.clone(), &transport, metrics).context("cannot ask the key manager")
    });
    let login = Login::new(Arc::new(users(config)?), FAILED_LOGINS, Arc::clone(metrics));
    Ok(Lookups { login: Some(Arc::new(login)), introspector: introspector.transpose()?, ..Lookups::new(keys) })
}

/// Opaque API keys, kept up to date from now on. `None`: there is no store.
pub fn opaque_keys(config: &Config, redis: Option<&Arc<Redis>>) -> anyhow::Result<Option<Arc<OpaqueKeys>>> {
    let Some(store) = keys::store(config, || Ok(redis.cloned()))? else { return Ok(None) };
    let keys = OpaqueKeys::new(config.key_store_stale_after);
    store.follow(&keys).context("cannot use the API keys (apikey.store)")?;
    Ok(Some(keys))
}

fn issuer_keys(issuer: &config::Issuer, certificates: &Certificates) -> IssuerKeys {
    let source = KeySource::Issuer(issuer.settings.issuer.as_str().into());
    let location = match &issuer.keys {
        config::KeySource::JwksUrl(url) => Some(KeyLocation::Url(url.clone())),
        config::KeySource::Discovered(discovery) => Some(KeyLocation::Discovered(discovery.clone())),
        config::KeySource::JwksFile(path) => Some(KeyLocation::File(path.clone())),
        config::KeySource::Certificate(_) | config::KeySource::Alias(_) => None,
    };
    IssuerKeys { pinned: certificates.signer(&source), location, source }
}

/// Our own, and those that were made elsewhere.
pub fn api_keys(own: &SigningKey, certificates: &Certificates) -> KeySet {
    KeySet::join([own.key_set(), certificates.signer(&KeySource::ApiKeys)])
}

pub fn transport(proxy: Option<&ServicesProxy>, certificates: &Certificates) -> Transport {
    let trust = certificates.services().map(|trust| trust.iter().map(|der| der.to_vec()).collect());
    let proxy = proxy.map(|ServicesProxy { proxy, user, password }| {
        let credentials = user.clone().map(|user| (user, password.expose().to_owned()));
        ForwardProxy { url: format!("http://{}:{}", url::bracketed(&proxy.host), proxy.port), credentials }
    });
    Transport { trust, proxy }
}

/// The configured users, as those who verify passwords know them.
fn users(config: &Config) -> anyhow::Result<Users> {
    let users = config.users(generated_password);
    if let Some(password) = &users.generated {
        let text = format!(
            "no user is configured and others than this machine can connect: log in as `admin` with the password\n\n    \
             {}\n\nIt is shown this once and is another on the next start: configure [b7a.users] instead.",
            password.expose()
        );
        logging::say(Level::WARN, &text);
    }
    let configured = users.users.into_iter().map(|user| UserConfig {
        name: user.name,
        password: user.password.expose().to_owned(),
        scopes: user.scopes,
    });
    Users::new(configured).context("cannot use the configured users")
}

/// 128 bits, readable.
fn generated_password() -> String {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // Never in practice. An empty hash input would be a known password: end instead.
        output::note("error: there is no randomness");
        std::process::exit(1);
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
