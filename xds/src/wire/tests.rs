use microgw_compiler::snapshot::{Generation, Resource, ResourceType};

use super::*;

fn response(bodies: &[Arc<[u8]>], change: Change) -> Response {
    let resources = bodies.iter().enumerate().map(|(index, body)| {
        let resource = Resource { version: format!("v{index}").into(), body: Arc::clone(body), references: [].into() };
        (format!("name-{index}").into(), resource)
    });
    Response {
        kind: ResourceType::Route,
        nonce: "1f".to_owned(),
        generation: Generation("g1".into()),
        resources: resources.collect(),
        change,
    }
}

fn delta() -> Change {
    Change::Removed(vec!["gone".into()])
}

fn state() -> Change {
    Change::State("v".to_owned())
}

fn bodies() -> Vec<Arc<[u8]>> {
    [0, 1, 127, 128, 300, 16_384, 100_000, 3_000_000].map(|length| vec![b'x'; length].into()).to_vec()
}

/// Without the prefix of its length, which is right.
fn message(response: &Response) -> Vec<u8> {
    let mut message: Vec<u8> = encode(response).unwrap().concat();
    assert_eq!(message[0], 0);
    assert_eq!(u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize, message.len() - 5);
    message.split_off(5)
}

#[test]
fn delta_is_what_prost_reads() {
    let bodies = bodies();
    let decoded = DeltaDiscoveryResponse::decode(&*message(&response(&bodies, delta()))).unwrap();
    assert_eq!((&*decoded.nonce, &*decoded.system_version_info), ("1f", "g1"));
    assert_eq!(decoded.type_url, ResourceType::Route.type_url());
    assert_eq!(decoded.removed_resources, ["gone"]);
    assert_eq!(decoded.resources.len(), bodies.len());
    for (index, (resource, body)) in decoded.resources.iter().zip(&bodies).enumerate() {
        assert_eq!((&resource.name, &resource.version), (&format!("name-{index}"), &format!("v{index}")));
        let any = resource.resource.as_ref().unwrap();
        assert_eq!(any.type_url, ResourceType::Route.type_url());
        assert_eq!(any.value, **body);
    }
}

#[test]
fn state_of_the_world_is_what_prost_reads() {
    let bodies = bodies();
    let decoded = DiscoveryResponse::decode(&*message(&response(&bodies, state()))).unwrap();
    assert_eq!((&*decoded.nonce, &*decoded.version_info), ("1f", "v"));
    assert_eq!(decoded.type_url, ResourceType::Route.type_url());
    assert_eq!(decoded.resources.len(), bodies.len());
    for (any, body) in decoded.resources.iter().zip(&bodies) {
        assert_eq!((&*any.type_url, &any.value), (ResourceType::Route.type_url(), &body.to_vec()));
    }
}

#[test]
fn a_large_body_is_not_copied() {
    let body: Arc<[u8]> = vec![1; 6_000_000].into();
    for change in [delta(), state()] {
        let pieces = encode(&response(&[Arc::clone(&body)], change)).unwrap();
        assert!(pieces.iter().any(|piece| std::ptr::eq(piece.as_ptr(), body.as_ptr())));
        let copied: usize = pieces.iter().filter(|piece| piece.len() < body.len()).map(Bytes::len).sum();
        assert!(copied < 300, "{copied}");
        drop(pieces);
        assert_eq!(Arc::strong_count(&body), 1);
    }
}

#[test]
fn small_bodies_are_gathered() {
    let bodies: Vec<Arc<[u8]>> = (0..1_000).map(|_| vec![0; 300].into()).collect();
    assert!(encode(&response(&bodies, delta())).unwrap().len() < 10);
}
