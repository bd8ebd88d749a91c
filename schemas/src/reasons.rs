//! What the library found, in words that have nothing of the value.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::violation::shortened;

/// Bytes of a schema's value that are repeated.
const MAX_TOLD: usize = 100;

pub(crate) fn of(kind: &Kind) -> Cow<'static, str> {
    let fixed = match kind {
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "matches none of the alternatives",
        Kind::OneOfMultipleValid { .. } => "matches more than one of the alternatives",
        Kind::Contains => "lacks an item that it must have",
        Kind::FalseSchema => "is not allowed",
        Kind::Not { .. } => "is of a kind that is excluded",
        Kind::PropertyNames { .. } => "has a property with a name that is not allowed",
        Kind::UniqueItems => "must have no item twice",
        Kind::UnevaluatedItems { .. } | Kind::AdditionalItems { .. } => "has items that are not declared",
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => "cannot be compared with the pattern",
        Kind::Referencing(_) => "cannot be checked",
        _ => "",
    };
    if !fixed.is_empty() {
        return Cow::Borrowed(fixed);
    }
    Cow::Owned(match kind {
        Kind::Type { kind: TypeKind::Single(kind) } => format!("must be {}", named(*kind)),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<_> = kinds.iter().map(named).collect();
            format!("must be {}", kinds.join(" or "))
        }
        Kind::Required { property } => format!("must have the property {}", quoted(property)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            match unexpected.split_first() {
                Some((first, [])) => format!("has the property `{}`, which is not declared", shortened(first)),
                Some((first, rest)) => {
                    let (first, rest) = (shortened(first), rest.len());
                    format!("has the property `{first}` and {rest} others that are not declared")
                }
                None => "has properties that are not declared".to_owned(),
            }
        }
        Kind::Constant { expected_value } => format!("must be {}", told(expected_value)),
        Kind::Enum { options } => match options.as_array().map(|options| told(&Value::Array(options.clone()))) {
            Some(told) if told.len() <= MAX_TOLD => format!("must be one of {told}"),
            _ => "must be one of the values that are declared".to_owned(),
        },
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Format { format } => format!("must have the format `{}`", shortened(format)),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => of_pattern(pattern),
        // Ours alone.
        Kind::Custom { message, .. } => message.clone(),
        _ => "is not as its schema says".to_owned(),
    })
}

pub(crate) fn of_pattern(pattern: &str) -> String {
    if pattern.len() <= MAX_TOLD {
        format!("must match the pattern `{pattern}`")
    } else {
        "must match the pattern".to_owned()
    }
}

fn named(kind: JsonType) -> &'static str {
    match kind {
        JsonType::String => "text",
        JsonType::Number => "a number",
        JsonType::Integer => "a whole number",
        JsonType::Boolean => "true or false",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
        JsonType::Null => "null",
    }
}

fn quoted(property: &Value) -> String {
    format!("`{}`", shortened(property.as_str().unwrap_or_default()))
}

fn told(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= MAX_TOLD { text } else { "the value that is declared".to_owned() }
}
