use super::super::{Config, Refused, Sources, resolve};
use super::*;

fn resolved(text: &str) -> Result<Config, Vec<String>> {
    match resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), text.to_owned())), ..Sources::default() }) {
        Ok((config, warnings)) => {
            assert_eq!(warnings, [], "{text}");
            Ok(config)
        }
        Err(Refused(problems)) => Err(problems.into_iter().map(|problem| problem.message).collect()),
    }
}

#[test]
fn one_place_or_none() {
    assert_eq!(resolved("").unwrap().subscriptions, None);
    let file = resolved("[subscriptions]\nfile = 'subscriptions.json'").unwrap().subscriptions;
    let source = SubscriptionSource::File("/etc/gw/subscriptions.json".into());
    assert_eq!(file, Some(Subscriptions { source, most: 200_000 }));
    let redis = "[redis]\nurl = 'redis://127.0.0.1'\n[subscriptions]\nredis = true\nmaxEntries = 5";
    let expected = Subscriptions { source: SubscriptionSource::Redis, most: 5 };
    assert_eq!(resolved(redis).unwrap().subscriptions, Some(expected));
    for (text, problem) in [
        ("maxEntries = 5", "`subscriptions.maxEntries` is given, and subscriptions are kept nowhere"),
        (
            "file = 'x'\nredis = true",
            "`subscriptions.file` and `subscriptions.redis` are two places that may say different things: give one",
        ),
        ("redis = true", "`subscriptions.redis` is set, and `[redis]` does not say where Redis is"),
    ] {
        assert_eq!(resolved(&format!("[subscriptions]\n{text}")).unwrap_err(), [problem], "{text}");
    }
}

#[test]
fn an_issuer_validates_as_it_says_or_as_all_do() {
    let issuer = |name: &str, own: &str| {
        format!("[[jwtTokenConfig]]\nissuer = 'https://{name}/'\njwksURL = 'https://{name}/keys'\n{own}\n")
    };
    let validate = |text: &str| {
        let config = resolved(text).unwrap();
        (
            config.looks_at_subscriptions(),
            config.issuers.iter().map(|issuer| issuer.settings.validate_subscription).collect::<Vec<_>>(),
        )
    };
    let issuers =
        [issuer("a", ""), issuer("b", "validateSubscription = true"), issuer("c", "validateSubscription = false")];
    assert_eq!(validate(&issuers.concat()), (true, vec![false, true, false]));
    let all = format!("[security]\nvalidateSubscriptions = true\n{}", issuers.concat());
    assert_eq!(validate(&all), (true, vec![true, true, false]));
    assert_eq!(validate(&issuers[0]), (false, vec![false]));
}
