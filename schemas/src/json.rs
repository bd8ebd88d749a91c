//! JSON, read so that nobody can read it otherwise: each name once in its object, UTF-8 without a mark, nothing after its end.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::instance::Instance;
use crate::scalar::beyond;

/// What is wrong with a text that is no JSON, or none that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotJson(pub Cow<'static, str>);

const DEEP: &str = "it is nested too deep";
const TWICE: &str = "an object has a property twice";
const HUGE: &str = "a number is out of range";

/// The value, and how many values it has in it.
pub(crate) fn parse(bytes: &[u8], depth: usize) -> Result<(Instance<'_>, u32), NotJson> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(NotJson("it begins with a byte order mark".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotJson("it is not UTF-8".into()))?;
    let count = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Seed { depth, count: &count }.deserialize(&mut deserializer);
    let value = parsed.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| NotJson::of(&error))?;
    Ok((value, count.get()))
}

// === impl NotJson ===

impl NotJson {
    fn of(error: &serde_json::Error) -> NotJson {
        let text = error.to_string();
        if text.starts_with("recursion limit") {
            return NotJson(DEEP.into());
        }
        // Its own texts have nothing of the message.
        NotJson(Cow::Owned(text))
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    depth: usize,
    count: &'c Cell<u32>,
}

impl<'c> Seed<'c> {
    fn below<E: Error>(self) -> Result<Seed<'c>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(DEEP))?;
        Ok(Seed { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Instance<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Instance<'de>, D::Error> {
        self.count.set(self.count.get().saturating_add(1));
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Instance<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Instance<'de>, E> {
        Ok(Instance::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Instance<'de>, E> {
        Ok(Instance::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Instance<'de>, E> {
        Ok(Instance::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Instance<'de>, E> {
        Ok(Instance::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Instance<'de>, E> {
        beyond(value).map(Instance::Number).ok_or_else(|| E::custom(HUGE))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Instance<'de>, E> {
        Ok(Instance::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Instance<'de>, E> {
        Ok(Instance::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Instance<'de>, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Instance::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Instance<'de>, A::Error> {
        let below = self.below()?;
        let mut members = Vec::new();
        while let Some(Name(name)) = access.next_key_seed(NameSeed)? {
            members.push((name, access.next_value_seed(below)?));
        }
        Instance::map(members).map_err(|_| A::Error::custom(TWICE))
    }
}

struct Name<'de>(Cow<'de, str>);

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let refused = |text: &[u8]| parse(text, 64).unwrap_err().0;
        assert!(refused(br#"{"a": 1, "b": 2, "a": 3}"#).starts_with(TWICE));
        assert!(refused(br#"[{"a": 1, "\u0061": 3}]"#).starts_with(TWICE));
        assert!(refused(b"\xef\xbb\xbf{}").contains("byte order mark"));
        assert!(refused(b"\xff\xfe{\0}\0").contains("UTF-8"));
        assert!(refused(b"{} {}").contains("trailing characters"));
        for text in ["", " ", "{", "NaN", "1e400", "01", r#""\ud800""#, "{'a': 1}", "[1,]", "// c\n1", "\"a\nb\""] {
            refused(text.as_bytes());
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(64), 64).is_ok());
        assert!(parse(&nested(65), 64).unwrap_err().0.starts_with(DEEP));
        assert!(parse(&nested(100_000), 64).unwrap_err().0.starts_with(DEEP));
        assert!(parse(&"{\"a\":".repeat(100_000).into_bytes(), 64).is_err());
    }

    #[test]
    fn texts_are_those_of_the_message() {
        let (value, count) = parse(br#"{"b": ["x", "\n"], "a": -1.5}"#, 64).unwrap();
        assert_eq!(count, 5);
        let Instance::Map(members) = value else { panic!() };
        assert_eq!(members[0].0, "a");
        let Instance::List(items) = &members[1].1 else { panic!() };
        assert!(matches!(items[0], Instance::Text(Cow::Borrowed("x"))));
        assert!(matches!(items[1], Instance::Text(Cow::Owned(_))));
    }
}
