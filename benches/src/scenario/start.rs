//! From exec to the first 200: the gateway with the petstore, on its second start, against its Envoy alone.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::milliseconds;
use crate::Bench;
use crate::bare::{Bare, Configuration};
use crate::gateway::{Gateway, free_port};
use crate::load::{Connection, get};
use crate::process::ANY_CORE;
use crate::project::Project;
use crate::report::{Goal, Report, median};

const PETSTORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/petstore/swagger.json");
/// Between two attempts to be answered.
const INTERVAL: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(20);

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("start");
    let (artifact, data) = (directory.join("petstore.mgw"), directory.join("data"));
    let mut definition: Value = serde_json::from_slice(&fs::read(Path::new(PETSTORE))?)?;
    if let Some(fields) = definition.as_object_mut() {
        fields.insert("host".to_owned(), bench.backend.to_string().into());
    }
    let project = Project::create(directory.join("petstore"))?;
    project.define("petstore", &definition)?;
    project.build(&bench.gateway, &artifact)?;

    // The first start makes keys and certificates.
    let (gateway, live) = Gateway::run(bench, &artifact, &data)?;
    let key = Gateway::api_key(bench, &live)?;
    drop(gateway);
    let request = get("/v2/pet/1", &[("api_key", &key)]);
    let bare = Configuration::without_filter(&artifact, &directory.join("bare"))?;

    let (mut ours, mut alone, mut until_live) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let started = Instant::now();
        let envoy = Bare::start(bench, ANY_CORE, &bare)?;
        alone.push(first_answer(bench, envoy.http, &request, started)?);
        drop(envoy);

        let port = free_port()?;
        let started = Instant::now();
        let gateway = Gateway::start(bench, ANY_CORE, &artifact, &data, port)?;
        ours.push(first_answer(bench, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &request, started)?);
        until_live.push(milliseconds(gateway.wait_until_live()?.at - started));
    }
    let (ours, alone) = (median(ours), median(alone));
    report.add("exec to first 200, bare Envoy", alone, "ms", Goal::None);
    report.add("exec to first 200, second start", ours, "ms", Goal::None);
    report.add("exec to live line, second start", median(until_live), "ms", Goal::None);
    report.add("start: more than bare Envoy", ours - alone, "ms", Goal::AtMost(150.0));
    Ok(())
}

/// Milliseconds from `started` to the first 200.
fn first_answer(bench: &Bench, address: SocketAddr, request: &[u8], started: Instant) -> io::Result<f64> {
    bench.runtime.block_on(async {
        loop {
            let status = async { Connection::open(address).await?.ask(request).await }.await;
            match status {
                Ok(200) => return Ok(milliseconds(started.elapsed())),
                _ if started.elapsed() > PATIENCE => {
                    return Err(io::Error::other(format!("no answer from {address}: {status:?}")));
                }
                _ => tokio::time::sleep(INTERVAL).await,
            }
        }
    })
}
