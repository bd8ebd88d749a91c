//! The schemas of an API, for one direction.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jsonschema::paths::Location;
use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use microgw_proto::contracts::v1 as proto;
use serde_json::{Map, Value};

use crate::direction::{Direction, NEVER};
use crate::instance::{Fuel, Instance, Probe, Tree};
use crate::patterns::{self, Pattern};
use crate::violation::{Place, Violations};
use crate::{MAX_SCHEMAS, MAX_SCHEMAS_SIZE, complexity, dialect, formats, reasons};

/// Looks into containers: for any message, and for each of its values.
const FUEL: u32 = 50_000;
const FUEL_PER_VALUE: u32 = 100;
/// For telling what is wrong, once it is known that something is.
const FUEL_TO_TELL: u32 = 5_000;

/// All of an API, compiled as one, so that what several operations refer to is there once.
#[derive(Clone)]
pub struct Schemas {
    /// As they are in this direction, for those who look into them.
    pub(crate) values: Arc<Vec<Value>>,
    pub(crate) compiled: Arc<Compiled>,
}

pub(crate) struct Compiled {
    validator: Validator<Tree>,
    pub(crate) max_depth: usize,
    /// What a byte of a member's name costs.
    of_name: u64,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema {schema}{pointer}: {reason}")]
pub struct Mistake {
    pub schema: usize,
    /// JSON pointer in it.
    pub pointer: String,
    pub reason: String,
}

// === impl Schemas ===

impl Schemas {
    pub fn compile(schemas: &proto::Schemas, direction: Direction) -> Result<Schemas, Mistake> {
        let all = 0..schemas.schemas.len();
        Schemas::of(read(schemas, all.clone())?, all, direction)
    }

    fn of(
        mut values: Vec<Value>,
        members: impl Iterator<Item = usize>,
        direction: Direction,
    ) -> Result<Schemas, Mistake> {
        direction.apply(&mut values);
        let max_depth = complexity::max_depth(&values).map_err(|(index, reason)| Mistake::new(index, reason))?;
        let validator = validator(&values, members)?;
        let of_name = patterns::weight_of_names(&values);
        Ok(Schemas { values: Arc::new(values), compiled: Arc::new(Compiled { validator, max_depth, of_name }) })
    }

