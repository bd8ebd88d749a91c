//! The parts that answer Envoy and people: decisions, API keys, the admin interface.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use microgw_compiler::snapshot::{Generation, Snapshot};
use microgw_engine::apikey::Terms;
use microgw_engine::{ApiGrant, KeySource};
use microgw_envoy::SocketPaths;
use microgw_extproc::admin::{self, Admin};
use microgw_extproc::apikey::{self, ApiKeyIssuer};
use microgw_extproc::backend_jwt::{AssertionCache, BackendJwts, BackendKey};
use microgw_extproc::bandwidth::Bandwidth;
use microgw_extproc::decider::{Decider, Description};
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::limits::store::Crowd;
use microgw_extproc::limits::{Limits, Store};
use microgw_extproc::login::Login;
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::opaque_keys::OpaqueKeys;
use microgw_extproc::redis::Redis;
use microgw_extproc::remote::RemoteListener;
use microgw_extproc::response_cache::ResponseCache;
use microgw_extproc::revocations::{RevocationSettings, Revocations};
use microgw_extproc::room::Room;
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::server::AuthzServer;
use microgw_extproc::signing::SigningKey;
use microgw_extproc::socket::PrivateListener;
use microgw_extproc::subscriptions::{FromFile, FromRedis, Subscriptions};
use microgw_extproc::user_claims::ClaimRetriever;
use microgw_proto::rules::v1::RuleBook;
use microgw_xds::RuleSink;

use super::addresses::Addresses;
use super::lookups;
use super::observer::Observer;
use super::programs::Hosted;
use crate::config::{self, Config, ServicesProxy, SubscriptionSource};
use micro_gw::certificates::{self, BackendSigner, Certificates};

/// Rules of a generation are kept for this long after Envoys have moved on.
const BRIDGE: Duration = Duration::from_secs(60);

/// What is revoked is usually known by then.
const SETTLING: Duration = Duration::from_secs(1);

/// What is leased is given back by then, or not.
const LEAVING: Duration = Duration::from_millis(500);

pub struct Services {
    rules: Arc<RuleStore>,
    metrics: Arc<Metrics>,
    login: Arc<Login>,
    admin: Option<SocketAddr>,
    decider: Arc<Decider>,
    /// Signs API keys.
    key: Arc<SigningKey>,
    proxy: Option<ServicesProxy>,
    redis: Option<Arc<Redis>>,
    opaque_keys: Option<Arc<OpaqueKeys>>,
    authz: Option<AuthzServer>,
    issuer: Router,
    programs: Arc<Hosted>,
}

/// The rule store as the publisher sees it.
struct Rules {
    store: Arc<RuleStore>,
    limits: Arc<Limits>,
    addresses: Addresses,
    programs: Arc<Hosted>,
}

// === impl Services ===

impl Services {
    /// Starts, on the current runtime, what needs no rules; decisions come with [`Self::serve_decisions`], the admin
    /// interface with [`Self::serve_admin`].
    pub fn start(config: &Config, certificates: &Certificates, paths: &SocketPaths) -> anyhow::Result<Services> {
        let metrics = Metrics::new();
        let rules = Arc::new(RuleStore::default());
        let data = &config.gateway.data_dir;
        let key = Arc::new(certificates::signing_key(config.api_key_file.as_ref(), data)?);
        let assertions = AssertionCache::new(config.backend_jwt.as_ref().map_or(0, |jwt| jwt.capacity));
        let backend_jwts = backend_jwts(config, certificates, &key, &assertions)?;
        let lookups = Lookups {
            backend_jwts: backend_jwts.clone(),
            limits: limits(config, certificates, &metrics),
            ..lookups::start(config, certificates, &key, &metrics)?
        };
        let login = lookups.login.clone().context("nobody can log in")?;
        let redis = certificates.redis(config)?;
        let opaque_keys = lookups::opaque_keys(config, redis.as_ref())?;
        let (entries, lifetime) =
            config.token_cache.map_or((0, Duration::ZERO), |cache| (cache.capacity, cache.expiry));
        let facts = FactCache::new(entries, lifetime).with_proofs(config.proofs).with_assertions(assertions);
        let mut decider = Decider::new(rules.clone(), facts, lookups, metrics.clone(), Decider::DEADLINE)
            .keeping(ResponseCache::new(config.response_cache, config.response_wait))
            .collecting(Room::new(config.body_room));
        decider.description = match &config.access_log {
            Some(log) if log.caller => Description::Caller,
            None if config.tracing.is_none() => Description::Nothing,
            Some(_) | None => Description::Outcome,
        };
        decider.trusted_hops = config.gateway.trusted_hops;
        decider.rate_limits = config.limits.headers;
        let limits = &decider.lookups.limits;
        decider.bandwidth = config.limits.bandwidth.then(|| Arc::new(Bandwidth::new(Arc::clone(limits))));
        decider.facts.opaque_keys.clone_from(&opaque_keys);
        decider.traced = config.tracing.is_some();
        decider.facts.subscriptions =
            config.subscriptions.as_ref().map(|settings| subscriptions(settings, redis.as_ref(), &metrics));
        decider.facts.revocations =
            config.revocation.as_ref().map(|revocation| revocations(revocation, redis.as_ref(), &metrics));
        let transport = lookups::transport(config.services_proxy.as_ref(), certificates);
        let programs = Arc::new(Hosted::new(config.interceptors.clone(), &transport, data)?);
        decider.programs = programs.clone();
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
        let issuer = apikey::router(issuer, backend_jwts, rules.clone());
        spawn(axum::serve(private(&paths.issuer)?, issuer.clone()).into_future(), "API-key issuer");
        let proxy = config.services_proxy.clone();
        Ok(Services {
            rules,
            metrics,
            login,
            admin: None,
            decider: Arc::new(decider),
            key,
            proxy,
            redis,
            opaque_keys,
            authz: None,
            issuer,
            programs,
        })
    }

