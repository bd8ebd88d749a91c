//! `docker-compose.yml` and the `Dockerfile`, without a container engine: checked against the compose schema and our own
//! rules, and run. What is run is read from the files: a command that changes there changes here.

#[path = "../docs/page.rs"]
#[allow(dead_code)]
mod page;

mod engine;
mod file;
mod image;
mod rules;
mod up;

use std::collections::BTreeMap;
use std::path::PathBuf;

use file::File;

fn repository() -> PathBuf {
    std::fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap()
}

fn compose_file(variables: &BTreeMap<&str, String>) -> File {
    File::read(&repository().join("docker-compose.yml"), variables)
}
