//! HTTP/2 by hand: requests that no library would make.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::raw::RawAnswer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A GET of `target`, byte for byte, over a connection of its own, without TLS. Status 0: the gateway ended the connection or the
/// stream instead.
///
/// # Panics
/// When nobody listens, or nothing comes back.
pub async fn get(address: SocketAddr, authority: &[u8], target: &[u8]) -> RawAnswer {
    ask(address, &head(authority, target), None).await
}

/// The same with any fields, and with what follows them: `None` is the end.
///
/// # Panics
/// When nobody listens, or nothing comes back.
pub async fn ask(address: SocketAddr, fields: &[(&[u8], &[u8])], data: Option<&[u8]>) -> RawAnswer {
    let block = encoded(fields);
    let mut request = PREFACE.to_vec();
    push_frame(&mut request, SETTINGS, 0, 0, &[]);
    push_frame(&mut request, HEADERS, if data.is_none() { END_STREAM } else { 0 } | END_HEADERS, 1, &block);
    if let Some(data) = data {
        push_frame(&mut request, DATA, 0, 1, data);
    }
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        let _ = stream.write_all(&request).await;
        let (mut answer, mut bytes) = (RawAnswer { status: 0, head: String::new(), body: String::new() }, Vec::new());
        let mut body = Vec::new();
        loop {
            while let Some((kind, flags, payload, length)) = frame(&bytes) {
                match kind {
                    HEADERS if answer.status == 0 => answer.status = status(payload),
                    DATA => body.extend_from_slice(payload),
                    _ => {}
                }
                let ended = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
                if ended || matches!(kind, RST_STREAM | GOAWAY) {
                    answer.body = String::from_utf8_lossy(&body).into_owned();
                    return answer;
                }
                bytes.drain(..length);
            }
            if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                return answer;
            }
        }
    };
    timeout(PATIENCE, exchange).await.expect("there is an answer")
}

/// Opens so many streams at once, GETs of `target` over one connection without TLS, and tells how many were answered before the
/// other side ended it, or all were.
///
/// # Panics
/// When nobody listens, or neither happens in time.
pub async fn answered(address: SocketAddr, target: &[u8], streams: u32) -> u32 {
    const ACK: u8 = 1;
    let fields = encoded(&head(b"gateway", target));
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        let mut request = PREFACE.to_vec();
        push_frame(&mut request, SETTINGS, 0, 0, &[]);
        let _ = stream.write_all(&request).await;
        let (mut bytes, mut answered) = (Vec::new(), 0);
        while answered < streams && stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            while let Some((kind, flags, _, length)) = frame(&bytes) {
                match kind {
                    // What it allows holds once that is acknowledged.
                    SETTINGS if flags & ACK == 0 => {
                        let mut opened = Vec::new();
                        push_frame(&mut opened, SETTINGS, ACK, 0, &[]);
                        for index in 0..streams {
                            push_frame(&mut opened, HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, &fields);
                        }
                        let _ = stream.write_all(&opened).await;
                    }
                    HEADERS | DATA if flags & END_STREAM != 0 => answered += 1,
                    _ => {}
                }
                bytes.drain(..length);
            }
        }
        answered
    };
    timeout(PATIENCE, exchange).await.expect("it comes to an end")
}

/// Of a GET.
fn head<'a>(authority: &'a [u8], target: &'a [u8]) -> [(&'a [u8], &'a [u8]); 4] {
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", authority), (b":path", target)]
}

fn encoded(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Literal, not to be remembered, not compressed.
        block.push(0);
        push_text(&mut block, name);
        push_text(&mut block, value);
    }
    block
}

/// What the gateway tells of itself when a connection begins, by the numbers of RFC 9113, 6.5.2.
///
/// # Panics
/// When nobody listens, or nothing comes back.
pub async fn settings(address: SocketAddr) -> Vec<(u16, u32)> {
    let mut request = PREFACE.to_vec();
    push_frame(&mut request, SETTINGS, 0, 0, &[]);
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(&request).await.expect("it listens");
        let mut bytes = Vec::new();
        loop {
            if let Some((kind, _, payload, _)) = frame(&bytes) {
                assert_eq!(kind, SETTINGS, "they come first");
                let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
                let setting = |setting: &[u8]| (u16::from_be_bytes([setting[0], setting[1]]), number(&setting[2..]));
                return payload.chunks_exact(6).map(setting).collect();
            }
            assert!(stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0), "it speaks HTTP/2");
        }
    };
    timeout(PATIENCE, exchange).await.expect("there is an answer")
}

fn push_frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// RFC 7541, 5.2, with an integer of a prefix of 7 bits.
fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    if let Ok(length @ ..127) = u8::try_from(text.len()) {
        bytes.push(length);
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).expect("below 128") | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("below 128"));
    }
    bytes.extend_from_slice(text);
}

/// Kind, flags, payload and how long the frame is.
fn frame(bytes: &[u8]) -> Option<(u8, u8, &[u8], usize)> {
    let [a, b, c, kind, flags, ..] = bytes else { return None };
    let length = 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
    Some((*kind, *flags, bytes.get(9..length)?, length))
}

/// The first field of an answer is its status: one of the static table, or three digits, compressed or not.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let block = if block.first().is_some_and(|byte| byte & 0xe0 == 0x20) { &block[1..] } else { block };
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        [0x48, 3, digits @ ..] => {
            std::str::from_utf8(&digits[..3]).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        [0x48, coded, digits @ ..] => {
            let mut bits = digits
                .iter()
                .take(usize::from(coded & 0x7f))
                .flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1));
            let mut take =
                |count: u32| (0..count).fold(0_u16, |value, _| value << 1 | u16::from(bits.next().unwrap_or(1)));
            (0..3).fold(0, |status, _| {
                // 0, 1 and 2 have five bits, the others six.
                let short = take(5);
                let digit = if short < 3 { short } else { (short << 1 | take(1)) - 0b011_001 + 3 };
                status * 10 + digit
            })
        }
        _ => 0,
    }
}
