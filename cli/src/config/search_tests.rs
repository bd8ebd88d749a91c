use super::*;

fn write(root: &Path, file: &str) -> PathBuf {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn the_order_of_places() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let mut places = Places {
        explicit: Some(write(root, "explicit.conf")),
        directory: Some(root.join("directory")),
        homes: vec![root.join("project"), root.join("cwd")],
        system: root.join("etc"),
    };
    for file in ["directory", "project/conf", "cwd/conf", "etc"] {
        write(root, &format!("{file}/micro-gw.conf"));
    }
    let found = |places: &Places| places.read().unwrap().map(|(_, text)| text);
    assert_eq!(found(&places).as_deref(), Some("explicit.conf"));
    places.explicit = None;
    assert_eq!(found(&places).as_deref(), Some("directory/micro-gw.conf"));
    places.directory = None;
    assert_eq!(found(&places).as_deref(), Some("project/conf/micro-gw.conf"));
    places.homes.remove(0);
    assert_eq!(found(&places).as_deref(), Some("cwd/conf/micro-gw.conf"));
    places.homes = vec![root.join("nowhere"), root.join("explicit.conf")];
    assert_eq!(found(&places).as_deref(), Some("etc/micro-gw.conf"));
    places.system = root.join("nowhere");
    assert_eq!(found(&places), None);
}

#[test]
fn what_was_named_must_be_there() {
    let scratch = tempfile::tempdir().unwrap();
    let system = write(scratch.path(), "micro-gw.conf").parent().unwrap().to_owned();
    let missing = scratch.path().join("missing");
    for places in [
        Places { explicit: Some(missing.clone()), system: system.clone(), ..Places::default() },
        Places { directory: Some(missing.clone()), system, ..Places::default() },
    ] {
        assert!(places.read().unwrap_err().0.starts_with(&missing));
    }
}

#[test]
fn what_is_there_must_be_readable() {
    let scratch = tempfile::tempdir().unwrap();
    let file = write(scratch.path(), "conf/micro-gw.conf");
    let system = write(scratch.path(), "etc/micro-gw.conf").parent().unwrap().to_owned();
    let places = Places { homes: vec![scratch.path().to_owned()], system, ..Places::default() };
    let too_long = vec![b'#'; usize::try_from(MAX_SIZE).unwrap() + 1];
    for content in [&b"\xff"[..], &too_long] {
        std::fs::write(&file, content).unwrap();
        assert_eq!(places.read().unwrap_err().0, file);
    }
    std::fs::write(&file, &too_long[1..]).unwrap();
    assert!(places.read().unwrap().is_some());
}
