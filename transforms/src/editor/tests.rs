use super::*;
use crate::message::Headers;

const OF_REQUEST: Terms<'static> = Terms {
    direction: Direction::Request,
    base_path: "/shop",
    is_head: false,
    is_matched_again: false,
    reserved: &[],
    reserved_parameters: &[],
    has_bodies: true,
};

fn request() -> Message {
    Message::request("GET", "/shop/a?x=1&y=2", Headers::new([("x-a".to_owned(), b"1".to_vec())]), None)
}

/// What is left of a message once `edit` was refused must be what it was before.
fn refused(terms: Terms<'_>, edit: impl FnOnce(&mut Editor<'_>) -> Result<(), EditorError>) -> EditorError {
    let mut message = match terms.direction {
        Direction::Request => request(),
        Direction::Response => Message::response(200, Headers::default(), None),
    };
    let before = message.clone();
    let error = edit(&mut Editor { message: &mut message, terms }).unwrap_err();
    assert_eq!(message, before);
    error
}

#[test]
fn edits_are_held_to_what_definitions_may_declare() {
    for name in ["host", ":path", "content-length", "authorization", "x-microgw-rule", "X_Forwarded_For", "a b", ""] {
        for edit in [
            refused(OF_REQUEST, |editor| editor.set_header(name, b"1")),
            refused(OF_REQUEST, |editor| editor.add_header(name, b"1")),
            refused(OF_REQUEST, |editor| editor.remove_header(name)),
        ] {
            assert!(matches!(edit, EditorError::Header(_)), "{name:?}: {edit:?}");
        }
    }
    for value in [&b"a\r\nb: c"[..], b" a", b"\xff", &[b'a'; 9000]] {
        assert_eq!(refused(OF_REQUEST, |editor| editor.set_header("x-a", value)), EditorError::Value);
    }
    for path in ["a", "/..", "/a//b", "/a?b", "/%2F"] {
        assert!(matches!(refused(OF_REQUEST, |editor| editor.set_path(path)), EditorError::Path(_)), "{path}");
    }
    assert_eq!(refused(OF_REQUEST, |editor| editor.set_method("CONNECT")), EditorError::Method);
    assert_eq!(refused(OF_REQUEST, |editor| editor.set_status(200)), EditorError::OfResponses);
    let again = Terms { is_matched_again: true, ..OF_REQUEST };
    assert_eq!(refused(again, |editor| editor.set_path("/b")), EditorError::MatchedAgain);
    assert_eq!(refused(again, |editor| editor.set_method("POST")), EditorError::MatchedAgain);
    let head = Terms { is_head: true, ..OF_REQUEST };
    assert_eq!(refused(head, |editor| editor.set_method("GET")), EditorError::Method);
    let of_response = Terms { direction: Direction::Response, ..OF_REQUEST };
    assert_eq!(refused(of_response, |editor| editor.set_path("/b")), EditorError::OfRequests);
    assert_eq!(refused(of_response, |editor| editor.set_query("a", "b")), EditorError::OfRequests);
    for status in [100, 204, 206, 304, 600] {
        assert_eq!(refused(of_response, |editor| editor.set_status(status)), EditorError::Status);
    }
    let without = Terms { has_bodies: false, ..OF_REQUEST };
    assert_eq!(refused(without, |editor| editor.set_body(Vec::new(), None)), EditorError::NoBody);
    let of_head = Terms { is_head: true, ..of_response };
    assert_eq!(refused(of_head, |editor| editor.set_body(Vec::new(), None)), EditorError::NoBody);
    assert_eq!(refused(OF_REQUEST, |editor| editor.set_body(Vec::new(), Some("x"))), EditorError::ContentType);
    assert_eq!(refused(OF_REQUEST, |editor| editor.set_body(vec![0; MAX_BODY + 1], None)), EditorError::TooLarge);
}

#[test]
fn headers_together_have_a_bound() {
    let mut message = request();
    let mut editor = Editor { message: &mut message, terms: OF_REQUEST };
    let last = (0..100).map(|_| editor.add_header("x-many", &[b'a'; 1000])).find_map(Result::err);
    assert_eq!(last, Some(EditorError::Head));
    assert!(message.headers.size() <= MAX_HEAD);
}

#[test]
fn what_is_edited_is_told() {
    let mut message = request();
    let mut editor = Editor { message: &mut message, terms: OF_REQUEST };
    editor.set_header("X-A", b"2").unwrap();
    editor.set_path("/b/c").unwrap();
    editor.set_query("x", "a b").unwrap();
    editor.remove_query("y").unwrap();
    editor.add_query("z", "3").unwrap();
    editor.set_method("POST").unwrap();
    editor.set_body(b"{}".to_vec(), Some("application/json")).unwrap();
    let changes = message.changes();
    assert_eq!((changes.method, changes.path), (Some("POST"), Some("/shop/b/c?x=a%20b&z=3")));
    assert_eq!(changes.body, Some(&b"{}"[..]));
    assert_eq!(changes.headers, [("content-type", vec![&b"application/json"[..]]), ("x-a", vec![&b"2"[..]])]);
}

#[test]
fn what_the_gateway_says_is_for_nobody_else_to_say() {
    let reserved: [Box<str>; 2] = ["x-user".into(), "x-api-key".into()];
    let terms = Terms { reserved: &reserved, ..OF_REQUEST };
    for name in ["x-user", "X_User", "x_api-key"] {
        assert_eq!(refused(terms, |editor| editor.set_header(name, b"root")), EditorError::Header(EditError::Own));
        assert_eq!(refused(terms, |editor| editor.remove_header(name)), EditorError::Header(EditError::Own));
    }
    let terms = Terms { reserved_parameters: &reserved, ..terms };
    assert_eq!(refused(terms, |editor| editor.set_query("x-user", "root")), EditorError::Credential);
    assert_eq!(refused(terms, |editor| editor.add_query("x-api-key", "1")), EditorError::Credential);
    assert_eq!(refused(terms, |editor| editor.remove_query("x-user")), EditorError::Credential);
    let mut response = Message::response(200, Headers::default(), None);
    let of_response = Terms { direction: Direction::Response, ..terms };
    Editor { message: &mut response, terms: of_response }.set_header("x-user", b"1").unwrap();
}
