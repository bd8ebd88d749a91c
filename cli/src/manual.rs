//! `completions` and `man`: the command line as shells, and readers of manuals, want it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_mangen::roff::{Roff, bold, roman};
use micro_gw::config::{self, Kind, Status};
use microgw_compiler::diagnostic::Code;

use crate::args::{self, Cli, Gateway, Program};
use crate::output;

pub fn completions(args: &args::Completions) -> anyhow::Result<()> {
    let command = match args.command {
        Program::MicroGw => Cli::command(),
        Program::Gateway => Gateway::command(),
    };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut completable(&command), name, &mut script);
    // For bash it spells a program with a hyphen in two ways, and then never finds what it has to say of a command.
    let script = String::from_utf8(script)?.replace("micro__subcmd__gw", "micro__gw");
    output::data(&script);
    Ok(())
}

/// The command without what is hidden, which generators would offer; with the settings by name, and codes.
fn completable(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let arguments = arguments.map(|argument| match argument.get_id().as_str() {
        "code" => argument.value_parser(PossibleValuesParser::new(
            Code::ALL.iter().flat_map(|code| [code.id(), code.slug()]).collect::<Vec<_>>(),
        )),
        _ => argument,
    });
    let settings = config::keys().filter(|_| args::has_settings(command)).filter_map(setting);
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(completable);
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .args(arguments)
        .args(settings)
        .subcommands(subcommands)
}

/// The option that sets a key; not of entries of arrays and of names of the user's choice.
fn setting(key: &'static config::Key) -> Option<Arg> {
    if !matches!(key.status, Status::Supported) || key.path.contains(['[', '*', '{']) {
        return None;
    }
    let option = Arg::new(key.path).long(key.path).value_name("VALUE").help(key.doc);
    Some(match key.kind {
        Kind::Bool => option.value_parser(PossibleValuesParser::new(["true", "false"])),
        Kind::OneOf(values) => option.value_parser(PossibleValuesParser::new(values)),
        Kind::Path => option.value_hint(ValueHint::AnyPath),
        _ => option,
    })
}

pub fn man(args: &args::Man) -> anyhow::Result<()> {
    let pages = pages()?;
    if let Some(directory) = &args.out {
        return write(&pages, directory);
    }
    let name = args.command.as_deref().unwrap_or("micro-gw");
    let named = |page: &&Page| page.name == name || page.name.strip_prefix("micro-gw-") == Some(name);
    let Some(page) = pages.iter().find(named) else { bail!("there is no command `{name}`") };
    output::data(&page.text);
    Ok(())
}

/// A page of section 1.
struct Page {
    name: String,
    text: String,
}

fn write(pages: &[Page], directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
    for Page { name, text } in pages {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        output::line(&path.display().to_string());
    }
    Ok(())
}

/// Of the program by both its names, and of each command.
fn pages() -> anyhow::Result<Vec<Page>> {
    let mut pages = Vec::new();
    for command in [Cli::command(), Gateway::command()] {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
        for command in std::iter::once(&command).chain(subcommands) {
            pages.push(page(command)?);
        }
    }
    Ok(pages)
}

fn page(command: &Command) -> anyhow::Result<Page> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = clap_mangen::Man::new(command.clone());
    // Written by hand for the date, which is none: the same program has the same pages.
    let mut text = format!(".TH \"{name}\" \"1\" \"\" \"micro-gw {}\" \"\"\n", env!("CARGO_PKG_VERSION")).into_bytes();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    if command.has_subcommands() {
        environment(&mut rest);
    } else if let Some(notes) = command.get_after_help() {
        rest.control("SH", ["NOTES"]);
        let notes = notes.to_string();
        if notes.contains('\n') {
            // Lines of shell are lines.
            rest.control("nf", []).text([roman(notes)]).control("fi", []);
        } else {
            rest.text([roman(notes)]);
        }
    }
    rest.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in [("0", "Done."), ("1", "Not done; standard error says why."), ("2", "Wrong usage.")] {
        rest.control("TP", []).text([bold(status)]).text([roman(meaning)]);
    }
    rest.to_writer(&mut text)?;
    Ok(Page { name, text: String::from_utf8(text)? })
}

fn environment(page: &mut Roff) {
    page.control("SH", ["ENVIRONMENT"]);
    for (variable, meaning) in [
        (
            "MGW_CONF_DIR",
            "Directory of micro-gw.conf, instead of the project's and the working directory's conf/ and /etc/micro-gw.",
        ),
        ("MICROGW_ENVOY", "The Envoy to run, unless --envoy or a setting names one."),
        ("NO_COLOR", "Nothing is coloured if it is set."),
        ("section_key", "Any setting, with underscores for dots, e.g. listenerConfig_httpsPort=9443."),
    ] {
        page.control("TP", []).text([bold(variable)]).text([roman(meaning)]);
    }
}
