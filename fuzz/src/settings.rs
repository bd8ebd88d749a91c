//! `micro-gw.conf`, the environment and the command line. Whatever is wrong with them, no password is ever shown.

use std::path::PathBuf;

use micro_gw::config::{Sources, resolve};

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "settings",
    run,
    reaches: &["no text", "refused", "accepted"],
    dictionary: &[
        "[listenerConfig]",
        "[[jwtTokenConfig]]",
        "[jwtTokenConfig]",
        "[apikey.tokenConfigs]",
        "[b7a.users.admin]",
        "[b7a.users.\"a b\"]",
        "[gateway]",
        "[caching]",
        "[envoyConfig]",
        "httpPort = 0",
        "host = \"0.0.0.0\"",
        "issuer = ",
        "jwksURL = ",
        "audience = [",
        "algorithms = ",
        "password = ",
        "scopes = ",
        "enabled = ",
        "true",
        "false",
        "-1",
        "9223372036854775808",
        "1e9",
        "inf",
        "1979-05-27",
        "\"\"\"",
        "'''",
        "'",
        "\"",
        "\\u0000",
        "\\",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "$env{HOME}",
        "$file{/x}",
        "@sha256:{",
        "$argon2id$",
        "@encrypted:{",
        "é",
        "--- environment\n",
        "--- command line\n",
        "b7a_users_admin_password=",
        "listenerConfig_httpPort=",
        "--gateway.trustedHops=",
        "jwtTokenConfig[0].issuer=",
    ],
    mutations: 300,
};

/// In every place where a password may stand. Nothing else is called like this.
const CANARY: &str = "Canary7f3a9c";

/// The file; lines after `--- environment` are variables, those after `--- command line` are arguments.
pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    let mut parts = text.split("--- command line\n");
    let (front, arguments) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut parts = front.split("--- environment\n");
    let (file, variables) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let plain = Sources {
        file: Some((PathBuf::from("conf/micro-gw.conf"), file.to_owned())),
        environment: variables.lines().filter_map(pair).collect(),
        overrides: arguments.lines().map(str::to_owned).collect(),
        data_dir: PathBuf::from("/var/lib/micro-gw"),
        ..Sources::default()
    };
    let reached = judge(&plain);
    // libFuzzer reads what strings are compared with.
    if text.contains(CANARY) {
        return reached;
    }
    let forms =
        [CANARY.to_owned(), format!("@sha256:{{{CANARY}}}"), format!("$argon2id${CANARY}"), format!("{CANARY}\" x")];
    let secret = &forms[data.len() % forms.len()];
    let with = |change: &dyn Fn(&mut Sources)| {
        let mut sources = plain.clone();
        change(&mut sources);
        judge(&sources);
    };
    let user = format!("\n[b7a.users.canary]\npassword = \"{secret}\"\n");
    let conf = |text: String| Some((PathBuf::from("conf/micro-gw.conf"), text));
    with(&|sources| sources.file = conf(format!("{file}{user}")));
    with(&|sources| sources.file = conf(format!("{user}{file}")));
    with(&|sources| sources.environment.push(("b7a_users_canary_password".to_owned(), secret.clone())));
    with(&|sources| sources.overrides.push(format!("--b7a.users.canary.password={secret}")));
    // Kept elsewhere.
    with(&|sources| {
        sources.environment.push(("CANARY".to_owned(), secret.clone()));
        sources.overrides.push("--b7a.users.canary.password=$env{CANARY}".to_owned());
    });
    reached
}

fn judge(sources: &Sources) -> Reached {
    let result = resolve(sources);
    // As a log or a panic would show it.
    let shown = format!("{result:?}");
    assert!(!shown.contains(CANARY), "a password is shown: {shown}");
    match result {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.to_string().contains(CANARY)), "{warnings:?}");
            // Equal settings, equal results.
            assert_eq!(resolve(sources).map(|(config, _)| config).as_ref(), Ok(&config));
            "accepted"
        }
        Err(refused) => {
            let message = refused.to_string();
            assert!(!message.is_empty() && !message.contains(CANARY), "a password is shown: {message}");
            "refused"
        }
    }
}
