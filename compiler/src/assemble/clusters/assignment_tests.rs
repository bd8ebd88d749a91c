use envoy_types::pb::envoy::config::core::v3::address::Address::{EnvoyInternalAddress, Pipe, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use microgw_proto::traffic::v1::EndpointPolicy;

use super::*;
use crate::settings::Proxy;

fn url(text: &str) -> BackendUrl {
    crate::url::parse(text).unwrap()
}

fn target(text: &str, weight: u32, lookup: Lookup) -> Target {
    Target { url: url(text), weight, lookup }
}

fn endpoint(targets: Vec<Target>, balance: Balance) -> Endpoint {
    let policy = EndpointPolicy { balance: balance.into(), ..EndpointPolicy::default() };
    Endpoint { targets, policy, ..Endpoint::default() }
}

fn found(host: Option<&str>, addresses: &[&str]) -> Found {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Found::at(host.map(str::to_owned), addresses)
}

/// Each with its priority, its weight and its addresses.
fn instances(instances: &[(u32, u32, &[&str])]) -> Found {
    let instance = |(priority, weight, addresses): &(u32, u32, &[&str])| Instance {
        priority: *priority,
        weight: *weight,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    Found { host: None, instances: instances.iter().map(instance).collect() }
}

/// `priority address hostname weight`, and the name that tells TLS.
fn told(assignment: &Assignment, found: &[Found]) -> Vec<String> {
    let resource = load_assignment("c", assignment, found);
    let message = ClusterLoadAssignment::decode(&*resource.body).unwrap();
    assert_eq!(message.cluster_name, "c");
    let hosts = message.endpoints.iter().flat_map(|locality| {
        locality.lb_endpoints.iter().map(move |host| {
            let Some(HostIdentifier::Endpoint(endpoint)) = &host.host_identifier else { panic!("no endpoint") };
            let address = match endpoint.address.as_ref().unwrap().address.as_ref().unwrap() {
                SocketAddress(address) => address.address.clone(),
                EnvoyInternalAddress(address) => format!("through {}", address.endpoint_id),
                Pipe(pipe) => panic!("{pipe:?}"),
            };
            let weight = host.load_balancing_weight.map_or(0, |weight| weight.value);
            let named = if host.metadata.is_some() { " named" } else { "" };
            format!("{} {address} {} {weight}{named}", locality.priority, endpoint.hostname)
        })
    });
    hosts.collect()
}

fn direct(targets: Vec<Target>, balance: Balance) -> Assignment {
    assignment(&endpoint(targets, balance), &Backends::default()).unwrap()
}

#[test]
fn addresses_alone_are_in_the_cluster_and_names_are_not() {
    let fixed = endpoint(vec![target("http://10.0.0.1", 1, Lookup::Host)], Balance::RoundRobin);
    assert_eq!(assignment(&fixed, &Backends::default()), None);
    let named = endpoint(vec![target("http://a.test", 1, Lookup::Host)], Balance::RoundRobin);
    assert!(assignment(&named, &Backends::default()).is_some());
    // A key may name anything.
    let key = endpoint(vec![target("http://10.0.0.1", 1, Lookup::Etcd("k".to_owned()))], Balance::RoundRobin);
    assert!(assignment(&key, &Backends::default()).is_some());
    // The proxy knows names.
    let proxy = Proxy { host: "proxy.test".to_owned(), port: 3128, login: None };
    let backends = Backends { proxy: Some(proxy), ..Backends::default() };
    assert_eq!(assignment(&named, &backends), None);
    let key = assignment(&key, &backends).unwrap();
    assert_eq!(told(&key, &[found(Some("b.test"), &["10.0.0.2:81"])]), ["0 through b.test:81 b.test:81 1"]);
    assert_eq!(told(&key, &[found(None, &["10.0.0.2:81"])]), ["0 through 10.0.0.2:81 10.0.0.1:81 1"]);
}

#[test]
fn equal_addresses_are_equal_bytes_in_whatever_order_they_came() {
    let one = direct(vec![target("http://a.test:81", 1, Lookup::Host)], Balance::RoundRobin);
    let (there, back) = (["10.0.0.1:81", "10.0.0.2:81", "10.0.0.1:81"], ["10.0.0.2:81", "10.0.0.1:81"]);
    let first = load_assignment("c", &one, &[found(None, &there)]);
    assert_eq!(first, load_assignment("c", &one, &[found(None, &back)]));
    assert_eq!(told(&one, &[found(None, &back)]), ["0 10.0.0.1 a.test:81 1", "0 10.0.0.2 a.test:81 1"]);
    assert!(told(&one, &[]).is_empty());
    assert_ne!(first.version, load_assignment("c", &one, &[]).version);
}

#[test]
fn a_target_has_its_share_however_many_addresses_it_has() {
    let targets = vec![target("http://a.test", 3, Lookup::Host), target("http://b.test", 1, Lookup::Host)];
    let two = direct(targets, Balance::RoundRobin);
    let three = found(None, &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    let one = found(None, &["10.0.0.9:80"]);
    let shares = ["0 10.0.0.1 a.test 1", "0 10.0.0.2 a.test 1", "0 10.0.0.3 a.test 1", "0 10.0.0.9 b.test 1"];
    assert_eq!(told(&two, &[three, one.clone()]), shares);
    let both = found(None, &["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(told(&two, &[both, one.clone()]), ["0 10.0.0.1 a.test 3", "0 10.0.0.2 a.test 3", "0 10.0.0.9 b.test 2"]);
    // What has no address leaves its share to the other; a host that both have is one.
    assert_eq!(told(&two, &[Found::default(), one.clone()]), ["0 10.0.0.9 b.test 1"]);
    assert_eq!(told(&two, &[one.clone(), one]), ["0 10.0.0.9 a.test 1"]);
    // Weights that Envoy could not add up.
    let heavy =
        vec![target("http://a.test", u32::MAX, Lookup::Host), target("http://b.test", u32::MAX - 1, Lookup::Host)];
    let message = message(
        "c",
        &direct(heavy, Balance::RoundRobin),
        &[found(None, &["10.0.0.1:80", "10.0.0.2:80"]), found(None, &["10.0.0.3:80"])],
    );
    let weights =
        message.endpoints[0].lb_endpoints.iter().map(|host| u64::from(host.load_balancing_weight.unwrap().value));
    assert!(u32::try_from(weights.sum::<u64>()).is_ok());
}

#[test]
fn failover_goes_by_the_order_of_the_targets() {
    let targets = vec![target("http://a.test", 1, Lookup::Host), target("http://10.0.0.7", 1, Lookup::Host)];
    let ordered = direct(targets, Balance::Failover);
    let second = "1 10.0.0.7 10.0.0.7 1";
    assert_eq!(told(&ordered, &[found(None, &["10.0.0.1:80"])]), ["0 10.0.0.1 a.test 1", second]);
    // An empty first priority is there all the same: Envoy knows no gaps.
    let message = message("c", &ordered, &[]);
    assert_eq!(message.endpoints.iter().map(|locality| locality.priority).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn who_is_found_has_its_weight_and_its_priority() {
    let srv = |weight| target("http://a.test", weight, Lookup::Srv("_http._tcp.test".to_owned()));
    let one = direct(vec![srv(1)], Balance::RoundRobin);
    let two: &[&str] = &["10.0.0.1:81", "10.0.0.2:81"];
    let found = instances(&[(20, 5, &["10.0.0.9:83"]), (10, 300, two), (10, 100, &["10.0.0.3:82"])]);
    let expected =
        ["0 10.0.0.1 a.test:81 3", "0 10.0.0.2 a.test:81 3", "0 10.0.0.3 a.test:82 2", "1 10.0.0.9 a.test:83 1"];
    assert_eq!(told(&one, std::slice::from_ref(&found)), expected);
    // Of what its target has, in each priority.
    let both = direct(vec![srv(3), target("http://10.0.0.7", 1, Lookup::Host)], Balance::RoundRobin);
    let expected = [
        "0 10.0.0.1 a.test:81 9",
        "0 10.0.0.2 a.test:81 9",
        "0 10.0.0.3 a.test:82 6",
        "0 10.0.0.7 10.0.0.7 8",
        "1 10.0.0.9 a.test:83 1",
    ];
    assert_eq!(told(&both, std::slice::from_ref(&found)), expected);
    // All of one URL come before the next one, which fails over to its own.
    let ordered = direct(vec![srv(1), target("http://10.0.0.7", 1, Lookup::Host)], Balance::Failover);
    let levels: Vec<String> =
        told(&ordered, std::slice::from_ref(&found)).iter().map(|host| host[..10].to_owned()).collect();
    assert_eq!(levels, ["0 10.0.0.1", "0 10.0.0.2", "0 10.0.0.3", "1 10.0.0.9", "2 10.0.0.7"]);
    // Who is in two priorities is one host, in the first.
    let twice = instances(&[(0, 1, &["10.0.0.1:81"]), (1, 1, two)]);
    assert_eq!(told(&one, &[twice]), ["0 10.0.0.1 a.test:81 1", "1 10.0.0.2 a.test:81 1"]);
    // Weights as odd as they can be have their proportion, more or less.
    let odd = instances(&[(0, 6_553_500, &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]), (0, 1, &["10.0.0.4:1"])]);
    let message = message("c", &one, &[odd]);
    let weights: Vec<u32> =
        message.endpoints[0].lb_endpoints.iter().map(|host| host.load_balancing_weight.unwrap().value).collect();
    assert!(weights[0] / weights[3] > 100_000 && weights[0] == weights[2], "{weights:?}");
    // More priorities than Envoy has.
    let many: Vec<Instance> = (0..200_u8)
        .map(|n| Instance { priority: n.into(), weight: 1, addresses: vec![SocketAddr::from(([10, 0, 1, n], 80))] })
        .collect();
    let message = super::message("c", &one, &[Found { host: None, instances: many }]);
    assert_eq!((message.endpoints.len(), message.endpoints[127].lb_endpoints.len()), (128, 73));
}

#[test]
fn a_host_that_is_discovered_has_its_own_name() {
    let key = direct(vec![target("https://a.test:8443", 1, Lookup::Etcd("k".to_owned()))], Balance::RoundRobin);
    // The cluster has a socket for the name of its URL.
    assert_eq!(told(&key, &[found(None, &["10.0.0.1:8443"])]), ["0 10.0.0.1 a.test:8443 1 named"]);
    assert_eq!(told(&key, &[found(Some("a.test"), &["10.0.0.1:9443"])]), ["0 10.0.0.1 a.test:9443 1 named"]);
    // Of others Envoy sends what they are called, without a port.
    assert_eq!(told(&key, &[found(Some("b.test"), &["10.0.0.1:9443"])]), ["0 10.0.0.1 b.test 1"]);
    // An address is no name.
    assert_eq!(told(&key, &[found(Some("10.0.0.2"), &["10.0.0.2:9443"])]), ["0 10.0.0.2 a.test:9443 1 named"]);
    let plain = direct(vec![target("http://a.test", 1, Lookup::Etcd("k".to_owned()))], Balance::RoundRobin);
    assert_eq!(told(&plain, &[found(Some("b.test"), &["10.0.0.1:81"])]), ["0 10.0.0.1 b.test:81 1"]);
    assert_eq!(told(&plain, &[found(Some("10.0.0.2"), &["10.0.0.2:81"])]), ["0 10.0.0.2 10.0.0.2:81 1"]);
}
