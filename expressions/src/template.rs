//! Keys of custom policies: texts in which variables stand for what a request has, `$userId:$apiContext`.

use crate::Variable;

/// Bytes of a template.
pub const MAX_TEMPLATE_LENGTH: usize = 1024;

/// What a policy tells requests apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    variables: Box<[Variable]>,
}

/// Why a template is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a key is longer than {MAX_TEMPLATE_LENGTH} bytes")]
    TooLong,
    #[error("a key is empty")]
    Empty,
    #[error("`${0}` is not known; there are {known}", known = KNOWN.join(", "))]
    Unknown(String),
    #[error("`${0}` needs a name, as in `${0}.name`")]
    NoName(&'static str),
    #[error("`$customProperty` is set by interceptors, which this version does not have")]
    CustomProperty,
}

const KNOWN: [&str; 11] = [
    "$userId",
    "$apiContext",
    "$apiVersion",
    "$resourceKey",
    "$appId",
    "$clientIp",
    "$appTenant",
    "$apiTenant",
    "$header.<name>",
    "$query.<name>",
    "$claim.<name>",
];

// === impl Template ===

impl Template {
    pub fn read(text: &str) -> Result<Template, TemplateError> {
        if text.len() > MAX_TEMPLATE_LENGTH {
            return Err(TemplateError::TooLong);
        }
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        let variables = text.split('$').skip(1).map(variable).filter_map(Result::transpose);
        Ok(Template { text: text.into(), variables: variables.collect::<Result<_, _>>()? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// In their order. What is between them is the same for every request.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
}

/// What follows a `$`. There is one tenant here, so that nothing is told apart by it.
fn variable(text: &str) -> Result<Option<Variable>, TemplateError> {
    let kind = word(text, |character| character.is_ascii_alphanumeric());
    let name = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.'));
    let name = name.map(|rest| word(rest, |character| character.is_ascii_alphanumeric() || "-_".contains(character)));
    let name = name.filter(|name| !name.is_empty());
    Ok(Some(match (kind, name) {
        ("userId", _) => Variable::Subject,
        ("apiContext", _) => Variable::ApiBasePath,
        ("apiVersion", _) => Variable::ApiVersion,
        ("resourceKey", _) => Variable::Operation,
        ("appId", _) => Variable::ApplicationId,
        ("clientIp", _) => Variable::Network,
        ("appTenant" | "apiTenant", _) => return Ok(None),
        ("customProperty", _) => return Err(TemplateError::CustomProperty),
        ("header", Some(name)) => Variable::Header(name.to_ascii_lowercase().into()),
        ("query", Some(name)) => Variable::Query(name.into()),
        ("claim", Some(name)) => Variable::Claim(name.into()),
        ("header", None) => return Err(TemplateError::NoName("header")),
        ("query", None) => return Err(TemplateError::NoName("query")),
        ("claim", None) => return Err(TemplateError::NoName("claim")),
        _ => return Err(TemplateError::Unknown(kind.to_owned())),
    }))
}

fn word(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    let end = text.find(|character| !belongs(character)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_in_their_order() {
        let read = |text: &str| Template::read(text).unwrap().variables;
        let expected = [Variable::Subject, Variable::ApiBasePath, Variable::ApiVersion];
        assert_eq!(*read("$userId:$apiContext:$apiVersion"), expected);
        let expected =
            [Variable::Header("x-device".into()), Variable::Query("q".into()), Variable::Claim("dept_1".into())];
        assert_eq!(*read("$header.X-Device/$query.q,$claim.dept_1"), expected);
        assert_eq!(
            *read("$resourceKey$appId.$clientIp"),
            [Variable::Operation, Variable::ApplicationId, Variable::Network]
        );
        assert_eq!(*read("$appTenant:$apiTenant:all"), []);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |text: &str| Template::read(text).unwrap_err();
        assert_eq!(refused("$user"), TemplateError::Unknown("user".into()));
        assert_eq!(refused("a$"), TemplateError::Unknown(String::new()));
        assert_eq!(refused("$header:x"), TemplateError::NoName("header"));
        assert_eq!(refused("$claim."), TemplateError::NoName("claim"));
        assert_eq!(refused("$customProperty.plan"), TemplateError::CustomProperty);
        assert_eq!(refused(" "), TemplateError::Empty);
        assert_eq!(refused(&"x".repeat(MAX_TEMPLATE_LENGTH + 1)), TemplateError::TooLong);
    }
}
