//! Where backends are: told apart from offers.

use super::*;
use ResourceType::Endpoint;

/// Clusters that all have their endpoints elsewhere, a listener and routes.
fn offer(sequence: u64, clusters: &[&str], routes: &str) -> Offer {
    let resource = |version: &str, references: Vec<(ResourceType, Arc<str>)>| Resource {
        version: version.into(),
        body: Arc::default(),
        references: references.into(),
    };
    let clusters = clusters.iter().map(|text| {
        let (name, version) = text.split_once('@').unwrap();
        (Arc::from(name), resource(version, vec![(Endpoint, name.into())]))
    });
    let listener = resource("1", vec![(Route, "routes".into())]);
    let resources = Resources::from([
        (Cluster, clusters.collect()),
        (Listener, [("http".into(), listener)].into()),
        (Route, [("routes".into(), resource(routes, Vec::new()))].into()),
    ]);
    Offer::new(sequence, Generation(format!("g{sequence}").into()), resources)
}

fn located(offer: &Offer, endpoints: &[&str]) -> Offer {
    let endpoints = endpoints.iter().map(|text| {
        let (name, version) = text.split_once('@').unwrap();
        let resource = Resource { version: version.into(), body: Arc::default(), references: Arc::default() };
        (Arc::from(name), resource)
    });
    offer.with(Arc::new(endpoints.collect()))
}

/// Holds clusters `a@1`, `b@1` with endpoints `a@x`, `b@x`, and all else of [`first`].
fn settled() -> Session {
    let mut session = delta();
    session.hears(holding(request(Cluster), &["a@1", "b@1"]));
    session.hears(holding(subscribe(Endpoint, &["a", "b"]), &["a@old", "b@old"]));
    session.hears(holding(request(Listener), &["http@1"]));
    session.hears(holding(subscribe(Route, &["routes"]), &["routes@1"]));
    let endpoints = session.sends(&first(), Endpoint, &["a@x", "b@x"], &[]);
    session.hears(ack(&endpoints));
    assert_eq!(session.next(&first()), Step::Settled);
    session
}

fn first() -> Offer {
    located(&offer(1, &["a@1", "b@1"], "1"), &["a@x", "b@x"])
}

#[test]
fn they_come_after_clusters_and_routes_wait_until_they_are_known() {
    let mut session = delta();
    let offer = first();
    session.hears(request(Cluster));
    session.hears(request(Listener));
    session.hears(subscribe(Route, &["routes"]));
    let clusters = session.sends(&offer, Cluster, &["a@1", "b@1"], &[]);
    session.hears(ack(&clusters));
    // It has not asked about all of them.
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(subscribe(Endpoint, &["a"]));
    let endpoints = session.sends(&offer, Endpoint, &["a@x"], &[]);
    session.hears(ack(&endpoints));
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(subscribe(Endpoint, &["b"]));
    let endpoints = session.sends(&offer, Endpoint, &["b@x"], &[]);
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(ack(&endpoints));
    let listeners = session.sends(&offer, Listener, &["http@1"], &[]);
    session.hears(ack(&listeners));
    let routes = session.sends(&offer, Route, &["routes@1"], &[]);
    session.hears(ack(&routes));
    assert_eq!(session.next(&offer), Step::Settled);
}

#[test]
fn clusters_that_need_a_secret_to_begin_with_get_it_before_any_endpoint_is_asked_for() {
    let mut session = delta();
    let mut resources = Resources::from([(
        Secret,
        [("trust".into(), Resource { version: "1".into(), body: Arc::default(), references: Arc::default() })].into(),
    )]);
    resources.insert(
        Cluster,
        [(
            "a".into(),
            Resource { version: "1".into(), body: Arc::default(), references: [(Endpoint, "a".into())].into() },
        )]
        .into(),
    );
    let offer = located(&Offer::new(1, Generation("g1".into()), resources), &["a@x"]);
    session.hears(request(Cluster));
    session.hears(subscribe(Secret, &["trust"]));
    let clusters = session.sends(&offer, Cluster, &["a@1"], &[]);
    session.hears(ack(&clusters));
    session.sends(&offer, Secret, &["trust@1"], &[]);
}

#[test]
fn what_changes_is_sent_alone_and_the_offer_stays_settled() {
    let mut session = settled();
    let moved = located(&first(), &["a@x", "b@y"]);
    let endpoints = session.sends(&moved, Endpoint, &["b@y"], &[]);
    assert_eq!(session.next(&moved), Step::Wait);
    let verdict = session.hears(ack(&endpoints));
    assert_eq!(verdict, Some(Verdict::Acked { kind: Endpoint, generation: Generation("g1".into()) }));
    assert_eq!(session.next(&moved), Step::Settled);
}

