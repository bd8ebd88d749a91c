//! What a component is told, and what it may do: the functions of `wit/interceptor.wit`.

use microgw_engine::interceptors::{Interception, InterceptorFailure, Verdict};
use microgw_transforms::query::{self, Query};
use microgw_transforms::{Direction, Editor, EditorError, Message, editable};
use wasmtime::component::{HasSelf, Linker};

use self::micro_gw::interceptor::types::{self, Refusal};
use self::micro_gw::interceptor::{body, caller, exchange, headers, logging, request, request_edits, response};
use super::limits::Limits;
use super::log::Log;
use super::wasi::Resources;
use crate::answer::Answer;
use crate::attributes::{self, AttributeError};

wasmtime::component::bindgen!({ path: "wit", world: "messages" });

/// One call.
pub(super) struct Guest {
    pub(super) call: Interception,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) resources: Resources,
}

pub(super) use self::micro_gw::interceptor::types::{Level, Verdict as Said};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    Messages::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

// === impl Guest ===

impl Guest {
    pub(super) fn verdict(self, said: Said) -> Verdict {
        match said {
            Said::Proceed => {
                let Interception { message, attributes, .. } = self.call;
                Verdict::Continue { message, attributes }
            }
            Said::Respond(answer) => {
                let answer = Answer { status: answer.status, headers: answer.headers, body: answer.body };
                match answer.into_message(self.call.terms().is_head) {
                    Ok(answer) => Verdict::Respond(answer),
                    Err(error) => {
                        self.log.of_gateway(&format!("it answers what cannot be sent: {error}"));
                        Verdict::Failed(InterceptorFailure::Malformed)
                    }
                }
            }
        }
    }

    /// The request at hand, or the one that is answered.
    fn request(&self) -> Option<&Message> {
        match self.call.direction {
            Direction::Request => Some(&self.call.message),
            Direction::Response => self.call.asked.as_deref(),
        }
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        query::split(self.request().map_or("", Message::path))
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<(), EditorError>) -> Result<(), Refusal> {
        let mut message = std::mem::take(&mut self.call.message);
        let result = edit(&mut Editor { message: &mut message, terms: self.call.terms() });
        self.call.message = message;
        result.map_err(refusal)
    }
}

fn refusal(error: EditorError) -> Refusal {
    use microgw_transforms::editable::EditError;
    use microgw_transforms::names::NameError;
    match error {
        EditorError::Header(EditError::Name(NameError::Length | NameError::Character))
        | EditorError::Query(_)
        | EditorError::Value
        | EditorError::Path(_)
        | EditorError::ContentType => Refusal::Malformed,
        EditorError::Header(_)
        | EditorError::Credential
        | EditorError::Method
        | EditorError::Status
        | EditorError::MatchedAgain => Refusal::Forbidden,
        EditorError::Head | EditorError::Pairs | EditorError::TooLarge => Refusal::TooLarge,
        EditorError::OfRequests | EditorError::OfResponses | EditorError::NoBody => Refusal::Misplaced,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn first(message: Option<&Message>, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    // Messages come without them; this holds whoever makes the message.
    let message = message.filter(|_| !editable::is_credential(&name))?;
    message.headers.get(&name).next().map(text)
}

impl types::Host for Guest {}

impl headers::Host for Guest {
    fn get(&mut self, name: String) -> Option<String> {
        first(Some(&self.call.message), &name)
    }

    fn get_all(&mut self, name: String) -> Vec<String> {
        let name = name.to_ascii_lowercase();
        if editable::is_credential(&name) {
            return Vec::new();
        }
        self.call.message.headers.get(&name).map(text).collect()
    }

    fn names(&mut self) -> Vec<String> {
        let names = self.call.message.headers.iter().map(|(name, _)| name);
        let mut names: Vec<_> = names.filter(|name| !editable::is_credential(name)).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn set(&mut self, name: String, value: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_header(&name, value.as_bytes()))
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.add_header(&name, value.as_bytes()))
    }

    fn remove(&mut self, name: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.remove_header(&name))
    }
}

impl request::Host for Guest {
    fn method(&mut self) -> String {
        self.request().map_or("", Message::method).to_owned()
    }

    fn scheme(&mut self) -> String {
        self.call.about.scheme.to_string()
    }

    fn host(&mut self) -> String {
        self.call.about.host.to_string()
    }

    fn path(&mut self) -> String {
        self.path_and_query().0.to_owned()
    }

