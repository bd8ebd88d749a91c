//! `micro-gw drain`: an Envoy of somebody else's ends its requests before it is stopped.

use std::process::Stdio;

use microgw_tests::backend::Backend;
use microgw_tests::envoy::Envoy;
use microgw_tests::gateway::{Gateway, client, command, micro_gw};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{PATIENCE, envoy_is_here, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

const ARTIFACT: &str = "shop/target/shop.mgw";

#[tokio::test]
async fn what_is_stopped_first_drains_envoy_for_all() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let open = get(&json!([]));
    project.define("shop", &definition("Shop", "/shop", backend.address, &json!({ "/open": open, "/held": open })));
    project.build().await;
    let sockets = project.directory().join("sockets");
    let sockets_text = sockets.to_str().unwrap();
    let mut service = Gateway::start(project.directory(), "serve", ARTIFACT, &["--sockets", sockets_text]);
    let envoy = Envoy::start(project.directory(), ARTIFACT, &sockets, |_| {}).await;
    let (http, _) = envoy.addresses().await;
    service.wait_until_live().await;

    let arguments = ["drain", "--on-stop", "--sockets", sockets_text, "--envoyConfig.drainTimeout=20000"];
    let mut guard = Command::new(micro_gw())
        .current_dir(project.directory())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = guard.id().unwrap();
    let listens = 1u64 << (Signal::SIGTERM as u32 - 1);
    eventually("it waits to be told", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        (u64::from_str_radix(caught.trim(), 16).ok()? & listens != 0).then_some(())
    })
    .await;
    let held = tokio::spawn(client().get(format!("http://{http}/shop/held")).send());
    eventually("it has arrived", async || (backend.requests() == 1).then_some(())).await;
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGTERM).unwrap();
    let open = format!("http://{http}/shop/open");
    eventually("connections are closed", async || {
        let answer = client().get(&open).send().await.ok()?;
        assert_eq!(answer.status(), 200, "who still comes is served");
        answer.headers().get("connection").is_some_and(|value| value == "close").then_some(())
    })
    .await;
    assert!(guard.try_wait().unwrap().is_none() && !held.is_finished());
    backend.release();
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    let exit = timeout(PATIENCE, guard.wait()).await.unwrap().unwrap();
    assert!(exit.success(), "{exit}");
    assert!(client().get(&open).send().await.is_err(), "nothing listens any more");

    // At once, if it is not to wait; and where there is nothing to drain.
    let again = command(project.directory(), &["drain", "--sockets", sockets_text]).await;
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    drop(envoy);
    let gone = command(project.directory(), &["drain", "--sockets", "/nowhere"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("cannot reach Envoy"), "{gone:?}");
}
