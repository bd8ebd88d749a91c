//! The command as it is typed: what it prints, what it writes, and how it ends.

mod pages;
mod policies;
mod reports;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tempfile::TempDir;

/// How a command ended, and what it printed.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

struct Place(TempDir);

// === impl Place ===

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    /// With the petstore in it, as `init` makes it.
    fn with_petstore() -> Place {
        let place = Place::new();
        let petstore = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/petstore/swagger.json");
        place.succeeds(&["init", "petstore", "-a", petstore]);
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("MGW_CONF_DIR").env("XDG_DATA_HOME", self.at("data"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        end(self.command(Path::new(env!("CARGO_BIN_EXE_micro-gw")), arguments))
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended.stdout
    }

    /// What it prints on stderr. The input is wrong: exit code 1, and no data.
    fn refuses(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", ended.stderr);
        ended.stderr
    }

    /// Every file and its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut pending = vec![self.0.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

fn end(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn usage_errors_end_with_2() {
    let place = Place::with_petstore();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["build"],
        &["build", "petstore", "--frobnicate"],
        &["check", "petstore", "--format", "xml"],
        &["run", "petstore", "--listenerConfig"],
        &["init", "other", "--headers", "a"],
        &["demo-backend", "--listen", "nowhere"],
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains("--help"), "{arguments:?}: {}", ended.stderr);
    }
    // A setting where none is read is an argument like others.
    let stderr = place.run(&["check", "petstore", "--listenerConfig.httpPort=1"]).stderr;
    assert!(stderr.contains("unexpected argument '--listenerConfig.httpPort'"), "{stderr}");
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"--x.y\xff");
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_micro-gw")), &["run", "petstore"]);
    command.arg::<&std::ffi::OsStr>(odd);
    let ended = end(command);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
    assert!(place.succeeds(&["--help"]).contains("Usage: micro-gw"));
    assert_eq!(place.succeeds(&["help"]), place.succeeds(&["--help"]));
    assert_eq!(place.succeeds(&["version"]), format!("micro-gw {}\n", env!("CARGO_PKG_VERSION")));
}

/// Answers one request after the other with `response`; the address, and the requests' heads as they come.
fn server(response: String) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            sender.send(lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    (address, heads)
}

#[test]
fn init_keeps_the_given_headers_to_the_server_that_was_named() {
    let place = Place::new();
    let definition = r#"{"swagger": "2.0"}"#;
    let ok =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{definition}", definition.len());
    let (elsewhere, theirs) = server(ok);
    let (named, ours) = server(format!(
        "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: http://{elsewhere}/api.json\r\ncontent-length: 0\r\n\r\n"
    ));
    let url = format!("http://{named}/api.json");
    let refused = place.refuses(&["init", "one", "-a", &url, "--headers", "x-token", "--values", "secret"]);
    assert!(ours.recv().unwrap().contains("x-token: secret"));
    assert!(refused.contains("another server") && theirs.try_recv().is_err(), "{refused}");
    // With nothing to give away it may go where it is sent.
    place.succeeds(&["init", "two", "-a", &url]);
    assert!(theirs.recv().unwrap().starts_with("GET /api.json"));
}

#[test]
fn init_replaces_nothing_unasked() {
    let place = Place::with_petstore();
    for path in ["conf/deployment-config.toml", "conf/micro-gw.conf", "policies.yaml", "api_definitions/swagger.json"] {
        assert!(place.at("petstore").join(path).is_file(), "{path}");
    }
    let before = place.files();
    let petstore = place.at("petstore/api_definitions/swagger.json");
    assert!(place.refuses(&["init", "petstore", "-a", petstore.to_str().unwrap()]).contains("exists already"));
    // Not even when asked, if what should come in its place is missing.
    place.refuses(&["init", "petstore", "-f", "-a", "nowhere.json"]);
    assert_eq!(place.files(), before);
    place.succeeds(&["init", "petstore", "-f"]);
    assert!(!petstore.exists());
}

#[test]
fn build_gives_the_same_bytes_in_every_process() {
    let place = Place::with_petstore();
    let outputs = ["one.mgw", "two.mgw"].map(|output| {
        place.succeeds(&["build", "petstore", "-o", output]);
        fs::read(place.at(output)).unwrap()
    });
    assert!(outputs[0] == outputs[1]);
    // Wherever the project is.
    fs::create_dir(place.at("elsewhere")).unwrap();
    fs::rename(place.at("petstore"), place.at("elsewhere/petstore")).unwrap();
    place.succeeds(&["build", "elsewhere/petstore"]);
    assert!(fs::read(place.at("elsewhere/petstore/target/petstore.mgw")).unwrap() == outputs[0]);
}

