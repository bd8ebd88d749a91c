use super::*;

fn parse(text: &str) -> Document {
    Document::parse(Path::new("conf/micro-gw.conf"), text)
}

fn at(line: usize, column: usize) -> Origin {
    Origin::File { file: "conf/micro-gw.conf".into(), line, column }
}

#[test]
fn knows_where_things_are() {
    let document =
        parse("# é\n[listenerConfig]\n  httpPort = 1\n  \"é\" = \"ü\" # x\n\n[[jwtTokenConfig]]\nissuer='a'\n");
    let found: Vec<_> = document
        .layers
        .iter()
        .map(|(path, setting)| (path.as_str(), setting.raw.text(), &setting.origin, &setting.value_origin))
        .collect();
    assert_eq!(
        found,
        [
            ("jwtTokenConfig[0].issuer", "a".to_owned(), &at(7, 1), &at(7, 8)),
            ("listenerConfig.httpPort", "1".to_owned(), &at(3, 3), &at(3, 14)),
            ("listenerConfig.é", "ü".to_owned(), &at(4, 3), &at(4, 9)),
        ]
    );
    assert!(document.problems.is_empty() && !document.single_issuer);
}

#[test]
fn a_broken_file_is_all_wrong() {
    let document = parse("[listenerConfig]\nhttpPort = \n[http2]\nenable = yes\n");
    assert!(document.layers.is_empty());
    let origins: Vec<_> = document.problems.iter().map(|problem| &problem.origin).collect();
    assert_eq!(origins, [&at(2, 12), &at(4, 10)], "{:?}", document.problems);
    assert!(document.problems.iter().all(|problem| problem.code == Code::Syntax));
}

#[test]
fn a_key_twice_is_an_error() {
    let document = parse("[http2]\nenable = true\nenable = false\n");
    assert_eq!(document.problems.iter().map(|problem| &problem.origin).collect::<Vec<_>>(), [&at(3, 1)]);
}

#[test]
fn the_single_issuer_of_old_is_the_first() {
    let document = parse("[jwtTokenConfig]\nissuer = 'a'\n");
    assert!(document.single_issuer);
    assert!(document.layers.contains_key("jwtTokenConfig[0].issuer"));
}

#[test]
fn nested_arrays_have_two_indexes() {
    let document = parse(
        "[[jwtTokenConfig]]\n[[jwtTokenConfig.claims]]\nremoteClaim='a'\n[[jwtTokenConfig]]\n[[jwtTokenConfig.claims]]\n[[jwtTokenConfig.claims]]\nlocalClaim='b'",
    );
    let paths: Vec<_> = document.layers.keys().collect();
    assert_eq!(paths, ["jwtTokenConfig[0].claims[0].remoteClaim", "jwtTokenConfig[1].claims[1].localClaim"]);
}

#[test]
fn later_layers_win() {
    let mut layers = parse("[http2]\nenable = true\n[b7a.log]\nlevel = 'INFO'\n[server]\ntimestampSkew = 1").layers;
    let variables = [("b7a_log_level", "WARN"), ("server_timestampSkew", "2")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(add_environment(&mut layers, &variables), []);
    let overrides = ["--server.timestampSkew=3", "http2.enable=a=b"].map(str::to_owned);
    assert_eq!(add_command_line(&mut layers, &overrides), []);
    let values: Vec<_> = layers.iter().map(|(path, setting)| (path.as_str(), setting.raw.text())).collect();
    assert_eq!(
        values,
        [
            ("b7a.log.level", "WARN".to_owned()),
            ("http2.enable", "a=b".to_owned()),
            ("server.timestampSkew", "3".to_owned())
        ]
    );
}

#[test]
fn variables_that_look_like_ours() {
    for (variable, help) in [
        ("listenerConfig_httpsport", Some("did you mean `listenerConfig_httpsPort`?")),
        ("gateway_publishtimeout", Some("did you mean `gateway_publishTimeout`?")),
        ("jwtTokenConfig_issuer", None),
        ("gateway_xyz", None),
        ("api_0815_prod_endpoint_x", None),
    ] {
        let problems = add_environment(&mut Layers::new(), &[(variable.to_owned(), "secret".to_owned())]);
        let [problem] = problems.as_slice() else { panic!("{variable}: {problems:?}") };
        assert!(!problem.is_error() && !problem.to_string().contains("secret"), "{problem}");
        assert_eq!(problem.help.as_deref(), help, "{variable}");
    }
    for stranger in ["PATH", "HTTP_PROXY", "server", "GATEWAY_PORT", "kubernetes_port"] {
        assert_eq!(add_environment(&mut Layers::new(), &[(stranger.to_owned(), String::new())]), [], "{stranger}");
    }
}

#[test]
fn a_setting_needs_a_value() {
    let problems = add_command_line(&mut Layers::new(), &["b7a.users.admin.password:hunter2".to_owned()]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].is_error() && !problems[0].to_string().contains("hunter2"), "{}", problems[0]);
}

#[test]
fn values_are_not_for_logs() {
    let layers = parse("[b7a.users.admin]\npassword = 'hunter2'").layers;
    assert_eq!(format!("{:?}", layers["b7a.users.admin.password"].raw), "text");
}
