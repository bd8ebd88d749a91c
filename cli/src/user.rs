//! `user`: the `[b7a.users.*]` sections of a file of settings, without touching another byte of it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use microgw_extproc::users::hash_password;
use toml::{Table, Value};

use crate::args::{AddUser, RemoveUser, User, UserCommand, UserFile};
use crate::{output, password};

pub fn user(args: &User) -> anyhow::Result<()> {
    match &args.command {
        UserCommand::Add(args) => add(args),
        UserCommand::List(args) => list(args),
        UserCommand::Remove(args) => remove(args),
    }
}

fn add(args: &AddUser) -> anyhow::Result<()> {
    let name = &args.name;
    ensure!(
        !name.is_empty() && !name.contains([':', '"', '\\']) && !name.chars().any(char::is_control),
        "a user's name must not be empty, and has no colon, quote, backslash or control character"
    );
    let scope = |scope: &String| !scope.is_empty() && !scope.chars().any(|c| c.is_whitespace() || "\",\\".contains(c));
    ensure!(args.scopes.iter().all(scope), "a scope must not be empty, and has no blank, comma, quote or backslash");
    let before = args.config.as_deref().map(read).transpose()?;
    if let Some(before) = &before {
        ensure!(!users(&parse(before)?).contains(&name), "there is a user `{name}` already");
    }
    let hash = hash_password(&password::read()?)?;
    let scopes = match args.scopes.as_slice() {
        [] => String::new(),
        scopes => format!("scopes = \"{}\"\n", scopes.join(",")),
    };
    let section = format!("[b7a.users.{}]\npassword = \"{hash}\"\n{scopes}", key(name));
    let (Some(path), Some(before)) = (&args.config, before) else {
        output::data(&section);
        return Ok(());
    };
    let gap = match before.as_str() {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let after = format!("{before}{gap}{section}");
    // What the file says is what it said, and this user.
    let mut expected = parse(&before)?;
    let mut added = parse(&section)?;
    let Some(entry) = entries_mut(&mut added).and_then(|users| users.remove(name)) else {
        bail!("cannot add the user")
    };
    let known = expected.entry("b7a").or_insert_with(|| Table::new().into()).as_table_mut();
    let known = known.and_then(|b7a| b7a.entry("users").or_insert_with(|| Table::new().into()).as_table_mut());
    known.context("`b7a.users` is no table")?.insert(name.clone(), entry);
    ensure!(
        parse(&after).ok().as_ref() == Some(&expected),
        "cannot add the user behind what `{}` says: `b7a.users` is written there as an inline table",
        path.display()
    );
    write(path, &after)?;
    output::note(&format!("user `{name}` is added to `{}`; gateways know it from their next start on", path.display()));
    Ok(())
}

fn list(args: &UserFile) -> anyhow::Result<()> {
    let table = parse(&read(&args.config)?)?;
    for (name, user) in entries(&table).into_iter().flatten() {
        let scopes = match user.get("scopes") {
            Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            other => other.and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        output::line(format!("{name}  {scopes}").trim_end());
    }
    Ok(())
}

fn remove(args: &RemoveUser) -> anyhow::Result<()> {
    let (path, name) = (&args.config, &args.name);
    let before = read(path)?;
    let mut expected = parse(&before)?;
    let removed = entries_mut(&mut expected).and_then(|users| users.remove(name));
    ensure!(removed.is_some(), "there is no user `{name}` in `{}`", path.display());
    let after = without(&before, name).filter(|after| says(after, expected));
    let after = after.with_context(|| {
        format!("cannot take the user out of `{}` alone: it is not written as a section of its own", path.display())
    })?;
    write(path, &after)?;
    output::note(&format!(
        "user `{name}` is removed from `{}`; gateways forget it at their next start",
        path.display()
    ));
    Ok(())
}

/// The text without the section of that user: its header, and all lines before the next header.
fn without(text: &str, name: &str) -> Option<String> {
    let header = |line: &str| {
        let inside = line.trim().strip_prefix("[b7a.users.")?.split_once(']')?.0.trim().to_owned();
        let bare = inside.strip_prefix('"').and_then(|inside| inside.strip_suffix('"'));
        Some(bare.or_else(|| inside.strip_prefix('\'')?.strip_suffix('\'')).unwrap_or(&inside) == name)
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let start = lines.iter().position(|line| header(line) == Some(true))?;
    let rest = lines.iter().skip(start + 1);
    let length = rest.take_while(|line| !line.trim_start().starts_with('[')).count() + 1;
    // Comments in front of the next section belong to that one.
    let section = lines.get(start..start + length)?;
    let belongs = |line: &&&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let comments = section.iter().rev().take_while(belongs).collect::<Vec<_>>();
    let kept = comments.iter().rev().skip_while(|line| line.trim().is_empty()).count();
    let before = lines.get(..start)?.iter();
    Some(before.chain(lines.get(start + length - kept..)?).copied().collect())
}

/// Whether the text is settings that say this. Tables that are empty say nothing.
fn says(text: &str, expected: Table) -> bool {
    fn filled(mut table: Table) -> Table {
        table.retain(|_, value| !value.as_table().is_some_and(|table| filled(table.clone()).is_empty()));
        table
            .into_iter()
            .map(|(name, value)| match value {
                Value::Table(table) => (name, Value::Table(filled(table))),
                other => (name, other),
            })
            .collect()
    }
    parse(text).is_ok_and(|table| filled(table) == filled(expected))
}

fn entries(table: &Table) -> Option<&Table> {
    table.get("b7a")?.get("users")?.as_table()
}

fn entries_mut(table: &mut Table) -> Option<&mut Table> {
    table.get_mut("b7a")?.get_mut("users")?.as_table_mut()
}

fn users(table: &Table) -> Vec<&String> {
    entries(table).into_iter().flat_map(|users| users.keys()).collect()
}

/// In quotes where it is not a bare key of TOML.
fn key(name: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// A file that is not there is empty.
fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// The error does not show the file's text: there are secrets in it.
fn parse(text: &str) -> anyhow::Result<Table> {
    text.parse::<Table>().map_err(|error| anyhow::anyhow!("the settings cannot be read: {}", error.message()))
}

/// In one step, and as readable as it was; a new file for our own user alone.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write `{}`", path.display());
    // A link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    if let Ok(metadata) = fs::metadata(&target) {
        file.as_file().set_permissions(metadata.permissions()).with_context(failed)?;
    }
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&target).with_context(failed)?;
    Ok(())
}
