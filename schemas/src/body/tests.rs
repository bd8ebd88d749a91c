use microgw_proto::contracts::v1 as proto;
use serde_json::{Value, json};

use crate::fixtures::{content, json_body, told, with_body};

const NONE: [String; 0] = [];

fn pet() -> Value {
    json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "age": {"type": "integer", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
            "home": {"type": "object", "properties": {"street": {"type": "string"}, "number": {"type": "integer"}}},
            "photo": {"type": "string", "format": "binary"},
        },
    })
}

#[test]
fn json_goes_by_any_of_its_names() {
    let contract = with_body(&[content("application/json", 1), content("application/vnd.pet+json", 1)], &[pet()]);
    for kind in ["application/json", "application/json; charset=UTF-8", "application/vnd.pet+json"] {
        assert_eq!(told(&contract.request_body(Some(kind), br#"{"name": "x"}"#)), NONE);
        assert_eq!(told(&contract.request_body(Some(kind), b"{}")), ["body: must have the property `name`"]);
    }
    let twice = br#"{"name": "x", "age": 1, "age": -1}"#;
    let found = told(&contract.request_body(Some("application/json"), twice));
    assert!(found[0].contains("a property twice"), "{found:?}");
    assert!(contract.request_body(Some("text/json"), b"{}").is_media_type());
}

#[test]
fn forms_are_objects() {
    let kind = "application/x-www-form-urlencoded";
    let contract = with_body(&[content(kind, 1)], &[pet()]);
    let check = |body: &str| told(&contract.request_body(Some(kind), body.as_bytes()));
    assert_eq!(check("name=Tom+Cat&age=3&tags=a&tags=b"), NONE);
    assert_eq!(check("name=5&street=x&number=5"), NONE);
    assert_eq!(check("age=x"), ["body /age: must be a whole number", "body: must have the property `name`"]);
    assert_eq!(check("name=x&tags=long"), ["body /tags/0: must have at most 3 characters"]);
    assert_eq!(check("name=x&name=y"), ["body /name: is given more than once"]);
    assert_eq!(check("name=x&other=1"), ["body: has the property `other`, which is not declared"]);
    assert_eq!(check("name=x&other=1&other=2"), ["body /other: is given more than once"]);
    assert_eq!(check("name=%zz"), ["body /name: is not encoded as it must be"]);
    let encoding = |property: &str, style: proto::Style, explode| proto::Encoding {
        property: property.to_owned(),
        style: style.into(),
        explode,
        ..proto::Encoding::default()
    };
    let encodings = vec![encoding("tags", proto::Style::Form, false), encoding("home", proto::Style::DeepObject, true)];
    let contract = with_body(&[proto::Content { encodings, ..content(kind, 1) }], &[pet()]);
    let check = |body: &str| told(&contract.request_body(Some(kind), body.as_bytes()));
    assert_eq!(check("name=x&tags=a,b&home%5Bstreet%5D=y&home[number]=2"), NONE);
    assert_eq!(check("name=x&home[number]=y"), ["body /home/number: must be a whole number"]);
    let encodings = vec![proto::Encoding {
        property: "home".to_owned(),
        content_types: vec!["application/json".to_owned()],
        ..proto::Encoding::default()
    }];
    let contract = with_body(&[proto::Content { encodings, ..content(kind, 1) }], &[pet()]);
    let check = |body: &str| told(&contract.request_body(Some(kind), body.as_bytes()));
    assert_eq!(check("name=x&home=%7B%22number%22%3A2%7D"), NONE);
    assert_eq!(check("name=x&home=%7B%22number%22%3A%22%22%7D"), ["body /home/number: must be a whole number"]);
}

fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

#[test]
fn multipart_forms_are_objects() {
    let encodings = vec![proto::Encoding {
        property: "photo".to_owned(),
        content_types: vec!["image/png".to_owned(), "image/jpeg".to_owned()],
        ..proto::Encoding::default()
    }];
    let contract = with_body(&[proto::Content { encodings, ..content("multipart/form-data", 1) }], &[pet()]);
    let check = |body: &str| told(&contract.request_body(Some("multipart/form-data; boundary=b"), body.as_bytes()));
    let png = "name=\"photo\"; filename=\"a.png\"\r\nContent-Type: image/png";
    let all = [
        part("name=\"name\"", "Tom"),
        part("name=age", "3"),
        part("name=\"tags\"", "a"),
        part("name=\"tags\"", "b"),
        part("name=\"home\"\r\nContent-Type: application/json", "{\"number\": 5}"),
        part(png, "\u{1}\r\n--x"),
        "--b--\r\n".to_owned(),
    ];
    assert_eq!(check(&all.concat()), NONE);
    let wrong = |parts: &[String]| check(&[&parts.concat(), "--b--"].concat());
    let name = part("name=\"name\"", "x");
    assert_eq!(wrong(&[]), ["body: must have the property `name`"]);
    assert_eq!(wrong(&[name.clone(), name.clone()]), ["body /name: is given more than once"]);
    assert_eq!(wrong(&[name.clone(), part("name=\"age\"", "x")]), ["body /age: must be a whole number"]);
    let gif = "name=\"photo\"; filename=\"a.gif\"\r\nContent-Type: image/gif";
    assert_eq!(
        wrong(&[name.clone(), part(gif, "x")]),
        ["body /photo: has a part with a media type that is not declared"]
    );
    assert_eq!(
        wrong(&[name.clone(), part("name=\"home\"\r\nContent-Type: application/json", "{\"number\": \"x\"}")]),
        ["body /home/number: must be a whole number"]
    );
    assert!(wrong(&[name.clone(), part("name=\"home\"", "{")])[0].contains("is no JSON"));
    for hostile in [
        "",
        "--b",
        "--b\r\n",
        "x--b--",
        "preamble\r\n--b--",
        "--b--x",
        "--bb--",
        "--b\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: attachment; name=\"name\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"a\"; name=\"name\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"na\\me\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name*=utf-8''name\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data;\r\n name=\"name\"\r\n\r\nx\r\n--b--",
        "--b\nContent-Disposition: form-data; name=\"name\"\n\nx\n--b--",
        "--b\r\nContent-Disposition : form-data; name=\"name\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\nContent-Disposition: form-data; name=\"age\"\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"; filename=\"b\"\r\n\r\nx\r\n--b--",
    ] {
        let found = check(hostile);
        assert!(
            found.len() == 1 && (found[0].contains("no form") || found[0].contains("required")),
            "{hostile:?}: {found:?}"
        );
    }
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=b; boundary=c",
        &format!("multipart/form-data; boundary={}", "b".repeat(71)),
    ] {
        assert!(!told(&contract.request_body(Some(kind), all.concat().as_bytes())).is_empty(), "{kind}");
    }
    let many = part("name=\"x\"", "").repeat(5_000);
    assert!(wrong(&[many])[0].contains("too many parts"));
}

/// What a part says it is must be what was compared.
#[test]
fn parts_are_of_the_media_types_that_are_declared() {
    let form = json!({
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["user", "\"user\""]},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "home": {"type": "object", "properties": {"number": {"type": "integer"}}},
            "either": {"oneOf": [{"type": "string"}, {"type": "object"}]},
            "photo": {"type": "string", "format": "binary"},
            "csv": {"type": "string"},
            "any": {},
        },
    });
    let encodings = vec![proto::Encoding {
        property: "csv".to_owned(),
        content_types: vec!["text/csv".to_owned()],
        ..proto::Encoding::default()
    }];
    let contract = with_body(&[proto::Content { encodings, ..content("multipart/form-data", 1) }], &[form]);
    let check = |name: &str, kind: &str, value: &str| {
        let body = [part(&format!("name=\"{name}\"\r\nContent-Type: {kind}"), value), "--b--".to_owned()].concat();
        told(&contract.request_body(Some("multipart/form-data; boundary=b"), body.as_bytes()))
    };
    for (name, kind, value) in [
        ("role", "text/plain", "user"),
        ("role", "TEXT/plain; charset=UTF-8", "user"),
        ("age", "text/plain", "5"),
        ("tags", "text/plain", "a"),
        ("home", "application/json", "{\"number\": 5}"),
        ("home", "application/vnd.home+json", "{}"),
        ("home", "text/plain", "{}"),
        ("either", "text/plain", "a"),
        ("either", "application/json", "{}"),
        ("photo", "image/png", "x"),
        ("photo", "text/plain; charset=utf-16", "x"),
        ("csv", "text/csv", "a,b"),
        ("any", "application/json", "{}"),
        ("any", "image/png", "x"),
    ] {
        assert_eq!(check(name, kind, value), NONE, "{name} {kind}");
    }
    for (name, kind, value, told) in [
        ("role", "application/json", "\"user\"", "has a part with a media type that is not declared"),
        ("role", "image/png", "user", "has a part with a media type that is not declared"),
        ("role", "text/html", "user", "has a part with a media type that is not declared"),
        ("role", "text/plain; charset=utf-16", "user", "must be UTF-8"),
        ("age", "application/json", "5", "has a part with a media type that is not declared"),
        ("tags", "application/json", "[\"a\"]", "has a part with a media type that is not declared"),
        ("home", "application/json; charset=utf-16", "{}", "must be UTF-8"),
        ("home", "application/xml", "<a/>", "has a part with a media type that is not declared"),
        ("csv", "text/plain", "a,b", "has a part with a media type that is not declared"),
    ] {
        assert_eq!(check(name, kind, value), [format!("body /{name}: {told}")], "{name} {kind}");
    }
    let both = part("name=\"photo\"; filename=\"a\"; filename*=utf-8''a\r\nContent-Transfer-Encoding: binary", "x");
    let body = format!("{both}--b--");
    assert_eq!(told(&contract.request_body(Some("multipart/form-data; boundary=b"), body.as_bytes())), NONE);
}

