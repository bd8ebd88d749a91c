//! What an operation takes and answers, ready to be compared with messages.

use std::fmt;
use std::sync::Arc;

use microgw_proto::contracts::v1 as proto;

use crate::body::{Body, Content};
use crate::head::{Presence, RequestHead};
use crate::media_type::MediaType;
use crate::parameter::{Form, Pair, Pairs, Parameter, Reader, Style, Unreadable, pairs};
use crate::path::Template;
use crate::schemas::{Compiled, Schemas};
use crate::shape::{Shaper, Shapes};
use crate::violation::{Place, Violations};
use crate::{MAX_FIELDS, MAX_PARAMETERS};

/// Of one operation, with the schemas that it shares with others.
pub struct Contract {
    template: Template,
    request: Side,
    response: Side,
    /// By index among the template's: those in paths.
    path: Vec<(usize, Parameter)>,
    /// In queries, headers and cookies.
    others: Vec<Parameter>,
    in_query: bool,
    in_cookie: bool,
    /// `None`: no request has a body.
    body: Option<Body>,
    responses: Vec<Response>,
}

/// What messages of one direction are checked with.
struct Side {
    compiled: Arc<Compiled>,
    shapes: Shapes,
}

#[derive(Debug)]
struct Response {
    from: u32,
    to: u32,
    body: Body,
    headers: Vec<Parameter>,
}

/// Why a contract cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error("the operation has more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    #[error("the parameter `{0}` is in no segment of the path")]
    NoSegment(String),
    #[error("a schema is missing")]
    NoSchema,
    #[error("the schemas of the operation have too much in them")]
    TooMuch,
    #[error("a body of `{0}` cannot be compared with its schema: only JSON, XML, forms and texts can be")]
    Uncheckable(String),
}

/// Headers of which OpenAPI says that they are no parameters.
const NO_PARAMETERS: &[&str] = &["accept", "authorization", "content-type"];

// === impl Contract ===

impl Contract {
    /// `template`: with the base path. `requests` and `responses`: the schemas of the API, each way.
    pub fn compile(
        contract: &proto::Contract,
        template: &str,
        requests: &Schemas,
        responses: &Schemas,
    ) -> Result<Contract, ContractError> {
        if contract.parameters.len() > MAX_PARAMETERS {
            return Err(ContractError::TooManyParameters);
        }
        let (template, names) = Template::parse(template);
        let mut shaper = Shaper::new(&requests.values);
        let (mut path, mut others) = (Vec::new(), Vec::new());
        for declared in &contract.parameters {
            if declared.location() == proto::parameter::Location::Header
                && NO_PARAMETERS.contains(&declared.name.as_str())
            {
                continue;
            }
            let parameter = Parameter::compile(declared, &mut shaper)?;
            if parameter.place == Place::Path {
                let at = names.iter().position(|name| **name == *parameter.name);
                path.push((at.ok_or_else(|| ContractError::NoSegment(declared.name.clone()))?, parameter));
            } else {
                others.push(parameter);
            }
        }
        let body = contract.request.as_ref().map(|body| Body::compile(body, &mut shaper)).transpose()?;
        let request = Side { compiled: Arc::clone(&requests.compiled), shapes: shaper.finish() };
        let mut shaper = Shaper::new(&responses.values);
        let mut answers = Vec::new();
        for response in &contract.responses {
            let headers = response.headers.iter().filter(|header| !NO_PARAMETERS.contains(&header.name.as_str()));
            answers.push(Response {
                from: response.from,
                to: response.to,
                body: Body::compile(response.body.as_ref().unwrap_or(&proto::Body::default()), &mut shaper)?,
                headers: headers.map(|header| Parameter::compile(header, &mut shaper)).collect::<Result<_, _>>()?,
            });
        }
        answers.sort_by_key(|response| response.to.saturating_sub(response.from));
        let response = Side { compiled: Arc::clone(&responses.compiled), shapes: shaper.finish() };
        Ok(Contract {
            template,
            request,
            response,
            path,
            in_query: others.iter().any(|parameter| parameter.place == Place::Query),
            in_cookie: others.iter().any(|parameter| parameter.place == Place::Cookie),
            others,
            body,
            responses: answers,
        })
    }

