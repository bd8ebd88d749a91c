//! Discovery against real servers, and against a DNS server of its own.

#[expect(dead_code, reason = "what other tests need of it is theirs")]
mod consul_server;
mod dns_server;
#[path = "../../../tests/src/etcd.rs"]
mod etcd_server;
mod instances;
mod keys;
mod names;
mod services;

use std::time::Duration;

use microgw_compiler::model::BackendUrl;
use microgw_compiler::snapshot::Found;
use microgw_discovery::{Discovery, Wanted};

/// Long enough for a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `target` was found as `expected` says.
pub async fn wait_for(
    discovery: &Discovery,
    target: &Wanted,
    expected: impl Fn(Option<&Found>) -> bool,
) -> Option<Found> {
    let mut found = discovery.found();
    let finds = tokio::time::timeout(PATIENCE, found.wait_for(|finds| expected(finds.get(target)))).await;
    let Ok(finds) = finds else {
        panic!("{target:?}: {:?}; {:?}", discovery.found().borrow().get(target), discovery.status());
    };
    finds.unwrap().get(target).cloned()
}

/// Waits until `target` has these addresses.
pub async fn wait_for_addresses(discovery: &Discovery, target: &Wanted, addresses: &[&str]) {
    wait_for(discovery, target, |found| found.is_some_and(|found| shown(found) == addresses)).await;
}

pub fn shown(found: &Found) -> Vec<String> {
    found.addresses().map(|address| address.to_string()).collect()
}

pub fn url(text: &str) -> BackendUrl {
    microgw_compiler::url::parse(text).unwrap()
}