#[test]
fn a_cluster_that_changes_is_told_its_endpoints_again() {
    let mut session = settled();
    let next = located(&offer(2, &["a@2", "b@1"], "1"), &["a@x", "b@x"]);
    let clusters = session.sends(&next, Cluster, &["a@2"], &[]);
    session.hears(ack(&clusters));
    let endpoints = session.sends(&next, Endpoint, &["a@x"], &[]);
    session.hears(ack(&endpoints));
    assert_eq!(session.next(&next), Step::Settled);
    // And if it refuses the clusters: some of them may have changed.
    let next = located(&offer(3, &["a@3", "b@1"], "1"), &["a@x", "b@x"]);
    let clusters = session.sends(&next, Cluster, &["a@3"], &[]);
    session.hears(nack(&clusters));
    let back = located(&offer(4, &["a@2", "b@1"], "1"), &["a@x", "b@x"]);
    let clusters = session.sends(&back, Cluster, &["a@2"], &[]);
    session.hears(ack(&clusters));
    session.sends(&back, Endpoint, &["a@x"], &[]);
}

#[test]
fn one_that_is_refused_is_not_tried_again_and_refuses_no_offer() {
    let mut session = settled();
    let bad = located(&first(), &["a@bad", "b@x"]);
    let endpoints = session.sends(&bad, Endpoint, &["a@bad"], &[]);
    let verdict = session.hears(nack(&endpoints));
    assert_eq!(verdict, Some(Verdict::Refused { kind: Endpoint, sequence: 1, text: "bad".to_owned() }));
    assert_eq!(session.next(&bad), Step::Settled);
    assert_eq!(session.refused_endpoints(), [(Arc::from("a"), "bad".to_owned())].into());
    // A cluster that changes meanwhile gets what was good.
    let next = located(&offer(2, &["a@2", "b@1"], "1"), &["a@bad", "b@x"]);
    let clusters = session.sends(&next, Cluster, &["a@2"], &[]);
    session.hears(ack(&clusters));
    let endpoints = session.sends(&next, Endpoint, &["a@x"], &[]);
    session.hears(ack(&endpoints));
    assert_eq!(session.next(&next), Step::Settled);
    // The next ones are tried.
    let good = located(&next, &["a@y", "b@x"]);
    let endpoints = session.sends(&good, Endpoint, &["a@y"], &[]);
    assert!(session.refused_endpoints().is_empty());
    session.hears(ack(&endpoints));
    assert_eq!(session.next(&good), Step::Settled);
}

#[test]
fn of_several_that_are_refused_together_only_the_bad_one_is_held_back() {
    let names = ["a", "b", "c", "d", "e"];
    let all = |version: &str| names.map(|name| format!("{name}@{version}"));
    let mut session = delta();
    let clusters = all("1");
    let offer = offer(1, &clusters.each_ref().map(String::as_str), "1");
    session.hears(holding(request(Cluster), &clusters.each_ref().map(String::as_str)));
    session.hears(subscribe(Endpoint, &names));
    let offer = located(&offer, &["a@x", "b@x", "c@bad", "d@x", "e@x"]);
    let mut sent = 0;
    while let Step::Send(response) = session.next(&offer) {
        assert_eq!(response.kind, Endpoint);
        let bad = contents(&response).iter().any(|text| text.ends_with("@bad"));
        session.hears(if bad { nack(&response) } else { ack(&response) });
        sent += 1;
        assert!(sent < 20, "it ends");
    }
    assert_eq!(session.refused_endpoints(), [(Arc::from("c"), "bad".to_owned())].into());
    let moved = located(&offer, &["a@y", "b@x", "c@bad", "d@x", "e@x"]);
    session.sends(&moved, Endpoint, &["a@y"], &[]);
}

#[test]
fn what_nobody_knows_yet_takes_nothing_from_an_envoy_that_has_something() {
    let mut session = settled();
    let unknown = located(&first(), &["a@unknown", "b@x"]);
    assert_eq!(session.next(&unknown), Step::Settled);
    // Another gateway, which knows less.
    let mut session = delta();
    session.hears(holding(request(Cluster), &["a@1", "b@1"]));
    session.hears(holding(subscribe(Endpoint, &["a", "b"]), &["a@x"]));
    let unknown = located(&first(), &["a@unknown", "b@unknown"]);
    session.sends(&unknown, Endpoint, &["b@unknown"], &[]);
}

#[test]
fn they_go_with_their_cluster_and_without_a_word() {
    let mut session = settled();
    let next = located(&offer(2, &["a@1"], "1"), &["a@x"]);
    let removed = session.sends(&next, Cluster, &[], &["b"]);
    session.hears(unsubscribe(Endpoint, "b"));
    session.hears(ack(&removed));
    assert_eq!(session.next(&next), Step::Settled);
}