    /// Without the body of requests some violations would not be found.
    pub fn needs_request_body(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_checked)
    }

    /// Each line of the head has to be known, for a `,` may be part of a cookie.
    pub fn looks_at_cookies(&self) -> bool {
        self.in_cookie
    }

    /// There is something to say of responses.
    pub fn needs_response_head(&self) -> bool {
        self.responses.iter().any(|response| !response.headers.is_empty() || response.body.has_contents())
    }

    /// Without the body of responses some violations would not be found.
    pub fn needs_response_body(&self) -> bool {
        self.responses.iter().any(|response| response.body.is_checked())
    }

    /// What is wrong with a request, as far as its head tells.
    pub fn request_head(&self, head: &RequestHead<'_>, body: Presence) -> Violations {
        let mut violations = Violations::default();
        let (path, query) = head.target();
        self.check_path(path, &mut violations);
        self.check_others(head, query, &mut violations);
        self.check_content_type(head, body, &mut violations);
        violations
    }

    /// What is wrong with the body of a request, all of which is `bytes`.
    pub fn request_body(&self, content_type: Option<&str>, bytes: &[u8]) -> Violations {
        let mut violations = Violations::default();
        match &self.body {
            None if !bytes.is_empty() => violations.add(Place::Body, "", NO_BODY),
            None => {}
            Some(body) if bytes.is_empty() && body.required => violations.add(Place::Body, "", "is required"),
            Some(_) if bytes.is_empty() => {}
            Some(body) => body.check(&self.request.reader(), content_type, bytes, &mut violations),
        }
        violations
    }

    /// What is wrong with a response, as far as its head tells.
    pub fn response_head<'a>(&self, status: u16, headers: &(dyn Fn(&str) -> Option<&'a str> + 'a)) -> Violations {
        let mut violations = Violations::default();
        let Some(response) = self.response(status) else { return violations };
        let reader = self.response.reader();
        for header in &response.headers {
            let found = headers(&header.name).map(|raw| header.of_one(reader.shapes, raw, false)).transpose();
            header.check(&reader, found, &mut violations);
        }
        if let Some(content_type) = headers("content-type") {
            response.body.check_media_type(content_type, &mut violations);
        }
        violations
    }

    /// What is wrong with the body of a response, all of which is `bytes`. Not for responses to `HEAD`, which have none.
    pub fn response_body(&self, status: u16, content_type: Option<&str>, bytes: &[u8]) -> Violations {
        let mut violations = Violations::default();
        if let Some(response) = self.response(status)
            && !matches!(status, 204 | 205 | 304)
        {
            let body = &response.body;
            if bytes.is_empty() && body.is_checked() {
                violations.add(Place::Body, "", "is missing");
            } else if !bytes.is_empty() {
                body.check(&self.response.reader(), content_type, bytes, &mut violations);
            }
        }
        violations
    }

    fn response(&self, status: u16) -> Option<&Response> {
        self.responses.iter().find(|response| (response.from..=response.to).contains(&u32::from(status)))
    }

    fn check_path(&self, path: &str, violations: &mut Violations) {
        if self.path.is_empty() {
            return;
        }
        let Some(captures) = self.template.capture(path) else {
            violations.add(Place::Path, "", "is not the operation's");
            return;
        };
        let reader = self.request.reader();
        for (index, parameter) in &self.path {
            let found = captures.get(*index).map(|raw| parameter.of_one(reader.shapes, raw, false)).transpose();
            parameter.check(&reader, found, violations);
        }
    }

    fn check_others(&self, head: &RequestHead<'_>, query: &str, violations: &mut Violations) {
        let reader = self.request.reader();
        let of_query = if self.in_query { pairs(query) } else { Ok(Pairs::new()) };
        let of_cookies =
            if self.in_cookie { cookies(head.header("cookie").unwrap_or_default()) } else { Ok(Pairs::new()) };
        let [of_query, of_cookies] = [(Place::Query, of_query), (Place::Cookie, of_cookies)].map(|(place, pairs)| {
            pairs.unwrap_or_else(|unreadable| {
                violations.add(place, "", unreadable.0);
                Pairs::new()
            })
        });
        for parameter in &self.others {
            let found = match parameter.place {
                Place::Query => parameter.of_pairs(reader.shapes, &of_query),
                Place::Cookie => parameter.of_pairs(reader.shapes, &of_cookies),
                _ => {
                    let raw = head.header(&parameter.name);
                    raw.map(|raw| parameter.of_one(reader.shapes, raw.trim_ascii(), false)).transpose()
                }
            };
            parameter.check(&reader, found, violations);
        }
    }

    fn check_content_type(&self, head: &RequestHead<'_>, body: Presence, violations: &mut Violations) {
        let presence = body.or_of(&|name| head.header(name).map(|value| value.trim_ascii() != "0"));
        let content_type = head.header("content-type");
        match &self.body {
            None if presence == Presence::Present => violations.add(Place::Body, "", NO_BODY),
            None => {}
            Some(body) if presence == Presence::Absent && body.required => {
                violations.add(Place::Body, "", "is required");
            }
            Some(_) if presence == Presence::Absent => {}
            Some(body) => match content_type {
                Some(content_type) => body.check_media_type(content_type, violations),
                None if presence == Presence::Present => body.check_media_type("", violations),
                None => {}
            },
        }
    }
}

