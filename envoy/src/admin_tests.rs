use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

/// An admin interface that gives each connection one answer.
fn admin(answers: &'static [&'static str]) -> (Admin, thread::JoinHandle<Vec<String>>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = thread::spawn(move || {
        let serve = |answer: &&str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
        };
        answers.iter().map(serve).collect()
    });
    (Admin::new(&socket), served, directory)
}

#[tokio::test]
async fn reads_listeners() {
    let (admin, served, _directory) = admin(&[
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"listener_statuses\":[\
         {\"name\":\"http\",\"local_address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":4711}}},\
         {\"name\":\"v6\",\"local_address\":{\"socket_address\":{\"address\":\"::1\",\"port_value\":1}}},\
         {\"name\":\"pipe\",\"local_address\":{\"pipe\":{}}}]}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ]);
    let listeners = admin.listeners().await.unwrap();
    assert_eq!(
        listeners,
        [("http".to_owned(), "127.0.0.1:4711".parse().unwrap()), ("v6".to_owned(), "[::1]:1".parse().unwrap())]
    );
    assert_eq!(admin.listeners().await.unwrap(), []);
    assert_eq!(served.join().unwrap(), ["GET /listeners?format=json HTTP/1.1"; 2]);
}

#[tokio::test]
async fn tells_not_ready_from_broken() {
    let (admin, served, _directory) = admin(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nLIVE\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
    ]);
    assert!(admin.ready().await.unwrap());
    assert!(!admin.ready().await.unwrap());
    assert!(matches!(admin.ready().await, Err(AdminError::Status { status: StatusCode::NOT_FOUND, .. })));
    assert!(matches!(admin.ready().await, Err(AdminError::Http { .. })));
    served.join().unwrap();
    let nobody = Admin::new(Path::new("/nonexistent/admin.sock"));
    assert!(matches!(nobody.ready().await, Err(AdminError::Connect { .. })));
}

#[tokio::test]
async fn reads_statistics() {
    let (admin, served, _directory) = admin(&["HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
         cluster.a: b.upstream_rq_active: 7\nhttp.edge.text: \"x\"\nhttp.edge.ms: No recorded values\nhttp.edge.rq: 12\n"]);
    let stats = admin.stats(r"^a\.b c").await.unwrap();
    let expected = [("cluster.a: b.upstream_rq_active", 7), ("http.edge.rq", 12)];
    assert_eq!(stats, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(served.join().unwrap(), ["GET /stats?filter=%5Ea%5C.b%20c HTTP/1.1"]);
}
