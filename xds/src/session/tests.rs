//! Delta; what both dialects share is tested here. The other one is in [`state_of_the_world`].

mod endpoints;
mod state_of_the_world;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc;
use microgw_compiler::snapshot::Resources;

use super::*;
use ResourceType::{Cluster, Listener, Route, Secret};

/// `("pets@1", [..])`: name and version.
fn offer(sequence: u64, contents: &[(ResourceType, &[&str])]) -> Offer {
    let resources: Resources = contents
        .iter()
        .map(|(kind, named)| {
            let named = named.iter().map(|text| {
                let (name, version) = text.split_once('@').unwrap();
                let references: &[(ResourceType, Arc<str>)] =
                    if *kind == Listener { &[(Route, Arc::from("routes"))] } else { &[] };
                (name.into(), Resource { version: version.into(), body: Arc::default(), references: references.into() })
            });
            (*kind, named.collect())
        })
        .collect();
    Offer::new(sequence, Generation(format!("g{sequence}").into()), resources)
}

fn request(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), ..DeltaDiscoveryRequest::default() }
}

fn subscribe(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    let names = names.iter().map(ToString::to_string).collect();
    DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(kind) }
}

fn unsubscribe(kind: ResourceType, name: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..request(kind) }
}

fn holding(request: DeltaDiscoveryRequest, versions: &[&str]) -> DeltaDiscoveryRequest {
    let versions = versions.iter().map(|text| text.split_once('@').unwrap());
    let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
    DeltaDiscoveryRequest { initial_resource_versions: versions, ..request }
}

fn ack(response: &Response) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..request(response.kind) }
}

fn nack(response: &Response) -> DeltaDiscoveryRequest {
    let error = rpc::Status { message: "bad".to_owned(), ..rpc::Status::default() };
    DeltaDiscoveryRequest { error_detail: Some(error), ..ack(response) }
}

impl Session {
    #[track_caller]
    fn sends(&mut self, offer: &Offer, kind: ResourceType, resources: &[&str], removed: &[&str]) -> Response {
        let Step::Send(response) = self.next(offer) else { panic!("nothing is sent") };
        assert_eq!((response.kind, contents(&response)), (kind, resources.iter().map(ToString::to_string).collect()));
        let removed = removed.iter().map(|name| Arc::from(*name)).collect();
        assert_eq!(response.change, Change::Removed(removed));
        response
    }

    fn hears(&mut self, request: impl Incoming) -> Option<Verdict> {
        self.receive(request.into_request()).unwrap()
    }
}

fn contents(response: &Response) -> Vec<String> {
    response.resources.iter().map(|(name, resource)| format!("{name}@{}", resource.version)).collect()
}

fn delta() -> Session {
    Session::new(Dialect::Delta, Types::new())
}

/// Holds clusters `a@1`, `b@1`, listener `http@1` and routes `routes@1`: all of `first()`.
fn settled() -> Session {
    let mut session = delta();
    session.hears(holding(request(Cluster), &["a@1", "b@1"]));
    session.hears(holding(request(Listener), &["http@1"]));
    session.hears(holding(subscribe(Route, &["routes"]), &["routes@1"]));
    assert_eq!(session.next(&first()), Step::Settled);
    session
}

fn first() -> Offer {
    offer(1, &[(Cluster, &["a@1", "b@1"]), (Listener, &["http@1"]), (Route, &["routes@1"])])
}

#[test]
fn a_new_envoy_is_sent_each_type_when_the_one_before_is_acked() {
    let mut session = delta();
    let offer = first();
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(request(Cluster));
    session.hears(request(Listener));
    let clusters = session.sends(&offer, Cluster, &["a@1", "b@1"], &[]);
    assert_eq!(session.next(&offer), Step::Wait);
    let acked = session.hears(ack(&clusters));
    assert_eq!(acked, Some(Verdict::Acked { kind: Cluster, generation: Generation("g1".into()) }));
    let listeners = session.sends(&offer, Listener, &["http@1"], &[]);
    session.hears(ack(&listeners));
    // It has not asked for the routes yet.
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(subscribe(Route, &["routes"]));
    let routes = session.sends(&offer, Route, &["routes@1"], &[]);
    assert_eq!(session.next(&offer), Step::Wait);
    session.hears(ack(&routes));
    assert_eq!(session.next(&offer), Step::Settled);
}

