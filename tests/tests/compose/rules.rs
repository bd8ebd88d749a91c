//! What the files must say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::file::{self, Condition, Mounted, Seconds};
use crate::image::{Dockerfile, Instruction, user};
use crate::{compose_file, repository};

#[test]
fn it_is_a_compose_file() {
    // From the Compose Specification: data/NOTICE.
    let schema: Value = serde_json::from_str(include_str!("data/compose-spec.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let document = file::document(&repository().join("docker-compose.yml"));
    let problems: Vec<_> =
        schema.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // It would say so.
    for (at, wrong) in [
        ("/services/gateway/healthcheck/test", json!(7)),
        ("/services/gateway/depends_on", json!({ "envoy": { "condition": "service_ready" } })),
        ("/services/envoy/read_onyl", json!(true)),
        ("/volumes/data", json!("data")),
    ] {
        let mut broken = document.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[name] = wrong;
        assert!(!schema.is_valid(&broken), "{at}");
    }
}

#[test]
fn every_service_is_shut_in() {
    let file = compose_file(&BTreeMap::new());
    let users: BTreeSet<_> = file.services.values().map(|service| user(&service.user)).collect();
    assert_eq!(users.len(), 1, "sockets are for one user: {users:?}");
    assert!(users.iter().all(|(uid, gid)| *uid > 0 && *gid > 0), "{users:?}");
    for (name, service) in &file.services {
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        // A whole version, not one that moves.
        let tag = service.image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: no tag")).1;
        let version = tag.trim_start_matches("distroless-").trim_start_matches('v').split('-').next().unwrap();
        assert!(version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok()), "{tag}");
        let alone = service.network_mode.as_deref() == Some("none");
        assert_eq!(alone, service.networks.is_empty(), "{name}: in networks that are named, or in none");
        assert!(service.networks.iter().all(|network| file.networks.contains_key(network)), "{name}");
        for port in &service.ports {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to others");
        }
        for volume in &service.volumes {
            match volume {
                Mounted::Short(text) => assert_eq!(text.split(':').count(), 2, "{name}: {text}"),
                Mounted::Long(bind) => assert!(bind.read_only, "{name}: {bind:?}"),
            }
        }
        for (variable, value) in &service.environment {
            let secret = ["password", "secret", "token"].iter().any(|word| variable.to_lowercase().contains(word));
            assert!(!secret || value.starts_with("$file{/run/secrets/"), "{name}: {variable} is not from a secret");
        }
        assert!(service.secrets.iter().all(|secret| file.secrets.contains_key(secret)), "{name}");
        assert!(service.profiles.len() <= 1 && !service.restart.is_empty(), "{name}");
    }
    // What others need has to say when it is there; Envoy's image has no program for it.
    for (name, service) in &file.services {
        let watched = ["gateway", "backend", "redis"].contains(&name.as_str());
        assert_eq!(service.healthcheck.is_some(), watched, "{name}");
        for (dependency, condition) in &service.depends_on {
            let needed = &file.services[dependency];
            assert!(*condition != Condition::Healthy || needed.healthcheck.is_some(), "{name}: {dependency}");
            assert!(needed.profiles.is_empty() || needed.profiles == service.profiles, "{name}: {dependency}");
        }
    }
    assert!(file.networks["backends"].as_ref().is_some_and(|network| network.internal));
    assert_eq!(file.services["backend"].networks, ["backends"]);
    assert!(file.services["backend"].ports.is_empty() && file.services["redis"].ports.is_empty());
    // All of Envoy's release, and no other.
    let pinned = microgw_envoy::PINNED_VERSION.to_string();
    assert!(file.services["envoy"].image.ends_with(&format!("-v{pinned}")), "{}", file.services["envoy"].image);
}

#[test]
fn there_is_time_for_what_takes_time() {
    let file = compose_file(&BTreeMap::new());
    assert_eq!(file.name, "micro-gw");
    for (name, service) in &file.services {
        let Some(check) = &service.healthcheck else { continue };
        // `micro-gw health` itself gives up after two seconds, and says why.
        assert!(Seconds(2) < check.timeout && check.timeout <= check.interval, "{name}: {check:?}");
        assert!(check.start_interval.is_some_and(|often| often < check.interval), "{name}: {check:?}");
    }
    let drain = &file.services["drain"];
    let milliseconds: u64 = drain.environment["envoyConfig_drainTimeout"].parse().unwrap();
    let grace = drain.stop_grace_period.unwrap_or(Seconds(10));
    assert!(Seconds(milliseconds.div_ceil(1000) + 5) < grace, "it would be killed while requests end: {grace:?}");
    let gateway = file.services["gateway"].healthcheck.as_ref().unwrap();
    assert!(gateway.start_period >= Some(Seconds(30)), "a large project takes its time to build");
}

#[test]
fn the_image_holds_what_is_built_and_nothing_else() {
    let repository = repository();
    let dockerfile = Dockerfile::read(&repository.join("Dockerfile"));
    let [build, last] = &dockerfile.stages[..] else { panic!("two stages") };

    let rust = env!("CARGO_PKG_RUST_VERSION");
    let toolchain = fs::read_to_string(repository.join("rust-toolchain.toml")).unwrap();
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(channel.starts_with(rust), "{channel}");
    assert_eq!(build.base, format!("rust:{channel}-bookworm"));
    assert!(build.all("ENV").any(|env| env.pairs().any(|pair| pair == ("RUSTUP_TOOLCHAIN".into(), channel.into()))));
    // Only the way that maps the paths of the build away builds.
    let builds = |run: &&Instruction| ["cargo ", ".ci/release "].iter().any(|command| run.text.contains(command));
    let builds: Vec<_> = build.all("RUN").filter(builds).collect();
    assert!(builds.len() == 1 && !builds[0].text.contains("cargo "), "{builds:?}");
    assert!(builds[0].text.contains("install -D -m 0755 target/dist/micro-gw "), "{builds:?}");
    let release = fs::read_to_string(repository.join(".ci/release")).unwrap();
    assert!(
        release.contains("build --locked --release --package micro-gw") && release.contains("--remap-path-prefix=")
    );

    // Both on Debian 12: one glibc. No shell; and a user, whatever the base says.
    assert_eq!(last.base, "gcr.io/distroless/cc-debian12:nonroot");
    assert!(last.all("RUN").next().is_none() && last.all("ADD").chain(build.all("ADD")).next().is_none());
    for copy in last.all("COPY") {
        assert_eq!(copy.copy().0.get("from"), build.name.as_ref(), "{copy:?}");
    }
    let made = dockerfile.image(Path::new("micro-gw"));
    let compose = compose_file(&BTreeMap::new());
    for service in compose.services.values().filter(|service| service.build.is_some()) {
        assert_eq!(made.user.as_ref(), Some(&service.user));
        assert_eq!(service.image, format!("micro-gw:{}", env!("CARGO_PKG_VERSION")));
    }
    let labels: BTreeMap<_, _> = last.all("LABEL").flat_map(|label| label.pairs().collect::<Vec<_>>()).collect();
    let label = |name: &str| labels.get(&format!("org.opencontainers.image.{name}")).map(String::as_str);
    assert_eq!(label("version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!((label("title"), label("licenses")), (Some("micro-gw"), Some("Apache-2.0")));
    // What the compose file runs is there.
    let program = Path::new(&made.entrypoint[0]);
    assert!(made.programs.contains_key(program), "{:?} in {:?}", program, made.programs);
    for service in compose.services.values().filter(|service| service.build.is_some()) {
        if let Some(check) = &service.healthcheck {
            assert_eq!((check.test[0].as_str(), check.test[1].as_str()), ("CMD", "micro-gw"));
        }
    }
}

/// What the build gets to see is all that it needs, and nothing that is secret or large.
#[test]
fn the_build_sees_source_alone() {
    let repository = repository();
    let text = fs::read_to_string(repository.join(".dockerignore")).unwrap();
    let mut rules = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "what is not named stays out");
    let mut rules: Vec<_> = rules.collect();
    // Of what is named, something can stay out after all.
    let left_out = rules.split_off(rules.iter().position(|rule| !rule.starts_with('!')).unwrap_or(rules.len()));
    let named: Vec<_> = rules.iter().map(|rule| &rule[1..]).collect();
    assert!(left_out.iter().all(|rule| !rule.starts_with(['!', '*'])), "{left_out:?}");
    assert!(named.iter().all(|name| !name.contains(['/', '*'])), "{named:?}");

    let context = tempfile::TempDir::new().unwrap();
    for name in &named {
        let from = repository.join(name);
        assert!(from.exists(), "there is no `{name}`");
        let copied = Command::new("cp").arg("-r").arg(&from).arg(context.path()).status().unwrap();
        assert!(copied.success(), "{name}");
    }
    for path in left_out.iter().map(|path| context.path().join(path)).filter(|path| path.exists()) {
        fs::remove_dir_all(path).unwrap();
    }
    // Every member of the workspace has its manifest and its source, and the lock file is right for them.
    let metadata = Command::new(env!("CARGO"))
        .current_dir(context.path())
        .args(["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "is every member of the workspace named in .dockerignore?\n{told}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap());
    assert!(packages.collect::<BTreeSet<_>>().contains("micro-gw"));
    // What is included when it is compiled lies inside.
    let mut pending = vec![context.path().to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                pending.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs")
                && !entry.iter().any(|part| part == "tests")
            {
                let source = fs::read_to_string(&entry).unwrap();
                for name in source.split("include_str!(\"").skip(1).filter_map(|rest| rest.split_once('"')) {
                    assert!(entry.with_file_name("").join(name.0).exists(), "{}: {}", entry.display(), name.0);
                }
            }
        }
    }
}
