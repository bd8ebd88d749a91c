use super::*;

#[tokio::test]
async fn headers_are_set_both_ways() {
    let stage = Stage::new(&fixtures::labels()).await;
    let (message, _) = passed(stage.request(&[("x-component", "client's"), ("x-other", "1")], b"").await);
    assert_eq!((header(&message, "x-component"), header(&message, "x-other")), (Some("seen"), Some("1")));
    let changes = message.changes();
    assert_eq!((changes.headers.len(), changes.body, changes.path), (1, None, None));
    let (message, _) = passed(stage.response(&[], b"hello").await);
    assert_eq!((message.status(), header(&message, "x-component")), (200, Some("seen")));
}

#[tokio::test]
async fn whoever_does_nothing_changes_nothing() {
    let stage = Stage::new(&fixtures::idle()).await;
    let (message, attributes) = passed(stage.request(&[("x-a", "1")], b"text").await);
    assert_eq!(message.changes(), microgw_transforms::Changes::default());
    assert_eq!((message.body(), attributes.len()), (Some(&b"text"[..]), 0));
}

/// Nothing of one call is there in the next one.
#[tokio::test]
async fn each_call_is_an_instance_of_its_own() {
    let core = r#"(global $calls (mut i32) (i32.const 48)) (data (i32.const 64) "x-component")
        (func (export "on-request") (result i32)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (global.get $calls)))
          (call $headers-set (i32.const 64) (i32.const 11) (i32.const 100) (i32.const 1) (i32.const 32))
          (i32.const 0))"#;
    let stage = Stage::new(&component(&[&HEADERS], &["on-request"], core)).await;
    for _ in 0..20 {
        let (message, _) = passed(stage.request(&[], b"").await);
        assert_eq!(header(&message, "x-component"), Some("1"));
    }
}

/// The result of an edit lies at 32: whether it is refused, and why.
#[tokio::test]
async fn what_may_not_be_edited_is_refused() {
    for (name, why) in
        [("host", 0), ("authorization", 0), ("content-type", 0), ("x-microgw-rule", 0), ("a b", 1), ("", 1)]
    {
        let core = format!(
            r#"(data (i32.const 64) "{name}") (data (i32.const 96) "x")
            (func (export "on-request") (result i32)
              (call $headers-set (i32.const 64) (i32.const {}) (i32.const 96) (i32.const 1) (i32.const 32))
              (if (i32.ne (i32.load8_u (i32.const 32)) (i32.const 1)) (then unreachable))
              (if (i32.ne (i32.load8_u (i32.const 33)) (i32.const {why})) (then unreachable))
              (i32.const 0))"#,
            name.len()
        );
        let stage = Stage::new(&component(&[&HEADERS], &["on-request"], &core)).await;
        let (message, _) = passed(stage.request(&[], b"").await);
        assert_eq!(message.changes(), microgw_transforms::Changes::default(), "{name}");
    }
    // Responses have a status, requests have none.
    let status = "(call $response-set-status (i32.const 201) (i32.const 32))";
    let core = format!(
        r#"(func (export "on-request") (result i32) {status} (if (i32.ne (i32.load8_u (i32.const 33)) (i32.const 3)) (then unreachable)) (i32.const 0))
        (func (export "on-response") (result i32) {status} (if (i32.load8_u (i32.const 32)) (then unreachable)) (i32.const 0))"#
    );
    let stage = Stage::new(&component(&[&RESPONSE], &["on-request", "on-response"], &core)).await;
    assert_eq!(passed(stage.request(&[], b"").await).0.changes().status, None);
    assert_eq!(passed(stage.response(&[], b"").await).0.changes().status, Some(201));
}

#[tokio::test]
async fn bodies_are_read_and_written() {
    // What comes is put after "got: ".
    let core = r#"(data (i32.const 64) "got: ") (data (i32.const 80) "text/plain")
        (func (export "on-request") (result i32)
          (call $body-bytes (i32.const 32))
          (memory.copy (i32.const 4096) (i32.const 64) (i32.const 5))
          (memory.copy (i32.const 4101) (i32.load (i32.const 32)) (i32.load (i32.const 36)))
          (call $body-set-text (i32.const 4096) (i32.add (i32.const 5) (i32.load (i32.const 36)))
            (i32.const 1) (i32.const 80) (i32.const 10) (i32.const 40))
          (if (i32.load8_u (i32.const 40)) (then unreachable))
          (i32.const 0))"#;
    let stage = Stage::new(&component(&[&BODY], &["on-request"], core)).await;
    let (message, _) = passed(stage.request(&[("content-type", "x/y"), ("digest", "old")], b"hello").await);
    assert_eq!(message.body(), Some(&b"got: hello"[..]));
    assert_eq!((header(&message, "content-type"), header(&message, "digest")), (Some("text/plain"), None));
    let (message, _) = passed(stage.request(&[], b"").await);
    assert_eq!(message.body(), Some(&b"got: "[..]));
}

