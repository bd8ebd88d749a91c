//! The gate on what a cached decision costs: its instructions, counted by valgrind, against a ceiling that is committed.
//!
//! Time on a shared machine says little about a change of five percent; the number of instructions hardly varies. Only
//! what [`work::counted`] calls is counted: neither making keys and loading rules, nor the first decision, which verifies.

#[cfg(test)]
mod allocations;
mod ceilings;
mod work;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use ceilings::Ceilings;
use work::Scenario;

/// Enough that what happens now and then is spread over them.
const DECISIONS: u32 = 500;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => judge(false),
        ["--update"] => judge(true),
        // What valgrind runs.
        ["--run", scenario, count] => {
            let scenario = Scenario::ALL.iter().find(|known| known.name == *scenario).context("no such scenario")?;
            work::run(scenario, count.parse()?)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: microgw-instructions [--update]"),
    }
}

/// Compares every scenario with its ceiling, or makes the ceilings what was measured.
fn judge(update: bool) -> anyhow::Result<ExitCode> {
    if !valgrind_is_there() {
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            bail!("valgrind is missing: the cost of decisions cannot be judged");
        }
        println!("SKIPPED: valgrind is not installed; the cost of decisions was not judged");
        return Ok(ExitCode::SUCCESS);
    }
    let mut ceilings = Ceilings::read()?;
    let mut exceeded = 0;
    println!("{:<28} {:>12} {:>9}", "instructions", "per decision", "ceiling");
    for scenario in &Scenario::ALL {
        let measured = per_decision(scenario)?;
        if update {
            ceilings.set(scenario.name, measured);
        }
        let (ceiling, remark) = match ceilings.of(scenario.name) {
            None if ceilings.knows_this_machine() => {
                bail!("`{}` has no ceiling: see {}", scenario.name, ceilings::FILE)
            }
            None => ("-".to_owned(), "  not judged: no ceilings for this architecture"),
            Some(ceiling) if measured > ceiling => {
                exceeded += 1;
                (ceiling.to_string(), "  EXCEEDED")
            }
            Some(ceiling) if ceilings::is_loose(measured, ceiling) => {
                (ceiling.to_string(), "  cheaper than it was: lower the ceiling")
            }
            Some(ceiling) => (ceiling.to_string(), ""),
        };
        println!("{:<28} {measured:>12} {ceiling:>9}{remark}", scenario.name);
    }
    if update {
        ceilings.write()?;
    }
    if exceeded > 0 {
        eprintln!("{exceeded} decisions cost more than their ceilings: {} says what to do", ceilings::FILE);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn valgrind_is_there() -> bool {
    Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn per_decision(scenario: &Scenario) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*work::counted*", "--"])
        .arg(std::env::current_exe()?)
        .args(["--run", scenario.name, &DECISIONS.to_string()])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed under valgrind:\n{log}", scenario.name);
    }
    // `==123== Collected : 4567`
    let total = log.lines().find_map(|line| line.split_once("Collected :")).context("valgrind reported no total")?.1;
    match total.trim().parse::<u64>()? / u64::from(DECISIONS) {
        0 => bail!("nothing was counted: the program has no symbols, or valgrind another way to name them"),
        each => Ok(each),
    }
}
