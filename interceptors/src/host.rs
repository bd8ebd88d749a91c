//! Runs WebAssembly components: each call an instance of its own, in a sandbox without any authority, within bounds of time, memory
//! and stack.
//!
//! A call begins on the thread that asks, so that short ones cost little. One that takes longer than a slice goes on among its like,
//! on threads of their own, and nobody else waits for it.

mod guest;
mod kept;
mod limits;
mod log;
mod settings;
mod shape;
mod ticker;
mod wasi;

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::Bytes;
use microgw_engine::interceptors::{Interception, InterceptorFailure, Program, Verdict};
use microgw_transforms::Direction;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{self, Semaphore, oneshot};
use tokio::time::Instant;
use wasmtime::component::{self, ComponentExportIndex, InstancePre, Linker, TypedFunc, types::ComponentItem};
use wasmtime::{Engine, Store, Trap};

use self::guest::{Guest, Said};
use self::kept::Kept;
use self::limits::{Budget, Limits};
use self::log::{Log, Rate};
pub use self::log::{MAX_LINE, MAX_LINES, MAX_RATE};
pub use self::settings::MAX_MEMORY;
use self::ticker::Ticker;
use crate::{Digest, LoadError, Origin};

/// Bytes of a component.
pub const MAX_COMPONENT: usize = 64 * 1024 * 1024;
/// Calls of one component at a time: it cannot take the place of all others.
const CALLS_OF_ONE: usize = settings::CALLS as usize / 4;
/// Ticks of the first slice, and of those that follow.
const FIRST_SLICE: u64 = 2;
const SLICE: u64 = 1;
/// What a call of the host may be given, and what may be answered: a body and its head, with what Rust makes of them.
const HANDED_OVER: usize = 12 * 1024 * 1024;

const ON_REQUEST: &str = "on-request";
const ON_RESPONSE: &str = "on-response";

/// Components are compiled once, and are there as long as somebody keeps them.
#[derive(Default)]
pub struct Host {
    machine: OnceLock<Result<Machine, LoadError>>,
    known: ArcSwap<HashMap<Digest, Weak<Compiled>>>,
    /// Whoever changes what is known.
    changing: Mutex<()>,
    /// Whoever compiles: one at a time, on all threads that there are for it.
    compiling: sync::Mutex<()>,
    /// Where compiled code is for the next start. `None`: in memory alone.
    directory: Option<PathBuf>,
}

/// A compiled component.
pub struct Component {
    code: Arc<Compiled>,
    origin: Origin,
}

struct Compiled {
    program: InstancePre<Guest>,
    on_request: Option<ComponentExportIndex>,
    on_response: Option<ComponentExportIndex>,
    calls: Arc<Semaphore>,
    rate: Arc<Rate>,
}

/// Made when the first component comes.
struct Machine {
    engine: Engine,
    kept: Option<Arc<Kept>>,
    ticker: Ticker,
    compilers: rayon::ThreadPool,
    /// Where long calls go on.
    others: Option<Runtime>,
    calls: Arc<Semaphore>,
    memory: Arc<Budget>,
}

type Outcome = Result<Verdict, InterceptorFailure>;

// === impl Host ===

impl Host {
    /// One that keeps compiled code in this directory for the next start, if nobody else can write there.
    pub fn keeping(directory: PathBuf) -> Host {
        Host { directory: Some(directory), ..Host::default() }
    }

    /// Compiles it, unless somebody keeps it already. That takes seconds for the engine of a scripting language, on threads of its own.
    pub async fn load(&self, digest: Digest, code: Bytes) -> Result<Component, LoadError> {
        let _compiling = self.compiling.lock().await;
        if let Some(code) = self.known(&digest) {
            return Ok(Component { code, origin: Origin::Memory });
        }
        if code.len() > MAX_COMPONENT {
            return Err(LoadError::TooLarge);
        }
        let machine = self.machine.get_or_init(|| Machine::start(self.directory.as_deref()));
        let machine = machine.as_ref().map_err(Clone::clone)?;
        let (tell, told) = oneshot::channel();
        let (engine, kept) = (machine.engine.clone(), machine.kept.clone());
        machine.compilers.spawn_fifo(move || {
            // Whoever asked may have gone.
            let _ = tell.send(compile(&engine, kept.as_deref(), &code));
        });
        let (compiled, origin) = told.await.map_err(|_| LoadError::Engine("the compiler crashed".into()))??;
        Ok(Component { code: self.keep(digest, Arc::new(compiled)), origin })
    }