const NO_BODY: &str = "is not expected: the operation declares none";

/// The pairs of a `cookie` header. Of one that is cut off nobody could say what the backend makes of the rest.
fn cookies(header: &str) -> Result<Pairs<'_>, Unreadable> {
    let mut pairs = Pairs::new();
    for (name, value) in header.split(';').filter_map(|cookie| cookie.split_once('=')) {
        if pairs.len() >= MAX_FIELDS {
            return Err(Unreadable("has too many names and values"));
        }
        let value = value.trim_ascii();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        pairs.push(Pair { name: name.trim_ascii().into(), value: bare });
    }
    Ok(pairs)
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = self.path.len() + self.others.len();
        f.debug_struct("Contract").field("parameters", &parameters).field("body", &self.body).finish_non_exhaustive()
    }
}

// === impl Side ===

impl Side {
    fn reader(&self) -> Reader<'_> {
        Reader { compiled: &self.compiled, shapes: &self.shapes }
    }
}

// === impl Parameter ===

impl Parameter {
    pub(crate) fn compile(declared: &proto::Parameter, shaper: &mut Shaper<'_>) -> Result<Parameter, ContractError> {
        use proto::parameter::Location;
        let place = match declared.location() {
            Location::Path => Place::Path,
            Location::Query => Place::Query,
            Location::Header => Place::Header,
            Location::Cookie => Place::Cookie,
        };
        Parameter::new(place, declared, shaper)
    }

    pub(crate) fn new(
        place: Place,
        declared: &proto::Parameter,
        shaper: &mut Shaper<'_>,
    ) -> Result<Parameter, ContractError> {
        let schema = declared.schema.checked_sub(1);
        let shape = match schema {
            Some(index) => Some(shaper.of(index as usize).ok_or(ContractError::TooMuch)?),
            None => None,
        };
        let form = shape.map_or(Form::Scalar, |shape| Form::of(shaper.types(shape)));
        let (mut style, explode) = (Style::from(declared.style()), declared.explode);
        // Exploded they are all one.
        if explode && matches!(style, Style::Space | Style::Pipe | Style::Tab) {
            style = Style::Form;
        }
        Ok(Parameter {
            place,
            name: declared.name.as_str().into(),
            required: declared.required || place == Place::Path,
            style,
            explode,
            allow_empty: declared.allow_empty,
            schema: schema.map(|index| index.to_string().into()),
            shape,
            json: declared.json,
            form,
        })
    }
}

// === impl Content ===

/// The best of what is declared for a media type.
pub(crate) fn best<'c>(contents: &'c [Content], media_type: &MediaType<'_>) -> Option<&'c Content> {
    let ranked = contents
        .iter()
        .filter_map(|content| crate::media_type::rank(&content.range, &media_type.essence).map(|rank| (rank, content)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, content)| content)
}

#[cfg(test)]
mod tests;
