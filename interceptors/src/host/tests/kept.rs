//! Compiled code for the next start: there, as it was written, ours alone, and not too much.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::host::kept::{Kept, Most};

/// A start: the component is loaded, and called.
async fn start(directory: &Path, wat: &str) -> Origin {
    let host = Arc::new(Host::keeping(directory.to_owned()));
    let stage = Stage::beside(&host, wat, LONG, "POST").await;
    passed(stage.request(&[], b"").await);
    stage.component.origin()
}

async fn is_compiled(directory: &Path, wat: &str) -> bool {
    match start(directory, wat).await {
        Origin::Compiler(_) => true,
        Origin::Disk(_) => false,
        Origin::Memory => panic!("nobody has it"),
    }
}

type Damage<'d> = &'d dyn Fn(&mut Vec<u8>);

/// What there is of code.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(versions) = fs::read_dir(directory.join("code/modules")) else { return Vec::new() };
    let files = versions.flat_map(|version| fs::read_dir(version.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_none()).collect()
}

#[tokio::test]
async fn what_was_compiled_is_there_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("compiled");
    let wat = fixtures::labels();
    assert!(is_compiled(&directory, &wat).await);
    assert!(!is_compiled(&directory, &wat).await);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    // By what is in it.
    assert!(is_compiled(&directory, &fixtures::idle()).await);
    assert!(!is_compiled(&directory, &wat).await);
    assert_eq!(files(&directory).len(), 2);
}

#[tokio::test]
async fn what_is_not_as_it_was_written_is_compiled_anew() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("compiled");
    let wat = fixtures::labels();
    assert!(is_compiled(&directory, &wat).await);
    let damages: [Damage<'_>; 5] = [
        &|code| code.truncate(code.len() / 2),
        &Vec::clear,
        &|code| code.fill(0),
        &|code| code.push(0),
        // It may well be read as other machine code.
        &|code| {
            let middle = code.len() / 2;
            code[middle] ^= 1;
        },
    ];
    for damage in damages {
        let [file] = &files(&directory)[..] else { panic!() };
        let mut code = fs::read(file).unwrap();
        damage(&mut code);
        fs::write(file, code).unwrap();
        assert!(is_compiled(&directory, &wat).await);
        assert!(!is_compiled(&directory, &wat).await);
    }
    // Nor is anything believed that is not on the list, or whose list is gone.
    let sums = directory.join("sha256sums");
    for text in ["", "nonsense", "  \n  "] {
        fs::write(&sums, text).unwrap();
        assert!(is_compiled(&directory, &wat).await);
        assert!(!is_compiled(&directory, &wat).await);
    }
    fs::remove_file(&sums).unwrap();
    // Nobody finished writing it.
    let [file] = &files(&directory)[..] else { panic!() };
    fs::write(file.with_extension("wip-atomic-write-mod"), "").unwrap();
    assert!(is_compiled(&directory, &wat).await);
    assert!(!is_compiled(&directory, &wat).await);
}

/// The component runs all the same, and nothing is read or written there.
#[tokio::test]
async fn where_others_can_write_nothing_is_kept() {
    let wat = fixtures::labels();
    for (mode, of_data) in [(0o770, 0o700), (0o777, 0o700), (0o755, 0o700), (0o700, 0o777), (0o700, 0o770)] {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("compiled");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(data.path(), Permissions::from_mode(of_data)).unwrap();
        for _ in 0..2 {
            assert!(is_compiled(&directory, &wat).await, "{mode:o} in {of_data:o}");
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{mode:o} in {of_data:o}");
    }
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let directory = data.path().join("compiled");
    symlink(elsewhere.path(), &directory).unwrap();
    assert!(is_compiled(&directory, &wat).await);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(&directory).unwrap();
    fs::write(&directory, "").unwrap();
    assert!(is_compiled(&directory, &wat).await);
    // Nobody replaces it there.
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), Permissions::from_mode(0o1777)).unwrap();
    assert!(is_compiled(&shared.path().join("compiled"), &wat).await);
    assert!(!is_compiled(&shared.path().join("compiled"), &wat).await);
}

#[test]
fn what_was_used_last_stays() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("compiled");
    let put = |name: &str, bytes: usize, age: u64| {
        let path = directory.join("code/modules/wasmtime-0").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let used = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        fs::File::options().append(true).open(&path).unwrap().set_modified(used).unwrap();
    };
    let names = || {
        let mut names: Vec<_> =
            files(&directory).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let kept = Kept::open(&directory, Most { bytes: 100, files: 3 }).unwrap();
    for (name, bytes, age) in [("a", 40, 50), ("b", 40, 40), ("c", 40, 30)] {
        put(name, bytes, age);
    }
    kept.remember().unwrap();
    assert_eq!(names(), ["b", "c"]);
    for (name, bytes, age) in [("d", 1, 20), ("e", 1, 10)] {
        put(name, bytes, age);
    }
    kept.remember().unwrap();
    assert_eq!(names(), ["c", "d", "e"]);
    // One that is larger than all is not kept, and takes nobody along.
    put("f", 101, 0);
    kept.remember().unwrap();
    assert_eq!(names(), ["c", "d", "e"]);
    drop(kept);
    Kept::open(&directory, Most { bytes: 100, files: 3 }).unwrap();
    assert_eq!(names(), ["c", "d", "e"]);
}
