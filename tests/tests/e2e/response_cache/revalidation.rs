//! What is kept and no longer good: the backend is asked whether it has changed.

use microgw_tests::{envoy_is_here, eventually};

use super::*;

const DATE: &str = "Fri, 01 Jan 2021 00:00:00 GMT";
/// Whatever is kept is to be asked about.
const ANEW: (&str, &str) = ("cache-control", "max-age=0");

impl Shop {
    fn says_unchanged(&self, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.backend.replies(Reply { status: 304, headers, ..Reply::default() });
    }
}

#[tokio::test]
async fn what_has_not_changed_is_answered_as_it_was() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let headers =
        [("etag", "\"7\""), ("last-modified", DATE), ("x-old", "1"), ("x-both", "1"), ("cache-control", "max-age=600")];
    shop.says("kept", &headers);
    assert_eq!(shop.get("/shop/items", &[]).await.body, "kept");
    shop.backend.take();
    shop.says_unchanged(&[("etag", "\"7\""), ("x-both", "2"), ("x-both", "3"), ("cache-control", "max-age=500")]);
    let others = ("if-none-match", "\"other\"");
    for headers in [&[ANEW][..], &[ANEW, others], &[ANEW, others, ("if-modified-since", DATE)]] {
        let answer = shop.get("/shop/items", headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "kept"), "{answer:?}");
        let one = |name| answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((one("x-both"), one("x-old")), (vec!["2", "3"], vec!["1"]));
        assert_eq!((one("etag"), one("content-type")), (vec!["\"7\""], vec!["text/plain"]));
        // The gateway asks for itself, whatever the client has.
        let asked = shop.backend.one();
        assert_eq!((asked.header("if-none-match"), asked.header("if-modified-since")), ("\"7\"", ""));
    }
    // It is good again.
    let known = shop.get("/shop/items", &[]).await;
    assert_eq!((known.body.as_str(), known.header("cache-control"), shop.backend.seen()), ("kept", "max-age=500", 0));
    // Who has it is told so.
    for has in [("if-none-match", "\"7\""), ("if-modified-since", DATE)] {
        for headers in [&[ANEW, has][..], &[has]] {
            let told = shop.get("/shop/items", headers).await;
            assert_eq!((told.status, told.body.as_str(), told.header("etag")), (304, "", "\"7\""), "{told:?}");
        }
    }
    assert_eq!(shop.backend.take().len(), 2);
    // Or it has changed.
    shop.says("new", &[("etag", "\"8\""), ("cache-control", "max-age=600")]);
    assert_eq!(shop.get("/shop/items", &[ANEW]).await.body, "new");
    assert_eq!(shop.backend.one().header("if-none-match"), "\"7\"");
    assert_eq!((shop.get("/shop/items", &[]).await.body.as_str(), shop.backend.seen()), ("new", 0));
    // Whoever wants nothing of a cache gets nothing of it.
    shop.get("/shop/items", &[("cache-control", "no-cache")]).await;
    assert_eq!(shop.backend.one().header("if-none-match"), "");
    let metrics = shop.gateway.get(&shop.gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_response_cache_revalidated_total 5\n"), "{metrics}");
}

/// A response without a body gets no long one.
#[tokio::test]
async fn what_is_long_is_asked_for_as_a_whole() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    for (length, condition) in [(32 << 10, "\"7\""), ((32 << 10) + 1, "")] {
        let (path, whole) = (format!("/shop/items/{length}"), "x".repeat(length));
        let headers = [("etag", "\"7\""), ("cache-control", "max-age=600")];
        shop.says(&whole, &headers);
        assert_eq!(shop.get(&path, &[]).await.body.len(), length);
        shop.backend.take();
        if !condition.is_empty() {
            shop.says_unchanged(&headers);
        }
        let answer = shop.get(&path, &[ANEW]).await;
        assert!(answer.status == 200 && answer.body == whole, "{length}: {}", answer.status);
        assert_eq!(shop.backend.one().header("if-none-match"), condition);
    }
}

#[tokio::test]
async fn what_is_too_old_is_asked_about() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    shop.says("kept", &[("last-modified", DATE), ("cache-control", "max-age=1")]);
    assert_eq!(shop.get("/shop/items", &[]).await.body, "kept");
    shop.backend.take();
    shop.says_unchanged(&[("cache-control", "max-age=600")]);
    eventually("it is too old", async || {
        let answer = shop.get("/shop/items", &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "kept"), "{answer:?}");
        (shop.backend.seen() > 0).then_some(())
    })
    .await;
    assert_eq!(shop.backend.one().header("if-modified-since"), DATE);
    assert_eq!((shop.get("/shop/items", &[]).await.body.as_str(), shop.backend.seen()), ("kept", 0));
}

#[tokio::test]
async fn what_a_backend_says_to_one_client_is_for_that_one() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    // Nothing is kept: the client asks for itself, and nobody else gets what it is told.
    shop.says_unchanged(&[("etag", "\"7\"")]);
    let told = shop.get("/shop/items", &[("if-none-match", "\"7\"")]).await;
    assert_eq!((told.status, shop.backend.one().header("if-none-match")), (304, "\"7\""));
    shop.says("kept", &[("etag", "\"7\"")]);
    assert_eq!(shop.get("/shop/items", &[]).await.body, "kept");
    shop.backend.take();
    // What is good still, and is not to be kept: this client alone, and never again.
    for (name, value) in [("set-cookie", "a=b"), ("cache-control", "private"), ("etag", "\"8\"")] {
        shop.says_unchanged(&[(name, value)]);
        let answer = shop.get("/shop/items", &[ANEW]).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header(name)), (200, "kept", value), "{answer:?}");
        shop.says("kept", &[("etag", "\"7\"")]);
        shop.backend.take();
        let answer = shop.get("/shop/items", &[]).await;
        assert_eq!((answer.body.as_str(), answer.headers.contains_key("set-cookie")), ("kept", false), "{answer:?}");
        assert_eq!(shop.backend.one().header("if-none-match"), "", "{name}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_changed_as_ever() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    for path in ["/shop/edited", "/shop/changed", "/shop/checked"] {
        let headers = [("content-type", "application/json"), ("etag", "\"7\""), ("x-powered-by", "php")];
        shop.says(r#"{"id":1,"secret":2}"#, &headers);
        let agent = ("user-agent", "a");
        let first = shop.get(path, &[agent]).await;
        assert_eq!(first.status, 200, "{first:?}");
        shop.says_unchanged(&[("etag", "\"7\""), ("x-powered-by", "php")]);
        shop.backend.take();
        let again = shop.get(path, &[ANEW, agent]).await;
        assert_eq!(shop.backend.one().header("if-none-match"), "\"7\"", "{path}");
        assert_eq!((first.status, &first.body), (again.status, &again.body), "{path}");
        for name in ["x-set", "x-added", "x-powered-by", "content-type", "etag"] {
            let all = |answer: &Answer| answer.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(all(&first), all(&again), "{path} {name}");
        }
    }
}
