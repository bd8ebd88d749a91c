//! `explain-code`: what there is to read about a code.

use std::fmt::Write as _;

use anyhow::bail;
use microgw_compiler::diagnostic::{Block, Class, Code, Record, markdown};
use serde_json::{Value, json};

use crate::args::{self, Format};
use crate::output;

/// Columns. Longer lines are hard to read, however wide the terminal.
const MAX_WIDTH: usize = 100;

pub fn explain(args: &args::ExplainCode) -> anyhow::Result<()> {
    let Some(code) = Code::find(&args.code) else { bail!(unknown(&args.code)) };
    output::line(&match args.format {
        Format::Json => serde_json::to_string_pretty(&as_json(code))?,
        Format::Human => as_text(code, textwrap::termwidth().min(MAX_WIDTH)),
    });
    Ok(())
}

fn unknown(name: &str) -> String {
    let near: Vec<String> = Code::near(name).iter().map(|code| format!("  {} {}", code.id(), code.slug())).collect();
    let help = match near.as_slice() {
        [] => "\nhint: codes are like `MGW-0104` or `duplicate-key`".to_owned(),
        near => format!("\nhint: did you mean one of these?\n{}", near.join("\n")),
    };
    format!("there is no code `{name}`{help}")
}

fn as_text(code: Code, width: usize) -> String {
    let Record { text, example, fix } = code.record();
    let class = match code.class() {
        Class::Unenforced => "error, or with `--allow-unenforced` a warning",
        class => class.as_str(),
    };
    let mut page = format!("{} ({class})\n", output::bold(&format!("{} {}", code.id(), code.slug())));
    paragraph(&mut page, code.summary(), "", width);
    for (title, blocks) in [("", text), ("Example", example), ("Fix", fix)] {
        let indent = if title.is_empty() { "" } else { "  " };
        if !title.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(page, "\n{}", output::bold(title));
        }
        for (index, block) in blocks.iter().enumerate() {
            if title.is_empty() || index > 0 {
                page.push('\n');
            }
            show(&mut page, block, indent, width);
        }
    }
    page.trim_end().to_owned()
}

fn show(page: &mut String, block: &Block, indent: &str, width: usize) {
    let lines = |page: &mut String, content: &str| {
        for line in content.lines() {
            // Not broken: it is to be copied.
            let _ = writeln!(page, "{indent}    {line}");
        }
    };
    match *block {
        // Items of a list begin lines of their own; what follows the first line of one is indented in the source.
        Block::Text(list) if list.starts_with("- ") => {
            for item in list.split("\n- ") {
                paragraph(page, &format!("- {}", item.trim_start_matches("- ")), indent, width);
            }
        }
        Block::Text(text) => paragraph(page, text, indent, width),
        Block::Deleted(path) => paragraph(page, &format!("Delete `{path}`."), indent, width),
        Block::File { path, content, .. } => {
            let _ = writeln!(page, "{indent}{path}:");
            lines(page, content);
        }
        Block::Snippet { content, .. } => lines(page, content),
    }
}

/// The text in lines of the terminal's width, instead of those of the source.
fn paragraph(page: &mut String, text: &str, indent: &str, width: usize) {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let hanging = if text.starts_with("- ") { format!("{indent}  ") } else { indent.to_owned() };
    let options = textwrap::Options::new(width).initial_indent(indent).subsequent_indent(&hanging).break_words(false);
    let _ = writeln!(page, "{}", textwrap::fill(&one_line, options));
}

fn as_json(code: Code) -> Value {
    let record = code.record();
    json!({
        "code": code.id(),
        "name": code.slug(),
        "class": code.class().as_str(),
        "summary": code.summary(),
        "text": markdown(&record.text),
        "example": { "text": markdown(&record.example), "files": record.files(false) },
        "fix": { "text": markdown(&record.fix), "files": record.files(true) },
    })
}
