//! A value that is checked, and the meter that its checking runs on.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use jsonschema::json::{Array, Json, Node, NodeIdentity, Object};
use jsonschema::{JsonType, json::cmp};
use serde_json::{Number, Value};

/// What JSON can say. Texts are those of the message, as far as they stand in it as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Instance<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Instance<'a>>),
    /// By name; each once.
    Map(Vec<(Cow<'a, str>, Instance<'a>)>),
}

/// Steps that are left. Every look into a container is one.
pub(crate) struct Fuel {
    steps: Cell<u32>,
    /// States of patterns that are followed.
    patterns: Cell<u64>,
    /// What a byte of a name costs.
    of_name: u64,
}

/// For patterns, whatever the message: a few tenths of a second.
const FOR_PATTERNS: u64 = 25_000_000;

/// The values of this crate, to the library.
pub(crate) struct Tree;

/// A value on its way through the library. Without fuel containers have nothing in them, so that whatever a schema asks for comes to
/// an end; what it found out then is not believed.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    at: At<'a>,
    fuel: Option<&'a Fuel>,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Value(&'a Instance<'a>),
    /// Of a property.
    Name(&'a str),
    /// An object of one member.
    Root(&'a str, &'a Instance<'a>),
}

#[derive(Clone)]
pub(crate) enum Members<'a> {
    All(&'a [(Cow<'a, str>, Instance<'a>)], Option<&'a Fuel>),
    One(&'a str, &'a Instance<'a>, Option<&'a Fuel>),
    None,
}

#[derive(Clone)]
pub(crate) struct Items<'a>(&'a [Instance<'a>], Option<&'a Fuel>);

// === impl Instance ===

impl<'a> Instance<'a> {
    /// An object of these members. `Err`: a name that stands there twice.
    pub(crate) fn map(mut members: Vec<(Cow<'a, str>, Instance<'a>)>) -> Result<Instance<'a>, Cow<'a, str>> {
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let twice = members.windows(2).find_map(|pair| match pair {
            [a, b] if a.0 == b.0 => Some(a.0.clone()),
            _ => None,
        });
        twice.map_or(Ok(Instance::Map(members)), Err)
    }

    pub(crate) fn into_owned(self) -> Instance<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        match self {
            Instance::Null => Instance::Null,
            Instance::Bool(value) => Instance::Bool(value),
            Instance::Number(number) => Instance::Number(number),
            Instance::Text(text) => Instance::Text(owned(text)),
            Instance::List(items) => Instance::List(items.into_iter().map(Instance::into_owned).collect()),
            Instance::Map(members) => {
                Instance::Map(members.into_iter().map(|(name, value)| (owned(name), value.into_owned())).collect())
            }
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Instance::Null, Value::Null) => true,
            (Instance::Bool(a), Value::Bool(b)) => a == b,
            (Instance::Number(a), Value::Number(b)) => cmp::equal_numbers(a, b),
            (Instance::Text(a), Value::String(b)) => a == b,
            (Instance::List(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Instance::Map(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name.as_ref()).is_some_and(|b| a.equals(b)))
            }
            _ => false,
        }
    }

    /// As JSON Schema has it: numbers are what they are worth.
    fn is_same(&self, other: &Instance<'_>) -> bool {
        match (self, other) {
            (Instance::Number(a), Instance::Number(b)) => cmp::equal_numbers(a, b),
            (Instance::List(a), Instance::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b)),
            (Instance::Map(a), Instance::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.is_same(&b.1))
            }
            (Instance::Null, Instance::Null) => true,
            (Instance::Bool(a), Instance::Bool(b)) => a == b,
            (Instance::Text(a), Instance::Text(b)) => a == b,
            _ => false,
        }
    }

    /// Equal for what is the same.
    fn hash(&self, state: &mut impl Hasher) {
        match self {
            Instance::Null => state.write_u8(0),
            Instance::Bool(value) => state.write_u8(1 + u8::from(*value)),
            Instance::Number(number) => {
                let value = number.as_f64().unwrap_or_default();
                state.write_u64(if value == 0.0 { 0 } else { value.to_bits() });
            }
            Instance::Text(text) => text.hash(state),
            Instance::List(items) => {
                state.write_usize(items.len());
                for item in items {
                    item.hash(state);
                }
            }
            Instance::Map(members) => {
                state.write_usize(members.len());
                for (name, value) in members {
                    name.hash(state);
                    value.hash(state);
                }
            }
        }
    }
}

// === impl Fuel ===

impl Fuel {
    /// `of_name`: what a byte of a member's name costs.
    pub(crate) fn new(steps: u32, of_name: u64) -> Fuel {
        Fuel { steps: Cell::new(steps), patterns: Cell::new(FOR_PATTERNS), of_name }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.steps.get() == 0
    }

    fn burn(&self) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        left > 0
    }

    fn burn_text(&self, bytes: usize, weight: u64) -> bool {
        let Some(left) = self.patterns.get().checked_sub((bytes as u64).saturating_mul(weight)) else {
            self.steps.set(0);
            return false;
        };
        self.patterns.set(left);
        !self.is_used_up()
    }
}

fn burn(fuel: Option<&Fuel>) -> bool {
    fuel.is_none_or(Fuel::burn)
}

// === impl Probe ===

