//! What a step does.

use std::collections::HashMap;

use microgw_proto::transforms::v1 as proto;
use proto::edit::Operation;
use proto::json_edit::Operation as JsonOperation;
use proto::step::Action;

use super::{Parts, Read, Reader};
use crate::transforms::tree::{Node, Tree};

/// In the order in which they are made.
const EDITS: [(&str, Operation); 5] = [
    ("rename", Operation::Rename),
    ("remove", Operation::Remove),
    ("set", Operation::Set),
    ("append", Operation::Append),
    ("add", Operation::Add),
];
const JSON_EDITS: [(&str, JsonOperation); 5] = [
    ("add", JsonOperation::Add),
    ("replace", JsonOperation::Replace),
    ("remove", JsonOperation::Remove),
    ("rename", JsonOperation::Rename),
    ("move", JsonOperation::Move),
];

impl Reader<'_> {
    pub(super) fn action(&mut self, key: &Tree, value: &Tree) -> Read<(Action, Vec<Parts>)> {
        let name = key.text().unwrap_or_default();
        let whole = |action: Action| (action, vec![Parts { name: key.at.clone(), value: value.at.clone() }]);
        Ok(match name {
            "headers" | "query" => {
                let (edits, parts) = self.edits(value, name)?;
                let edits = proto::Edits { edits };
                (if name == "headers" { Action::Headers(edits) } else { Action::Query(edits) }, parts)
            }
            "path" => whole(Action::Path(self.template(value, "path")?)),
            "method" => whole(Action::Method(self.fixed_text(value, "method")?.0)),
            "json" => {
                let (edits, parts) = self.json_edits(value)?;
                (Action::Json(proto::JsonEdits { edits }), parts)
            }
            "body" => {
                let body = self.members(value, "body", &["template", "contentType"])?;
                let (Some(template), Some(content_type)) = (body.get("template"), body.get("contentType")) else {
                    return Err(self.wrong(&value.at, "`body` needs `template` and `contentType`"));
                };
                let parts = Parts { name: content_type.at.clone(), value: template.at.clone() };
                let content_type = self.fixed_text(content_type, "contentType")?.0;
                let template = self.template(template, "template")?;
                (Action::Body(proto::NewBody { template, content_type }), vec![parts])
            }
            "toXml" => {
                let members = self.members(value, "toXml", &["root", "contentType"])?;
                let root = self.root(&members)?;
                let content_type = members.get("contentType").map(|kind| self.fixed_text(kind, "contentType"));
                let content_type = content_type.transpose()?.map(|(text, _)| text).unwrap_or_default();
                whole(Action::ToXml(proto::ToXml { root, content_type }))
            }
            "toJson" => {
                let members = self.members(value, "toJson", &["root", "arrays", "typed"])?;
                let root = self.root(&members)?;
                let arrays = members.get("arrays").map(|arrays| self.fixed_texts(arrays, "arrays")).transpose()?;
                let typed = match members.get("typed").map(|typed| self.fixed(typed)).transpose()? {
                    None => false,
                    Some(Tree { content: Node::Bool(typed), .. }) => typed,
                    Some(other) => return Err(self.wrong_type(&other, "typed", "`true` or `false`")),
                };
                let arrays = arrays.unwrap_or_default().into_iter().map(|(name, _)| name).collect();
                whole(Action::ToJson(proto::ToJson { root, arrays, typed }))
            }
            _ => {
                let (text, at) = self.fixed_text(value, "status")?;
                let Ok(status) = text.parse() else {
                    return Err(self.wrong(&at, format!("`status` must be a number, not `{text}`")));
                };
                whole(Action::Status(status))
            }
        })
    }

    /// Members by name; `true` is an object without any.
    fn members(&mut self, tree: &Tree, owner: &str, known: &[&'static str]) -> Read<HashMap<&'static str, Tree>> {
        match &tree.content {
            Node::Bool(true) => return Ok(HashMap::new()),
            Node::Map(_) => {}
            _ => return Err(self.wrong_type(tree, owner, "an object")),
        }
        let mut members = HashMap::new();
        for (key, value) in tree.entries() {
            match known.iter().find(|known| key.text() == Some(known)) {
                Some(known) => {
                    members.insert(*known, value.clone());
                }
                None => return Err(self.unknown(key, owner, known.iter().copied())),
            }
        }
        Ok(members)
    }

    fn root(&mut self, members: &HashMap<&'static str, Tree>) -> Read<String> {
        members.get("root").map_or(Ok(String::new()), |root| Ok(self.fixed_text(root, "root")?.0))
    }

    fn edits(&mut self, tree: &Tree, owner: &str) -> Read<(Vec<proto::Edit>, Vec<Parts>)> {
        if !matches!(tree.content, Node::Map(_)) {
            return Err(self.wrong_type(tree, owner, "an object"));
        }
        let known = || EDITS.iter().map(|(key, _)| *key);
        if let Some((key, _)) =
            tree.entries().iter().find(|(key, _)| !key.text().is_some_and(|key| known().any(|known| known == key)))
        {
            return Err(self.unknown(key, owner, known()));
        }
        let (mut edits, mut parts) = (Vec::new(), Vec::new());
        for (key, operation) in EDITS {
            let Some(written) = tree.get(key) else { continue };
            let mut put = |name: String, value: String, at: Parts| {
                edits.push(proto::Edit { operation: operation.into(), name, value });
                parts.push(at);
            };
            if operation == Operation::Remove {
                for (name, at) in self.fixed_texts(written, key)? {
                    put(name, String::new(), Parts { name: at.clone(), value: at });
                }
                continue;
            }
            let fixed = self.fixed(written)?;
            if !matches!(fixed.content, Node::Map(_)) {
                return Err(self.wrong_type(&fixed, key, "an object"));
            }
            for (name, value) in fixed.entries() {
                let (called, named) = self.fixed_text(name, key)?;
                let values = match &value.content {
                    Node::List(items) if operation == Operation::Add => items.iter().collect(),
                    _ => vec![value],
                };
                for value in values {
                    let at = Parts { name: named.clone(), value: value.at.clone() };
                    let text = match operation {
                        Operation::Rename => self.fixed_text(value, &called)?.0,
                        _ => self.template(value, &called)?,
                    };
                    put(called.clone(), text, at);
                }
            }
        }
        Ok((edits, parts))
    }

    fn json_edits(&mut self, tree: &Tree) -> Read<(Vec<proto::JsonEdit>, Vec<Parts>)> {
        let items = match &tree.content {
            Node::List(items) => items.as_slice(),
            Node::Map(_) => std::slice::from_ref(tree),
            _ => return Err(self.wrong_type(tree, "json", "a list of edits")),
        };
        let (mut edits, mut parts) = (Vec::new(), Vec::new());
        for item in items {
            self.json_edit(item, &mut edits, &mut parts)?;
        }
        Ok((edits, parts))
    }

    fn json_edit(&mut self, item: &Tree, edits: &mut Vec<proto::JsonEdit>, parts: &mut Vec<Parts>) -> Read<()> {
        let known = || JSON_EDITS.iter().map(|(key, _)| *key).chain(["to", "value"]);
        if let Some((key, _)) =
            item.entries().iter().find(|(key, _)| !key.text().is_some_and(|key| known().any(|known| known == key)))
        {
            return Err(self.unknown(key, "an edit", known()));
        }
        let mut found = JSON_EDITS.iter().filter_map(|(key, operation)| Some((*key, *operation, item.get(key)?)));
        let (Some((key, operation, at)), None) = (found.next(), found.next()) else {
            let message = "an edit has exactly one of `add`, `replace`, `remove`, `rename` and `move`";
            return Err(self.wrong(&item.at, message));
        };
        let (takes_value, takes_to) = match operation {
            JsonOperation::Add | JsonOperation::Replace => (true, false),
            JsonOperation::Remove => (false, false),
            JsonOperation::Rename | JsonOperation::Move => (false, true),
        };
        for (part, taken) in [("value", takes_value), ("to", takes_to)] {
            if let Some(other) = item.get(part).filter(|_| !taken) {
                return Err(self.wrong(&other.at, format!("`{part}` has no meaning beside `{key}`")));
            }
        }
        let mut put = |at: String, to: String, value: String, places: Parts| {
            edits.push(proto::JsonEdit { operation: operation.into(), at, to, value });
            parts.push(places);
        };
        if takes_to && item.get("to").is_none() {
            // From old to new.
            let fixed = self.fixed(at)?;
            if !matches!(fixed.content, Node::Map(_)) {
                return Err(self.wrong(&fixed.at, format!("`{key}` needs `to`, or names to names")));
            }
            for (from, to) in fixed.entries() {
                let places = Parts { name: from.at.clone(), value: to.at.clone() };
                put(from.text().unwrap_or_default().to_owned(), self.fixed_text(to, key)?.0, String::new(), places);
            }
            return Ok(());
        }
        let to = item.get("to").map(|to| self.fixed_text(to, "to")).transpose()?;
        let value = match item.get("value") {
            None if takes_value => return Err(self.wrong(&item.at, format!("`{key}` needs a `value`"))),
            None => None,
            Some(value) => match value.json().and_then(|json| json.write().ok()) {
                Some(json) => Some((json, value.at.clone())),
                None => return Err(self.wrong(&value.at, "the value has a number that JSON has no form for")),
            },
        };
        for (at, place) in self.fixed_texts(at, key)? {
            let (to, to_at) = to.clone().unzip();
            let (value, value_at) = value.clone().unzip();
            let places = Parts { value: value_at.or(to_at).unwrap_or_else(|| place.clone()), name: place };
            put(at, to.unwrap_or_default(), value.unwrap_or_default(), places);
        }
        Ok(())
    }
}
