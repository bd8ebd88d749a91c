//! Bodies of requests and responses.

use microgw_proto::contracts::v1::{Body, Content as Media, Response};
use microgw_schemas::media_type::Kind;

use super::parameters::essence;
use super::{Dialect, Reader};
use crate::source::Value;

// === impl Reader ===

impl<'d> Reader<'_, 'd> {
    pub(super) fn request_body(&mut self, operation: Value<'d>) -> Option<Body> {
        if self.dialect == Dialect::Swagger2 {
            return None;
        }
        let at = operation.get("requestBody")?;
        let Some(body) = self.follow(at) else {
            self.flaw(at, "the request's body leads nowhere");
            return None;
        };
        Some(Body { required: Self::is(body, "required"), contents: self.contents(body) })
    }

    fn contents(&mut self, owner: Value<'d>) -> Vec<Media> {
        let declared: Vec<_> = owner.get("content").into_iter().flat_map(Value::entries).collect();
        let mut contents: Vec<Media> = Vec::new();
        for (kind, media) in declared.into_iter().filter(|(kind, _)| !kind.text().starts_with("x-")) {
            let range = essence(kind.text());
            if range.split_once('/').is_none_or(|(main, sub)| main.is_empty() || sub.is_empty()) && range != "*" {
                self.flaw(kind, format!("`{}` is no media type", kind.text()));
                continue;
            }
            let schema = media.get("schema");
            let content = Media {
                schema: schema.map_or(0, |schema| self.schema(schema)),
                root: schema.map(|schema| root_of(&range, schema)).unwrap_or_default(),
                encodings: self.encodings(media),
                range,
            };
            match contents.iter().find(|other| other.range == content.range) {
                Some(other) if *other != content => {
                    let message =
                        format!("`{}` is declared twice, with parameters that are not compared", content.range);
                    self.flaw(kind, message);
                }
                Some(_) => {}
                None => contents.push(content),
            }
        }
        contents
    }

    /// The parameter of Swagger 2.0 that is the body.
    pub(super) fn swagger_body(&mut self, operation: Value<'d>, parameter: Value<'d>) -> Body {
        let mut ranges = self.media_types(operation, "consumes");
        if ranges.is_empty() {
            ranges.push("*/*".to_owned());
        }
        let schema = parameter.get("schema");
        let index = schema.map_or(0, |schema| self.schema(schema));
        Body { required: Self::is(parameter, "required"), contents: of_ranges(ranges, schema, index) }
    }

    /// What an operation of Swagger 2.0 consumes or produces, or the API.
    pub(super) fn media_types(&mut self, operation: Value<'d>, key: &str) -> Vec<String> {
        let declared = operation.get(key).or_else(|| self.root.get(key));
        let mut ranges: Vec<String> = Vec::new();
        for kind in declared.into_iter().flat_map(Value::items).map(|kind| essence(kind.text())) {
            if !ranges.contains(&kind) {
                ranges.push(kind);
            }
        }
        ranges
    }

    pub(super) fn responses(&mut self, operation: Value<'d>) -> Vec<Response> {
        let declared: Vec<_> = operation.get("responses").into_iter().flat_map(Value::entries).collect();
        let mut responses = Vec::new();
        for (key, at) in declared.into_iter().filter(|(key, _)| !key.text().starts_with("x-")) {
            let Some((from, to)) = statuses(key.text()) else {
                self.flaw(key, format!("`{}` is no status", key.text()));
                continue;
            };
            let Some(response) = self.follow(at) else {
                self.flaw(at, "a response leads nowhere");
                continue;
            };
            let contents = if self.dialect == Dialect::Swagger2 {
                self.swagger_response(operation, response)
            } else {
                self.contents(response)
            };
            let headers: Vec<_> = response.get("headers").into_iter().flat_map(Value::entries).collect();
            let headers = headers.into_iter().filter_map(|(name, header)| self.header(name.text(), header)).collect();
            responses.push(Response { from, to, body: Some(Body { required: false, contents }), headers });
        }
        responses
    }

    fn swagger_response(&mut self, operation: Value<'d>, response: Value<'d>) -> Vec<Media> {
        let Some(schema) = response.get("schema") else { return Vec::new() };
        let mut ranges = self.media_types(operation, "produces");
        if ranges.is_empty() {
            ranges.push("*/*".to_owned());
        }
        let index = self.schema(schema);
        of_ranges(ranges, Some(schema), index)
    }
}

fn of_ranges(ranges: Vec<String>, schema: Option<Value<'_>>, index: u32) -> Vec<Media> {
    let content = |range: String| {
        let root = schema.map(|schema| root_of(&range, schema)).unwrap_or_default();
        Media { range, schema: index, root, encodings: Vec::new() }
    };
    ranges.into_iter().map(content).collect()
}

/// What the root of XML is called if its schema does not say: as the schema is.
fn root_of(range: &str, schema: Value<'_>) -> String {
    if Kind::of(range) != Kind::Xml && !range.ends_with('*') {
        return String::new();
    }
    schema.get("$ref").map(|reference| super::dialect::last_name(reference.text())).unwrap_or_default()
}

fn statuses(key: &str) -> Option<(u32, u32)> {
    match key {
        "default" => Some((0, 999)),
        _ => match key.strip_suffix("XX").or_else(|| key.strip_suffix("xx")) {
            Some(class) => class
                .parse::<u32>()
                .ok()
                .filter(|class| (1..=5).contains(class))
                .map(|class| (class * 100, class * 100 + 99)),
            None => {
                key.parse::<u32>().ok().filter(|status| (100..1000).contains(status)).map(|status| (status, status))
            }
        },
    }
}
