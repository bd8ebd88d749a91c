//! Edits that a program asks for while a message is at hand: held to what definitions may declare, one by one.

use crate::editable::{Direction, EditError, alike, editable, is_value};
use crate::load::is_content_type;
use crate::message::Message;
use crate::names::{self, NameError};
use crate::path::{self, PathError};
use crate::query::{self, MAX_PAIRS, Query};
use crate::step::{METHODS, is_status};
use crate::{MAX_BODY, MAX_HEAD};

/// Edits a message; what is refused changes nothing.
pub struct Editor<'m> {
    pub message: &'m mut Message,
    pub terms: Terms<'m>,
}

/// What holds for all edits of a message.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    pub direction: Direction,
    /// Of the API: what paths come after.
    pub base_path: &'t str,
    /// The response answers HEAD, or the request is one.
    pub is_head: bool,
    /// Method and path stay: by them it is found out where the message goes, and that is done again.
    pub is_matched_again: bool,
    /// Headers of requests that the gateway judges, or sets, lower-case.
    pub reserved: &'t [Box<str>],
    /// Query parameters likewise.
    pub reserved_parameters: &'t [Box<str>],
    /// Bodies are brought along. Else none is read, and none is made.
    pub has_bodies: bool,
}

/// Why a message is not edited like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditorError {
    #[error("the header cannot be edited: {0}")]
    Header(#[from] EditError),
    #[error("the header's value is too long, has spaces around it, or has control characters")]
    Value,
    #[error("the headers together are longer than {MAX_HEAD} bytes")]
    Head,
    #[error("it cannot be a query parameter: {0}")]
    Query(#[from] NameError),
    #[error("the query parameter is a credential")]
    Credential,
    #[error("the query has more than {MAX_PAIRS} parameters")]
    Pairs,
    #[error("the path cannot be sent: {0}")]
    Path(#[from] PathError),
    #[error("no request can be given this method: GET, POST, PUT, PATCH and DELETE are sent, and HEAD stays HEAD")]
    Method,
    #[error("no response can be given this status: 200 to 599 are sent, without 204, 205, 206 and 304")]
    Status,
    #[error("where the message goes is found by its method and path once more, so they stay as they are")]
    MatchedAgain,
    #[error("it is for requests alone")]
    OfRequests,
    #[error("it is for responses alone")]
    OfResponses,
    #[error("bodies are not brought along, or the message cannot have one")]
    NoBody,
    #[error("the body is longer than {MAX_BODY} bytes")]
    TooLarge,
    #[error("it is no content type")]
    ContentType,
}

// === impl Editor ===

impl Editor<'_> {
    /// In the place of all that there are.
    pub fn set_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditorError> {
        let name = self.header(name, Some(value))?;
        self.message.headers.set(&name, value.to_vec());
        Ok(())
    }

    /// Beside those that there are.
    pub fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditorError> {
        let name = self.header(name, Some(value))?;
        self.message.headers.add(&name, value.to_vec());
        Ok(())
    }

    pub fn remove_header(&mut self, name: &str) -> Result<(), EditorError> {
        let name = self.header(name, None)?;
        self.message.headers.remove(&name);
        Ok(())
    }

    pub fn set_method(&mut self, method: &str) -> Result<(), EditorError> {
        self.of_matched_requests()?;
        // What answers HEAD has no body, whoever is asked.
        if !METHODS.contains(&method) || self.terms.is_head {
            return Err(EditorError::Method);
        }
        self.message.set_method(method);
        Ok(())
    }

    /// Below the API's base path, of the form that requests have here. The query stays.
    pub fn set_path(&mut self, below: &str) -> Result<(), EditorError> {
        self.of_matched_requests()?;
        path::check(below)?;
        let query = query::split(self.message.path()).1;
        let path = match query {
            Some(query) => format!("{}{below}?{query}", self.terms.base_path),
            None => format!("{}{below}", self.terms.base_path),
        };
        self.send_to(path)
    }

    pub fn set_query(&mut self, name: &str, value: &str) -> Result<(), EditorError> {
        self.query(name, |query| query.set(name, value))
    }

    pub fn add_query(&mut self, name: &str, value: &str) -> Result<(), EditorError> {
        self.query(name, |query| query.add(name, value))
    }

    pub fn remove_query(&mut self, name: &str) -> Result<(), EditorError> {
        self.query(name, |query| query.remove(name))
    }

    pub fn set_status(&mut self, status: u16) -> Result<(), EditorError> {
        match self.terms.direction {
            Direction::Request => Err(EditorError::OfResponses),
            Direction::Response if is_status(status) => {
                self.message.set_status(status);
                Ok(())
            }
            Direction::Response => Err(EditorError::Status),
        }
    }

    /// `None`: it is of the type that it was of.
    pub fn set_body(&mut self, body: Vec<u8>, content_type: Option<&str>) -> Result<(), EditorError> {
        if !self.terms.has_bodies || !may_have_body(self.message, self.terms.direction, self.terms.is_head) {
            return Err(EditorError::NoBody);
        }
        if body.len() > MAX_BODY {
            return Err(EditorError::TooLarge);
        }
        if let Some(content_type) = content_type {
            if !is_content_type(content_type) {
                return Err(EditorError::ContentType);
            }
            self.message.headers.set("content-type", content_type.as_bytes().to_vec());
        }
        self.message.replace_body(body, self.terms.direction);
        Ok(())
    }

    fn header(&self, name: &str, value: Option<&[u8]>) -> Result<String, EditorError> {
        let name = editable(self.terms.direction, name)?;
        if self.terms.direction == Direction::Request
            && self.terms.reserved.iter().any(|reserved| alike(&name, reserved))
        {
            return Err(EditorError::Header(EditError::Own));
        }
        let Some(value) = value else { return Ok(name) };
        if !std::str::from_utf8(value).is_ok_and(is_value) {
            return Err(EditorError::Value);
        }
        let size = self.message.headers.size() + name.len() + value.len() + 4;
        if size > MAX_HEAD { Err(EditorError::Head) } else { Ok(name) }
    }

    fn of_matched_requests(&self) -> Result<(), EditorError> {
        match self.terms.direction {
            Direction::Response => Err(EditorError::OfRequests),
            Direction::Request if self.terms.is_matched_again => Err(EditorError::MatchedAgain),
            Direction::Request => Ok(()),
        }
    }

    /// Routes may look at the query as well, as those of canaries do not.
    fn query(&mut self, name: &str, edit: impl FnOnce(&mut Query)) -> Result<(), EditorError> {
        if self.terms.direction == Direction::Response {
            return Err(EditorError::OfRequests);
        }
        names::query_name(name)?;
        if self.terms.reserved_parameters.iter().any(|reserved| **reserved == *name) {
            return Err(EditorError::Credential);
        }
        let (before, query) = query::split(self.message.path());
        let mut query = Query::read(query);
        if query.len() >= MAX_PAIRS {
            return Err(EditorError::Pairs);
        }
        edit(&mut query);
        let mut path = before.to_owned();
        query.write_to(&mut path);
        self.send_to(path)
    }

    fn send_to(&mut self, path: String) -> Result<(), EditorError> {
        if path.len() > path::MAX_LENGTH {
            return Err(EditorError::Path(PathError::Start));
        }
        self.message.set_path(path);
        Ok(())
    }
}

/// Responses to HEAD, and those whose status says so, never have one.
pub(crate) fn may_have_body(message: &Message, direction: Direction, is_head: bool) -> bool {
    match direction {
        Direction::Request => true,
        Direction::Response => !is_head && !matches!(message.status(), 100..200 | 204 | 205 | 304),
    }
}

#[cfg(test)]
mod tests;
