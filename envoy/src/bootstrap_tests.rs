use super::*;

fn bootstrap() -> Bootstrap {
    Bootstrap {
        node_id: "gateway-1".to_owned(),
        node_cluster: "petstore".to_owned(),
        sockets: SocketPaths::within(Path::new("/run/micro-gw")),
        overload: Overload::default(),
    }
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
