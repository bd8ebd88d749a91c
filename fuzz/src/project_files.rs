//! The other files of a project: `conf/deployment-config.toml`, `policies.yaml`, and templates for errors.

use microgw_compiler::compile::Options;

use crate::project::{Contents, check};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "project_files",
    run,
    reaches: &["refused", "built", "worded"],
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
        "window: sliding",
        "window: calendar",
        "window: burst, burst: 2",
        "buckets: 5",
        "timeZone: \"+02:00\"",
        "bandwidth: 10 MB",
        "direction: request",
        "shared: leased",
        "maxUndershoot: 1 %",
        "onStoreFailure: deny",
        "stopOnQuota: false",
        "limits: [",
        "conditions: [{name: a, when: {",
        "ip: [10.0.0.0/8, ::1-::2]",
        "header: {name: a, matches: b}",
        "query: {name: a, present: true}",
        "claim: {name: a, equals: b}",
        "not: {",
        "any: [",
        "version: 1",
        "expression: \"request.method == 'GET'\"",
        "customPolicies:",
        "key: $userId",
        "denyPolicies:",
        "user: bob",
        "api: /t/1",
        "application: a:b",
        "unknownTier: {application: 10kPerMin}",
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
x-wso2-throttling-tier: 10kPerMin
paths: {/a: {get: {x-wso2-throttling-tier: 10kPerMin, x-microgw-cost: 3}, put: {x-wso2-disable-security: true}}}
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
