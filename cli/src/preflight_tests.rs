use microgw_compiler::snapshot::{ApiKey, Fallback};

use super::*;

#[test]
fn a_fault_is_a_problem_at_its_definition() {
    let found = fault(&Fault {
        api: ApiKey("shop:1".into()),
        location: "api_definitions/a:b.yaml:3:7".to_owned(),
        fallback: Fallback::Unavailable,
        envoy_text: "regex is too large".to_owned(),
    });
    assert_eq!(found.place, Some(Place::point("api_definitions/a:b.yaml", LineColumn { line: 3, column: 7 })));
    assert_eq!(found.message, "Envoy refuses API `shop:1`: regex is too large");
    let shown = Refused(vec![found.clone(), Diagnostic { place: place("nowhere"), ..found }]).to_string();
    insta::assert_snapshot!(shown);
}

#[test]
fn only_a_refusal_is_a_problem_of_the_project() {
    let refused = |rejection: Rejection| rejected(&rejection).is::<Refused>();
    assert!(refused(Rejection::Refused { envoy_text: "no".to_owned() }));
    assert!(!refused(Rejection::Silent) && !refused(Rejection::Closed) && !refused(Rejection::Unseen));
}
