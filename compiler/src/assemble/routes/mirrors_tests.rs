use envoy_types::pb::envoy::config::route::v3::RouteAction;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;

use super::*;
use crate::assemble::routes::header_is;

/// What each route asks for beside what `route` does, and to how many mirrors it copies.
fn told(method: Method, mirrors: usize) -> Vec<(Vec<String>, usize)> {
    let mut route = Route { action: Some(Action::Route(RouteAction::default())), ..Route::default() };
    route.r#match.get_or_insert_default().headers.push(header_is(":method", method.as_str()));
    let policies = vec![RequestMirrorPolicy { cluster: "c".to_owned(), ..Default::default() }; mirrors];
    let told = |route: Route| {
        let Some(Action::Route(action)) = route.action else { panic!("it leads to a backend") };
        let headers = route.r#match.unwrap().headers;
        assert_eq!(headers[0].name, ":method");
        let condition = |header: &HeaderMatcher| match header.header_match_specifier.as_ref().unwrap() {
            HeaderMatchSpecifier::PresentMatch(true) if header.invert_match => format!("no {}", header.name),
            HeaderMatchSpecifier::RangeMatch(range) => format!("{} {}..{}", header.name, range.start, range.end),
            other => panic!("{other:?}"),
        };
        (headers[1..].iter().map(condition).collect(), action.request_mirror_policies.len())
    };
    copied(route, method, &policies).into_iter().map(told).collect()
}

#[test]
fn what_could_hold_clients_up_is_not_copied() {
    let text = |conditions: &[&str]| conditions.iter().map(|&condition| condition.to_owned()).collect::<Vec<_>>();
    let short = || (text(&["content-length 0..262145"]), 2);
    let rest = || (Vec::new(), 0);
    let without = (text(&["no content-length"]), 2);
    assert_eq!(told(Method::Get, 2), [short(), without, rest()]);
    let without = (text(&["no content-length", "no content-type"]), 2);
    assert_eq!(told(Method::Post, 2), [short(), without, rest()]);
    assert_eq!(told(Method::Get, 0), [rest()]);
}
