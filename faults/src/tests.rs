use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn faults_are_json_of_the_documented_shape() {
    for fault in Fault::ALL {
        let body: serde_json::Value = serde_json::from_str(fault.body(Form::Fault)).unwrap();
        let inner = body["fault"].as_object().unwrap();
        assert_eq!(inner["code"], fault.code());
        assert_eq!(inner.len(), 3);
        let (message, description) = (inner["message"].as_str().unwrap(), inner["description"].as_str().unwrap());
        assert!(description.starts_with(message) || description.starts_with("You have"), "{fault}");
        assert!(fault.body(Form::Fault).starts_with(r#"{"fault":{"code":"#));
    }
}

#[test]
fn problems_have_the_members_of_rfc_9457() {
    for fault in Fault::ALL {
        let body: serde_json::Value = serde_json::from_str(fault.body(Form::Problem)).unwrap();
        assert_eq!(body["type"], format!("urn:micro-gw:error:{}", fault.name()));
        assert_eq!(body["status"], fault.status());
        assert_eq!(body["code"], fault.code());
        assert_eq!(body["title"], fault.message());
        assert_eq!(body["detail"], fault.description());
    }
}

#[test]
fn whoever_is_over_a_quota_is_told_of_which_policy() {
    let name = "a \"b\" \\ é\n";
    for fault in Fault::ALL.iter().filter(|fault| fault.names_policy()) {
        let read =
            |form| -> serde_json::Value { serde_json::from_str(&fault.body_naming(form, name, "limit")).unwrap() };
        let (body, plain) = (read(Form::Fault), fault.body(Form::Fault));
        assert_eq!((&body["fault"]["policy"], &body["fault"]["code"]), (&name.into(), &fault.code().into()));
        assert!(fault.body_naming(Form::Fault, name, "").starts_with(plain.trim_end_matches('}')));
        let problem = read(Form::Problem);
        assert_eq!(problem["violated-policies"], serde_json::json!(["limit"]));
        assert_eq!(problem["type"], fault.type_uri());
        assert_eq!(fault.body_naming(Form::Text, name, "limit"), fault.body(Form::Text), "gRPC as ever");
        assert_eq!(fault.status(), 429);
    }
}

#[test]
fn browsers_may_read_what_is_sent() {
    for headers in RateLimitHeaders::ALL {
        assert_eq!(RateLimitHeaders::named(headers.as_str()), Some(headers));
        let exposed = headers.exposed();
        assert!(exposed.contains(&"retry-after"));
        assert_eq!(exposed.contains(&"ratelimit") && exposed.contains(&"ratelimit-policy"), headers.standard());
        assert_eq!(exposed.contains(&"x-ratelimit-remaining"), headers.legacy());
    }
}

#[test]
fn names_are_distinct_and_in_order() {
    let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), Fault::ALL.len());
    for (index, fault) in Fault::ALL.iter().enumerate() {
        assert_eq!(*fault as usize, index);
        assert!(fault.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
}

#[test]
fn a_description_of_its_own_is_escaped() {
    let body = Fault::BadRequest.write(Form::Problem, Some("a \"quote\"\n"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["detail"], "a \"quote\"\n");
}

const NAMED: [&str; 8] = [
    "application/problem+json",
    "text/html, application/problem+json",
    "APPLICATION/Problem+JSON ; q=0.5, */*",
    "application/problem+json;q=0.001",
    "application/problem+json;charset=utf-8;q=1.000",
    "text/html;q=0 ,\tapplication/problem+json;;",
    "application/problem+json;quality=0",
    "application/problem+json;q=0, application/problem+json",
];
const NOT_NAMED: [&str; 9] = [
    "",
    "*/*",
    "application/*",
    "application/json",
    "application/problem+xml",
    "application/problem+json;q=0",
    "application/problem+json; q=0.000 , text/html",
    "application/problem+json;v=1;Q=0.0",
    "xapplication/problem+json",
];

#[test]
fn problems_are_for_those_who_name_them() {
    let regex = regex::Regex::new(&format!("^(?:{NAMES_PROBLEM})$")).unwrap();
    for accept in NAMED {
        assert!(names_problem(accept) && regex.is_match(accept), "{accept}");
    }
    for accept in NOT_NAMED {
        assert!(!names_problem(accept) && !regex.is_match(accept), "{accept}");
    }
}

#[test]
fn grpc_is_told_from_its_like() {
    for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
        assert_eq!(Form::asked(Some("application/problem+json"), Some(grpc)), Form::Text);
    }
    for other in ["application/grpc-web", "application/json", ""] {
        assert_eq!(Form::asked(None, Some(other)), Form::Fault);
    }
}

proptest! {
    /// Envoy asks by the expression, we by the function.
    #[test]
    fn the_expression_and_the_function_agree(
        before in r"(|,|text/html[ ,;]|application/problem\+json;)",
        after in r"( |,|;|q=|;q=|0|0\.0|1|5|\.|\*/\*|application/problem\+json|Q|q|=|text/html|x=y|\t){0,9}"
    ) {
        let accept = format!("{before}application/problem+json{after}");
        let regex = regex::Regex::new(&format!("^(?:{NAMES_PROBLEM})$")).unwrap();
        prop_assert_eq!(names_problem(&accept), regex.is_match(&accept), "{:?}", accept);
    }
}
