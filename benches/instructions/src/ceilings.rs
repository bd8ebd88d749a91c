//! The committed ceilings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

pub const FILE: &str = "benches/instructions/ceilings.toml";

/// Percent above what was measured. Other processors and other versions of valgrind account for less.
const HEADROOM: u64 = 5;
/// Instructions more, whatever was measured: of a short decision, where the linker puts things is more than 5 %.
const PLAY: u64 = 300;
/// Percent below the ceiling from which on it no longer guards anything.
const LOOSE: u64 = 15;

const HEAD: &str = "\
# The most instructions that one cached decision may take, per architecture: what was measured, 5 %, and 300.
# A change that makes one dearer has to say why in its commit. `make instructions UPDATE=1` writes what it measures here.
";

/// By architecture and scenario.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Ceilings(BTreeMap<String, BTreeMap<String, Ceiling>>);

#[derive(Debug, Deserialize)]
struct Ceiling {
    measured: u64,
    ceiling: u64,
}

// === impl Ceilings ===

impl Ceilings {
    pub fn read() -> anyhow::Result<Ceilings> {
        let text = std::fs::read_to_string(path()).context(FILE)?;
        toml::from_str(&text).context(FILE)
    }

    pub fn write(&self) -> anyhow::Result<()> {
        let mut text = HEAD.to_owned();
        for (architecture, scenarios) in &self.0 {
            writeln!(text, "\n[{architecture}]")?;
            for (name, Ceiling { measured, ceiling }) in scenarios {
                writeln!(text, "{name} = {{ measured = {measured}, ceiling = {ceiling} }}")?;
            }
        }
        std::fs::write(path(), text).context(FILE)
    }

    pub fn knows_this_machine(&self) -> bool {
        self.0.contains_key(std::env::consts::ARCH)
    }

    pub fn of(&self, scenario: &str) -> Option<u64> {
        Some(self.0.get(std::env::consts::ARCH)?.get(scenario)?.ceiling)
    }

    pub fn set(&mut self, scenario: &str, measured: u64) {
        let ceiling = Ceiling { measured, ceiling: measured + measured * HEADROOM / 100 + PLAY };
        self.0.entry(std::env::consts::ARCH.to_owned()).or_default().insert(scenario.to_owned(), ceiling);
    }
}

pub fn is_loose(measured: u64, ceiling: u64) -> bool {
    measured * 100 < ceiling * (100 - LOOSE)
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/ceilings.toml"))
}
