//! A publish from its beginning to its end, which may come after its outcome: what no Envoy has seen yet is pending.

use std::sync::Arc;
use std::time::Instant;

use microgw_compiler::snapshot::Generation;
use microgw_extproc::metrics::Metrics;
use microgw_xds::{Outcome, Publication, Publisher, State};
use tracing::Span;

/// Counted and traced.
pub struct Publishing {
    started: Instant,
    metrics: Arc<Metrics>,
    pub span: Span,
}

// === impl Publishing ===

impl Publishing {
    pub fn begin(metrics: &Arc<Metrics>) -> Publishing {
        let span = tracing::info_span!("publish", generation = tracing::field::Empty, outcome = tracing::field::Empty);
        Publishing { started: Instant::now(), metrics: Arc::clone(metrics), span }
    }

    /// Reads what is published.
    pub fn load<T>(&self, load: impl FnOnce() -> T) -> T {
        tracing::info_span!(parent: &self.span, "load").in_scope(load)
    }

    /// What is pending is followed until it is live, or something else is on offer.
    pub fn end(self, outcome: &Outcome, publisher: &Publisher) {
        match outcome {
            Outcome::Live { generation } => self.ended("live", Some(generation)),
            Outcome::Degraded { generation, .. } => self.ended("degraded", Some(generation)),
            Outcome::Rejected(_) => self.ended("rejected", None),
            Outcome::Unchanged => self.ended("unchanged", None),
            Outcome::Superseded => self.ended("superseded", None),
            Outcome::Pending { generation } => {
                let (generation, mut publications) = (generation.clone(), publisher.subscribe());
                tokio::spawn(async move {
                    let settled = |publication: &Publication| settled(publication, &generation).is_some();
                    // An error: the gateway ends.
                    let Ok(publication) = publications.wait_for(settled).await.map(|publication| publication.clone())
                    else {
                        return;
                    };
                    let outcome = self::settled(&publication, &generation).unwrap_or("superseded");
                    self.ended(outcome, Some(&generation));
                });
            }
        }
    }

    /// There was nothing to offer.
    pub fn failed(self) {
        self.ended("failed", None);
    }

    fn ended(self, outcome: &'static str, generation: Option<&Generation>) {
        self.span.record("outcome", outcome);
        if let Some(generation) = generation {
            self.span.record("generation", tracing::field::display(generation));
        }
        self.metrics.published(outcome, self.started.elapsed());
    }
}

/// What became of a generation that was pending; `None`: it still is.
fn settled(publication: &Publication, generation: &Generation) -> Option<&'static str> {
    if publication.live.as_ref() == Some(generation) {
        return Some("live");
    }
    match publication.state {
        State::Starting | State::Publishing => None,
        State::Live => Some("superseded"),
        // Without the APIs at fault it is another generation.
        State::Degraded => Some("degraded"),
        State::Rejected => Some("rejected"),
    }
}
