use super::*;

#[test]
fn waits_longer_after_each_failure() {
    let mut backoff = Backoff::default();
    let delays: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
    assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    backoff.ran(Duration::from_secs(29));
    assert_eq!(backoff.next(), Backoff::LONGEST);
    backoff.ran(Duration::from_secs(30));
    assert_eq!(backoff.next(), Backoff::FIRST);
}

#[test]
fn levels_are_those_of_envoy() {
    for level in LogLevel::ALL {
        assert_eq!(level.as_str().to_uppercase().parse(), Ok(level));
    }
    assert_eq!("warn".parse(), Ok(LogLevel::Warning));
    assert_eq!("loud".parse::<LogLevel>(), Err(UnknownLogLevel));
}
