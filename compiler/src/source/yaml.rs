//! YAML 1.2 with positions, over the events of granit-parser. Aliases and merge keys are expanded, within a budget.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::json::offset;
use super::{Kind, MAX_DEPTH, Malformed, Node, Tape};
use crate::diagnostic::Code;

/// Nodes that aliases and merge keys of one file may add: what a hand-written file needs a thousand times over.
const MAX_COPIES: usize = 1_000_000;

/// Reads the only document of a stream.
pub(super) fn parse(text: String) -> Result<Tape, (String, Malformed)> {
    let mut builder = Builder {
        text: &text,
        nodes: Vec::new(),
        decoded: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        copies: 0,
        documents: 0,
        merges: text.contains("<<"),
    };
    match builder.run() {
        Ok(()) => {
            let Builder { nodes, decoded, .. } = builder;
            Ok(Tape { text, nodes, decoded })
        }
        Err(malformed) => Err((text, malformed)),
    }
}

struct Builder<'t> {
    text: &'t str,
    nodes: Vec<Node>,
    decoded: Vec<Box<str>>,
    open: Vec<Open>,
    /// Where the node of each anchor is. One whose size is still 0 is open: an alias to it would never end.
    anchors: HashMap<usize, usize>,
    copies: usize,
    documents: usize,
    /// The text may have a merge key.
    merges: bool,
}

/// A container whose end has not been met.
struct Open {
    node: usize,
    /// The next node is a key.
    key: bool,
    map: bool,
}

// === impl Builder ===

