use super::*;

#[test]
fn networks_are_called_by_their_addresses() {
    let name = |address: &str| NetworkName::of(Some(address.parse().unwrap())).as_bytes().to_vec();
    assert_eq!(name("::ffff:1.2.3.4"), [1, 2, 3, 4]);
    assert_eq!(name("1.2.3.4"), [1, 2, 3, 4]);
    assert_eq!(name("2001:db8:ffff:ffff:ffff::1"), [0x20, 1, 0xd, 0xb8, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(NetworkName::of(None).as_bytes(), b"anonymous");
}

#[test]
fn a_certificate_is_somebody_of_no_application() {
    let identity = Identity { subject: Some("CN=robot".into()), ..Identity::new(CredentialKind::Certificate) };
    let caller = Caller { identity: Some(&identity), subscription: None, vouchers: &[] };
    assert_eq!((caller.application_name(), caller.user()), (["", "", ANONYMOUS], "CN=robot"));
    let mut unknown = |_: Level, _: &str| unreachable!();
    assert!(caller.subscription_tier(&Tiers::default(), &mut unknown).is_none());
}
