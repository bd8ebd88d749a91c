//! An Envoy with one listener in front of a backend that answers when it is told to.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use microgw_envoy::{
    Admin, Binary, Bootstrap, FindError, Launch, LogLevel, SocketDir, State, Supervisor, find, sockets,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The Envoy to test with. Without one a test is skipped, aloud; in CI that is a failure.
pub fn envoy() -> Option<Binary> {
    match find(None) {
        Ok(binary) => Some(binary),
        Err(error @ FindError::NotFound { .. }) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            // Not `eprintln!`, which the test harness keeps to itself.
            let line = format!("SKIPPED {}: {error}\n", std::thread::current().name().unwrap_or("a test"));
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn launcher() -> PathBuf {
    env!("CARGO_BIN_EXE_microgw-envoy-exec").into()
}

pub struct Testbed {
    pub directory: SocketDir,
    pub launch: Launch,
    backend: TcpListener,
}

impl Testbed {
    pub async fn new(envoy: Binary) -> Testbed {
        let directory = SocketDir::private().unwrap();
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut bootstrap: Value = serde_json::from_str(&bootstrap(&directory).to_json()).unwrap();
        // Nobody serves ADS here, and Envoy would wait for it.
        bootstrap.as_object_mut().unwrap().remove("dynamic_resources");
        let port = backend.local_addr().unwrap().port();
        bootstrap["static_resources"]["listeners"] = json!([listener()]);
        bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(json!({
            "name": "backend", "type": "STATIC", "load_assignment": { "cluster_name": "backend", "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": {
                    "socket_address": { "address": "127.0.0.1", "port_value": port } } } }] }
            ] }
        }));
        sockets::write_private(&directory.bootstrap(), bootstrap.to_string().as_bytes()).unwrap();
        let launch = Launch {
            envoy,
            launcher: launcher(),
            bootstrap: directory.bootstrap(),
            admin: directory.sockets().admin,
            concurrency: std::num::NonZeroU32::new(1),
            log_level: LogLevel::Info,
            drain: PATIENCE,
        };
        Testbed { directory, launch, backend }
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&self.launch.admin)
    }

    pub async fn start(&self) -> Supervisor {
        let supervisor = Supervisor::start(self.launch.clone()).unwrap();
        self.ready().await;
        supervisor
    }

    pub async fn ready(&self) {
        let admin = self.admin();
        eventually("Envoy is ready", async || admin.ready().await.unwrap_or(false)).await;
    }

    /// Sends a request through Envoy and waits until the backend has it.
    pub async fn request(&self) -> Request {
        let (name, address) = self.admin().listeners().await.unwrap().remove(0);
        assert_eq!(name, "edge");
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut backend, _) = within(self.backend.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(backend.read_u8()).await.unwrap());
        }
        Request { client, backend }
    }
}

/// A request in flight.
pub struct Request {
    client: TcpStream,
    backend: TcpStream,
}

impl Request {
    /// Answers it and returns what the client got.
    pub async fn answer(mut self) -> String {
        self.backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        let mut response = String::new();
        within(self.client.read_to_string(&mut response)).await.unwrap();
        response
    }

    /// What the client gets when nobody answers.
    pub async fn abandoned(mut self) -> String {
        let mut response = String::new();
        // A reset is an end too.
        let _ = within(self.client.read_to_string(&mut response)).await;
        response
    }
}

pub fn bootstrap(directory: &SocketDir) -> Bootstrap {
    Bootstrap::local("test", "project", &directory.sockets())
}

fn listener() -> Value {
    json!({
        "name": "edge",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "edge",
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                    { "match": { "prefix": "/" }, "route": { "cluster": "backend", "timeout": "0s" } }
                ] }] },
                "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }]
            }
        }] }]
    })
}

/// Waits until `holds` says yes.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("takes far too long")
}

/// Waits for the next state that `wanted` accepts.
pub async fn state(supervisor: &Supervisor, wanted: impl Fn(&State) -> bool) -> State {
    within(supervisor.watch().wait_for(wanted)).await.unwrap().clone()
}

pub fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Runs `spawn` on a thread that lives until the sender is used.
pub fn on_mortal_thread<T: Send + 'static>(
    spawn: impl FnOnce() -> T + Send + 'static,
) -> (oneshot::Receiver<T>, std::sync::mpsc::Sender<()>) {
    let (result, received) = oneshot::channel();
    let (die, death) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = result.send(spawn());
        let _ = death.recv();
    });
    (received, die)
}
