//! Questions as bytes. Nobody can make up a credential: none of them may be allowed.

use std::sync::LazyLock;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use microgw_proto::rules::v1 as proto;
use microgw_proto::rules::v1::api_key::Location;
use prost::Message as _;

use crate::check::{ask, status};
use crate::credentials::{book, key_in, oauth2};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "check_bytes",
    run,
    reaches: &["no message", "nothing known", "refused"],
    dictionary: &[
        "rule",
        "00000000000000000000000000000001",
        "authorization",
        "Bearer ",
        "x-key",
        "?k=",
        "\u{a}",
        "\u{12}",
        "\u{2a}",
        "\u{52}",
        "\u{7f}",
        "\u{80}\u{1}",
    ],
    mutations: 3000,
};

static BOOK: LazyLock<proto::RuleBook> = LazyLock::new(|| {
    book(vec![vec![oauth2(&[], false)], vec![key_in(Location::Header, "x-key")], vec![key_in(Location::Query, "k")]])
});

pub fn run(data: &[u8]) -> Reached {
    let Ok(question) = CheckRequest::decode(data) else { return "no message" };
    match status(&ask(&BOOK, &question)) {
        401 | 403 => "refused",
        500 => "nothing known",
        other => panic!("{other} for what nobody signed"),
    }
}
