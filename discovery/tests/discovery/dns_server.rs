//! A DNS server that says what a test wants it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What it says of a name, with or without a dot at the end.
#[derive(Clone, Debug)]
pub enum Says {
    Records(Vec<RData>, u32),
    /// As `Records`, and over UDP only that it does not fit.
    Truncated(Vec<RData>, u32),
    Fails(ResponseCode),
    /// What is no message of DNS.
    Garbage(Vec<u8>),
    Silence,
}

#[derive(Default)]
struct Zone {
    names: HashMap<(String, RecordType), Says>,
    asked: Vec<(String, RecordType)>,
}

pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl DnsServer {
    pub async fn start() -> DnsServer {
        // One port for both protocols.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        DnsServer::serve(Arc::default(), tcp, udp)
    }

    fn serve(zone: Arc<Mutex<Zone>>, tcp: TcpListener, udp: UdpSocket) -> DnsServer {
        let address = tcp.local_addr().unwrap();
        let over_udp = tokio::spawn(datagrams(zone.clone(), udp));
        let over_tcp = tokio::spawn(connections(zone.clone(), tcp));
        DnsServer { address, zone, tasks: vec![over_udp, over_tcp] }
    }

    /// Nobody is there any more.
    pub fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }

    /// Back at the same address.
    pub async fn restart(&mut self) {
        self.stop();
        let (tcp, udp) = loop {
            let sockets = (TcpListener::bind(self.address).await, UdpSocket::bind(self.address).await);
            if let (Ok(tcp), Ok(udp)) = sockets {
                break (tcp, udp);
            }
            tokio::task::yield_now().await;
        };
        let mut back = DnsServer::serve(self.zone.clone(), tcp, udp);
        self.tasks = std::mem::take(&mut back.tasks);
    }

    pub fn says(&self, name: &str, kind: RecordType, says: Says) {
        self.zone.lock().unwrap().names.insert((name.to_owned(), kind), says);
    }

    /// A and AAAA; whatever it has none of does not exist.
    pub fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address.parse().unwrap() {
                std::net::IpAddr::V4(address) => ipv4.push(RData::A(A(address))),
                std::net::IpAddr::V6(address) => ipv6.push(RData::AAAA(AAAA(address))),
            }
        }
        self.says(name, RecordType::A, Says::Records(ipv4, ttl));
        self.says(name, RecordType::AAAA, Says::Records(ipv6, ttl));
    }

    pub fn fails(&self, name: &str, code: ResponseCode) {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV] {
            self.says(name, kind, Says::Fails(code));
        }
    }

    /// Priority, weight, port, target.
    pub fn services(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let records = services.iter().map(|(priority, weight, port, target)| {
            RData::SRV(SRV::new(*priority, *weight, *port, Name::from_ascii(target).unwrap()))
        });
        self.says(name, RecordType::SRV, Says::Records(records.collect(), ttl));
    }

    /// How often it was asked about a name.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().unwrap().asked.iter().filter(|(asked, _)| asked == name).count()
    }
}

async fn datagrams(zone: Arc<Mutex<Zone>>, socket: UdpSocket) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&zone, &buffer[..length], true) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn connections(zone: Arc<Mutex<Zone>>, listener: TcpListener) {
    let mut streams = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let zone = zone.clone();
        streams.spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                if stream.read_exact(&mut question).await.is_err() {
                    return;
                }
                if let Some(answer) = answer(&zone, &question, false) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length[..], &answer].concat()).await;
                }
            }
        });
    }
}

fn answer(zone: &Mutex<Zone>, question: &[u8], udp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    let mut zone = zone.lock().unwrap();
    zone.asked.push((name.clone(), query.query_type()));
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let mut add = |records: Vec<RData>, ttl| {
        for record in records {
            answer.add_answer(Record::from_rdata(query.name().clone(), ttl, record));
        }
    };
    match zone.names.get(&(name, query.query_type())).cloned() {
        Some(Says::Truncated(..)) if udp => answer.metadata.truncation = true,
        Some(Says::Records(records, ttl) | Says::Truncated(records, ttl)) => add(records, ttl),
        Some(Says::Fails(code)) => answer.metadata.response_code = code,
        Some(Says::Garbage(bytes)) => return Some(bytes),
        Some(Says::Silence) => return None,
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.to_vec().ok()
}
