//! Parameters of operations and headers of responses.

use microgw_proto::contracts::v1::{Body, Content as Media, Encoding, Parameter, Style, parameter::Location};

use super::{Dialect, Reader};
use crate::source::{Content, Value};

// === impl Reader ===

impl<'d> Reader<'_, 'd> {
    /// Those of the path and of the operation, and what Swagger 2.0 has among them: the body.
    pub(super) fn parameters(&mut self, item: Value<'d>, operation: Value<'d>) -> (Vec<Parameter>, Option<Body>) {
        let mut declared: Vec<(Value<'d>, Value<'d>)> = Vec::new();
        for owner in [item, operation] {
            let own = owner.get("parameters").into_iter().flat_map(Value::items);
            for at in own {
                let Some(parameter) = self.follow(at) else {
                    self.flaw(at, "a parameter leads nowhere");
                    continue;
                };
                let named = |other: Value<'d>, key: &str| {
                    other.get(key).map(Value::text).unwrap_or_default()
                        == parameter.get(key).map(Value::text).unwrap_or_default()
                };
                match declared.iter_mut().find(|(_, other)| named(*other, "name") && named(*other, "in")) {
                    // The operation's replaces that of its path.
                    Some(known) => *known = (at, parameter),
                    None => declared.push((at, parameter)),
                }
            }
        }
        let (mut parameters, mut fields, mut body) = (Vec::new(), Vec::new(), None);
        for (at, parameter) in declared {
            match (self.dialect, parameter.get("in").map(Value::text).unwrap_or_default()) {
                (Dialect::Swagger2, "body") => body = Some(parameter),
                (Dialect::Swagger2, "formData") => fields.push(parameter),
                (_, location) => parameters.extend(self.parameter(at, location, parameter)),
            }
        }
        let body =
            body.map(|body| self.swagger_body(operation, body)).or_else(|| self.swagger_form(operation, &fields));
        (parameters, body)
    }

    fn parameter(&mut self, at: Value<'d>, location: &str, parameter: Value<'d>) -> Option<Parameter> {
        let name = parameter.get("name").map(Value::text).unwrap_or_default();
        let location = match location {
            "path" => Location::Path,
            "query" => Location::Query,
            "header" => Location::Header,
            "cookie" => Location::Cookie,
            _ => {
                self.flaw(at, format!("the parameter `{name}` is in no place that is known"));
                return None;
            }
        };
        if name.is_empty() {
            self.flaw(at, "a parameter has no name");
            return None;
        }
        let name = if location == Location::Header { name.to_ascii_lowercase() } else { name.to_owned() };
        let required = Self::is(parameter, "required") || location == Location::Path;
        let allow_empty = Self::is(parameter, "allowEmptyValue") && location == Location::Query;
        Some(self.value_of(
            at,
            parameter,
            Parameter { location: location.into(), name, required, allow_empty, ..Parameter::default() },
        ))
    }

    /// A header of a response.
    pub(super) fn header(&mut self, name: &str, at: Value<'d>) -> Option<Parameter> {
        let header = self.follow(at)?;
        let required = Self::is(header, "required");
        let name = name.to_ascii_lowercase();
        Some(self.value_of(
            at,
            header,
            Parameter { location: Location::Header.into(), name, required, ..Parameter::default() },
        ))
    }

    /// How its value is written, and what it has to be.
    fn value_of(&mut self, at: Value<'d>, declared: Value<'d>, parameter: Parameter) -> Parameter {
        let location = parameter.location();
        if self.dialect == Dialect::Swagger2 {
            let (style, explode) = collection(location, declared.get("collectionFormat").map(Value::text));
            let schema = self.schema(declared);
            return Parameter { style: style.into(), explode, schema, ..parameter };
        }
        if let Some((kind, content)) = declared.get("content").and_then(|content| content.entries().next()) {
            let kind = microgw_schemas::media_type::Kind::of(&essence(kind.text()));
            let json = kind == microgw_schemas::media_type::Kind::Json;
            let schema = content.get("schema").map_or(0, |schema| self.schema(schema));
            let style = style_of(location);
            return Parameter { style: style.into(), explode: false, schema, json, ..parameter };
        }
        let style = self.style(declared, style_of(location));
        let explode = explode(declared, style);
        if style == Style::DeepObject && location != Location::Query {
            self.flaw(at, format!("the style `deepObject` of `{}` is for queries alone", parameter.name));
        }
        if matches!(style, Style::Label | Style::Matrix) && location != Location::Path {
            self.flaw(at, format!("the style of `{}` is for paths alone", parameter.name));
        }
        let schema = declared.get("schema").map_or(0, |schema| self.schema(schema));
        Parameter { style: style.into(), explode, schema, ..parameter }
    }

    fn style(&mut self, declared: Value<'d>, default: Style) -> Style {
        let Some(style) = declared.get("style") else { return default };
        match style.text() {
            "simple" => Style::Simple,
            "label" => Style::Label,
            "matrix" => Style::Matrix,
            "form" => Style::Form,
            "spaceDelimited" => Style::Space,
            "pipeDelimited" => Style::Pipe,
            "deepObject" => Style::DeepObject,
            other => {
                self.flaw(style, format!("the style `{other}` is not known"));
                default
            }
        }
    }

    /// How the fields of a form are written.
    pub(super) fn encodings(&mut self, media: Value<'d>) -> Vec<Encoding> {
        let declared = media.get("encoding").into_iter().flat_map(Value::entries);
        let declared: Vec<_> = declared.collect();
        let mut encodings = Vec::new();
        for (name, encoding) in declared {
            let kinds = encoding.get("contentType").map(Value::text).unwrap_or_default().split(',');
            let style = self.style(encoding, Style::Form);
            encodings.push(Encoding {
                property: name.text().to_owned(),
                content_types: kinds.map(essence).filter(|kind| !kind.is_empty()).collect(),
                style: style.into(),
                explode: explode(encoding, style),
            });
        }
        encodings
    }

    /// The fields of a form in Swagger 2.0, which are parameters.
    fn swagger_form(&mut self, operation: Value<'d>, fields: &[Value<'d>]) -> Option<Body> {
        let first = fields.first()?;
        let is_file = |field: &&Value<'d>| field.get("type").is_some_and(|kind| kind.text() == "file");
        let form = ["application/x-www-form-urlencoded", "multipart/form-data"];
        let consumed = self.media_types(operation, "consumes");
        let mut ranges: Vec<String> = consumed.into_iter().filter(|kind| form.contains(&kind.as_str())).collect();
        if ranges.is_empty() {
            // A file cannot be sent otherwise.
            let multipart_only = fields.iter().any(|field| is_file(&field));
            ranges = form.iter().skip(usize::from(multipart_only)).map(|kind| (*kind).to_owned()).collect();
        }
        let named = |field: &Value<'d>| field.get("name").map(|name| name.text().to_owned());
        let required: Vec<String> =
            fields.iter().filter(|field| Self::is(**field, "required")).filter_map(named).collect();
        let properties: Vec<(String, Value<'d>)> =
            fields.iter().filter_map(|field| Some((named(field)?, *field))).collect();
        let encodings: Vec<Encoding> = properties
            .iter()
            .map(|(name, field)| {
                let (style, explode) = collection(Location::Query, field.get("collectionFormat").map(Value::text));
                Encoding { property: name.clone(), content_types: Vec::new(), style: style.into(), explode }
            })
            .collect();
        let index = self.shelf.put_form(*first, &properties, &required, self.resolver);
        self.used.insert(index);
        let content = |range: String| {
            let encodings = encodings.clone();
            Media { range, schema: index + 1, encodings, ..Media::default() }
        };
        Some(Body { required: !required.is_empty(), contents: ranges.into_iter().map(content).collect() })
    }
}

/// Swagger 2.0.
fn collection(location: Location, format: Option<&str>) -> (Style, bool) {
    let plain = if location == Location::Query { Style::Form } else { Style::Simple };
    match format {
        Some("ssv") => (Style::Space, false),
        Some("tsv") => (Style::Tab, false),
        Some("pipes") => (Style::Pipe, false),
        Some("multi") => (Style::Form, true),
        _ => (plain, false),
    }
}

fn style_of(location: Location) -> Style {
    match location {
        Location::Path | Location::Header => Style::Simple,
        Location::Query | Location::Cookie => Style::Form,
    }
}

/// Said, or true for `form` and `deepObject`.
fn explode(declared: Value<'_>, style: Style) -> bool {
    match declared.get("explode").map(Value::content) {
        Some(Content::Bool(explode)) => explode,
        _ => matches!(style, Style::Form | Style::DeepObject),
    }
}

/// Lower-case, without parameters.
pub(super) fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
