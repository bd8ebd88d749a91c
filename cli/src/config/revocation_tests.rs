use super::super::{Refused, Sources, resolve};
use super::*;

fn resolved(text: &str) -> (Option<Revocation>, Vec<String>) {
    match resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), text.to_owned())), ..Sources::default() }) {
        Ok((config, warnings)) => (config.revocation, warnings.into_iter().map(|warning| warning.message).collect()),
        Err(Refused(problems)) => (None, problems.into_iter().map(|problem| problem.message).collect()),
    }
}

#[test]
fn nothing_can_be_revoked_unless_somebody_says_what_is() {
    assert_eq!(resolved(""), (None, vec![]));
    let (revocation, problems) = resolved("[revocation]\nonStale = 'allow'");
    assert_eq!(revocation, None);
    assert_eq!(problems, ["`revocation.onStale` is given, and nobody says what is revoked"]);
}

#[test]
fn a_file_is_relative_to_the_settings() {
    let expected = Revocation {
        file: Some("/etc/gw/revoked.jsonl".into()),
        redis: false,
        allow_stale: false,
        most: 1_000_000,
        retention: Some(Duration::from_hours(24 * 31)),
    };
    assert_eq!(resolved("[revocation]\nfile = 'revoked.jsonl'"), (Some(expected.clone()), vec![]));
    let text = "[revocation]\nfile = 'revoked.jsonl'\nonStale = 'allow'\nmaxEntries = 5\nretentionTime = -1";
    let (revocation, problems) = resolved(text);
    assert_eq!(revocation, Some(Revocation { allow_stale: true, most: 5, retention: None, ..expected }));
    let told = "`revocation.onStale` is `allow`: while no news of revocations come, those of that time are not obeyed";
    assert_eq!(problems, [told]);
}

#[test]
fn what_is_revoked_does_not_come_back() {
    for (validity, retention, fits) in [(100, 100, true), (100, 99, false), (-1, 1_000_000, false), (-1, -1, true)] {
        let text = format!(
            "[revocation]\nfile = 'x'\nretentionTime = {retention}\n[apikey.issuer.tokenConfig]\nvalidityTime = {validity}"
        );
        assert_eq!(resolved(&text).0.is_some(), fits, "{text}");
    }
}

#[test]
fn the_old_settings_name_the_new_ones() {
    for key in ["realtime.enableRealtimeMessageRetrieval", "persistent.enablePersistentStorageRetrieval"] {
        let sources = Sources { overrides: vec![format!("tokenRevocationConfig.{key}=true")], ..Sources::default() };
        let Err(refused) = resolve(&sources) else { panic!("{key} is accepted") };
        assert!(refused.to_string().contains("`[revocation]`"), "{refused}");
    }
}
