//! `policy`: policies of a project that come from elsewhere, and those that go there.

mod trial;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use microgw_compiler::packages::{DIRECTORY, MANIFEST};
use microgw_hub::{Client, ClientOptions, Logins, Origin, Package, Reference, Revision, State, Vendored};
use serde_json::json;

use crate::args::{
    AddPolicy, Format, ListPolicies, PackPolicy, Policy, PolicyCommand, ProjectOnly, PushPolicy, Registry,
    RemovePolicy, TestPolicies, UpdatePolicies,
};
use crate::build::write_atomically;
use crate::{output, runtime};

pub fn policy(args: Policy) -> anyhow::Result<()> {
    match args.command {
        PolicyCommand::Add(args) => runtime()?.block_on(add(&args)),
        PolicyCommand::List(args) => list(&args),
        PolicyCommand::Remove(args) => remove(&args),
        PolicyCommand::Update(args) => runtime()?.block_on(update(&args)),
        PolicyCommand::Verify(args) => verify(&args),
        PolicyCommand::Test(args) => test(&args),
        PolicyCommand::Pack(args) => pack(&args),
        PolicyCommand::Push(args) => runtime()?.block_on(push(&args)),
    }
}

/// Where a policy comes from.
enum Source {
    Path(PathBuf),
    Registry(Reference),
}

async fn add(args: &AddPolicy) -> anyhow::Result<()> {
    let root = root(&args.project)?;
    let source = Source::typed(&args.source)?;
    let shown = source.as_of(&root)?;
    let (package, manifest) = source.fetch(&args.registry).await?;
    let name = args.name.as_deref().unwrap_or(&package.manifest.name);
    let mut vendored = Vendored::open(&root)?;
    vendored.add(name, &package, Origin { source: shown.clone(), manifest })?;
    output::line(&format!("{DIRECTORY}/{name}  {}  {shown}", version(&package)));
    output::line(&package.digest());
    Ok(())
}

fn list(args: &ListPolicies) -> anyhow::Result<()> {
    let vendored = Vendored::open(&root(&args.project)?)?;
    let mut rows = vec![["NAME", "VERSION", "STATE", "SOURCE"].map(str::to_owned)];
    let mut entries = Vec::new();
    for name in vendored.names()? {
        let (state, package) = vendored.state(&name);
        let locked = vendored.lock().policies.get(&name);
        let version = package.as_ref().map(|package| package.manifest.version.clone());
        let version = version.or_else(|| locked.map(|locked| locked.version.clone())).unwrap_or_default();
        let source = locked.map(|locked| locked.source.clone()).unwrap_or_default();
        entries.push(json!({
            "name": name,
            "package": package.as_ref().map(|package| &package.manifest.name),
            "description": package.as_ref().map(|package| &package.manifest.description),
            "version": version,
            "state": word(&state),
            "source": locked.map(|locked| &locked.source),
            "digest": locked.map(|locked| &locked.digest),
        }));
        rows.push([name, version, word(&state).to_owned(), source]);
    }
    if args.output == Format::Json {
        output::line(&serde_json::to_string_pretty(&entries)?);
    } else {
        output::table(&rows);
    }
    Ok(())
}

fn word(state: &State) -> &'static str {
    match state {
        State::Locked => "locked",
        State::Changed => "changed",
        State::Missing => "missing",
        State::Own => "own",
        State::Unusable(_) => "unusable",
    }
}

fn remove(args: &RemovePolicy) -> anyhow::Result<()> {
    let mut vendored = Vendored::open(&root(&args.project)?)?;
    if args.keep {
        vendored.keep(&args.name)?;
        output::line(&format!("{DIRECTORY}/{} is a policy of the project", args.name));
    } else {
        vendored.remove(&args.name, args.force)?;
        output::line(&format!("{DIRECTORY}/{} is gone", args.name));
    }
    Ok(())
}

