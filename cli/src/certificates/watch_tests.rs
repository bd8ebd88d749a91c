use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const SOON: Duration = Duration::from_secs(20);

async fn sees(watch: &mut Watch, what: &str) {
    timeout(SOON, watch.changed()).await.unwrap_or_else(|_| panic!("{what} is not seen"));
}

#[tokio::test]
async fn every_way_to_change_a_file_is_seen() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("key"), "1").unwrap();
    let mut watch = Watch::new([at("key"), at("not there")]);

    fs::write(at("key"), "22").unwrap();
    sees(&mut watch, "a write in place").await;
    fs::write(at("fresh"), "33").unwrap();
    fs::rename(at("fresh"), at("key")).unwrap();
    sees(&mut watch, "a rename").await;
    fs::remove_file(at("key")).unwrap();
    sees(&mut watch, "a removal").await;
    fs::write(at("key"), "1").unwrap();
    sees(&mut watch, "another of that name").await;
    fs::write(at("not there"), "1").unwrap();
    sees(&mut watch, "one that was not there").await;
}

#[tokio::test]
async fn links_are_followed() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, content) in [("v1", "one"), ("v2", "two"), ("v3", "three")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("key"), content).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/key", at("key")).unwrap();
    let mut watch = Watch::new([at("key")]);

    // As Kubernetes does, twice: what leads to the files is followed anew each time.
    for version in ["v2", "v3"] {
        symlink(version, at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        fs::remove_dir_all(at(if version == "v2" { "v1" } else { "v2" })).unwrap();
        sees(&mut watch, version).await;
    }
    fs::write(at("v3").join("key"), "in place").unwrap();
    sees(&mut watch, "a write behind a link").await;
}

#[tokio::test]
async fn what_is_not_about_the_files_is_no_change() {
    let directory = TempDir::new().unwrap();
    let (file, other) = (directory.path().join("key"), directory.path().join("other"));
    fs::write(&file, "1").unwrap();
    let (mut watch, mut witness) = (Watch::new([file.clone()]), Watch::new([other.clone()]));
    fs::write(&other, "1").unwrap();
    fs::read(&file).unwrap();
    tokio::select! {
        () = watch.changed() => panic!("nothing changed"),
        // It waits until it is quiet: by then the first has been told as well.
        () = sees(&mut witness, "the other file") => {}
    }
    // A change while nobody waits is seen by who asks next.
    fs::write(&file, "22").unwrap();
    sees(&mut watch, "a change that nobody waited for").await;
    assert!(timeout(QUIET, Watch::new([]).changed()).await.is_err(), "without files nothing changes");
}
