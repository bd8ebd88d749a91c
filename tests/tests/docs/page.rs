//! What a page of documentation has in it to run: its fenced blocks, and the comments that say how.

use std::path::{Path, PathBuf};

use snapbox::{Assert, Data};

/// A Markdown file.
pub struct Page {
    /// From the root of the repository.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// Links to other files: line, and target as it is written.
    pub links: Vec<(usize, String)>,
}

/// A fenced block that is a session, or a part of one.
pub struct Block {
    pub kind: Kind,
    /// In front of it: everything is ended, and goes on in an empty directory.
    pub afresh: bool,
}

pub enum Kind {
    /// Commands, and what they print where it is shown. `<!-- before: command -->` adds one that readers do not need.
    Session(Vec<Step>),
    /// `<!-- file: path -->`: the block's text is that file.
    File { path: String, text: String },
    /// `toml`: settings, though not of a file that is saved.
    Settings { line: usize, text: String },
    /// `<!-- run by: test -->`: a session that another test runs.
    Elsewhere { line: usize, test: String, steps: Vec<Step> },
    /// `<!-- not run: reason -->`.
    NotRun { line: usize, reason: String },
}

pub struct Step {
    pub line: usize,
    pub command: String,
    /// `None`: not shown.
    pub output: Option<String>,
    /// `^C` after the output: whoever reads ends it.
    pub interrupted: bool,
}

/// The comments in front of a block.
#[derive(Default)]
struct Notes {
    not_run: Option<String>,
    run_by: Option<String>,
    file: Option<String>,
    afresh: bool,
    before: Option<Step>,
}

/// What reads like a command: a block without a language that has one is a block that was forgotten.
const PROGRAMS: [&str; 8] = ["$ ", "micro-gw ", "gateway ", "curl ", "envoy ", "docker ", "make ", "cargo "];

// === impl Page ===

impl Page {
    pub fn read(root: &Path, path: &Path) -> Result<Page, String> {
        let text = std::fs::read_to_string(root.join(path)).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut page = Page { path: path.to_owned(), blocks: Vec::new(), links: Vec::new() };
        let mut notes = Notes::default();
        let mut lines = text.lines().zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else {
                if !notes.read(line, number) && !line.trim().is_empty() {
                    notes = Notes::default();
                }
                page.links.extend(links(line).map(|target| (number, target)));
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let mut body = Vec::new();
            loop {
                match lines.next() {
                    Some((line, _)) if line.trim() == "```" => break,
                    Some((line, number)) => body.push((line.get(indent..).unwrap_or_default(), number)),
                    None => return Err(format!("{}:{number}: the block has no end", path.display())),
                }
            }
            let at = |problem: &str| format!("{}:{number}: {problem}", path.display());
            page.blocks.extend(std::mem::take(&mut notes).block(language.trim(), number, &body).map_err(|e| at(&e))?);
        }
        Ok(page)
    }

    /// Whether there is anything to run.
    pub fn is_session(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block.kind, Kind::Session(_)))
    }
}

// === impl Notes ===

impl Notes {
    /// Whether the line is one of ours.
    fn read(&mut self, line: &str, number: usize) -> bool {
        let Some(comment) = line.trim().strip_prefix("<!--").and_then(|line| line.strip_suffix("-->")) else {
            return false;
        };
        match comment.trim().split_once(':') {
            Some(("not run", reason)) => self.not_run = Some(reason.trim().to_owned()),
            Some(("run by", test)) => self.run_by = Some(test.trim().to_owned()),
            Some(("file", path)) => self.file = Some(path.trim().to_owned()),
            Some(("before", command)) => self.before = Some(Step::silent(number, command.trim())),
            None if comment.trim() == "afresh" => self.afresh = true,
            _ => return false,
        }
        true
    }

