use super::*;

/// `printf admin | sha256sum`.
const ADMIN_HASH: &str = "@sha256:{8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918}";

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_known_password_only_on_this_host() {
    for listening in [&["127.0.0.1", "127.0.0.1"][..], &["127.8.9.1", "::1"]] {
        let users = or_admin(&[], &addresses(listening), || unreachable!("none is needed"));
        assert_eq!(users.generated, None);
        assert_eq!(users.users.len(), 1);
        assert_eq!((users.users[0].name.as_str(), users.users[0].password.expose()), ("admin", ADMIN_HASH));
    }
}

#[test]
fn a_password_of_its_own_elsewhere() {
    for listening in [
        &["0.0.0.0", "127.0.0.1"][..],
        &["127.0.0.1", "0.0.0.0"],
        &["127.0.0.1", "::"],
        &["10.0.0.1", "127.0.0.1"],
        &["::ffff:10.0.0.1", "127.0.0.1"],
    ] {
        let users = or_admin(&[], &addresses(listening), || "abc".to_owned());
        assert_eq!(users.generated, Some(Secret::new("abc".to_owned())), "{listening:?}");
        // `printf abc | sha256sum`.
        let expected = "@sha256:{ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}";
        assert_eq!(users.users[0].password.expose(), expected);
    }
}

#[test]
fn configured_users_are_all_there_are() {
    let user = User { name: "jo".to_owned(), password: Secret::new(ADMIN_HASH.to_owned()), scopes: Vec::new() };
    for listening in [&["127.0.0.1"][..], &["0.0.0.0"]] {
        let users = or_admin(std::slice::from_ref(&user), &addresses(listening), || unreachable!("none is needed"));
        assert_eq!(users, Users { users: vec![user.clone()], generated: None });
    }
}

#[test]
fn passwords_that_everybody_knows() {
    for known in [
        // `printf admin | sha1sum`, `printf password | sha1sum`.
        "d033e22ae348aeb5660fc2140aec35850c4da997",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        ADMIN_HASH,
        &ADMIN_HASH.to_uppercase(),
        &format!("@sha512:{{{}}}", hex(&digest::SHA512, "admin")),
    ] {
        assert!(is_well_known(known), "{known}");
    }
    for other in ["d033e22ae348aeb5660fc2140aec35850c4da998", "admin", "", "$argon2id$v=19$m=8,t=1,p=1$YQ$YQ"] {
        assert!(!is_well_known(other), "{other}");
    }
}

#[test]
fn hashes() {
    let (sha1, sha256, sha512) = ("0123456789abcdef0123456789abcdef01234567", "a".repeat(64), "A".repeat(128));
    for (password, kind) in [
        (sha1.to_owned(), Some(HashKind::Fast("SHA-1"))),
        (format!("@sha256:{{{sha256}}}"), Some(HashKind::Fast("SHA-256"))),
        (format!("@sha512:{{{sha512}}}"), Some(HashKind::Fast("SHA-512"))),
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(), Some(HashKind::Slow)),
        ("$2b$12$abc".to_owned(), Some(HashKind::Slow)),
        (sha1.to_uppercase(), None),
        (format!("@sha256:{{{sha512}}}"), None),
        (format!("@sha256:{sha256}"), None),
        ("@sha512:{}".to_owned(), None),
        ("admin".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(hash_kind(&password), kind, "{password}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let user = User { name: "jo".to_owned(), password: Secret::new("hunter2".to_owned()), scopes: Vec::new() };
    assert!(!format!("{user:?}").contains("hunter2"));
    let users = or_admin(&[], &addresses(&["0.0.0.0"]), || "hunter2".to_owned());
    assert!(!format!("{users:?}").contains("hunter2"));
}
