//! Whom `x-forwarded-for` says to be calling: what the client wrote itself never counts.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use microgw_extproc::apikey::client_address;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "client_address",
    run,
    reaches: &["too few", "no address", "an address"],
    dictionary: &[
        ",",
        ", ",
        "\n",
        "192.0.2.7",
        "2001:db8::7",
        "::ffff:192.0.2.7",
        "[::1]",
        "unknown",
        "192.0.2.7:80",
        " ",
        "\t",
    ],
    mutations: 3000,
};

/// The number of trusted proxies, then the header's values in a line each.
pub fn run(data: &[u8]) -> Reached {
    let Some((hops, values)) = data.split_first() else { return "too few" };
    let hops = u32::from(hops.saturating_sub(b'0')).min(64);
    let mut headers = HeaderMap::new();
    let mut entries: Vec<&[u8]> = Vec::new();
    for value in values.split(|byte| *byte == b'\n') {
        let Ok(header) = HeaderValue::from_bytes(value) else { continue };
        // What is not ASCII cannot be an address, but it is an entry.
        match header.to_str() {
            Ok(_) => entries.extend(value.split(|byte| *byte == b',')),
            Err(_) => entries.push(b"?"),
        }
        headers.append("x-forwarded-for", header);
    }
    let position = entries.len().checked_sub(1 + hops as usize);
    let expected = position.and_then(|at| std::str::from_utf8(entries[at]).ok()?.trim().parse::<IpAddr>().ok());
    assert_eq!(client_address(&headers, hops), expected);
    match (position, expected) {
        (None, _) => "too few",
        (_, None) => "no address",
        _ => "an address",
    }
}
