//! Projects of any size, and the requests that their operations answer.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::load;
use crate::process::{ANY_CORE, Process, memory};

/// Where an operation's key is expected.
pub const KEY_HEADER: &str = "x-api-key";

/// How the paths of many operations look.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Concrete,
    GitHub,
    Tenant,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub template: String,
    /// One of its paths.
    pub path: String,
    pub guarded: bool,
}

/// A project directory.
pub struct Project {
    directory: PathBuf,
}

/// What a build took.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    pub elapsed: Duration,
    /// Bytes.
    pub peak: u64,
}

/// Below each collection of the templated shapes, as one of its paths.
const BELOW: [(&str, &str); 10] = [
    ("", ""),
    ("/search", "/search"),
    ("/count", "/count"),
    ("/{id}", "/7"),
    ("/{id}/lock", "/7/lock"),
    ("/{id}/events", "/7/events"),
    ("/{id}/labels", "/7/labels"),
    ("/{id}/labels/{name}", "/7/labels/new"),
    ("/{id}/comments", "/7/comments"),
    ("/{id}/comments/{comment}", "/7/comments/3"),
];

// === impl Shape ===

impl Shape {
    pub const ALL: [Shape; 3] = [Shape::Concrete, Shape::GitHub, Shape::Tenant];

    pub fn title(self) -> &'static str {
        match self {
            Shape::Concrete => "/service12/resource3/list",
            Shape::GitHub => "/repos/{owner}/{repo}/...",
            Shape::Tenant => "/{tenant}/...",
        }
    }

    /// `count` public operations, a multiple of ten.
    pub fn operations(self, count: usize) -> Vec<Operation> {
        let public = |template: String, path: String| Operation { template, path, guarded: false };
        let collection = |group: usize| {
            BELOW.iter().enumerate().map(move |(index, (template, path))| match self {
                Shape::Concrete => {
                    let path = format!("/service{group}/resource{index}/list");
                    public(path.clone(), path)
                }
                Shape::GitHub => public(
                    format!("/repos/{{owner}}/{{repo}}/area{group}{template}"),
                    format!("/repos/acme/shop{group}/area{group}{path}"),
                ),
                Shape::Tenant => {
                    public(format!("/{{tenant}}/area{group}{template}"), format!("/acme{group}/area{group}{path}"))
                }
            })
        };
        (0..count / BELOW.len()).flat_map(collection).collect()
    }
}

/// A GET request for each of `operations` below `base`.
pub fn requests(base: &str, operations: &[Operation], headers: &[(&str, &str)]) -> Vec<Vec<u8>> {
    operations.iter().map(|operation| load::get(&format!("{base}{}", operation.path), headers)).collect()
}

/// An OpenAPI definition of GET operations that `backend` serves.
pub fn definition(title: &str, base: &str, backend: SocketAddr, operations: &[Operation]) -> Value {
    let paths: Map<String, Value> = operations
        .iter()
        .map(|operation| {
            let security = if operation.guarded { json!([{ "key": [] }]) } else { json!([]) };
            let get = json!({ "security": security, "responses": { "200": { "description": "done" } } });
            (operation.template.clone(), json!({ "get": get }))
        })
        .collect();
    json!({
        "openapi": "3.0.3",
        "info": { "title": title, "version": "1.0" },
        "servers": [{ "url": format!("http://{backend}{base}") }],
        "x-wso2-basePath": if base.is_empty() { "/" } else { base },
        "paths": paths,
        "components": { "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": KEY_HEADER } } },
    })
}

// === impl Project ===

impl Project {
    pub fn create(directory: PathBuf) -> io::Result<Project> {
        fs::create_dir_all(directory.join("conf"))?;
        fs::create_dir_all(directory.join("api_definitions"))?;
        fs::write(directory.join("conf/deployment-config.toml"), "[project]\nopenapiSecurity = \"standard\"\n")?;
        Ok(Project { directory })
    }

    /// Adds or replaces a definition.
    pub fn define(&self, name: &str, definition: &Value) -> io::Result<()> {
        let path = self.directory.join("api_definitions").join(format!("{name}.json"));
        fs::write(path, serde_json::to_vec(definition)?)
    }

    /// What `policies.yaml` says.
    pub fn policies(&self, text: &str) -> io::Result<()> {
        fs::write(self.directory.join("policies.yaml"), text)
    }

    /// Builds it to `artifact`, in a process of its own.
    pub fn build(&self, gateway: &Path, artifact: &Path) -> io::Result<Built> {
        let log = self.directory.join("build.log");
        let arguments = [Path::new("build"), &self.directory, Path::new("-o"), artifact];
        let started = Instant::now();
        let mut process = Process::start(ANY_CORE, gateway, arguments, &log)?;
        // It prints a line for each public operation: somebody has to read them.
        let stdout = process.stdout();
        let reader = std::thread::spawn(move || stdout.map(|mut stdout| io::copy(&mut stdout, &mut io::sink())));
        let mut peak = 0;
        loop {
            // The peak only rises, and is gone with the process: the last look counts.
            peak = memory(process.pid()).map_or(peak, |memory| memory.peak.max(peak));
            if let Some(success) = process.ended()? {
                let elapsed = started.elapsed();
                // What was printed does not matter.
                let _ = reader.join();
                let message = || io::Error::other(fs::read_to_string(&log).unwrap_or_default());
                return if success { Ok(Built { elapsed, peak }) } else { Err(message()) };
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}
