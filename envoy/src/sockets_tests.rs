use super::*;

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn only_we_may_enter() {
    let scratch = scratch();
    let directory = SocketDir::open(&scratch.path().join("a/b")).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
    let socket = directory.sockets().xds;
    let _listener = bind(&socket).unwrap();
    assert_eq!(mode(&socket), 0o600);
    write_private(&directory.bootstrap(), b"{}").unwrap();
    write_private(&directory.bootstrap(), b"{ }").unwrap();
    assert_eq!((mode(&directory.bootstrap()), fs::read(directory.bootstrap()).unwrap()), (0o600, b"{ }".to_vec()));
}

#[test]
fn refuses_a_directory_that_others_may_enter() {
    let scratch = scratch();
    for exposed in [0o755, 0o710, 0o701] {
        fs::set_permissions(scratch.path(), Permissions::from_mode(exposed)).unwrap();
        assert!(matches!(SocketDir::open(scratch.path()), Err(SocketError::Exposed { mode, .. }) if mode == exposed));
    }
}

#[test]
fn refuses_links_and_files() {
    let scratch = scratch();
    let (link, file) = (scratch.path().join("link"), scratch.path().join("file"));
    std::os::unix::fs::symlink(scratch.path(), &link).unwrap();
    fs::write(&file, "").unwrap();
    assert!(matches!(SocketDir::open(&link), Err(SocketError::NotDirectory(_))));
    assert!(SocketDir::open(&file).is_err());
}

#[test]
fn removes_what_a_predecessor_left() {
    let scratch = scratch();
    let directory = SocketDir::open(scratch.path()).unwrap();
    let sockets = directory.sockets();
    drop((bind(&sockets.xds).unwrap(), bind(&sockets.admin).unwrap()));
    drop(directory);

    let _directory = SocketDir::open(scratch.path()).unwrap();
    assert!(!sockets.xds.exists());
    assert!(sockets.admin.exists(), "an Envoy may still be there");
}

#[test]
fn one_gateway_per_directory() {
    let scratch = scratch();
    let first = SocketDir::open(scratch.path()).unwrap();
    let _listener = bind(&first.sockets().authz).unwrap();
    assert!(matches!(SocketDir::open(scratch.path()), Err(SocketError::InUse(_))));
    assert!(first.sockets().authz.exists());
    drop(first);
    SocketDir::open(scratch.path()).unwrap();
}

#[test]
fn removes_nothing_but_sockets() {
    let scratch = scratch();
    let file = SocketPaths::within(scratch.path()).issuer;
    fs::write(&file, "precious").unwrap();
    assert!(matches!(SocketDir::open(scratch.path()), Err(SocketError::NotSocket(path)) if path == file));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn the_kernel_limits_the_length_of_a_path() {
    let scratch = scratch();
    let room = MAX_PATH - LONGEST_NAME - scratch.path().as_os_str().len() - 1;
    let longest = scratch.path().join("x".repeat(room));
    let directory = SocketDir::open(&longest).unwrap();
    bind(&directory.sockets().issuer).unwrap();
    let error = SocketDir::open(&scratch.path().join("x".repeat(room + 1))).unwrap_err();
    assert!(error.to_string().ends_with("choose one of at most 95 bytes"), "{error}");
    assert!(matches!(SocketDir::open(Path::new("run")), Err(SocketError::Relative(_))));
}

#[test]
fn private_directories_are_distinct_and_vanish() {
    let scratch = scratch();
    let first = SocketDir::private_below(scratch.path()).unwrap();
    let second = SocketDir::private_below(scratch.path()).unwrap();
    let paths = [first.path().to_owned(), second.path().to_owned()];
    assert_ne!(paths[0], paths[1]);
    assert_eq!(mode(&paths[0]), 0o700);
    drop((first, second));
    assert!(!paths[0].exists() && !paths[1].exists());
}
