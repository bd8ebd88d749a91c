//! `pattern`, metered. Time is linear in a text and in the pattern, and both may be long: the two multiplied are what is bounded.
//!
//! A text is read by an automaton that is made as it goes, and remembered: a byte costs next to nothing, and what was not met
//! before costs its memory. Where it keeps forgetting, all states of the pattern are followed at once, and are paid for.

use jsonschema::json::Node as _;
use jsonschema::{Keyword, ValidationError};
use regex_automata::Input;
use regex_automata::dfa::{StartKind, dense};
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use serde_json::{Map, Value};

use crate::dialect;
use crate::instance::{Probe, Tree};
use crate::reasons;

/// Bytes of a compiled pattern, and of what each thread remembers of it.
pub(crate) const SIZE: usize = 1 << 20;
pub(crate) const CACHE: usize = 256 << 10;
/// Bytes of an automaton that is remembered whole, whatever the text, and of what making it takes.
const WHOLE: usize = 64 << 10;
const MAKING: usize = 512 << 10;
/// What is forgotten so often is not worth it, unless each state was good for so many bytes.
const FORGOTTEN: usize = 1;
const WORTH: usize = 16;
/// With what was remembered before, and without.
const ATTEMPTS: usize = 2;
/// Bytes of text that cost as much as a state at one byte.
const QUICK: usize = 8;

/// The keyword, in the library's place: it has no meter.
pub(crate) struct Pattern {
    nfa: NFA,
    /// `None`: nothing of it is ever remembered.
    automaton: Option<(DFA, Caches)>,
    reason: String,
}

type Caches = Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>;

// === impl Pattern ===

impl Pattern {
    /// `None`: it is no regular expression, or one that takes more than linear time or too much memory.
    pub(crate) fn new(pattern: &str) -> Option<Pattern> {
        let nfa = nfa(pattern)?;
        let config = Config::new()
            .cache_capacity(CACHE)
            .skip_cache_capacity_check(true)
            .unicode_word_boundary(true)
            .minimum_cache_clear_count(Some(FORGOTTEN))
            .minimum_bytes_per_state(Some(WORTH));
        let automaton = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok();
        let automaton = automaton.map(|automaton| {
            let made = automaton.clone();
            let make: Box<dyn Fn() -> Cache + Send + Sync> = Box::new(move || made.create_cache());
            (automaton, Pool::new(make))
        });
        Some(Pattern { nfa, automaton, reason: reasons::of_pattern(pattern) })
    }

    fn matches(&self, probe: Probe<'_>) -> bool {
        let Some(text) = probe.as_string() else { return true };
        let input = Input::new(text.as_bytes()).earliest(true);
        // What is found out without fuel is not believed.
        if !probe.affords(text.len() / QUICK + 1, 1) {
            return true;
        }
        if let Some((automaton, caches)) = &self.automaton {
            let mut cache = caches.get();
            for _ in 0..ATTEMPTS {
                let before = (cache.clear_count(), cache.memory_usage());
                let found = automaton.try_search_fwd(&mut cache, &input);
                let forgotten = cache.clear_count().saturating_sub(before.0).saturating_mul(CACHE);
                let made = cache.memory_usage().saturating_add(forgotten).saturating_sub(before.1);
                if !probe.affords(made, 1) {
                    return true;
                }
                if let Ok(found) = found {
                    return found.is_some();
                }
                // What it remembers may be of texts that nobody sends again.
                automaton.reset_cache(&mut cache);
            }
        }
        if !probe.affords(text.len(), self.nfa.states().len() as u64) {
            return true;
        }
        let Ok(all) = PikeVM::new_from_nfa(self.nfa.clone()) else { return true };
        all.is_match(&mut all.create_cache(), input)
    }
}

impl<'i> Keyword<'i, Tree> for Pattern {
    fn validate(&self, probe: Probe<'i>) -> Result<(), ValidationError<'i>> {
        if self.matches(probe) { Ok(()) } else { Err(ValidationError::custom(self.reason.clone())) }
    }

    fn is_valid(&self, probe: Probe<'i>) -> bool {
        self.matches(probe)
    }
}

/// Of a pattern as ECMA-262 has it.
fn nfa(pattern: &str) -> Option<NFA> {
    let linear = jsonschema_regex::to_rust_regex(pattern).ok()?;
    let config = thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(SIZE));
    thompson::Compiler::new().configure(config).build(&linear).ok()
}

/// What a byte costs where nothing is remembered by us: one state of an automaton that is small enough to be; otherwise all that it may
/// be in at once.
fn weight(nfa: &NFA) -> u64 {
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(WHOLE))
        .determinize_size_limit(Some(MAKING));
    match dense::Builder::new().configure(config).build_from_nfa(nfa) {
        Ok(_) => 1,
        Err(_) => nfa.states().len() as u64,
    }
}

