//! What a client is told in the place of the backend's response.

use microgw_transforms::{Direction, Editor, EditorError, Headers, Message, Terms};

/// As whoever answers says it, not yet looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

const CONTENT_TYPE: &str = "content-type";

// === impl Answer ===

impl Answer {
    /// Held to what responses may be made into. Whoever asks by HEAD gets no body.
    pub fn into_message(self, is_head: bool) -> Result<Message, EditorError> {
        let mut message = Message::response(200, Headers::default(), None);
        let terms = Terms {
            direction: Direction::Response,
            base_path: "",
            is_head,
            is_matched_again: false,
            reserved: &[],
            reserved_parameters: &[],
            has_bodies: true,
        };
        let mut editor = Editor { message: &mut message, terms };
        editor.set_status(self.status)?;
        let mut content_type = None;
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                content_type = Some(value.as_str());
            } else {
                editor.add_header(name, value.as_bytes())?;
            }
        }
        if !is_head {
            editor.set_body(self.body, content_type)?;
        }
        Ok(message)
    }
}