#[test]
fn generations_follow_artifact_and_settings() {
    let place = Place::with_petstore();
    place.succeeds(&["build", "petstore", "-o", "one.mgw"]);
    let snapshot = |artifact: &str, port: &str| {
        let port = format!("--listenerConfig.httpPort={port}");
        json(&place.succeeds(&["inspect", artifact, &port, "--format", "json"]))["snapshot"].clone()
    };
    let first = snapshot("one.mgw", "1");
    assert_eq!(first["generation"], snapshot("one.mgw", "1")["generation"]);
    assert_ne!(first["generation"], snapshot("one.mgw", "2")["generation"]);

    // Another API touches neither listeners nor the cluster that it shares.
    let definition = place.at("petstore/api_definitions/swagger.json");
    let more = fs::read_to_string(&definition).unwrap().replace("Swagger Petstore", "More").replace("/v2", "/v3");
    fs::write(place.at("petstore/api_definitions/more.json"), more).unwrap();
    place.succeeds(&["build", "petstore", "-o", "two.mgw"]);
    let second = snapshot("two.mgw", "1");
    assert_ne!(first["generation"], second["generation"]);
    let versions = |snapshot: &Value, kind: &str| {
        let resources = snapshot["resources"].as_array().unwrap().iter();
        let versions: Vec<Value> =
            resources.filter(|resource| resource["type"].as_str().unwrap().ends_with(kind)).cloned().collect();
        assert!(!versions.is_empty(), "{kind}");
        versions
    };
    for kind in [".Listener", ".Cluster"] {
        assert_eq!(versions(&first, kind), versions(&second, kind));
    }
    assert_ne!(versions(&first, ".RouteConfiguration"), versions(&second, ".RouteConfiguration"));
}

#[test]
fn damaged_artifacts_are_refused() {
    let place = Place::with_petstore();
    place.succeeds(&["build", "petstore", "-o", "good.mgw"]);
    let good = fs::read(place.at("good.mgw")).unwrap();
    let altered = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let last = good.len() - 1;
    for (name, bytes, message) in [
        ("truncated", good[..last].to_vec(), "truncated: 1 bytes are missing"),
        ("cut in the header", good[..20].to_vec(), "truncated"),
        ("longer", [&good[..], b"x"].concat(), "1 bytes follow"),
        ("altered", altered(last, !good[last]), "altered"),
        ("newer", altered(9, 2), "format 2.0"),
        ("empty", Vec::new(), "not a micro-gw artifact"),
        ("other", b"{\"openapi\": \"3.0.3\"}".to_vec(), "not a micro-gw artifact"),
    ] {
        fs::write(place.at("bad.mgw"), bytes).unwrap();
        for command in ["inspect", "run", "serve", "bootstrap"] {
            let stderr = place.refuses(&[command, "bad.mgw"]);
            assert!(stderr.contains(message) && stderr.contains("bad.mgw"), "{name}, {command}: {stderr}");
            assert!(stderr.starts_with("error: "), "{name}, {command}: {stderr}");
        }
    }
    for command in ["inspect", "run", "build", "check"] {
        assert!(place.refuses(&[command, "nowhere.mgw"]).contains("nowhere.mgw"));
    }
}