    /// Everything that is wrong with `members`, which lead to no others, as far as one does not hide another: for those who write
    /// schemas. What is wrong is left out, so that the rest can be used; `None`: all of it is too much.
    pub fn check(schemas: &mut proto::Schemas, members: &[usize]) -> (Vec<Mistake>, Option<Schemas>) {
        let mut values = match read(schemas, members.iter().copied()) {
            Ok(values) => values,
            Err(mistake) => return (vec![mistake], None),
        };
        let mut mistakes = Vec::new();
        for index in members.iter().copied() {
            let Some(value) = values.get_mut(index) else { continue };
            let before = mistakes.len();
            if let Err(error) = jsonschema::draft202012::meta::validate(value) {
                let (pointer, reason) = (error.instance_path().as_str().to_owned(), reasons::of(error.kind()));
                mistakes.push(Mistake { schema: index, pointer, reason: format!("it {reason}") });
            } else {
                check_patterns(value, &mut String::new(), &mut |pointer, reason| {
                    mistakes.push(Mistake { schema: index, pointer: pointer.to_owned(), reason });
                });
            }
            if mistakes.len() > before {
                *value = Value::Bool(true);
            }
        }
        // One at a time, and no more than anybody reads.
        let mut compiled = None;
        for _ in 0..20 {
            match Schemas::of(values.clone(), members.iter().copied(), Direction::Request) {
                Ok(schemas) => {
                    compiled = Some(schemas);
                    break;
                }
                Err(mistake) => {
                    let Some(value) = values.get_mut(mistake.schema).filter(|value| !value.is_boolean()) else { break };
                    *value = Value::Bool(true);
                    mistakes.push(mistake);
                }
            }
        }
        for mistake in &mistakes {
            if let Some(text) = schemas.schemas.get_mut(mistake.schema) {
                "true".clone_into(text);
            }
        }
        (mistakes, compiled)
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").field("count", &self.values.len()).finish_non_exhaustive()
    }
}

/// The others are `true`.
fn read(schemas: &proto::Schemas, members: impl Iterator<Item = usize>) -> Result<Vec<Value>, Mistake> {
    let size: usize = schemas.schemas.iter().map(String::len).sum();
    if schemas.schemas.len() > MAX_SCHEMAS || size > MAX_SCHEMAS_SIZE {
        return Err(Mistake::new(0, "there are too many schemas, or they are too long"));
    }
    let mut values = vec![Value::Bool(true); schemas.schemas.len()];
    for index in members {
        let (Some(text), Some(value)) = (schemas.schemas.get(index), values.get_mut(index)) else { continue };
        *value =
            serde_json::from_str(text).map_err(|error| Mistake::new(index, format!("it cannot be read: {error}")))?;
    }
    Ok(values)
}

/// One schema for all: an object whose one member is called by the index of its schema.
fn validator(values: &[Value], members: impl Iterator<Item = usize>) -> Result<Validator<Tree>, Mistake> {
    let (mut names, mut schemas) = (Map::new(), Map::new());
    for index in members {
        names.insert(index.to_string(), dialect::reference(index));
        schemas.insert(index.to_string(), values.get(index).cloned().unwrap_or_default());
    }
    let root = Value::Object(Map::from_iter([
        ("properties".to_owned(), Value::Object(names)),
        ("$defs".to_owned(), Value::Object(schemas)),
    ]));
    options().build(&root).map_err(|error| Mistake::of(&error))
}

fn options<'i>() -> jsonschema::ValidationOptions<'i, Arc<dyn jsonschema::Retrieve>, Tree> {
    let options = jsonschema::options_for::<Tree>()
        .offline()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(patterns::SIZE).dfa_size_limit(patterns::CACHE))
        .should_validate_formats(true)
        .with_keyword("pattern", |_, value, _| match value.as_str().and_then(Pattern::new) {
            Some(pattern) => Ok(Box::new(pattern)),
            None => Err(ValidationError::custom("is no regular expression, or takes more than linear time")),
        })
        .with_keyword(NEVER, |_, value, _| {
            let why = if value == "readOnly" { "is read-only" } else { "is write-only" };
            Ok(Box::new(Never(why)))
        });
    formats::with_texts(options)
}

