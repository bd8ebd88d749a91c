//! Time, for components that run: each tick lets those that took their slice yield.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

pub(super) const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call, after which the thread sleeps.
const IDLE: u32 = 100;

/// A thread of its own: whoever runs a loop keeps all others from running.
pub(super) struct Ticker {
    thread: Thread,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The thread sleeps, or is about to.
    sleeps: AtomicBool,
    over: AtomicBool,
}

/// Ticks are told while it lives.
pub(super) struct Ticking(Arc<Calls>);

// === impl Ticker ===

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let calls = Arc::new(Calls::default());
        let (engine, of_thread) = (engine.clone(), Arc::clone(&calls));
        let thread = thread::Builder::new().name("ticker".to_owned()).spawn(move || tick(&engine, &of_thread))?;
        Ok(Ticker { thread: thread.thread().clone(), calls })
    }

    pub(super) fn begin(&self) -> Ticking {
        self.calls.begun.fetch_add(1, Ordering::SeqCst);
        if self.calls.sleeps.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.calls))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.calls.over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

// === impl Ticking ===

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

// === impl Calls ===

impl Calls {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn is_idle(&self, since: u64) -> bool {
        self.ended.load(Ordering::SeqCst) == since && self.begun() == since
    }
}

fn tick(engine: &Engine, calls: &Calls) {
    let (mut idle, mut begun) = (0, calls.begun());
    while !calls.over.load(Ordering::SeqCst) {
        idle = if calls.is_idle(begun) { idle + 1 } else { 0 };
        begun = calls.begun();
        if idle > IDLE {
            calls.sleeps.store(true, Ordering::SeqCst);
            // A call that has begun before it could see that is seen here; one that begins now wakes the thread.
            while calls.is_idle(begun) && !calls.over.load(Ordering::SeqCst) {
                thread::park();
            }
            calls.sleeps.store(false, Ordering::SeqCst);
            idle = 0;
        }
        thread::park_timeout(TICK);
        engine.increment_epoch();
    }
}
