use std::collections::HashSet;

use super::*;

#[test]
fn every_path_is_listed_once() {
    let mut seen = HashSet::new();
    for path in all().flat_map(Key::paths) {
        assert!(seen.insert(path.clone()), "{path} is listed twice");
    }
    assert!(seen.len() > 200, "{}", seen.len());
}

#[test]
fn every_key_is_found_as_itself() {
    for key in all() {
        for path in key.paths() {
            let path = path.replace("[]", "[7]").replace('*', "anything");
            assert_eq!(find(&path).map(|key| key.path), Some(key.path), "{path}");
        }
    }
}

#[test]
fn every_key_is_documented() {
    for key in all() {
        assert!(key.doc.ends_with('.') && !key.doc.contains('\n'), "{}", key.path);
    }
}

#[test]
fn names_of_ones_own_are_one_segment() {
    assert!(find("b7a.users.admin.password").is_some());
    assert!(find("b7a.users.\"a.b\".password").is_some());
    for path in ["b7a.users..password", "b7a.users.a.b.password", "b7a.users.password", "listenerConfig.httpport", ""] {
        assert!(find(path).is_none(), "{path}");
    }
}

#[test]
fn variables() {
    let path = |name: &str| all().find_map(|key| key.of_variable(name));
    for (variable, expected) in [
        ("listenerConfig_httpsPort", Some("listenerConfig.httpsPort")),
        ("listenerConfig.httpsPort", Some("listenerConfig.httpsPort")),
        ("listenerConfig_httpsport", None),
        ("LISTENERCONFIG_HTTPSPORT", None),
        ("b7a_log_level", Some("b7a.log.level")),
        ("b7a_users_admin_password", Some("b7a.users.admin.password")),
        ("b7a.users.admin.password", Some("b7a.users.admin.password")),
        ("b7a_users_the_boss_password", Some("b7a.users.the_boss.password")),
        ("b7a_users_a.b_password", Some("b7a.users.\"a.b\".password")),
        ("b7a_users__password", None),
        ("keymanager_security_basic_username", Some("keymanager.security.basic.username")),
        ("apim_eventHub_password", Some("apim.eventHub.password")),
        ("jwtTokenConfig_issuer", None),
        ("jwtTokenConfig[]_issuer", None),
        ("PATH", None),
    ] {
        assert_eq!(path(variable).as_deref(), expected, "{variable}");
    }
}

#[test]
fn suggestions() {
    for (path, expected) in [
        ("listenerConfig.httpsport", Some("listenerConfig.httpsPort")),
        ("listnerConfig.httpPort", Some("listenerConfig.httpPort")),
        ("jwtTokenConfig[0].jwksUrl", Some("jwtTokenConfig[].jwksURL")),
        ("keyManager.security.basic.username", Some("keymanager.security.basic.username")),
        ("validationConfig.enableRequestValidaton", Some("validationConfig.enableRequestValidation")),
        ("gateway.publishTimeOut", Some("gateway.publishTimeout")),
        ("something.else.entirely", None),
    ] {
        assert_eq!(suggest(path).as_deref(), expected, "{path}");
    }
}
