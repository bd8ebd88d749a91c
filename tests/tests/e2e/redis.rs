//! Streams of a real Redis, as the gateway follows them.

use microgw_extproc::redis::{Backoff, Redis};
use microgw_tests::eventually;
use microgw_tests::redis::{RedisServer, redis_is_here};
use microgw_tests::tls::Identity;
use redis::AsyncCommands as _;

async fn add(redis: &Redis, value: &str) -> String {
    let mut connection = redis.connect().await.unwrap();
    connection.xadd(redis.key("changes"), "*", &[("id", value), ("op", "set")]).await.unwrap()
}

#[tokio::test]
async fn a_stream_is_followed_from_its_end_on_and_again_after_a_restart() {
    if !redis_is_here() {
        return;
    }
    let mut server = RedisServer::start().await;
    let redis = server.client();
    let old = add(&redis, "old").await;
    let mut stream = redis.follow("changes").await.unwrap();
    assert_eq!(stream.position(), old);
    assert_eq!(stream.next().await.unwrap(), [], "nothing new, and the connection is sound");
    let (first, second) = (add(&redis, "a").await, add(&redis, "b").await);
    let entries = stream.next().await.unwrap();
    let read: Vec<_> = entries.iter().map(|entry| (&*entry.id, entry.field("id").unwrap())).collect();
    assert_eq!(read, [(&*first, "a"), (&*second, "b")]);
    assert_eq!((entries[0].field("op"), entries[0].field("other")), (Some("set"), None));

    // From a known entry on: nothing is missed.
    let mut resumed = redis.follow_from("changes", &first).await.unwrap();
    assert_eq!(resumed.next().await.unwrap()[0].id, second);

    server.stop();
    assert!(stream.next().await.is_err(), "the connection is lost, and that is said");
    assert!(redis.follow("changes").await.is_err());
    server.restart().await;
    let mut backoff = Backoff::default();
    let mut stream = eventually("it is followed again", async || {
        backoff.wait().await;
        redis.follow("changes").await.ok()
    })
    .await;
    assert_eq!(stream.position(), "0-0", "it is empty");
    add(&redis, "c").await;
    assert_eq!(stream.next().await.unwrap()[0].field("id"), Some("c"));
}

#[tokio::test]
async fn over_tls_with_a_password() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let authority = Identity::authority("authority");
    let server = RedisServer::start_tls(directory.path(), &authority, &authority.issue("localhost"), "sesame").await;
    let redis = server.client();
    add(&redis, "a").await;
    let mut stream = redis.follow_from("changes", "0-0").await.unwrap();
    assert_eq!(stream.next().await.unwrap().len(), 1);
    // Somebody else's word is not enough, and what is trusted can change.
    redis.trust(Some(&Identity::authority("another").certificate_pem())).unwrap();
    assert!(redis.connect().await.is_err());
    redis.trust(None).unwrap();
    assert!(redis.connect().await.is_err());
    redis.trust(Some(&authority.certificate_pem())).unwrap();
    assert!(redis.connect().await.is_ok());
}