    fn block(self, language: &str, line: usize, body: &[(&str, usize)]) -> Result<Option<Block>, String> {
        let shell = matches!(language, "sh" | "console");
        let kind = if let Some(reason) = self.not_run {
            if reason.is_empty() {
                return Err("`not run` needs a reason".to_owned());
            }
            Kind::NotRun { line, reason }
        } else if let Some(path) = self.file {
            Kind::File { path, text: text(body) }
        } else if shell {
            let steps = if language == "sh" { commands(body)? } else { transcript(body)? };
            let steps = self.before.into_iter().chain(steps).collect();
            match self.run_by {
                Some(test) => Kind::Elsewhere { line, test, steps },
                None => Kind::Session(steps),
            }
        } else if language == "toml" {
            Kind::Settings { line, text: text(body) }
        } else if matches!(language, "bash" | "shell" | "shell-session" | "zsh") {
            return Err("the languages of sessions are `sh` and `console`".to_owned());
        } else if language.is_empty() && body.iter().any(|(line, _)| PROGRAMS.iter().any(|name| line.starts_with(name)))
        {
            return Err("a session needs a language, `sh` or `console`".to_owned());
        } else {
            return Ok(None);
        };
        Ok(Some(Block { kind, afresh: self.afresh }))
    }
}

// === impl Step ===

impl Step {
    fn silent(line: usize, command: &str) -> Step {
        Step { line, command: command.to_owned(), output: None, interrupted: false }
    }

    /// Whether it printed what the page shows, which may have wildcards.
    pub fn compare(&self, printed: &str) -> Result<(), String> {
        let Some(expected) = &self.output else { return Ok(()) };
        // JSON rarely ends its line.
        let end = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
        Assert::new()
            .normalize_paths(false)
            .try_eq(Some(&self.command), Data::text(format!("{printed}{end}")), Data::text(expected.clone()))
            .map_err(|error| error.to_string())
    }
}

fn text(body: &[(&str, usize)]) -> String {
    body.iter().flat_map(|(line, _)| [line, "\n"]).collect()
}

/// The commands of a block without output.
fn commands(body: &[(&str, usize)]) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut lines = body.iter();
    while let Some((first, line)) = lines.next() {
        if first.trim().is_empty() || first.trim_start().starts_with('#') {
            continue;
        }
        let mut command = first.trim_start().to_owned();
        while !is_complete(&command) {
            let (next, _) = lines.next().ok_or_else(|| format!("line {line}: the command has no end"))?;
            command.push('\n');
            command.push_str(next);
        }
        steps.push(Step::silent(*line, &command));
    }
    Ok(steps)
}

/// `$ command`, its output, `$ command`, and so on. `> ` continues a command.
fn transcript(body: &[(&str, usize)]) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut last = 0;
    for (text, line) in body {
        if let Some(command) = text.strip_prefix("$ ") {
            let command = command.to_owned();
            steps.push(Step { line: *line, command, output: Some(String::new()), interrupted: false });
            last = *line;
            continue;
        }
        let step = steps.last_mut().ok_or("a transcript starts with `$ `")?;
        match (text.strip_prefix("> "), &mut step.output) {
            (Some(more), _) if last + 1 == *line => {
                step.command.push('\n');
                step.command.push_str(more);
                last = *line;
            }
            _ if *text == "^C" => step.interrupted = true,
            (_, Some(output)) => {
                output.push_str(text);
                output.push('\n');
            }
            (_, None) => {}
        }
    }
    if let Some(step) = steps.iter().find(|step| !is_complete(&step.command)) {
        return Err(format!("line {}: the command has no end", step.line));
    }
    Ok(steps)
}

/// Whether a shell would not ask for more: no open quote, no line that goes on, no open here-document.
fn is_complete(command: &str) -> bool {
    let first = command.lines().next().unwrap_or_default();
    if let Some((_, after)) = first.split_once("<<") {
        let end = after.trim_start_matches('-').split_whitespace().next().unwrap_or_default();
        let end = end.trim_matches(['\'', '"']);
        return command.lines().skip(1).any(|line| line.trim_start_matches('\t') == end);
    }
    let (mut quote, mut escaped, mut comment, mut before) = (None, false, false, ' ');
    for c in command.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            _ if comment => comment = c != '\n',
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '#') if before.is_whitespace() => comment = true,
            _ => {}
        }
        before = c;
    }
    quote.is_none() && !escaped && !command.ends_with('\\')
}

/// Targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned())
}
