//! Filters and tests that a template names. The language finds out when it meets them, which would be when a request comes.

use std::collections::BTreeSet;

use minijinja::{Environment, ErrorKind};

use super::TemplateError;

/// What precedes a name that is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Filter,
    Test,
}

pub(super) fn check(environment: &Environment<'_>, source: &str) -> Result<(), TemplateError> {
    for (call, name) in calls(source) {
        let (probe, unknown) = match call {
            Call::Filter => (format!("{{{{ ''|{name} }}}}"), ErrorKind::UnknownFilter),
            Call::Test => (format!("{{{{ '' is {name} }}}}"), ErrorKind::UnknownTest),
        };
        if environment.render_str(&probe, ()).is_err_and(|error| error.kind() == unknown) {
            return Err(TemplateError::UnknownFilter(name.to_owned()));
        }
    }
    Ok(())
}

/// Names after `|`, `is` and `is not` in tags, and after `{% filter`; what is in quotes does not count.
fn calls(source: &str) -> BTreeSet<(Call, &str)> {
    let mut found = BTreeSet::new();
    let mut rest = source;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let end = if rest.get(start..).unwrap_or_default().starts_with("{{") { "}}" } else { "%}" };
        let mut tag = rest.get(start + 2..).unwrap_or_default();
        let mut before = None;
        let mut is_first = true;
        while let Some(character) = tag.chars().next() {
            if tag.starts_with(end) {
                break;
            }
            let length = match character {
                '"' | '\'' => quoted(tag, character),
                _ if is_word(character) => {
                    let length = tag.find(|character| !is_word(character)).unwrap_or(tag.len());
                    let word = tag.get(..length).unwrap_or_default();
                    let next = match word {
                        "is" => Some(Call::Test),
                        "not" if before == Some(Call::Test) => Some(Call::Test),
                        "filter" if is_first && end == "%}" => Some(Call::Filter),
                        _ => {
                            found.extend(before.map(|call| (call, word)));
                            None
                        }
                    };
                    (before, is_first) = (next, false);
                    tag = tag.get(length..).unwrap_or_default();
                    continue;
                }
                _ => character.len_utf8(),
            };
            if !character.is_whitespace() && character != '-' {
                before = (character == '|').then_some(Call::Filter);
            }
            tag = tag.get(length..).unwrap_or_default();
        }
        rest = tag;
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Of the text in quotes at the start.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called() {
        let found = calls(
            "a | b {{ x|upper | lower }}{% if y is not defined and z is none %}{{ ' | no ' ~ \"is what\" }}{% filter trim %}",
        );
        let expected = [
            (Call::Filter, "lower"),
            (Call::Filter, "trim"),
            (Call::Filter, "upper"),
            (Call::Test, "defined"),
            (Call::Test, "none"),
        ];
        assert_eq!(found, expected.into());
        assert!(calls("{{ '\\' | x' }} {{ unclosed").is_empty());
    }
}
