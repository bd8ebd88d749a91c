//! `make demo`, but for the release build: the script behind it, and the commands that it prints.

use std::path::Path;

use microgw_tests::container::{contained, containers_are_possible};
use microgw_tests::gateway::micro_gw;
use microgw_tests::{PATIENCE, envoy_is_here};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// Waits for what the script prints, tries it, and stops the script as Ctrl-C does.
const READER: &str = r#"
"$1" "$2" >out 2>log & demo=$!
until grep -q "Ctrl-C stops everything" out; do kill -0 $demo || { cat out log; exit 1; }; read -rt 0.05 <> <(:); done
grep '^  curl' out | while read -r command; do eval "$command -s -o body -w '%{http_code} '"; cat body; echo; done
kill -TERM $demo; wait $demo; echo "ended with $?"
curl -s http://127.0.0.1:9090/health || echo "nothing is left"
curl -s http://127.0.0.1:8080/ || echo "nor is the backend"
"#;

#[tokio::test]
async fn the_demo_does_what_it_says_and_leaves_nothing() {
    if !envoy_is_here() || !containers_are_possible().await {
        return;
    }
    let directory = TempDir::new().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo.sh");
    let mut reader = Command::new(contained());
    reader.args(["alone", "bash", "-c", READER, "bash"]).arg(&script).arg(micro_gw());
    reader.current_dir(directory.path()).env("TMPDIR", directory.path()).kill_on_drop(true);
    let output = timeout(PATIENCE, reader.output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = printed.lines().collect();
    let [pet, refused, status, ended, http, backend] = lines[..] else { panic!("{printed}") };
    assert!(pet.starts_with("200 {\"id\":1,\"name\":\"Rex\""), "{printed}");
    assert!(refused.starts_with("401 {\"fault\":{\"code\":900902"), "{printed}");
    assert!(status.starts_with("200 {") && status.contains("\"state\":\"live\""), "{printed}");
    assert_eq!((ended, http, backend), ("ended with 143", "nothing is left", "nor is the backend"));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| ["out", "log", "body"].iter().any(|own| name == own)), "{left:?}");
}
