use super::*;

fn resources(references: &[(ResourceType, &str)]) -> Resources {
    let references = references.iter().map(|(kind, name)| (*kind, Arc::from(*name))).collect();
    let routes = Resource { version: "1".into(), body: Arc::default(), references };
    let cluster = Resource { version: "1".into(), body: Arc::default(), references: Arc::default() };
    Resources::from([
        (ResourceType::Route, BTreeMap::from([("routes".into(), routes)])),
        (ResourceType::Cluster, BTreeMap::from([("pets".into(), cluster)])),
    ])
}

#[test]
fn references_must_exist() {
    let fixed = BTreeSet::from(["service".into()]);
    let known = [(ResourceType::Cluster, "pets"), (ResourceType::Cluster, "service")];
    assert_eq!(check(&resources(&known), &fixed), Ok(()));
    let missing = check(&resources(&[(ResourceType::Cluster, "users")]), &fixed).unwrap_err();
    assert_eq!((missing.target_kind, &*missing.target), (ResourceType::Cluster, "users"));
    // A name counts only for its type, and only clusters are defined by the bootstrap.
    assert!(check(&resources(&[(ResourceType::Secret, "pets")]), &fixed).is_err());
    assert!(check(&resources(&[(ResourceType::Secret, "service")]), &fixed).is_err());
}

#[test]
fn only_secrets_and_routes_are_asked_for_by_name() {
    let both = [(ResourceType::Cluster, "pets"), (ResourceType::Secret, "identity")];
    let offer = Offer::new(1, Generation("g1".into()), resources(&both));
    let named: Vec<_> = offer.named().map(|(kind, name)| (*kind, &**name)).collect();
    assert_eq!(named, [(ResourceType::Secret, "identity")]);
}
