//! What programs of JavaScript, Python and others take for granted, WASI 0.2, without anything that leads out of the component: no
//! files, environment, arguments or network. Clocks and random numbers are there, and what is printed goes to the log. Whatever else
//! is called ends the call.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{Engine, Error, Result, StoreContextMut, bail, format_err};

use super::guest::{Guest, Level};

/// Things to wait for, at a time.
const MAX_POLLABLES: usize = 256;
/// Random bytes at a time.
const MAX_RANDOM: u64 = 64 * 1024;
/// What a stream takes at a time.
const MAX_WRITE: u64 = 64 * 1024;

/// Of one call.
#[derive(Default)]
pub(super) struct Resources {
    /// When each is ready; `None`: it is free.
    pollables: Vec<Option<Instant>>,
    start: Option<Instant>,
}

// Types of handles, which hold nothing.
struct Pollable;
struct InputStream;
struct OutputStream;
struct IoError;
struct Descriptor;
struct Terminal;
/// A terminal to write to.
struct Output;
struct Unknown;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code)] // Nothing fails.
    Failed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

type Streamed<T> = core::result::Result<T, StreamError>;
type Instance<'a> = LinkerInstance<'a, Guest>;

const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Whether a component may import it.
pub(super) fn is_known(interface: &str) -> bool {
    let Some((name, version)) = interface.split_once('@') else { return false };
    let packages =
        ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
    version.starts_with("0.2.") && packages.iter().any(|package| name.starts_with(package))
}

/// Defines of `interface` what there is. The rest is for whoever stubs it.
pub(super) fn define(interface: &str, into: &mut Instance<'_>) -> Result<()> {
    match interface.split_once('@').map_or(interface, |(name, _)| name) {
        "wasi:io/error" => error(into),
        "wasi:io/poll" => poll(into),
        "wasi:io/streams" => streams(into),
        "wasi:cli/environment" => {
            into.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
            into.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            into.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))
        }
        "wasi:cli/exit" => {
            into.func_wrap("exit", |_, (_,): (core::result::Result<(), ()>,)| -> Result<()> { bail!("it exits") })
        }
        "wasi:cli/stdin" => into.func_wrap("get-stdin", |_, ()| Ok((Resource::<InputStream>::new_own(0),))),
        "wasi:cli/stdout" => into.func_wrap("get-stdout", |_, ()| Ok((Resource::<OutputStream>::new_own(STDOUT),))),
        "wasi:cli/stderr" => into.func_wrap("get-stderr", |_, ()| Ok((Resource::<OutputStream>::new_own(STDERR),))),
        "wasi:cli/terminal-stdin" => into.func_wrap("get-terminal-stdin", |_, ()| Ok((None::<Resource<Terminal>>,))),
        "wasi:cli/terminal-stdout" => into.func_wrap("get-terminal-stdout", |_, ()| Ok((None::<Resource<Output>>,))),
        "wasi:cli/terminal-stderr" => into.func_wrap("get-terminal-stderr", |_, ()| Ok((None::<Resource<Output>>,))),
        "wasi:clocks/monotonic-clock" => monotonic(into),
        "wasi:clocks/wall-clock" => {
            into.func_wrap("now", |_, ()| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
            })?;
            into.func_wrap("resolution", |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
        }
        "wasi:filesystem/preopens" => {
            into.func_wrap("get-directories", |_, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))
        }
        "wasi:random/random" => random(into, "get-random-bytes", "get-random-u64"),
        "wasi:random/insecure" => random(into, "get-insecure-random-bytes", "get-insecure-random-u64"),
        "wasi:random/insecure-seed" => {
            // Its name until 0.2.7, and since.
            for name in ["insecure-seed", "get-insecure-seed"] {
                into.func_wrap(name, |_, ()| Ok(((number()?, number()?),)))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is not there ends the call.
pub(super) fn trap(interface: &str, item: &ComponentItem, engine: &Engine, into: &mut Instance<'_>) {
    let ComponentItem::ComponentInstance(instance) = item else { return };
    for (name, item) in instance.exports(engine) {
        // What is there already stays: nothing is defined twice.
        let _ = match item.ty {
            ComponentItem::ComponentFunc(_) => {
                let called = format!("it calls `{interface}#{name}`, which is not there");
                into.func_new(name, move |_, _, _, _| bail!("{called}"))
            }
            ComponentItem::Resource(_) => resource(into, name),
            _ => Ok(()),
        };
    }
}

/// By their names: one interface has those of another, too.
fn resource(into: &mut Instance<'_>, name: &str) -> Result<()> {
    let kind = match name {
        "error" => ResourceType::host::<IoError>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        "terminal-input" => ResourceType::host::<Terminal>(),
        "terminal-output" => ResourceType::host::<Output>(),
        // Nobody makes one.
        _ => ResourceType::host::<Unknown>(),
    };
    let is_pollable = name == "pollable";
    into.resource(name, kind, move |mut store, index| {
        if is_pollable {
            store.data_mut().resources.forget(index);
        }
        Ok(())
    })
}

fn error(into: &mut Instance<'_>) -> Result<()> {
    into.func_wrap("[method]error.to-debug-string", |_, (_,): (Resource<IoError>,)| Ok((String::new(),)))
}

// === clocks ===

fn monotonic(into: &mut Instance<'_>) -> Result<()> {
    into.func_wrap("now", |mut store: StoreContextMut<'_, Guest>, ()| Ok((store.data_mut().resources.now(),)))?;
    into.func_wrap("resolution", |_, ()| Ok((1_u64,)))?;
    into.func_wrap("subscribe-duration", |mut store: StoreContextMut<'_, Guest>, (nanoseconds,): (u64,)| {
        Ok((store.data_mut().resources.wait(Duration::from_nanos(nanoseconds))?,))
    })?;
    into.func_wrap("subscribe-instant", |mut store: StoreContextMut<'_, Guest>, (when,): (u64,)| {
        let resources = &mut store.data_mut().resources;
        let wait = when.saturating_sub(resources.now());
        Ok((resources.wait(Duration::from_nanos(wait))?,))
    })
}

fn poll(into: &mut Instance<'_>) -> Result<()> {
    into.func_wrap(
        "[method]pollable.ready",
        |mut store: StoreContextMut<'_, Guest>, (pollable,): (Resource<Pollable>,)| {
            Ok((store.data_mut().resources.at(&pollable)? <= Instant::now(),))
        },
    )?;
    into.func_wrap_async(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, Guest>, (pollable,): (Resource<Pollable>,)| {
            Box::new(async move {
                let at = store.data_mut().resources.at(&pollable)?;
                tokio::time::sleep_until(at).await;
                Ok(())
            })
        },
    )?;
    into.func_wrap_async("poll", |mut store: StoreContextMut<'_, Guest>, (all,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move {
            let resources = &mut store.data_mut().resources;
            let all = all.iter().map(|pollable| resources.at(pollable)).collect::<Result<Vec<_>>>()?;
            let first = *all.iter().min().ok_or_else(|| format_err!("it waits for nothing"))?;
            tokio::time::sleep_until(first).await;
            let now = Instant::now().max(first);
            let ready = (0_u32..).zip(&all).filter(|(_, at)| **at <= now).map(|(index, _)| index);
            Ok((ready.collect::<Vec<_>>(),))
        })
    })
}

