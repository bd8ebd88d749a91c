use std::path::PathBuf;

use microgw_compiler::settings::TlsVersion;

use super::super::{Config, Refused, Sources, resolve};
use super::*;

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file.to_owned())), ..Sources::default() })
}

fn errors(file: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(file) else { panic!("{file} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
}

#[test]
fn each_has_its_own_and_the_rest_of_all() {
    let (config, warnings) = resolved(
        "[listenerConfig]\ntrustStorePath = 'all.pem'\n\
         [[httpClients.tlsProfiles]]\nname = 'partner'\ntrustStorePath = 'partner.pem'\n\
         certificatePath = 'me.crt'\nprivateKeyPath = 'me.key'\nprotocolVersions = 'TLSv1.3'\n\
         [[httpClients.tlsProfiles]]\nname = 'plain'",
    )
    .unwrap();
    assert_eq!(warnings, []);
    let [partner, plain] = config.tls_profiles.as_slice() else { panic!("two profiles") };
    let path = |profile: &TlsProfile| profile.trust.as_ref().map(|store| store.path.clone());
    assert_eq!((path(partner), partner.range.least), (Some(PathBuf::from("/etc/gw/partner.pem")), TlsVersion::V13));
    assert!(matches!(&partner.identity, Some(IdentityFiles::Pem { .. })));
    assert_eq!((path(plain), plain.range.least), (Some(PathBuf::from("/etc/gw/all.pem")), TlsVersion::V12));
    assert_eq!(plain.identity, None);
}

#[test]
fn names_and_files_that_cannot_be() {
    let profile = |lines: &str| format!("[[httpClients.tlsProfiles]]\n{lines}\n");
    let unnamed = errors(&profile("trustStorePath = 'a.pem'"));
    assert_eq!(unnamed, ["`httpClients.tlsProfiles[0].name` must be letters, digits, `-` and `_`, at most 64"]);
    assert_eq!(errors(&profile("name = 'a/b'")).len(), 1);
    let twice = errors(&(profile("name = 'a'") + &profile("name = 'a'")));
    assert_eq!(twice, ["`httpClients.tlsProfiles[1].name` is `a`, as that of another profile is"]);
    let half = errors(&profile("name = 'a'\ncertificatePath = 'me.crt'"));
    assert_eq!(
        half,
        ["`httpClients.tlsProfiles[0].certificatePath` needs `httpClients.tlsProfiles[0].privateKeyPath`"]
    );
}
