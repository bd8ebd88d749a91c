//! Headers that many backends believe about a request, whatever the request itself says. What a client writes into them did not take
//! part in any decision.

/// Frameworks run another operation for the sake of these: another method, or another path. Nobody may set them.
pub const OPERATION: [&str; 9] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-request-uri",
    "x-rewrite-url",
];

/// Another host or scheme, or another path before the one of the request. Gateways and proxies set them; clients may not, unless settings say so.
pub const HOST: [&str; 16] = [
    "forwarded",
    "front-end-https",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-script-name",
    "x-url-scheme",
];

/// Another address of the client than the one that the gateway knows, which `x-forwarded-for` tells. As for [`HOST`].
pub const ADDRESS: [&str; 8] = [
    "cf-connecting-ip",
    "fastly-client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-real-ip",
];

/// Those that settings may let through, as clients or the proxies before the gateway sent them.
pub fn keepable() -> impl Iterator<Item = &'static str> {
    HOST.into_iter().chain(ADDRESS)
}

/// What no definition may set, or take a credential from; to CGI and its kin `_` is `-`.
pub fn is_override(name: &str) -> bool {
    let alike = name.to_ascii_lowercase().replace('_', "-");
    OPERATION.iter().chain(&HOST).any(|known| *known == alike)
}
