//! Headers, query parameters and claims by name.

use std::borrow::Cow;

use microgw_expressions::pattern;
use microgw_proto::limits::v1 as proto;
use regex::Regex;

use super::Undecided;
use crate::identity::Claim;
use crate::rules::LoadError;

#[derive(Debug)]
pub(crate) struct Text {
    name: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equals(Box<str>),
    /// Found anywhere in it.
    Matches(Regex),
}

// === impl Text ===

impl Text {
    pub(super) fn load(text: &proto::Text) -> Result<Text, LoadError> {
        use proto::text::Value;
        let error = |message: &str| LoadError::Condition(message.to_owned());
        let test = match text.value.as_ref() {
            Some(Value::Present(true)) => Test::Present,
            Some(Value::Equals(value)) => Test::Equals(value.as_str().into()),
            Some(Value::Matches(value)) => {
                Test::Matches(pattern(value).map_err(|problem| LoadError::Condition(problem.to_string()))?)
            }
            Some(Value::Present(false)) | None => return Err(error("it does not say what a text must be")),
        };
        if text.name.is_empty() {
            return Err(error("it does not say which text"));
        }
        Ok(Text { name: text.name.as_str().into(), test })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Headers of one name arrive joined by commas without a blank. Each is looked at, and of lists in one header each member.
    pub(super) fn judge_header(&self, value: Option<&str>) -> Result<bool, Undecided> {
        let lines = value.into_iter().flat_map(lines).map(Cow::Borrowed);
        self.judge(lines, |line| line.split(',').any(|member| self.is_met(member.trim())))
    }

    pub(super) fn judge_query<'v>(&self, values: impl Iterator<Item = Cow<'v, str>>) -> Result<bool, Undecided> {
        self.judge(values, |_| false)
    }

    /// Of several texts any will do: whoever signed the token has put them there.
    pub(super) fn judge_claim(&self, claim: Option<Claim<'_>>) -> bool {
        match claim {
            None => false,
            Some(Claim::Text(text)) => self.is_met(text),
            Some(Claim::Kept(claim)) => {
                matches!(self.test, Test::Present) || claim.texts().any(|text| self.is_met(text))
            }
        }
    }

    /// A client that sends one name twice decides which of the values a backend goes by: if they disagree, nobody can tell.
    fn judge<'v>(
        &self,
        values: impl Iterator<Item = Cow<'v, str>>,
        in_part: impl Fn(&str) -> bool,
    ) -> Result<bool, Undecided> {
        let (mut some, mut all) = (false, true);
        for value in values {
            let whole = self.is_met(&value);
            some = some || whole || in_part(&value);
            all = all && whole;
        }
        match (some, all) {
            (false, _) => Ok(false),
            (true, true) => Ok(true),
            (true, false) => Err(Undecided),
        }
    }

    fn is_met(&self, text: &str) -> bool {
        match &self.test {
            Test::Present => true,
            Test::Equals(value) => **value == *text,
            Test::Matches(pattern) => pattern.is_match(text),
        }
    }
}

/// What clients sent as headers of their own: in one header a comma has a blank after it, as a rule.
pub(crate) fn lines(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let is_between = |at: &usize| !text.get(at + 1..).is_some_and(|after| after.starts_with([' ', '\t']));
        let end = text.match_indices(',').map(|(at, _)| at).find(is_between);
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}
