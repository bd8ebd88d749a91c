//! The responses of an operation, as far as the definition has examples of them.

use std::collections::HashSet;

use microgw_proto::traffic::v1::{Example, Header};

use super::{Mock, json, samples};
use crate::compile::Report;
use crate::definition::Version;
use crate::definition::fields::suggest;
use crate::definition::references::Resolver;
use crate::diagnostic::Code;
use crate::source::{Content, Value};
use crate::traffic::answer::{
    MAX_BODY, MAX_EXAMPLES, MAX_NAME, is_empty_by_status, is_media_type, is_name, is_response_header, is_value,
};

const JSON: &str = "application/json";

/// Which example is to come first.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'d> {
    pub name: Option<(&'d str, Value<'d>)>,
    pub status: Option<(u32, Value<'d>)>,
}

/// Reads the examples of one operation.
struct Reader<'a, 'd> {
    root: Value<'d>,
    version: Version,
    report: &'a mut Report,
    resolver: &'a mut Resolver<'d>,
    label: &'a str,
    operation: Value<'d>,
    /// Something was wrong, and was reported.
    broken: bool,
}

/// The examples of an operation, the one that comes without being asked for in front. `None`: reported.
#[allow(clippy::too_many_arguments)] // what a reader reads from, and what it reads
pub(super) fn read<'d>(
    root: Value<'d>,
    version: Version,
    report: &mut Report,
    resolver: &mut Resolver<'d>,
    label: &str,
    at: Value<'d>,
    operation: Value<'d>,
    mock: Mock<'d>,
) -> Option<Vec<Example>> {
    let mut reader = Reader { root, version, report, resolver, label, operation, broken: false };
    let responses = reader.responses();
    let broken = reader.broken;
    let mut examples: Vec<Example> = responses.into_iter().flat_map(|(_, examples)| examples).collect();
    if broken {
        return None;
    }
    let Ok(first) = first(report, &examples, mock, label) else { return None };
    // Without a word, the first success is meant: another status in its place would be no faithful answer.
    let Some(first) = first.or_else(|| default(&examples, operation)) else {
        let message = format!("`{label}` is to be mocked, and its first successful response has no example");
        let help = "add `example` or `examples` to the response, or to its schema and all that is required in it; \
                    `x-microgw-mock: false` leaves the operation to its backend";
        report.advise(Code::NoExample, at, message, help);
        return None;
    };
    if examples.len() > MAX_EXAMPLES {
        let message = format!("`{label}` has {} examples; {MAX_EXAMPLES} can be served", examples.len());
        report.say(Code::BadAnswer, at, message);
        return None;
    }
    let first = examples.remove(first);
    examples.insert(0, first);
    Some(examples)
}

/// The example that is named to come first.
fn first(report: &mut Report, examples: &[Example], mock: Mock<'_>, label: &str) -> Result<Option<usize>, ()> {
    let Wanted { name, status } = mock.wanted;
    if name.is_none() && status.is_none() {
        return Ok(None);
    }
    let fits = |example: &Example| {
        name.is_none_or(|(name, _)| example.name == name) && status.is_none_or(|(status, _)| example.status == status)
    };
    let found = examples.iter().position(fits);
    // What is said of the whole API is for operations that have such an example.
    if found.is_some() || !mock.own {
        return Ok(found);
    }
    if let Some((name, at)) = name {
        let message = format!("`{label}` has no example `{name}`{}", of_status(status.map(|(status, _)| status)));
        let known: HashSet<&str> =
            examples.iter().map(|example| example.name.as_str()).filter(|name| !name.is_empty()).collect();
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        suggest(report, Code::NoExample, at, message, name, known);
    } else if let Some((status, at)) = status {
        report.say(Code::NoExample, at, format!("`{label}` has no example of status {status}"));
    }
    Err(())
}

fn of_status(status: Option<u32>) -> String {
    status.map(|status| format!(" of status {status}")).unwrap_or_default()
}

/// The first example of the first successful response; of the first response, if none is declared to succeed.
fn default(examples: &[Example], operation: Value<'_>) -> Option<usize> {
    let declared = operation.get("responses").into_iter().flat_map(Value::entries);
    let statuses: Vec<u32> = declared.filter_map(|(key, _)| status(key.text())).collect();
    let success = statuses.iter().find(|status| (200..300).contains(*status)).or(statuses.first());
    match success {
        Some(status) => examples.iter().position(|example| example.status == *status),
        None => (!examples.is_empty()).then_some(0),
    }
}

