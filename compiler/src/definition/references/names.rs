//! The documents of a bundle, and the schemas in them that have a URI of their own.

use std::collections::HashMap;
use std::ops::Range;

use microgw_schemas::resources::{BadName, ResourceId, Resources};

use super::survey::{Anchor, Survey};
use crate::source::{Document, Spot, Value};

#[derive(Default)]
pub(super) struct Names {
    pub resources: Resources<Spot>,
    documents: HashMap<String, ResourceId>,
    /// By a document's number, in the order of the document.
    nested: HashMap<u32, Vec<Nested>>,
    has_ids: bool,
}

struct Nested {
    nodes: Range<u32>,
    resource: ResourceId,
    /// The one that it is in.
    parent: Option<usize>,
}

// === impl Names ===

impl Names {
    /// Takes in a document; gives the names that it cannot have. `ids`: whether `$id` is a word of its dialect.
    pub(super) fn add<'d>(
        &mut self,
        document: &'d Document,
        survey: &Survey<'d>,
        ids: bool,
    ) -> Vec<(Value<'d>, BadName)> {
        let mut bad = Vec::new();
        let mut ids = if ids { survey.ids.as_slice() } else { &[] };
        self.has_ids |= !ids.is_empty();
        let root = document.root();
        let mut own = None;
        if let [(schema, id), rest @ ..] = ids
            && schema.is(root)
        {
            (own, ids) = (Some(*id), rest);
        }
        let (resource, named) = self.resources.document(document.file(), root.spot(), own.map(Value::text));
        bad.extend(own.zip(named.err()));
        self.documents.insert(document.file().to_string(), resource);
        self.nested.insert(document.number(), vec![Nested { nodes: root.extent(), resource, parent: None }]);
        for (schema, id) in ids {
            let parent = self.innermost(*schema);
            let within = self.of(*schema).unwrap_or(resource);
            match self.resources.add(within, id.text(), schema.spot()) {
                Ok(resource) => {
                    let nested = self.nested.entry(document.number()).or_default();
                    nested.push(Nested { nodes: schema.extent(), resource, parent });
                }
                Err(error) => bad.push((*id, error)),
            }
        }
        for Anchor { schema, name, is_dynamic } in &survey.anchors {
            let within = self.of(*schema).unwrap_or(resource);
            if let Err(error) = self.resources.anchor(within, name.text(), schema.spot(), *is_dynamic) {
                bad.push((*name, error));
            }
        }
        bad
    }

    pub(super) fn document(&self, path: &str) -> Option<ResourceId> {
        self.documents.get(path).copied()
    }

    /// The innermost that `value` is in.
    pub(super) fn of(&self, value: Value<'_>) -> Option<ResourceId> {
        let nested = self.nested.get(&value.spot().0)?;
        nested.get(self.innermost(value)?).map(|nested| nested.resource)
    }

    fn innermost(&self, value: Value<'_>) -> Option<usize> {
        let (document, node) = value.spot();
        let nested = self.nested.get(&document)?;
        let mut at = nested.partition_point(|nested| nested.nodes.start <= node).checked_sub(1)?;
        loop {
            let candidate = nested.get(at)?;
            if candidate.nodes.contains(&node) {
                return Some(at);
            }
            at = candidate.parent?;
        }
    }

    /// Whether a schema of a document has a URI of its own.
    pub(super) fn has_ids(&self) -> bool {
        self.has_ids
    }
}
