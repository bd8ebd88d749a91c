//! Runs the interceptors of every generation that is in use.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use microgw_engine::interceptors::{self, Interception, Interceptor, InterceptorFailure, Program, Verdict};
use microgw_extproc::keys::is_loopback;
use microgw_extproc::programs::Programs;
use microgw_extproc::transport::Transport;
use microgw_interceptors::service::{Room, Service};
use microgw_interceptors::{Component, Host, Origin};
use microgw_proto::rules::v1::RuleBook;
use reqwest::{Client, Url};

use crate::config;

/// To connect to a service, its own time-out apart.
const CONNECT: Duration = Duration::from_secs(5);

pub struct Hosted {
    host: Host,
    settings: Vec<config::Interceptor>,
    client: ArcSwap<Client>,
    /// For what all services are asked and answer.
    room: Room,
    /// By name and URL, as rules have them.
    services: ArcSwap<Services>,
    kept: Mutex<Kept>,
}

type Services = HashMap<Box<str>, Vec<(Box<str>, Service)>>;

/// Programs that are ready, and who needs them.
#[derive(Default)]
struct Kept {
    components: HashMap<[u8; 32], Component>,
    generations: BTreeMap<String, Vec<Arc<Interceptor>>>,
    /// Of a generation that is not on offer yet.
    next: Vec<Arc<Interceptor>>,
}

// === impl Hosted ===

impl Hosted {
    /// `data`: the data directory, where compiled code is for the next start.
    pub fn new(settings: Vec<config::Interceptor>, transport: &Transport, data: &Path) -> anyhow::Result<Hosted> {
        Ok(Hosted {
            host: Host::keeping(data.join("compiled")),
            settings,
            client: ArcSwap::from_pointee(transport.interceptor_client(CONNECT)?),
            room: Room::default(),
            services: ArcSwap::default(),
            kept: Mutex::default(),
        })
    }

    /// Services are reached over this from now on.
    pub fn reach_over(&self, transport: &Transport) -> anyhow::Result<()> {
        self.client.store(Arc::new(transport.interceptor_client(CONNECT)?));
        let kept = self.lock();
        self.connect(&kept).map_err(anyhow::Error::msg)
    }

    /// Gets the programs of a generation ready that is to be offered; compiling may take seconds.
    pub async fn prepare(&self, book: &RuleBook) -> Result<(), String> {
        if book.interceptors.is_empty() {
            return Ok(());
        }
        let programs = interceptors::load(book).map_err(|error| error.to_string())?;
        let mut ready = Vec::new();
        for program in &programs {
            if let Program::Component { digest, code, .. } = &program.program {
                let component = self.host.load(*digest, code.clone()).await;
                let component = component.map_err(|error| format!("the interceptor `{}`: {error}", program.name))?;
                report(&program.name, component.origin());
                ready.push((*digest, component));
            }
        }
        let mut kept = self.lock();
        kept.components.extend(ready);
        kept.next = programs;
        self.connect(&kept)
    }

    /// What was prepared is needed by a generation now.
    pub fn arm(&self, book: &RuleBook) -> Result<(), String> {
        if book.interceptors.is_empty() {
            return Ok(());
        }
        let programs = interceptors::load(book).map_err(|error| error.to_string())?;
        let mut kept = self.lock();
        let missing = programs.iter().find(|program| {
            matches!(&program.program, Program::Component { digest, .. } if !kept.components.contains_key(digest))
        });
        if let Some(missing) = missing {
            return Err(format!("the interceptor `{}` has not been compiled", missing.name));
        }
        kept.generations.insert(book.generation.clone(), programs);
        self.connect(&kept)
    }

    pub fn retire(&self, generation: &str) {
        let mut kept = self.lock();
        if kept.generations.remove(generation).is_none() {
            return;
        }
        let needed: Vec<[u8; 32]> = kept.programs().filter_map(|program| digest(program)).collect();
        kept.components.retain(|digest, _| needed.contains(digest));
        // They were all there before.
        if let Err(error) = self.connect(&kept) {
            tracing::error!("{error}");
        }
    }

    /// Settings for which the artifact has nothing.
    pub fn report_unknown(&self) {
        let kept = self.lock();
        for config::Interceptor { name, .. } in &self.settings {
            let is_service = |program: &&Arc<Interceptor>| {
                *program.name == **name && matches!(program.program, Program::Service { .. })
            };
            if !kept.programs().any(|program| is_service(&program)) {
                tracing::warn!(
                    "`[[interceptors]]` names `{name}`, which no interceptor service of the artifact is called"
                );
            }
        }
    }

    fn connect(&self, kept: &Kept) -> Result<(), String> {
        let mut services = Services::new();
        for program in kept.programs() {
            let Program::Service { url } = &program.program else { continue };
            let known = services.entry(program.name.clone()).or_default();
            if !known.iter().any(|(other, _)| other == url) {
                let service = self.service(&program.name, url);
                known.push((
                    url.clone(),
                    service.map_err(|error| format!("the interceptor `{}`: {error}", program.name))?,
                ));
            }
        }
        self.services.store(Arc::new(services));
        Ok(())
    }

    fn service(&self, name: &str, url: &str) -> Result<Service, String> {
        let settings = self.settings.iter().find(|settings| settings.name == name);
        let url = settings.and_then(|settings| settings.url.as_deref()).unwrap_or(url);
        let service = Service::new(Client::clone(&self.client.load()), self.room.clone(), url)
            .map_err(|error| error.to_string())?;
        let Some((header, value)) = settings.and_then(|settings| settings.credential.as_ref()) else {
            return Ok(service);
        };
        let is_private = Url::parse(url).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url));
        if !is_private {
            return Err("its header may be sent over `https:` or on this host alone".to_owned());
        }
        service.with_credential(header, value.expose()).map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Programs for Hosted {
    async fn call(&self, interception: Interception) -> Verdict {
        match &interception.interceptor.program {
            Program::Component { .. } => self.host.call(interception).await,
            Program::Service { url } => {
                let services = self.services.load_full();
                let known = services.get(&interception.interceptor.name).into_iter().flatten();
                match known.into_iter().find(|(own, _)| own == url) {
                    Some((_, service)) => service.call(interception).await,
                    None => Verdict::Failed(InterceptorFailure::NotHosted),
                }
            }
        }
    }
}

// === impl Kept ===

impl Kept {
    fn programs(&self) -> impl Iterator<Item = &Arc<Interceptor>> {
        self.generations.values().flatten().chain(&self.next)
    }
}

/// Whoever waits for it may know why.
fn report(interceptor: &str, origin: Origin) {
    match origin {
        Origin::Memory => {}
        Origin::Disk(took) => {
            tracing::info!(%interceptor, milliseconds = took.as_millis(), "the interceptor was compiled before");
        }
        Origin::Compiler(took) => {
            tracing::info!(%interceptor, milliseconds = took.as_millis(), "compiled the interceptor");
        }
    }
}

fn digest(program: &Interceptor) -> Option<[u8; 32]> {
    match &program.program {
        Program::Component { digest, .. } => Some(*digest),
        Program::Service { .. } => None,
    }
}
