use super::*;

fn bootstrap() -> Bootstrap {
    Bootstrap::local("gateway-1", "petstore", &SocketPaths::within(Path::new("/run/micro-gw")))
}

#[test]
fn is_deterministic() {
    assert_eq!(bootstrap().to_json(), bootstrap().to_json());
}

#[test]
fn points_at_the_sockets() {
    let value: Value = serde_json::from_str(&bootstrap().to_json()).unwrap();
    assert_eq!(value["admin"]["address"]["pipe"], json!({ "path": "/run/micro-gw/admin.sock", "mode": 384 }));
    let clusters = value["static_resources"]["clusters"].as_array().unwrap();
    let found: Vec<_> = clusters
        .iter()
        .map(|cluster| {
            let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            (cluster["name"].as_str().unwrap(), endpoint["address"]["pipe"]["path"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            (XDS_CLUSTER, "/run/micro-gw/xds.sock"),
            (AUTHZ_CLUSTER, "/run/micro-gw/authz.sock"),
            (ISSUER_CLUSTER, "/run/micro-gw/issuer.sock"),
        ]
    );
}

#[test]
fn sheds_load_only_with_a_limit() {
    let actions = |overload: Overload| overload.value()["actions"].as_array().unwrap().len();
    assert_eq!(actions(Overload::default()), 0);
    assert_eq!(actions(Overload { max_heap: Some(1 << 30), ..Overload::default() }), 4);
}

#[test]
fn asks_in_the_dialect_that_is_chosen() {
    let asks = |dialect| {
        let value = Bootstrap { dialect, ..bootstrap() }.value();
        value["dynamic_resources"]["ads_config"]["api_type"].clone()
    };
    assert_eq!([Dialect::Delta, Dialect::StateOfTheWorld].map(asks), ["DELTA_GRPC", "GRPC"]);
}

fn remote(host: &str, server_name: Option<&str>) -> Value {
    let tls = server_name.map(|name| ClientTls {
        certificate_chain: "/etc/envoy/tls.crt".into(),
        private_key: "/etc/envoy/tls.key".into(),
        authority: "/etc/envoy/ca.crt".into(),
        server_name: name.to_owned(),
    });
    let remote = Remote { host: host.to_owned(), xds_port: 1, authz_port: 2, issuer_port: 3, tls };
    Bootstrap { gateway: Gateway::Remote(remote), admin: None, ..bootstrap() }.value()
}

#[test]
fn a_gateway_elsewhere_is_verified_by_name() {
    let value = remote("gateway.example.com", Some("gateway.example.com"));
    assert!(value.get("admin").is_none());
    let clusters = value["static_resources"]["clusters"].as_array().unwrap();
    for (cluster, port) in clusters.iter().zip(1..) {
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let address = json!({ "address": "gateway.example.com", "port_value": port });
        assert_eq!((&endpoint["address"]["socket_address"], &cluster["type"]), (&address, &"STRICT_DNS".into()));
        let tls = &cluster["transport_socket"]["typed_config"];
        let validation = &tls["common_tls_context"]["validation_context"];
        assert_eq!(tls["sni"], "gateway.example.com");
        assert_eq!(validation["trusted_ca"]["filename"], "/etc/envoy/ca.crt");
        assert_eq!(
            validation["match_typed_subject_alt_names"],
            json!([{ "san_type": "DNS", "matcher": { "exact": "gateway.example.com" } }])
        );
    }
}

#[test]
fn a_gateway_may_be_named_by_address_or_uri() {
    for (name, kind) in [("10.0.0.1", "IP_ADDRESS"), ("::1", "IP_ADDRESS"), ("spiffe://a/gateway", "URI")] {
        let value = remote("10.0.0.1", Some(name));
        let cluster = &value["static_resources"]["clusters"][0];
        let tls = &cluster["transport_socket"]["typed_config"];
        let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
        assert_eq!((&names[0]["san_type"], &cluster["type"]), (&kind.into(), &"STATIC".into()));
        assert!(tls.get("sni").is_none());
    }
}

#[test]
fn without_tls_there_is_no_transport_socket() {
    let value = remote("10.0.0.1", None);
    assert!(!value.to_string().contains("transport_socket"));
}
