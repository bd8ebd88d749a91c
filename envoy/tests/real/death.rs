use std::process::{Command, Stdio};

use microgw_envoy::EXEC_SUBCOMMAND;

use crate::testbed::{self, Testbed};

#[tokio::test]
async fn envoy_dies_with_its_parent() {
    let Some(envoy) = testbed::envoy() else { return };
    let bed = Testbed::new(envoy).await;
    let mut command = Command::new(testbed::launcher());
    command
        .arg(EXEC_SUBCOMMAND)
        .arg(std::process::id().to_string())
        .arg(bed.launch.envoy.path())
        .arg("--config-path")
        .arg(&bed.launch.bootstrap)
        .args(["--disable-hot-restart", "--concurrency", "1"])
        .stderr(Stdio::null());
    // To the kernel the parent is the thread.
    let (child, die) = testbed::on_mortal_thread(move || command.spawn().unwrap());
    let mut child = child.await.unwrap();
    bed.ready().await;
    assert!(child.try_wait().unwrap().is_none());

    drop(die);

    let status = testbed::within(tokio::task::spawn_blocking(move || child.wait().unwrap())).await.unwrap();
    assert!(status.success(), "{status}: not the way it ends on SIGTERM");
}

#[tokio::test]
async fn an_orphan_does_not_start() {
    let Some(envoy) = testbed::envoy() else { return };
    let output = Command::new(testbed::launcher())
        // Our parent, who is not the child's.
        .args([EXEC_SUBCOMMAND, &std::os::unix::process::parent_id().to_string()])
        .arg(envoy.path())
        .arg("--version")
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ended before"), "{output:?}");
}