async fn update(args: &UpdatePolicies) -> anyhow::Result<()> {
    let root = root(&args.project)?;
    let mut vendored = Vendored::open(&root)?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => vendored.lock().policies.keys().cloned().collect(),
    };
    for name in names {
        // Before anybody is asked for anything.
        vendored.may_go(&name, args.force)?;
        let Some(locked) = vendored.lock().policies.get(&name).cloned() else { continue };
        let source = Source::locked(&locked.source, &root)?;
        let (package, manifest) =
            source.fetch(&args.registry).await.with_context(|| format!("`{name}` stays as it is"))?;
        if package.manifest.name != locked.package {
            bail!(
                "`{name}` stays as it is: `{}` has the policy `{}` now, not `{}`",
                locked.source,
                package.manifest.name,
                locked.package
            );
        }
        let same = package.digest() == locked.digest;
        vendored.update(&name, &package, Origin { source: locked.source.clone(), manifest }, args.force)?;
        let told = match (same, package.manifest.version == locked.version) {
            (true, _) => format!("{} as before", locked.version),
            (false, true) => format!("{}, with another content", locked.version),
            (false, false) => format!("{} in the place of {}", package.manifest.version, locked.version),
        };
        output::line(&format!("{DIRECTORY}/{name}  {told}"));
    }
    Ok(())
}

/// The same that a build would find, of all at once.
fn verify(args: &ProjectOnly) -> anyhow::Result<()> {
    let vendored = Vendored::open(&root(args)?)?;
    let mut wrong = 0;
    for name in vendored.names()? {
        let (state, package) = vendored.state(&name);
        let told = match &state {
            State::Locked => "is what was taken in".to_owned(),
            State::Own => "is the project's own".to_owned(),
            State::Changed => match package {
                Some(package) => format!("was changed: its digest is {}", package.digest()),
                None => "was changed: it has what cannot be in a policy".to_owned(),
            },
            State::Missing => "is missing".to_owned(),
            State::Unusable(why) => format!("cannot be used: {why}"),
        };
        wrong += usize::from(!matches!(state, State::Locked | State::Own));
        output::line(&format!("{DIRECTORY}/{name} {told}"));
    }
    if wrong > 0 {
        bail!("{wrong} of the project's policies are not what they ought to be");
    }
    Ok(())
}

fn test(args: &TestPolicies) -> anyhow::Result<()> {
    let directories = if let Some(named) = &args.policy {
        vec![directory(&args.project, named)?]
    } else {
        let vendored = Vendored::open(&root(&args.project)?)?;
        vendored.names()?.iter().map(|name| vendored.directory(name)).collect()
    };
    if directories.is_empty() {
        bail!("the project has no policy with tests: they are directories in `{DIRECTORY}`");
    }
    let mut failed = 0;
    for directory in directories {
        let package = Package::from_directory(&directory)
            .with_context(|| format!("`{}` is no policy that can be used", directory.display()))?;
        failed += trial::run(&package, &directory)?;
    }
    if failed > 0 {
        bail!("{failed} test(s) failed");
    }
    Ok(())
}

/// Of the project, or any.
fn directory(project: &ProjectOnly, named: &str) -> anyhow::Result<PathBuf> {
    let of_project = project.project.join(DIRECTORY).join(named);
    let typed = Path::new(named).components().collect();
    let found = [of_project, typed].into_iter().find(|directory| directory.join(MANIFEST).is_file());
    found.with_context(|| {
        format!("there is no policy `{named}`, neither in `{DIRECTORY}` nor as a directory with a `{MANIFEST}`")
    })
}

fn pack(args: &PackPolicy) -> anyhow::Result<()> {
    let package = read(&args.directory)?;
    let about = &package.manifest;
    let output = args.output.clone().unwrap_or_else(|| format!("{}-{}.tar", about.name, about.version).into());
    write_atomically(&output, &package.to_tar()?)?;
    output::line(&format!("{}  {}", output.display(), version(&package)));
    output::line(&package.digest());
    Ok(())
}

