//! Runs a page: one shell for all of it, in a network of its own, so that what is written is what is run. Services go to
//! the background, where a reader would open another terminal, and the page goes on when they are up.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use microgw_tests::container::contained;
use microgw_tests::gateway::micro_gw;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::page::{Kind, Page, Step};

/// For a whole page, on a busy machine.
const LONGEST: Duration = Duration::from_secs(300);

/// Functions that the steps are put between. A step's number names the files with what it printed.
const PRELUDE: &str = include_str!("prelude.sh");

/// A program that does not end by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Backend,
    /// Its line on stdout says that it is live; another one takes its place.
    Gateway,
    /// Live when an Envoy has come.
    Server,
    Envoy,
    /// Of no kind that we know, with `&`.
    Other,
}

pub struct Session {
    directory: TempDir,
    steps: Vec<Step>,
}

// === impl Service ===

impl Service {
    fn of(command: &str) -> Option<Service> {
        let mut words = command.split_whitespace().skip_while(|word| is_assignment(word));
        match (words.next(), words.next()) {
            (Some("micro-gw"), Some("run")) | (Some("gateway"), Some(_)) => Some(Service::Gateway),
            (Some("micro-gw"), Some("serve")) => Some(Service::Server),
            (Some("micro-gw"), Some("demo-backend")) => Some(Service::Backend),
            (Some("envoy"), Some(first)) if first != "--version" => Some(Service::Envoy),
            _ => without_comment(command).ends_with('&').then_some(Service::Other),
        }
    }

