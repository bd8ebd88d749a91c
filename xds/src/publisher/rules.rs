//! Rules stay armed for as long as something that may serve refers to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use microgw_compiler::snapshot::{Generation, Snapshot};

use super::{Rejection, RuleSink};

pub(super) struct Armory {
    sink: Arc<dyn RuleSink>,
    armed: Mutex<BTreeMap<Generation, Weak<Armed>>>,
}

/// The rules of one generation, retired when the last reference is dropped.
pub(super) struct Armed {
    sink: Arc<dyn RuleSink>,
    generation: Generation,
}

impl Armory {
    pub(super) fn new(sink: Arc<dyn RuleSink>) -> Armory {
        Armory { sink, armed: Mutex::default() }
    }

    /// Loads the rules, unless they are armed already: two snapshots of one generation share them.
    pub(super) fn arm(&self, snapshot: &Snapshot) -> Result<Arc<Armed>, Rejection> {
        let mut all = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, armed| armed.strong_count() > 0);
        if let Some(armed) = all.get(&snapshot.generation).and_then(Weak::upgrade) {
            self.sink.renew(&snapshot.generation);
            return Ok(armed);
        }
        // Made first: a sink that panics half-way is told to retire what it has.
        let armed = Arc::new(Armed { sink: Arc::clone(&self.sink), generation: snapshot.generation.clone() });
        self.sink.load(snapshot).map_err(Rejection::Rules)?;
        all.insert(snapshot.generation.clone(), Arc::downgrade(&armed));
        Ok(armed)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.sink.retire(&self.generation);
    }
}
