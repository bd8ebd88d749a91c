//! Header edits that need no identity: what may be edited, and how much.

use microgw_proto::traffic::v1::{Header, HeaderEdits};

pub(crate) use microgw_transforms::editable::{Direction, editable, value};

/// Of each kind, of one direction, at one place.
pub(crate) const MAX_EDITS: usize = 32;
/// An API says it, and an operation.
const PLACES: usize = 2;

pub(super) fn is_sound(direction: Direction, edits: &HeaderEdits) -> bool {
    let HeaderEdits { remove, set, add } = edits;
    let named = |name: &String| editable(direction, name).is_ok_and(|lower| lower == *name);
    let valued = |header: &Header| named(&header.name) && value(&header.value).is_ok();
    [remove.len(), set.len(), add.len()].into_iter().all(|count| count <= PLACES * MAX_EDITS)
        && remove.iter().all(named)
        && set.iter().chain(add).all(valued)
}

/// What `first` does and `then` does after it, as one.
pub(crate) fn after(mut first: HeaderEdits, then: HeaderEdits) -> HeaderEdits {
    let replaced =
        |name: &str| then.remove.iter().any(|other| other == name) || then.set.iter().any(|other| other.name == name);
    first.set.retain(|header| !replaced(&header.name));
    first.add.retain(|header| !replaced(&header.name));
    first.remove.extend(then.remove);
    first.remove.sort_unstable();
    first.remove.dedup();
    first.set.extend(then.set);
    first.set.sort_by(|a, b| a.name.cmp(&b.name));
    first.add.extend(then.add);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operation_says_comes_after_its_api() {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let api = HeaderEdits {
            remove: vec!["a".to_owned(), "b".to_owned()],
            set: vec![header("c", "1"), header("d", "1")],
            add: vec![header("e", "1"), header("f", "1")],
        };
        let own = HeaderEdits {
            remove: vec!["c".to_owned(), "e".to_owned()],
            set: vec![header("a", "2"), header("f", "2")],
            add: vec![header("d", "2"), header("b", "2")],
        };
        let both = after(api.clone(), own);
        assert_eq!(both.remove, ["a", "b", "c", "e"]);
        assert_eq!(both.set, [header("a", "2"), header("d", "1"), header("f", "2")]);
        assert_eq!(both.add, [header("d", "2"), header("b", "2")]);
        assert_eq!(after(HeaderEdits::default(), api.clone()), api);
        assert!(is_sound(Direction::Request, &both));
        // As many as may be said at both places.
        let many = |prefix: &str| HeaderEdits {
            set: (0..MAX_EDITS).map(|at| header(&format!("{prefix}-{at}"), "1")).collect(),
            ..HeaderEdits::default()
        };
        let mut all = after(many("a"), many("b"));
        assert!(is_sound(Direction::Request, &all));
        all.set.push(header("c", "1"));
        assert!(!is_sound(Direction::Request, &all));
    }
}