    /// Runs the interceptor, whose component somebody keeps.
    pub async fn call(&self, interception: Interception) -> Verdict {
        match self.run(interception).await {
            Ok(verdict) => verdict,
            Err(failure) => Verdict::Failed(failure),
        }
    }

    async fn run(&self, interception: Interception) -> Outcome {
        let (Some(Ok(machine)), Program::Component { digest, max_memory, .. }) =
            (self.machine.get(), &interception.interceptor.program)
        else {
            return Err(InterceptorFailure::NotHosted);
        };
        let limits = Limits::new((*max_memory).min(MAX_MEMORY), Arc::clone(&machine.memory));
        let compiled = self.known(digest).ok_or(InterceptorFailure::NotHosted)?;
        let deadline = Instant::now() + interception.interceptor.timeout;
        let ticking = machine.ticker.begin();
        let (of_one, of_all) = (Arc::clone(&compiled.calls), Arc::clone(&machine.calls));
        let places = async { (of_one.acquire_owned().await, of_all.acquire_owned().await) };
        let places = in_time(deadline, places).await.ok_or(InterceptorFailure::Timeout)?;
        let engine = machine.engine.clone();
        let mut call = Box::pin(async move {
            let outcome = compiled.call(&engine, interception, limits).await;
            drop((places, ticking));
            outcome
        });
        match once(call.as_mut()).await {
            Some(outcome) => outcome,
            None => machine.go_on(deadline, call).await,
        }
    }

    fn known(&self, digest: &Digest) -> Option<Arc<Compiled>> {
        self.known.load().get(digest).and_then(Weak::upgrade)
    }

    /// The one that is known by then, if two were compiled.
    fn keep(&self, digest: Digest, compiled: Arc<Compiled>) -> Arc<Compiled> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(&digest) {
            return known;
        }
        let mut known = HashMap::clone(&self.known.load());
        known.retain(|_, component| component.strong_count() > 0);
        known.insert(digest, Arc::downgrade(&compiled));
        self.known.store(Arc::new(known));
        compiled
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Host").field("known", &self.known.load().len()).finish_non_exhaustive()
    }
}

// === impl Component ===

impl Component {
    /// It has something to say of requests.
    pub fn on_request(&self) -> bool {
        self.code.on_request.is_some()
    }

    pub fn on_response(&self) -> bool {
        self.code.on_response.is_some()
    }

    /// Where this one's code came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Component").finish_non_exhaustive()
    }
}

// === impl Machine ===

impl Machine {
    fn start(directory: Option<&Path>) -> Result<Machine, LoadError> {
        let of_system = |error: std::io::Error| LoadError::Engine(error.to_string().into());
        let kept = directory.and_then(|directory| match Kept::open(directory, kept::MOST) {
            Ok(kept) => Some(Arc::new(kept)),
            Err(error) => {
                let path = directory.display();
                tracing::warn!(%path, "components are compiled at each start: compiled code is not kept, {error}");
                None
            }
        });
        let engine = settings::engine(kept.as_deref())?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let compilers = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|_| "compiler".to_owned())
            // Requests come first. Where that is not allowed, they wait a little.
            .start_handler(|_| {
                let _ = rustix::process::setpriority_process(None, COMPILERS_PRIORITY);
            })
            // Else it would take the process along. Whoever waits is told.
            .panic_handler(|_| tracing::error!("the compiler of components crashed"))
            .build()
            .map_err(|error| LoadError::Engine(error.to_string().into()))?;
        let others = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("interceptors")
            .enable_time()
            .build()
            .map_err(of_system)?;
        Ok(Machine {
            ticker: Ticker::start(&engine).map_err(of_system)?,
            engine,
            kept,
            compilers,
            others: Some(others),
            calls: Arc::new(Semaphore::new(settings::CALLS as usize)),
            memory: Arc::new(Budget::new(MAX_MEMORY)),
        })
    }

    /// It is dropped, and ends, when its time is over or nobody asks any more.
    async fn go_on(&self, deadline: Instant, call: Pin<Box<dyn Future<Output = Outcome> + Send>>) -> Outcome {
        let others = self.others.as_ref().ok_or(InterceptorFailure::NotHosted)?;
        let call = others.spawn(in_time(deadline, call));
        let mut call = Abandoned(call);
        match (&mut call.0).await {
            Ok(outcome) => outcome.unwrap_or(Err(InterceptorFailure::Timeout)),
            Err(_) => Err(InterceptorFailure::Trap),
        }
    }
}

const COMPILERS_PRIORITY: i32 = 10;

