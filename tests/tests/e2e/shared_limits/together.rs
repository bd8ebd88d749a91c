//! One request that draws on what this gateway counts, what Redis counts and what is leased, all at once.

use std::collections::BTreeMap;

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use serde_json::json;

/// What is left of each policy, as clients are told.
fn left(answer: &Answer) -> BTreeMap<String, u64> {
    let item = |item: &str| {
        let mut parts = item.trim().split(';');
        let name = parts.next()?.trim_matches('"').to_owned();
        Some((name, parts.find_map(|part| part.strip_prefix("r=")?.parse().ok())?))
    };
    answer.header("ratelimit").split(',').map(|text| item(text).unwrap_or_else(|| panic!("{answer:?}"))).collect()
}

#[tokio::test]
async fn whichever_refuses_the_others_are_debited_nothing() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    // Of each API one is scarce, and what is left of the others can be had without it.
    for (name, of_api, of_operation) in
        [("here", "Exact", "Leased"), ("exact", "Leased", "FewExact"), ("leased", "Exact", "FewLeased")]
    {
        let paths = json!({ "/all": get(&json!([])), "/rest": get(&json!([])) });
        let mut api = definition(name, &format!("/{name}"), backend.address, &paths);
        api["paths"]["/all"]["get"]["x-wso2-throttling-tier"] = of_operation.into();
        api["x-wso2-throttling-tier"] = of_api.into();
        project.define(name, &api);
    }
    project.write(
        "policies.yaml",
        "resourcePolicies:
  - Exact: {count: 20, unitTime: 1, timeUnit: year, shared: exact}
  - Leased: {count: 20, unitTime: 1, timeUnit: year, shared: leased}
  - FewExact: {count: 3, unitTime: 1, timeUnit: year, shared: exact}
  - FewLeased: {count: 3, unitTime: 1, timeUnit: year, shared: leased}
customPolicies:
  - Here: {key: \"$apiContext\", count: 5, unitTime: 1, timeUnit: year, when: {not: {header: {name: x-free, present: true}}}}
",
    );
    project.build().await;
    let place = format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", server.port);
    // Generous: machines that test are busy.
    let settings = [place.as_str(), "--throttlingConfig.redis.timeout=1000"];
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;

    let told = |items: &[(&str, u64)]| -> BTreeMap<String, u64> {
        items.iter().map(|(name, left)| ((*name).to_owned(), *left)).collect()
    };
    for (api, scarce, code, admitted, after, rest, free) in [
        ("here", "Here", 900_806, 5, [("Exact", 15), ("Leased", 15), ("Here", 0)], "/all", true),
        ("exact", "FewExact", 900_802, 3, [("Leased", 17), ("FewExact", 0), ("Here", 2)], "/rest", false),
        ("leased", "FewLeased", 900_802, 3, [("Exact", 17), ("FewLeased", 0), ("Here", 2)], "/rest", false),
    ] {
        let ask = async |path: &str, headers: &[(&str, &str)]| {
            gateway.get(&gateway.http(&format!("/{api}{path}")), headers).await
        };
        for _ in 0..admitted {
            assert_eq!(ask("/all", &[]).await.status, 200, "{api}");
        }
        for _ in 0..4 {
            let answer = ask("/all", &[]).await;
            assert_eq!((answer.status, answer.code()), (429, code), "{api}: {answer:?}");
            assert_eq!(answer.json()["fault"]["policy"], scarce);
            assert_eq!(left(&answer), told(&after), "{api}: {answer:?}");
        }
        // Of the others one is taken, and it is the first since.
        let headers: &[(&str, &str)] = if free { &[("x-free", "")] } else { &[] };
        let answer = ask(rest, headers).await;
        let wanted: Vec<(&str, u64)> =
            after.iter().filter(|(name, _)| *name != scarce).map(|(name, left)| (*name, left - 1)).collect();
        assert_eq!((answer.status, left(&answer)), (200, told(&wanted)), "{api}: {answer:?}");
    }
}
