//! The other files of a project: `conf/deployment-config.toml` and `policies.yaml`.

use microgw_compiler::compile::Options;

use crate::project::{Contents, check};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "project_files",
    run,
    reaches: &["refused", "built", "built without what is not enforced"],
    dictionary: &[
        "[project]",
        "openapiSecurity",
        "= \"standard\"",
        "= \"legacy\"",
        "= true",
        "[lambda]",
        "[",
        "]",
        "[[",
        "]]",
        "\"\"\"",
        "'''",
        "'",
        "\"",
        "\\u0000",
        "\n",
        "1979-05-27",
        "0x",
        "inf",
        "a.b.c = 1",
        "{ a = 1 }",
        "#",
        "resourcePolicies:",
        "subscriptionPolicies:",
        "applicationPolicies:",
        "- 10kPerMin:",
        "count: 100",
        "unitTime: 1",
        "timeUnit: min",
        ": ",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "null",
    ],
    mutations: 500,
};

/// What is open here depends on the project.
const OPEN: &str = "\
openapi: 3.0.0
info: {title: T, version: '1'}
servers: [{url: http://b/t}]
paths: {/a: {get: {}, put: {security: []}}}
";
/// Refers to a policy.
const LIMITED: &str = "\
openapi: 3.0.0
info: {title: T, version: '1'}
servers: [{url: http://b/t}]
paths: {/a: {get: {x-wso2-throttling-tier: 10kPerMin}}}
";

pub fn run(data: &[u8]) -> Reached {
    let mut reached = "refused";
    for (file, definition) in [("conf/deployment-config.toml", OPEN), ("policies.yaml", LIMITED)] {
        let contents = Contents::from([
            ("api_definitions/a.yaml".to_owned(), definition.into()),
            (file.to_owned(), data.to_vec()),
        ]);
        if check(&contents, Options::default()).is_some() {
            return "built";
        }
        if check(&contents, Options { allow_unenforced: true }).is_some() {
            reached = "built without what is not enforced";
        }
    }
    reached
}