impl Drop for Machine {
    fn drop(&mut self) {
        // Nobody waits for loops.
        if let Some(others) = self.others.take() {
            others.shutdown_background();
        }
    }
}

/// Ends with whoever waits for it.
struct Abandoned<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Abandoned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn in_time<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline, work).await.ok()
}

/// `None`: it takes longer.
async fn once<T>(mut work: Pin<&mut (dyn Future<Output = T> + Send)>) -> Option<T> {
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Reads it from where it is kept, if it is.
fn compile(engine: &Engine, kept: Option<&Kept>, code: &[u8]) -> Result<(Compiled, Origin), LoadError> {
    let (started, found) = (Instant::now(), kept.map(Kept::found));
    let compiled = Compiled::compile(engine, code)?;
    if kept.map(Kept::found) != found {
        return Ok((compiled, Origin::Disk(started.elapsed())));
    }
    let origin = Origin::Compiler(started.elapsed());
    if let Some(kept) = kept
        && let Err(error) = kept.remember()
    {
        tracing::warn!("compiled code is not kept: {error}");
    }
    Ok((compiled, origin))
}

// === impl Compiled ===

impl Compiled {
    fn compile(engine: &Engine, code: &[u8]) -> Result<Compiled, LoadError> {
        let said = |error: wasmtime::Error| LoadError::Component(format!("{error:#}").into());
        let component = component::Component::new(engine, code).map_err(said)?;
        let mut linker = Linker::new(engine);
        guest::link(&mut linker).map_err(said)?;
        for (name, item) in component.component_type().imports(engine) {
            if wasi::is_known(name) {
                let mut instance = linker.instance(name).map_err(said)?;
                wasi::define(name, &mut instance).map_err(said)?;
                wasi::trap(name, &item.ty, engine, &mut instance);
            } else if !name.starts_with("micro-gw:interceptor/") {
                return Err(LoadError::Import(name.into()));
            }
        }
        let program = linker.instantiate_pre(&component).map_err(said)?;
        let export = |name: &str| match component.get_export(None, name) {
            None => Ok(None),
            Some((ComponentItem::ComponentFunc(function), index)) if shape::is_export(&function) => Ok(Some(index)),
            Some(_) => Err(LoadError::Export(name.into())),
        };
        let (on_request, on_response) = (export(ON_REQUEST)?, export(ON_RESPONSE)?);
        if on_request.is_none() && on_response.is_none() {
            return Err(LoadError::Nothing);
        }
        Ok(Compiled {
            program,
            on_request,
            on_response,
            calls: Arc::new(Semaphore::new(CALLS_OF_ONE)),
            rate: Arc::new(Rate::new()),
        })
    }

    async fn call(&self, engine: &Engine, interception: Interception, limits: Limits) -> Outcome {
        let export = match interception.direction {
            Direction::Request => self.on_request,
            Direction::Response => self.on_response,
        };
        let export = export.ok_or(InterceptorFailure::NotHosted)?;
        let guest = Guest {
            log: Log::new(Arc::from(&*interception.interceptor.name), Arc::clone(&self.rate)),
            limits,
            resources: wasi::Resources::default(),
            call: interception,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_epoch_deadline(FIRST_SLICE);
        store.epoch_deadline_async_yield_and_update(SLICE);
        store.set_hostcall_fuel(HANDED_OVER);
        match self.say(&mut store, export).await {
            Ok(said) => Ok(store.into_data().verdict(said)),
            Err(error) => {
                let guest = store.data();
                tracing::debug!("{error:#}");
                guest.log.of_gateway(&error.root_cause().to_string());
                Err(if guest.limits.exceeded { InterceptorFailure::Memory } else { failure(&error) })
            }
        }
    }

    async fn say(&self, store: &mut Store<Guest>, export: ComponentExportIndex) -> wasmtime::Result<Said> {
        let instance = self.program.instantiate_async(&mut *store).await?;
        let function: TypedFunc<(), (Said,)> = instance.get_typed_func(&mut *store, export)?;
        let (said,) = function.call_async(&mut *store, ()).await?;
        Ok(said)
    }
}

fn failure(error: &wasmtime::Error) -> InterceptorFailure {
    match error.downcast_ref::<Trap>() {
        Some(Trap::AllocationTooLarge) => InterceptorFailure::Memory,
        Some(Trap::StringOutOfBounds | Trap::ListOutOfBounds | Trap::InvalidDiscriminant | Trap::UnalignedPointer) => {
            InterceptorFailure::Malformed
        }
        _ => InterceptorFailure::Trap,
    }
}

#[cfg(test)]
mod tests;
