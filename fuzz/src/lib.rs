//! Everything that reads what others wrote, against input that nobody would write.
//!
//! A target is a function of bytes that panics where the product is at fault: where it panics itself, or where it
//! answers otherwise than a naive reading of the same input. libFuzzer drives it (`fuzz_targets/`, `make fuzz`), and so do
//! the seeded tests of `make test`, which replay `corpus/` and a fixed number of mutations of it.

pub mod artifact;
pub mod certificate;
pub mod check;
pub mod check_bytes;
pub mod claims;
pub mod client_address;
pub mod conditions;
pub mod contract;
pub mod credentials;
pub mod envoy_log;
pub mod exchanges;
pub mod introspection;
pub mod issuer;
pub mod key_record;
pub mod key_store;
pub mod keys;
pub mod mutate;
pub mod openapi;
pub mod package;
pub mod paths;
pub mod project;
pub mod project_files;
pub mod proof;
pub mod query;
pub mod routes;
pub mod settings;
pub mod table;
pub mod token;
pub mod transforms;
pub mod verdicts;
pub mod xds;

/// One function to fuzz.
pub struct Target {
    /// Of its folder in `corpus/` and of its program.
    pub name: &'static str,
    /// Says how far the input came.
    pub run: fn(&[u8]) -> Reached,
    /// What inputs of the corpus must reach between them: a target that only ever sees its input refused tests little.
    pub reaches: &'static [Reached],
    /// What mutations insert.
    pub dictionary: &'static [&'static str],
    /// Mutations of the seeded test.
    pub mutations: u32,
}

/// How far an input came.
pub type Reached = &'static str;

/// By the name of the thing that is tested.
pub const TARGETS: [Target; 27] = [
    artifact::TARGET,
    certificate::TARGET,
    check::TARGET,
    check_bytes::TARGET,
    claims::TARGET,
    client_address::TARGET,
    conditions::TARGET,
    contract::TARGET,
    envoy_log::TARGET,
    exchanges::TARGET,
    introspection::TARGET,
    issuer::TARGET,
    key_record::TARGET,
    key_store::TARGET,
    keys::TARGET,
    openapi::TARGET,
    package::TARGET,
    paths::TARGET,
    project_files::TARGET,
    proof::TARGET,
    query::TARGET,
    routes::TARGET,
    settings::TARGET,
    token::TARGET,
    transforms::TARGET,
    verdicts::TARGET,
    xds::TARGET,
];
