//! Values of a document that outlive it: what a policy says is read again wherever it is used.

use microgw_transforms::json::{Json, Object, is_number};

use crate::diagnostic::Place;
use crate::source::{Content, Value};

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub content: Node,
    pub at: Place,
    /// What a parameter says: nothing in it is filled in.
    pub is_given: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Tree>),
    /// Keys are texts.
    Map(Vec<(Tree, Tree)>),
}

// === impl Tree ===

impl Tree {
    pub(crate) fn of(value: Value<'_>) -> Tree {
        let content = match value.content() {
            Content::Null => Node::Null,
            Content::Bool(value) => Node::Bool(value),
            Content::Number(text) => Node::Number(text.to_owned()),
            Content::Text(text) => Node::Text(text.to_owned()),
            Content::List => Node::List(value.items().map(Tree::of).collect()),
            Content::Map => {
                let entries = value.entries().map(|(key, value)| {
                    // `1:` is a name like any other.
                    let name = Tree { content: Node::Text(key.text().to_owned()), at: key.place(), is_given: false };
                    (name, Tree::of(value))
                });
                Node::Map(entries.collect())
            }
        };
        Tree { content, at: value.place(), is_given: false }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Nothing for what is no object.
    pub(crate) fn entries(&self) -> &[(Tree, Tree)] {
        if let Node::Map(entries) = &self.content { entries } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Node::Text(text) = &self.content { Some(text) } else { None }
    }

    /// What a JSON pointer leads to, as far as it leads anywhere.
    pub(crate) fn nearest(&self, pointer: &str) -> &Tree {
        self.walk(pointer).0
    }

    /// The same, all the way.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Tree> {
        let (found, whole) = self.walk(pointer);
        whole.then_some(found)
    }

    fn walk(&self, pointer: &str) -> (&Tree, bool) {
        let mut found = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &found.content {
                Node::List(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => found.get(&token),
            };
            let Some(next) = next else { return (found, false) };
            found = next;
        }
        (found, true)
    }

    /// Text, or what YAML takes for something else because it has no quotes.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.content {
            Node::Text(text) | Node::Number(text) => Some(text.clone()),
            Node::Bool(value) => Some(value.to_string()),
            Node::Null | Node::List(_) | Node::Map(_) => None,
        }
    }

    /// `None`: a number that JSON has no form for.
    pub(crate) fn json(&self) -> Option<Json> {
        Some(match &self.content {
            Node::Null => Json::Null,
            Node::Bool(value) => Json::Bool(*value),
            Node::Number(text) if is_number(text) => Json::Number(text.as_str().into()),
            Node::Number(_) => return None,
            Node::Text(text) => Json::Text(text.clone()),
            Node::List(items) => Json::Array(items.iter().map(Tree::json).collect::<Option<_>>()?),
            Node::Map(entries) => {
                let members = entries.iter().map(|(name, value)| Some((name.text()?.to_owned(), value.json()?)));
                Json::Object(members.collect::<Option<Object>>()?)
            }
        })
    }

    /// The same as what a parameter says.
    pub(crate) fn given(&self) -> Tree {
        let content = match &self.content {
            Node::List(items) => Node::List(items.iter().map(Tree::given).collect()),
            Node::Map(entries) => {
                Node::Map(entries.iter().map(|(name, value)| (name.given(), value.given())).collect())
            }
            content => content.clone(),
        };
        Tree { content, at: self.at.clone(), is_given: true }
    }

    /// What a message calls its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.content {
            Node::Null => "nothing",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "an object",
        }
    }
}