    /// Waits until it is known what was revoked, but not for long: who is down shall not keep others from starting. Until
    /// then nobody with a credential that can be revoked is let in.
    pub async fn settle(&self) {
        if let Some(revocations) = &self.decider.facts.revocations {
            revocations.settle(SETTLING).await;
        }
        if let Some(subscriptions) = &self.decider.facts.subscriptions {
            subscriptions.settle(SETTLING).await;
        }
        if let Some(store) = self.limits().store().filter(|store| store.is_wanted()) {
            store.settle(SETTLING).await;
        }
    }

    /// Gateways that share limits no longer count on this one.
    pub async fn leave(&self) {
        if let Some(store) = self.limits().store().filter(|store| store.is_wanted()) {
            self.limits().close(LEAVING).await;
            store.leave().await;
        }
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
        let transport = lookups::transport(self.proxy.as_ref(), certificates);
        if let Err(error) = self.decider.lookups.reach_over(&transport) {
            tracing::error!(%error, "what is trusted stays as it was");
        }
        if let Err(error) = self.programs.reach_over(&transport) {
            tracing::error!("interceptor services are trusted as before: {error:#}");
        }
        if let Some(redis) = &self.redis
            && let Err(error) = certificates.trust_for(redis)
        {
            tracing::error!("Redis is trusted as before: {error:#}");
        }
        self.count_with(certificates);
    }

    /// New connections to where shared limits are counted are secured by what `certificates` have.
    pub fn count_with(&self, certificates: &Certificates) {
        if let Some(store) = self.limits().store() {
            store.secure_by(certificates.shared_limits());
        }
    }

    /// Tokens of `source` are verified by what `certificates` have from now on.
    pub fn replace_keys(&self, source: &KeySource, certificates: &Certificates) {
        let keys = match source {
            KeySource::ApiKeys => lookups::api_keys(&self.key, certificates),
            KeySource::Issuer(_) => certificates.signer(source),
        };
        self.decider.lookups.keys.replace(source, keys);
    }

    /// Backend JWTs are signed by what `certificates` have from now on.
    pub fn sign_with(&self, certificates: &Certificates) {
        let (Some(signer), Some(found)) = (&self.decider.lookups.backend_jwts, certificates.backend_signer()) else {
            return;
        };
        match backend_key(found, &self.key) {
            Ok(key) => signer.replace(key, found.published()),
            Err(error) => tracing::error!("{error:#}; the key that signed backend JWTs before stays"),
        }
    }

    /// With them comes and goes who looks for the backends of their generation.
    pub fn rules(&self, addresses: &Addresses) -> Arc<dyn RuleSink> {
        Arc::new(Rules {
            store: self.rules.clone(),
            limits: self.limits().clone(),
            addresses: addresses.clone(),
            programs: self.programs.clone(),
        })
    }

    /// Arms the rules that an Envoy that outlived the gateway still refers to, until it has had time to move on.
    pub async fn bridge(&self, mut book: RuleBook) {
        // Under a name of its own: if this generation comes to be published again, ending the bridge must not disarm it.
        book.generation.insert_str(0, "before the restart: ");
        let prepared = self.programs.prepare(&book).await.and_then(|()| self.programs.arm(&book));
        if let Err(error) = prepared.and_then(|()| self.rules.load(&book).map_err(|error| error.to_string())) {
            tracing::warn!(%error, "cannot use the rules that were live last");
            return;
        }
        let (rules, programs, generation) = (self.rules.clone(), self.programs.clone(), book.generation);
        tokio::spawn(async move {
            tokio::time::sleep(BRIDGE).await;
            rules.retire(&generation);
            programs.retire(&generation);
        });
    }

