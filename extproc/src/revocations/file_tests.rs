use microgw_engine::{RevocationName, Revoked, Standing};
use serde_json::json;

use super::super::RevocationSettings;
use super::*;
use crate::metrics::Metrics;
use std::time::Duration;

fn name(id: &str) -> RevocationName {
    Revoked::TokenId(id).name()
}

fn start(file: &Path, most: usize) -> Arc<Revocations> {
    let settings =
        RevocationSettings { most, keep: None, allow_stale: false, file: Some(file.to_owned()), stream: false };
    let revocations = Revocations::new(settings, &Metrics::new());
    revocations.follow_file();
    revocations
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_is_followed_and_what_it_says_last_counts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("revoked.jsonl");
    let revocations = start(&file, 10);
    revocations.settle(Duration::from_millis(50)).await;
    assert_eq!(revocations.standing(&[name("a")]), Standing::Unknown, "there is no file yet");
    fs::write(&file, "").unwrap();
    eventually("an empty file is complete", || revocations.standing(&[name("a")]) == Standing::Good).await;
    add_to_file(&file, &[json!({"jti": "a"})]).unwrap();
    eventually("it is revoked", || revocations.standing(&[name("a")]) == Standing::Revoked).await;
    fs::write(&file, format!("[{}]", json!({"jti": "b", "exp": now().0 + 60}))).unwrap();
    eventually("an array is read, too", || revocations.standing(&[name("b")]) == Standing::Revoked).await;
    assert_eq!(revocations.standing(&[name("a")]), Standing::Good, "what is no longer listed is not revoked");
    fs::write(&file, "{\"jti\":\"c\"}\n{\"jti\":").unwrap();
    eventually("what cannot be read is no feed", || revocations.standing(&[name("c")]) == Standing::Unknown).await;
    assert_eq!(revocations.standing(&[name("b")]), Standing::Revoked, "what was known stays known");
}

#[tokio::test]
async fn more_than_there_is_room_for_lets_nobody_in_until_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("revoked.jsonl");
    fs::write(&file, "{\"jti\":\"a\"}\n{\"jti\":\"b\"}\n").unwrap();
    let revocations = start(&file, 1);
    revocations.settle(Duration::from_secs(20)).await;
    assert_eq!(revocations.standing(&[name("x")]), Standing::Unknown);
    fs::write(&file, "{\"jti\":\"b\"}\n").unwrap();
    eventually("it fits", || revocations.standing(&[name("x")]) == Standing::Good).await;
    assert_eq!(revocations.standing(&[name("b")]), Standing::Revoked);
}

#[test]
fn adding_leaves_out_what_has_ended_and_keeps_the_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("revoked.jsonl");
    fs::write(&file, "{\"jti\":\"old\",\"exp\":1000}\n\n{\"jti\":\"kept\",\"note\":\"x\"}\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    add_to_file(&file, &[json!({"user": "alice"})]).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, "{\"jti\":\"kept\",\"note\":\"x\"}\n{\"user\":\"alice\"}\n");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert!(matches!(add_to_file(&file, &[json!({"nobody": 1})]), Err(FileError::Entry(1, EntryError::Kind))));
    fs::write(&file, "nonsense").unwrap();
    assert!(matches!(add_to_file(&file, &[]), Err(FileError::Json(1))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "nonsense", "nothing is lost");
}
