use super::*;
use proto::fault_body::Form as Written;

fn answers(body: &str, policy_at: &[u32], escape: Escape) -> Answers {
    let body = proto::FaultBody {
        fault: "api-limit".into(),
        form: Written::Fault.into(),
        content_type: "x/y".into(),
        body: body.into(),
        policy_at: policy_at.into(),
        escape: escape.into(),
        template: String::new(),
    };
    Answers::load(&proto::RuleBook { fault_bodies: vec![body], ..Default::default() })
}

fn said(answers: &Answers, policy: &str) -> Option<String> {
    answers.own(Fault::ApiLimit, Form::Fault, policy).map(|body| body.body.into_owned())
}

#[test]
fn the_policy_is_put_where_it_is_missing() {
    let name = "<a> & \"b\" \\ 'c'\u{1}";
    for (escape, escaped) in [
        (Escape::Plain, name),
        (Escape::Json, r#"<a> & \"b\" \\ 'c'\u0001"#),
        (Escape::Markup, "&lt;a&gt; &amp; &quot;b&quot; \\ &#x27;c&#x27; "),
    ] {
        let said = said(&answers("[]()", &[1, 3], escape), name).unwrap();
        assert_eq!(said, format!("[{escaped}]({escaped})"));
    }
    assert_eq!(said(&answers("all", &[], Escape::Json), "x").unwrap(), "all");
    assert_eq!(said(&answers("", &[0], Escape::Plain), "x").unwrap(), "x");
}

#[test]
fn a_body_that_contradicts_itself_is_not_used() {
    for at in [&[5][..], &[2, 1], &[1], &[u32::MAX]] {
        assert_eq!(said(&answers("\u{e9}a", at, Escape::Plain), "x"), None, "{at:?}");
    }
}

#[test]
fn what_is_not_worded_is_as_usual_and_names_the_policy() {
    let answers = Answers::default();
    let plain = answers.body(Fault::ApiLimit, Form::Fault, None);
    assert_eq!(plain.body, Fault::ApiLimit.body(Form::Fault));
}
