//! Formats that the library does not know, as OpenAPI has them.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonschema::json::Json;
use jsonschema::{ValidationOptions, Validator};
use serde_json::{Map, Value, json};

/// Of texts. Those that are not here and not the library's are notes.
pub(crate) fn with_texts<R, F: Json>(options: ValidationOptions<'_, R, F>) -> ValidationOptions<'_, R, F> {
    options
        .with_format("byte", is_base64)
        .with_format("base64url", |text: &str| URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).is_ok())
        .with_format("idn-hostname", is_idn_hostname)
        .with_format("char", |text: &str| text.chars().count() == 1)
}

/// Long labels take time that grows with their square, and are none.
fn is_idn_hostname(text: &str) -> bool {
    static BY_LIBRARY: LazyLock<Option<Validator>> = LazyLock::new(|| {
        let schema = json!({ "format": "idn-hostname" });
        jsonschema::options().offline().should_validate_formats(true).build(&schema).ok()
    });
    let dots = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
    let is_short = text.chars().count() <= 254 && text.split(dots).all(|label| label.chars().count() <= 63);
    is_short
        && text.split(dots).all(is_itself)
        && BY_LIBRARY.as_ref().is_some_and(|library| library.is_valid(&Value::from(text)))
}

/// The library maps labels before it looks at them; what IDNA 2008 disallows becomes something else by that, or nothing.
fn is_itself(label: &str) -> bool {
    if label.is_ascii() {
        return true;
    }
    let (mapped, valid) = idna::domain_to_unicode(label);
    valid.is_ok() && mapped == label.to_ascii_lowercase()
}

fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).is_ok()
}

/// The bounds of numbers that a format stands for.
pub(crate) fn bounds(format: &str) -> Option<(Value, Value)> {
    Some(match format {
        "int8" => (json!(i8::MIN), json!(i8::MAX)),
        "int16" => (json!(i16::MIN), json!(i16::MAX)),
        "int32" => (json!(i32::MIN), json!(i32::MAX)),
        "int64" => (json!(i64::MIN), json!(i64::MAX)),
        "uint8" => (json!(0), json!(u8::MAX)),
        "uint16" => (json!(0), json!(u16::MAX)),
        "uint32" => (json!(0), json!(u32::MAX)),
        "uint64" => (json!(0), json!(u64::MAX)),
        "float" => (json!(f64::from(f32::MIN)), json!(f64::from(f32::MAX))),
        _ => return None,
    })
}

/// Bounds of a format become those of the schema, beside its own.
pub(crate) fn bind(schema: &mut Map<String, Value>) {
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return };
    let Some((least, most)) = bounds(format) else { return };
    let bounds = json!({ "minimum": least, "maximum": most });
    if let Some(all) = schema.get_mut("allOf") {
        if let Value::Array(all) = all {
            all.push(bounds);
        }
    } else if schema.contains_key("minimum") || schema.contains_key("maximum") {
        schema.insert("allOf".to_owned(), json!([bounds]));
    } else {
        schema.insert("minimum".to_owned(), least);
        schema.insert("maximum".to_owned(), most);
    }
}

/// Whether anything is checked of a value of that format.
pub fn is_known(format: &str) -> bool {
    const NOTHING: &[&str] = &["binary", "double", "password"];
    const TEXTS: &[&str] = &[
        "base64url",
        "byte",
        "char",
        "date",
        "date-time",
        "duration",
        "email",
        "hostname",
        "idn-email",
        "idn-hostname",
        "ipv4",
        "ipv6",
        "iri",
        "iri-reference",
        "json-pointer",
        "regex",
        "relative-json-pointer",
        "time",
        "uri",
        "uri-reference",
        "uri-template",
        "uuid",
    ];
    NOTHING.contains(&format) || TEXTS.contains(&format) || bounds(format).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_they_would_be_mapped_to() {
        for host in [
            "b\u{fc}cher.example",
            "B\u{fc}cher.example",
            "xn--bcher-kva.example",
            "\u{5b9f}\u{4f8b}.test",
            "stra\u{df}e.de",
        ] {
            assert!(is_idn_hostname(host), "{host}");
        }
        for host in [
            "a\u{ad}b.example",
            "a\u{feff}b",
            "\u{2167}.example",
            "\u{ff41}.example",
            "B\u{dc}cher.example",
            "\u{200b}a",
        ] {
            assert!(!is_idn_hostname(host), "{host:?}");
        }
    }
}
