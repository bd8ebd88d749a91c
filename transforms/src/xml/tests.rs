use proptest::prelude::*;

use super::*;
use crate::Failure;
use crate::json::{Json, Object};

fn json(text: &str) -> Json {
    Json::read(text.as_bytes()).unwrap()
}

fn xml(text: &str, root: Option<&str>) -> Result<String, Failure> {
    let written = to_xml(&json(text), root)?;
    Ok(written.strip_prefix(r#"<?xml version="1.0" encoding="UTF-8"?>"#).unwrap().to_owned())
}

fn read(form: &ToJson, xml: &str) -> Result<String, NoXml> {
    form.read(xml.as_bytes()).map(|json| json.write().unwrap())
}

#[test]
fn json_becomes_xml() {
    let order = r##"{"order":{"@id":7,"item":[{"#text":"a<b","@n":"x\"\n"},"c"],"total":1.10,"paid":true,"note":null,"none":[]}}"##;
    assert_eq!(
        xml(order, None).unwrap(),
        r#"<order id="7"><item n="x&quot;&#10;">a&lt;b</item><item>c</item><total>1.10</total><paid>true</paid><note/></order>"#
    );
    assert_eq!(
        xml("[1,[2,3],{}]", Some("list")).unwrap(),
        "<list><item>1</item><item><item>2</item><item>3</item></item><item/></list>"
    );
    assert_eq!(xml("7", Some("n")).unwrap(), "<n>7</n>");
    assert_eq!(xml(r#"{"a":"x","b":"y"}"#, Some("r")).unwrap(), "<r><a>x</a><b>y</b></r>");
    for bad in [
        r#"{"a":1,"b":2}"#,
        "{}",
        "[]",
        "1",
        r#"{"a":[1]}"#,
        r#"{"a b":1}"#,
        r#"{"<a>":1}"#,
        r#"{"":1}"#,
        r#"{"1a":1}"#,
        r#"{"a":{"@b":[]}}"#,
        r#"{"a":{"@":1}}"#,
        r##"{"a":{"#text":{}}}"##,
        r##"{"a":{"#other":1}}"##,
        r#"{"a":"\u0000"}"#,
        r#"{"a":"\uffff"}"#,
        r#"{"a:b:c":1}"#,
    ] {
        assert_eq!(xml(bad, None), Err(Failure::NoXmlForm), "{bad}");
    }
}

#[test]
fn xml_becomes_json() {
    let plain = ToJson::default();
    let order = "<?xml version='1.0' encoding='utf-8'?>\n<!-- x --><order id='7'>\r\n  <item n=\"1\">a&lt;b&#x20;</item>\n  <item><![CDATA[<c>]]></item>\n  <note/>\n <one> </one></order>\n";
    assert_eq!(
        read(&plain, order).unwrap(),
        r##"{"order":{"@id":"7","item":[{"@n":"1","#text":"a<b "},"<c>"],"note":"","one":" "}}"##
    );
    let typed = ToJson { root: Some("r".into()), arrays: ["b".into()].into(), typed: true };
    assert_eq!(
        read(&typed, "<r><a>1.10</a><b>true</b><c>01</c><d x='5'/><e>12345678901234567890</e></r>").unwrap(),
        r#"{"a":1.10,"b":[true],"c":"01","d":{"@x":5},"e":12345678901234567890}"#
    );
    assert_eq!(read(&plain, "<a>x<b/>y</a>").unwrap(), r##"{"a":{"b":"","#text":"xy"}}"##);
    assert_eq!(read(&plain, "<a b='1\n2\t3&#10;'/>").unwrap(), r#"{"a":{"@b":"1 2 3\n"}}"#);
    assert_eq!(read(&plain, "<s:a xmlns:s='u'/>").unwrap(), r#"{"s:a":{"@xmlns:s":"u"}}"#);
    assert_eq!(read(&typed, "<other/>"), Err(NoXml));
}

#[test]
fn what_is_no_xml() {
    for bad in [
        "",
        " ",
        "x",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a b='1' b='2'/>",
        "<a b=1/>",
        "<a b/>",
        "<a b='<'/>",
        "<a>&x;</a>",
        "<a>&</a>",
        "<a>& </a>",
        "<a b='&x;'/>",
        "<a b='&'/>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#+65;</a>",
        "<a>&#;</a>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "<a>]]></a>",
        "<a>\u{1}</a>",
        "<1a/>",
        "<a><!-- -- --></a>",
        "<?xml version='1.1'?><a/>",
        "<?xml version='1.0' encoding='latin1'?><a/>",
        "<a/><?xml version='1.0'?>",
        "<a><?xml version='1.0'?></a>",
        "<![CDATA[x]]><a/>",
        "<a><![CDATA[x</a>",
    ] {
        assert_eq!(read(&ToJson::default(), bad), Err(NoXml), "{bad}");
    }
    assert_eq!(ToJson::default().read(b"<a>\xff</a>"), Err(NoXml));
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(read(&ToJson::default(), &nested(crate::MAX_DEPTH)).is_ok());
    assert!(read(&ToJson::default(), &nested(crate::MAX_DEPTH + 1)).is_err());
    assert!(read(&ToJson::default(), &"<a>".repeat(1_000_000)).is_err());
    let attributes = (0..1000).map(|index| format!("a{index}='1'")).collect::<Vec<_>>().join(" ");
    assert!(read(&ToJson::default(), &format!("<a {attributes}/>")).is_err());
}

/// What survives both ways: texts, no empty objects or lists, lists of more than one item that are no lists.
fn any_survivor() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["[a-z<>&\"' \r\n\t\u{e9}\u{1f600}]{0,6}", "[0-9]{1,3}", "\\PC{0,4}"];
    let text = text.prop_filter("characters of XML", |text| text.chars().all(is_character));
    let leaf = text.clone().prop_map(Json::Text);
    leaf.prop_recursive(4, 30, 4, move |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4).prop_map(Json::Array);
        let single = inner.prop_filter("no list in a list", |value| !matches!(value, Json::Array(_)));
        let several = several.prop_filter(
            "no list in a list",
            |value| matches!(value, Json::Array(items) if !items.iter().any(|item| matches!(item, Json::Array(_)))),
        );
        let attributes = prop::collection::vec(("@[a-c]", text.clone().prop_map(Json::Text)), 0..3);
        let members = prop::collection::vec(("[a-f]", prop_oneof![single, several]), 1..4);
        (attributes, members)
            .prop_map(|(attributes, members)| Json::Object(attributes.into_iter().chain(members).collect::<Object>()))
    })
    .prop_filter("no list by itself", |value| !matches!(value, Json::Array(_)))
}

proptest! {
    #[test]
    fn json_survives_both_ways(value in any_survivor()) {
        let written = to_xml(&value, Some("root")).unwrap();
        let form = ToJson { root: Some("root".into()), ..ToJson::default() };
        prop_assert_eq!(form.read(written.as_bytes()).unwrap(), value, "{}", written);
    }

    #[test]
    fn never_panics(
        text in "[<>/a='\"&#;x1 !\\[\\]\\-?]{0,24}", bytes in any::<Vec<u8>>(), body in crate::json::tests::any_json(),
    ) {
        let form = ToJson { typed: true, ..ToJson::default() };
        if let Ok(json) = form.read(text.as_bytes()) {
            // What was read can be written, and read again.
            let written = to_xml(&json, None).unwrap();
            prop_assert_eq!(form.read(written.as_bytes()).unwrap(), json, "{}", written);
        }
        let _ = form.read(&bytes);
        if let Ok(written) = to_xml(&body, Some("root")) {
            prop_assert!(form.read(written.as_bytes()).is_ok(), "{}", written);
        }
    }
}
