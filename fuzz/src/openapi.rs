//! Definitions as text, JSON and YAML.

use microgw_compiler::compile::Options;

use crate::project::{self, STANDARD, check};
use crate::{Reached, Target};

pub const TARGET: Target =
    Target { name: "openapi", run, reaches: &["refused", "built"], dictionary: DICTIONARY, mutations: 400 };

pub const DICTIONARY: &[&str] = &[
    "openapi: 3.0.0",
    "openapi: 3.1.0",
    "swagger: '2.0'",
    "info:",
    "title:",
    "version:",
    "servers:",
    "url:",
    "paths:",
    "/{id}",
    "/*",
    "get:",
    "post:",
    "trace:",
    "parameters:",
    "responses:",
    "components:",
    "securitySchemes:",
    "securityDefinitions:",
    "security: []",
    "security: [{}]",
    "type: apiKey",
    "type: oauth2",
    "type: http",
    "scheme: bearer",
    "in: query",
    "in: header",
    "name:",
    "basePath:",
    "host:",
    "schemes: [https]",
    "$ref: '#/",
    "$id:",
    "$anchor:",
    "$dynamicRef:",
    "$dynamicAnchor:",
    "x-wso2-basePath:",
    "x-wso2-production-endpoints:",
    "x-wso2-sandbox-endpoints:",
    "x-wso2-disable-security:",
    "x-wso2-application-security:",
    "x-wso2-transports:",
    "x-wso2-auth-header:",
    "x-wso2-cors:",
    "x-wso2-throttling-tier:",
    "x-auth-type: None",
    "urls: [http://a:1/b]",
    "http://",
    "https://[::1]:8080/",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "&a ",
    "*a",
    "<<: *a",
    "|\n",
    ">-\n",
    "!!str ",
    "!!binary ",
    "? ",
    "'",
    "\"",
    "\\u0000",
    "\\",
    "%",
    "%2F",
    "é",
    "\u{feff}",
    "\u{2028}",
    "\r",
    "\t",
    "null",
    "~",
    "true",
    "1e999",
    "0x1F",
    ".inf",
    "#",
    "---\n",
    "...\n",
    "--- api_definitions/b.yaml\n",
    "--- gen/api_definitions/c.json\n",
    "--- conf/deployment-config.toml\n",
    "--- policies.yaml\n",
];

/// A project, see [`project`]; its one definition is read as JSON too where it looks like it.
pub fn run(data: &[u8]) -> Reached {
    let json = data.trim_ascii_start().starts_with(b"{");
    let names: &[&str] =
        if json { &["api_definitions/a.json", "api_definitions/a.yaml"] } else { &["api_definitions/a.yaml"] };
    let mut built = false;
    for name in names {
        let mut contents = project::read(data, name);
        built |= check(&contents, Options::default()).is_some();
        // What is not enforced is let by, and `security: []` means public.
        contents.entry("conf/deployment-config.toml".to_owned()).or_insert_with(|| STANDARD.into());
        built |= check(&contents, Options { allow_unenforced: true }).is_some();
    }
    if built { "built" } else { "refused" }
}
