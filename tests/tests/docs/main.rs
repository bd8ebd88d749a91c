//! The documentation does what it says: every session in it is run, every link leads somewhere, every example is shown.
//!
//! ```sh
//! cargo test -p microgw-tests --test docs                 # all of it
//! cargo test -p microgw-tests --test docs getting         # pages with such a name
//! ```

mod page;
mod session;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use microgw_tests::container::containers_are_possible;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::micro_gw;

use page::{Kind, Page};
use session::Session;

fn main() {
    let root = root();
    let (mut trials, mut not_run) = (Vec::new(), Vec::new());
    for path in markdown(&root) {
        let name = path.display().to_string();
        match Page::read(&root, &path) {
            Ok(page) => {
                for block in &page.blocks {
                    match &block.kind {
                        Kind::NotRun { line, reason } => not_run.push(format!("not run: {name}:{line}: {reason}")),
                        Kind::Elsewhere { line, test, steps } => {
                            not_run.push(format!("{} command(s) run by `{test}`: {name}:{line}", steps.len()));
                        }
                        // Those of the codes are wrong, which is what they are for: they have a test of their own.
                        Kind::Settings { line, text } if name != "docs/diagnostics.md" => {
                            let (at, text) = (format!("{name}:{line}"), text.clone());
                            trials.push(Trial::test(format!("settings of {at}"), move || settings(&at, &text)));
                        }
                        Kind::Settings { .. } | Kind::Session(_) | Kind::File { .. } => {}
                    }
                }
                let links = links(&root, &page);
                trials.push(Trial::test(format!("links of {name}"), move || links.map_err(Failed::from)));
                if page.is_session() {
                    trials.push(Trial::test(name, move || session(&page)));
                }
            }
            Err(problem) => trials.push(Trial::test(name, move || Err(Failed::from(problem)))),
        }
    }
    trials.push(Trial::test("examples", || examples().map_err(Failed::from)));
    trials.push(Trial::test("names", || names().map_err(Failed::from)));
    trials.push(Trial::test("index", || index().map_err(Failed::from)));
    trials.push(Trial::test("tests of docs/security-model.md", || evidence().map_err(Failed::from)));
    let arguments = Arguments::from_args();
    if !arguments.list {
        eprintln!("{}", not_run.join("\n"));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn root() -> PathBuf {
    std::fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("the repository is there")
}

/// Every page, from the root.
fn markdown(root: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let deep = ["docs", "examples", "policies"].map(|part| (PathBuf::from(part), true));
    let mut pending = vec![(PathBuf::new(), false)];
    pending.extend(deep);
    while let Some((directory, deep)) = pending.pop() {
        for entry in std::fs::read_dir(root.join(&directory)).into_iter().flatten().flatten() {
            let path = directory.join(entry.file_name());
            if entry.path().is_dir() {
                pending.extend(deep.then_some((path, true)));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn session(page: &Page) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if !envoy_is_here() || !containers_are_possible().await {
            return Ok(());
        }
        Session::run(&root(), page).await.map_err(Failed::from)
    })
}

/// Files that are linked to are there, and so are the headings.
fn links(root: &Path, page: &Page) -> Result<(), String> {
    let directory = page.path.parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for (line, target) in &page.links {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { page.path.clone() } else { directory.join(file) };
        let found = match std::fs::read_to_string(root.join(&file)) {
            Ok(text) if !anchor.is_empty() => headings(&text).any(|heading| heading == anchor),
            Ok(_) => true,
            Err(_) => root.join(&file).exists(),
        };
        if !found {
            broken.push(format!("{}:{line}: `{target}` leads nowhere", page.path.display()));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// As they are linked to.
fn headings(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let title = line.trim_start_matches('#').trim();
        title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The gateway takes the settings that are shown, but for files and variables that only the reader has.
fn settings(at: &str, text: &str) -> Result<(), Failed> {
    if text.starts_with("[project]") {
        return Ok(());
    }
    let directory = tempfile::TempDir::new()?;
    let file = directory.path().join("micro-gw.conf");
    std::fs::write(&file, text)?;
    let read = std::process::Command::new(micro_gw())
        .current_dir(root())
        .args(["bootstrap", "examples/compose", "--config"])
        .arg(&file)
        .output()?;
    let told = String::from_utf8_lossy(&read.stderr);
    let problem = told.lines().find(|line| line.starts_with("error") && !line.contains(" refers to `$"));
    problem.map_or(Ok(()), |problem| Err(format!("{at}: {problem}").into()))
}

/// Codes and settings that pages name exist: the generated pages list them.
fn names() -> Result<(), String> {
    let root = root();
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let codes = read(Path::new("docs/diagnostics.md"));
    let reference = read(Path::new("docs/configuration.md"));
    let listed = reference.lines().filter_map(|line| line.strip_prefix("| `").or_else(|| line.strip_prefix("- `")));
    let keys: BTreeSet<String> = listed.filter_map(|line| line.split('`').next()).flat_map(expanded).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split(['.', '[']).next()).collect();
    // A section is named as well as a key; `[]` stands for an entry, `*` for a name of one's own.
    let known = |name: &str| {
        keys.iter().any(|key| {
            let mut parts = key.split('.');
            name.split('.').all(|named| {
                parts.next().is_some_and(|part| part == named || part == "*" || part.trim_end_matches("[]") == named)
            })
        })
    };
    let mut unknown = Vec::new();
    for path in markdown(&root).into_iter().filter(|path| !path.ends_with("configuration.md")) {
        let text = read(&path);
        let code = |word: &&str| word.len() == 8 && word.starts_with("MGW-") && !word.ends_with("nnnn");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(code);
        unknown.extend(
            words.filter(|word| !codes.contains(&format!("## {word} "))).map(|w| format!("{}: {w}", path.display())),
        );
        for quoted in text.split('`').skip(1).step_by(2) {
            let name = quoted.split([' ', '=']).next().unwrap_or_default();
            let is_key = name.contains('.') && !name.contains('/') && name.split('.').all(|part| !part.is_empty());
            let section = name.split(['.', '[']).next().unwrap_or_default();
            if is_key && sections.contains(section) && !known(name) {
                unknown.push(format!("{}: `{name}`", path.display()));
            }
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(format!("unknown:\n{}", unknown.join("\n"))) }
}

/// `a.{b,c}` is `a.b` and `a.c`.
fn expanded(key: &str) -> Vec<String> {
    let Some((before, names)) = key.split_once('{') else { return vec![key.to_owned()] };
    names.trim_end_matches('}').split(',').map(|name| format!("{before}{name}")).collect()
}

/// README.md leads to every page of docs/.
fn index() -> Result<(), String> {
    let root = root();
    let readme = Page::read(&root, Path::new("README.md"))?;
    let linked = |page: &Path| readme.links.iter().any(|(_, target)| Path::new(target) == page);
    let pages = markdown(&root).into_iter().filter(|page| page.starts_with("docs"));
    let missing: Vec<_> = pages.filter(|page| !linked(page)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("README.md does not lead to {missing:?}")) }
}

/// Every example says what it shows, in a session that is run.
fn examples() -> Result<(), String> {
    let root = root();
    let mut silent = Vec::new();
    for entry in std::fs::read_dir(root.join("examples")).map_err(|error| error.to_string())?.flatten() {
        let path = Path::new("examples").join(entry.file_name()).join("README.md");
        if entry.path().is_dir() && !Page::read(&root, &path).is_ok_and(|page| page.is_session()) {
            silent.push(format!("{}: there is no session", path.display()));
        }
    }
    if silent.is_empty() { Ok(()) } else { Err(silent.join("\n")) }
}

/// The tests that the security model names are there: `file::test`.
fn evidence() -> Result<(), String> {
    let root = root();
    let text = std::fs::read_to_string(root.join("docs/security-model.md")).map_err(|error| error.to_string())?;
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    let mut sources = Vec::new();
    let mut pending = vec![root];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    let exists = |file: &str, test: &str| {
        let of_that_name = sources.iter().filter(|path| path.file_stem().is_some_and(|stem| stem == file));
        let has =
            |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}(")));
        of_that_name.into_iter().any(has)
    };
    let missing: Vec<_> = named.iter().filter(|(file, test)| !exists(file, test)).collect();
    if named.len() > 20 && missing.is_empty() { Ok(()) } else { Err(format!("there is no {missing:?}")) }
}
