use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::*;

/// What an Envoy keeps of one type: what it names, and the last response that it accepted.
struct Subscriber {
    kind: ResourceType,
    names: Vec<String>,
    version: String,
    nonce: String,
}

// === impl Subscriber ===

impl Subscriber {
    fn new(kind: ResourceType, names: &[&str]) -> Subscriber {
        let names = names.iter().map(ToString::to_string).collect();
        Subscriber { kind, names, version: String::new(), nonce: String::new() }
    }

    /// On a new stream, with what it has.
    fn again(&self) -> Subscriber {
        Subscriber { kind: self.kind, names: self.names.clone(), version: self.version.clone(), nonce: String::new() }
    }

    fn asks(&self) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: self.kind.type_url().to_owned(),
            resource_names: self.names.clone(),
            version_info: self.version.clone(),
            response_nonce: self.nonce.clone(),
            ..DiscoveryRequest::default()
        }
    }

    fn names(&mut self, names: &[&str]) -> DiscoveryRequest {
        self.names = names.iter().map(ToString::to_string).collect();
        self.asks()
    }

    fn accepts(&mut self, response: &Response) -> DiscoveryRequest {
        self.nonce.clone_from(&response.nonce);
        self.version = state(response);
        self.asks()
    }

    fn refuses(&mut self, response: &Response) -> DiscoveryRequest {
        self.nonce.clone_from(&response.nonce);
        let error = rpc::Status { message: "bad".to_owned(), ..rpc::Status::default() };
        DiscoveryRequest { error_detail: Some(error), ..self.asks() }
    }
}

impl Session {
    #[track_caller]
    fn tells(&mut self, offer: &Offer, kind: ResourceType, resources: &[&str]) -> Response {
        let Step::Send(response) = self.next(offer) else { panic!("nothing is sent") };
        assert_eq!((response.kind, contents(&response)), (kind, resources.iter().map(ToString::to_string).collect()));
        response
    }
}

fn state(response: &Response) -> String {
    let Change::State(version) = &response.change else { panic!("{response:?}") };
    version.clone()
}

/// Clusters, listeners, routes: settled with `first()`.
fn settled() -> (Session, [Subscriber; 3]) {
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    let mut all = [Subscriber::new(Cluster, &[]), Subscriber::new(Listener, &[]), Subscriber::new(Route, &["routes"])];
    for one in &all {
        session.hears(one.asks());
    }
    for one in &mut all {
        let Step::Send(response) = session.next(&first()) else { panic!("nothing is sent") };
        assert_eq!(response.kind, one.kind);
        assert!(matches!(session.hears(one.accepts(&response)), Some(Verdict::Acked { .. })));
    }
    assert_eq!(session.next(&first()), Step::Settled);
    (session, all)
}

const ROUTES: (ResourceType, &[&str]) = (Route, &["routes@1"]);
const LISTENERS: (ResourceType, &[&str]) = (Listener, &["http@1"]);

#[test]
fn clusters_and_listeners_are_told_whole() {
    let (mut session, [mut clusters, ..]) = settled();
    let next = offer(2, &[(Cluster, &["a@1", "b@2"]), LISTENERS, ROUTES]);
    let told = session.tells(&next, Cluster, &["a@1", "b@2"]);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn what_is_gone_stays_until_everything_else_is_in_place() {
    let (mut session, [mut clusters, _, mut routes]) = settled();
    let next = offer(2, &[(Cluster, &["b@1", "c@1"]), LISTENERS, (Route, &["routes@2"])]);
    let told = session.tells(&next, Cluster, &["a@1", "b@1", "c@1"]);
    session.hears(clusters.accepts(&told));
    let told = session.tells(&next, Route, &["routes@2"]);
    session.hears(routes.accepts(&told));
    let told = session.tells(&next, Cluster, &["b@1", "c@1"]);
    assert_eq!(session.next(&next), Step::Wait);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn nothing_left_is_told_as_nothing() {
    let (mut session, [mut clusters, mut listeners, _]) = settled();
    let nothing = offer(2, &[]);
    let told = session.tells(&nothing, Listener, &[]);
    session.hears(listeners.accepts(&told));
    let told = session.tells(&nothing, Cluster, &[]);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&nothing), Step::Settled);
}

