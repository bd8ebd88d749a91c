//! Every target on stable Rust: the corpus as it is, then mutations of it, the same in every run.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use microgw_fuzz::mutate::{Random, mutate};
use microgw_fuzz::{TARGETS, Target};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// In the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = folder("corpus").join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Keeps an input that fails, so that it can be looked at, and then become a seed.
fn guarded(target: &Target, input: &[u8]) -> &'static str {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|_| {
        let found = folder("found");
        fs::create_dir_all(&found).unwrap();
        let file = found.join(format!("seeded-{}", target.name));
        fs::write(&file, input).unwrap();
        panic!("`{}` fails with the input in {}", target.name, file.display());
    })
}

fn seeded(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(target);
    let reached: Vec<&str> = corpus.iter().map(|input| guarded(target, input)).collect();
    for wanted in target.reaches {
        assert!(reached.contains(wanted), "no input of the corpus reaches `{wanted}`");
    }
    let (mut random, mut far) = (Random::new(0x5EED), BTreeMap::<_, u32>::new());
    for _ in 0..target.mutations {
        *far.entry(guarded(target, &mutate(&mut random, &corpus, target.dictionary))).or_default() += 1;
    }
    println!("{name}: {far:?}");
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                seeded(stringify!($name));
            }
        )*

        /// None is forgotten here, in the manifest, or among the programs.
        #[test]
        fn every_target_is_run_everywhere() {
            let mut names = [$(stringify!($name)),*];
            names.sort_unstable();
            assert_eq!(TARGETS.map(|target| target.name), names);
            let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
            for name in names {
                let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
                assert!(program.contains(&format!("microgw_fuzz::{name}::run(data)")), "{name}");
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! {
    artifact certificate check check_bytes claims client_address conditions contract envoy_log exchanges introspection issuer key_record key_store keys
    openapi package paths project_files proof query routes settings token transforms verdicts xds
}

#[test]
fn the_corpus_stays_small() {
    let size: u64 = TARGETS
        .iter()
        .flat_map(|target| fs::read_dir(folder("corpus").join(target.name)).unwrap())
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 1_000_000, "{size} bytes: minimise it, `make fuzz` says how");
}
