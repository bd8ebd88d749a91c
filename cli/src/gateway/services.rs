//! The parts that answer Envoy and people: decisions, API keys, the admin interface.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_compiler::snapshot::{Generation, Snapshot};
use microgw_engine::apikey::Terms;
use microgw_engine::{ApiGrant, KeySet, KeySource};
use microgw_envoy::SocketPaths;
use microgw_extproc::admin::{self, Admin};
use microgw_extproc::apikey::{self, ApiKeyIssuer};
use microgw_extproc::authz::{AuthzServer, Decider, Description};
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{ForwardProxy, IssuerKeys, KeyLocation, KeyStore, KeyTiming, Transport};
use microgw_extproc::login::Login;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::remote::RemoteListener;
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::socket::PrivateListener;
use microgw_extproc::users::{UserConfig, Users};
use microgw_proto::rules::v1::RuleBook;
use microgw_xds::RuleSink;
use tracing::Level;

use super::observer::Observer;
use crate::config::{self, Config, ServicesProxy};
use crate::{logging, output};
use micro_gw::certificates::{self, Certificates};

/// Per minute and address, at `/apikey` and the admin interface.
const FAILED_LOGINS: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Rules of a generation are kept for this long after Envoys have moved on.
const BRIDGE: Duration = Duration::from_secs(60);

pub struct Services {
    rules: Arc<RuleStore>,
    metrics: Arc<Metrics>,
    login: Arc<Login>,
    admin: Option<SocketAddr>,
    decider: Arc<Decider>,
    /// Signs API keys.
    key: Arc<SigningKey>,
    proxy: Option<ServicesProxy>,
    authz: Option<AuthzServer>,
    issuer: Router,
}

/// The rule store as the publisher sees it.
struct Rules(Arc<RuleStore>);

// === impl Services ===

impl Services {
    /// Starts, on the current runtime, what needs no rules; decisions come with [`Self::serve_decisions`], the admin
    /// interface with [`Self::serve_admin`].
    pub fn start(config: &Config, certificates: &Certificates, paths: &SocketPaths) -> anyhow::Result<Services> {
        let metrics = Metrics::new();
        let rules = Arc::new(RuleStore::default());
        let login = Arc::new(Login::new(Arc::new(users(config)?), FAILED_LOGINS, metrics.clone()));
        let data = &config.gateway.data_dir;
        let key = Arc::new(certificates::signing_key(config.api_key_file.as_ref(), data)?);
        let mut issuers: Vec<_> = config.issuers.iter().map(|issuer| issuer_keys(issuer, certificates)).collect();
        let pinned = api_keys(&key, certificates);
        issuers.push(IssuerKeys { source: KeySource::ApiKeys, location: None, pinned });
        let keys = KeyStore::start(
            issuers,
            KeyTiming::default(),
            &transport(config.services_proxy.as_ref(), certificates),
            &metrics,
        )
        .context("cannot fetch keys")?;
        let (entries, lifetime) =
            config.token_cache.map_or((0, Duration::ZERO), |cache| (cache.capacity, cache.expiry));
        let facts = FactCache::new(entries, lifetime);
        let mut decider = Decider::new(rules.clone(), facts, keys, metrics.clone(), Decider::DEADLINE);
        decider.description = match &config.access_log {
            Some(log) if log.caller => Description::Caller,
            None if config.tracing.is_none() => Description::Nothing,
            Some(_) | None => Description::Outcome,
        };
        decider.traced = config.tracing.is_some();
        let issuer = config.api_key_issuer.as_ref().map(|issuer| {
            Arc::new(ApiKeyIssuer {
                issuer: issuer.issuer.clone(),
                terms: terms(issuer),
                key: key.clone(),
                login: login.clone(),
                metrics: metrics.clone(),
                trusted_hops: config.gateway.trusted_hops,
            })
        });
        let issuer = apikey::router(issuer, rules.clone());
        spawn(axum::serve(private(&paths.issuer)?, issuer.clone()).into_future(), "API-key issuer");
        let proxy = config.services_proxy.clone();
        Ok(Services { rules, metrics, login, admin: None, decider: Arc::new(decider), key, proxy, authz: None, issuer })
    }

    /// Answers Envoy. An Envoy that outlived the last gateway asks at once: what it may ask about must be armed.
    pub fn serve_decisions(&mut self, paths: &SocketPaths) -> anyhow::Result<()> {
        self.authz = Some(AuthzServer::start(private(&paths.authz)?, &self.decider, workers())?);
        Ok(())
    }

