use std::time::Duration;

use super::*;

const LOOP: &str = "(loop $again (br $again)) unreachable";

/// On one thread: whoever kept it would keep the others from being answered, and this test from ending.
#[tokio::test(flavor = "current_thread")]
async fn loops_hold_nobody_up() {
    let host = Arc::new(Host::default());
    let looping = Arc::new(Stage::beside(&host, &on_request(&[], LOOP), LONG, "POST").await);
    let good = Stage::beside(&host, &fixtures::labels(), LONG, "POST").await;
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let looping = Arc::clone(&looping);
            tokio::spawn(async move { looping.request(&[], b"").await })
        })
        .collect();
    for _ in 0..200 {
        passed(good.request(&[], b"").await);
        tokio::task::yield_now().await;
    }
    assert!(loops.iter().all(|call| !call.is_finished()));
    // They end with those who asked: their places are free again.
    for call in &loops {
        call.abort();
    }
    let machine = host.machine.get().unwrap().as_ref().unwrap();
    let places = machine.calls.acquire_many(settings::CALLS).await.unwrap();
    drop(places);
}

#[tokio::test(flavor = "current_thread")]
async fn loops_end_at_their_deadline() {
    let host = Arc::new(Host::default());
    let stage = Stage::beside(&host, &on_request(&[], LOOP), 20, "POST").await;
    let calls = (0..40).map(|_| stage.request(&[], b""));
    // More than may run at a time: the others wait no longer than they might have run.
    for verdict in futures_util::future::join_all(calls).await {
        assert_eq!(failure_of(verdict), InterceptorFailure::Timeout);
    }
    // Before anything is called, too.
    let start = "(func $start (loop $again (br $again))) (start $start) (func (export \"on-request\") (result i32) (i32.const 0))";
    let stage = Stage::beside(&host, &component(&[], &["on-request"], start), 20, "POST").await;
    assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Timeout);
    // And in what the host calls.
    let get = "(func (export \"on-request\") (result i32)
        (call $headers-get (i32.const 64) (i32.const 3) (i32.const 32)) (i32.const 0)) (data (i32.const 64) \"x-a\")";
    let get = component(&[&HEADERS], &["on-request"], get);
    let get = get.replace("(local $at i32)", "(local $at i32) (loop $for-ever (br $for-ever))");
    let stage = Stage::beside(&host, &get, 20, "POST").await;
    assert_eq!(failure_of(stage.request(&[("x-a", "1")], b"").await), InterceptorFailure::Timeout);
}

#[tokio::test]
async fn memory_is_bounded() {
    for grow in [
        "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) unreachable",
        "(drop (memory.grow (i32.const 65535))) unreachable",
        "(drop (memory.grow (i32.const 300))) unreachable",
    ] {
        let stage = Stage::new(&on_request(&[], grow)).await;
        assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Memory, "{grow}");
    }
    // Within its bounds it may grow, and all of it is gone afterwards.
    let stage = Stage::new(&on_request(
        &[],
        "(if (i32.eq (memory.grow (i32.const 200)) (i32.const -1)) (then unreachable))
         (if (i32.load (i32.const 6000000)) (then unreachable))
         (memory.fill (i32.const 65536) (i32.const 7) (i32.const 13000000)) (i32.const 0)",
    ))
    .await;
    for _ in 0..5 {
        passed(stage.request(&[], b"").await);
    }
    // All memories count.
    let several = on_request(&[], "(i32.const 0)").replace(
        "(core instance $libc (instantiate $libc))",
        "(core instance $libc (instantiate $libc)) (core module $more (memory 250)) (core instance (instantiate $more))",
    );
    let stage = Stage::new(&several).await;
    passed(stage.request(&[], b"").await);
    let stage = Stage::new(&several.replace("(memory 250)", "(memory 256)")).await;
    assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Memory);
}

/// Each within what it may have, and together beyond what there is: whoever comes last is refused, and finds it once others have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_all_calls_is_bounded() {
    let host = Arc::new(Host::default());
    // 625 MiB, of which none is touched.
    let grow = "(if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable))";
    let stage = async |core: &str| {
        let code = wat::parse_str(on_request(&[], &format!("{grow} {core}"))).unwrap();
        Arc::new(Stage::of(&host, &fixtures::hosted(code, LONG, 700 << 20), "POST").await)
    };
    let (stays, goes) = (stage(LOOP).await, stage("(i32.const 0)").await);
    let first = tokio::spawn(async move { stays.request(&[], b"").await });
    let machine = host.machine.get().unwrap().as_ref().unwrap();
    while machine.memory.left() > MAX_MEMORY / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..3 {
        assert_eq!(failure_of(goes.request(&[], b"").await), InterceptorFailure::Memory);
    }
    first.abort();
    while machine.memory.left() < MAX_MEMORY {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    passed(goes.request(&[], b"").await);
}

