//! What a text stands for where there is text alone.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::instance::Instance;

/// Types that a value may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u8);

// === impl Types ===

impl Types {
    pub(crate) const NULL: Types = Types(1);
    pub(crate) const BOOLEAN: Types = Types(2);
    pub(crate) const INTEGER: Types = Types(4);
    /// Whole or not.
    pub(crate) const NUMBER: Types = Types(4 | 8);
    pub(crate) const TEXT: Types = Types(16);
    pub(crate) const LIST: Types = Types(32);
    pub(crate) const MAP: Types = Types(64);
    pub(crate) const NONE: Types = Types(0);
    pub(crate) const ANY: Types = Types(127);

    pub(crate) fn named(name: &str) -> Types {
        match name {
            "null" => Types::NULL,
            "boolean" => Types::BOOLEAN,
            "integer" => Types::INTEGER,
            "number" => Types::NUMBER,
            "string" => Types::TEXT,
            "array" => Types::LIST,
            "object" => Types::MAP,
            _ => Types::NONE,
        }
    }

    pub(crate) fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(_) => Types::NUMBER,
            Value::String(_) => Types::TEXT,
            Value::Array(_) => Types::LIST,
            Value::Object(_) => Types::MAP,
        }
    }

    pub(crate) fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    /// Any of `other`.
    pub(crate) fn has(self, other: Types) -> bool {
        self.0 & other.0 != 0
    }

    fn is_any(self) -> bool {
        self == Types::ANY
    }
}

/// What `text` may stand for, the most particular first: a number where it is one and there may be one, and itself.
pub(crate) fn readings(text: Cow<'_, str>, types: Types) -> impl Iterator<Item = Instance<'_>> {
    let special = if types.is_any() { None } else { special(&text, types) };
    let itself = (special.is_none() || types.has(Types::TEXT)).then_some(Instance::Text(text));
    special.into_iter().chain(itself)
}

/// Its only reading, where there can be one only.
pub(crate) fn reading(text: Cow<'_, str>, types: Types) -> Instance<'_> {
    readings(text, types).next().unwrap_or_default()
}

fn special(text: &str, types: Types) -> Option<Instance<'static>> {
    if types.has(Types::NUMBER)
        && let Some(number) = number(text, types.has(Types(8)))
    {
        return Some(Instance::Number(number));
    }
    match text {
        "true" | "false" if types.has(Types::BOOLEAN) => Some(Instance::Bool(text == "true")),
        "" if types.has(Types::NULL) && !types.has(Types::TEXT) => Some(Instance::Null),
        _ => None,
    }
}

/// As JSON writes it; a whole number has digits alone.
fn number(text: &str, fraction: bool) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > 400 || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if !fraction && !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse()
        .ok()
        .map(|number: Number| number.as_f64().filter(|_| number.is_f64()).and_then(beyond).unwrap_or(number))
}

/// A whole number that is too long for 64 bits is the nearest of IEEE 754, which may be the least that they hold. So that it is less
/// than that all the same.
pub(crate) fn beyond(number: f64) -> Option<Number> {
    #[allow(clippy::cast_precision_loss)] // it is a power of two
    let least = i64::MIN as f64;
    Number::from_f64(if number.to_bits() == least.to_bits() { least.next_down() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_they_may_be() {
        let read = |text: &'static str, types| readings(text.into(), types).collect::<Vec<_>>();
        let text = |text: &'static str| Instance::Text(text.into());
        assert_eq!(read("5", Types::INTEGER), [Instance::Number(5.into())]);
        assert_eq!(read("-5", Types::TEXT), [text("-5")]);
        assert_eq!(read("5", Types::INTEGER.or(Types::TEXT)), [Instance::Number(5.into()), text("5")]);
        assert_eq!(read("5", Types::ANY), [text("5")]);
        for not in ["05", "+5", " 5", "5 ", "0x5", "5.0", "1e3", "", "٣", "-", "1_0"] {
            assert_eq!(read(not, Types::INTEGER), [text(not)]);
        }
        assert_eq!(read("1e3", Types::NUMBER), [Instance::Number(Number::from_f64(1000.0).unwrap())]);
        assert_eq!(read("true", Types::BOOLEAN), [Instance::Bool(true)]);
        assert_eq!(read("True", Types::BOOLEAN), [text("True")]);
        assert_eq!(read("", Types::INTEGER.or(Types::NULL)), [Instance::Null]);
        assert_eq!(read("1e999", Types::NUMBER), [text("1e999")]);
    }
}