    /// Answers Envoys on other hosts, too.
    pub fn serve_remote_decisions(&self, listener: RemoteListener) -> anyhow::Result<AuthzServer> {
        Ok(AuthzServer::start_remote(listener, &self.decider, workers())?)
    }

    /// The API-key issuer.
    pub fn issuer(&self) -> Router {
        self.issuer.clone()
    }

    /// Trusts what `certificates` say from now on.
    pub fn trust(&self, certificates: &Certificates) {
        if let Err(error) = self.decider.keys.reach_over(&transport(self.proxy.as_ref(), certificates)) {
            tracing::error!(%error, "what is trusted stays as it was");
        }
    }

    /// Tokens of `source` are verified by what `certificates` have from now on.
    pub fn replace_keys(&self, source: &KeySource, certificates: &Certificates) {
        let keys = match source {
            KeySource::ApiKeys => api_keys(&self.key, certificates),
            KeySource::Issuer(_) => certificates.signer(source),
        };
        self.decider.keys.replace(source, keys);
    }

    pub fn rules(&self) -> Arc<dyn RuleSink> {
        Arc::new(Rules(self.rules.clone()))
    }

    /// Arms the rules that an Envoy that outlived the gateway still refers to, until it has had time to move on.
    pub fn bridge(&self, mut book: RuleBook) {
        // Under a name of its own: if this generation comes to be published again, ending the bridge must not disarm it.
        book.generation.insert_str(0, "before the restart: ");
        if let Err(error) = self.rules.load(&book) {
            tracing::warn!(%error, "cannot use the rules that were live last");
            return;
        }
        let (rules, generation) = (self.rules.clone(), book.generation);
        tokio::spawn(async move {
            tokio::time::sleep(BRIDGE).await;
            rules.retire(&generation);
        });
    }

    pub async fn serve_admin(&mut self, config: &Config, observer: Observer) -> anyhow::Result<()> {
        let address = config.admin;
        let login = (!address.ip().is_loopback()).then(|| self.login.clone());
        let router: Router = admin::router(Admin { status: Arc::new(observer), metrics: self.metrics.clone(), login });
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on `{address}` (adminConfig.address)"))?;
        self.admin = Some(listener.local_addr()?);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        spawn(axum::serve(listener, service).into_future(), "admin interface");
        Ok(())
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }
}

/// Threads that decide.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

fn issuer_keys(issuer: &config::Issuer, certificates: &Certificates) -> IssuerKeys {
    let source = KeySource::Issuer(issuer.settings.issuer.as_str().into());
    let location = match &issuer.keys {
        config::KeySource::JwksUrl(url) => Some(KeyLocation::Url(url.clone())),
        config::KeySource::JwksFile(path) => Some(KeyLocation::File(path.clone())),
        config::KeySource::Certificate(_) | config::KeySource::Alias(_) => None,
    };
    IssuerKeys { pinned: certificates.signer(&source), location, source }
}

/// Our own, and those that were made elsewhere.
fn api_keys(own: &SigningKey, certificates: &Certificates) -> KeySet {
    KeySet::join([own.key_set(), certificates.signer(&KeySource::ApiKeys)])
}

fn transport(proxy: Option<&ServicesProxy>, certificates: &Certificates) -> Transport {
    let trust = certificates.services().map(|trust| trust.iter().map(|der| der.to_vec()).collect());
    let proxy = proxy.map(|ServicesProxy { proxy, user, password }| {
        let host = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
        let credentials = user.clone().map(|user| (user, password.expose().to_owned()));
        ForwardProxy { url: format!("http://{host}:{}", proxy.port), credentials }
    });
    Transport { trust, proxy }
}

fn terms(issuer: &config::ApiKeyIssuer) -> Terms {
    let grant = |name: &str, version: &str| ApiGrant { name: name.into(), version: version.into() };
    let apis = issuer.apis.iter().flat_map(|api| api.versions.iter().map(|version| grant(&api.name, version)));
    Terms { validity: issuer.validity.map(|validity| validity.as_secs()), apis: apis.collect() }
}

fn private(path: &Path) -> anyhow::Result<PrivateListener> {
    PrivateListener::bind(path).with_context(|| format!("cannot listen on `{}`", path.display()))
}

fn spawn(server: impl Future<Output = std::io::Result<()>> + Send + 'static, name: &'static str) {
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the {name} failed");
        }
    });
}

// === impl Rules ===

impl RuleSink for Rules {
    fn load(&self, snapshot: &Snapshot) -> Result<(), String> {
        self.0.load(&snapshot.rules).map_err(|error| error.to_string())
    }

    fn retire(&self, generation: &Generation) {
        self.0.retire(&generation.0);
    }
}
