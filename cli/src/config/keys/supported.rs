//! The keys that do something.

use super::Key;
use super::Kind::{Bool, CommaList, Integer, List, OneOf, Path, Secret, Text};

const PORT: super::Kind = Integer(0, 65_535);

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    Key::new("listenerConfig.host", Text, "127.0.0.1", "IP address to listen on; `0.0.0.0` for all of IPv4."),
    Key::new("listenerConfig.httpPort", PORT, "9090", "Port for HTTP; 0: any free one."),
    Key::new("listenerConfig.httpsPort", PORT, "9095", "Port for HTTPS; 0: any free one."),
    Key::new("listenerConfig.certificatePath", Path, "", "PEM certificate chain of the HTTPS listener. Without one a self-signed certificate is made."),
    Key::new("listenerConfig.privateKeyPath", Path, "", "PEM private key that belongs to `certificatePath`."),
    Key::new("listenerConfig.keyStorePath", Path, "", "PKCS#12 store with the key of the HTTPS listener, instead of PEM files."),
    Key::new("listenerConfig.keyStorePassword", Secret, "ballerina", "Its password."),
    Key::new("listenerConfig.certificateAlias", Text, "", "Alias of the key, if the store has several."),
    Key::new("listenerConfig.trustStorePath", Path, "", "PKCS#12 store, or PEM file, of trusted certificates: for backends, key sets, and signers by alias. Without one the system's authorities are trusted."),
    Key::new("listenerConfig.trustStorePassword", Secret, "ballerina", "Its password."),
    Key::new("listenerConfig.maxHeaderSize", Integer(1024, 262_144), "8192", "Bytes of a request's head, rounded up to 1024; a longer one is answered 431."),
    Key::new("listenerConfig.maxEntityBodySize", Integer(-1, 4_294_967_295), "-1", "Bytes of a request's body; a longer one is answered 413. -1: no limit."),

    Key::new("authConfig.authorizationHeader", Text, "Authorization", "Header that carries access tokens, unless the API names another."),
    Key::new("authConfig.removeAuthHeaderFromOutMessage", Bool, "true", "Take credentials out of what backends see."),
    Key::new("jwtConfig.header", Text, "X-JWT-Assertion", "Header of the backend JWT. Clients' own are removed."),
    Key::new("server.timestampSkew", Integer(0, 600_000), "5000", "Milliseconds by which clocks may differ; whole seconds count."),

    Key::new("jwtTokenConfig[].issuer", Text, "", "Must equal `iss`."),
    Key::new("jwtTokenConfig[].audience", List, "", "Any one must be in `aud`; none: not checked."),
    Key::new("jwtTokenConfig[].jwksURL", Text, "", "Where the issuer publishes its keys: `https:`, `file:`, or `http:` on this host."),
    Key::new("jwtTokenConfig[].allowInsecureJwks", Bool, "false", "Fetch keys over `http:` from another host."),
    Key::new("jwtTokenConfig[].certificatePath", Path, "", "PEM certificate or public key of the issuer."),
    Key::new("jwtTokenConfig[].certificateAlias", Text, "", "Alias of the issuer's certificate in `listenerConfig.trustStorePath`."),
    Key::new("jwtTokenConfig[].algorithms", CommaList, "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,EdDSA", "Signature algorithms that are accepted."),

    Key::new("apikey.tokenConfigs.issuer", Text, "https://localhost:9095/apikey", "Issuer of the API keys that are accepted."),
    Key::new("apikey.tokenConfigs.validateAllowedAPIs", Bool, "false", "Refuse API keys that do not list the APIs they are for. A list is always obeyed."),
    Key::new("apikey.tokenConfigs.certificateAlias", Text, "", "Alias, in `listenerConfig.trustStorePath`, of another certificate that verifies API keys."),
    Key::new("apikey.tokenConfigs.certificatePath", Path, "", "The same as a PEM file: certificate or public key."),
    Key::new("apikey.issuer.tokenConfig.enabled", Bool, "true", "Serve `/apikey` on the HTTPS listener."),
    Key::new("apikey.issuer.tokenConfig.issuer", Text, "https://localhost:9095/apikey", "`iss` of the API keys that are made."),
    Key::new("apikey.issuer.tokenConfig.validityTime", Integer(-1, 3_155_760_000), "2592000", "Seconds that an API key lives; -1: without end, and such keys are accepted."),
    Key::new("apikey.issuer.tokenConfig.privateKeyPath", Path, "", "PEM key that signs API keys. Without one it is made on first run, in `gateway.dataDir`."),
    Key::new("apikey.issuer.tokenConfig.keyStorePath", Path, "", "PKCS#12 store with that key. API keys name it by its alias."),
    Key::new("apikey.issuer.tokenConfig.keyStorePassword", Secret, "", "Its password. Default: that of `listenerConfig.keyStorePath`."),
    Key::new("apikey.issuer.tokenConfig.certificateAlias", Text, "", "Alias of the key, if the store has several."),
    Key::new("apikey.issuer.api[].name", Text, "", "API that keys are made for; none listed: all."),
    Key::new("apikey.issuer.api[].versions", CommaList, "*", "Its versions; `*`: all."),

    Key::new("b7a.users.*.password", Secret, "", "SHA-1 in lower-case hex, `@sha256:{hex}`, `@sha512:{hex}`, or argon2 in PHC form."),
    Key::new("b7a.users.*.scopes", CommaList, "", "What the user may do."),
    Key::new("b7a.log.level", OneOf(&["OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"]), "INFO", "What is logged."),
    Key::new("b7a.log.format", OneOf(&["human", "json"]), "human", "How: lines for people, or one JSON object per line."),
    Key::new("b7a.http.accesslog.console", Bool, "false", "Log requests to stdout."),
    Key::new("b7a.http.accesslog.path", Path, "", "Log requests to this file."),
    Key::new("http2.enable", Bool, "true", "HTTP/2 on the listeners."),
    Key::new("httpClients.sslConfig.trustStorePath", Path, "", "PKCS#12 store, or PEM file, that backends are verified against. Default: `listenerConfig.trustStorePath`."),
    Key::new("httpClients.sslConfig.trustStorePassword", Secret, "", "Its password. Default: that of `listenerConfig.trustStorePath`."),
    Key::new("caching.enabled", Bool, "true", "Remember tokens that were verified."),
    Key::new("caching.tokenCacheExpiryTime", Integer(1, 86_400_000), "900000", "Milliseconds that a token is remembered, at most until its `exp`."),
    Key::new("caching.tokenCacheCapacity", Integer(1, 10_000_000), "10000", "Tokens that are remembered."),

    Key::new("adminConfig.address", Text, "127.0.0.1:9000", "Where `/live`, `/ready`, `/status` and `/metrics` are served."),
    Key::new("envoyConfig.path", Path, "", "The Envoy to run, unless `--envoy` names one."),
    Key::new("envoyConfig.concurrency", Integer(0, 1024), "0", "Envoy's worker threads; 0: one per core."),
    Key::new("envoyConfig.logLevel", OneOf(&["trace", "debug", "info", "warning", "error", "critical", "off"]), "warning", "What Envoy logs. `debug` and `trace` show requests with their credentials."),
    Key::new("envoyConfig.maxConnections", Integer(1, 10_000_000), "50000", "Client connections; those above are closed at once."),
    Key::new("envoyConfig.maxHeapSize", Integer(0, 1 << 50), "0", "Bytes; near it Envoy refuses requests. 0: no limit."),
    Key::new("envoyConfig.drainTimeout", Integer(0, 3_600_000), "5000", "Milliseconds that requests in flight may take to end when the gateway stops."),
    Key::new("gateway.dataDir", Path, "", "What outlives the process: keys, certificates, the last live artifact. Default: `$XDG_DATA_HOME/micro-gw`."),
    Key::new("gateway.socketDir", Path, "", "Directory of the sockets between gateway and Envoy. Default: one of its own for `run`."),
    Key::new("gateway.publishTimeout", Integer(100, 600_000), "10000", "Milliseconds that an Envoy has to acknowledge a new snapshot."),
    Key::new("gateway.trustedHops", Integer(0, 32), "0", "Proxies in front of the gateway that append to `x-forwarded-for`."),
    Key::new("gateway.probe", List, "", "URLs that must answer with the new generation before it is live."),
];
