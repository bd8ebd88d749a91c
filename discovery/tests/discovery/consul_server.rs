//! Consul's `/v1/health/service/NAME`, with blocking queries as its documentation has them: an answer has an index; a question
//! with an index waits until that has been passed, or for `wait` and up to a sixteenth more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

#[derive(Default)]
struct State {
    services: Mutex<HashMap<String, String>>,
    /// Answers nothing but this status, if there is one.
    status: Mutex<Option<u16>>,
    asked: Mutex<Vec<String>>,
    token: Option<String>,
    index: watch::Sender<u64>,
    tls: Arc<Mutex<Option<TlsAcceptor>>>,
}

pub struct ConsulServer {
    pub address: SocketAddr,
    /// What it shows of itself from the next connection on.
    pub tls: Arc<Mutex<Option<TlsAcceptor>>>,
    state: Arc<State>,
    task: Option<JoinHandle<()>>,
}

impl Drop for ConsulServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ConsulServer {
    /// `token`: of whoever may ask.
    pub async fn start(token: Option<&str>) -> ConsulServer {
        ConsulServer::start_with(token, None).await
    }

    /// Over TLS, if `tls` is given.
    pub async fn start_with(token: Option<&str>, tls: Option<TlsAcceptor>) -> ConsulServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = Arc::new(Mutex::new(tls));
        let state = Arc::new(State { token: token.map(str::to_owned), tls: tls.clone(), ..State::default() });
        state.index.send_replace(10);
        let address = listener.local_addr().unwrap();
        ConsulServer { address, tls, task: Some(tokio::spawn(serve(listener, state.clone()))), state }
    }

    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    pub async fn restart(&mut self) {
        self.stop();
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                break listener;
            }
            tokio::task::yield_now().await;
        };
        self.task = Some(tokio::spawn(serve(listener, self.state.clone())));
    }

    /// Address, port and status of each instance.
    pub fn register(&self, service: &str, instances: &[(&str, u16, &str)]) {
        let instances: Vec<String> = instances
            .iter()
            .map(|(address, port, status)| {
                format!(
                    r#"{{"Node":{{"Node":"n","Address":"192.0.2.250","Datacenter":"dc1"}},"Service":{{"ID":"i","Service":"{service}","Address":"{address}","Port":{port},"Weights":{{"Passing":1,"Warning":1}}}},"Checks":[{{"CheckID":"serfHealth","Status":"passing"}},{{"CheckID":"own","Status":"{status}"}}]}}"#
                )
            })
            .collect();
        self.says(service, &format!("[{}]", instances.join(",")));
    }

    pub fn says(&self, service: &str, body: &str) {
        self.state.services.lock().unwrap().insert(service.to_owned(), body.to_owned());
        self.state.index.send_modify(|index| *index += 1);
    }

    /// As after a restore of a snapshot.
    pub fn set_index(&self, index: u64) {
        self.state.index.send_replace(index);
    }

    pub fn fails(&self, status: Option<u16>) {
        *self.state.status.lock().unwrap() = status;
        self.state.index.send_modify(|index| *index += 1);
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let tls = state.tls.lock().unwrap().clone();
        connections.spawn(async move {
            match tls {
                None => converse(stream, state).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        converse(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Send, state: Arc<State>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(request)) = lines.next_line().await {
        let mut token = None;
        while let Ok(Some(line)) = lines.next_line().await {
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("x-consul-token") => token = Some(value.to_owned()),
                Some(_) => {}
                None => break,
            }
        }
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        state.asked.lock().unwrap().push(target.clone());
        let (status, body, index) = answer(&state, &target, token.as_deref()).await;
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nx-consul-index: {index}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(state: &State, target: &str, token: Option<&str>) -> (u16, String, u64) {
    if state.token.as_deref() != token {
        return (403, "Permission denied".to_owned(), 0);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let service = path.strip_prefix("/v1/health/service/").unwrap_or_default().to_owned();
    let mut current = state.index.subscribe();
    if let Some(index) = of("index").and_then(|text| text.parse::<u64>().ok()) {
        let wait = of("wait").and_then(|wait| wait.strip_suffix("ms")).and_then(|text| text.parse().ok());
        let wait = Duration::from_millis(wait.unwrap_or(300_000));
        // One that is ahead of ours is passed at once: ours was reset.
        let passed = current.wait_for(|current| *current != index);
        let _ = tokio::time::timeout(wait + wait / 16, passed).await;
    }
    let index = *current.borrow_and_update();
    if let Some(status) = *state.status.lock().unwrap() {
        return (status, "rpc error: hunter2".to_owned(), index);
    }
    let body = state.services.lock().unwrap().get(&service).cloned();
    (200, body.unwrap_or_else(|| "[]".to_owned()), index)
}
