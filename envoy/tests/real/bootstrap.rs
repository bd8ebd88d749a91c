use microgw_envoy::{Overload, PINNED_VERSION, SocketDir, sockets};

use crate::testbed;

#[tokio::test]
async fn the_pinned_version_is_accepted() {
    let Some(envoy) = testbed::envoy() else { return };
    let version = envoy.check_version().await.unwrap();
    assert_eq!((version.major, version.minor), (PINNED_VERSION.major, PINNED_VERSION.minor));
}

#[tokio::test]
async fn envoy_accepts_the_bootstrap() {
    let Some(envoy) = testbed::envoy() else { return };
    let directory = SocketDir::private().unwrap();
    for overload in [Overload::default(), Overload { max_connections: 10, max_heap: Some(512 << 20) }] {
        let mut bootstrap = testbed::bootstrap(&directory);
        bootstrap.overload = overload;
        sockets::write_private(&directory.bootstrap(), bootstrap.to_json().as_bytes()).unwrap();
        let output = tokio::process::Command::new(envoy.path())
            .args(["--mode", "validate", "--config-path"])
            .arg(directory.bootstrap())
            .output()
            .await
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{overload:?}: {log}");
        assert!(!log.contains("[warning]"), "{overload:?}: {log}");
    }
}