impl Builder<'_> {
    fn run(&mut self) -> Result<(), Malformed> {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        for next in Parser::new_from_str_with_options(self.text, options) {
            let (event, span) = next
                .map_err(|error| Malformed::syntax(error.marker().byte_offset().unwrap_or_default(), error.info()))?;
            self.event(event, &span)?;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::NULL);
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Malformed> {
        let range = span.byte_range().unwrap_or_default();
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Malformed::syntax(range.start, "a second document in one file"));
                }
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.slot(range.start, true)?;
                self.anchor(anchor);
                let node = self.scalar(&value, style, tag.as_deref(), range.start, range.end)?;
                self.nodes.push(node);
            }
            Event::MappingStart(_, anchor, tag) => self.start(Kind::Map, anchor, tag.as_deref(), range.start)?,
            Event::SequenceStart(_, anchor, tag) => self.start(Kind::List, anchor, tag.as_deref(), range.start)?,
            Event::MappingEnd | Event::SequenceEnd => self.end(range.end)?,
            Event::Alias(id) => self.alias(id, range.start)?,
            _ => {}
        }
        Ok(())
    }

    /// Takes the place for a node in the innermost container.
    fn slot(&mut self, at: usize, scalar: bool) -> Result<(), Malformed> {
        let Some(open) = self.open.last_mut().filter(|open| open.map) else { return Ok(()) };
        if open.key && !scalar {
            return Err(Malformed::syntax(at, "a key must be text"));
        }
        open.key = !open.key;
        Ok(())
    }

    fn anchor(&mut self, id: usize) {
        if id != 0 {
            self.anchors.insert(id, self.nodes.len());
        }
    }

    fn scalar(
        &mut self,
        value: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        start: usize,
        end: usize,
    ) -> Result<Node, Malformed> {
        let plain = match (tag.map(|tag| tag.core_suffix()), style) {
            (None, style) => style == ScalarStyle::Plain,
            (Some(Some("str")), _) => false,
            (Some(Some("int" | "float" | "bool" | "null")), ScalarStyle::Plain) => true,
            _ => return Err(Malformed::syntax(start, "this tag has no meaning in a definition")),
        };
        let written = self.text.get(start..end).unwrap_or_default();
        // A value that is not there comes as `~` with an empty span.
        let (kind, detail) = if plain && (written == value || start == end) {
            (Kind::Plain, 0)
        } else if written.get(1..written.len().saturating_sub(1)) == Some(value)
            && written.starts_with(['"', '\''])
            && style != ScalarStyle::Plain
        {
            (Kind::Quoted, 0)
        } else {
            self.decoded.push(value.into());
            (Kind::Decoded, self.decoded.len() - 1)
        };
        Ok(Node { kind, start: offset(start), end: offset(end), detail: offset(detail) })
    }

    fn start(&mut self, kind: Kind, anchor: usize, tag: Option<&Tag>, at: usize) -> Result<(), Malformed> {
        let expected = if kind == Kind::Map { "map" } else { "seq" };
        if tag.is_some_and(|tag| tag.core_suffix() != Some(expected)) {
            return Err(Malformed::syntax(at, "this tag has no meaning in a definition"));
        }
        self.slot(at, false)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.anchor(anchor);
        self.open.push(Open { node: self.nodes.len(), key: kind == Kind::Map, map: kind == Kind::Map });
        self.nodes.push(Node { kind, start: offset(at), end: offset(at), detail: 0 });
        Ok(())
    }

    fn end(&mut self, at: usize) -> Result<(), Malformed> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        if open.map && self.merges {
            self.merge(open.node)?;
        }
        let size = offset(self.nodes.len() - open.node);
        if let Some(node) = self.nodes.get_mut(open.node) {
            (node.detail, node.end) = (size, offset(at));
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, at: usize) -> Result<(), Malformed> {
        let Some((index, node)) = self.anchors.get(&id).and_then(|index| Some((*index, *self.nodes.get(*index)?)))
        else {
            return Err(Malformed::syntax(at, "an alias of an anchor that does not exist"));
        };
        let container = matches!(node.kind, Kind::Map | Kind::List);
        if container && node.detail == 0 {
            return Err(Malformed::syntax(at, "an alias of what it stands in"));
        }
        self.slot(at, !container)?;
        if self.open.len() + self.depth(index, node.size()) > MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.copy(index, at)
    }

    /// Appends a copy of the node at `index` with all that it contains.
    fn copy(&mut self, index: usize, at: usize) -> Result<(), Malformed> {
        let size = self.nodes.get(index).map_or(1, |node| node.size()) as usize;
        self.copies += size;
        if self.copies > MAX_COPIES {
            let message = format!("aliases and merge keys expand to more than {MAX_COPIES} values");
            return Err(Malformed { code: Code::InputBudget, start: at, message });
        }
        self.nodes.extend_from_within(index..index + size);
        Ok(())
    }

    /// How deep the containers in `size` nodes from `index` are nested.
    fn depth(&self, index: usize, size: u32) -> usize {
        let mut ends: Vec<usize> = Vec::new();
        let mut deepest = 0;
        for (at, node) in self.nodes.iter().enumerate().skip(index).take(size as usize) {
            while ends.last().is_some_and(|end| *end <= at) {
                ends.pop();
            }
            if matches!(node.kind, Kind::Map | Kind::List) {
                ends.push(at + node.size() as usize);
                deepest = deepest.max(ends.len());
            }
        }
        deepest
    }

    /// Copies what the `<<` keys of a mapping name into it, keys of its own first (YAML 1.1's merge, which other
    /// readers of definitions honour: to pass over it would drop security requirements).
    fn merge(&mut self, map: usize) -> Result<(), Malformed> {
        let pairs = self.pairs(map, self.nodes.len());
        let mut sources = Vec::new();
        for (key, value) in &pairs {
            let Some(node) = self.nodes.get_mut(*key).filter(|node| node.kind == Kind::Plain) else { continue };
            if self.text.get(node.start as usize..node.end as usize) != Some("<<") {
                continue;
            }
            node.kind = Kind::Merge;
            let at = node.start as usize;
            let Some(target) = self.nodes.get(*value).copied() else { continue };
            match target.kind {
                Kind::Map => sources.push((*value, at)),
                Kind::List => {
                    let mut item = value + 1;
                    while item < value + target.size() as usize {
                        let Some(node) = self.nodes.get(item).filter(|node| node.kind == Kind::Map) else {
                            return Err(Malformed::syntax(at, "`<<` takes a mapping or a list of mappings"));
                        };
                        sources.push((item, at));
                        item += node.size() as usize;
                    }
                }
                _ => return Err(Malformed::syntax(at, "`<<` takes a mapping or a list of mappings")),
            }
        }
        if sources.is_empty() {
            return Ok(());
        }
        let mut present: HashSet<String> = pairs.iter().map(|(key, _)| self.key_text(*key).to_owned()).collect();
        for (source, at) in sources {
            let end = source + self.nodes.get(source).map_or(1, |node| node.size()) as usize;
            for (key, value) in self.pairs(source, end) {
                if self.nodes.get(key).is_some_and(|node| node.kind != Kind::Merge)
                    && present.insert(self.key_text(key).to_owned())
                {
                    self.copy(key, at)?;
                    self.copy(value, at)?;
                }
            }
        }
        Ok(())
    }

    /// Key and value of each entry of the mapping at `map`, which ends before `end`.
    fn pairs(&self, map: usize, end: usize) -> Vec<(usize, usize)> {
        let size = |index: usize| self.nodes.get(index).map_or(1, |node| node.size()) as usize;
        let mut pairs = Vec::new();
        let mut key = map + 1;
        while key < end {
            pairs.push((key, key + 1));
            key += 1 + size(key + 1);
        }
        pairs
    }

    fn key_text(&self, key: usize) -> &str {
        let Some(node) = self.nodes.get(key) else { return "" };
        match node.kind {
            Kind::Decoded => self.decoded.get(node.detail as usize).map_or("", |text| text),
            Kind::Quoted => self.text.get(node.start as usize + 1..node.end as usize - 1).unwrap_or_default(),
            _ => self.text.get(node.start as usize..node.end as usize).unwrap_or_default(),
        }
    }
}

fn too_deep(at: usize) -> Malformed {
    Malformed { code: Code::InputBudget, start: at, message: format!("nested more than {MAX_DEPTH} levels deep") }
}
