use super::super::{Config, Refused, Sources, resolve};
use super::*;

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file.to_owned())), ..Sources::default() })
}

/// Of the listener, and what is warned of.
fn range_of(lines: &str) -> (TlsRange, Vec<String>) {
    let (config, warnings) = resolved(&format!("[mutualSSLConfig]\n{lines}")).unwrap();
    (config.listeners.tls, warnings.into_iter().map(|warning| warning.message).collect())
}

fn error(lines: &str) -> String {
    let Err(Refused(problems)) = resolved(&format!("[mutualSSLConfig]\n{lines}")) else {
        panic!("{lines} is accepted")
    };
    problems[0].message.clone()
}

fn range(least: TlsVersion, most: TlsVersion) -> TlsRange {
    TlsRange { least, most, ciphers: Vec::new() }
}

#[test]
fn versions() {
    use TlsVersion::{V12, V13};
    assert_eq!(range_of(""), (TlsRange::default(), Vec::new()));
    assert_eq!(range_of("protocolVersions = 'TLSv1.3'").0, range(V13, V13));
    assert_eq!(range_of("protocolVersions = ['TLSv1.3', 'TLSv1.2']"), (range(V12, V13), Vec::new()));
    let old = "`mutualSSLConfig.protocolVersions`: TLSv1.1 is not offered".to_owned();
    assert_eq!(range_of("protocolVersions = 'TLSv1.2,TLSv1.1'"), (range(V12, V12), vec![old]));
    let none = "`mutualSSLConfig.protocolVersions` leaves no version that is offered: TLSv1.2 and TLSv1.3 are";
    assert_eq!(error("protocolVersions = 'TLSv1.1,TLSv1'"), none);
    assert_eq!(error("protocolVersions = ''"), none);
    let unknown = "`mutualSSLConfig.protocolVersions` has `TLSv1.4` in it, which is no version of TLS";
    assert_eq!(error("protocolVersions = 'TLSv1.4'"), unknown);
}

#[test]
fn cipher_suites() {
    let (range, warnings) = range_of(
        "ciphers = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA, ECDHE-RSA-AES128-GCM-SHA256,\
         TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256'",
    );
    assert_eq!(range.ciphers, ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]);
    assert_eq!(warnings, ["`mutualSSLConfig.ciphers`: 2 of 6 suites are not offered"]);
    let none = "`mutualSSLConfig.ciphers` leaves no cipher suite of TLS 1.2 that is offered";
    assert_eq!(error("ciphers = 'TLS_RSA_WITH_AES_128_CBC_SHA'"), none);
    assert_eq!(error("protocolVersions = 'TLSv1.2'\nciphers = 'TLS_AES_128_GCM_SHA256'"), none);
    // Suites of TLS 1.3 alone: TLS 1.2 was not asked for.
    let (range, warnings) = range_of("ciphers = 'TLS_AES_128_GCM_SHA256'");
    assert_eq!((range, warnings), (self::range(TlsVersion::V13, TlsVersion::V13), Vec::new()));
}

#[test]
fn backends_have_their_own() {
    let (config, _) = resolved("[httpClients.sslConfig]\nprotocolVersions = 'TLSv1.2'").unwrap();
    assert_eq!(config.backends.tls, range(TlsVersion::V12, TlsVersion::V12));
    assert_eq!(config.listeners.tls, TlsRange::default());
}
