//! `x-wso2-request-interceptor`, `x-wso2-response-interceptor` and `x-microgw-interceptors`: each use is checked by itself.

use microgw_transforms::Direction;
use microgw_transforms::json::{Json, Object};

use super::{Both, Interceptors, Placed};
use crate::compile::Report;
use crate::definition::did_you_mean;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::source::Value;
use crate::transforms::{Node, Tree};

const OURS: &str = "x-microgw-interceptors";
const THEIRS: [(&str, Direction); 2] =
    [("x-wso2-request-interceptor", Direction::Request), ("x-wso2-response-interceptor", Direction::Response)];
const DIRECTIONS: [(&str, Direction); 2] = [("request", Direction::Request), ("response", Direction::Response)];
const KEYS: [&str; 2] = ["name", "with"];

/// What an API or operation says.
pub(crate) enum Said {
    /// No program at all, whatever its API says.
    Nothing,
    Uses(Both),
}

struct Reader<'r> {
    report: &'r mut Report,
    interceptors: &'r mut Interceptors,
}

pub(crate) fn read(report: &mut Report, interceptors: &mut Interceptors, owner: Value<'_>) -> Said {
    let mut both = Both::default();
    let mut reader = Reader { report, interceptors };
    for (key, direction) in THEIRS {
        if let Some(written) = owner.get(key).map(Tree::of) {
            match written.text() {
                Some(name) if is_foreign(name) => reader.foreign(&written.at, name),
                Some(_) => reader.add(&mut both, &written, direction),
                None => reader.wrong(&written.at, format!("`{key}` must be text, not {}", written.type_name())),
            }
        }
    }
    let Some(written) = owner.get(OURS).map(Tree::of) else { return Said::Uses(both) };
    match &written.content {
        Node::Bool(false) if both.request.is_empty() && both.response.is_empty() => return Said::Nothing,
        Node::Bool(false) => {
            reader.wrong(&written.at, format!("`{OURS}: false` contradicts the interceptors that are named beside it"));
        }
        Node::Map(entries) => {
            for (key, list) in entries {
                let name = key.text().unwrap_or_default();
                let Some((_, direction)) = DIRECTIONS.iter().find(|(known, _)| *known == name) else {
                    reader.unknown(key, OURS, DIRECTIONS.iter().map(|(key, _)| *key));
                    continue;
                };
                match &list.content {
                    Node::List(uses) => uses.iter().for_each(|one| reader.add(&mut both, one, *direction)),
                    _ => reader.wrong(&list.at, format!("`{name}` must be a list, not {}", list.type_name())),
                }
            }
        }
        _ => {
            let message =
                format!("`{OURS}` must have `request` and `response`, or be `false`, not {}", written.type_name());
            reader.wrong(&written.at, message);
        }
    }
    Said::Uses(both)
}

/// Of the old product: a Java class, or a function of its policy hub.
fn is_foreign(name: &str) -> bool {
    name.contains(':') || name.contains('/')
}

// === impl Reader ===

impl Reader<'_> {
    fn wrong(&mut self, at: &Place, message: impl Into<String>) {
        self.report.add(Diagnostic::new(Code::BadInterceptor, at.clone(), message));
    }

    fn unknown<'k>(&mut self, key: &Tree, owner: &str, known: impl IntoIterator<Item = &'k str>) {
        let name = key.text().unwrap_or_default();
        let problem = Diagnostic::new(Code::BadInterceptor, key.at.clone(), format!("`{owner}` has no key `{name}`"));
        self.report.add(match did_you_mean(name, known) {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    fn foreign(&mut self, at: &Place, name: &str) {
        let (what, help) = if let Some(class) = name.strip_prefix("java:") {
            (
                format!("`{class}` is a Java class, which is not run"),
                "port it to a WebAssembly component, or run it behind an interceptor service: docs/interceptors.md says how",
            )
        } else {
            (
                format!("`{name}` is a function of Ballerina's hub, which is not fetched"),
                "look for its like among the policies (`micro-gw policy`), or port it to an interceptor: docs/interceptors.md",
            )
        };
        self.report.add(Diagnostic::new(Code::ForeignInterceptor, at.clone(), what).help(help));
    }

    /// A name, or `{name, with}`.
    fn add(&mut self, both: &mut Both, written: &Tree, direction: Direction) {
        let (name, with) = match &written.content {
            Node::Text(_) => (written, None),
            Node::Map(entries) => {
                if let Some((key, _)) =
                    entries.iter().find(|(key, _)| !key.text().is_some_and(|key| KEYS.contains(&key)))
                {
                    return self.unknown(key, "a use of an interceptor", KEYS);
                }
                let Some(name) = written.get("name") else {
                    return self.wrong(&written.at, "a use of an interceptor needs its `name`");
                };
                (name, written.get("with"))
            }
            _ => {
                let message = format!("an interceptor is a name, or `{{name, with}}`, not {}", written.type_name());
                return self.wrong(&written.at, message);
            }
        };
        let Some(called) = name.text() else {
            return self.wrong(&name.at, format!("`name` must be text, not {}", name.type_name()));
        };
        let found = self
            .interceptors
            .files
            .use_interceptor(called)
            .map(|found| (found.directions, found.parameters.give(with, written, called)));
        let ([requests, responses], given) = match found {
            Ok(found) => found,
            Err(None) => return,
            Err(Some(help)) => {
                let message = format!("there is no interceptor `{called}`");
                return self.report.add(Diagnostic::new(Code::BadInterceptor, name.at.clone(), message).help(help));
            }
        };
        let given = match given {
            Ok(given) => given,
            Err(problems) => {
                for problem in problems {
                    self.report.add(Diagnostic { code: Code::BadInterceptor, ..problem });
                }
                return;
            }
        };
        let (sees, what) = match direction {
            Direction::Request => (requests, "requests"),
            Direction::Response => (responses, "responses"),
        };
        if !sees {
            return self.wrong(&name.at, format!("`{called}` sees no {what}: it does not export what would be called"));
        }
        let members = given.iter().map(|(name, value)| Some((name.clone(), value.json()?)));
        let parameters = match members.collect::<Option<Object>>() {
            Some(members) if members.is_empty() => Some(String::new()),
            members => members.and_then(|members| Json::Object(members).write().ok()),
        };
        let Some(parameters) = parameters else {
            return self.wrong(&name.at, format!("`{called}` is used with too much"));
        };
        let placed = Placed { name: called.to_owned(), parameters, at: name.at.clone() };
        match direction {
            Direction::Request => both.request.push(placed),
            Direction::Response => both.response.push(placed),
        }
    }
}
