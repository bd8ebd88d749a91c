//! Commands for those who look after a gateway: `health`, `hash-password`, `bootstrap -o`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn micro_gw(directory: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_micro-gw"))
        .current_dir(directory.path())
        .args(arguments)
        .env_remove("MGW_CONF_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// An admin interface that is live and not ready.
fn admin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head: Vec<_> =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let status = if head[0].starts_with("GET /live ") { "200 OK" } else { "503 Service Unavailable" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    address
}

#[test]
fn health_is_what_the_admin_interface_says() {
    let directory = TempDir::new().unwrap();
    let address = admin();
    let everywhere = format!("--adminConfig.address=0.0.0.0:{}", address.port());
    let code = |arguments: &[&str]| micro_gw(&directory, arguments, "").status.code();
    assert_eq!(code(&["health", "--live", &everywhere]), Some(0));
    let not_ready = micro_gw(&directory, &["health", &everywhere], "");
    assert_eq!(not_ready.status.code(), Some(1));
    assert!(text(&not_ready.stderr).contains("answers 503"), "{not_ready:?}");
    // Where a project's settings say it is.
    fs::create_dir_all(directory.path().join("shop/conf")).unwrap();
    let settings = format!("[adminConfig]\naddress = \"{address}\"\n");
    fs::write(directory.path().join("shop/conf/micro-gw.conf"), settings).unwrap();
    assert_eq!(code(&["health", "shop", "--live"]), Some(0));

    assert_eq!(code(&["health", "--url", &format!("http://{address}/live")]), Some(0));
    assert_eq!(code(&["health", "--url", &format!("http://{address}/other")]), Some(1));
    assert_eq!(code(&["health", "--live", "--url", "http://127.0.0.1"]), Some(2));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(code(&["health", &format!("--adminConfig.address={nobody}")]), Some(1));
    // Nobody accepts: that takes no longer than those who watch would wait.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("--adminConfig.address={}", silent.local_addr().unwrap());
    assert_eq!(code(&["health", &silent]), Some(1));
    assert_eq!(code(&["health", "--adminConfig.address=nowhere"]), Some(1));
}

#[test]
fn a_password_is_hashed_and_not_shown() {
    let directory = TempDir::new().unwrap();
    let hash = |input: &str| micro_gw(&directory, &["hash-password"], input);
    let (first, second) = (hash("correct horse\n"), hash("correct horse"));
    for output in [&first, &second] {
        let shown = text(&output.stdout);
        assert!(output.status.success() && shown.starts_with("$argon2id$") && shown.lines().count() == 1, "{output:?}");
        assert!(!shown.contains("horse") && output.stderr.is_empty(), "{output:?}");
    }
    assert_ne!(first.stdout, second.stdout, "each has a salt of its own");
    for bad in ["", "\n", &"x".repeat(2000)] {
        let output = hash(bad);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
        assert!(!text(&output.stderr).contains("xx"), "{output:?}");
    }
}

#[test]
fn a_bootstrap_can_be_written_where_envoy_waits_for_it() {
    let directory = TempDir::new().unwrap();
    let petstore = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/petstore/swagger.json");
    assert!(micro_gw(&directory, &["init", "petstore", "-a", petstore], "").status.success());
    let sockets = directory.path().join("sockets");
    let arguments = ["bootstrap", "petstore", "--sockets", sockets.to_str().unwrap()];
    let printed = micro_gw(&directory, &arguments, "").stdout;
    let written = micro_gw(&directory, &[&arguments[..], &["-o", "bootstrap.json"]].concat(), "");
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    let file = directory.path().join("bootstrap.json");
    assert_eq!(fs::read(&file).unwrap(), printed);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(micro_gw(&directory, &[&arguments[..], &["-o", "none/b.json"]].concat(), "").status.code(), Some(1));
}
