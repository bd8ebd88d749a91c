//! Ranges of addresses. Both ends belong to them.

use std::net::IpAddr;

use microgw_proto::limits::v1 as proto;

use crate::rules::LoadError;

#[derive(Debug)]
pub(crate) struct Addresses {
    ranges: Box<[(IpAddr, IpAddr)]>,
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn load(addresses: &proto::Addresses) -> Result<Addresses, LoadError> {
        let range = |range: &proto::AddressRange| {
            let (first, last) = (address(&range.first)?, address(&range.last)?);
            let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
            if is_range { Ok((first, last)) } else { Err(LoadError::AddressRange) }
        };
        Ok(Addresses { ranges: addresses.ranges.iter().map(range).collect::<Result<_, _>>()? })
    }

    /// An address of IPv4 is the same however it is written.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        // Addresses of one family are less than all of the other.
        self.ranges.iter().any(|(first, last)| *first <= address && address <= *last)
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, LoadError> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map(|address| address.to_canonical()).map_err(|_| LoadError::AddressRange)
}