#[test]
fn of_what_is_named_only_what_changed_is_told() {
    let (mut session, _) = settled();
    let mut secrets = Subscriber::new(Secret, &["one", "two"]);
    let contents = |secrets| [(Cluster, &["a@1", "b@1"][..]), (Secret, secrets), LISTENERS, ROUTES];
    session.hears(secrets.asks());
    let before = offer(2, &contents(&["one@1", "two@1"]));
    let told = session.tells(&before, Secret, &["one@1", "two@1"]);
    session.hears(secrets.accepts(&told));
    let after = offer(3, &contents(&["one@1", "two@2"]));
    let told = session.tells(&after, Secret, &["two@2"]);
    session.hears(secrets.accepts(&told));
    assert_eq!(session.next(&after), Step::Settled);
    // Its version is that of all that it has: it is not told again.
    let (mut again, _) = settled();
    again.hears(secrets.again().asks());
    assert_eq!(again.next(&after), Step::Settled);
}

#[test]
fn a_name_that_is_not_there_is_answered_when_it_is() {
    let (mut session, _) = settled();
    session.hears(Subscriber::new(Secret, &["identity"]).asks());
    assert_eq!(session.next(&first()), Step::Settled);
    let next = offer(2, &[(Cluster, &["a@1", "b@1"]), (Secret, &["identity@1"]), LISTENERS, ROUTES]);
    session.tells(&next, Secret, &["identity@1"]);
}

#[test]
fn a_cluster_that_is_not_there_is_missing_in_the_answer() {
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    let mut clusters = Subscriber::new(Cluster, &["a", "nope"]);
    session.hears(clusters.asks());
    let told = session.tells(&first(), Cluster, &["a@1"]);
    session.hears(clusters.accepts(&told));
    session.hears(clusters.names(&["a", "nope", "neither"]));
    session.tells(&first(), Cluster, &["a@1"]);
}

#[test]
fn newly_named_resources_are_told_although_the_envoy_may_have_them() {
    let (mut session, [mut clusters, ..]) = settled();
    session.hears(clusters.names(&["*", "a"]));
    let told = session.tells(&first(), Cluster, &["a@1", "b@1"]);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&first()), Step::Settled);
    // The same names again are no question.
    assert_eq!(session.hears(clusters.asks()), None);
    assert_eq!(session.next(&first()), Step::Settled);
}

#[test]
fn a_wildcard_by_silence_ends_with_the_first_name() {
    let (mut session, [mut clusters, ..]) = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@2"]), LISTENERS, ROUTES]);
    session.hears(clusters.names(&["*", "a"]));
    let told = session.tells(&first(), Cluster, &["a@1", "b@1"]);
    session.hears(clusters.accepts(&told));
    // Now `b` is of no interest.
    session.hears(clusters.names(&["a"]));
    assert_eq!(session.next(&first()), Step::Settled);
    let told = session.tells(&next, Cluster, &["a@2"]);
    session.hears(clusters.accepts(&told));
    // And now nothing is.
    session.hears(clusters.names(&[]));
    let last = offer(3, &[(Cluster, &["a@3", "b@3"]), LISTENERS, ROUTES]);
    assert_eq!(session.next(&last), Step::Settled);
    // What was forgotten is told when it is named again.
    session.hears(clusters.names(&["b"]));
    session.tells(&last, Cluster, &["b@3"]);
}

#[test]
fn no_names_of_routes_mean_no_routes() {
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    session.hears(Subscriber::new(Route, &[]).asks());
    assert_eq!(session.next(&first()), Step::Wait);
}

