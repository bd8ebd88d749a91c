//! Values of templates: made of JSON, and written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use crate::MAX_DEPTH;
use crate::json::{Json, quote};

/// An object, whose members keep their order.
#[derive(Debug)]
struct Members(IndexMap<String, Value>);

/// Headers by lower-case name; asked for in any case.
#[derive(Debug)]
struct Fields(BTreeMap<String, String>);

/// A number that has more digits than the language's numbers hold. It can be written, and not reckoned with.
#[derive(Debug)]
struct Digits(Box<str>);

// === impl Members ===

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

// === impl Fields ===

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let value = self.0.get(key).or_else(|| self.0.get(&key.to_ascii_lowercase()))?;
        Some(Value::from(value.as_str()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

pub(crate) fn from_headers(headers: BTreeMap<String, String>) -> Value {
    Value::from_object(Fields(headers))
}

// === impl Digits ===

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(digits) => number(digits),
        Json::Text(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(members) => {
            Value::from_object(Members(members.iter().map(|(name, value)| (name.clone(), from_json(value))).collect()))
        }
    }
}

/// As it was written, whatever becomes of it.
fn number(digits: &str) -> Value {
    if let Ok(integer) = digits.parse::<i128>()
        && integer.to_string() == digits
    {
        return Value::from(integer);
    }
    let same = digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    match same {
        Some(value) if value.to_string() == digits => value,
        _ => Value::from_object(Digits(digits.into())),
    }
}

/// As it stands in a text. Lists and maps are written as JSON.
pub(crate) fn to_text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Bool | ValueKind::Number => Ok(value.to_string()),
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::None => Err(Error::new(ErrorKind::InvalidOperation, "null has no text")),
        _ => json_text(value),
    }
}

pub(crate) fn json_text(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write_json(value, &mut out, 0)?;
    Ok(out)
}

fn write_json(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    let failed = |message: &'static str| Error::new(ErrorKind::InvalidOperation, message);
    if depth > MAX_DEPTH {
        return Err(failed("it nests too deeply"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(&value.to_string()),
        ValueKind::Number => {
            let text = value.to_string();
            if !crate::json::is_number(&text) {
                return Err(failed("it is no number of JSON"));
            }
            out.push_str(&text);
        }
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(&item, out, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(key.as_str().ok_or_else(|| failed("names of members are texts"))?, out);
                out.push(':');
                write_json(&value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        _ => match value.downcast_object_ref::<Digits>() {
            Some(digits) => out.push_str(&digits.0),
            None => return Err(failed("it has no form in JSON")),
        },
    }
    if out.len() > crate::MAX_BODY { Err(failed("it is too long")) } else { Ok(()) }
}
