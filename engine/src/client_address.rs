//! Where a request comes from, as far as proxies that are trusted say.

use std::net::{IpAddr, Ipv6Addr};

/// Whom the outermost trusted proxy saw, by the values of `x-forwarded-for`: Envoy appended the last entry, and each trusted
/// proxy one before that. What the client itself sent comes before these, and never counts. `None` where there are fewer:
/// such callers share a count.
pub fn client_address<'a>(values: impl DoubleEndedIterator<Item = &'a str>, trusted_hops: u32) -> Option<IpAddr> {
    let mut entries = values.rev().flat_map(|value| value.rsplit(','));
    entries.nth(usize::try_from(trusted_hops).ok()?)?.trim().parse().ok()
}

/// Whom an address stands for: an IPv6 host has the whole /64 to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}
