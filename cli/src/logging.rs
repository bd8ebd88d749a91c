//! The log: stderr, one line per event, with what Envoy logs folded in.

mod line;

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use microgw_extproc::traces::{self, Traces};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output;
use line::{Fields, Line, Scope};
use micro_gw::config::LogFormat;

/// Writes events, each with the spans that it happened in.
struct Log<W> {
    format: LogFormat,
    colour: bool,
    /// Spans have ids.
    traced: bool,
    write: W,
}

/// Target of what Envoy logs.
const ENVOY: &str = "envoy";

static STARTED: OnceLock<LogFormat> = OnceLock::new();

/// Something for whoever runs the process, where it may not be logging yet: stderr, in the log's form once it has one.
pub fn say(level: Level, text: &str) {
    match (STARTED.get(), level) {
        (Some(LogFormat::Json), Level::ERROR) => tracing::error!("{text}"),
        (Some(LogFormat::Json), Level::WARN) => tracing::warn!("{text}"),
        (Some(LogFormat::Json), _) => tracing::info!("{text}"),
        (Some(LogFormat::Human) | None, _) => output::note(text),
    }
}

/// Starts it for the whole process; spans leave as `traces`, where there are any.
/// `envoy`: up to which level Envoy's lines are shown, where more of them are asked for than of ours.
pub fn start(level: LevelFilter, envoy: Option<LevelFilter>, format: LogFormat, traces: Option<&Traces>) {
    let colour = format == LogFormat::Human && output::colour();
    // A reader that went away is not our problem.
    let write = |line: &str| drop(std::io::stderr().lock().write_all(line.as_bytes()));
    let log = Log { format, colour, traced: traces.is_some(), write }.with_filter(filter(level, envoy)).boxed();
    Registry::default().with([log].into_iter().chain(traces.map(Traces::layer)).collect::<Vec<_>>()).init();
    std::panic::set_hook(Box::new(panicked));
    // There is but one start.
    let _ = STARTED.set(format);
}

/// A panic is an event like others: the standard hook's lines are no JSON, and its text may have line breaks.
fn panicked(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let location = panic.location().map(tracing::field::display);
    tracing::error!(target: "panic", location, "{message}");
}

/// Events up to `level`, and Envoy's up to `envoy`. Our own spans pass at any level, for they say where an event belongs.
fn filter(level: LevelFilter, envoy: Option<LevelFilter>) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let envoy = envoy.map_or(level, |envoy| envoy.max(level));
    let passes = move |metadata: &Metadata<'_>| {
        if metadata.is_span() {
            return traces::is_ours(metadata);
        }
        *metadata.level() <= if metadata.target() == ENVOY { envoy } else { level }
    };
    FilterFn::new(passes).with_max_level_hint(envoy.max(LevelFilter::INFO))
}

// === impl Log ===

impl<S, W> Layer<S> for Log<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scopes = context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root);
        let scopes = scopes.map(|span| Scope {
            name: span.name(),
            fields: span.extensions().get::<Fields>().cloned().unwrap_or_default(),
        });
        let scopes = scopes.collect();
        let trace = context.event_span(event).filter(|_| self.traced).and_then(|span| traces::ids(&span.id()));
        let line = Line { metadata: event.metadata(), fields, scopes, trace };
        (self.write)(&match self.format {
            LogFormat::Human => line.human(self.colour),
            LogFormat::Json => line.json(),
        });
    }
}

#[cfg(test)]
mod tests;
