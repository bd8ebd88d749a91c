//! Policies that say for themselves what they tell requests apart by.

use microgw_expressions::{Template, Value};
use microgw_proto::limits::v1 as proto;
use smallvec::SmallVec;

use super::condition::Condition;
use super::key::Counted;
use super::tiers::Tier;
use super::{Interest, Level, Request};
use crate::rules::LoadError;

#[derive(Debug)]
pub(crate) struct Custom {
    when: Option<Condition>,
    key: Template,
    pub(super) tier: Tier,
}

/// A part of a counter's name.
enum Name<'n> {
    Bytes(&'n [u8]),
    Number([u8; 8]),
}

impl AsRef<[u8]> for Name<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Name::Bytes(bytes) => bytes,
            Name::Number(bytes) => bytes,
        }
    }
}

// === impl Custom ===

impl Custom {
    pub(super) fn load(custom: &proto::CustomPolicy) -> Result<Custom, LoadError> {
        let policy = custom.policy.as_ref().ok_or(LoadError::Limit)?;
        let key = Template::read(&custom.key).map_err(|error| LoadError::Condition(error.to_string()))?;
        // Who counts by another key counts anew.
        let tier = Tier::load_with(policy, Level::Custom, &[key.text()])?;
        Ok(Custom { when: custom.when.as_ref().map(Condition::load).transpose()?, key, tier })
    }

    pub(super) fn applies(&self, request: &Request<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.may_hold(request))
    }

    /// No two requests have one counter whose values differ, whatever they have in them.
    pub(super) fn counted(&self, request: &Request<'_>) -> Counted {
        let values: SmallVec<[Value<'_>; 4]> =
            self.key.variables().iter().map(|variable| request.value(variable)).collect();
        let mut names: SmallVec<[Name<'_>; 8]> = SmallVec::new();
        for value in &values {
            match value {
                Value::Absent => names.push(Name::Bytes(b"absent")),
                Value::Unclear => names.push(Name::Bytes(b"unclear")),
                Value::Text(text) => names.extend([Name::Bytes(b"text"), Name::Bytes(text.as_bytes())]),
                Value::Texts(texts) => {
                    names.extend([Name::Bytes(b"texts"), Name::Number((texts.len() as u64).to_le_bytes())]);
                    names.extend(texts.iter().map(|text| Name::Bytes(text.as_bytes())));
                }
                Value::Integer(number) => names.extend([Name::Bytes(b"integer"), Name::Number(number.to_le_bytes())]),
                Value::Number(number) => {
                    names.extend([Name::Bytes(b"number"), Name::Number(number.to_bits().to_le_bytes())]);
                }
                Value::Boolean(value) => names.push(Name::Bytes(if *value { b"true" } else { b"false" })),
            }
        }
        Counted::by(&names)
    }

    pub(super) fn looks_at(&self, interest: &mut Interest) {
        self.when.iter().for_each(|when| when.looks_at(interest));
        interest.in_all(self.key.variables());
        self.tier.looks_at(interest);
    }
}
