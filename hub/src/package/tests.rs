use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const POLICY: &str =
    "name: stamp\nversion: 1.2.0\ndescription: Says who it was.\nrequest:\n  - headers: {set: {X-By: me}}\n";

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = directory.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    directory
}

/// An entry as nobody would pack it.
fn entry(name: &[u8], kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o777);
    let field = &mut header.as_mut_bytes()[..100];
    field[..name.len()].copy_from_slice(name);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entry(b"policy.yaml", EntryType::Regular, POLICY.as_bytes());
    bytes.extend(entries.concat());
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn a_directory_is_packed_and_unpacked() {
    let long = format!("{}/{}.yaml", "d".repeat(90), "f".repeat(90));
    let files = [("policy.yaml", POLICY), ("README.md", "# stamp\n"), ("tests/a.yaml", "[]"), (&long, "")];
    let made = directory(&files);
    fs::write(made.path().join(".DS_Store"), "x").unwrap();
    fs::create_dir(made.path().join("empty")).unwrap();
    let package = Package::from_directory(made.path()).unwrap();
    assert_eq!((package.manifest.name.as_str(), package.manifest.version.as_str()), ("stamp", "1.2.0"));
    assert_eq!(package.files().count(), 4);
    let tar = package.to_tar().unwrap();
    let unpacked = Package::from_tar(&tar).unwrap();
    assert_eq!((&unpacked, unpacked.digest(), unpacked.to_tar().unwrap()), (&package, package.digest(), tar));
    let other = tempfile::tempdir().unwrap();
    package.write_to(other.path()).unwrap();
    assert_eq!(Package::from_directory(other.path()).unwrap(), package);
    // As others pack it: with directories, and a dot in front.
    let mut builder = Builder::new(Vec::new());
    builder.append_dir_all(".", other.path()).unwrap();
    assert_eq!(Package::from_tar(&builder.into_inner().unwrap()).unwrap().digest(), package.digest());
}

#[test]
fn hostile_archives_are_refused() {
    for (name, kind, expected) in [
        (b"../x".as_slice(), EntryType::Regular, "`../x` cannot be in a policy"),
        (b"/etc/x", EntryType::Regular, "`/etc/x` cannot be in a policy"),
        (b"a/../../x", EntryType::Regular, "cannot be in a policy"),
        (b"a//x", EntryType::Regular, "cannot be in a policy"),
        (b"./../x", EntryType::Regular, "cannot be in a policy"),
        (b"a\\x", EntryType::Regular, "cannot be in a policy"),
        (b"a\nb", EntryType::Regular, "`a\\nb` cannot be in a policy"),
        (b".git/config", EntryType::Regular, "cannot be in a policy"),
        (b"\xff", EntryType::Regular, "not in UTF-8"),
        (b"../d/", EntryType::Directory, "cannot be in a policy"),
        (b"x", EntryType::Symlink, "`x` is a link"),
        (b"x", EntryType::Link, "`x` is a link"),
        (b"x", EntryType::Char, "`x` is a device"),
        (b"x", EntryType::Block, "`x` is a device"),
        (b"x", EntryType::Fifo, "`x` is a device"),
        (b"x", EntryType::GNUSparse, "it is no tar"),
        (b"x", EntryType::XGlobalHeader, "`x` is of an unknown kind"),
        (b"policy.yaml", EntryType::Regular, "`policy.yaml` is there twice"),
        (b"POLICY.yaml", EntryType::Regular, "`POLICY.yaml` is there twice"),
    ] {
        let error = Package::from_tar(&archive(&[entry(name, kind, b"")])).unwrap_err().to_string();
        assert!(error.contains(expected), "{name:?} {kind:?}: {error}");
    }
    let many: Vec<Vec<u8>> =
        (0..MAX_FILES).map(|index| entry(format!("f{index}").as_bytes(), EntryType::Regular, b"")).collect();
    assert!(Package::from_tar(&archive(&many)).unwrap_err().to_string().contains("more than 256 files"));
    let directories = vec![entry(b"d/", EntryType::Directory, b""); 2 * MAX_FILES + 1];
    assert!(Package::from_tar(&archive(&directories)).unwrap_err().to_string().contains("more than 256 files"));
    // One that says to be larger than it is, and one that is too large.
    let mut header = Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_size(MAX_FILE + 1);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    let error = Package::from_tar(&archive(&[header.as_bytes().to_vec()])).unwrap_err().to_string();
    assert!(error.contains("`big` has more than 16 MiB"), "{error}");
    header.set_size(5000);
    header.set_cksum();
    assert!(Package::from_tar(&archive(&[header.as_bytes().to_vec()])).is_err());
    let cut = archive(&[entry(b"x", EntryType::Regular, &[1; 4000])]);
    assert!(Package::from_tar(&cut[..cut.len() - 4000]).is_err());
    assert!(matches!(Package::from_tar(&[0; 1024]).unwrap_err(), PackageError::NoManifest));
}

