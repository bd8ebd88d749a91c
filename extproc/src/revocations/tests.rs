use microgw_engine::Revoked;

use super::*;

fn settings() -> RevocationSettings {
    RevocationSettings { most: 3, keep: Some(Duration::from_hours(1)), allow_stale: false, file: None, stream: true }
}

fn name(id: &str) -> RevocationName {
    Revoked::TokenId(id).name()
}

impl Revocations {
    fn tell(&self, id: &str, end: u64) -> bool {
        self.told.insert(name(id), end, self.settings.most)
    }
}

#[tokio::test]
async fn nobody_is_let_in_before_the_feed_was_heard() {
    let revocations = Revocations::new(settings(), &Metrics::new());
    assert_eq!(revocations.standing(&[name("a")]), Standing::Unknown);
    assert!(!revocations.is_complete());
    revocations.stream.as_ref().unwrap().complete_at(Instant::now());
    assert_eq!(revocations.standing(&[name("a")]), Standing::Good);
    assert!(revocations.tell("a", 10));
    assert_eq!(revocations.standing(&[name("b"), name("a")]), Standing::Revoked);
    assert_eq!(revocations.standing(&[name("b")]), Standing::Good);
}

#[test]
fn a_feed_that_falls_silent_is_stale_unless_that_is_allowed() {
    for allow_stale in [false, true] {
        let mut revocations = Revocations::silent(RevocationSettings { allow_stale, ..settings() });
        revocations.tell("a", 10);
        let feed = revocations.stream.as_mut().unwrap();
        feed.started = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        feed.complete_at(Instant::now().checked_sub(STALE).unwrap());
        let expected = if allow_stale { Standing::Good } else { Standing::Unknown };
        assert_eq!(revocations.standing(&[name("b")]), expected);
        assert_eq!(revocations.standing(&[name("a")]), Standing::Revoked, "what is known stays known");
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_never_dropped_silently() {
    let metrics = Metrics::new();
    let revocations = Revocations::new(settings(), &metrics);
    let feed = revocations.stream.as_ref().unwrap();
    feed.complete_at(Instant::now());
    for (id, fits) in [("a", true), ("b", true), ("c", true), ("d", false), ("a", true)] {
        assert_eq!(revocations.tell(id, 10), fits, "{id}");
    }
    feed.set_full(true);
    assert_eq!(revocations.standing(&[name("d")]), Standing::Unknown);
    assert_eq!(revocations.standing(&[name("a")]), Standing::Revoked);
    let page = metrics.render(Vec::new(), crate::metrics::Exposition::OpenMetrics);
    assert!(page.contains("microgw_revocations_full{feed=\"redis\"} 1"), "{page}");
    assert!(page.contains("microgw_revocations 3"), "{page}");
    assert!(page.contains("microgw_revocation_lag_seconds{feed=\"redis\"} 0."), "{page}");
}

#[tokio::test]
async fn what_has_ended_is_forgotten_and_makes_room() {
    let revocations = Revocations::new(settings(), &Metrics::new());
    let listed = Ends::from([(name("x"), 100), (name("y"), 200)]);
    revocations.listed.store(Arc::new(listed));
    revocations.tell("a", 100);
    revocations.tell("a", 90);
    revocations.tell("b", 200);
    revocations.forget(99);
    assert_eq!(revocations.len(), 4, "of two ends the later counts");
    revocations.forget(100);
    assert_eq!(revocations.len(), 2);
    assert_eq!(revocations.standing(&[name("a")]), Standing::Unknown);
    assert_eq!(revocations.standing(&[name("y")]), Standing::Revoked);
}

#[tokio::test]
async fn an_entry_outlives_the_token_by_the_greatest_skew() {
    let revocations = Revocations::new(settings(), &Metrics::new());
    let entry = |end| Entry { name: name("a"), end };
    assert_eq!(revocations.end(&entry(Some(1000)), 1000), Some(1600));
    assert_eq!(revocations.end(&entry(Some(1000)), 1600), None);
    assert_eq!(revocations.end(&entry(None), 1000), Some(4600));
    assert_eq!(revocations.end(&entry(Some(u64::MAX)), 1000), Some(u64::MAX));
}

#[test]
fn entries_are_read_as_they_are_documented_and_as_the_old_product_listed_them() {
    let read = |text: &str| Entry::from_json(&serde_json::from_str(text).unwrap());
    let entry = |name, end| Ok(Entry { name, end });
    let (hex, digest) = ("0f".repeat(32), [15; 32]);
    assert_eq!(read(r#"{"jti":"a","exp":5,"by":"ops"}"#), entry(name("a"), Some(5)));
    assert_eq!(read(r#"{"key_id":"k"}"#), entry(Revoked::KeyId("k").name(), Some(Entry::NEVER)));
    assert_eq!(read(r#"{"user":"u","exp":"7"}"#), entry(Revoked::User("u").name(), Some(7)));
    assert_eq!(read(&format!(r#"{{"token_sha256":"{hex}"}}"#)), entry(Revoked::Token(digest).name(), None));
    assert_eq!(
        read(&format!(r#"{{"certificate_sha256":"{hex}"}}"#)),
        entry(Revoked::Certificate(digest).name(), Some(Entry::NEVER))
    );
    for text in
        [r#"{"jwt_signature":"s","expiry_time":1700000000123}"#, r#"{"jwtSignature":"s","expiryTime":1700000000}"#]
    {
        assert_eq!(read(text), entry(Revoked::Signature("s").name(), Some(1_700_000_000)), "{text}");
    }
    for (text, error) in [
        ("[]", EntryError::Form),
        (r#"{"jti":["a"]}"#, EntryError::Form),
        ("{}", EntryError::Kind),
        (r#"{"jti":"a","user":"b"}"#, EntryError::Kind),
        (r#"{"jti":""}"#, EntryError::Text),
        (r#"{"jti":"a","exp":-1}"#, EntryError::End),
        (r#"{"jti":"a","exp":"soon"}"#, EntryError::End),
        (r#"{"token_sha256":"0f"}"#, EntryError::Hash),
        (&format!(r#"{{"token_sha256":"{}"}}"#, "0g".repeat(32)), EntryError::Hash),
    ] {
        assert_eq!(read(text), Err(error), "{text}");
    }
}