#[test]
fn a_stale_request_is_ignored_whole() {
    let (mut session, [mut clusters, ..]) = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@1"]), LISTENERS, ROUTES]);
    let told = session.tells(&next, Cluster, &["a@2", "b@1"]);
    // It crossed the response: neither an answer nor a wish.
    assert_eq!(session.hears(clusters.names(&["a"])), None);
    let error = Some(rpc::Status { message: "bad".to_owned(), ..rpc::Status::default() });
    assert_eq!(session.hears(DiscoveryRequest { error_detail: error, ..clusters.asks() }), None);
    assert_eq!(session.next(&next), Step::Wait);
    clusters.names(&[]);
    assert!(matches!(session.hears(clusters.accepts(&told)), Some(Verdict::Acked { .. })));
    assert_eq!(session.hears(clusters.asks()), None);
    assert_eq!(session.next(&next), Step::Settled);
}

#[test]
fn the_answer_may_bring_other_names_along() {
    let (mut session, [mut clusters, ..]) = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@2"]), LISTENERS, ROUTES]);
    let told = session.tells(&next, Cluster, &["a@2", "b@2"]);
    clusters.names(&["a"]);
    assert!(matches!(session.hears(clusters.accepts(&told)), Some(Verdict::Acked { .. })));
    session.tells(&next, Cluster, &["a@2"]);
}

#[test]
fn an_answer_with_another_version_is_a_refusal() {
    let (mut session, [mut clusters, ..]) = settled();
    let next = offer(2, &[(Cluster, &["a@2", "b@1"]), LISTENERS, ROUTES]);
    let told = session.tells(&next, Cluster, &["a@2", "b@1"]);
    let refusal = DiscoveryRequest { error_detail: None, ..clusters.refuses(&told) };
    let Some(Verdict::Refused { kind, sequence, text }) = session.hears(refusal) else { panic!("accepted") };
    assert_eq!((kind, sequence), (Cluster, 2));
    assert!(text.contains("no reason"), "{text}");
}

#[test]
fn after_a_refusal_the_state_is_set_right_and_what_serves_stays() {
    let (mut session, [mut clusters, _, mut routes]) = settled();
    // `a` is to go, but the routes that are held may need it; `b` is refused, and `c` may have been applied.
    let next = offer(2, &[(Cluster, &["b@2", "c@1"]), LISTENERS, (Route, &["routes@2"])]);
    let told = session.tells(&next, Cluster, &["a@1", "b@2", "c@1"]);
    let refused = session.hears(clusters.refuses(&told));
    assert_eq!(refused, Some(Verdict::Refused { kind: Cluster, sequence: 2, text: "bad".to_owned() }));
    assert_eq!(session.next(&next), Step::Refused);

    let third = offer(3, &[(Cluster, &["b@1", "d@1"]), LISTENERS, (Route, &["routes@3"])]);
    let told = session.tells(&third, Cluster, &["a@1", "b@1", "d@1"]);
    session.hears(clusters.accepts(&told));
    let told = session.tells(&third, Route, &["routes@3"]);
    session.hears(routes.accepts(&told));
    let told = session.tells(&third, Cluster, &["b@1", "d@1"]);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&third), Step::Settled);
}

#[test]
fn a_refused_offer_is_taken_back_with_the_version_from_before() {
    let (mut session, [mut clusters, ..]) = settled();
    let before = clusters.version.clone();
    let next = offer(2, &[(Cluster, &["a@2", "b@1"]), LISTENERS, ROUTES]);
    let told = session.tells(&next, Cluster, &["a@2", "b@1"]);
    assert_ne!(state(&told), before);
    session.hears(clusters.refuses(&told));
    let mut back = first();
    back.sequence = 3;
    let told = session.tells(&back, Cluster, &["a@1", "b@1"]);
    assert_eq!(state(&told), before);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&back), Step::Settled);
}