#[test]
fn xml_is_what_its_schema_says() {
    let pet = json!({
        "type": "object", "required": ["name"], "additionalProperties": false, "xml": {"name": "pet"},
        "properties": {
            "id": {"type": "integer", "xml": {"attribute": true}},
            "name": {"type": "string", "xml": {"namespace": "urn:pets", "prefix": "p"}},
            "tags": {"type": "array", "xml": {"wrapped": true}, "items": {"type": "string", "maxLength": 3, "xml": {"name": "tag"}}},
            "photos": {"type": "array", "items": {"type": "string", "xml": {"name": "photo"}}},
            "age": {"type": ["integer", "null"]},
        },
    });
    let contract = with_body(&[content("application/xml", 1)], &[pet]);
    let check = |body: &str| told(&contract.request_body(Some("application/xml"), body.as_bytes()));
    let good = r#"<?xml version="1.0" encoding="UTF-8"?><!-- c -->
        <pet id="5" xmlns:p="urn:pets"><p:name>A &amp; B&#33; <![CDATA[<c>]]></p:name>
        <tags><tag>a</tag><tag>b</tag></tags><photo>x</photo><photo>y</photo>
        <age xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/></pet>"#;
    assert_eq!(check(good), NONE);
    let inner = |inner: &str| check(&format!(r#"<pet xmlns:p="urn:pets"><p:name>x</p:name>{inner}</pet>"#));
    assert_eq!(inner(""), NONE);
    assert_eq!(inner("<tags><tag>long</tag></tags>"), ["body /tags/0: must have at most 3 characters"]);
    assert_eq!(inner("<age>x</age>"), ["body /age: must be null or a whole number"]);
    assert_eq!(inner("<other/>"), ["body: has the property `other`, which is not declared"]);
    assert_eq!(
        check(r#"<pet xmlns:p="urn:pets" id="x"><p:name>x</p:name></pet>"#),
        ["body /id: must be a whole number"]
    );
    let refused = |body: &str| {
        let found = check(body);
        assert!(found.len() == 1 && found[0].contains("no XML"), "{body}: {found:?}");
    };
    refused("<dog/>");
    refused("<pet><name>x</name></pet>");
    refused("<pet xmlns:p='urn:cats'><p:name>x</p:name></pet>");
    refused("<pet>text</pet>");
    refused("<pet/><pet/>");
    refused("<pet></dog>");
    refused("<pet");
    for wrong in ["\u{1}", "&#1;", "a]]>b", "<tags x=\"1\"><tag>a</tag></tags>", "<tags>x<tag>a</tag></tags>"] {
        refused(&format!(r#"<pet xmlns:p="urn:pets"><p:name>x</p:name>{wrong}</pet>"#));
    }
    refused(r#"<pet xmlns:p="urn:pets" name="x"/>"#);
    refused(r#"<![CDATA[]]><pet xmlns:p="urn:pets"><p:name>x</p:name></pet>"#);
    let nil = |inside: &str| {
        format!(
            r#"<pet xmlns:p="urn:pets"><p:name>x</p:name><age xmlns:n="http://www.w3.org/2001/XMLSchema-instance" {inside}</age></pet>"#
        )
    };
    assert_eq!(check(&nil(r#"n:nil="true"> "#)), NONE);
    for inside in [r#"n:nil="true">5"#, r#"n:nil="1"><b/>"#, r#"n:nil="true" x="1">"#] {
        refused(&nil(inside));
    }
    refused(" ");
    refused("x<pet/>");
    refused("<p:pet/>");
    refused("<pet a='1' a='2'/>");
    refused("<?xml version='1.0' encoding='utf-16'?><pet/>");
    refused("<?php x ?><pet/>");
    refused("<!DOCTYPE pet><pet/>");
    refused("<!DOCTYPE pet [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><pet>&a;</pet>");
    refused("<!DOCTYPE l [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;'>]><pet>&b;</pet>");
    refused("<pet xmlns:p='urn:pets'><p:name>&nbsp;</p:name></pet>");
    refused("<pet xmlns:p='urn:pets'><p:name>&#0;</p:name></pet>");
    refused("<pet xmlns:p='urn:pets'><p:name>x</p:name><p:name>y</p:name></pet>");
    refused(&"<pet>".repeat(100_000));
    refused(&format!("{}{}", "<pet>".repeat(500), "</pet>".repeat(500)));
    refused(&format!("<pet>{}</pet>", "<a/>".repeat(300_000)));
}

#[test]
fn a_namespace_that_nobody_declared_is_that_of_the_whole_document() {
    let order = json!({
        "type": "object", "required": ["a"], "xml": {"name": "o"},
        "properties": {
            "a": {"type": "integer"},
            "id": {"type": "integer", "xml": {"attribute": true}},
            "list": {"type": "array", "items": {"type": "integer"}},
            "wrapped": {"type": "array", "xml": {"wrapped": true}, "items": {"type": "integer", "xml": {"name": "i"}}},
            "in": {"type": "object", "properties": {"b": {"type": "integer"}}, "xml": {"namespace": "urn:in"}},
        },
    });
    let contract = with_body(&[content("application/xml", 1)], &[order]);
    let check = |body: &str| told(&contract.request_body(Some("application/xml"), body.as_bytes()));
    for good in [
        "<o><a>1</a></o>",
        "<o xmlns='urn:o' id='1'><a>1</a><list>1</list><wrapped><i>1</i></wrapped></o>",
        "<q:o xmlns:q='urn:o' q:id='1'><q:a>1</q:a></q:o>",
        "<q:o xmlns:q='urn:o'><a>1</a></q:o>",
        "<o xmlns='urn:o'><q:in xmlns:q='urn:in'><q:b>1</q:b></q:in><a>1</a></o>",
        "<o xmlns='urn:o'><q:in xmlns:q='urn:in'><b>1</b></q:in><a>1</a></o>",
        "<o><in xmlns='urn:in'><b>1</b></in><a>1</a></o>",
        "<o xmlns:q='urn:more'><a>1</a><q:more>1</q:more></o>",
        "<?xml version='1.0' encoding=\"UTF-8\" standalone='yes' ?><o><a>1</a></o>",
    ] {
        assert_eq!(check(good), NONE, "{good}");
    }
    for wrong in [
        "<o xmlns:q='urn:evil'><q:a>1</q:a></o>",
        "<o xmlns='urn:o'><a xmlns='urn:evil'>1</a></o>",
        "<q:o xmlns:q='urn:o'><p:a xmlns:p='urn:evil'>1</p:a></q:o>",
        "<o xmlns:q='urn:evil' q:id='1'><a>1</a></o>",
        "<o xmlns:q='urn:evil'><a>1</a><q:list>1</q:list></o>",
        "<o xmlns:q='urn:evil'><a>1</a><wrapped><q:i>1</q:i></wrapped></o>",
        "<o><a>1</a><in><b>1</b></in></o>",
    ] {
        assert!(check(wrong).iter().any(|told| told.contains("has another namespace")), "{wrong}: {:?}", check(wrong));
    }
    for malformed in [
        "<o b='<'><a>1</a></o>",
        "<o xmlns:x=''><a>1</a></o>",
        "<?xml version='9'?><o><a>1</a></o>",
        "<?xml version='1.1'?><o><a>1</a></o>",
        "<?xml encoding='utf-8'?><o><a>1</a></o>",
        "<?xml version='1.0' encoding='utf-8' encoding='utf-16'?><o><a>1</a></o>",
        "<?xml version='1.0' standalone='yes' encoding='utf-8'?><o><a>1</a></o>",
        "<?xml version='1.0' standalone='perhaps'?><o><a>1</a></o>",
        "<?xml version='1.0'encoding='utf-8'?><o><a>1</a></o>",
        "<?xml version='1.0' more='1'?><o><a>1</a></o>",
    ] {
        assert!(check(malformed).iter().any(|told| told.contains("no XML")), "{malformed}: {:?}", check(malformed));
    }
}

#[test]
fn numbers_are_as_long_as_their_format() {
    for (format, good, wrong) in [
        (
            "int64",
            &["-9223372036854775808", "9223372036854775807", "0"][..],
            &["-9223372036854775809", "-9223372036854776832", "9223372036854775808", "1e19", "-1e19"][..],
        ),
        ("uint64", &["18446744073709551615", "0"], &["18446744073709551616", "-1"]),
        ("int32", &["-2147483648", "2147483647"], &["-2147483649", "2147483648"]),
        ("uint32", &["4294967295"], &["4294967296", "-1"]),
    ] {
        let contract = json_body(&[json!({"type": "integer", "format": format})]);
        let check = |body: &str| told(&contract.request_body(Some("application/json"), body.as_bytes()));
        for good in good {
            assert_eq!(check(good), NONE, "{format} {good}");
        }
        for wrong in wrong {
            assert_eq!(check(wrong).len(), 1, "{format} {wrong}");
        }
    }
}

#[test]
fn texts_and_bytes_are_what_they_are() {
    let values = [
        json!({"type": "integer"}),
        json!({"type": "string", "format": "binary"}),
        json!({"type": "string", "maxLength": 3}),
    ];
    let contents = [content("text/plain", 1), content("application/octet-stream", 2), content("text/csv", 3)];
    let contract = with_body(&contents, &values);
    let check = |kind, body: &[u8]| told(&contract.request_body(Some(kind), body));
    assert_eq!(check("text/plain", b"5"), NONE);
    assert_eq!(check("text/plain", b"x"), ["body: must be a whole number"]);
    assert_eq!(check("application/octet-stream", b"\xff\0"), NONE);
    assert_eq!(check("text/csv", b"a,b,c"), ["body: must have at most 3 characters"]);
    assert_eq!(check("text/csv", b"\xff"), ["body: is not UTF-8"]);
    assert_eq!(check("text/csv; charset=latin1", b"a"), ["body: must be UTF-8"]);
}

#[test]
fn ranges_take_what_they_name() {
    let contract = with_body(&[content("*/*", 1)], &[json!({"type": "object"})]);
    assert_eq!(told(&contract.request_body(Some("application/json"), b"{}")), NONE);
    assert_eq!(told(&contract.request_body(Some("application/json"), b"1")), ["body: must be an object"]);
    // Nobody can say whether that is an object.
    assert!(contract.request_body(Some("application/yaml"), b"a: 1").is_media_type());
    assert!(!json_body(&[json!({})]).request_body(None, b"{}").is_empty());
}