#[test]
fn what_is_no_package() {
    let no_manifest = directory(&[("README.md", "x")]);
    assert!(matches!(Package::from_directory(no_manifest.path()).unwrap_err(), PackageError::NoManifest));
    let bad = directory(&[("policy.yaml", "name: stamp\nversion: 1.0.0\ndescription: x\nrespons: []\n")]);
    let error = Package::from_directory(bad.path()).unwrap_err().to_string();
    assert!(error.contains("policy.yaml:4:1: a policy has no key `respons`"), "{error}");
    let bare = directory(&[("policy.yaml", "name: stamp\nversion: 1.0.0\ndescription: x\ninterceptor: stamp.wasm\n")]);
    assert!(matches!(Package::from_directory(bare.path()).unwrap_err(), PackageError::NoComponent(_)));
    fs::write(bare.path().join("stamp.wasm"), "").unwrap();
    assert!(Package::from_directory(bare.path()).is_ok());
    let linked = directory(&[("policy.yaml", POLICY)]);
    symlink("/etc/passwd", linked.path().join("README.md")).unwrap();
    assert!(Package::from_directory(linked.path()).unwrap_err().to_string().contains("`README.md` is a link"));
    let spaced = directory(&[("policy.yaml", POLICY), ("a b.md", "")]);
    assert!(Package::from_directory(spaced.path()).unwrap_err().to_string().contains("`a b.md` cannot be"));
    assert!(Package::from_directory(Path::new("/nowhere")).is_err());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_compressed_is_unpacked_as_far_as_it_may_be_long() {
    let plain = archive(&[entry(b"README.md", EntryType::Regular, b"x")]);
    let whole = Package::from_tar(&plain).unwrap();
    assert_eq!(Package::from_gzip(&gzip(&plain), None).unwrap(), whole);
    // Of two members it is what both say.
    let (one, other) = plain.split_at(700);
    assert_eq!(Package::from_gzip(&[gzip(one), gzip(other)].concat(), None).unwrap(), whole);
    // Made of a directory.
    let below = [
        entry(b"stamp/", EntryType::Directory, b""),
        entry(b"stamp/policy.yaml", EntryType::Regular, POLICY.as_bytes()),
        entry(b"stamp/README.md", EntryType::Regular, b"x"),
    ];
    let below = gzip(&[below.concat(), vec![0; 1024]].concat());
    assert_eq!(Package::from_gzip(&below, Some("stamp")).unwrap(), whole);
    assert!(matches!(Package::from_gzip(&below, Some("sta")), Err(PackageError::NoManifest)));
    assert!(Package::from_gzip(&below, None).is_err());
    for out in [&b"stamp/../../x"[..], b"stamp//etc/x", b"stamp/.x"] {
        let out = gzip(&archive(&[entry(out, EntryType::Regular, b"x")]));
        assert!(matches!(Package::from_gzip(&out, Some("stamp")), Err(PackageError::Content(_))));
    }

    let packed = gzip(&plain);
    assert!(matches!(Package::from_gzip(&packed[..packed.len() - 9], None), Err(PackageError::Gzip(_))));
    assert!(matches!(Package::from_gzip(&[&packed[..], b"more"].concat(), None), Err(PackageError::Gzip(_))));
    assert!(matches!(Package::from_gzip(b"", None), Err(PackageError::NoManifest | PackageError::Gzip(_))));
    let mut flipped = packed.clone();
    let sum = flipped.len() - 8;
    flipped[sum] ^= 1;
    assert!(matches!(Package::from_gzip(&flipped, None), Err(PackageError::Gzip(_))));
    // A megabyte that would be a gigabyte.
    let zeros = gzip(&vec![0; 16 << 20]);
    let bomb = zeros.repeat(64);
    assert!(bomb.len() < 8 << 20);
    assert!(matches!(Package::from_gzip(&bomb, None), Err(PackageError::TooLarge)));
}

proptest! {
    #[test]
    fn never_panics(mut bytes in any::<Vec<u8>>(), at in 0usize..2048, byte in any::<u8>()) {
        let _ = Package::from_tar(&bytes);
        let mut sound = archive(&[entry(b"README.md", EntryType::Regular, b"x")]);
        let length = sound.len();
        sound[at % length] = byte;
        let _ = Package::from_tar(&sound);
        sound.append(&mut bytes);
        let _ = Package::from_tar(&sound);
    }
}
