//! Values of a definition as bodies.

use crate::source::{Content, Value};
use crate::traffic::answer::MAX_BODY;

/// The value as JSON, numbers as they are written. `None`: it has a number that JSON does not know, or is too long.
pub(super) fn of(value: Value<'_>) -> Option<String> {
    let mut json = String::new();
    push(&mut json, value)?;
    Some(json)
}

pub(super) fn push(json: &mut String, value: Value<'_>) -> Option<()> {
    match value.content() {
        Content::Null => json.push_str("null"),
        Content::Bool(value) => json.push_str(if value { "true" } else { "false" }),
        Content::Number(number) => json.push_str(&number_of(number)?),
        Content::Text(text) => push_text(json, text)?,
        Content::List => {
            json.push('[');
            for (index, item) in value.items().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                push(json, item)?;
            }
            json.push(']');
        }
        Content::Map => {
            json.push('{');
            for (index, (key, value)) in value.entries().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                push_text(json, key.text())?;
                json.push(':');
                push(json, value)?;
            }
            json.push('}');
        }
    }
    fits(json)
}

pub(super) fn push_text(json: &mut String, text: &str) -> Option<()> {
    json.push_str(&serde_json::to_string(text).ok()?);
    fits(json)
}

/// Whether a body may be that long.
pub(super) fn fits(body: &str) -> Option<()> {
    (body.len() <= MAX_BODY).then_some(())
}

/// YAML has more ways to write one.
pub(in crate::definition) fn number_of(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if serde_json::from_str::<serde_json::Number>(digits).is_ok() {
        return Some(digits.to_owned());
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return u128::from_str_radix(digits, radix).ok().map(|number| number.to_string());
        }
    }
    let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite())?;
    serde_json::Number::from_f64(number).map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Document;

    fn json(yaml: &str) -> Option<String> {
        let document = Document::parse("a.yaml", 0, yaml.as_bytes().to_vec()).unwrap_or_else(|_| panic!("{yaml}"));
        of(document.root())
    }

    #[test]
    fn values_stay_what_they_are() {
        for (yaml, expected) in [
            ("{a: 1.0, b: [true, ~, '1'], 2: x}", r#"{"a":1.0,"b":[true,null,"1"],"2":"x"}"#),
            ("12345678901234567890123", "12345678901234567890123"),
            ("[0x1F, 0o17, +1, .5, 1e3, -2, 1.]", "[31,15,1,0.5,1e3,-2,1.0]"),
            ("\"a\\\"\\u0007ü\"", r#""a\"\u0007ü""#),
            ("2024-01-01", r#""2024-01-01""#),
            ("[]", "[]"),
            ("{}", "{}"),
        ] {
            assert_eq!(json(yaml).as_deref(), Some(expected), "{yaml}");
            assert!(serde_json::from_str::<serde_json::Value>(expected).is_ok());
        }
        assert_eq!(json("[.inf]"), None);
        assert_eq!(json(".NaN"), None);
        assert_eq!(json(&"x".repeat(MAX_BODY)), None);
    }
}