    fn query(&mut self) -> String {
        self.path_and_query().1.unwrap_or_default().to_owned()
    }

    fn query_parameter(&mut self, name: String) -> Option<String> {
        let query = Query::read(self.path_and_query().1);
        query.values(&name).next().map(std::borrow::Cow::into_owned)
    }

    fn query_parameters(&mut self) -> Vec<(String, String)> {
        let query = Query::read(self.path_and_query().1);
        query.decoded().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    fn path_parameter(&mut self, name: String) -> Option<String> {
        let parameters = &self.call.about.path_parameters;
        parameters.iter().find(|(other, _)| **other == *name).map(|(_, value)| value.clone())
    }

    fn path_parameters(&mut self) -> Vec<(String, String)> {
        self.call.about.path_parameters.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn header(&mut self, name: String) -> Option<String> {
        first(self.request(), &name)
    }
}

impl request_edits::Host for Guest {
    fn set_method(&mut self, method: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_method(&method))
    }

    fn set_path(&mut self, path: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_path(&path))
    }

    fn set_query_parameter(&mut self, name: String, value: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_query(&name, &value))
    }

    fn add_query_parameter(&mut self, name: String, value: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.add_query(&name, &value))
    }

    fn remove_query_parameter(&mut self, name: String) -> Result<(), Refusal> {
        self.edit(|editor| editor.remove_query(&name))
    }
}

impl response::Host for Guest {
    fn status(&mut self) -> u16 {
        self.call.message.status()
    }

    fn set_status(&mut self, status: u16) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_status(status))
    }
}

impl body::Host for Guest {
    fn bytes(&mut self) -> Vec<u8> {
        self.call.body().unwrap_or_default().to_vec()
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.call.body().unwrap_or_default()).ok().map(str::to_owned)
    }

    fn set_bytes(&mut self, bytes: Vec<u8>, content_type: Option<String>) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_body(bytes, content_type.as_deref()))
    }

    fn set_text(&mut self, text: String, content_type: Option<String>) -> Result<(), Refusal> {
        self.edit(|editor| editor.set_body(text.into_bytes(), content_type.as_deref()))
    }
}

impl caller::Host for Guest {
    fn subject(&mut self) -> Option<String> {
        self.call.about.caller.subject.clone()
    }

    fn client(&mut self) -> Option<String> {
        self.call.about.caller.client.clone()
    }

    fn application(&mut self) -> Option<String> {
        self.call.about.caller.application.clone()
    }

    fn tier(&mut self) -> Option<String> {
        self.call.about.caller.tier.clone()
    }

    fn key_type(&mut self) -> Option<String> {
        self.call.about.caller.key_type.clone()
    }

    fn scopes(&mut self) -> Vec<String> {
        self.call.about.caller.scopes.clone()
    }

    fn claim(&mut self, name: String) -> Option<String> {
        let (_, json) = self.call.claims().find(|(other, _)| *other == name)?;
        Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
    }

    fn claim_names(&mut self) -> Vec<String> {
        self.call.claims().map(|(name, _)| name.to_owned()).collect()
    }
}

impl exchange::Host for Guest {
    fn api_name(&mut self) -> String {
        self.call.about.api.name.to_string()
    }

    fn api_version(&mut self) -> String {
        self.call.about.api.version.to_string()
    }

    fn base_path(&mut self) -> String {
        self.call.about.api.base_path.to_string()
    }

    fn operation(&mut self) -> String {
        self.call.about.operation.to_string()
    }

    fn client_address(&mut self) -> String {
        self.call.about.address.map(|address| address.to_string()).unwrap_or_default()
    }

    fn attribute(&mut self, name: String) -> Option<String> {
        self.call.attributes.get(&name).cloned()
    }

    fn attribute_names(&mut self) -> Vec<String> {
        self.call.attributes.keys().cloned().collect()
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<(), Refusal> {
        attributes::set(&mut self.call.attributes, &name, &value).map_err(|error| match error {
            AttributeError::Name => Refusal::Malformed,
            AttributeError::TooMany => Refusal::TooLarge,
        })
    }

    fn remove_attribute(&mut self, name: String) {
        self.call.attributes.remove(&name);
    }

    fn parameters(&mut self) -> String {
        let parameters = &*self.call.parameters;
        if parameters.is_empty() { "{}" } else { parameters }.to_owned()
    }
}

impl logging::Host for Guest {
    fn log(&mut self, level: Level, message: String) {
        self.log.write(level, &message);
    }
}
