//! The other files of a project: `conf/deployment-config.toml`, `policies.yaml`, and templates for errors.

use microgw_compiler::compile::Options;

use crate::project::{Contents, check};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "project_files",
    run,
    reaches: &["refused", "built", "built without what is not enforced", "worded"],
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
        "{{ message }}",
        "{{ code }}",
        "{{ status | string ~ name }}",
        "{% set x = description ~ type %}",
        "{% for i in range(99) %}",
        "{% endfor %}",
        "{% if status == 401 %}",
        "{% endif %}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{#",
        "#}",
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
/// Builds whatever the other files are.
const PLAIN: &str = "\
openapi: 3.0.0
info: {title: T, version: '1'}
servers: [{url: http://b/t}]
paths: {/a: {get: {}}}
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
    // Most texts are templates of a text, which says little.
    for (file, says_much) in
        [("default.json", true), ("404.problem.json", true), ("default.xml", false), ("default.txt", false)]
    {
        let contents = Contents::from([
            ("api_definitions/a.yaml".to_owned(), PLAIN.into()),
            (format!("error_templates/{file}"), data.to_vec()),
        ]);
        if check(&contents, Options::default()).is_some() && says_much {
            reached = "worded";
        }
    }
    reached
}