#[test]
fn an_envoy_that_comes_back_is_not_told_what_it_has() {
    let (_, all) = settled();
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    for one in &all {
        session.hears(one.again().asks());
    }
    let mut later = first();
    later.sequence = 9;
    assert_eq!(session.next(&later), Step::Settled);
}

#[test]
fn an_envoy_that_comes_back_is_told_what_is_different() {
    let (_, [clusters, listeners, routes]) = settled();
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    // A nonce of the stream before means nothing here.
    session.hears(clusters.asks());
    session.hears(listeners.again().asks());
    session.hears(routes.again().names(&["routes", "more"]));
    let next = offer(1, &[(Cluster, &["a@1", "b@2"]), LISTENERS, (Route, &["more@1", "routes@1"])]);
    let mut again = clusters.again();
    let told = session.tells(&next, Cluster, &["a@1", "b@2"]);
    session.hears(again.accepts(&told));
    // It may not have had `more` when it had this version of its routes.
    session.tells(&next, Route, &["more@1", "routes@1"]);
}

#[test]
fn what_an_envoy_that_left_with_a_refusal_says_does_not_count() {
    let (_, [clusters, listeners, routes]) = settled();
    let mut session = Session::new(Dialect::StateOfTheWorld, [Cluster].into());
    let mut clusters = clusters.again();
    session.hears(clusters.asks());
    session.hears(listeners.again().asks());
    session.hears(routes.again().asks());
    let told = session.tells(&first(), Cluster, &["a@1", "b@1"]);
    session.hears(clusters.accepts(&told));
    assert_eq!(session.next(&first()), Step::Settled);
}

#[test]
fn a_version_of_the_unknown_is_told_everything() {
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    session.hears(DiscoveryRequest { version_info: "7".to_owned(), ..Subscriber::new(Cluster, &[]).asks() });
    let nothing = offer(1, &[]);
    session.tells(&nothing, Cluster, &[]);
}

#[test]
fn of_endpoints_only_what_changed_is_told() {
    let mut session = Session::new(Dialect::StateOfTheWorld, Types::new());
    let endpoints = |versions: &[(&str, &str)]| {
        let named = versions.iter().map(|(name, version)| {
            let resource = Resource { version: (*version).into(), body: Arc::default(), references: Arc::default() };
            (Arc::from(*name), resource)
        });
        first().with(Arc::new(named.collect()))
    };
    let mut clusters = Subscriber::new(Cluster, &[]);
    let mut located = Subscriber::new(ResourceType::Endpoint, &["a", "b"]);
    session.hears(clusters.asks());
    session.hears(located.asks());
    let offer = endpoints(&[("a", "x"), ("b", "x")]);
    let told = session.tells(&offer, Cluster, &["a@1", "b@1"]);
    session.hears(clusters.accepts(&told));
    let told = session.tells(&offer, ResourceType::Endpoint, &["a@x", "b@x"]);
    session.hears(located.accepts(&told));
    let moved = endpoints(&[("a", "x"), ("b", "y")]);
    let told = session.tells(&moved, ResourceType::Endpoint, &["b@y"]);
    session.hears(located.accepts(&told));
    assert!(!matches!(session.next(&moved), Step::Send(_)));
    // On a new stream it is told nothing that it has.
    let mut again = Session::new(Dialect::StateOfTheWorld, Types::new());
    again.hears(clusters.again().asks());
    again.hears(located.again().asks());
    assert!(!matches!(again.next(&moved), Step::Send(_)));
    let refused = endpoints(&[("a", "bad"), ("b", "y")]);
    let mut located = located.again();
    let told = again.tells(&refused, ResourceType::Endpoint, &["a@bad"]);
    again.hears(located.refuses(&told));
    assert!(!matches!(again.next(&refused), Step::Send(_)));
    assert_eq!(again.refused_endpoints().len(), 1);
}