    /// The function of the prelude that starts it.
    fn starter(self) -> &'static str {
        match self {
            Service::Backend => "backend",
            Service::Gateway => "gateway",
            Service::Server => "server",
            Service::Envoy => "envoy",
            Service::Other => "other",
        }
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    name.len() < word.len() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// `$!` is then the program, not a shell that waits for it.
fn replacing_the_shell(command: &str) -> String {
    let assignments: Vec<&str> = command.split_whitespace().take_while(|word| is_assignment(word)).collect();
    let program = assignments.iter().fold(command, |rest, word| rest.split_once(word).map_or(rest, |(_, rest)| rest));
    format!("{} exec {}", assignments.join(" "), program.trim_start())
}

fn without_comment(command: &str) -> &str {
    command.split(" #").next().unwrap_or_default().trim_end()
}

// === impl Session ===

impl Session {
    /// Runs the page, and tells what is wrong with it.
    pub async fn run(root: &Path, page: &Page) -> anyhow::Result<()> {
        let directory = TempDir::new()?;
        let mut session = Session { directory, steps: Vec::new() };
        let script = session.script(root, page)?;
        let file = session.at("script");
        fs::write(&file, &script)?;
        let log = fs::File::create(session.at("log"))?;
        let mut child = Command::new(contained())
            .args(["alone", "bash"])
            .arg(&file)
            .current_dir(session.at("work"))
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", session.at("bin").display()))
            .env("HOME", session.at("home"))
            .env("XDG_RUNTIME_DIR", session.at("run"))
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let in_time = timeout(LONGEST, child.wait()).await.is_ok();
        if !in_time {
            // The shell ends what it started when it is told to stop.
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
            }
            let _ = timeout(Duration::from_secs(20), child.wait()).await;
        }
        session.verdict(page, in_time).map_err(anyhow::Error::msg)
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lays out the directories and writes the shell's script.
    fn script(&mut self, root: &Path, page: &Page) -> std::io::Result<String> {
        for name in ["bin", "home", "run", "out", "work"] {
            fs::create_dir(self.at(name))?;
        }
        fs::set_permissions(self.at("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::write(self.at("home/.curlrc"), "no-progress-meter\n")?;
        for (name, program) in [("micro-gw", micro_gw()), ("gateway", micro_gw())] {
            symlink(program, self.at("bin").join(name))?;
        }
        if let Ok(envoy) = microgw_envoy::find(None) {
            symlink(envoy.path(), self.at("bin/envoy"))?;
        }
        for part in ["examples", "policies"] {
            copy(&root.join(part), &self.at(part))?;
        }
        let mut script = format!("top={}\n{PRELUDE}\nafresh\n", self.directory.path().display());
        for block in &page.blocks {
            if block.afresh {
                script.push_str("afresh\n");
            }
            match &block.kind {
                Kind::Session(steps) => {
                    for (index, step) in steps.iter().enumerate() {
                        let failure_is_shown =
                            steps.get(index + 1).is_some_and(|next| next.command.trim() == "echo $?");
                        self.step(&mut script, step, failure_is_shown);
                    }
                }
                Kind::File { path, text } => {
                    let number = self.steps.len();
                    fs::write(self.at(format!("out/file-{number}-{}", script.len())), text)?;
                    let source = format!("\"$top/out/file-{number}-{}\"", script.len());
                    let _ = writeln!(script, "put {source} '{path}'");
                }
                Kind::Settings { .. } | Kind::Elsewhere { .. } | Kind::NotRun { .. } => {}
            }
        }
        script.push_str("complete\n");
        Ok(script)
    }

    fn step(&mut self, script: &mut String, step: &Step, failure_is_shown: bool) {
        let number = self.steps.len();
        // What is shown to fail does not stay.
        let service = Service::of(&step.command).filter(|_| !failure_is_shown);
        let Step { command, line, .. } = step;
        // Writing to a string does not fail.
        let _ = match service {
            None => writeln!(
                script,
                "begin {number}\n{{\n{command}\n}} >$top/out/{number} 2>&1 </dev/null\nend {number} $? {failure_is_shown}"
            ),
            Some(service) => {
                let command = replacing_the_shell(without_comment(command).trim_end_matches('&').trim_end());
                let starter = service.starter();
                writeln!(
                    script,
                    "begin {number}\nbefore_{starter}\n{{ {command}; }} >$top/out/{number} 2>$top/out/{number}.log </dev/null &\n\
                     started {starter} {number}"
                )
            }
        };
        if step.interrupted {
            script.push_str("interrupt\n");
        }
        let step =
            Step { line: *line, command: command.clone(), output: step.output.clone(), interrupted: step.interrupted };
        self.steps.push(step);
    }

    fn verdict(&self, page: &Page, in_time: bool) -> Result<(), String> {
        let read = |name: &str| fs::read_to_string(self.at("out").join(name)).unwrap_or_default();
        let progress = read("progress");
        let mut problems = String::new();
        for (number, step) in self.steps.iter().enumerate() {
            let done = progress.lines().find_map(|line| line.strip_prefix(&format!("{number} ")));
            let problem = match done {
                None if in_time => "it does not end well",
                None => "it does not end",
                Some("failed") => "it fails",
                Some(_) => match step.compare(&read(&number.to_string())) {
                    Ok(()) => continue,
                    Err(difference) => &format!("it prints something else\n{difference}"),
                },
            };
            let _ = write!(problems, "{}:{}: {problem}\n  $ {}\n", page.path.display(), step.line, step.command);
            let printed = [read(&number.to_string()), read(&format!("{number}.log"))].concat();
            let _ = writeln!(problems, "it printed:\n{printed}");
            if done.is_none_or(|done| done == "failed") {
                let logs = (0..number).map(|number| read(&format!("{number}.log"))).collect::<String>();
                let _ = writeln!(problems, "services:\n{logs}");
                let _ = writeln!(problems, "{}", fs::read_to_string(self.at("log")).unwrap_or_default());
                break;
            }
        }
        if problems.is_empty() && !progress.lines().any(|line| line == "complete") {
            let log = fs::read_to_string(self.at("log")).unwrap_or_default();
            problems = format!("{}: the script did not get to its end\n{log}", page.path.display());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to).map(drop)?;
        }
    }
    Ok(())
}
