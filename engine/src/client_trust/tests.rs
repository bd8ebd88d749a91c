use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

use super::*;

const YEAR: u64 = 365 * 24 * 60 * 60;
/// In 2027.
const NOW: UnixTime = UnixTime(57 * YEAR);

struct Made {
    der: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

/// From 2025 to the end of 2030.
fn make(by: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2025, 1, 1), rcgen::date_time_ymd(2030, 12, 31));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
    params.distinguished_name.push(DnType::CommonName, "shop");
    change(&mut params);
    let certificate = match by {
        None => params.self_signed(&key),
        Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)),
    };
    Made { der: certificate.unwrap().der().clone(), params, key }
}

fn authority(by: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    make(by, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", by.is_some()));
        change(params);
    })
}

fn verify(rule: proto::CertificateRule, chain: &[&Made]) -> Result<Identity, TokenError> {
    let trust =
        ClientTrust::load(&proto::ClientTrust { rules: vec![proto::CertificateRule::default(), rule] }).unwrap();
    trust.verify(&chain.iter().map(|made| made.der.clone()).collect::<Vec<_>>(), NOW)
}

fn pin(made: &Made) -> proto::CertificateRule {
    proto::CertificateRule { pins: vec![thumbprint(&made.der).to_vec()], ..Default::default() }
}

fn of(authority: &Made) -> proto::CertificateRule {
    proto::CertificateRule { authorities: vec![authority.der.to_vec()], ..Default::default() }
}

#[test]
fn chains_hold_as_long_as_their_weakest_part() {
    let root = authority(None, |_| {});
    let between = authority(Some(&root), |params| params.not_after = rcgen::date_time_ymd(2028, 1, 1));
    let leaf = make(Some(&between), |_| {});
    let identity = verify(of(&root), &[&leaf, &between]).unwrap();
    let end = UnixTime(1_830_297_600 + 1);
    assert_eq!((identity.expires, identity.subject()), (Some(end), Some("shop")));
    assert_eq!(identity.certificate(), Some(&thumbprint(&leaf.der)));
    assert!(verify(of(&between), &[&leaf]).is_ok(), "an authority need not be a root");
    let unknown = Err(TokenError::CertificateUnknown);
    for (rule, chain) in [
        (of(&root), &[&leaf][..]),
        (of(&root), &[&leaf, &leaf]),
        (of(&leaf), &[&leaf]),
        (of(&authority(None, |_| {})), &[&leaf, &between]),
        (pin(&root), &[&leaf, &between]),
        (proto::CertificateRule::default(), &[&leaf, &between]),
    ] {
        assert_eq!(verify(rule, chain).map(|_| ()), unknown);
    }
    // An authority that has ended vouches for nobody, nor does one that is none.
    let ended = authority(None, |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    assert_eq!(verify(of(&ended), &[&make(Some(&ended), |_| {})]).map(|_| ()), unknown);
    let late = authority(Some(&root), |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    assert_eq!(verify(of(&root), &[&make(Some(&late), |_| {}), &late]).map(|_| ()), unknown);
    let client = make(Some(&root), |_| {});
    assert_eq!(verify(of(&root), &[&make(Some(&client), |_| {}), &client]).map(|_| ()), unknown);
}

#[test]
fn dates_and_purposes_count_for_pinned_ones_too() {
    for (change, expected) in [
        ((|_| {}) as fn(&mut CertificateParams), Ok(())),
        (|params| params.not_after = rcgen::date_time_ymd(2026, 1, 1), Err(TokenError::Expired)),
        (|params| params.not_before = rcgen::date_time_ymd(2029, 1, 1), Err(TokenError::NotYetValid)),
        (
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Err(TokenError::CertificateUsage),
        ),
        (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], Err(TokenError::CertificateUsage)),
        (
            |params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            },
            Ok(()),
        ),
    ] {
        let made = make(None, change);
        assert_eq!(verify(pin(&made), &[&made]).map(|_| ()), expected);
    }
}

#[test]
fn names_and_subjects() {
    let root = authority(None, |_| {});
    let leaf = make(Some(&root), |params| {
        params.subject_alt_names = vec![
            SanType::DnsName("Shop.Example".try_into().unwrap()),
            SanType::Rfc822Name("Alice@Example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/shop".try_into().unwrap()),
        ];
    });
    let name = |kind: Kind, name: &str| proto::AlternativeName { kind: kind.into(), name: name.to_owned() };
    for (wanted, good) in [
        (name(Kind::Dns, "shop.example"), true),
        (name(Kind::Dns, "other.example"), false),
        (name(Kind::Dns, "spiffe://example/shop"), false),
        (name(Kind::Uri, "spiffe://example/shop"), true),
        (name(Kind::Uri, "spiffe://example/SHOP"), false),
        (name(Kind::Email, "Alice@EXAMPLE.com"), true),
        (name(Kind::Email, "alice@example.com"), false),
    ] {
        let expected = if good { Ok(()) } else { Err(TokenError::CertificateName) };
        for rule in [of(&root), pin(&leaf)] {
            let rule = proto::CertificateRule { names: vec![wanted.clone()], ..rule };
            assert_eq!(verify(rule, &[&leaf]).map(|_| ()), expected, "{wanted:?}");
        }
    }
    let attribute = |oid: &str, value: &str| proto::Attribute { oid: oid.to_owned(), value: value.to_owned() };
    let (common, organization) = (attribute(COMMON_NAME, "shop"), attribute("2.5.4.10", "Example, Inc."));
    for (attributes, good) in [
        (vec![common.clone()], true),
        (vec![common.clone(), organization.clone()], true),
        (vec![organization.clone(), attribute(COMMON_NAME, "Shop")], false),
        (vec![attribute("2.5.4.11", "shop")], false),
    ] {
        let expected = if good { Ok(()) } else { Err(TokenError::CertificateName) };
        let rule = proto::CertificateRule { subjects: vec![proto::Subject { attributes }], ..of(&root) };
        assert_eq!(verify(rule, &[&leaf]).map(|_| ()), expected);
    }
}

#[test]
fn what_a_caller_is_called() {
    let called = |change: fn(&mut CertificateParams)| {
        let made = make(None, |params| {
            params.distinguished_name = DistinguishedName::new();
            change(params);
        });
        verify(pin(&made), &[&made]).unwrap().subject().map(str::to_owned)
    };
    assert_eq!(called(|_| {}), None);
    let by_dns = called(|params| params.subject_alt_names = vec![SanType::DnsName("shop.example".try_into().unwrap())]);
    assert_eq!(by_dns.as_deref(), Some("shop.example"));
    let by_uri = called(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("shop.example".try_into().unwrap()),
            SanType::URI("spiffe://example/shop".try_into().unwrap()),
        ];
    });
    assert_eq!(by_uri.as_deref(), Some("spiffe://example/shop"));
}

#[test]
fn malformed_rules_are_no_rules() {
    for rule in [
        proto::CertificateRule { pins: vec![vec![0; 31]], ..Default::default() },
        proto::CertificateRule { authorities: vec![b"x".to_vec()], ..Default::default() },
        proto::CertificateRule { names: vec![proto::AlternativeName::default()], ..Default::default() },
        proto::CertificateRule { subjects: vec![proto::Subject::default()], ..Default::default() },
    ] {
        let trust = proto::ClientTrust { rules: vec![rule] };
        assert_eq!(ClientTrust::load(&trust).err(), Some(LoadError::ClientTrust));
    }
}
