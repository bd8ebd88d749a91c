//! A JSON reader for tokens and key sets: unlike serde_json's own tree it refuses duplicate members at every level
//! (two parsers that pick different ones see different tokens, RFC 8725 section 2.4) and nests 16 levels at most.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

const MAX_DEPTH: u8 = 16;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    /// An integer that a double does not hold exactly.
    Large(i128),
    String(String),
    Array(Vec<Json>),
    Object(Object),
}

pub(crate) type Object = BTreeMap<String, Json>;

/// The text is no JSON object, repeats a member, or nests too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject;

/// Reads one JSON object and nothing after it.
pub(crate) fn object(text: &[u8]) -> Result<Object, NotAnObject> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Node { depth: 0 }.deserialize(&mut reader).map_err(|_| NotAnObject)?;
    reader.end().map_err(|_| NotAnObject)?;
    match value {
        Json::Object(members) => Ok(members),
        _ => Err(NotAnObject),
    }
}

impl Json {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Node {
    depth: u8,
}

impl Node {
    fn child<E: Error>(self) -> Result<Node, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Node { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Dates are the only numbers that are judged, and a double holds those. Others are passed on as they are: two users' ids
/// must not become one.
fn integer(number: i128) -> Json {
    #[allow(clippy::cast_precision_loss)] // That is what is asked.
    if number.unsigned_abs() < 1 << 53 { Json::Number(number as f64) } else { Json::Large(number) }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            // As it was written: `1`, not `1.0`.
            #[allow(clippy::cast_possible_truncation)]
            Json::Number(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
                serializer.serialize_i64(*number as i64)
            }
            Json::Number(number) => serializer.serialize_f64(*number),
            Json::Large(number) => serializer.serialize_i128(*number),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(items) => serializer.collect_seq(items),
            Json::Object(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(integer(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let child = self.child()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(child)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let child = self.child()?;
        let mut members = Object::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(child)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("repeated member"));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_object() {
        let read = object(br#"{"a":[1,-2.5,null,true],"b":{"c":"\u0041"}}"#).unwrap();
        assert_eq!(
            read["a"].as_array().unwrap(),
            [Json::Number(1.0), Json::Number(-2.5), Json::Null, Json::Bool(true)]
        );
        assert_eq!(read["b"].as_object().unwrap()["c"].as_str(), Some("A"));
    }

    #[test]
    fn is_written_as_it_was_read() {
        let text = r#"{"a":[1,-2.5,null,true],"id":18446744073709551615,"less":-9223372036854775808,"s":"\"\n"}"#;
        assert_eq!(serde_json::to_string(&object(text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            "{} {}",
            "{}x",
            "[]",
            "1",
            "",
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1,}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotAnObject), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(NotAnObject));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(15).as_bytes()).is_ok());
        assert!(object(nested(16).as_bytes()).is_err());
        assert!(object(nested(100_000).as_bytes()).is_err());
    }
}
