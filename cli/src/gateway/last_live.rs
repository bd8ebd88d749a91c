//! What is live, and was: an Envoy that outlives the gateway has its routes, and a publish that fails falls back to it.
//! Kept in the data directory, as the artifact and as the rules that were armed (they depend on the settings of then).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use microgw_compiler::artifact;
use microgw_compiler::assemble::substitute;
use microgw_compiler::model::Model;
use microgw_compiler::snapshot::{Fallbacks, Generation, Snapshot};
use microgw_proto::rules::v1::RuleBook;
use prost::Message as _;

use crate::build::{self, write_atomically};

/// Candidates that Envoy refuses never become live: only the newest are remembered.
const MOST_MADE: usize = 64;

/// An artifact in memory. The model is many times as large and is made when it is needed; the one that it was checked
/// with serves once.
pub struct Loaded {
    pub bytes: Vec<u8>,
    pub artifact: String,
    checked: Mutex<Option<Model>>,
}

pub struct LastLive {
    artifact: PathBuf,
    rules: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Loaded>>,
    /// Snapshots that were made and are not live yet, oldest first.
    made: Vec<(Generation, Made)>,
}

struct Made {
    loaded: Arc<Loaded>,
    fallbacks: Fallbacks,
    previous: Option<Arc<Loaded>>,
    rules: Vec<u8>,
}

// === impl Loaded ===

impl Loaded {
    /// `model` is what the bytes encode, if it is wanted soon.
    pub fn new(bytes: Vec<u8>, model: Option<Model>) -> Loaded {
        Loaded { artifact: artifact::id(&bytes), bytes, checked: Mutex::new(model) }
    }

    pub fn read(path: &Path) -> anyhow::Result<Loaded> {
        build::load(path).map(|(model, bytes)| Loaded::new(bytes, Some(model)))
    }

    pub fn model(&self) -> anyhow::Result<Model> {
        if let Some(model) = self.checked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(model);
        }
        artifact::decode(&self.bytes).context("cannot load the artifact")
    }
}

// === impl LastLive ===

impl LastLive {
    /// Of `project`, below the data directory.
    pub fn new(data: &Path, project: &str) -> LastLive {
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let name: String = project.chars().map(safe).collect();
        let path = |extension: &str| data.join(format!("live-{name}.{extension}"));
        LastLive { artifact: path("mgw"), rules: path("rules"), state: Mutex::default() }
    }

    /// Reads what was live when the gateway ended. What cannot be read is as good as absent: it would only have bridged
    /// a restart.
    pub fn resume(&self) -> Option<(Arc<Loaded>, RuleBook)> {
        if !self.artifact.exists() {
            return None;
        }
        let read = || -> anyhow::Result<(Loaded, RuleBook)> {
            let rules = std::fs::read(&self.rules).context("cannot read its rules")?;
            Ok((Loaded::read(&self.artifact)?, RuleBook::decode(rules.as_slice()).context("cannot decode its rules")?))
        };
        match read() {
            Ok((loaded, rules)) => {
                let loaded = Arc::new(loaded);
                self.lock().current = Some(loaded.clone());
                Some((loaded, rules))
            }
            Err(error) => {
                tracing::warn!(path = %self.artifact.display(), "cannot use what was live last: {error:#}");
                None
            }
        }
    }

    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.lock().current.clone()
    }

    /// Remembers how a snapshot was made, in case it becomes live.
    pub fn made(
        &self,
        snapshot: &Snapshot,
        loaded: &Arc<Loaded>,
        fallbacks: &Fallbacks,
        previous: Option<&Arc<Loaded>>,
    ) {
        let made = Made {
            loaded: loaded.clone(),
            fallbacks: fallbacks.clone(),
            previous: previous.cloned(),
            rules: snapshot.rules.encode_to_vec(),
        };
        let mut state = self.lock();
        if state.made.len() == MOST_MADE {
            state.made.remove(0);
        }
        state.made.push((snapshot.generation.clone(), made));
    }

    /// Keeps what has become live. APIs in fallback are kept with the content that serves.
    pub fn became_live(&self, generation: &Generation) -> anyhow::Result<()> {
        let made = {
            let mut state = self.lock();
            // Older ones were passed over. A newer one may be on its way already.
            let at = state.made.iter().rposition(|(made, _)| made == generation);
            at.and_then(|at| state.made.drain(..=at).next_back())
        };
        let Some((_, made)) = made else { return Ok(()) };
        let loaded = if made.fallbacks.is_empty() {
            made.loaded
        } else {
            let previous = made.previous.map(|previous| previous.model()).transpose()?;
            let model = substitute(&made.loaded.model()?, &made.fallbacks, previous.as_ref());
            Arc::new(Loaded::new(artifact::encode(&model), None))
        };
        self.lock().current = Some(loaded.clone());
        write_atomically(&self.rules, &made.rules)?;
        write_atomically(&self.artifact, &loaded.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
