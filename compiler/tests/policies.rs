//! `policies.yaml`: what can be said in it, and what is said of what cannot.

use microgw_compiler::artifact::{self, ArtifactError};
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::Diagnostic;
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::limits::{condition_in_words, limit_in_words, sharing_in_words};
use microgw_compiler::model::Model;
use microgw_proto::limits::v1::{
    AddressRange, Addresses, Burst, Calendar, Condition, Conditions, Cost, Fixed, Limit, Policy, Sliding, Text,
    condition::Kind,
    cost,
    limit::{Unit, Window},
    text,
};

/// `{LIMITS}` names every policy that definitions can name.
const API: &str = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: http://b/t}]\n\
    x-wso2-throttling-tier: 50kPerMin\npaths:\n  /a: {get: {x-wso2-throttling-tier: Spiky}}\n  \
    /b: {get: {x-microgw-cost: 7, x-wso2-disable-security: true}}\n";

fn build(policies: &str, api: &str) -> Compilation {
    let files = MemoryFiles::new().with("policies.yaml", policies).with("api_definitions/a.yaml", api);
    compile(&files, "project", &Options::default())
}

fn model(policies: &str, api: &str) -> Model {
    let compilation = build(policies, api);
    let diagnostics = compilation.diagnostics.iter().map(line).collect::<Vec<_>>().join("\n");
    compilation.model.unwrap_or_else(|| panic!("{diagnostics}"))
}

fn line(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.place.as_ref().map_or("-".to_owned(), ToString::to_string);
    let related: Vec<String> = diagnostic.related.iter().map(|(place, what)| format!("\n    {place} {what}")).collect();
    let help = diagnostic.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
    let (severity, code, message) = (diagnostic.severity.as_str(), diagnostic.code, &diagnostic.message);
    format!("{severity} {code} {place} {message}{}{help}", related.concat())
}

fn outline(policy: &Policy) -> Vec<String> {
    let mut lines = vec![policy.name.clone()];
    lines.extend(policy.limits.iter().map(|limit| format!("  {}", limit_in_words(limit))));
    for group in &policy.groups {
        lines.push(format!("  {}: {}", group.name, condition_in_words(group.when.as_ref().unwrap())));
        lines.extend(group.limits.iter().map(|limit| format!("    {}", limit_in_words(limit))));
    }
    lines.extend(policy.pass_beyond_quota.then(|| "  passes beyond".to_owned()));
    lines.extend(sharing_in_words(policy.sharing.as_ref()).map(|words| format!("  {words}")));
    lines
}

#[test]
fn everything_that_can_be_said() {
    let model = model(include_str!("data/policies.yaml"), API);
    let tiers = &model.tiers;
    let mut lines: Vec<String> =
        [&model.limits, &tiers.applications, &tiers.subscriptions].into_iter().flatten().flat_map(outline).collect();
    for custom in &tiers.custom {
        lines.extend(outline(custom.policy.as_ref().unwrap()));
        lines.push(format!(
            "  by {}, when {}",
            custom.key,
            custom.when.as_ref().map_or_else(String::new, condition_in_words)
        ));
    }
    for deny in &tiers.deny {
        let when = deny.when.as_ref().map(condition_in_words);
        lines.push(format!("deny {}: {when:?} {:?} {:?} {:?}", deny.name, deny.api, deny.application, deny.user));
    }
    lines.push(format!("unknown: {:?}, {:?}", tiers.unknown_application, tiers.unknown_subscription));
    lines.extend(model.apis[0].operations.iter().map(|operation| format!("{:?}", operation.cost)));
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(artifact::decode(&artifact::encode(&model)), Ok(model));
}