#[tokio::test]
async fn attributes_are_handed_on() {
    let core = r#"(data (i32.const 64) "key") (data (i32.const 80) "value")
        (func (export "on-request") (result i32)
          (call $exchange-attribute (i32.const 64) (i32.const 3) (i32.const 32))
          (if (i32.load8_u (i32.const 32)) (then unreachable))
          (call $exchange-set-attribute (i32.const 64) (i32.const 3) (i32.const 80) (i32.const 5) (i32.const 32))
          (i32.load8_u (i32.const 32)))
        (func (export "on-response") (result i32)
          (call $exchange-attribute (i32.const 64) (i32.const 3) (i32.const 32))
          (if (i32.eqz (i32.load8_u (i32.const 32))) (then unreachable))
          (if (i32.ne (i32.load (i32.const 40)) (i32.const 5)) (then unreachable))
          (i32.const 0))"#;
    let stage = Stage::new(&component(&[&EXCHANGE], &["on-request", "on-response"], core)).await;
    let (_, attributes) = passed(stage.request(&[], b"").await);
    assert_eq!(attributes.get("key").map(String::as_str), Some("value"));
    let call = stage.scene.response(200, &[], b"", &attributes).unwrap();
    passed(stage.host.call(call).await);
    assert_eq!(failure_of(stage.response(&[], b"").await), InterceptorFailure::Trap, "there is none");
}

/// 403 with `x-why: no`, a content type and `no`.
const RESPONDS: &str = r#"(data (i32.const 256) "x-whynoContent-Typetext/plain")
    (func (export "on-request") (result i32)
      (i32.store8 (i32.const 512) (i32.const 1))
      (i32.store16 (i32.const 516) (i32.const STATUS))
      (i32.store (i32.const 520) (i32.const 600)) (i32.store (i32.const 524) (i32.const 2))
      (i32.store (i32.const 528) (i32.const 261)) (i32.store (i32.const 532) (i32.const 2))
      (i32.store (i32.const 600) (i32.const 256)) (i32.store (i32.const 604) (i32.const 5))
      (i32.store (i32.const 608) (i32.const 261)) (i32.store (i32.const 612) (i32.const 2))
      (i32.store (i32.const 616) (i32.const 263)) (i32.store (i32.const 620) (i32.const 12))
      (i32.store (i32.const 624) (i32.const 275)) (i32.store (i32.const 628) (i32.const 10))
      (i32.const 512))"#;

#[tokio::test]
async fn clients_are_answered_in_the_backends_place() {
    let wat = component(&[], &["on-request"], &RESPONDS.replace("STATUS", "403"));
    let stage = Stage::new(&wat).await;
    let Verdict::Respond(answer) = stage.request(&[], b"").await else { panic!() };
    assert_eq!((answer.status(), answer.body()), (403, Some(&b"no"[..])));
    assert_eq!((header(&answer, "x-why"), header(&answer, "content-type")), (Some("no"), Some("text/plain")));
    // Whoever asks by HEAD gets no body.
    let stage = Stage::beside(&stage.host, &wat, LONG, "HEAD").await;
    let Verdict::Respond(answer) = stage.request(&[], b"").await else { panic!() };
    assert_eq!((answer.status(), answer.body()), (403, None));
    // What no client can be answered.
    for status in ["0", "101", "204", "304", "600", "65535"] {
        let stage = Stage::new(&component(&[], &["on-request"], &RESPONDS.replace("STATUS", status))).await;
        assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Malformed, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_exported_is_not_called() {
    let stage = Stage::new(&on_request(&[], "(i32.const 0)")).await;
    assert_eq!(failure_of(stage.response(&[], b"").await), InterceptorFailure::NotHosted);
}
