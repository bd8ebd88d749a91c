//! What the tool says about itself: codes, completions, manual pages.

use super::*;

#[test]
fn codes_are_explained() {
    let place = Place::new();
    let page = place.succeeds(&["explain-code", "MGW-0104"]);
    assert!(page.starts_with("MGW-0104 duplicate-key (error)\n") && page.contains("\nExample\n"), "{page}");
    // To a pipe no line is coloured, and prose is as wide as a terminal that says nothing.
    assert!(!page.contains('\u{1b}') && page.lines().all(|line| line.chars().count() <= 100), "{page}");
    for name in ["mgw-0104", "0104", "104", "Duplicate-Key"] {
        assert_eq!(place.succeeds(&["explain-code", name]), page, "{name}");
    }
    // The example is a project that has the problem.
    let record = json(&place.succeeds(&["explain-code", "104", "--format", "json"]));
    assert_eq!(
        (&record["code"], &record["name"], &record["class"]),
        (&"MGW-0104".into(), &"duplicate-key".into(), &"error".into())
    );
    for (part, code) in [("example", 1), ("fix", 0)] {
        for (path, text) in record[part]["files"].as_object().unwrap() {
            fs::create_dir_all(place.at("shop").join(path).parent().unwrap()).unwrap();
            fs::write(place.at("shop").join(path), text.as_str().unwrap()).unwrap();
        }
        assert_eq!(place.run(&["check", "shop"]).code, Some(code), "{part}");
    }
    // Settings have codes like all else.
    assert!(place.succeeds(&["explain-code", "bad-setting"]).contains("micro-gw.conf"));
    for format in ["human", "json"] {
        let stderr = place.refuses(&["explain-code", "duplicate-kye", "--format", format]);
        assert!(stderr.starts_with("error: there is no code `duplicate-kye`"), "{stderr}");
        assert!(stderr.contains("MGW-0104 duplicate-key"), "{stderr}");
    }
}

/// What no user is told of.
const HIDDEN: [&str; 3] = ["reference", microgw_envoy::EXEC_SUBCOMMAND, "--set"];

/// Whether a program is there to check with. Without it a test says so, and on CI fails.
fn is_here(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        assert!(
            std::env::var("CI").as_deref() != Ok("true") || matches!(program, "zsh" | "fish"),
            "{program} is missing"
        );
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        for program in ["micro-gw", "gateway"] {
            let script = place.succeeds(&["completions", shell, "--command", program]);
            assert!(script.contains(program), "{shell}");
            for hidden in HIDDEN {
                let whole = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-') == hidden;
                assert!(!script.split_whitespace().any(whole), "{shell}: {hidden}");
            }
            fs::write(place.at(program), script).unwrap();
            if ["bash", "zsh", "fish"].contains(&shell) && is_here(shell) {
                let ended = end(place.command(Path::new(shell), &["-n", program]));
                assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
            }
        }
    }
    assert_eq!(place.run(&["completions", "cmd"]).code, Some(2));
}

/// What bash proposes for the last of `words`.
fn proposed(place: &Place, words: &[&str]) -> Vec<String> {
    let (last, before) = words.split_last().unwrap();
    let call = format!(
        ". ./script; COMP_WORDS=({}); COMP_CWORD={}; _{} {} '{last}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        before.len(),
        words[0].replace('-', "__"),
        words[0],
        before.last().unwrap(),
    );
    let ended = end(place.command(Path::new("bash"), &["-c", &call]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words:?}");
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn commands_options_settings_and_codes_are_completed() {
    let place = Place::new();
    fs::write(place.at("script"), place.succeeds(&["completions", "bash"])).unwrap();
    assert_eq!(proposed(&place, &["micro-gw", "ex"]), ["explain", "explain-code"]);
    assert_eq!(proposed(&place, &["micro-gw", "check", "shop", "--format", ""]), ["human", "json", "sarif", "github"]);
    assert_eq!(proposed(&place, &["micro-gw", "explain-code", "MGW-010"]).len(), 9);
    assert_eq!(proposed(&place, &["micro-gw", "run", "--listenerConfig.httpsP"]), ["--listenerConfig.httpsPort"]);
    assert_eq!(proposed(&place, &["micro-gw", "run", "--http2.enable", ""]), ["true", "false"]);
    // Where no setting is read, none is proposed.
    assert_eq!(proposed(&place, &["micro-gw", "check", "--listenerConfig.https"]), [""]);
    fs::write(place.at("script"), place.succeeds(&["completions", "bash", "--command", "gateway"])).unwrap();
    assert_eq!(proposed(&place, &["gateway", "--listenerConfig.httpsP"]), ["--listenerConfig.httpsPort"]);
}

#[test]
fn manual_pages_are_pages() {
    let place = Place::new();
    let page = place.succeeds(&["man"]);
    assert!(page.contains("EXIT STATUS") && page.contains("micro\\-gw\\-build(1)"), "{page}");
    assert!(place.refuses(&["man", "frobnicate"]).contains("no command `frobnicate`"));
    let written = place.succeeds(&["man", "--out", "pages"]);
    let pages: Vec<&str> = written.lines().collect();
    assert!(pages.contains(&"pages/micro-gw.1") && pages.contains(&"pages/gateway.1"), "{written}");
    assert_eq!(fs::read_dir(place.at("pages")).unwrap().count(), pages.len());
    assert_eq!(fs::read_to_string(place.at("pages/micro-gw.1")).unwrap(), page);
    assert_eq!(fs::read_to_string(place.at("pages/micro-gw-build.1")).unwrap(), place.succeeds(&["man", "build"]));
    for path in pages {
        let text = fs::read_to_string(place.at(path)).unwrap();
        assert!(!text.contains("\\-\\-set") && !text.contains(microgw_envoy::EXEC_SUBCOMMAND), "{path}");
        if is_here("groff") {
            let ended = end(place.command(Path::new("groff"), &["-man", "-ww", "-z", path]));
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{path}");
        }
    }
}

#[test]
fn the_interface_of_components_is_printed() {
    let place = Place::new();
    let wit = place.succeeds(&["wit"]);
    assert!(
        wit.starts_with("package micro-gw:interceptor@") || wit.contains("\npackage micro-gw:interceptor@"),
        "{wit}"
    );
    assert!(wit.contains("world request-interceptor"), "{wit}");
}