#[tokio::test]
async fn recursion_tables_and_traps_end_a_call() {
    let recursion = "(func $down (param i64) (result i64) (i64.add (i64.const 1) (call $down (local.get 0))))
        (func (export \"on-request\") (result i32) (drop (call $down (i64.const 1))) (i32.const 0))";
    let stage = Stage::new(&component(&[], &["on-request"], recursion)).await;
    assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Trap);
    let table = "(table $t 1 funcref) (func (export \"on-request\") (result i32)
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 100000000)) (i32.const -1)) (then unreachable)) (i32.const 0))";
    let stage = Stage::new(&component(&[], &["on-request"], table)).await;
    passed(stage.request(&[], b"").await);
    for trap in ["unreachable", "(i32.div_u (i32.const 1) (i32.const 0))", "(i32.load (i32.const -4))"] {
        let stage = Stage::new(&on_request(&[], trap)).await;
        assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Trap, "{trap}");
        assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Trap, "{trap}");
    }
}

/// The same few bytes, said to be many: what the host takes of them is bounded before it takes it.
#[tokio::test]
async fn giants_are_refused() {
    let set = |length: &str| {
        format!(
            "(call $headers-set (i32.const 64) (i32.const {length}) (i32.const 64) (i32.const {length}) (i32.const 32))"
        )
    };
    // Beyond the memory, and within it but more than is handed over; what is handed over and too long is refused.
    let grown = "(drop (memory.grow (i32.const 240)))";
    for core in [set("4000000000"), format!("{grown} {} {}", set("13000000"), "unreachable")] {
        let stage = Stage::new(&on_request(&[&HEADERS], &format!("{core} (i32.const 0)"))).await;
        assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Trap, "{core}");
    }
    let long = format!(
        "{grown} {} (if (i32.ne (i32.load8_u (i32.const 32)) (i32.const 1)) (then unreachable)) (i32.const 0)",
        set("100000")
    );
    let stage = Stage::new(&on_request(&[&HEADERS], &long)).await;
    assert_eq!(passed(stage.request(&[], b"").await).0.changes().headers.len(), 0);
    // A list of pairs, all of the same text: a hundred thousand times a megabyte.
    let list = "(drop (memory.grow (i32.const 100)))
        (i32.store8 (i32.const 512) (i32.const 1)) (i32.store16 (i32.const 516) (i32.const 200))
        (i32.store (i32.const 520) (i32.const 1048576)) (i32.store (i32.const 524) (i32.const 100000))
        (i32.store (i32.const 528) (i32.const 0)) (i32.store (i32.const 532) (i32.const 0))
        (local.set 0 (i32.const 1048576))
        (loop $pairs
          (i32.store (local.get 0) (i32.const 65536)) (i32.store offset=4 (local.get 0) (i32.const 900000))
          (i32.store offset=8 (local.get 0) (i32.const 65536)) (i32.store offset=12 (local.get 0) (i32.const 900000))
          (local.set 0 (i32.add (local.get 0) (i32.const 16)))
          (br_if $pairs (i32.lt_u (local.get 0) (i32.const 2648576))))
        (i32.const 512)";
    let core = format!("(func (export \"on-request\") (result i32) (local i32) {list})");
    let stage = Stage::new(&component(&[], &["on-request"], &core)).await;
    assert_eq!(failure_of(stage.request(&[], b"").await), InterceptorFailure::Trap);
    // What lies nowhere, and a verdict that is none.
    for core in ["(i32.const -8)", "(i32.store8 (i32.const 512) (i32.const 9)) (i32.const 512)", "(i32.const 3)"] {
        let stage = Stage::new(&on_request(&[], core)).await;
        let failure = failure_of(stage.request(&[], b"").await);
        assert!(matches!(failure, InterceptorFailure::Trap | InterceptorFailure::Malformed), "{core}: {failure}");
    }
}