#[test]
fn only_what_changed_is_sent() {
    let mut session = settled();
    let next = offer(2, &[(Cluster, &["a@1", "b@2"]), (Listener, &["http@1"]), (Route, &["routes@2"])]);
    let clusters = session.sends(&next, Cluster, &["b@2"], &[]);
    session.hears(ack(&clusters));
    let routes = session.sends(&next, Route, &["routes@2"], &[]);
    session.hears(ack(&routes));
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn removals_come_last_and_in_reverse() {
    let mut session = settled();
    let next = offer(2, &[(Cluster, &["c@1"])]);
    let clusters = session.sends(&next, Cluster, &["c@1"], &[]);
    session.hears(ack(&clusters));
    for (kind, removed) in [(Route, &["routes"][..]), (Listener, &["http"]), (Cluster, &["a", "b"])] {
        let removal = session.sends(&next, kind, &[], removed);
        assert_eq!(session.next(&next), Step::Wait);
        session.hears(ack(&removal));
    }
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn an_empty_type_is_answered_once() {
    let mut session = delta();
    let nothing = offer(1, &[]);
    session.hears(request(Cluster));
    let empty = session.sends(&nothing, Cluster, &[], &[]);
    session.hears(ack(&empty));
    assert_eq!(session.next(&nothing), Step::Wait);
    session.hears(request(Listener));
    let empty = session.sends(&nothing, Listener, &[], &[]);
    session.hears(ack(&empty));
    assert_eq!(session.next(&nothing), Step::Settled);
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_removed() {
    let mut session = settled();
    session.hears(subscribe(Secret, &["identity"]));
    let absent = session.sends(&first(), Secret, &[], &["identity"]);
    session.hears(ack(&absent));
    assert_eq!(session.next(&first()), Step::Settled);
}

#[test]
fn names_that_were_not_asked_for_are_not_sent() {
    let mut session = settled();
    let next = offer(2, &[(Cluster, &["a@1", "b@1"]), (Listener, &["http@1"]), (Route, &["other@1", "routes@1"])]);
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn what_is_asked_for_again_is_sent_again() {
    let mut session = settled();
    session.hears(subscribe(Route, &["routes"]));
    session.sends(&first(), Route, &["routes@1"], &[]);
}

#[test]
fn what_is_unsubscribed_is_forgotten() {
    let mut session = settled();
    session.hears(unsubscribe(Route, "routes"));
    let next = offer(2, &[(Cluster, &["a@1", "b@1"]), (Listener, &["http@1"]), (Route, &["routes@2"])]);
    // The listener needs the routes: the Envoy does not hold the offer without.
    assert_eq!(session.next(&next), Step::Wait);
    session.hears(subscribe(Route, &["routes"]));
    session.sends(&next, Route, &["routes@2"], &[]);
}

#[test]
fn a_name_unsubscribed_under_a_wildcard_is_sent_again() {
    let mut session = settled();
    session.hears(unsubscribe(Cluster, "a"));
    let cluster = session.sends(&first(), Cluster, &["a@1"], &[]);
    session.hears(ack(&cluster));
    assert_eq!(session.next(&first()), Step::Settled);
}

#[test]
fn an_explicit_wildcard_subscribes_to_everything_until_it_is_taken_back() {
    let mut session = delta();
    session.hears(subscribe(Cluster, &["*", "a"]));
    let clusters = session.sends(&first(), Cluster, &["a@1", "b@1"], &[]);
    session.hears(ack(&clusters));
    session.hears(unsubscribe(Cluster, "*"));
    let next = offer(2, &[(Cluster, &["a@2", "b@2"])]);
    session.sends(&next, Cluster, &["a@2"], &[]);
}

#[test]
fn a_stale_nonce_is_not_an_answer() {
    let mut session = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@1"]), (Listener, &["http@1"]), (Route, &["routes@1"])]);
    let clusters = session.sends(&next, Cluster, &["a@2"], &[]);
    let stale = DeltaDiscoveryRequest { response_nonce: "0".to_owned(), ..nack(&clusters) };
    assert_eq!(session.hears(stale), None);
    assert_eq!(session.next(&next), Step::Wait);
    assert!(session.hears(ack(&clusters)).is_some());
    assert_eq!(session.hears(ack(&clusters)), None);
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn a_refused_offer_is_not_tried_again_and_nothing_after_it_is_sent() {
    let mut session = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@1"]), (Listener, &["http@1"]), (Route, &["routes@2"])]);
    let clusters = session.sends(&next, Cluster, &["a@2"], &[]);
    let refused = session.hears(nack(&clusters));
    assert_eq!(refused, Some(Verdict::Refused { kind: Cluster, sequence: 2, text: "bad".to_owned() }));
    assert_eq!(session.next(&next), Step::Refused);
}

#[test]
fn after_a_refusal_what_was_refused_is_set_right() {
    let mut session = settled();
    // `a` changed, `c` is new: either may have been applied before the other was refused.
    let next = offer(2, &[(Cluster, &["a@2", "b@1", "c@1"]), (Listener, &["http@1"]), (Route, &["routes@1"])]);
    let clusters = session.sends(&next, Cluster, &["a@2", "c@1"], &[]);
    session.hears(nack(&clusters));
    let mut back = first();
    back.sequence = 3;
    let clusters = session.sends(&back, Cluster, &["a@1"], &[]);
    session.hears(ack(&clusters));
    let removed = session.sends(&back, Cluster, &[], &["c"]);
    session.hears(ack(&removed));
    assert_eq!(session.next(&back), Step::Settled);
}

#[test]
fn a_new_offer_waits_for_the_answer_to_the_old_one() {
    let mut session = settled();
    let contents = |version| [(Cluster, &["a@1", "b@1"][..]), (Listener, &["http@1"]), (Route, version)];
    let (second, third) = (offer(2, &contents(&["routes@2"])), offer(3, &contents(&["routes@3"])));
    let routes = session.sends(&second, Route, &["routes@2"], &[]);
    assert_eq!(session.next(&third), Step::Wait);
    // A refusal of the old one does not count against the new one.
    session.hears(nack(&routes));
    session.sends(&third, Route, &["routes@3"], &[]);
}

#[test]
fn a_reconnecting_envoy_loses_what_is_gone() {
    let mut session = delta();
    session.hears(holding(request(Cluster), &["a@1", "b@1", "old@7"]));
    session.hears(holding(request(Listener), &["http@1"]));
    session.hears(holding(subscribe(Route, &["routes"]), &["routes@0"]));
    let routes = session.sends(&first(), Route, &["routes@1"], &[]);
    session.hears(ack(&routes));
    session.sends(&first(), Cluster, &[], &["old"]);
}

#[test]
fn what_an_envoy_that_left_with_a_refusal_says_does_not_count() {
    let mut session = Session::new(Dialect::Delta, [Cluster].into());
    session.hears(holding(request(Cluster), &["a@1", "b@1", "old@7"]));
    session.hears(holding(request(Listener), &["http@1"]));
    let clusters = session.sends(&first(), Cluster, &["a@1", "b@1"], &[]);
    session.hears(ack(&clusters));
    // It is its word on clusters alone.
    session.sends(&first(), Cluster, &[], &["old"]);
}

#[test]
fn other_resource_types_are_ignored() {
    let mut session = settled();
    let runtime = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(session.hears(runtime), None);
    assert_eq!(session.next(&first()), Step::Settled);
    assert_eq!(session.receive(DeltaDiscoveryRequest::default().into_request()), Err(Abuse::NoType));
}

#[test]
fn a_first_request_that_only_unsubscribes_is_no_wildcard() {
    let mut session = delta();
    session.hears(unsubscribe(Cluster, "a"));
    session.hears(request(Listener));
    session.sends(&first(), Listener, &["http@1"], &[]);
}

#[test]
fn names_are_bounded() {
    let mut session = delta();
    let names: Vec<String> = (0..=MAX_NAMES).map(|index| index.to_string()).collect();
    let request = DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(Route) };
    assert_eq!(session.receive(request.into_request()), Err(Abuse::TooManyNames));
}