/// What a byte of a member's name costs where schemas compare names with patterns. 0: they do not.
pub(crate) fn weight_of_names(schemas: &[Value]) -> u64 {
    let (mut of_names, mut of_texts, mut any_name) = (0, 0, false);
    let mut visit = |schema: &Map<String, Value>| {
        let cost = |pattern: &str| nfa(pattern).map_or(0, |nfa| weight(&nfa));
        let named =
            schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(|named| named.keys());
        of_names = named.map(|pattern| cost(pattern)).fold(of_names, u64::max);
        any_name |= schema.contains_key("propertyNames");
        // Those that `propertyNames` leads to are anywhere.
        if any_name && let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
            of_texts = cost(pattern).max(of_texts);
        }
    };
    let has_names = schemas.iter().any(|schema| says(schema, &["propertyNames"]));
    if !has_names && !schemas.iter().any(|schema| says(schema, &["patternProperties"])) {
        return 0;
    }
    if has_names {
        visit(&Map::from_iter([("propertyNames".to_owned(), Value::Bool(true))]));
    }
    for schema in schemas {
        each(schema, &mut visit);
    }
    of_names.max(of_texts)
}

fn says(schema: &Value, keywords: &[&str]) -> bool {
    let mut found = false;
    each(schema, &mut |schema| found |= keywords.iter().any(|keyword| schema.contains_key(*keyword)));
    found
}

/// A schema, and all that are in it.
fn each(schema: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
    let Value::Object(schema) = schema else { return };
    visit(schema);
    dialect::parts(schema).for_each(|(_, part)| each(part, visit));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::instance::Instance;

    fn random(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn what_a_byte_costs() {
        let of = |pattern: &str| weight(&nfa(pattern).unwrap());
        for small in
            ["^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}$", "^[a-z0-9._%+-]+@[a-z0-9.-]+$", "x", "^(red|green)$", "^\\d{4}$"]
        {
            assert_eq!(of(small), 1, "{small}");
        }
        for large in ["^(\\w{1,30} ?){1,50}$", "(a|b)*a(a|b){60}", "^(a?){50}(b|c|d|[e-z]{1,50}){1,40}$"] {
            assert!(of(large) > 30, "{large}: {}", of(large));
        }
    }

    #[test]
    fn a_long_text_is_compared_as_long_as_it_is_paid_for() {
        let compiled = |pattern: &str| {
            let schema = json!({"type": "array", "items": {"pattern": pattern}});
            let schemas = microgw_proto::contracts::v1::Schemas { schemas: vec![schema.to_string()] };
            crate::Schemas::compile(&schemas, crate::Direction::Request).unwrap()
        };
        let check_by = |schemas: &crate::Schemas, texts: &[String]| {
            let count = u32::try_from(texts.len()).unwrap();
            let texts = texts.iter().map(|text| Instance::Text(text.as_str().into())).collect();
            schemas.compiled.is_valid("0", &Instance::List(texts), count)
        };
        let check = |pattern: &str, texts: &[String]| check_by(&compiled(pattern), texts);
        let words = "^(\\w{1,30} ?){1,50}$";
        let name = "^\\p{L}[\\p{L} '-]{0,49}$";
        let names: Vec<_> = (0..2000)
            .map(|number| format!("Jos\u{e9} Garc\u{ed}a L\u{f3}pez {}", "abcdefghij".get(..number % 10).unwrap()))
            .collect();
        let by_name = compiled(name);
        assert_eq!(check_by(&by_name, &names), Ok(true), "what people are called");
        // Whatever strangers have it remember.
        let letters: Vec<char> = ('\u{c0}'..'\u{d7ff}').filter(|c| c.is_alphabetic()).collect();
        let mut seed = 7_u64;
        for _ in 0..20 {
            let strange: Vec<String> = (0..60)
                .map(|_| {
                    (0..49)
                        .map(|_| letters[usize::try_from(random(&mut seed) % letters.len() as u64).unwrap()])
                        .collect()
                })
                .collect();
            let _ = check_by(&by_name, &strange);
            assert_eq!(check_by(&by_name, &names), Ok(true));
        }
        assert_eq!(check(words, &["two words".to_owned(), "and three more".to_owned()]), Ok(true));
        assert_eq!(check(words, &["no, no".to_owned()]), Ok(false));
        let id = "^[0-9a-f]{8}-[0-9a-f]{4}$";
        assert_eq!(check(id, &vec!["0123abcd-0123".to_owned(); 100_000]), Ok(true));
        // Whatever it is, it ends, and says so.
        let long: Vec<_> = (0..5000).map(|number| "w".repeat(150 + number % 60)).collect();
        let _ = check(words, &long);
        let forgetful = "(a|b)*a(a|b){60}c";
        let mut seed = 1_u64;
        let text: String = (0..1_000_000).map(|_| if random(&mut seed) & 1 == 0 { 'a' } else { 'b' }).collect();
        assert_eq!(check(forgetful, &[text]), Err(crate::schemas::TooLong));
    }

    #[test]
    fn names_cost_where_they_are_compared() {
        let large = "(a|b)*a(a|b){60}";
        assert_eq!(weight_of_names(&[json!({"pattern": large}), json!({"properties": {"a": {}}})]), 0);
        assert_eq!(
            weight_of_names(&[json!({"items": {"patternProperties": {"^x-": {}}}}), json!({"pattern": large})]),
            1
        );
        assert!(weight_of_names(&[json!({"patternProperties": {large: {}}})]) > 30);
        assert!(weight_of_names(&[json!({"pattern": large}), json!({"propertyNames": {"$ref": "#/$defs/0"}})]) > 30);
    }
}
