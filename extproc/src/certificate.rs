//! What Envoy says of the other end of a client's connection.

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;
use microgw_engine::{ClientCertificate, Headers};

/// As `names` of the compiler has it.
const HEADER: &str = "x-forwarded-client-cert";

/// The certificates that it has shown, in the header that Envoy sets where it asks for them, and else takes away from clients:
/// `Hash=...;Chain="..."`. What is not in this form was not said by Envoy.
pub(crate) fn shown(headers: &dyn Headers) -> Option<ClientCertificate<'_>> {
    let text = headers.get(HEADER)?;
    // `By=` is the URI in the gateway's own certificate, if it has one.
    let text = if text.starts_with("By=") { text.split_once(";Hash=")?.1 } else { text.strip_prefix("Hash=")? };
    let (hash, chain) = text.split_once(";Chain=\"")?;
    let chain = chain.strip_suffix('"').filter(|chain| !chain.contains('"'))?;
    Some(ClientCertificate { thumbprint: hexadecimal(hash)?, chain })
}

/// Of the connection itself, whatever `x-forwarded-for` says.
pub(crate) fn address(peer: &Peer) -> &str {
    match peer.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => &socket.address,
        _ => "",
    }
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits = <&[u8; 64]>::try_from(text.as_bytes()).ok()?;
    let (pairs, _) = digits.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn only_what_envoy_says() {
        let hash = "0aF1".repeat(16);
        let read = |text: String| {
            shown(&HashMap::from([(HEADER.to_owned(), text)])).map(|it| (it.thumbprint, it.chain.to_owned()))
        };
        let expected = ([0x0a, 0xf1].repeat(16).try_into().unwrap(), "a%20b".to_owned());
        assert_eq!(read(format!("Hash={hash};Chain=\"a%20b\"")), Some(expected.clone()));
        let own = "By=spiffe://shop.example/gateway";
        assert_eq!(read(format!("{own};Hash={hash};Chain=\"a%20b\"")), Some(expected));
        for text in [
            String::new(),
            format!("Hash={hash}"),
            format!("Hash={hash};Chain=a"),
            format!("Hash={hash};Chain=\"a\",Hash={hash};Chain=\"b\""),
            format!("Hash={};Chain=\"a\"", &hash[1..]),
            format!("Hash=+{};Chain=\"a\"", &hash[1..]),
            "By=x;By=y;Chain=\"a\"".to_owned(),
            format!("x;Hash={hash};Chain=\"a\""),
        ] {
            assert_eq!(read(text.clone()), None, "{text}");
        }
        assert!(shown(&HashMap::<String, String>::new()).is_none());
    }
}
