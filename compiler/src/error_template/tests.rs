use super::*;

fn template(syntax: Syntax, source: &str) -> ErrorTemplate {
    ErrorTemplate { code: None, problem: false, syntax, source: source.to_owned() }
}

#[test]
fn values_are_escaped_by_what_the_template_is() {
    let render = |syntax, source| template(syntax, source).render(Fault::MalformedLogin).unwrap().text;
    assert_eq!(
        render(Syntax::Json, r#"{"c": {{ code }}, "m": {{ description }}}"#),
        r#"{"c": 900912, "m": "Invalid Format. Make sure you have given the credentials in correct format with \":\" character"}"#
    );
    assert!(render(Syntax::Xml, "<e>{{ description }}</e>").contains("&quot;:&quot;"));
    assert!(render(Syntax::Text, "{{ status }} {{ description }}").contains("\":\""));
    assert_eq!(render(Syntax::Text, "{{ name }} {{ type }}"), "malformed-login urn:micro-gw:error:malformed-login");
}

#[test]
fn what_cannot_be_rendered_is_told_with_its_line() {
    let error = |syntax, source| template(syntax, source).render(Fault::NotFound).unwrap_err();
    assert_eq!(error(Syntax::Text, "a\n{{ request }}").line, 2);
    assert_eq!(error(Syntax::Text, "a\n\n{% if %}").line, 3);
    let quotes = error(Syntax::Json, r#"{"m": "{{ message }}"}"#);
    assert!(quotes.message.contains("does not render to JSON"), "{quotes}");
}

#[test]
fn a_template_has_a_budget() {
    let endless = "{% for a in [1,2,3,4,5,6,7,8,9] %}{% for b in [1,2,3,4,5,6,7,8,9] %}{% for c in [1,2,3,4,5,6,7,8,9] %}\
        {% for d in [1,2,3,4,5,6,7,8,9] %}{% for e in [1,2,3,4,5,6,7,8,9] %}{{ message }}{% endfor %}{% endfor %}\
        {% endfor %}{% endfor %}{% endfor %}";
    assert!(template(Syntax::Text, endless).render(Fault::NotFound).is_err());
    let long = format!("{{{{ '{}' * 1000000000 }}}}", "x".repeat(1000));
    assert!(template(Syntax::Text, &long).render(Fault::NotFound).is_err());
    // No file is ever read.
    assert!(template(Syntax::Text, "{% include 'a' %}").render(Fault::NotFound).is_err());
}

#[test]
fn a_code_fits_better_than_the_default() {
    let all = template(Syntax::Json, "");
    let one = ErrorTemplate { code: Some(404), ..all.clone() };
    assert!(one.fits(Fault::NotFound, Form::Fault) > all.fits(Fault::NotFound, Form::Fault));
    assert_eq!(one.fits(Fault::Internal, Form::Fault), None);
    assert_eq!(all.fits(Fault::NotFound, Form::Problem), None);
    assert_eq!(all.fits(Fault::NotFound, Form::Text), None);
}

#[test]
fn the_policy_of_throttled_requests_is_left_to_be_put_in() {
    let limited = |syntax, source| template(syntax, source).render(Fault::ApiLimit);
    let at = |text: &str, policy_at: &[u32]| {
        Ok(Rendered { text: text.into(), policy_at: policy_at.into(), lists_errors: false })
    };
    assert_eq!(
        limited(Syntax::Json, r#"{"p": {{ policy }}, "é": {{ policy }}}"#),
        at(r#"{"p": "", "é": ""}"#, &[7, 17])
    );
    assert_eq!(limited(Syntax::Html, "<b>{{ policy }}</b>"), at("<b></b>", &[3]));
    assert_eq!(limited(Syntax::Text, "{% if policy %}over {{ policy|upper }}{% endif %}"), at("over ", &[5]));
    assert_eq!(limited(Syntax::Text, "no policy"), at("no policy", &[]));
    // It is not there yet.
    for source in [
        "{{ policy|length }}",
        "{{ policy|first }}",
        "{% if policy == 'Gold' %}x{% endif %}{{ policy|replace('\u{f0b1}', 'x') }}",
        "\u{f0b1}\u{f0b2}",
    ] {
        let error = limited(Syntax::Text, source).unwrap_err();
        assert!(error.message.starts_with("`policy` can only be written as it is"), "{source}: {error}");
    }
    let other = template(Syntax::Json, r#"{"p": {{ policy }}}"#).render(Fault::NotFound).unwrap();
    assert_eq!((&*other.text, other.policy_at), (r#"{"p": null}"#, vec![]));
}

#[test]
fn what_is_wrong_with_a_request_is_listed_later() {
    let list = r#"{"m": {{ message }}, "e": [{% for e in errors %}{{ e.reason }}{% if not loop.last %},{% endif %}{% endfor %}]}"#;
    let rendered = template(Syntax::Json, list).render(Fault::InvalidRequest).unwrap();
    assert_eq!((&*rendered.text, rendered.lists_errors), (r#"{"m": "Bad Request", "e": []}"#, true));
    // Others have nothing to list.
    let other = template(Syntax::Json, list).render(Fault::ApiLimit).unwrap();
    assert!(other.text.ends_with(r#""e": []}"#) && !other.lists_errors);
    for (syntax, source) in [
        (Syntax::Json, r#"{"e": "{{ errors[0].name if errors else "" }}"}"#),
        (Syntax::Json, "[{% for e in errors %}{{ e.reason }}{% endfor %}]"),
        (Syntax::Html, "{% for e in errors %}{{ e.name|safe }}{% endfor %}"),
        (Syntax::Text, "{% for e in errors %}{{ e.value }}{% endfor %}"),
        (Syntax::Text, "{% for e in errors %}{% if e.in == 'cookie' %}{{ e.values }}{% endif %}{% endfor %}"),
    ] {
        assert!(template(syntax, source).render(Fault::InvalidRequest).is_err(), "{source}");
    }
    let list = ErrorTemplate { problem: true, ..template(Syntax::Json, "{% if errors %}[]{% else %}{}{% endif %}") };
    assert!(list.render(Fault::InvalidRequest).is_err() && list.render(Fault::NotFound).is_ok());
}
