use std::path::Path;

use super::super::layers::Document;
use super::super::values;
use super::*;

const SERVER: &str = "[keyManager]\nserverUrl = 'https://km.example'\n";
const USER: &str = "[keymanager.security.basic]\nusername = 'gw'\npassword = 'secret'\n";

fn read(file: &str) -> (Option<Introspection>, Vec<ConfigDiagnostic>) {
    let document = Document::parse(Path::new("/etc/gw/micro-gw.conf"), file);
    assert_eq!(document.problems, []);
    let mut problems = Vec::new();
    let values = values::judge(&document.layers, false, &mut problems);
    let introspection = introspection(&values, 5, &mut problems);
    (introspection, problems)
}

fn accepted(file: &str) -> Introspection {
    let (introspection, problems) = read(file);
    assert_eq!(problems, [], "{file}");
    introspection.expect(file)
}

fn refused(file: &str) -> String {
    let (_, problems) = read(file);
    assert!(problems.iter().any(ConfigDiagnostic::is_error), "{file}: {problems:?}");
    problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
}

fn oauth2(more: &str) -> String {
    format!("{SERVER}[keymanager.security.oauth2]\nenabled = true\n{more}")
}

#[test]
fn nothing_is_asked_unless_a_server_is_named() {
    assert_eq!(read(""), (None, vec![]));
    assert_eq!(read(USER), (None, vec![]));
    let (none, problems) = read("[keyManager]\nissuer = 'x'\n");
    assert!(none.is_none() && problems.len() == 1 && !problems[0].is_error(), "{problems:?}");
    assert!(refused("[keyManager]\nenableIntrospectForFailedJWT = true\n").contains("nobody can be asked"));
}

#[test]
fn where_the_server_is() {
    let url = |server: &str| accepted(&format!("[keyManager]\n{server}\n{USER}")).service.url;
    assert_eq!(url("serverUrl = 'https://km.example'"), "https://km.example/oauth2/introspect");
    assert_eq!(
        url("serverUrl = 'https://km.example:9443/a/'\ntokenContext = '/x/y/'"),
        "https://km.example:9443/a/x/y/introspect"
    );
    assert_eq!(url("serverUrl = 'http://127.0.0.1:1'\ntokenContext = ''"), "http://127.0.0.1:1/introspect");
    assert_eq!(url("introspectionUrl = 'https://as.example/i?x=1'"), "https://as.example/i?x=1");
    assert_eq!(
        url("serverUrl = 'https://km.example'\nintrospectionUrl = 'https://as.example/i'"),
        "https://as.example/i"
    );
    for (server, reason) in [
        ("serverUrl = 'http://km.example'", "`keyManager.serverUrl` is `http:` to another host"),
        ("serverUrl = 'km.example'", "`keyManager.serverUrl` is not a URL"),
        ("serverUrl = 'ftp://km.example'", "`keyManager.serverUrl` must be `https:`"),
        ("serverUrl = 'https://a:b@km.example'", "has a user name or password in it"),
        ("serverUrl = 'https://km.example?x'", "has a query or a fragment"),
        ("introspectionUrl = 'http://km.example/i'", "`keyManager.introspectionUrl` is `http:` to another host"),
    ] {
        let problems = refused(&format!("[keyManager]\n{server}\n{USER}"));
        assert!(problems.contains(reason), "{problems}");
    }
}

#[test]
fn who_asks() {
    let basic = |user: &str, password: &str| Login::Basic { user: user.to_owned(), password: password.to_owned() };
    assert_eq!(accepted(&format!("{SERVER}{USER}")).service.login, basic("gw", "secret"));
    let own = format!("{SERVER}username = 'own'\npassword = 'pw'\n{USER}");
    assert_eq!(accepted(&own).service.login, basic("own", "pw"));
    let (shipped, problems) = read(&format!("{SERVER}username = 'admin'\npassword = 'admin'\n"));
    assert_eq!(shipped.unwrap().service.login, basic("admin", "admin"));
    assert!(problems[0].message.contains("everybody knows") && !problems[0].is_error());
    assert!(refused(SERVER).contains("needs to know by whom"));
    assert!(refused(&format!("{SERVER}{USER}enabled = false\n")).contains("needs to know by whom"));
    assert!(
        refused(&format!("{SERVER}username = 'x'\n")).contains("`keyManager.username` needs `keyManager.password`")
    );
    assert!(refused(&format!("{SERVER}username = 'a:b'\npassword = 'x'\n")).contains("colon"));
    assert!(!format!("{:?}", accepted(&own)).contains("pw"));
}