#[tokio::test]
async fn headers_and_attributes_end_somewhere() {
    // As many headers as are taken, then as many attributes.
    let core = r#"(data (i32.const 64) "x-aaaaaaaa") (func $all (param $until i32) (result i32) (local $n i32)
          (block $refused
            (loop $more
              (i32.store8 (i32.const 70) (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))))
              (i32.store8 (i32.const 71) (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 26))))
              (call $headers-set (i32.const 64) (i32.const 10) (i32.const 1024) (i32.const 2000) (i32.const 32))
              (br_if $refused (i32.load8_u (i32.const 32)))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (local.get $until)))))
          (local.get $n))
        (func (export "on-request") (result i32) (local $n i32)
          (memory.fill (i32.const 1024) (i32.const 97) (i32.const 2000))
          (local.set $n (call $all (i32.const 500)))
          (if (i32.or (i32.gt_u (local.get $n) (i32.const 60)) (i32.lt_u (local.get $n) (i32.const 10))) (then unreachable))
          (local.set $n (i32.const 0))
          (block $refused
            (loop $more
              (i32.store8 (i32.const 70) (i32.add (i32.const 32) (local.get $n)))
              (call $exchange-set-attribute (i32.const 64) (i32.const 10) (i32.const 1024) (i32.const 10) (i32.const 32))
              (br_if $refused (i32.load8_u (i32.const 32)))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (i32.const 90)))))
          (if (i32.ne (local.get $n) (i32.const 64)) (then unreachable))
          (i32.const 0))"#;
    let stage = Stage::new(&component(&[&HEADERS, &EXCHANGE], &["on-request"], core)).await;
    let (_, attributes) = passed(stage.request(&[], b"").await);
    assert_eq!(attributes.len(), crate::attributes::MAX_ATTRIBUTES);
}

#[tokio::test]
async fn logs_end_somewhere() {
    let core = "(func (export \"on-request\") (result i32) (local $n i32) (drop (memory.grow (i32.const 200)))
        (loop $more (call $logging-log (i32.const 1) (i32.const 64) (i32.const 1000000))
          (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $more (i32.lt_u (local.get $n) (i32.const 100))))
        (i32.const 0))";
    let stage = Stage::new(&component(&[&LOGGING], &["on-request"], core)).await;
    passed(stage.request(&[], b"").await);
    let rate = Arc::new(Rate::new());
    let mut log = Log::new("guest".into(), Arc::clone(&rate));
    for _ in 0..100 {
        log.write(guest::Level::Info, "line");
    }
    assert_eq!(rate.lines(), MAX_LINES);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_when_it_is_loaded() {
    let text = |wat: &str| {
        let wat = wat.to_owned();
        async move { refused(&wat).await.to_string() }
    };
    assert!(matches!(
        Host::default().load([0; 32], Bytes::from_static(b"no wasm")).await,
        Err(LoadError::Component(_))
    ));
    assert!(text("(module)").await.contains("component"));
    assert_eq!(refused("(component)").await, LoadError::Nothing);
    assert_eq!(refused(&component(&[], &[], "")).await, LoadError::Nothing);
    let import = r#"(import "acme:cache/store@1.0.0" (instance (export "get" (func))))"#;
    let beside =
        |import: &str| on_request(&[], "(i32.const 0)").replacen("(component", &format!("(component {import}"), 1);
    assert_eq!(refused(&beside(import)).await, LoadError::Import("acme:cache/store@1.0.0".into()));
    // Of another version, or with what is not there, or of another type.
    for interface in [
        r#""micro-gw:interceptor/headers@0.9.0" (instance (export "get" (func)))"#,
        r#""micro-gw:interceptor/headers@0.1.0" (instance (export "steal" (func)))"#,
        r#""micro-gw:interceptor/headers@0.1.0" (instance (export "get" (func (param "name" u32))))"#,
        r#""micro-gw:interceptor/secrets@0.1.0" (instance (export "get" (func)))"#,
    ] {
        let error = refused(&beside(&format!("(import {interface})"))).await;
        assert!(matches!(error, LoadError::Component(_)), "{interface}: {error}");
    }
    // Exports that are not what they are called.
    let module =
        "(core module $m (func (export \"f\") (result i32) (i32.const 0))) (core instance $i (instantiate $m))";
    for export in [
        "(func (export \"on-request\") (result u32) (canon lift (core func $i \"f\")))",
        "(func (export \"on-response\") (result (result (error u32))) (canon lift (core func $i \"f\")))",
        "(instance (export \"on-request\"))",
        "(core module (export \"on-request\"))",
    ] {
        let error = refused(&format!("(component {module} {export})")).await;
        assert!(matches!(error, LoadError::Export(_) | LoadError::Component(_)), "{export}: {error}");
    }
    // More parts than there is room for.
    let parts = "(core module $p (memory 1)) ".to_owned() + &"(core instance (instantiate $p)) ".repeat(100);
    assert!(matches!(refused(&beside(&parts)).await, LoadError::Component(_)));
}

