//! PKCS#12 stores, as keytool and OpenSSL make them. Those of the corpus have certificates and no keys.

use micro_gw::certificates::store::{KeyStore, TrustStore};

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "key_store",
    run,
    reaches: &["refused", "certificates"],
    dictionary: &["0\u{82}", "-----BEGIN CERTIFICATE-----", "\u{feed}\u{feed}", "\u{2}\u{1}\u{3}"],
    mutations: 1000,
};

const PASSWORD: &str = "changeit";

pub fn run(data: &[u8]) -> Reached {
    if let Ok(store) = KeyStore::from_pkcs12(data, PASSWORD)
        && let Ok(pair) = store.key_pair(None)
    {
        assert!(!pair.chain.is_empty(), "a key without its certificate");
    }
    let Ok(store) = TrustStore::read(data, PASSWORD) else { return "refused" };
    let Ok(authorities) = store.authorities() else { return "refused" };
    assert!(!authorities.is_empty());
    "certificates"
}
