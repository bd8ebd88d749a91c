//! What is in the images: ours as the Dockerfile makes it, the others as far as is known of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A Dockerfile, stage by stage.
pub struct Dockerfile {
    pub stages: Vec<Stage>,
}

pub struct Stage {
    /// What it is made from.
    pub base: String,
    pub name: Option<String>,
    pub instructions: Vec<Instruction>,
}

#[derive(Debug)]
pub struct Instruction {
    /// Upper case.
    pub name: String,
    /// With line breaks taken out.
    pub text: String,
}

/// What a container starts from.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub entrypoint: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    /// Directories that volumes take owner and mode from.
    pub directories: BTreeMap<PathBuf, Directory>,
    /// Programs, and the files here that stand for them.
    pub programs: BTreeMap<PathBuf, PathBuf>,
    /// Whether it has a shell and all that. Without: libraries alone.
    pub distribution: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

// === impl Dockerfile ===

impl Dockerfile {
    pub fn read(path: &Path) -> Dockerfile {
        let text = std::fs::read_to_string(path).unwrap();
        let mut stages: Vec<Stage> = Vec::new();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        while let Some(line) = lines.next() {
            let mut line = line.to_owned();
            while let Some(open) = line.strip_suffix('\\') {
                line = format!("{open} {}", lines.next().expect("a line goes on"));
            }
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            let name = name.to_uppercase();
            if name == "FROM" {
                let words: Vec<_> = rest.split_whitespace().collect();
                let (base, name) = match words[..] {
                    [base] => (base, None),
                    [base, as_, name] if as_.eq_ignore_ascii_case("as") => (base, Some(name.to_owned())),
                    _ => panic!("FROM {rest}"),
                };
                stages.push(Stage { base: base.to_owned(), name, instructions: Vec::new() });
            } else {
                let stage = stages.last_mut().expect("it starts with FROM");
                stage.instructions.push(Instruction { name, text: rest.trim().to_owned() });
            }
        }
        Dockerfile { stages }
    }

    pub fn last(&self) -> &Stage {
        self.stages.last().unwrap()
    }

    /// What it makes, `micro_gw` being what was built.
    pub fn image(&self, micro_gw: &Path) -> Image {
        let made = self.stages[0].directories();
        let mut image = Image::default();
        for instruction in &self.last().instructions {
            match instruction.name.as_str() {
                "ENTRYPOINT" => image.entrypoint = instruction.list(),
                "ENV" => image.environment.extend(instruction.pairs()),
                "USER" => image.user = Some(instruction.text.clone()),
                "COPY" => {
                    let (flags, sources, target) = instruction.copy();
                    let (owner, target) = (flags.get("chown").map_or((0, 0), |owner| user(owner)), Path::new(&target));
                    for source in &sources {
                        for (path, mode) in
                            made.iter().filter_map(|(path, mode)| Some((path.strip_prefix(source).ok()?, mode)))
                        {
                            let directory = Directory { uid: owner.0, gid: owner.1, mode: *mode };
                            image.directories.insert(target.join(path), directory);
                        }
                        if self.stages[0].installs(&Path::new(source).join("micro-gw")) {
                            image.programs.insert(target.join("micro-gw"), micro_gw.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        image
    }
}

// === impl Stage ===

impl Stage {
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Instruction> {
        self.instructions.iter().filter(move |instruction| instruction.name == name)
    }

    /// `install -d -m MODE PATH...`.
    fn directories(&self) -> BTreeMap<PathBuf, u32> {
        let mut made = BTreeMap::new();
        for command in self.all("RUN").flat_map(|run| run.text.split("&&")) {
            let words: Vec<_> = command.split_whitespace().collect();
            if let ["install", "-d", "-m", mode, paths @ ..] = &words[..] {
                let mode = u32::from_str_radix(mode, 8).unwrap();
                made.extend(paths.iter().map(|path| (PathBuf::from(path), mode)));
            }
        }
        made
    }

    /// `install ... PATH`.
    fn installs(&self, path: &Path) -> bool {
        let mut commands = self.all("RUN").flat_map(|run| run.text.split("&&"));
        commands.any(|command| {
            let words: Vec<_> = command.split_whitespace().collect();
            let a_file = words.first() == Some(&"install") && !words.contains(&"-d");
            a_file && words.last().is_some_and(|last| Path::new(last) == path)
        })
    }
}

// === impl Instruction ===

impl Instruction {
    /// The form that needs no shell.
    pub fn list(&self) -> Vec<String> {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {} needs a shell", self.name, self.text))
    }

    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        // Values with blanks are of labels, which are quoted.
        let mut rest = self.text.as_str();
        std::iter::from_fn(move || {
            let (key, after) = rest.trim_start().split_once('=')?;
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
            };
            rest = after;
            Some((key.to_owned(), value.to_owned()))
        })
    }

    /// Flags, sources and target.
    pub fn copy(&self) -> (BTreeMap<String, String>, Vec<String>, String) {
        let (flags, mut paths): (Vec<_>, Vec<_>) =
            self.text.split_whitespace().partition(|word| word.starts_with("--"));
        let target = paths.pop().unwrap().to_owned();
        let flags = flags.iter().map(|flag| flag.trim_start_matches("--").split_once('=').unwrap());
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (flags, paths.into_iter().map(str::to_owned).collect(), target)
    }
}

/// Uid and gid.
pub fn user(text: &str) -> (u32, u32) {
    let (uid, gid) = text.split_once(':').unwrap_or_else(|| panic!("`{text}` is no UID:GID"));
    (uid.parse().unwrap(), gid.parse().unwrap())
}
