//! One name among ten thousand whose address changes: how soon requests go there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, json};
use tokio::net::UdpSocket;

use super::milliseconds;
use crate::Bench;
use crate::backend;
use crate::gateway::Gateway;
use crate::load::{Connection, get};
use crate::project::Project;
use crate::report::{Goal, Report, median};

const DEFINITIONS: usize = 10;
const NAMES: usize = 10_000;
/// It is asked about each second, the others are not within a run.
const MOVING: usize = 7_777;
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Between two looks at it.
const INTERVAL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the moving name is, and when that was first told since it moved.
struct Moving {
    at: Ipv4Addr,
    told: Option<Instant>,
}

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("discovery");
    let (port, nameserver, moving) = bench.runtime.block_on(servers())?;
    let project = Project::create(directory.join("shop"))?;
    for index in 0..DEFINITIONS {
        let numbers = (0..NAMES).filter(|number| number % DEFINITIONS == index);
        let paths: Map<_, _> = numbers
            .map(|number| {
                let urls = [format!("http://n{number}.test:{port}")];
                let get = json!({ "security": [], "responses": {}, "x-wso2-production-endpoints": { "urls": urls } });
                (format!("/n{number}"), json!({ "get": get }))
            })
            .collect();
        let definition = json!({
            "openapi": "3.0.3", "info": { "title": format!("names {index}"), "version": "1" },
            "servers": [{ "url": "http://127.0.0.1" }], "x-wso2-basePath": format!("/names{index}"), "paths": paths,
        });
        project.define(&format!("names{index}"), &definition)?;
    }
    let artifact = directory.join("shop.mgw");
    project.build(&bench.gateway, &artifact)?;
    let setting = format!("--discovery.nameservers={nameserver}");
    let (_gateway, live) = Gateway::run_with(bench, &artifact, &directory.join("data"), &[setting])?;
    let rounds = (0..bench.rounds).map(|round| {
        let (at, status) = if round.is_multiple_of(2) { (THERE, 204) } else { (HERE, 200) };
        *moving.lock().unwrap_or_else(PoisonError::into_inner) = Moving { at, told: None };
        bench.runtime.block_on(seen(live.http, status, &moving))
    });
    let times: Vec<f64> = rounds.collect::<io::Result<_>>()?;
    report.add("discovery: one of 10,000 names moves, first request there", median(times), "ms", Goal::AtMost(1000.0));
    Ok(())
}

/// Backends on two addresses with one port, and a name server.
async fn servers() -> io::Result<(u16, SocketAddr, Arc<Mutex<Moving>>)> {
    let port = backend::start_at((HERE, 0).into(), backend::ANSWER).await?.port();
    backend::start_at((THERE, port).into(), b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let (address, moving) = (socket.local_addr()?, Arc::new(Mutex::new(Moving { at: HERE, told: None })));
    let zone = Arc::clone(&moving);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(buffer.get(..length).unwrap_or_default(), &zone) {
                // Whoever does not hear it asks again.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok((port, address, moving))
}

/// RFC 1035 section 4: the question, and one address of version 4.
fn answer(question: &[u8], moving: &Mutex<Moving>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name_length = question.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let name = question.get(HEADER..HEADER + name_length)?;
    let asked = question.get(..HEADER + name_length + 4)?;
    let is_a = asked.ends_with(&[0, 1, 0, 1]);
    let moves = name.starts_with(&[&[5][..], format!("n{MOVING}").as_bytes()].concat());
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(asked.get(HEADER..)?);
    if is_a {
        let mut moving = moving.lock().unwrap_or_else(PoisonError::into_inner);
        let (address, ttl) = if moves { (moving.at, 1_u32) } else { (HERE, 3600) };
        if moves {
            moving.told.get_or_insert_with(Instant::now);
        }
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// Milliseconds from when it was told that the name has moved until a request goes there.
async fn seen(gateway: SocketAddr, status: u16, moving: &Mutex<Moving>) -> io::Result<f64> {
    let request = get(&format!("/names{}/n{MOVING}", MOVING % DEFINITIONS), &[]);
    let started = Instant::now();
    let mut connection = Connection::open(gateway).await?;
    while connection.ask(&request).await? != status {
        if started.elapsed() > PATIENCE {
            return Err(io::Error::other("the change was never seen"));
        }
        tokio::time::sleep(INTERVAL).await;
    }
    let told = moving.lock().unwrap_or_else(PoisonError::into_inner).told;
    told.map(|told| milliseconds(told.elapsed())).ok_or_else(|| io::Error::other("seen before it was told"))
}
