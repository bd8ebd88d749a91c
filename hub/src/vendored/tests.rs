use std::collections::BTreeSet;

use super::*;

fn package(version: &str) -> Package {
    let directory = tempfile::tempdir().unwrap();
    let text =
        format!("name: stamp\nversion: {version}\ndescription: x\nrequest:\n  - headers: {{set: {{X-By: me}}}}\n");
    fs::write(directory.path().join("policy.yaml"), text).unwrap();
    fs::create_dir(directory.path().join("tests")).unwrap();
    fs::write(directory.path().join("tests/a.yaml"), "[]").unwrap();
    Package::from_directory(directory.path()).unwrap()
}

fn origin() -> Origin {
    Origin { source: "../stamp".to_owned(), manifest: None }
}

fn files(root: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    files
}

fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn policies_come_change_and_go() {
    let project = tempfile::tempdir().unwrap();
    let root = project.path();
    let mut vendored = Vendored::open(root).unwrap();
    vendored.add("mark", &package("1.0.0"), origin()).unwrap();
    let all = names(["policies.lock", "policies/mark/policy.yaml", "policies/mark/tests/a.yaml"]);
    assert_eq!(files(root), all);
    assert_eq!(vendored.state("mark").0, State::Locked);
    assert!(matches!(vendored.add("mark", &package("1.0.0"), origin()), Err(VendorError::Taken(_))));
    assert!(matches!(vendored.add("../x", &package("1.0.0"), origin()), Err(VendorError::Name(_))));
    drop(vendored);

    let mut vendored = Vendored::open(root).unwrap();
    let locked = &vendored.lock().policies["mark"];
    assert_eq!(
        (locked.package.as_str(), locked.version.as_str(), locked.source.as_str()),
        ("stamp", "1.0.0", "../stamp")
    );
    vendored.update("mark", &package("1.1.0"), origin(), false).unwrap();
    assert_eq!((vendored.lock().policies["mark"].version.as_str(), files(root)), ("1.1.0", all));
    // Whatever was changed is not lost by accident.
    fs::write(root.join("policies/mark/tests/b.yaml"), "[]").unwrap();
    assert_eq!(vendored.state("mark").0, State::Changed);
    assert!(matches!(vendored.update("mark", &package("1.2.0"), origin(), false), Err(VendorError::Changed(_))));
    assert!(matches!(vendored.remove("mark", false), Err(VendorError::Changed(_))));
    vendored.update("mark", &package("1.2.0"), origin(), true).unwrap();
    assert_eq!(vendored.state("mark").0, State::Locked);
    fs::write(root.join("policies/mark/.hidden"), "").unwrap();
    assert_eq!(vendored.state("mark").0, State::Changed);
    fs::remove_dir_all(root.join("policies/mark")).unwrap();
    assert_eq!(vendored.state("mark").0, State::Missing);
    vendored.update("mark", &package("1.2.0"), origin(), false).unwrap();
    vendored.remove("mark", false).unwrap();
    assert_eq!(files(root), BTreeSet::new());
    assert!(matches!(vendored.remove("mark", true), Err(VendorError::Unknown(_))));
    vendored.add("stamp", &package("1.0.0"), origin()).unwrap();
    vendored.keep("stamp").unwrap();
    assert_eq!(vendored.state("stamp").0, State::Own);
    assert_eq!(files(root), names(["policies/stamp/policy.yaml", "policies/stamp/tests/a.yaml"]));
    assert_eq!(vendored.names().unwrap(), ["stamp"]);
}

#[test]
fn what_fails_leaves_everything_as_it_was() {
    let project = tempfile::tempdir().unwrap();
    let root = project.path();
    let mut vendored = Vendored::open(root).unwrap();
    // Where directories are wanted, there is a file.
    fs::write(root.join("policies"), "").unwrap();
    assert!(matches!(vendored.add("mark", &package("1.0.0"), origin()), Err(VendorError::Disk(..))));
    assert_eq!((files(root), vendored.lock().policies.len()), (names(["policies"]), 0));
    fs::remove_file(root.join("policies")).unwrap();
    fs::create_dir(root.join("policies")).unwrap();
    fs::write(root.join("policies/mark.yaml"), "").unwrap();
    assert!(matches!(vendored.add("mark", &package("1.0.0"), origin()), Err(VendorError::Taken(_))));
    assert_eq!(files(root), names(["policies/mark.yaml"]));
    drop(vendored);
    fs::write(root.join(LOCK), "version = 1\nx = 1\n").unwrap();
    assert!(matches!(Vendored::open(root), Err(VendorError::Lock(_))));
}

#[test]
fn one_at_a_time() {
    let project = tempfile::tempdir().unwrap();
    let root = project.path();
    std::thread::scope(|scope| {
        for index in 0..8 {
            scope.spawn(move || {
                Vendored::open(root).unwrap().add(&format!("p{index}"), &package("1.0.0"), origin()).unwrap();
            });
        }
    });
    assert_eq!(Vendored::open(root).unwrap().names().unwrap().len(), 8);
}