/// WASI is there as far as it leads nowhere.
#[tokio::test]
async fn what_leads_out_ends_a_call() {
    let wasi = |interface: &str, function: &str, signature: &str, core: &str| {
        on_request(&[], "(call $f) (i32.const 0)")
            .replacen(
                "(component",
                &format!(
                    "(component (import \"wasi:{interface}\" (instance $w (export \"{function}\" (func {signature}))))"
                ),
                1,
            )
            .replace(
                "(core module $main",
                &format!("(core func $f (canon lower (func $w \"{function}\"))) (core module $main"),
            )
            .replace("(memory 1))\n", &format!("(memory 1)) (import \"host\" \"f\" (func $f {core}))\n"))
            .replace("(with \"host\" (instance ))", "(with \"host\" (instance (export \"f\" (func $f))))")
    };
    let exit = wasi("cli/exit@0.2.3", "exit", "(param \"status\" (result))", "(param i32)")
        .replace("(call $f)", "(call $f (i32.const 0))");
    for (wat, works) in [
        (
            wasi("clocks/monotonic-clock@0.2.9", "now", "(result u64)", "(result i64)")
                .replace("(call $f)", "(drop (call $f))"),
            true,
        ),
        (
            wasi("random/random@0.2.0", "get-random-u64", "(result u64)", "(result i64)")
                .replace("(call $f)", "(drop (call $f))"),
            true,
        ),
        (wasi("sockets/network@0.2.0", "anything", "", ""), false),
        (exit, false),
    ] {
        let stage = Stage::new(&wat).await;
        let verdict = stage.request(&[], b"").await;
        assert_eq!(matches!(verdict, Verdict::Continue { .. }), works, "{wat}: {verdict:?}");
    }
}

/// More than there are places: all of them come to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_a_time() {
    let host = Arc::new(Host::default());
    let mut stages = Vec::new();
    for wat in [fixtures::labels(), fixtures::idle(), on_request(&[], "unreachable"), on_request(&[], LOOP)] {
        let timeout = if wat.contains(LOOP) { 50 } else { LONG };
        stages.push(Arc::new(Stage::beside(&host, &wat, timeout, "POST").await));
    }
    let calls: Vec<_> = (0..600)
        .map(|n| {
            let stage = Arc::clone(&stages[n % stages.len()]);
            tokio::spawn(async move { stage.request(&[], b"").await })
        })
        .collect();
    let machine = host.machine.get().unwrap().as_ref().unwrap();
    for (n, call) in calls.into_iter().enumerate() {
        let verdict = tokio::time::timeout(Duration::from_secs(120), call).await.unwrap().unwrap();
        match (n % 4, verdict) {
            (0 | 1, Verdict::Continue { .. })
            | (2, Verdict::Failed(InterceptorFailure::Trap))
            | (3, Verdict::Failed(InterceptorFailure::Timeout)) => {}
            (kind, verdict) => panic!("{kind}: {verdict:?}"),
        }
    }
    // What they had is there again.
    let places = machine.calls.acquire_many(settings::CALLS).await.unwrap();
    assert_eq!(machine.memory.left(), MAX_MEMORY);
    drop(places);
}

#[tokio::test]
async fn code_is_compiled_once_and_goes_with_whoever_keeps_it() {
    let host = Host::default();
    let code: Bytes = wat::parse_str(fixtures::idle()).unwrap().into();
    let first = host.load([1; 32], code.clone()).await.unwrap();
    // By what it is called, not by what it has in it: nothing is compiled.
    let again = host.load([1; 32], Bytes::new()).await.unwrap();
    assert!(Arc::ptr_eq(&first.code, &again.code));
    assert!(first.on_request() && first.on_response());
    drop((first, again));
    assert!(host.load([1; 32], Bytes::new()).await.is_err());
}
