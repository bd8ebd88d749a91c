//! Records of opaque API keys, as a file or Redis has them: what is read is bounded, and is written as it was read.

use microgw_extproc::opaque_keys::record::{MAX_RECORD, Record, State};

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "key_record",
    run,
    reaches: &["no text", "no record", "a record", "a revoked record"],
    dictionary: &[
        "\"id\":",
        "\"hash\":",
        "\"owner\":",
        "\"application\":",
        "\"tier\":",
        "\"type\":\"SANDBOX\"",
        "\"apis\":[]",
        "\"metadata\":{}",
        "\"created\":",
        "\"expires\":",
        "\"revoked\":",
        "\"replacedBy\":",
        "18446744073709551615",
        "null",
        "\\u0000",
    ],
    mutations: 3000,
};

pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    let Ok(record) = Record::parse(text) else { return "no record" };
    let written = record.to_json();
    assert!(written.len() <= MAX_RECORD && !written.contains('\n'), "one line, and no long one");
    assert_eq!(Record::parse(&written).as_ref(), Ok(&record));
    let revoked = record.state(0) == State::Revoked;
    assert_eq!(record.identity().is_none(), revoked, "a key that is not revoked is somebody's");
    let mut rotated = record.clone();
    if let Ok((successor, key)) = rotated.rotate(None, 60, 0) {
        assert!(!successor.to_json().contains(&key) && !rotated.to_json().contains(&key));
        assert!(rotated.expires.is_some_and(|end| end <= 60), "the old one ends");
    }
    if revoked { "a revoked record" } else { "a record" }
}
