//! What calling a component costs, without Envoy: an empty one, one that sets a header, and ones of JavaScript where `make guests`
//! has installed what makes them.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use microgw_engine::interceptors::{Program, Verdict};
use microgw_interceptors::fixtures::{self, Scene};
use microgw_interceptors::{Component, Host};

use crate::Bench;
use crate::report::{Goal, Report, median};

/// Calls of a round.
const CALLS: u32 = 2_000;
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests");
const LABELS: &str = "import { set } from 'micro-gw:interceptor/headers@0.1.0';
export function onRequest() { set('x-component', 'seen'); return { tag: 'proceed' }; }
";
const HEADERS: [(&str, &str); 4] =
    [("host", "shop.example"), ("accept", "*/*"), ("user-agent", "bench/1"), ("x-request-id", "0123456789abcdef")];

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    for (name, wat) in
        [("an empty component", fixtures::idle()), ("a component that sets a header", fixtures::labels())]
    {
        let code = wat::parse_str(wat).map_err(io::Error::other)?;
        call(bench, report, name, code, 1, Goal::AtMost(20.0))?;
    }
    for (engine, name) in
        [("quickjs", "JavaScript (QuickJS) that sets a header"), ("", "JavaScript (SpiderMonkey) that sets a header")]
    {
        match of_javascript(bench, engine) {
            Ok(code) => call(bench, report, name, code, 20, Goal::None)?,
            Err(error) => eprintln!("not measured: {name}: {error}"),
        }
    }
    Ok(())
}

fn of_javascript(bench: &Bench, engine: &str) -> io::Result<Vec<u8>> {
    let guests = Path::new(GUESTS);
    if !guests.join("node_modules").is_dir() {
        return Err(io::Error::other("`make guests` installs what makes it"));
    }
    let (source, output) = (bench.directory.path().join("label.js"), bench.directory.path().join("label.wasm"));
    std::fs::write(&source, LABELS)?;
    let made = Command::new("node")
        .arg(guests.join("componentize.js"))
        .args([&source, Path::new("request-interceptor"), &output, Path::new(engine)])
        .output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    std::fs::read(output)
}

/// `fewer`: times fewer calls than usual.
fn call(bench: &Bench, report: &mut Report, name: &str, code: Vec<u8>, fewer: u32, goal: Goal) -> io::Result<()> {
    let host = Host::default();
    let (size, calls) = (code.len(), CALLS / fewer);
    let scene = Scene::of(fixtures::hosted(code, 10_000, 256 << 20), "", "GET")
        .ok_or_else(|| io::Error::other("what is measured cannot be called"))?;
    let once = || scene.request(&HEADERS, b"").ok_or_else(|| io::Error::other("what is measured is not called"));
    let Program::Component { digest, code, .. } = once()?.interceptor.program.clone() else {
        return Err(io::Error::other("what is measured is no component"));
    };
    let started = Instant::now();
    let _component = load(bench, &host, digest, code)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    let mut failed = 0;
    let rounds = bench.rounds.max(3);
    let with = median((0..rounds).map(|_| {
        bench.runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..calls {
                if let Ok(interception) = once() {
                    failed += u32::from(!matches!(host.call(interception).await, Verdict::Continue { .. }));
                }
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
    }));
    if failed > 0 {
        return Err(io::Error::other("a component failed"));
    }
    let without = median((0..rounds).map(|_| {
        let started = Instant::now();
        (0..calls).for_each(|_| drop(black_box(once())));
        started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    }));
    report.add(format!("a call of {name}"), with - without, "us", goal);
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = size as f64 / 1e6;
    report.add(format!("compiling {name}, {megabytes:.1} MB"), took, "ms", Goal::None);
    Ok(())
}

fn load(bench: &Bench, host: &Host, digest: [u8; 32], code: Bytes) -> io::Result<Component> {
    bench.runtime.block_on(host.load(digest, code)).map_err(io::Error::other)
}
