//! What a package says of itself, and of how it is to be tried.

use microgw_transforms::json::Json;
use serde_json::Value;

use super::MANIFEST;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::interceptors::service_of_stranger;
use crate::source::{Content, Document};
use crate::transforms::{INTERCEPTOR, PolicyFile, Tree};

/// Of a package whose [`MANIFEST`] is sound, as far as can be said without a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub description: String,
    /// The file with the interceptor that it carries.
    pub component: Option<String>,
}

/// An entry of a file of tests. The `body` of each of its messages is a text, which is JSON: members have their order, and numbers their
/// digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub at: Place,
    pub content: Value,
}

/// What a test says of messages.
const MESSAGES: [&str; 3] = ["request", "response", "expect"];

// === impl Manifest ===

impl Manifest {
    pub fn read(bytes: Vec<u8>) -> Result<Manifest, Vec<Diagnostic>> {
        let document = Document::parse(MANIFEST, 0, bytes)?;
        let root = Tree::of(document.root());
        PolicyFile::of(MANIFEST, &root, true)?;
        let said = |key: &str| root.get(key).and_then(Tree::scalar).unwrap_or_default().trim().to_owned();
        let carried = root.get(INTERCEPTOR);
        if let Some(service) = carried.and_then(|carried| carried.get("service")) {
            return Err(vec![service_of_stranger(service)]);
        }
        let component = carried.and_then(|carried| carried.text().or_else(|| carried.get("component")?.text()));
        Ok(Manifest {
            name: said("name"),
            version: said("version"),
            description: said("description"),
            component: component.map(str::to_owned),
        })
    }
}

// === impl Case ===

impl Case {
    /// Of a file in YAML or JSON, which is a list.
    pub fn read_all(path: &str, bytes: Vec<u8>) -> Result<Vec<Case>, Vec<Diagnostic>> {
        let document = Document::parse(path, 0, bytes)?;
        let root = document.root();
        let wrong = |at: Place, message: &str| vec![Diagnostic::new(Code::WrongType, at, message)];
        if !matches!(root.content(), Content::List) {
            return Err(wrong(root.place(), "tests are a list"));
        }
        let case = |tree: Tree| {
            let json = tree.json().and_then(|mut json| {
                MESSAGES.iter().try_for_each(|message| as_text(&mut json, message))?;
                json.write().ok()
            });
            match json.and_then(|json| serde_json::from_str(&json).ok()) {
                Some(content) => Ok(Case { at: tree.at, content }),
                None => Err(wrong(tree.at, "a number has no form in JSON, or it is nested too deep")),
            }
        };
        root.items().map(Tree::of).map(case).collect()
    }
}

/// `None`: it nests too deeply.
fn as_text(case: &mut Json, message: &str) -> Option<()> {
    if let Json::Object(case) = case
        && let Some(Json::Object(message)) = case.get_mut(message)
        && let Some(body) = message.get_mut("body")
    {
        *body = Json::Text(body.write().ok()?);
    }
    Some(())
}
