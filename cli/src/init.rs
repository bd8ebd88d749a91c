//! `init`: a new project.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::redirect::{Action, Attempt, Policy};

use crate::args;
use crate::output;

const MAX_DEFINITION: usize = 256 << 20;
const MAX_REDIRECTS: usize = 5;

const DEPLOYMENT_CONFIG: &str = include_str!("init/deployment-config.toml");
const GATEWAY_CONFIG: &str = include_str!("init/micro-gw.conf");
const POLICIES: &str = include_str!("init/policies.yaml");

pub async fn init(args: &args::Init) -> anyhow::Result<()> {
    let root = &args.project;
    if args.headers.len() != args.values.len() {
        bail!("{} header(s) but {} value(s): give one value per header", args.headers.len(), args.values.len());
    }
    if root.exists() && !args.force {
        bail!("`{}` exists already; use `-f` or `--force` to replace it", root.display());
    }
    // Everything that can fail for its own reasons comes before the old project is touched.
    let definition = match &args.api_definition {
        Some(source) => Some(fetch(source, args).await?),
        None => None,
    };
    let deployment_config = match &args.deployment_config {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        None => DEPLOYMENT_CONFIG.to_owned(),
    };
    if root.exists() {
        remove(root)?;
    }
    let write = |path: &str, content: &[u8]| -> anyhow::Result<()> {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write `{}`", path.display()))
    };
    fs::create_dir_all(root.join("api_definitions")).with_context(|| format!("cannot create `{}`", root.display()))?;
    write("conf/deployment-config.toml", deployment_config.as_bytes())?;
    write("conf/micro-gw.conf", GATEWAY_CONFIG.as_bytes())?;
    write("policies.yaml", POLICIES.as_bytes())?;
    write(".gitignore", b"target/\n")?;
    if let Some((name, content)) = definition {
        write(&format!("api_definitions/{name}"), &content)?;
    }
    output::line(&format!("project {}", root.display()));
    if args.api_definition.is_none() {
        output::note("put OpenAPI definitions into its api_definitions/, then run `micro-gw build`");
    }
    Ok(())
}

/// Only what looks like a project is removed.
fn remove(root: &Path) -> anyhow::Result<()> {
    let empty = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if !empty && !root.join("api_definitions").is_dir() {
        bail!("`{}` is not a project (it has no api_definitions/): remove it by hand", root.display());
    }
    fs::remove_dir_all(root).with_context(|| format!("cannot remove `{}`", root.display()))
}

async fn fetch(source: &str, args: &args::Init) -> anyhow::Result<(String, Vec<u8>)> {
    let (name, content) = if source.starts_with("http://") || source.starts_with("https://") {
        let url = reqwest::Url::parse(source).with_context(|| format!("`{source}` is no URL"))?;
        let name = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default().to_owned();
        (name, download(url, args).await?)
    } else {
        let path = PathBuf::from(source);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        (name, fs::read(&path).with_context(|| format!("cannot read `{source}`"))?)
    };
    if content.len() > MAX_DEFINITION {
        bail!("`{source}` has more than {} MiB", MAX_DEFINITION >> 20);
    }
    Ok((file_name(&name, &content), content))
}

async fn download(url: reqwest::Url, args: &args::Init) -> anyhow::Result<Vec<u8>> {
    let client = reqwest::Client::builder()
        .danger_accept_invalid_certs(args.insecure)
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(120))
        .redirect(Policy::custom(if args.headers.is_empty() { follow } else { follow_at_home }))
        .build()?;
    let mut request = client.get(url.clone());
    for (name, value) in args.headers.iter().zip(&args.values) {
        request = request.header(name, value);
    }
    let shown = format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    let mut response = request
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        // The error's own text has the URL with its query, which may hold a key.
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("cannot download `{shown}`"))?;
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        content.extend_from_slice(&chunk);
        if content.len() > MAX_DEFINITION {
            bail!("`{shown}` has more than {} MiB", MAX_DEFINITION >> 20);
        }
    }
    Ok(content)
}

/// Never from https to http: what comes that way may be anybody's.
fn follow(attempt: Attempt<'_>) -> Action {
    let downgrade = attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if downgrade {
        attempt.error("a redirect from https to http")
    } else {
        attempt.follow()
    }
}

/// The headers that were given may be credentials: they are for the server that was named, and no other.
fn follow_at_home(attempt: Attempt<'_>) -> Action {
    if attempt.previous().iter().all(|url| url.origin() == attempt.url().origin()) {
        follow(attempt)
    } else {
        attempt.error("a redirect to another server, which must not see the given headers")
    }
}

/// A safe file name with the extension that its content asks for, if it has none that says so.
fn file_name(name: &str, content: &[u8]) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    let name = name.trim_start_matches('.');
    let name = if name.is_empty() { "definition" } else { name };
    let known = Path::new(name)
        .extension()
        .is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
    if known {
        return name.to_owned();
    }
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let json = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    format!("{name}.{}", if json { "json" } else { "yaml" })
}