/// `200`, or the first of `2XX`. `None`: `default`, which is of no status, or none that can be answered.
fn status(key: &str) -> Option<u32> {
    let status = match key.strip_suffix("XX").or_else(|| key.strip_suffix("xx")) {
        Some(class) => class.parse::<u32>().ok().filter(|class| *class < 10)? * 100,
        None => key.parse().ok()?,
    };
    (200..600).contains(&status).then_some(status)
}

// === impl Reader ===

impl<'d> Reader<'_, 'd> {
    fn responses(&mut self) -> Vec<(u32, Vec<Example>)> {
        let declared = self.operation.get("responses").into_iter().flat_map(Value::entries);
        let declared: Vec<(Value<'d>, Value<'d>)> = declared.filter(|(key, _)| !key.text().starts_with("x-")).collect();
        let alone = declared.len() == 1;
        let mut responses = Vec::new();
        for (key, response) in declared {
            let status = match status(key.text()) {
                Some(status) => status,
                // All that is declared is what succeeds.
                None if alone && key.text() == "default" => 200,
                None => continue,
            };
            let Some(response) = self.resolver.follow(self.report, response) else {
                self.broken = true;
                continue;
            };
            responses.push((status, self.response(status, response)));
        }
        responses
    }

    fn response(&mut self, status: u32, response: Value<'d>) -> Vec<Example> {
        let headers = self.headers(response);
        let made = |name: &str, content_type: &str, body: String| Example {
            name: name.to_owned(),
            status,
            content_type: content_type.to_owned(),
            body: body.into_bytes(),
            headers: headers.clone(),
        };
        let empty = || vec![made("", "", String::new())];
        if is_empty_by_status(status) {
            return empty();
        }
        if self.version == Version::Swagger2 {
            return match self.swagger(response) {
                None => empty(),
                Some(bodies) => bodies.into_iter().map(|(kind, body)| made("", &kind, body)).collect(),
            };
        }
        let mut contents = response.get("content").into_iter().flat_map(Value::entries).peekable();
        // What declares no content has none.
        if contents.peek().is_none() {
            return empty();
        }
        let mut examples = Vec::new();
        for (key, media) in contents {
            let Some(kind) = media_type(key.text()) else { continue };
            let Some(media) = self.resolver.follow(self.report, media) else {
                self.broken = true;
                continue;
            };
            for (name, body) in self.media(&kind, media) {
                examples.push(made(&name, &kind, body));
            }
        }
        examples
    }

    /// Names and bodies of one media type.
    fn media(&mut self, kind: &str, media: Value<'d>) -> Vec<(String, String)> {
        let schema = media.get("schema");
        if let Some(example) = media.get("example") {
            return self.body(kind, schema, example).map(|body| (String::new(), body)).into_iter().collect();
        }
        let mut bodies = Vec::new();
        let named: Vec<_> = media.get("examples").into_iter().flat_map(Value::entries).collect();
        for (name, example) in &named {
            let Some(example) = self.resolver.follow(self.report, *example) else {
                self.broken = true;
                continue;
            };
            if !is_name(name.text()) {
                let message = format!(
                    "nobody can ask for an example `{}`: a name is ASCII text of {MAX_NAME} characters at most",
                    name.text()
                );
                self.refuse(*name, message);
                continue;
            }
            let Some(value) = example.get("value") else {
                let message = format!("the example `{}` of `{}` has no `value`", name.text(), self.label);
                self.refuse(*name, message);
                continue;
            };
            bodies.extend(self.body(kind, schema, value).map(|body| (name.text().to_owned(), body)));
        }
        if named.is_empty()
            && let Some(schema) = schema
        {
            bodies.extend(self.sample(kind, schema).map(|body| (String::new(), body)));
        }
        bodies
    }

    /// Media types and bodies. `None`: the response has none.
    fn swagger(&mut self, response: Value<'d>) -> Option<Vec<(String, String)>> {
        let schema = response.get("schema");
        let declared: Vec<_> = response.get("examples").into_iter().flat_map(Value::entries).collect();
        if declared.is_empty() {
            let schema = schema?;
            let produces = self.operation.get("produces").or_else(|| self.root.get("produces"));
            let kinds = produces.into_iter().flat_map(Value::items).filter_map(|kind| media_type(kind.text()));
            let kinds: Vec<String> = kinds.collect();
            let kind = kinds.iter().find(|kind| is_json(kind)).or(kinds.first()).map_or(JSON, String::as_str);
            return Some(self.sample(kind, schema).map(|body| (kind.to_owned(), body)).into_iter().collect());
        }
        let mut bodies = Vec::new();
        for (key, example) in declared {
            let Some(kind) = media_type(key.text()) else { continue };
            bodies.extend(self.body(&kind, schema, example).map(|body| (kind, body)));
        }
        Some(bodies)
    }

    fn body(&mut self, kind: &str, schema: Option<Value<'d>>, example: Value<'d>) -> Option<String> {
        let body = match (is_json(kind), example.content()) {
            (false, Content::Text(_) | Content::Number(_) | Content::Bool(_)) => {
                Some(example.text().to_owned()).filter(|text| text.len() <= MAX_BODY)
            }
            // How it would be written is for nobody to guess.
            (false, _) => {
                let message = format!("`{}`: an example of `{kind}` must be text, as it is sent", self.label);
                self.refuse(example, message);
                return None;
            }
            (true, Content::Text(text)) if self.is_written_out(schema, text) => {
                Some(text.to_owned()).filter(|text| text.len() <= MAX_BODY)
            }
            (true, _) => json::of(example),
        };
        if body.is_none() {
            let message = format!(
                "`{}`: an example is longer than {MAX_BODY} bytes, or has a number that JSON does not know",
                self.label
            );
            self.refuse(example, message);
        }
        body
    }

    /// Text that is JSON itself, where no text is declared.
    fn is_written_out(&mut self, schema: Option<Value<'d>>, text: &str) -> bool {
        let is_text = schema.is_some_and(|schema| {
            let schema = if schema.get("$ref").is_some() { self.resolver.step(schema) } else { Some(schema) };
            schema.and_then(|schema| schema.get("type")).is_some_and(|kind| kind.text() == "string")
        });
        !is_text
            && text.trim_start().starts_with(['{', '['])
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    fn sample(&mut self, kind: &str, schema: Value<'d>) -> Option<String> {
        if is_json(kind) {
            return samples::of(self.resolver, schema);
        }
        let schema = if schema.get("$ref").is_some() { self.resolver.step(schema)? } else { schema };
        let value = samples::named(schema)?;
        matches!(value.content(), Content::Text(_))
            .then(|| value.text().to_owned())
            .filter(|text| text.len() <= MAX_BODY)
    }

    /// Those that have an example.
    fn headers(&mut self, response: Value<'d>) -> Vec<Header> {
        let mut headers = Vec::new();
        for (key, header) in response.get("headers").into_iter().flat_map(Value::entries) {
            let name = key.text().to_ascii_lowercase();
            if !is_response_header(&name) {
                continue;
            }
            let Some(header) = self.resolver.follow(self.report, header) else {
                self.broken = true;
                continue;
            };
            let schema = header.get("schema").and_then(|schema| match schema.get("$ref") {
                Some(_) => self.resolver.step(schema),
                None => Some(schema),
            });
            let named = header.get("examples").into_iter().flat_map(Value::entries).next();
            let named = named.and_then(|(_, example)| self.resolver.follow(self.report, example)?.get("value"));
            let own = if self.version == Version::Swagger2 { samples::named(header) } else { header.get("example") };
            let Some(value) = own.or(named).or_else(|| schema.and_then(samples::named)) else { continue };
            let scalar = matches!(value.content(), Content::Text(_) | Content::Number(_) | Content::Bool(_));
            if !scalar || !is_value(value.text()) {
                let message = format!("`{}`: the example of the header `{}` cannot be sent", self.label, key.text());
                self.refuse(value, message);
                continue;
            }
            headers.push(Header { name, value: value.text().to_owned() });
        }
        headers.sort_by(|a, b| a.name.cmp(&b.name));
        headers.dedup_by(|a, b| a.name == b.name);
        headers
    }

    fn refuse(&mut self, at: Value<'d>, message: String) {
        self.report.say(Code::BadAnswer, at, message);
        self.broken = true;
    }
}

/// The type that is sent for what is declared. A range stands for what it is commonly used for.
fn media_type(declared: &str) -> Option<String> {
    let kind = match declared.trim() {
        "*/*" | "application/*" => JSON,
        "text/*" => "text/plain",
        kind => kind,
    };
    is_media_type(kind).then(|| kind.to_owned())
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}