#[test]
fn a_token_of_its_own() {
    let client = "clientId = 'c'\nclient_secret = 's'\n";
    let grant = |kind, client| Grant { url: "https://km.example/t".to_owned(), kind, client, scopes: vec![] };
    let header = || ClientAuthentication::Header { id: "c".to_owned(), secret: "s".to_owned() };
    let login = |file: &str| match accepted(file).service.login {
        Login::Token(token) => token,
        Login::Basic { .. } => panic!("{file}"),
    };
    let url = "tokenUrl = 'https://km.example/t'\n";
    let credentials = format!("{url}[keymanager.security.oauth2.clientCredential]\nenabled = true\n{client}");
    let first = None;
    assert_eq!(
        login(&oauth2(&credentials)),
        OwnToken::Granted { first, grant: grant(GrantKind::ClientCredentials, header()) }
    );
    let scoped = login(&oauth2(&format!("{credentials}scopes = 'a, b'\n")));
    assert!(matches!(scoped, OwnToken::Granted { grant: Grant { scopes, .. }, .. } if scopes == ["a", "b"]));
    let direct = "[keymanager.security.oauth2.directToken]\nenabled = true\naccessToken = 'T'\n";
    assert_eq!(login(&oauth2(direct)), OwnToken::Fixed("T".to_owned()));
    let refresh = format!(
        "[keymanager.security.oauth2.refresh]\nenabled = true\nrefreshUrl = 'https://km.example/t'\nrefreshToken = 'R'\n{client}"
    );
    let refreshed = || grant(GrantKind::Refresh { token: "R".to_owned() }, header());
    assert_eq!(login(&oauth2(&refresh)), OwnToken::Granted { first: None, grant: refreshed() });
    let both = login(&oauth2(&format!("{direct}{refresh}")));
    assert_eq!(both, OwnToken::Granted { first: Some("T".to_owned()), grant: refreshed() });

    for (file, reason) in [
        (String::new(), "needs a way to a token"),
        (format!("{credentials}{direct}"), "are both enabled"),
        (credentials.replace("https", "http"), "`keymanager.security.oauth2.tokenUrl` is `http:` to another host"),
        (credentials.replace(url, ""), "`keymanager.security.oauth2.tokenUrl` is missing"),
        (credentials.replace(client, ""), "needs `clientId` and `clientSecret`"),
        (format!("credentialBearer = 'NO_BEARER'\n{credentials}"), "about nothing but the client's credentials"),
        (direct.replace("'T'", "''"), "`keymanager.security.oauth2.directToken.accessToken` is missing"),
        (refresh.replace("refreshToken = 'R'\n", ""), "`keymanager.security.oauth2.refresh.refreshToken` is missing"),
        (format!("{credentials}[keymanager.security.basic]\nenabled = true\n"), "are both `true`"),
    ] {
        let problems = refused(&oauth2(&file));
        assert!(problems.contains(reason), "{file}: {problems}");
        assert!(!problems.contains("'s'"), "{problems}");
    }
    let (_, warnings) = read(&oauth2(&format!("{credentials}{refresh}")));
    assert!(warnings.len() == 1 && warnings[0].message.contains("gets another token by itself"), "{warnings:?}");
}

#[test]
fn how_long_and_how_often() {
    let read = accepted(&format!("{SERVER}audience = 'a'\nissuer = 'https://km.example'\n{USER}"));
    assert_eq!((read.settings.remember_milliseconds, read.service.rate.get()), (60_000, 100));
    assert_eq!((read.settings.audiences, read.settings.skew_seconds), (vec!["a".to_owned()], 5));
}

#[test]
fn the_endpoints_for_clients() {
    let read = |file: &str| {
        let document = Document::parse(Path::new("/etc/gw/micro-gw.conf"), file);
        let mut problems = Vec::new();
        let values = values::judge(&document.layers, false, &mut problems);
        let endpoints = endpoints(&values, &mut problems);
        (endpoints, problems.into_iter().map(|problem| (problem.is_error(), problem.message)).collect::<Vec<_>>())
    };
    let port = "[listenerConfig]\ntokenListenerPort = 9096\n";
    let (served, problems) = read(&format!("{SERVER}tokenContext = 'x'\n{port}"));
    let served = served.unwrap();
    assert_eq!(
        (served.port, served.key_manager.host.as_str(), served.key_manager.path.as_str()),
        (Some(9096), "km.example", "/x")
    );
    assert_eq!(problems, []);
    assert_eq!(read(&format!("{SERVER}oauthEndpoints = true\n")).0.unwrap().port, None);
    // Asking about tokens opens nothing to clients.
    assert_eq!(read(SERVER), (None, vec![]));
    for file in [port.to_owned(), format!("{SERVER}oauthEndpoints = false\n{port}")] {
        let (none, problems) = read(&file);
        assert!(none.is_none() && problems.len() == 1 && !problems[0].0, "{problems:?}");
    }
    for file in [
        "[keyManager]\noauthEndpoints = true\n".to_owned(),
        format!("{SERVER}[listenerConfig]\ntokenListenerPort = 9095\n"),
    ] {
        assert!(read(&file).1.iter().any(|(error, _)| *error), "{file}");
    }
}

#[test]
fn where_clients_reach_the_gateway() {
    let read = |url: &str| {
        let document = Document::parse(Path::new("x"), &format!("[gateway]\npublicUrl = '{url}'\n"));
        let mut problems = Vec::new();
        let values = values::judge(&document.layers, false, &mut problems);
        public_url(&values, &mut problems).ok_or(problems.len())
    };
    assert_eq!(read("https://API.example.com/"), Ok("https://api.example.com".to_owned()));
    assert_eq!(read("http://localhost:9090"), Ok("http://localhost:9090".to_owned()));
    for wrong in ["http://api.example.com", "https://a/b", "https://a?b", "https://u@a", "a", "ftp://a"] {
        assert_eq!(read(wrong), Err(1), "{wrong}");
    }
}