#[test]
fn problems_are_told_with_their_places_and_check_writes_nothing() {
    let place = Place::with_petstore();
    let before = place.files();
    assert!(place.succeeds(&["check", "petstore"]).contains("Swagger Petstore"));
    assert_eq!(place.files(), before);

    let definition = place.at("petstore/api_definitions/swagger.json");
    let text = fs::read_to_string(&definition).unwrap();
    fs::write(&definition, text.replace("\"/pet/findByStatus\"", "\"pet/findByStatus\"")).unwrap();
    let before = place.files();
    for command in ["check", "build"] {
        let ended = place.run(&[command, "petstore"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("error[MGW-"), "{}", ended.stderr);
        assert!(ended.stderr.contains("api_definitions/swagger.json:"), "{}", ended.stderr);
        let ended = place.run(&[command, "petstore", "--format", "json"]);
        assert_eq!(ended.code, Some(1));
        let report = json(&ended.stdout);
        assert_eq!(report["artifact"], Value::Null);
        let diagnostics = report["diagnostics"].as_array().unwrap();
        let error = diagnostics.iter().find(|diagnostic| diagnostic["severity"] == "error").unwrap();
        assert!(error["code"].as_str().unwrap().starts_with("MGW-"));
        let location = &error["location"];
        assert_eq!(location["file"], "api_definitions/swagger.json");
        assert!(location["line"].as_u64().unwrap() > 1 && location["column"].as_u64().unwrap() > 1);
    }
    assert_eq!(place.files(), before);
}

#[test]
fn what_does_not_build_starts_no_envoy() {
    let place = Place::with_petstore();
    let (envoy, started) = (place.at("envoy"), place.at("started"));
    let version = format!("version: 0/{}/Clean/RELEASE/BoringSSL", microgw_envoy::PINNED_VERSION);
    let script = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' || touch '{}'\n", started.display());
    fs::write(&envoy, script).unwrap();
    fs::set_permissions(&envoy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // It takes as long to read as an Envoy takes to start, and only then is something wrong.
    let paths: Vec<String> = (0..3000).map(|number| format!("\"/{number}\": {{\"get\": {{}}}}")).collect();
    let definition = format!(
        "{{\"openapi\": \"3.0.3\", \"info\": {{\"title\": \"T\", \"version\": \"1\"}}, \"paths\": {{{}}}}}",
        paths.join(", ")
    );
    fs::write(place.at("petstore/api_definitions/swagger.json"), definition).unwrap();
    let anywhere = ["--listenerConfig.httpPort=0", "--listenerConfig.httpsPort=0", "--adminConfig.address=127.0.0.1:0"];
    let stderr = place.refuses(&[&["run", "petstore", "--envoy", envoy.to_str().unwrap()], &anywhere[..]].concat());
    assert!(stderr.contains("error[MGW-"), "{stderr}");
    assert!(!started.exists(), "{stderr}");
}

#[test]
fn settings_are_checked_wherever_they_come_from() {
    let place = Place::with_petstore();
    place.succeeds(&["build", "petstore", "-o", "shop.mgw"]);
    let stderr = place.refuses(&["run", "shop.mgw", "--listenerConfig.htpPort=1"]);
    assert!(stderr.contains("did you mean `listenerConfig.httpPort`"), "{stderr}");
    assert_eq!(stderr.matches("error").count(), 1, "{stderr}");
    fs::write(place.at("my.conf"), "[listenerConfig]\nhttpPort = \"many\"\n[nowhere]\na = 1\n").unwrap();
    let stderr = place.refuses(&["run", "shop.mgw", "--config", "my.conf"]);
    assert!(stderr.contains("my.conf:2") && stderr.contains("nowhere"), "{stderr}");

    // Command line, environment, file, default.
    fs::write(place.at("my.conf"), "[listenerConfig]\nhttpPort = 1111\nhttpsPort = 1112\n").unwrap();
    let generation = |environment: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["inspect", "shop.mgw", "--format", "json"], arguments].concat();
        let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_micro-gw")), &arguments);
        command.envs(environment.iter().copied());
        let ended = end(command);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        json(&ended.stdout)["snapshot"]["generation"].as_str().unwrap().to_owned()
    };
    let plain = |http: u16, https: u16| {
        let ports =
            [("http", http), ("https", https)].map(|(name, port)| format!("--listenerConfig.{name}Port={port}"));
        generation(&[], &[&ports[0], &ports[1]])
    };
    let environment = [("listenerConfig_httpPort", "2222")];
    let file = ["--config", "my.conf"];
    assert_eq!(generation(&[], &file), plain(1111, 1112));
    assert_eq!(generation(&environment, &file), plain(2222, 1112));
    let all = [&file[..], &["--listenerConfig.httpPort", "3333"]].concat();
    assert_eq!(generation(&environment, &all), plain(3333, 1112));
    assert_eq!(generation(&[], &["--listenerConfig.host=127.0.0.1"]), plain(9090, 9095));
}

#[test]
fn called_as_gateway_it_runs_an_artifact() {
    let place = Place::new();
    let gateway = place.at("gateway");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_micro-gw"), &gateway).unwrap();
    fs::write(place.at("bad.mgw"), "no artifact").unwrap();
    let ended = end(place.command(&gateway, &["bad.mgw"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("not a micro-gw artifact"), "{}", ended.stderr);
    let ended = end(place.command(&gateway, &[]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("Usage: gateway"), "{}", ended.stderr);
}

#[test]
fn a_bootstrap_names_what_serve_listens_on() {
    let place = Place::with_petstore();
    let arguments = ["bootstrap", "petstore", "--sockets", "sockets", "--node-id", "edge-1"];
    let printed = place.succeeds(&arguments);
    assert_eq!(printed, place.succeeds(&arguments));
    let bootstrap = json(&printed);
    assert_eq!((&bootstrap["node"]["id"], &bootstrap["node"]["cluster"]), (&"edge-1".into(), &"petstore".into()));
    let sockets = place.at("sockets");
    for name in ["xds.sock", "authz.sock", "issuer.sock", "admin.sock"] {
        assert!(printed.contains(sockets.join(name).to_str().unwrap()), "{name}");
    }
    assert_eq!(bootstrap["dynamic_resources"]["ads_config"]["api_type"], "DELTA_GRPC");
    let whole = json(&place.succeeds(&[&arguments[..], &["--xds", "sotw"]].concat()));
    assert_eq!(whole["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
    assert!(place.run(&["bootstrap", "petstore", "--xds", "incremental"]).stderr.contains("sotw"));
}