async fn push(args: &PushPolicy) -> anyhow::Result<()> {
    let package = read(&args.source)?;
    let reference: Reference = args.destination.parse()?;
    let revision = match &reference.revision {
        Some(tag @ Revision::Tag(_)) => tag.clone(),
        Some(Revision::Digest(_)) => bail!("the digest of what is pushed is not chosen: name a tag"),
        None => Revision::tag(&package.manifest.version).context("name a tag: the policy's version can be none")?,
    };
    let manifest = client(&reference, &args.registry)?.push(&package, &revision).await?;
    output::line(&format!("{}  {}", reference.at(revision), version(&package)));
    output::line(&reference.at(Revision::Digest(manifest)).to_string());
    Ok(())
}

fn version(package: &Package) -> String {
    format!("{} {}", package.manifest.name, package.manifest.version)
}

fn root(args: &ProjectOnly) -> anyhow::Result<PathBuf> {
    let shown = args.project.display();
    let root = fs::canonicalize(&args.project).with_context(|| format!("cannot open project `{shown}`"))?;
    if !root.join("api_definitions").is_dir() {
        bail!("`{shown}` is no project: it has no `api_definitions`. `--project` names one");
    }
    Ok(root)
}

/// A directory, or a packed one.
fn read(path: &Path) -> anyhow::Result<Package> {
    let package = if path.is_dir() {
        Package::from_directory(path)
    } else {
        let size = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
        if size > MAX_PACKED {
            bail!("`{}` is too large for a policy", path.display());
        }
        Package::from_tar(&fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?)
    };
    package.with_context(|| format!("`{}` is no policy that can be used", path.display()))
}

/// Bytes; what is read of it has a bound of its own.
const MAX_PACKED: u64 = 64 << 20;

fn client(reference: &Reference, args: &Registry) -> anyhow::Result<Client> {
    let logins = match auth_file(args) {
        Some(file) => Logins::read(&file).with_context(|| format!("cannot read the logins in `{}`", file.display()))?,
        None => Logins::default(),
    };
    Ok(Client::new(reference, ClientOptions { plain_http: args.plain_http, logins })?)
}

fn auth_file(args: &Registry) -> Option<PathBuf> {
    let of = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    args.auth_file
        .clone()
        .or_else(|| Some(of("DOCKER_CONFIG")?.join("config.json")))
        .or_else(|| Some(of("HOME")?.join(".docker").join("config.json")))
}

// === impl Source ===

impl Source {
    /// What is there is meant; a name of a registry has a dot, a colon or `localhost` in front.
    fn typed(text: &str) -> anyhow::Result<Source> {
        let path = Path::new(text);
        let is_path = path.is_absolute() || text.starts_with('.') || path.exists();
        if !Reference::is_marked(text) && is_path {
            return Ok(Source::Path(path.to_owned()));
        }
        let reference: Reference = text
            .parse()
            .with_context(|| format!("`{text}` is neither a directory or file that is there, nor in a registry"))?;
        if reference.revision.is_none() {
            bail!("which `{text}` is meant? Name a tag or a digest, as in `{text}:1.0.0`");
        }
        Ok(Source::Registry(reference))
    }

    /// As the lock has it.
    fn locked(text: &str, root: &Path) -> anyhow::Result<Source> {
        if Reference::is_marked(text) {
            return Ok(Source::Registry(text.parse()?));
        }
        Ok(Source::Path(root.join(text)))
    }

    /// For the lock: from the project's directory, where it was typed so.
    fn as_of(&self, root: &Path) -> anyhow::Result<String> {
        let path = match self {
            Source::Registry(reference) => return Ok(reference.to_string()),
            Source::Path(path) => path,
        };
        let absolute = fs::canonicalize(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let shown = if path.is_absolute() { absolute } else { relative(root, &absolute) };
        let shown = shown.into_os_string().into_string();
        shown.map_err(|_| io::Error::other("its path is not in UTF-8").into())
    }

    async fn fetch(&self, registry: &Registry) -> anyhow::Result<(Package, Option<String>)> {
        match self {
            Source::Path(path) => Ok((read(path)?, None)),
            Source::Registry(reference) => {
                let revision = reference.revision.as_ref().context("it names neither a tag nor a digest")?;
                let (package, manifest) = client(reference, registry)?.pull(revision).await?;
                Ok((package, Some(manifest)))
            }
        }
    }
}

/// The way from one directory to a path; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}
