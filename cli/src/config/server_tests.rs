use super::super::{Refused, Sources, resolve};
use super::*;

fn resolved(lines: &str) -> Result<ServerHeaders, Vec<String>> {
    let file = Some(("/etc/gw/micro-gw.conf".into(), lines.to_owned()));
    match resolve(&Sources { file, ..Sources::default() }) {
        Ok((config, _)) => Ok(config.headers),
        Err(Refused(problems)) => Err(problems.into_iter().map(|problem| problem.message).collect()),
    }
}

#[test]
fn headers_of_the_gateway() {
    let conf = |name: &str, more: &str| format!("[[server.headerConf]]\nheaderName = '{name}'\n{more}\n");
    let replaced = "preserveHeader = false\noverrideValue = 'x y'";
    let headers =
        |server, user_agent: Option<&str>| Ok(ServerHeaders { server, user_agent: user_agent.map(str::to_owned) });
    assert_eq!(resolved(""), headers(ServerHeader::Passed, None));
    assert_eq!(resolved("[server]\nheader = 'gw'"), headers(ServerHeader::IfAbsent("gw".to_owned()), None));
    assert_eq!(resolved(&conf("Server", replaced)), headers(ServerHeader::Always("x y".to_owned()), None));
    assert_eq!(
        resolved(&format!("[server]\nheader = 'gw'\n{}", conf("server", "preserveHeader = false"))),
        headers(ServerHeader::Always("gw".to_owned()), None)
    );
    assert_eq!(resolved(&conf("User-Agent", replaced)), headers(ServerHeader::Passed, Some("x y")));
    assert_eq!(resolved(&conf("User-Agent", "preserveHeader = false")), headers(ServerHeader::Passed, Some("")));
    assert_eq!(resolved(&conf("User-Agent", "preserveHeader = true")), headers(ServerHeader::Passed, None));
    let errors = |lines: &str| resolved(lines).unwrap_err();
    assert_eq!(errors(&conf("Via", replaced)), ["`server.headerConf[0].headerName` must be `User-Agent` or `Server`"]);
    assert_eq!(
        errors(&conf("Server", "preserveHeader = false")),
        ["`server.headerConf[0]`: `Server` can be replaced, and not be left out"]
    );
    assert_eq!(errors("[server]\nheader = \"a\\nb\""), ["`server.header` has characters that no header can have"]);
    let twice = format!("{}{}", conf("Server", replaced), conf("SERVER", replaced));
    assert_eq!(errors(&twice), ["`server.headerConf[1].headerName` is listed twice: `server`"]);
}