    pub async fn serve_admin(&mut self, config: &Config, observer: Observer) -> anyhow::Result<()> {
        let address = config.admin;
        let login = (!address.ip().is_loopback()).then(|| self.login.clone());
        let router: Router = admin::router(Admin {
            status: Arc::new(observer),
            metrics: self.metrics.clone(),
            login,
            backend_jwts: self.decider.lookups.backend_jwts.clone(),
        });
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on `{address}` (adminConfig.address)"))?;
        self.admin = Some(listener.local_addr()?);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        spawn(axum::serve(listener, service).into_future(), "admin interface");
        Ok(())
    }

    /// `None`: there is no store of them.
    pub fn opaque_keys(&self) -> Option<Arc<OpaqueKeys>> {
        self.opaque_keys.clone()
    }

    /// What messages go through.
    pub fn programs(&self) -> &Arc<Hosted> {
        &self.programs
    }

    /// What was used of limits.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.decider.lookups.limits
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }
}

/// Counted here, and where gateways share them.
fn limits(config: &Config, certificates: &Certificates, metrics: &Arc<Metrics>) -> Arc<Limits> {
    let limits = Limits::new(config.limits.room);
    let Some(shared) = &config.shared_limits else { return Arc::new(limits) };
    let crowd = Crowd::new(shared.gateways, Some(config.gateway.data_dir.join("limits-gateways")));
    let store = Store::start(shared.place.clone(), certificates.shared_limits(), crowd, metrics);
    Arc::new(limits.sharing(store, config.limits.room))
}

/// What was revoked, from now on.
fn revocations(revocation: &config::Revocation, redis: Option<&Arc<Redis>>, metrics: &Metrics) -> Arc<Revocations> {
    let settings = RevocationSettings {
        most: revocation.most,
        keep: revocation.retention,
        allow_stale: revocation.allow_stale,
        file: revocation.file.clone(),
        stream: revocation.redis,
    };
    let revocations = Revocations::new(settings, metrics);
    revocations.follow_file();
    if let Some(redis) = redis.filter(|_| revocation.redis) {
        revocations.follow_stream(redis.clone());
    }
    revocations.sweep();
    revocations
}

/// `None`: backends are sent none.
fn backend_jwts(
    config: &Config,
    certificates: &Certificates,
    api_keys: &SigningKey,
    cache: &AssertionCache,
) -> anyhow::Result<Option<Arc<BackendJwts>>> {
    let (Some(jwt), Some(found)) = (&config.backend_jwt, certificates.backend_signer()) else { return Ok(None) };
    let lifetime = Duration::from_secs(jwt.settings.lifetime_seconds.into());
    let key = backend_key(found, api_keys)?;
    let transport = lookups::transport(config.services_proxy.as_ref(), certificates);
    let retriever = jwt.claim_retrieval.as_ref().map(|from| ClaimRetriever::new(from, lifetime, &transport));
    let retriever = retriever.transpose().context("cannot ask about users' claims")?;
    Ok(Some(BackendJwts::start(key, found.published(), lifetime, cache.clone(), retriever)))
}

/// Whoever verifies the one would believe the other.
fn backend_key(found: &BackendSigner, api_keys: &SigningKey) -> anyhow::Result<BackendKey> {
    let key = found.key()?;
    if key.id() == api_keys.thumbprint() {
        bail!(
            "the key that signs API keys cannot sign backend JWTs, too: name another in \
             `jwtGeneratorConfig.privateKeyPath` or `privateKeyAlias`, or none, and one is made"
        );
    }
    Ok(key)
}

/// Who is subscribed, from now on.
fn subscriptions(
    settings: &config::Subscriptions,
    redis: Option<&Arc<Redis>>,
    metrics: &Metrics,
) -> Arc<Subscriptions> {
    let store = Subscriptions::new(settings.most, metrics);
    match (&settings.source, redis) {
        (SubscriptionSource::File(path), _) => store.fill(FromFile(path.clone())),
        (SubscriptionSource::Redis, Some(redis)) => store.fill(FromRedis(redis.clone())),
        // Settings that say so are refused; here the store stays empty, and lets nobody in.
        (SubscriptionSource::Redis, None) => {}
    }
    store
}

/// Threads that decide.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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
        self.programs.arm(&snapshot.rules)?;
        self.limits.prepare(&snapshot.rules);
        self.addresses.arm(&snapshot.generation, &snapshot.assignments);
        self.store.load(&snapshot.rules).map_err(|error| error.to_string())
    }

    fn renew(&self, generation: &Generation) {
        self.store.renew(&generation.0);
    }

    fn retire(&self, generation: &Generation) {
        self.store.retire(&generation.0);
        self.addresses.retire(generation);
        self.programs.retire(&generation.0);
    }
}
