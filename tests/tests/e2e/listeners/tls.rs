//! What the HTTPS listener offers by itself: TLS 1.2 and 1.3, with forward secrecy and authenticated encryption.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::raw::exchange;

use super::shop;

/// RFC 5246 section 7.4.1.2, and what old versions know of it: P-256, P-384 and X25519, and the signatures of ECDSA and RSA.
fn hello(version: u16, suites: &[u16], extended_master_secret: bool) -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
    };
    let mut extensions = extension(10, &[0, 6, 0, 29, 0, 23, 0, 24]);
    extensions.extend(extension(11, &[1, 0]));
    if version >= 0x0303 {
        extensions.extend(extension(13, &[0, 10, 4, 3, 8, 4, 4, 1, 5, 3, 2, 1]));
    }
    if extended_master_secret {
        extensions.extend(extension(23, &[]));
    }
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    let record = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &record, &handshake].concat()
}

/// The suite that is chosen, or the alert (RFC 8446 section 6).
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Suite(u16),
    Alert(u8),
}

async fn answer(address: SocketAddr, hello: &[u8]) -> Answer {
    // Its head is enough to go by.
    let bytes = exchange(address, hello, |bytes| bytes.len() >= 7 && (bytes[0] != 22 || bytes.len() >= 80)).await;
    match bytes[0] {
        21 => Answer::Alert(bytes[6]),
        22 => {
            let session = usize::from(bytes[43]);
            Answer::Suite(u16::from_be_bytes([bytes[44 + session], bytes[45 + session]]))
        }
        other => panic!("a record of type {other}: {bytes:?}"),
    }
}

const ECDHE_ECDSA_AES_128_GCM: u16 = 0xc02b;
const ECDHE_ECDSA_AES_256_GCM: u16 = 0xc02c;
const ECDHE_ECDSA_CHACHA20: u16 = 0xcca9;

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let address = gateway.live.https.unwrap();
    // Its own certificate has a key of P-256.
    for suite in [ECDHE_ECDSA_AES_128_GCM, ECDHE_ECDSA_AES_256_GCM, ECDHE_ECDSA_CHACHA20] {
        assert_eq!(answer(address, &hello(0x0303, &[suite], true)).await, Answer::Suite(suite));
    }
    // SSL 3.0, TLS 1.0 and 1.1, whatever else they offer: protocol_version.
    for version in [0x0300, 0x0301, 0x0302] {
        let offered = [0xc009, 0xc00a, 0xc013, 0xc014, 0x002f, 0x0035, 0x000a];
        assert_eq!(answer(address, &hello(version, &offered, false)).await, Answer::Alert(70), "{version:04x}");
    }
    // No forward secrecy, no authenticated encryption, no encryption, no authentication: handshake_failure.
    for suite in [
        0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0xc009, 0xc00a, 0xc023, 0xc024, 0xc013, 0xc014, 0xc027, 0xc028,
        0x000a, 0x0005, 0xc007, 0xc011, 0x0033, 0x0039, 0x009e, 0x009f, 0x0000, 0x0001, 0x003b, 0xc018, 0x0034, 0x0016,
        0xc008, 0xc012,
    ] {
        assert_eq!(answer(address, &hello(0x0303, &[suite], true)).await, Answer::Alert(40), "{suite:04x}");
    }
}