// === streams ===

fn streams(into: &mut Instance<'_>) -> Result<()> {
    for name in ["read", "blocking-read"] {
        into.func_wrap(&format!("[method]input-stream.{name}"), |_, (_, _): (Resource<InputStream>, u64)| {
            Ok((Streamed::<Vec<u8>>::Err(StreamError::Closed),))
        })?;
    }
    into.func_wrap(
        "[method]input-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (_,): (Resource<InputStream>,)| {
            Ok((store.data_mut().resources.wait(Duration::ZERO)?,))
        },
    )?;
    into.func_wrap("[method]output-stream.check-write", |_, (_,): (Resource<OutputStream>,)| {
        Ok((Streamed::Ok(MAX_WRITE),))
    })?;
    for name in ["write", "blocking-write-and-flush"] {
        into.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: StoreContextMut<'_, Guest>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                let level = if stream.rep() == STDERR { Level::Warn } else { Level::Info };
                let text = String::from_utf8_lossy(&bytes);
                if !text.trim().is_empty() {
                    store.data_mut().log.write(level, &text);
                }
                Ok((Streamed::Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        into.func_wrap(&format!("[method]output-stream.{name}"), |_, (_,): (Resource<OutputStream>,)| {
            Ok((Streamed::Ok(()),))
        })?;
    }
    into.func_wrap(
        "[method]output-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (_,): (Resource<OutputStream>,)| {
            Ok((store.data_mut().resources.wait(Duration::ZERO)?,))
        },
    )
}

// === random numbers ===

fn random(into: &mut Instance<'_>, bytes: &str, one: &str) -> Result<()> {
    into.func_wrap(bytes, |_, (length,): (u64,)| {
        let length = usize::try_from(length.min(MAX_RANDOM + 1)).unwrap_or(usize::MAX);
        if length as u64 > MAX_RANDOM {
            bail!("it wants more than {MAX_RANDOM} random bytes at a time");
        }
        let mut bytes = vec![0; length];
        fill(&mut bytes)?;
        Ok((bytes,))
    })?;
    into.func_wrap(one, |_, ()| Ok((number()?,)))
}

fn number() -> Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::msg("there are no random numbers"))
}

// === impl Resources ===

impl Resources {
    /// Nanoseconds since somebody asked.
    fn now(&mut self) -> u64 {
        let start = *self.start.get_or_insert_with(Instant::now);
        u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wait(&mut self, duration: Duration) -> Result<Resource<Pollable>> {
        // Nobody waits longer than a call may take.
        let at = Instant::now() + duration.min(Duration::from_secs(3600));
        let free = self.pollables.iter().position(Option::is_none).unwrap_or(self.pollables.len());
        if free >= MAX_POLLABLES {
            bail!("it waits for more than {MAX_POLLABLES} things");
        }
        match self.pollables.get_mut(free) {
            Some(pollable) => *pollable = Some(at),
            None => self.pollables.push(Some(at)),
        }
        Ok(Resource::new_own(u32::try_from(free).unwrap_or(u32::MAX)))
    }

    fn forget(&mut self, index: u32) {
        if let Some(pollable) = self.pollables.get_mut(index as usize) {
            *pollable = None;
        }
    }

    fn at(&self, pollable: &Resource<Pollable>) -> Result<Instant> {
        let at = self.pollables.get(pollable.rep() as usize).copied().flatten();
        at.ok_or_else(|| format_err!("it waits for something that is not there"))
    }
}
