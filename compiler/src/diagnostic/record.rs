//! What there is to read about a code: what it means, an example, what to write instead.
//!
//! A record is Markdown: text, then `## Example`, then `## Fix`. A code block after a line that is a path in backticks and
//! a colon is that file, which the example has, or has instead once it is fixed; a line ``Delete `path`.`` removes one. So
//! a test can build what people read. `␀` in a file stands for the character NUL.

use std::collections::BTreeMap;

/// A record's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What it means, and why it is a problem.
    pub text: Vec<Block>,
    pub example: Vec<Block>,
    pub fix: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// A paragraph or a list; its lines are broken as in the source.
    Text(&'static str),
    /// A file of a project.
    File { path: &'static str, language: &'static str, content: &'static str },
    /// The file at this path is no more.
    Deleted(&'static str),
    /// What is typed, or a part of a file.
    Snippet { language: &'static str, content: &'static str },
}

const EXAMPLE: &str = "## Example";
const FIX: &str = "## Fix";
const FENCE: &str = "```";

// === impl Record ===

impl Record {
    pub(super) fn parse(source: &'static str) -> Record {
        let mut record = Record::default();
        let mut part = &mut record.text;
        let mut path = None;
        let mut rest = source;
        while !rest.is_empty() {
            let (block, tail) = next(rest.trim_start_matches('\n'));
            rest = tail;
            match block.trim_end() {
                "" => {}
                EXAMPLE => part = &mut record.example,
                FIX => part = &mut record.fix,
                block => match file_name(block) {
                    Some(name) => path = Some(name),
                    None => part.push(Block::of(block, path.take())),
                },
            }
        }
        record
    }

    /// The files of the example; `fixed`: as they are with the fix.
    pub fn files(&self, fixed: bool) -> BTreeMap<&'static str, String> {
        let mut files = BTreeMap::new();
        for block in self.example.iter().chain(self.fix.iter().filter(|_| fixed)) {
            match *block {
                Block::File { path, content, .. } => {
                    files.insert(path, format!("{}\n", content.replace('␀', "\0")));
                }
                Block::Deleted(path) => {
                    files.remove(path);
                }
                Block::Text(_) | Block::Snippet { .. } => {}
            }
        }
        files
    }

    /// As Markdown, with headings of `level`.
    pub fn markdown(&self, level: usize) -> String {
        let heading = "#".repeat(level);
        let (text, example, fix) = (markdown(&self.text), markdown(&self.example), markdown(&self.fix));
        format!("{text}\n\n{heading} Example\n\n{example}\n\n{heading} Fix\n\n{fix}")
    }
}

/// Blocks as Markdown, without a newline at the end.
pub fn markdown(blocks: &[Block]) -> String {
    let blocks = blocks.iter().map(|block| match block {
        Block::Text(text) => (*text).to_owned(),
        Block::Deleted(path) => format!("Delete `{path}`."),
        Block::File { path, language, content } => format!("`{path}`:\n\n{FENCE}{language}\n{content}\n{FENCE}"),
        Block::Snippet { language, content } => format!("{FENCE}{language}\n{content}\n{FENCE}"),
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

// === impl Block ===

impl Block {
    fn of(block: &'static str, path: Option<&'static str>) -> Block {
        let fenced = block.strip_prefix(FENCE).map(|fenced| fenced.strip_suffix(FENCE).unwrap_or(fenced));
        let Some(fenced) = fenced else {
            let deleted = block.strip_prefix("Delete `").and_then(|rest| rest.strip_suffix("`."));
            return deleted.filter(|path| !path.contains('`')).map_or(Block::Text(block), Block::Deleted);
        };
        let (language, content) = fenced.split_once('\n').unwrap_or((fenced, ""));
        let content = content.trim_end_matches('\n');
        match path {
            Some(path) => Block::File { path, language, content },
            None => Block::Snippet { language, content },
        }
    }
}

/// The first block: all up to an empty line, or, of a code block, up to its end.
fn next(source: &'static str) -> (&'static str, &'static str) {
    let end = if source.starts_with(FENCE) { "\n```\n" } else { "\n\n" };
    match source.find(end) {
        Some(at) => source.split_at(at + end.len()),
        None => (source, ""),
    }
}

/// `` `path`: ``
fn file_name(block: &'static str) -> Option<&'static str> {
    block.strip_prefix('`')?.strip_suffix("`:").filter(|path| !path.contains(['`', '\n']))
}