/// Patterns that the linear engine does not have.
fn check_patterns(schema: &Value, pointer: &mut String, report: &mut impl FnMut(&str, String)) {
    let Value::Object(map) = schema else { return };
    let own = map.get("pattern").and_then(Value::as_str).map(|pattern| ("/pattern".to_owned(), pattern));
    let named = map.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    for (at, pattern) in own.into_iter().chain(named.map(|name| ("/patternProperties".to_owned(), name.as_str()))) {
        if Pattern::new(pattern).is_none() {
            let reason = format!(
                "the pattern `{pattern}` is no regular expression, or one that takes too much memory, or more than linear time (look-around, back-references)"
            );
            report(&format!("{pointer}{at}"), reason);
        }
    }
    for (key, value) in map {
        let length = pointer.len();
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match (dialect::arrangement(key), value) {
            (Some(dialect::Arrangement::One), value) => {
                pointer.extend(["/", key]);
                check_patterns(value, pointer, report);
            }
            (Some(dialect::Arrangement::Several), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    pointer.extend(["/", key, "/", &index.to_string()]);
                    check_patterns(item, pointer, report);
                    pointer.truncate(length);
                }
            }
            (Some(dialect::Arrangement::Named), Value::Object(named)) => {
                for (name, item) in named {
                    pointer.extend(["/", key, "/", &escaped(name)]);
                    check_patterns(item, pointer, report);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
        pointer.truncate(length);
    }
}

/// The keyword of what does not go this way.
struct Never(&'static str);

impl<'i> Keyword<'i, Tree> for Never {
    fn validate(&self, _: Probe<'i>) -> Result<(), ValidationError<'i>> {
        Err(ValidationError::custom(self.0))
    }

    fn is_valid(&self, _: Probe<'i>) -> bool {
        false
    }
}

// === impl Compiled ===

impl Compiled {
    /// Whether `value`, of that many values, is as the schema of that name says. `Err`: it takes too long to find out.
    pub(crate) fn is_valid(&self, schema: &str, value: &Instance<'_>, count: u32) -> Result<bool, TooLong> {
        let fuel = Fuel::new(FUEL.saturating_add(count.saturating_mul(FUEL_PER_VALUE)), self.of_name);
        let valid = self.validator.is_valid(Probe::root(schema, value, &fuel));
        if fuel.is_used_up() { Err(TooLong) } else { Ok(valid) }
    }

    /// Tells what is wrong with a value. `name`: of a parameter; a body is told by pointers.
    pub(crate) fn tell(
        &self,
        schema: &str,
        value: &Instance<'_>,
        place: Place,
        name: &str,
        count: u32,
        violations: &mut Violations,
    ) {
        let before = violations.len();
        let fuel = Fuel::new(FUEL_TO_TELL, self.of_name);
        let mut told = |error: &ValidationError<'_>| {
            let pointer = error.instance_path().as_str();
            let below = pointer.strip_prefix('/').and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
            let below = below.unwrap_or_default();
            let name = if name.is_empty() { Cow::Borrowed(below) } else { Cow::Owned(format!("{name}{below}")) };
            violations.add(place, &name, reasons::of(error.kind()));
            !violations.has_more()
        };
        for error in self.validator.iter_errors(Probe::root(schema, value, &fuel)) {
            if !told(&error) {
                return;
            }
        }
        if violations.len() > before {
            return;
        }
        // It is farther in than could be looked.
        let fuel = Fuel::new(FUEL.saturating_add(count.saturating_mul(FUEL_PER_VALUE)), self.of_name);
        let first = self.validator.validate(Probe::root(schema, value, &fuel));
        match first {
            Err(error) => {
                let pointer = error.instance_path().as_str().to_owned();
                let below = pointer.strip_prefix('/').and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
                violations.add(place, below.unwrap_or(name), reasons::of(error.kind()));
            }
            Ok(()) => violations.add(place, name, "is not as its schema says"),
        }
    }

    /// Checks a value, and tells what is wrong.
    pub(crate) fn check(
        &self,
        schema: &str,
        value: &Instance<'_>,
        place: Place,
        name: &str,
        count: u32,
        violations: &mut Violations,
    ) {
        match self.is_valid(schema, value, count) {
            Ok(true) => {}
            Ok(false) => self.tell(schema, value, place, name, count, violations),
            Err(TooLong) => violations.add(place, name, TooLong::REASON),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl TooLong {
    pub(crate) const REASON: &'static str = "takes too long to be checked";
}

// === impl Mistake ===

impl Mistake {
    fn new(schema: usize, reason: impl Into<String>) -> Mistake {
        Mistake { schema, pointer: String::new(), reason: reason.into() }
    }

    /// Where the library found it: in the schema as an instance of its own, or on the way through it.
    fn of(error: &ValidationError<'_>) -> Mistake {
        let place = |location: &Location| {
            let rest = location.as_str().strip_prefix("/$defs/")?;
            let (index, pointer) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Some((index.parse().ok()?, pointer.to_owned()))
        };
        let found = place(error.instance_path()).or_else(|| place(error.schema_path()));
        let (schema, pointer) = found.unwrap_or_default();
        Mistake { schema, pointer, reason: format!("it {}", reasons::of(error.kind())) }
    }
}

#[cfg(test)]
mod tests;
