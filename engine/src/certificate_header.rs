//! Proxies that end TLS in front of the gateway, and tell it their clients' certificates.

use std::net::IpAddr;
use std::sync::Arc;

use microgw_proto::rules::v1 as proto;

use crate::client_trust::ClientTrust;
use crate::policy::header_name;
use crate::rules::LoadError;

/// The header, and who may send it.
#[derive(Debug)]
pub(crate) struct CertificateHeader {
    /// Lower-case.
    pub(crate) name: Box<str>,
    /// By their own certificates.
    pub(crate) proxies: Arc<ClientTrust>,
    addresses: Box<[AddressRange]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRange {
    /// Those bits of it that do not count are 0.
    address: IpAddr,
    prefix: u32,
}

// === impl CertificateHeader ===

impl CertificateHeader {
    pub(crate) fn load(header: &proto::CertificateHeader) -> Result<CertificateHeader, LoadError> {
        let nobody = proto::ClientTrust::default();
        Ok(CertificateHeader {
            name: header_name(&header.name)?.into(),
            proxies: ClientTrust::load(header.proxies.as_ref().unwrap_or(&nobody))?,
            addresses: header.addresses.iter().map(AddressRange::load).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a connection from `peer` is one of the proxies'.
    pub(crate) fn believes(&self, peer: &str) -> bool {
        !self.addresses.is_empty()
            && peer.parse().is_ok_and(|peer| self.addresses.iter().any(|range| range.contains(peer)))
    }
}

// === impl AddressRange ===

impl AddressRange {
    fn load(range: &proto::AddressRange) -> Result<AddressRange, LoadError> {
        let bytes = range.address.as_slice();
        let address = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
        let address = address.map_err(|_| LoadError::AddressRange)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if range.prefix > most {
            return Err(LoadError::AddressRange);
        }
        Ok(AddressRange { address: masked(address, range.prefix), prefix: range.prefix })
    }

    /// An IPv4 address is one also where a socket of IPv6 shows it.
    fn contains(self, peer: IpAddr) -> bool {
        let peer = if self.address.is_ipv4() { peer.to_canonical() } else { peer };
        peer.is_ipv4() == self.address.is_ipv4() && masked(peer, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or_default();
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or_default();
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |text: &str, prefix| {
            let bytes = match text.parse().unwrap() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            AddressRange::load(&proto::AddressRange { address: bytes, prefix })
        };
        let contains = |text: &str, prefix, peer: &str| range(text, prefix).unwrap().contains(peer.parse().unwrap());
        assert!(contains("10.1.2.3", 8, "10.255.0.1") && !contains("10.1.2.3", 8, "11.0.0.1"));
        assert!(contains("10.1.2.3", 32, "10.1.2.3") && !contains("10.1.2.3", 32, "10.1.2.2"));
        assert!(contains("10.0.0.0", 8, "::ffff:10.0.0.1") && contains("0.0.0.0", 0, "192.0.2.1"));
        assert!(!contains("0.0.0.0", 0, "2001:db8::1") && !contains("::", 0, "192.0.2.1"));
        assert!(contains("2001:db8::", 32, "2001:db8:1::1") && !contains("2001:db8::", 32, "2001:db9::1"));
        assert!(contains("::1", 128, "::1") && !contains("::1", 128, "::2"));
        assert!(range("10.0.0.0", 33).is_err() && range("::", 129).is_err());
        assert!(AddressRange::load(&proto::AddressRange { address: vec![1; 5], prefix: 0 }).is_err());
    }
}