#[test]
fn what_cannot_be_said() {
    let mut lines = Vec::new();
    for case in include_str!("data/bad_policies.txt").split("=== ").skip(1) {
        let (title, policies) = case.split_once('\n').unwrap();
        let api =
            API.replace("x-wso2-throttling-tier: 50kPerMin\n", "").replace("{x-wso2-throttling-tier: Spiky}", "{}");
        let compilation = build(policies, &api);
        assert!(compilation.model.is_none(), "{title}");
        lines.push(format!("=== {title}"));
        lines.extend(compilation.diagnostics.iter().map(line));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// As 3.2 ships it, comments apart.
#[test]
fn the_file_of_old_installations_is_read_as_it_is() {
    let policies = "resourcePolicies:\n  - 50kPerMin:\n      count: 50000\n      unitTime: 1\n      timeUnit: min\n  - 20kPerMin:\n      \
        count: 20000\n      unitTime: 1\n      timeUnit: min\n\napplicationPolicies:\n  - 50PerMin:\n      count: 50\n      \
        unitTime: 1\n      timeUnit: min\n\nsubscriptionPolicies:\n  - Gold:\n      count: 5000\n      unitTime: 1\n      \
        timeUnit: min\n  - Unauthenticated:\n      count: 500\n      unitTime: 1\n      timeUnit: min\n  - Default:\n      \
        count: 500\n      unitTime: 1\n      timeUnit: min\n      stopOnQuota: true\n";
    let api = API.replace("{x-wso2-throttling-tier: Spiky}", "{x-wso2-throttling-tier: Unlimited}");
    let model = model(policies, &api);
    assert_eq!(limit_in_words(&model.limits[0].limits[0]), "50000 requests per minute");
    assert_eq!(model.limits.len(), 1);
    assert_eq!(model.tiers.unknown_subscription, "Default");
    assert_eq!(model.tiers.unknown_application, "50PerMin");
    assert!(model.limits_everybody());
}

#[test]
fn unknown_tiers_count_as_the_strictest() {
    let unknown = |policies: &str| {
        let model = model(
            policies,
            "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: http://b/t}]\npaths: {/a: {get: {}}}\n",
        );
        (model.tiers.unknown_application, model.tiers.unknown_subscription)
    };
    let limit = |name: &str, rest: &str| format!("  - {name}: {{unitTime: 1, {rest}}}\n");
    let section = |name: &str, limits: &[String]| format!("{name}:\n{}", limits.concat());
    let minute = limit("Minute", "timeUnit: min, count: 60");
    let slow = limit("Slow", "timeUnit: day, count: 1000");
    let marked = limit("Marked", "timeUnit: day, count: 1, stopOnQuota: false");
    let nobody = limit("Unauthenticated", "timeUnit: year, count: 1");
    let bytes = limit("Bytes", "timeUnit: year, bandwidth: 1 kB");
    let all = [minute.clone(), slow.clone(), marked.clone(), nobody, bytes];
    let both = section("applicationPolicies", &all[..3]) + &section("subscriptionPolicies", &all);
    assert_eq!(unknown(&both), ("Slow".to_owned(), "Slow".to_owned()));
    // By the longest window, where a policy has several.
    let several =
        "  - Several: {limits: [{count: 1, unitTime: 1, timeUnit: sec}, {count: 100, unitTime: 1, timeUnit: day}]}\n";
    let section_of = section("applicationPolicies", &[slow.clone(), several.to_owned()]);
    assert_eq!(unknown(&section_of), ("Several".to_owned(), String::new()));
    let default = limit("Default", "timeUnit: min, count: 100000");
    let with_default = section("subscriptionPolicies", &[minute, slow, default]);
    assert_eq!(unknown(&with_default), (String::new(), "Default".to_owned()));
    assert_eq!(unknown(&format!("{with_default}unknownTier: {{subscription: Minute}}\n")).1, "Minute");
    assert_eq!(unknown(&format!("{with_default}unknownTier: {{subscription: Unlimited}}\n")).1, "");
}

#[test]
fn what_has_no_effect() {
    let mut lines = Vec::new();
    for case in include_str!("data/idle.txt").split("=== ").skip(1) {
        let (title, content) = case.split_once('\n').unwrap();
        let (policies, apis) = content.split_once("--- ").unwrap();
        let mut files = MemoryFiles::new().with("policies.yaml", policies);
        for (index, api) in apis.split("\n--- ").enumerate() {
            let (_, body) = api.split_once('\n').unwrap();
            let head = format!(
                "openapi: 3.0.0\ninfo: {{title: T{index}, version: '1'}}\nservers: [{{url: http://b/t{index}}}]\n"
            );
            files.insert(format!("api_definitions/{index}.yaml"), format!("{head}{body}\n"));
        }
        lines.push(format!("=== {title}"));
        lines.extend(compile(&files, "project", &Options::default()).diagnostics.iter().map(line));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

fn limit(model: &mut Model) -> &mut Limit {
    &mut model.limits[0].limits[0]
}

fn when(model: &mut Model) -> &mut Condition {
    model.tiers.deny[0].when.as_mut().unwrap()
}

fn of(kind: Kind) -> Condition {
    Condition { kind: Some(kind) }
}

fn header(name: &str, value: text::Value) -> Condition {
    of(Kind::Header(Text { name: name.to_owned(), value: Some(value) }))
}

fn addresses(first: &[u8], last: &[u8]) -> Condition {
    let ranges = vec![AddressRange { first: first.to_vec(), last: last.to_vec() }];
    of(Kind::Addresses(Addresses { ranges }))
}

/// An artifact may come from anywhere: what no project can say is refused, before the engine meets it.
#[test]
fn an_artifact_says_no_more_than_a_project_can() {
    let model = model(include_str!("data/policies.yaml"), API);
    let refused = |name: &str, change: fn(&mut Model)| {
        let mut changed = model.clone();
        change(&mut changed);
        assert_ne!(changed, model, "{name}");
        let decoded = artifact::decode(&artifact::encode(&changed));
        assert!(matches!(decoded, Err(ArtifactError::Invalid(_))), "{name}: {decoded:?}");
    };
    refused("quota", |model| limit(model).quota = 0);
    refused("large quota", |model| limit(model).quota = (1 << 52) + 1);
    refused("unit", |model| limit(model).unit = 7);
    refused("direction of requests", |model| limit(model).requests_only = true);
    refused("no window", |model| limit(model).window = None);
    refused("window", |model| limit(model).window = Some(Window::Fixed(Fixed { seconds: 0 })));
    refused("long window", |model| limit(model).window = Some(Window::Fixed(Fixed { seconds: 1 << 32 })));
    refused("buckets", |model| limit(model).window = Some(Window::Sliding(Sliding { seconds: 1, buckets: 1001 })));
    refused("burst", |model| limit(model).window = Some(Window::Burst(Burst { seconds: 1, burst: 0 })));
    refused("burst of bytes", |model| {
        *limit(model) = Limit { unit: Unit::Bytes.into(), ..*limit(model) };
        limit(model).window = Some(Window::Burst(Burst { seconds: 1, burst: 1 }));
    });
    refused("calendar", |model| {
        limit(model).window = Some(Window::Calendar(Calendar { unit: 0, count: 1, offset_minutes: 0 }));
    });
    refused("calendar of a later version", |model| {
        limit(model).window = Some(Window::Calendar(Calendar { unit: 9, count: 1, offset_minutes: 0 }));
    });
    refused("time zone", |model| {
        limit(model).window = Some(Window::Calendar(Calendar { unit: 1, count: 1, offset_minutes: 1440 }));
    });
    refused("nothing", |model| model.limits[0].limits.clear());
    refused("many", |model| model.limits[0].limits = vec![*limit(model); 17]);
    refused("no name", |model| model.limits[0].name.clear());
    refused("sharing", |model| model.limits[1].sharing.as_mut().unwrap().mode = 3);
    refused("failure", |model| model.limits[1].sharing.as_mut().unwrap().on_failure = 3);
    refused("group without condition", |model| model.limits[1].groups[0].when = None);
    refused("group without limit", |model| model.limits[1].groups[0].limits.clear());
    refused("group twice", |model| model.limits[1].groups[1].name = "partners".to_owned());
    refused("name twice", |model| model.tiers.applications[1].name = "50PerMin".to_owned());
    refused("denial twice", |model| model.tiers.deny[1].name = "Abuser".to_owned());
    refused("unknown tier", |model| model.tiers.unknown_subscription = "Silver".to_owned());
    refused("key", |model| model.tiers.custom[0].key = "$who".to_owned());
    refused("no policy", |model| model.tiers.custom[0].policy = None);
    refused("denial of all", |model| model.tiers.deny[0].when = None);
    refused("application", |model| model.tiers.deny[1].application = "shop".to_owned());
    refused("condition of a later version", |model| when(model).kind = None);
    refused("pattern", |model| *when(model) = header("a", text::Value::Matches("(".to_owned())));
    refused("case of a header", |model| *when(model) = header("A", text::Value::Present(true)));
    refused("not present", |model| *when(model) = header("a", text::Value::Present(false)));
    refused("expression", |model| *when(model) = of(Kind::Expression("1".to_owned())));
    refused("empty", |model| *when(model) = of(Kind::Any(Conditions::default())));
    refused("no address", |model| *when(model) = of(Kind::Addresses(Addresses::default())));
    refused("order", |model| *when(model) = addresses(&[10, 0, 0, 2], &[10, 0, 0, 1]));
    refused("kinds of addresses", |model| *when(model) = addresses(&[10, 0, 0, 1], &[255; 16]));
    refused("length of addresses", |model| *when(model) = addresses(&[10, 0, 0], &[10, 0, 0]));
    refused("depth", |model| {
        for _ in 0..16 {
            *when(model) = of(Kind::Not(Box::new(when(model).clone())));
        }
    });
    refused("count", |model| {
        *when(model) = of(Kind::Any(Conditions { conditions: vec![when(model).clone(); 100] }));
    });
    refused("cost", |model| {
        model.apis[0].operations[0].cost = Some(Cost { kind: Some(cost::Kind::Constant(0)) });
    });
    refused("cost that is text", |model| {
        model.apis[0].operations[0].cost = Some(Cost { kind: Some(cost::Kind::Expression("'a'".to_owned())) });
    });
    refused("cost of a later version", |model| model.apis[0].operations[0].cost = Some(Cost { kind: None }));
}

#[test]
fn a_file_that_cannot_be_read_is_the_only_problem_of_the_tiers_that_it_may_have() {
    for policies in ["resourcePolicies: [\n", "- a\n", "resourcePolicies:\n  50kPerMin: {count: 1}\n"] {
        let compilation = build(policies, API);
        let errors: Vec<_> = compilation.diagnostics.iter().filter(|problem| problem.is_error()).collect();
        assert!(compilation.model.is_none(), "{policies}");
        assert_eq!(errors.len(), 1, "{policies}: {errors:?}");
        assert!(errors[0].place.as_ref().unwrap().to_string().starts_with("policies.yaml"), "{errors:?}");
    }
}
