//! Starts what the file says, as plain processes: same commands, same paths, same user, in one network. Where a container
//! would have a root directory of its own, so has the process; services that share no network do not know each other's names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use microgw_tests::container::{Mount, Pod, Root, Spec, User};
use microgw_tests::gateway::micro_gw;
use microgw_tests::{PATIENCE, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::file::{Condition, File, Mounted, Service};
use crate::image::{Dockerfile, Image, user};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Engine {
    pub file: File,
    repository: PathBuf,
    ours: Image,
    directory: TempDir,
    pod: Pod,
    /// In the order of their start.
    running: Vec<(String, Child)>,
}

// === impl Engine ===

impl Engine {
    pub async fn new(repository: &Path, file: File, directory: TempDir) -> Engine {
        let ours = Dockerfile::read(&repository.join("Dockerfile")).image(&micro_gw());
        let (uid, gid) = user(&file.services["gateway"].user);
        // Other users have to reach what is below it.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["roots", "volumes", "logs", "tmp"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let pod = Pod::start(User { uid, gid }).await;
        let repository = repository.to_owned();
        Engine { file, repository, ours, directory, pod, running: Vec::new() }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The directory that stands for a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.at("volumes").join(name)
    }

    /// What a service has printed.
    pub fn log(&self, service: &str) -> String {
        fs::read_to_string(self.at("logs").join(service)).unwrap_or_default()
    }

    pub fn pid(&self, service: &str) -> u32 {
        let (_, child) = self.running.iter().find(|(name, _)| name == service).unwrap();
        child.id().unwrap_or_else(|| panic!("{service} has ended:\n{}", self.log(service)))
    }

    /// `docker compose up --wait`, with these profiles.
    pub async fn up(&mut self, profiles: &[&str]) {
        let wanted: Vec<String> = self
            .file
            .services
            .iter()
            .filter(|(_, service)| {
                service.profiles.is_empty() || service.profiles.iter().any(|p| profiles.contains(&p.as_str()))
            })
            .map(|(name, _)| name.clone())
            .collect();
        while let Some(name) = wanted.iter().find(|name| {
            let started = |name: &String| self.running.iter().any(|(running, _)| running == name);
            !started(name) && self.file.services[*name].depends_on.keys().all(started)
        }) {
            for (dependency, condition) in &self.file.services[name].depends_on.clone() {
                self.wait_for(dependency, *condition).await;
            }
            self.start(name);
        }
        assert_eq!(self.running.len(), wanted.len(), "something depends on what is not started, or on itself");
        for name in &wanted {
            if self.file.services[name].healthcheck.is_some() {
                self.wait_for(name, Condition::Healthy).await;
            }
        }
    }

    async fn wait_for(&mut self, name: &str, condition: Condition) {
        match condition {
            Condition::Started => {}
            Condition::Healthy => {
                let check = self.file.services[name].healthcheck.as_ref().unwrap_or_else(|| panic!("{name}"));
                let (kind, command) = check.test.split_first().unwrap();
                assert_eq!(kind, "CMD", "there is no shell in `{name}`");
                eventually(&format!("{name} is healthy"), async || {
                    // It must not have ended.
                    self.pid(name);
                    self.exec(name, command).await.status.success().then_some(())
                })
                .await;
            }
            Condition::Completed => {
                let log = self.at("logs").join(name);
                let (_, child) = self.running.iter_mut().find(|(running, _)| running == name).unwrap();
                let exit = timeout(PATIENCE, child.wait()).await.expect(name).unwrap();
                assert!(exit.success(), "{name}: {exit}\n{}", fs::read_to_string(log).unwrap());
            }
        }
    }

    /// Runs a command beside the service's own, as `docker compose exec` does.
    pub async fn exec(&self, name: &str, command: &[String]) -> Output {
        let spec = self.spec(name, command.to_vec());
        let mut command = self.pod.command(&self.at(format!("tmp/{name}-exec.json")), &spec);
        timeout(PATIENCE, command.output()).await.expect("it ends").unwrap()
    }

    /// A command outside of all containers that sees the published ports.
    pub fn outside(&self, command: &[&str]) -> Command {
        let spec = Spec {
            root: None,
            directory: self.at("tmp"),
            user: None,
            environment: [("PATH", PATH.to_owned()), ("HOME", self.at("tmp").display().to_string())]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
        };
        self.pod.command(&self.at("tmp/outside.json"), &spec)
    }

    pub fn start(&mut self, name: &str) {
        let service = &self.file.services[name];
        let image = self.image(&service.image);
        let command = image.entrypoint.iter().chain(&service.command).cloned().collect();
        let spec = self.spec(name, command);
        let log = fs::File::create(self.at("logs").join(name)).unwrap();
        let child = self
            .pod
            .command(&self.at(format!("tmp/{name}.json")), &spec)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push((name.to_owned(), child));
    }

    /// `docker compose kill --signal`.
    pub fn signal(&self, name: &str, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid(name)).unwrap()), signal).unwrap();
    }

    pub async fn ended(&mut self, name: &str) -> std::process::ExitStatus {
        let (_, child) = self.running.iter_mut().find(|(running, _)| running == name).unwrap();
        timeout(PATIENCE, child.wait()).await.unwrap_or_else(|_| panic!("{name} does not end")).unwrap()
    }

    /// Long-running services in the order in which they are stopped.
    pub fn stop_order(&self) -> Vec<String> {
        let mut left: BTreeSet<&String> = self.running.iter().map(|(name, _)| name).collect();
        left.retain(|name| self.file.services[*name].restart != "no");
        let mut order = Vec::new();
        while !left.is_empty() {
            let free = left
                .iter()
                .find(|name| !left.iter().any(|other| self.file.services[*other].depends_on.contains_key(**name)));
            let name = *free.expect("no circle");
            left.remove(name);
            order.push(name.clone());
        }
        order
    }

    /// Every output there is.
    pub fn logs(&self) -> String {
        self.running.iter().fold(String::new(), |mut all, (name, _)| {
            let _ = writeln!(all, "{name}:\n{}", self.log(name));
            all
        })
    }

    fn image(&self, name: &str) -> Image {
        let (repository, _) = name.rsplit_once(':').unwrap_or((name, ""));
        match repository {
            "micro-gw" => self.ours.clone(),
            "envoyproxy/envoy" => Image {
                entrypoint: vec!["/usr/local/bin/envoy".to_owned()],
                programs: [("/usr/local/bin/envoy".into(), microgw_envoy::find(None).unwrap().path().to_owned())]
                    .into(),
                user: Some("65532:65532".to_owned()),
                ..Image::default()
            },
            "redis" => Image { distribution: true, ..Image::default() },
            _ => panic!("nothing here stands for the image `{name}`"),
        }
    }

    fn spec(&self, name: &str, command: Vec<String>) -> Spec {
        let service = &self.file.services[name];
        let image = self.image(&service.image);
        let (uid, gid) = user(&service.user);
        let mut environment = image.environment.clone();
        environment.insert("PATH".to_owned(), PATH.to_owned());
        environment.insert("HOME".to_owned(), "/".to_owned());
        environment.extend(service.environment.clone());
        let root = self.root(name, service, &image);
        Spec { root: Some(root), directory: "/".into(), user: Some(User { uid, gid }), environment, command }
    }

    /// Lays out a root directory, once for each service.
    fn root(&self, name: &str, service: &Service, image: &Image) -> Root {
        let path = self.at("roots").join(name);
        let mut mounts = Vec::new();
        let fresh = !path.exists();
        fs::create_dir_all(&path).unwrap();
        let inside = |target: &Path| path.join(target.strip_prefix("/").unwrap());
        let mut mount = |source: &Path, target: &Path, read_only: bool| {
            if fresh {
                if source.is_dir() {
                    fs::create_dir_all(inside(target)).unwrap();
                } else {
                    fs::create_dir_all(inside(target).parent().unwrap()).unwrap();
                    fs::File::create(inside(target)).unwrap();
                }
            }
            mounts.push(Mount { source: Some(source.to_owned()), target: target.to_owned(), read_only });
        };
        let shared: &[&str] = if image.distribution { &["/usr"] } else { &["/usr/lib", "/usr/lib64"] };
        for directory in shared.iter().copied().chain(["/etc/ssl/certs"]).map(Path::new).filter(|path| path.is_dir()) {
            mount(directory, directory, true);
        }
        mount(Path::new("/proc"), Path::new("/proc"), false);
        for device in ["null", "zero", "full", "random", "urandom"].map(|name| Path::new("/dev").join(name)) {
            mount(&device, &device, false);
        }
        for (target, program) in &image.programs {
            mount(program, target, true);
        }
        for secret in &service.secrets {
            let file = self.machine(&self.file.secrets[secret].file);
            mount(&file, &Path::new("/run/secrets").join(secret), true);
        }
        for volume in &service.volumes {
            match volume {
                Mounted::Short(text) => {
                    let (name, target) = text.split_once(':').unwrap();
                    assert!(self.file.volumes.contains_key(name), "there is no volume `{name}`");
                    mount(&self.made(name, Path::new(target), image), Path::new(target), false);
                }
                Mounted::Long(bind) => {
                    let source = self.machine(&bind.source);
                    assert!(bind.r#type == "bind" && !bind.options.create_host_path && source.exists(), "{bind:?}");
                    mount(&source, Path::new(&bind.target), bind.read_only);
                }
            }
        }
        if fresh {
            for (link, target) in [("dev/stdout", "/proc/self/fd/1"), ("dev/stderr", "/proc/self/fd/2")] {
                symlink(target, path.join(link)).unwrap();
            }
            for directory in ["lib", "lib64", "bin", "sbin"] {
                if let Ok(target) = fs::read_link(Path::new("/").join(directory)) {
                    symlink(target, path.join(directory)).unwrap();
                }
            }
            fs::create_dir_all(path.join("tmp")).unwrap();
            fs::set_permissions(path.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
            fs::write(path.join("etc/hosts"), self.hosts(service)).unwrap();
            fs::write(path.join("etc/nsswitch.conf"), "hosts: files\n").unwrap();
        }
        Root { path, read_only: service.read_only, mounts }
    }

    /// Services that share a network are known by their names.
    fn hosts(&self, service: &Service) -> String {
        let near =
            self.file.services.iter().filter(|(_, other)| other.networks.iter().any(|n| service.networks.contains(n)));
        near.fold("127.0.0.1 localhost\n".to_owned(), |hosts, (name, _)| hosts + &format!("127.0.0.1 {name}\n"))
    }

    /// A volume; the first who mounts it decides what it is like.
    fn made(&self, name: &str, target: &Path, image: &Image) -> PathBuf {
        let path = self.volume(name);
        if !path.exists() {
            fs::create_dir(&path).unwrap();
            let like = image.directories.get(target);
            let (uid, gid, mode) = like.map_or((0, 0, 0o755), |like| (like.uid, like.gid, like.mode));
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            if nix::unistd::geteuid().is_root() {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        path
    }

    /// A path as the file has it.
    fn machine(&self, path: &str) -> PathBuf {
        fs::canonicalize(self.repository.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