impl<'a> Probe<'a> {
    /// `value` as the only member of an object.
    pub(crate) fn root(name: &'a str, value: &'a Instance<'a>, fuel: &'a Fuel) -> Probe<'a> {
        Probe { at: At::Root(name, value), fuel: Some(fuel) }
    }

    /// Whether a text of so many bytes can be compared with a pattern of that weight. Names were paid for when they were met.
    pub(crate) fn affords(&self, bytes: usize, weight: u64) -> bool {
        self.fuel.is_none_or(|fuel| fuel.burn_text(bytes, weight))
    }
}

impl Json for Tree {
    type Node<'a> = Probe<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Probe<'_>) -> T) -> T {
        f(Probe { at: At::Name(string), fuel: None })
    }
}

impl<'a> Node<'a, Tree> for Probe<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        let members = match self.at {
            At::Value(Instance::Map(members)) => Members::All(members, self.fuel),
            At::Root(name, value) => Members::One(name, value, self.fuel),
            _ => return None,
        };
        burn(self.fuel).then_some(members)
    }

    fn as_array(&self) -> Option<Items<'a>> {
        match self.at {
            At::Value(Instance::List(items)) => burn(self.fuel).then_some(Items(items, self.fuel)),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self.at {
            At::Value(Instance::Text(text)) => Some(Cow::Borrowed(text)),
            At::Name(name) => Some(Cow::Borrowed(name)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self.at {
            At::Value(Instance::Number(number)) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.at {
            At::Value(Instance::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self.at, At::Value(Instance::Null))
    }

    fn json_type(&self) -> JsonType {
        match self.at {
            At::Name(_) => JsonType::String,
            At::Root(..) => JsonType::Object,
            At::Value(value) => match value {
                Instance::Null => JsonType::Null,
                Instance::Bool(_) => JsonType::Boolean,
                Instance::Number(_) => JsonType::Number,
                Instance::Text(_) => JsonType::String,
                Instance::List(_) => JsonType::Array,
                Instance::Map(_) => JsonType::Object,
            },
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match self.at {
            At::Value(value) => value.equals(expected),
            At::Name(name) => expected == name,
            At::Root(..) => false,
        }
    }

    /// For errors alone, as what is compared has its own ways here. Of what is wrong no value is told.
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Value::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match self.at {
            At::Value(value) => Some(NodeIdentity::new(std::ptr::from_ref(value).addr())),
            At::Root(..) | At::Name(_) => None,
        }
    }
}

// === impl Members ===

impl<'a> Object<'a, Tree> for Members<'a> {
    type Node = Probe<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        match self {
            Members::All(members, _) => members.len(),
            Members::One(..) => 1,
            Members::None => 0,
        }
    }

    fn get(&self, key: &Box<str>) -> Option<Probe<'a>> {
        match *self {
            Members::All(members, fuel) => {
                if !burn(fuel) {
                    return None;
                }
                let (_, value) = find(members, key)?;
                Some(Probe { at: At::Value(value), fuel })
            }
            Members::One(name, value, fuel) => (name == &**key).then_some(Probe { at: At::Value(value), fuel }),
            Members::None => None,
        }
    }

    fn members(&self) -> Members<'a> {
        self.clone()
    }
}

/// Few are compared one by one, as lengths tell most names apart.
fn find<'a>(members: &'a [(Cow<'a, str>, Instance<'a>)], key: &str) -> Option<&'a (Cow<'a, str>, Instance<'a>)> {
    if members.len() <= 8 {
        return members.iter().find(|(name, _)| name == key);
    }
    let at = members.binary_search_by(|(name, _)| -> Ordering { name.as_ref().cmp(key) }).ok()?;
    members.get(at)
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Probe<'a>);

    fn next(&mut self) -> Option<(&'a str, Probe<'a>)> {
        match *self {
            Members::All(members, fuel) => {
                let ((name, value), rest) = members.split_first()?;
                *self = Members::All(rest, fuel);
                let paid = fuel.is_none_or(|fuel| fuel.burn() && fuel.burn_text(name.len(), fuel.of_name));
                paid.then_some((name.as_ref(), Probe { at: At::Value(value), fuel }))
            }
            Members::One(name, value, fuel) => {
                *self = Members::None;
                Some((name, Probe { at: At::Value(value), fuel }))
            }
            Members::None => None,
        }
    }
}

// === impl Items ===

impl<'a> Array<'a, Tree> for Items<'a> {
    type Node = Probe<'a>;
    type ElementsIter = Items<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Items<'a> {
        self.clone()
    }

    fn is_unique(&self) -> bool {
        let (keys, mut seen) = (RandomState::new(), HashMap::<u64, Vec<&Instance<'a>>>::new());
        self.0.iter().all(|item| {
            let mut hasher = keys.build_hasher();
            item.hash(&mut hasher);
            let alike = seen.entry(hasher.finish()).or_default();
            // Numbers that differ in what no float tells are all alike.
            let is_new = !alike.iter().any(|other| !burn(self.1) || other.is_same(item));
            alike.push(item);
            is_new
        })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Probe<'a>;

    fn next(&mut self) -> Option<Probe<'a>> {
        let (value, rest) = self.0.split_first()?;
        self.0 = rest;
        burn(self.1).then_some(Probe { at: At::Value(value), fuel: self.1 })
    }
}
