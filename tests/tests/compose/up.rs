//! `docker compose up`, and what comes after it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use microgw_envoy::Admin;
use microgw_tests::container::{Mount, Pod, Root, Spec, User, containers_are_possible};
use microgw_tests::gateway::command;
use microgw_tests::{PATIENCE, envoy_is_here, eventually};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::image::user;
use crate::page::{Kind, Page, Step};
use crate::{compose_file, repository};

const PASSWORD: &str = "correct horse battery staple";

/// What is needed is there. Without it a test is skipped, visibly; on CI it fails.
async fn possible() -> bool {
    envoy_is_here() && containers_are_possible().await
}

fn redis_is_here() -> bool {
    let found = Path::new("/usr/bin/redis-server").exists();
    assert!(found || std::env::var_os("CI").is_none(), "CI needs redis-server");
    if !found {
        eprintln!("SKIPPED: redis: there is no /usr/bin/redis-server");
    }
    found
}

/// What docs/docker.md has a reader do first: the hash of a password where the file expects it.
async fn engine(project: Option<&Path>) -> (Engine, String) {
    let directory = TempDir::new().unwrap();
    let secrets = directory.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::set_permissions(&secrets, Permissions::from_mode(0o700)).unwrap();
    let hash = microgw_extproc::users::hash_password(PASSWORD).unwrap();
    let file = secrets.join("admin-password.hash");
    fs::write(&file, format!("{hash}\n")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    let mut variables = BTreeMap::from([
        ("MICROGW_ADMIN_PASSWORD", file.display().to_string()),
        // Long enough for a slow machine; it ends when nothing is in flight.
        ("MICROGW_DRAIN_MS", "40000".to_owned()),
    ]);
    variables.extend(project.map(|project| ("MICROGW_PROJECT", project.display().to_string())));
    (Engine::new(&repository(), compose_file(&variables), directory).await, hash)
}

/// The sessions of docs/docker.md that are run here.
fn documented() -> Vec<Step> {
    let page = Page::read(&repository(), Path::new("docs/docker.md")).unwrap();
    let steps = page.blocks.into_iter().filter_map(|block| match block.kind {
        Kind::Elsewhere { test, steps, .. } if test == "compose" => Some(steps),
        _ => None,
    });
    steps.flatten().collect()
}

async fn run_session(engine: &Engine, steps: &[Step]) {
    assert!(steps.len() > 3, "docs/docker.md has a session");
    let directory = TempDir::new().unwrap();
    let mut script = "printf 'no-progress-meter\\n' > ~/.curlrc\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let out = directory.path().join(number.to_string());
        let (command, out) = (&step.command, out.display());
        // Writing to a string does not fail.
        let _ = writeln!(script, "{{\n{command}\n}} >{out} 2>&1 || echo \"it ends with $?\" >>{out}");
    }
    let mut shell = engine.outside(&["bash", "-c", &script]);
    let ran = timeout(PATIENCE, shell.output()).await.unwrap().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    for (number, step) in steps.iter().enumerate() {
        let printed = fs::read_to_string(directory.path().join(number.to_string())).unwrap();
        step.compare(&printed)
            .unwrap_or_else(|error| panic!("docs/docker.md:{}: {error}\n{}", step.line, engine.logs()));
    }
}

#[tokio::test]
async fn what_the_file_says_is_a_guarded_petstore() {
    if !possible().await {
        return;
    }
    let (mut engine, hash) = engine(None).await;
    engine.up(if redis_is_here() { &["limits"] } else { &[] }).await;
    run_session(&engine, &documented()).await;

    sockets_are_private(&engine);
    for service in engine.stop_order() {
        catches_sigterm(&engine, &service);
        let (uid, _) = user(&engine.file.services[&service].user);
        is_confined(engine.pid(&service), uid);
    }
    draining_lets_requests_end(&mut engine).await;

    let logs = engine.logs();
    for secret in [PASSWORD, hash.as_str()] {
        assert!(!logs.contains(secret), "a secret is shown:\n{logs}");
    }
    assert!(["warning[", "error:", "ERROR"].iter().all(|sign| !logs.contains(sign)), "{logs}");
    // Keys that were made are in the volume, for their own user alone.
    for name in ["tls.key", "apikey-signing.pem"] {
        let mode = fs::metadata(engine.volume("data").join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

fn sockets_are_private(engine: &Engine) {
    let directory = engine.volume("sockets");
    let (uid, _) = user(&engine.file.services["gateway"].user);
    let expected = if nix::unistd::geteuid().is_root() { uid } else { nix::unistd::geteuid().as_raw() };
    let metadata = fs::metadata(&directory).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o700, expected));
    let mut sockets = 0;
    for entry in fs::read_dir(&directory).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, expected), "{}", entry.path().display());
        sockets += usize::from(metadata.file_type().is_socket());
    }
    assert_eq!(sockets, 4, "xDS, decisions, keys, and Envoy's admin interface");
}

fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// The first process of a container gets only those signals that it has asked for.
fn catches_sigterm(engine: &Engine, service: &str) {
    let caught = u64::from_str_radix(&status(engine.pid(service), "SigCgt:"), 16).unwrap();
    assert_ne!(caught & (1 << 14), 0, "{service} would have to be killed");
}

/// As the file says: its user, no capabilities and none to come, a root that nobody can write to.
fn is_confined(pid: u32, uid: u32) {
    let real = if nix::unistd::geteuid().is_root() { uid } else { nix::unistd::geteuid().as_raw() };
    assert!(status(pid, "Uid:").split_whitespace().all(|id| id == real.to_string()));
    assert_eq!(status(pid, "CapEff:"), "0000000000000000");
    assert_eq!(status(pid, "NoNewPrivs:"), "1");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
}

/// Stops all in the order of `docker compose stop`, with a request in flight.
async fn draining_lets_requests_end(engine: &mut Engine) {
    let order = engine.stop_order();
    let at = |name: &str| order.iter().position(|service| service == name).unwrap();
    assert!(at("drain") < at("gateway") && at("gateway") < at("envoy") && at("envoy") < at("backend"), "{order:?}");

    let user = format!("admin:{PASSWORD}");
    let key = engine.outside(&["curl", "-sk", "https://localhost:9095/apikey", "-u", &user]).output().await.unwrap();
    let key = format!("api_key: {}", String::from_utf8(key.stdout).unwrap());
    let url = "http://localhost:9090/v2/pet";
    let mut slow = engine
        .outside(&["curl", "-si", "-X", "POST", url, "-H", &key, "-H", "content-type: application/json", "-T", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut body = slow.stdin.take();
    body.as_mut().unwrap().write_all(b"{\"name\":").await.unwrap();
    let envoy = Admin::new(&engine.volume("sockets").join("admin.sock"));
    let active = r"^http\.[^.]+\.downstream_rq_active$";
    eventually("the request has arrived", async || {
        let stats = envoy.stats(active).await.ok()?;
        stats.iter().any(|(name, value)| !name.starts_with("http.admin.") && *value > 0).then_some(())
    })
    .await;

    for (place, service) in order.iter().enumerate() {
        engine.signal(service, Signal::SIGTERM);
        if place == at("drain") {
            eventually("Envoy drains", async || (envoy.server_info().await.ok()?.state == "DRAINING").then_some(()))
                .await;
            // Closed with the value: that ends the request.
            body.take().unwrap().write_all(b"\"Late\"}").await.unwrap();
        }
        engine.ended(service).await;
    }
    let answer = timeout(PATIENCE, slow.wait_with_output()).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("HTTP/1.1 200") && answer.contains("Late"), "{answer}\n{}", engine.logs());
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_artifact_serves_as_well_as_a_project() {
    if !possible().await {
        return;
    }
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let artifact = directory.path().join("petstore.mgw");
    let arguments = ["build", "examples/compose", "--output", artifact.to_str().unwrap()];
    assert!(command(&repository(), &arguments).await.status.success());
    let (mut engine, _) = engine(Some(&artifact)).await;
    engine.up(&[]).await;
    run_session(&engine, &documented()).await;

    // Other content in the same file, and SIGHUP: the mount is of that very file.
    let generation = async || {
        let head = engine.outside(&["curl", "-si", "http://localhost:9090/health"]).output().await.unwrap();
        let head = String::from_utf8(head.stdout).unwrap();
        head.lines().find_map(|line| line.strip_prefix("x-microgw-generation: ")).map(str::to_owned)
    };
    let first = generation().await.unwrap();
    let (project, other) = (directory.path().join("project"), directory.path().join("other.mgw"));
    fs::create_dir_all(project.join("api_definitions")).unwrap();
    let definition = fs::read_to_string(repository().join("examples/compose/api_definitions/petstore.yaml")).unwrap();
    let changed = definition.replace("      security: []\n", "");
    assert_ne!(changed, definition);
    fs::write(project.join("api_definitions/petstore.yaml"), changed).unwrap();
    let arguments = ["build", project.to_str().unwrap(), "--output", other.to_str().unwrap()];
    assert!(command(directory.path(), &arguments).await.status.success());
    fs::write(&artifact, fs::read(&other).unwrap()).unwrap();
    engine.signal("gateway", Signal::SIGHUP);
    eventually("another generation is live", async || generation().await.is_some_and(|now| now != first).then_some(()))
        .await;
    let url = "http://localhost:9090/v2/pet/findByStatus?status=sold";
    let refused = engine.outside(&["curl", "-s", url]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stdout).contains("900902"), "{}", engine.log("gateway"));
}

/// `docker compose up` ends there, and says why.
#[tokio::test]
async fn a_secret_that_the_gateway_cannot_read_is_named() {
    if !possible().await {
        return;
    }
    let (mut engine, hash) = engine(None).await;
    let secret = engine.file.secrets["admin_password"].file.clone();
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    engine.start("bootstrap");
    assert_eq!(engine.ended("bootstrap").await.code(), Some(1));
    let told = engine.log("bootstrap");
    assert!(told.contains("b7a.users.admin.password") && told.contains("/run/secrets/admin_password"), "{told}");
    assert!(told.contains("Permission denied") && !told.contains(&hash), "{told}");
    assert!(!engine.volume("sockets").join("bootstrap.json").exists());
}

/// What the tests above rest on: a process gets what its specification says, and nothing else.
#[tokio::test]
async fn a_root_that_is_read_only_is() {
    if !containers_are_possible().await {
        return;
    }
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut mounts = Vec::new();
    for name in ["usr", "open", "shut", "memory"] {
        fs::create_dir_all(at("root").join(name)).unwrap();
    }
    for name in ["open", "shut", "elsewhere"] {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(0o777)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), at("root").join(name)).unwrap();
    }
    let mount = |source: Option<&Path>, target: &str, read_only| Mount {
        source: source.map(Path::to_owned),
        target: target.into(),
        read_only,
    };
    mounts.push(mount(Some(Path::new("/usr")), "/usr", true));
    mounts.push(mount(Some(&at("open")), "/open", false));
    mounts.push(mount(Some(&at("shut")), "/shut", true));
    mounts.push(mount(None, "/memory", false));
    let script = "touch /open/a; touch /memory/a; touch /shut/a; touch /a; touch /usr/a; ls -d /elsewhere; id -u; env";
    let me = User { uid: 4321, gid: 4321 };
    let spec = Spec {
        root: Some(Root { path: at("root"), read_only: true, mounts }),
        directory: "/".into(),
        user: Some(me),
        environment: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
        command: ["bash", "-c", script].map(str::to_owned).into(),
    };
    let pod = Pod::start(me).await;
    let output = timeout(PATIENCE, pod.command(&at("spec"), &spec).output()).await.unwrap().unwrap();
    let (told, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let refused =
        ["/shut/a", "/a", "/usr/a"].map(|path| format!("touch: cannot touch '{path}': Read-only file system"));
    assert!(refused.iter().all(|refused| told.contains(refused)), "{told}");
    assert!(told.contains("'/elsewhere': No such file") && told.lines().count() == 4, "{told}");
    assert!(printed.starts_with("4321\n") && printed.lines().count() <= 5, "{printed}");
    assert!(at("open/a").exists() && !at("shut/a").exists() && !at("root/a").exists() && !at("root/memory/a").exists());
    pod.stop().await;
}
