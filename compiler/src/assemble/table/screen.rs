//! What every request must pass before a route is looked for: a path in the one form that is matched, no longer than is allowed,
//! and one host. One expression each, of which none depends on an API.

use std::fmt::Write as _;

use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::MatchType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherList, MatcherType, OnMatch};
use microgw_faults::Fault;
use prost::Message as _;

use super::{ROUTE_LIST_ROUTES, header_input, path_input, routes, single};
use crate::assemble::routes::{anything, refuse};
use crate::assemble::wire::append;
use crate::path::normal::ADMITTED;

const ON_NO_MATCH: u32 = 3;
const ON_MATCH_MATCHER: u32 = 1;

/// A name or an address, with a port or without. Names may end in a dot.
const HOST: &str = r"(?:[0-9A-Za-z_][-.0-9A-Z_a-z]*|\[[.0-:A-Fa-f]+\])(?::[0-9]{0,5})?";
/// RE2 repeats no more often at once.
const REPEATED: u32 = 1000;

/// A matcher, encoded, that refuses what it must, and leaves the rest to `table`, encoded as well: it holds hash maps.
pub fn before(table: &[u8], longest_uri: Option<u32>) -> Vec<u8> {
    let mut matchers = vec![unless(single(path_input(), ADMITTED.to_owned()), Fault::BadPath)];
    if let Some(longest) = longest_uri {
        let long = MatchType::SinglePredicate(single(path_input(), longer_than(longest)));
        matchers.push(refused(long, Fault::UriTooLong));
    }
    matchers.push(unless(single(header_input(":authority"), HOST.to_owned()), Fault::BadHost));
    let screen =
        Matcher { matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })), ..Default::default() };
    let mut encoded = screen.encode_to_vec();
    let mut rest = Vec::with_capacity(table.len() + 8);
    append(&mut rest, ON_MATCH_MATCHER, table);
    append(&mut encoded, ON_NO_MATCH, &rest);
    encoded
}

fn unless(fits: super::SinglePredicate, fault: Fault) -> FieldMatcher {
    let fits = Predicate { match_type: Some(MatchType::SinglePredicate(fits)) };
    refused(MatchType::NotMatcher(Box::new(fits)), fault)
}

fn refused(condition: MatchType, fault: Fault) -> FieldMatcher {
    let mut list = Vec::new();
    append(&mut list, ROUTE_LIST_ROUTES, &refuse(anything(), fault, &[]).encode_to_vec());
    FieldMatcher {
        predicate: Some(Predicate { match_type: Some(condition) }),
        on_match: Some(OnMatch { on_match: Some(routes(list)), ..Default::default() }),
    }
}

/// More than so many characters, all of which are printable ASCII: others are refused before.
fn longer_than(longest: u32) -> String {
    let mut regex = String::new();
    let mut left = longest.saturating_add(1);
    while left > 0 {
        let now = left.min(REPEATED);
        // Writing to a string does not fail.
        let _ = write!(regex, "[!-~]{{{now}}}");
        left -= now;
    }
    regex + "[!-~]*"
}
