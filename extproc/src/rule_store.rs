//! The rules of every generation that is still in use, by their id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use microgw_engine::{Answers, LoadError, Rule, RuleId, Rules};
use microgw_proto::rules::v1::RuleBook;

use crate::metrics::{Operations, Place};

/// Requests read it without a lock; a publish adds a generation before Envoy learns of its routes, and takes the old one
/// away once no Envoy has them any more.
#[derive(Debug, Default)]
pub struct RuleStore {
    union: ArcSwap<HashMap<RuleId, Armed>>,
    /// Of the newest generation, for answers that belong to no rule.
    answers: ArcSwap<Answers>,
    /// Oldest first.
    generations: Mutex<Vec<Generation>>,
    operations: Arc<Operations>,
    /// The last one that was given.
    term: AtomicU64,
}

#[derive(Debug)]
struct Generation {
    name: String,
    rules: Rules,
    answers: Arc<Answers>,
    terms: HashMap<RuleId, u64>,
}

/// A rule, and where its decisions are counted.
#[derive(Clone, Debug)]
pub struct Armed {
    pub rule: Arc<Rule>,
    pub place: Place,
    /// Another one whenever the rule comes back after a generation without it.
    pub term: u64,
}

impl RuleStore {
    /// Adds a generation. Idempotent. On an error nothing changes.
    pub fn load(&self, book: &RuleBook) -> Result<(), LoadError> {
        let rules = Rule::load(book)?;
        let answers = Arc::new(Answers::load(book));
        let mut generations = self.lock();
        let terms = self.terms(&generations, &rules);
        generations.retain(|generation| generation.name != book.generation);
        generations.push(Generation { name: book.generation.clone(), rules, answers, terms });
        self.publish(&generations);
        Ok(())
    }

    /// A generation that is here still is to be the newest again.
    pub fn renew(&self, generation: &str) {
        let mut generations = self.lock();
        let Some(at) = generations.iter().position(|own| own.name == generation) else { return };
        let again = generations.remove(at);
        // Nothing has come in between, if it is the newest.
        let terms = if at == generations.len() { again.terms } else { self.terms(&generations, &again.rules) };
        generations.push(Generation { terms, ..again });
        self.publish(&generations);
    }

    /// Forgets a generation; what it shares with others stays.
    pub fn retire(&self, generation: &str) {
        let mut generations = self.lock();
        generations.retain(|own| own.name != generation);
        self.publish(&generations);
    }

    pub fn get(&self, id: RuleId) -> Option<Armed> {
        self.union.load().get(&id).cloned()
    }

    /// Decisions by operation.
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// How the newest generation words its faults.
    pub fn answers(&self) -> Arc<Answers> {
        self.answers.load_full()
    }

    /// Oldest first.
    pub fn generations(&self) -> Vec<String> {
        self.lock().iter().map(|generation| generation.name.clone()).collect()
    }

    /// Rules of all generations, each once.
    pub fn len(&self) -> usize {
        self.union.load().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn publish(&self, generations: &[Generation]) {
        let capacity = generations.iter().map(|generation| generation.rules.len()).max().unwrap_or(0);
        let mut union = HashMap::with_capacity(capacity);
        let rules = generations
            .iter()
            .flat_map(|generation| generation.rules.iter().map(move |(id, rule)| (id, rule, &generation.terms)));
        let places = self.operations.assign(rules.clone().map(|(_, rule, _)| &**rule));
        for ((id, rule, terms), place) in rules.zip(places) {
            let term = terms.get(id).copied().unwrap_or_default();
            union.insert(*id, Armed { rule: Arc::clone(rule), place, term });
        }
        self.union.store(Arc::new(union));
        self.answers.store(generations.last().map(|newest| Arc::clone(&newest.answers)).unwrap_or_default());
    }

    /// Those of the newest generation, and new ones.
    fn terms(&self, generations: &[Generation], rules: &Rules) -> HashMap<RuleId, u64> {
        let before = generations.last().map(|newest| &newest.terms);
        let new = || self.term.fetch_add(1, Ordering::Relaxed) + 1;
        let term = |id| before.and_then(|terms| terms.get(id).copied()).unwrap_or_else(new);
        rules.iter().map(|(id, _)| (*id, term(id))).collect()
    }

    /// Nothing between lock and unlock can leave the list half changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Generation>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use microgw_proto::rules::v1 as proto;

    use super::*;

    fn book(generation: &str, ids: &[u8]) -> RuleBook {
        let rule = |id: &u8| proto::Rule {
            id: vec![*id; 16],
            method: "GET".into(),
            path: format!("/{generation}"),
            ..Default::default()
        };
        RuleBook {
            generation: generation.into(),
            apis: vec![proto::Api::default()],
            policies: vec![proto::Policy { credential_header: "authorization".into(), ..Default::default() }],
            rules: ids.iter().map(rule).collect(),
            ..Default::default()
        }
    }

    fn id(byte: u8) -> RuleId {
        RuleId(u128::from_be_bytes([byte; 16]))
    }

    #[test]
    fn holds_the_union_of_the_generations_in_use() {
        let store = RuleStore::default();
        store.load(&book("one", &[1, 2])).unwrap();
        store.load(&book("two", &[2, 3])).unwrap();
        assert_eq!(store.generations(), ["one", "two"]);
        assert_eq!(store.len(), 3);
        assert_eq!(store.get(id(2)).unwrap().rule.operation(), "GET /two");

        store.retire("two");
        assert_eq!(store.get(id(2)).unwrap().rule.operation(), "GET /one");
        assert!(store.get(id(3)).is_none());
        store.retire("one");
        assert!(store.is_empty());
    }

    #[test]
    fn a_rule_that_was_away_begins_anew() {
        let store = RuleStore::default();
        let term = |byte| store.get(id(byte)).unwrap().term;
        store.load(&book("one", &[1, 2])).unwrap();
        let before = (term(1), term(2));
        assert_ne!(before.0, before.1);
        store.load(&book("one", &[1, 2])).unwrap();
        store.load(&book("two", &[2])).unwrap();
        assert_eq!((term(1), term(2)), before, "who is still there goes on");
        // Though the first generation is still in use somewhere.
        store.renew("one");
        assert_eq!((term(2), store.generations()), (before.1, vec!["two".to_owned(), "one".to_owned()]));
        assert_ne!(term(1), before.0);
        let before = (term(1), term(2));
        store.renew("one");
        assert_eq!((term(1), term(2)), before);
        // One that was taken back never was there.
        let before = term(1);
        store.load(&book("three", &[2])).unwrap();
        store.retire("three");
        store.load(&book("four", &[1])).unwrap();
        assert_eq!(term(1), before);
    }

    #[test]
    fn a_bad_book_changes_nothing() {
        let store = RuleStore::default();
        store.load(&book("one", &[1])).unwrap();
        let mut bad = book("two", &[2]);
        bad.rules[0].policy = 7;
        assert_eq!(store.load(&bad), Err(LoadError::UnknownPolicy(id(2))));
        assert_eq!(store.generations(), ["one"]);
        assert!(store.get(id(2)).is_none());
    }
}
