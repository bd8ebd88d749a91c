//! A forward proxy that tunnels, and knows one backend only: whatever it is asked for, that is where it leads.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

// === impl Proxy ===

impl Proxy {
    /// # Panics
    /// When there is no free port.
    pub async fn to(backend: SocketAddr) -> Proxy {
        Proxy::start(backend, None).await
    }

    /// Leads nobody there who does not log in with these credentials (`Basic ...`): 407.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn guarded(backend: SocketAddr, credentials: &'static str) -> Proxy {
        Proxy::start(backend, Some(credentials)).await
    }

    async fn start(backend: SocketAddr, credentials: Option<&'static str>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, backend, credentials, log.clone()));
            }
        });
        Proxy { address, asked, task }
    }

    /// The heads of the requests, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(mut client: TcpStream, backend: SocketAddr, credentials: Option<&str>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    // Byte by byte: what follows is the backend's.
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let shown: Vec<&str> = head
        .lines()
        .filter_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization")))
        .map(|(_, value)| value)
        .collect();
    let is_known = credentials.is_none_or(|credentials| shown == [credentials]);
    let (connects, answer) = match (head.starts_with("CONNECT "), is_known) {
        (false, _) => (false, "405 Method Not Allowed"),
        (true, false) => (false, "407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"proxy\""),
        (true, true) => (true, "200 OK"),
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let length = if connects { "" } else { "content-length: 0\r\n" };
    let answer = format!("HTTP/1.1 {answer}\r\n{length}\r\n");
    // Either side may go away at any time.
    let _ = client.write_all(answer.as_bytes()).await;
    if connects && let Ok(mut backend) = TcpStream::connect(backend).await {
        let _ = copy_bidirectional(&mut client, &mut backend).await;
    }
}
