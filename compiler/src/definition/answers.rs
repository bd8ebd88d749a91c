//! What the gateway is to answer by itself: redirects, and examples in place of a backend.

mod examples;
mod json;
mod redirect;
mod samples;

use microgw_proto::traffic::v1::{Answer, Examples, answer::Kind};

use self::examples::Wanted;
pub(super) use self::json::number_of;
use super::Version;
use super::fields::{object, text};
use super::references::Resolver;
use super::shape::{Words, integer, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::{Content, Value};
use crate::traffic::answer;

pub(super) const MOCK: &str = "x-microgw-mock";
pub(super) const REDIRECT: &str = "x-microgw-redirect";
const ENDPOINTS: [&str; 3] = ["x-wso2-production-endpoints", "x-wso2-sandbox-endpoints", "servers"];

/// Reads the answers of one definition.
pub(super) struct Answers<'d> {
    root: Value<'d>,
    version: Version,
    /// Of all operations that say nothing themselves.
    mock: Option<Mock<'d>>,
    /// Bytes of all bodies so far.
    size: usize,
}

/// That an operation is mocked, and which of its examples comes first.
#[derive(Clone, Copy, Default)]
struct Mock<'d> {
    /// Said of the operation itself.
    own: bool,
    wanted: Wanted<'d>,
}

/// What an operation says.
pub(super) enum Declared {
    Nothing,
    /// Something that cannot be used, and has been reported.
    Broken,
    Answer(Answer),
}

// === impl Answers ===

impl<'d> Answers<'d> {
    pub(super) fn of(report: &mut Report, root: Value<'d>, version: Version) -> Answers<'d> {
        let mock = root.get(MOCK).and_then(|at| mock(report, at).ok().flatten());
        Answers { root, version, mock, size: 0 }
    }

    /// The answer of an operation that is called `label`.
    pub(super) fn read(
        &mut self,
        report: &mut Report,
        resolver: &mut Resolver<'d>,
        label: &str,
        at: Value<'d>,
        operation: Value<'d>,
        base_path: &str,
    ) -> Declared {
        let Ok(own) = operation.get(MOCK).map(|at| mock(report, at)).transpose() else { return Declared::Broken };
        if let Some((key, redirect)) = operation.entry(REDIRECT) {
            if let Some(Some(_)) = own {
                report.say(Code::BadAnswer, key, format!("`{label}` is both redirected and mocked"));
                return Declared::Broken;
            }
            if let Some(other) = ENDPOINTS.iter().find_map(|name| operation.entry(name)) {
                let message = format!("`{label}` is redirected: its own `{}` would never be used", other.0.text());
                report.say(Code::BadAnswer, other.0, message);
                return Declared::Broken;
            }
            let path = label.split_once(' ').map_or("", |(_, path)| path);
            return match redirect::read(report, redirect, &format!("{base_path}{path}")) {
                Some(redirect) => Declared::Answer(Answer { kind: Some(Kind::Redirect(redirect)) }),
                None => Declared::Broken,
            };
        }
        let mock = match own {
            Some(own) => own.map(|mock| Mock { own: true, ..mock }),
            None => self.mock,
        };
        let Some(mock) = mock else { return Declared::Nothing };
        let Some(examples) = examples::read(self.root, self.version, report, resolver, label, at, operation, mock)
        else {
            return Declared::Broken;
        };
        let answer = Answer { kind: Some(Kind::Examples(Examples { examples })) };
        self.size += answer::size(&answer);
        if self.size > answer::MAX_BODIES {
            let message =
                format!("with the examples of `{label}` the API answers with more than {} bytes", answer::MAX_BODIES);
            report.advise(Code::BadAnswer, at, message, "shorten examples, or mock fewer operations");
            return Declared::Broken;
        }
        Declared::Answer(answer)
    }
}

/// `true`, `false`, or which example comes first. Err: reported.
fn mock<'d>(report: &mut Report, at: Value<'d>) -> Result<Option<Mock<'d>>, ()> {
    match at.content() {
        Content::Bool(false) => return Ok(None),
        Content::Bool(true) => return Ok(Some(Mock::default())),
        Content::Map => {}
        _ => {
            let message = format!("`{MOCK}` must be `true`, `false` or an object, not {}", at.type_name());
            report.say(Code::WrongType, at, message);
            return Err(());
        }
    }
    let mut wanted = Wanted::default();
    for (key, value) in object(report, MOCK, at).into_iter().flat_map(Value::entries) {
        match key.text() {
            "example" => wanted.name = Some((text(report, "example", value).ok_or(())?, value)),
            "status" => {
                let status = integer(report, "status", value, 200, 599).ok_or(())?;
                wanted.status = Some((u32::try_from(status).map_err(|_| ())?, value));
            }
            _ => unknown_key(report, Words::Own, MOCK, key, ["example", "status"]),
        }
    }
    Ok(Some(Mock { own: false, wanted }))
}
