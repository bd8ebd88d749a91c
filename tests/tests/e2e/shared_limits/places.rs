//! Where it is: behind TLS, behind Sentinels, in a cluster that loses a node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use microgw_extproc::limits::store::{Credentials, Crowd, Login, Place, Script, Servers, Store};
use microgw_extproc::limits::{Exact, Fate};
use microgw_extproc::metrics::Metrics;
use microgw_tests::eventually;
use microgw_tests::redis::{Cluster, RedisServer, Replicated, redis_is_here};
use microgw_tests::tls::Identity;

use super::{DAY, charge, exact, granted, place, store};

#[tokio::test]
async fn over_tls_with_a_certificate_of_its_own() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (authority, clients) = (Identity::authority("authority"), Identity::authority("clients"));
    let server =
        RedisServer::start_mutual_tls(directory.path(), &authority, &authority.issue("localhost"), &clients).await;
    let at = |password: Option<&str>| Place {
        tls: true,
        login: Login { user: None, password: password.map(str::to_owned) },
        ..place(Servers::One(("localhost".to_owned(), server.port)))
    };
    let client = clients.issue("gateway");
    let identity = Some((client.certificate_pem(), client.key_pem()));
    let good = Credentials { trust: Some(authority.certificate_pem()), identity };
    let sound = store(at(Some("sesame")), good.clone()).await;
    let answer = sound.run(&Script::new("return 7"), &[sound.key("x", &"y")], |_| {}).await.unwrap();
    assert_eq!(answer, redis::Value::Int(7));

    // Without a certificate, of another authority, or without the password there is no connection.
    let other = Identity::authority("another").certificate_pem();
    for (password, credentials) in [
        (Some("sesame"), Credentials { identity: None, ..good.clone() }),
        (Some("sesame"), Credentials { trust: Some(other), ..good.clone() }),
        (Some("open"), good.clone()),
        (None, good.clone()),
    ] {
        let store = Store::start(at(password), credentials, Crowd::default(), &Metrics::new());
        store.want();
        let error = eventually("it says what is wrong", async || store.state().error).await;
        assert!(!store.is_reachable() && !error.contains("sesame"), "{error}");
    }
}

#[tokio::test]
async fn sentinels_say_where_the_master_is_now() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let Replicated { mut master, replica, sentinel } = Replicated::start(directory.path()).await;
    let servers = Servers::Sentinels {
        master: "mymaster".to_owned(),
        addresses: vec![("127.0.0.1".to_owned(), sentinel.port)],
        login: Login::default(),
    };
    let exact = exact(place(servers)).await;
    let charges = [charge(1, 3, DAY)];
    assert!(granted(&exact.spend(&charges, None).await));
    eventually("the replica knows it", async || {
        let mut connection = replica.client().connect().await.ok()?;
        let keys: i64 = redis::cmd("EXISTS").arg(exact.key(&charges[0])).query_async(&mut connection).await.ok()?;
        (keys == 1).then_some(())
    })
    .await;
    master.stop();
    let lost = Instant::now();
    let fates = eventually("the other is the master", async || {
        let fates = exact.spend(&charges, None).await;
        matches!(fates.first(), Some(Some(Fate::Has { .. }))).then_some(fates)
    })
    .await;
    println!("Sentinel: counting again {:?} after the master was gone", lost.elapsed());
    assert_eq!(super::remaining(fates.first()), 1, "what was used is known there");
}

#[tokio::test]
async fn a_cluster_that_lost_a_node_counts_on_the_others() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    let seeds = cluster.nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.port)).collect();
    let place = Place { timeout: Duration::from_millis(40), ..place(Servers::Cluster(seeds)) };
    let store = store(place, Credentials::default()).await;
    let exact = Exact::new(Arc::clone(&store));
    let ask = async |keys: std::ops::Range<u128>| {
        let (mut counted, mut lost, mut longest) = (0, 0, Duration::ZERO);
        for key in keys {
            let started = Instant::now();
            match exact.spend(&[charge(key, 1000, DAY)], None).await.first() {
                Some(Some(Fate::Has { .. })) => counted += 1,
                Some(Some(Fate::Lost)) => lost += 1,
                other => panic!("{other:?}"),
            }
            longest = longest.max(started.elapsed());
        }
        (counted, lost, longest)
    };
    assert_eq!(ask(0..100).await.1, 0);
    cluster.nodes[1].freeze();
    // The first find out; then those of its slots are told at once.
    let (counted, lost, longest) = ask(0..600).await;
    let started = Instant::now();
    let (again, lost_again, _) = ask(0..600).await;
    println!(
        "cluster with a frozen node: {counted} counted, {lost} not, none waited longer than {longest:?}; then {again} and {lost_again} in {:?}",
        started.elapsed()
    );
    assert!(counted > 250 && lost > 100, "{counted} {lost}");
    let troubled = store.state().troubled;
    assert!((1..40).contains(&troubled), "{troubled}");
    cluster.nodes[1].thaw();
    // Without a request that tries.
    eventually("nothing is left alone", async || (store.state().troubled == 0).then_some(())).await;
    eventually("all is counted again", async || (ask(0..100).await.1 == 0).then_some(())).await;
}
