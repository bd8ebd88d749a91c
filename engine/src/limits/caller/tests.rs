use super::*;

#[test]
fn addresses_are_written_without_a_heap() {
    for address in ["::ffff:1.2.3.4", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255"] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(NetworkName::of(Some(address)).as_str(), network(address).to_string());
    }
}

#[test]
fn a_certificate_is_somebody_of_no_application() {
    let identity = Identity { subject: Some("CN=robot".into()), ..Identity::new(CredentialKind::Certificate) };
    let caller = Caller { identity: Some(&identity), subscription: None };
    assert_eq!((caller.application_name(), caller.user()), (["", "", ANONYMOUS], "CN=robot"));
    let mut unknown = |_: Level, _: &str| unreachable!();
    assert!(caller.subscription_tier(&Tiers::default(), &mut unknown).is_none());
}
