use super::*;

fn edited(query: &str, edit: impl Fn(&mut Query)) -> String {
    let mut query = Query::read(Some(query));
    edit(&mut query);
    let mut path = String::new();
    query.write_to(&mut path);
    path
}

#[test]
fn pairs_that_are_not_meant_stay_as_they_are() {
    let odd = "x=%zz&&y&a%41=1&%C3=+&=&k=v=w";
    assert_eq!(edited(odd, |_| {}), format!("?{odd}"));
    assert_eq!(edited(odd, |query| query.remove("nobody")), format!("?{odd}"));
    assert_eq!(edited(odd, |query| query.remove("aA")), "?x=%zz&&y&%C3=+&=&k=v=w");
    assert_eq!(edited(odd, |query| query.add("n", "a b&=\u{e9}\n")), format!("?{odd}&n=a%20b%26%3D%C3%A9%0A"));
    assert_eq!(edited("a=1&b=2&a=3", |query| query.set("a", "9")), "?a=9&b=2");
    assert_eq!(edited("b=2", |query| query.set("a", "")), "?b=2&a=");
    assert_eq!(edited("%61=1&b=%2B", |query| query.append("a", "2")), "?%61=1,2&b=%2B");
    assert_eq!(edited("a&b", |query| query.append("a", "2")), "?a=2&b");
    assert_eq!(edited("b", |query| query.append("a", "2")), "?b&a=2");
    assert_eq!(edited("a=%2f&b=1&c&%61", |query| query.rename("a", "c")), "?c=%2f&b=1&c");
    assert_eq!(edited("b=1&c", |query| query.rename("a", "c")), "?b=1&c");
    assert_eq!(edited("a=1", |query| query.remove("a")), "");
    assert_eq!(edited("", |query| query.add("a", "1")), "?a=1");
    assert_eq!(split("/a?b?c"), ("/a", Some("b?c")));
}

#[test]
fn a_value_is_read_whole_whatever_is_in_it() {
    let query = Query::read(Some("q=a%20b=c&q=a=b%20c&q=%3D%26%25&q=%zz%2&q=1+2=%C3&%71=x"));
    let values: Vec<_> = query.values("q").collect();
    assert_eq!(values, ["a b=c", "a=b c", "=&%", "%zz%2", "1 2=\u{fffd}", "x"]);
}
