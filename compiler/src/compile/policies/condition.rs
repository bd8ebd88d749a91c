//! `when`: the requests that are meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use microgw_expressions::Expression;
use microgw_proto::limits::v1::{AddressRange, Addresses, Condition, Conditions, Names, Text, condition::Kind, text};

use crate::compile::Report;
use crate::definition::{boolean, list, object, scalar, suggest, text as text_of};
use crate::diagnostic::Code;
use crate::limits::{MAX_CONDITIONS, MAX_DEPTH, MAX_RANGES, MAX_TEXT, address_bytes, condition_is_sound};
use crate::names;
use crate::source::{Content, Value};

const KEYS: &[&str] = &["header", "query", "claim", "ip", "version", "expression", "not", "any"];
const TESTS: &[&str] = &["equals", "matches", "present"];

/// All that `when` asks for. What is wrong in it has been reported.
pub(super) fn when(report: &mut Report, at: Value<'_>) -> Option<Condition> {
    let mut reader = Reader { report, failed: false };
    let condition = reader.all(at, 0).filter(|_| !reader.failed)?;
    if !condition_is_sound(&condition) {
        // All that can still be wrong: what is inside what is checked one by one.
        bad(report, at, format!("`when` has more than {MAX_CONDITIONS} conditions, or they are nested too deeply"));
        return None;
    }
    Some(condition)
}

struct Reader<'a> {
    report: &'a mut Report,
    failed: bool,
}

// === impl Reader ===

impl Reader<'_> {
    fn all(&mut self, at: Value<'_>, depth: usize) -> Option<Condition> {
        if depth >= MAX_DEPTH / 2 {
            return self.bad(at, "conditions are nested too deeply");
        }
        let object = self.or_fail(|report| object(report, "when", at))?;
        let mut conditions = Vec::new();
        for (key, value) in object.entries() {
            match key.text() {
                "header" => self.texts(key, value, Kind::Header, &mut conditions),
                "query" => self.texts(key, value, Kind::Query, &mut conditions),
                "claim" => self.texts(key, value, Kind::Claim, &mut conditions),
                "ip" => conditions.extend(self.addresses(value)),
                "version" => conditions.extend(self.versions(value)),
                "expression" => conditions.extend(self.expression(value)),
                "not" => conditions.extend(self.all(value, depth + 1).map(|not| of(Kind::Not(Box::new(not))))),
                "any" => conditions.extend(self.any(value, depth + 1)),
                word => {
                    let message = format!("`when` has no key `{word}`");
                    suggest(self.report, Code::BadCondition, key, message, word, KEYS.iter().copied());
                    self.failed = true;
                }
            }
        }
        if conditions.is_empty() && !self.failed {
            return self.bad(at, "it asks for nothing: every request would match");
        }
        Some(joined(conditions, Kind::All))
    }

    fn any(&mut self, at: Value<'_>, depth: usize) -> Option<Condition> {
        let items = self.or_fail(|report| list(report, "any", at))?;
        let conditions: Vec<Condition> = items.items().filter_map(|item| self.all(item, depth)).collect();
        if conditions.is_empty() && !self.failed {
            return self.bad(at, "`any` is empty: no request would match");
        }
        Some(joined(conditions, Kind::Any))
    }

    /// One test, or a list of those that must all hold.
    fn texts(&mut self, key: Value<'_>, at: Value<'_>, kind: fn(Text) -> Kind, into: &mut Vec<Condition>) {
        match at.content() {
            Content::List => {
                let before = into.len();
                into.extend(at.items().filter_map(|item| self.text(key, item, kind)));
                if into.len() == before && !self.failed {
                    self.bad::<()>(at, format!("`{}` is empty", key.text()));
                }
            }
            _ => into.extend(self.text(key, at, kind)),
        }
    }

    fn text(&mut self, key: Value<'_>, at: Value<'_>, kind: fn(Text) -> Kind) -> Option<Condition> {
        let what = key.text();
        let at = self.or_fail(|report| object(report, what, at))?;
        for (key, _) in at.entries().filter(|(key, _)| key.text() != "name" && !TESTS.contains(&key.text())) {
            let known = ["name"].into_iter().chain(TESTS.iter().copied());
            let message = format!("`{what}` has no key `{}`", key.text());
            suggest(self.report, Code::BadCondition, key, message, key.text(), known);
            self.failed = true;
        }
        let Some(name_at) = at.get("name") else { return self.bad(at, format!("`{what}` has no `name`")) };
        let name = self.or_fail(|report| scalar(report, "name", name_at))?;
        let name = if what == "header" {
            match names::header(name) {
                Ok(name) => name,
                Err(error) => return self.bad(name_at, format!("`{name}` is no header's name: {error}")),
            }
        } else if name.is_empty() || name.len() > MAX_TEXT || name.chars().any(char::is_control) {
            return self
                .bad(name_at, format!("`{what}` has a `name` that is empty, too long or has control characters"));
        } else {
            name.to_owned()
        };
        let mut tests = at.entries().filter(|(key, _)| TESTS.contains(&key.text()));
        let (Some((test, value)), None) = (tests.next(), tests.next()) else {
            return self.bad(at, format!("`{what}` needs one of `equals`, `matches` and `present`"));
        };
        let value = match test.text() {
            "equals" => text::Value::Equals(self.short(test, value)?.to_owned()),
            "matches" => {
                let pattern = self.short(test, value)?;
                if let Err(error) = microgw_expressions::pattern(pattern) {
                    return self.bad(value, format!("`{pattern}` cannot be used: {error}"));
                }
                text::Value::Matches(pattern.to_owned())
            }
            _ => {
                let there = self.or_fail(|report| boolean(report, "present", value))?;
                let present = of(kind(Text { name, value: Some(text::Value::Present(true)) }));
                return Some(if there { present } else { of(Kind::Not(Box::new(present))) });
            }
        };
        Some(of(kind(Text { name, value: Some(value) })))
    }

    fn addresses(&mut self, at: Value<'_>) -> Option<Condition> {
        let items: Vec<Value<'_>> = if matches!(at.content(), Content::List) { at.items().collect() } else { vec![at] };
        if items.is_empty() {
            return self.bad(at, "`ip` is empty: no request would match");
        }
        if items.len() > MAX_RANGES {
            return self.bad(at, format!("`ip` has more than {MAX_RANGES} entries"));
        }
        let ranges: Vec<AddressRange> = items.into_iter().filter_map(|item| self.range(item)).collect();
        Some(of(Kind::Addresses(Addresses { ranges })))
    }

    fn range(&mut self, at: Value<'_>) -> Option<AddressRange> {
        let written = self.or_fail(|report| scalar(report, "ip", at))?;
        match range(written) {
            Ok((first, last)) => Some(AddressRange { first: address_bytes(first), last: address_bytes(last) }),
            Err(why) => {
                self.bad(at, format!("`{written}` is no address, no `address/length` and no `first-last`: {why}"))
            }
        }
    }

    fn versions(&mut self, at: Value<'_>) -> Option<Condition> {
        let items: Vec<Value<'_>> = if matches!(at.content(), Content::List) { at.items().collect() } else { vec![at] };
        let mut names = Vec::new();
        for item in items {
            names.push(self.or_fail(|report| scalar(report, "version", item))?.to_owned());
        }
        if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
            return self.bad(at, "`version` is empty: no request would match");
        }
        Some(of(Kind::Versions(Names { names })))
    }

    fn expression(&mut self, at: Value<'_>) -> Option<Condition> {
        let expression = self.or_fail(|report| text_of(report, "expression", at))?;
        if let Err(error) = Expression::condition(expression) {
            return self.bad(at, format!("the expression `{expression}` cannot be used: {error}"));
        }
        Some(of(Kind::Expression(expression.to_owned())))
    }

    fn short<'d>(&mut self, key: Value<'_>, at: Value<'d>) -> Option<&'d str> {
        let value = self.or_fail(|report| scalar(report, key.text(), at))?;
        if value.len() > MAX_TEXT {
            return self.bad(at, format!("`{}` is longer than {MAX_TEXT} bytes", key.text()));
        }
        Some(value)
    }

    fn or_fail<T>(&mut self, read: impl FnOnce(&mut Report) -> Option<T>) -> Option<T> {
        let read = read(self.report);
        self.failed |= read.is_none();
        read
    }

    fn bad<T>(&mut self, at: Value<'_>, message: impl Into<String>) -> Option<T> {
        self.failed = true;
        bad(self.report, at, message);
        None
    }
}

fn bad(report: &mut Report, at: Value<'_>, message: impl Into<String>) {
    report.say(Code::BadCondition, at, message);
}

fn of(kind: Kind) -> Condition {
    Condition { kind: Some(kind) }
}

/// One condition is itself.
fn joined(mut conditions: Vec<Condition>, kind: fn(Conditions) -> Kind) -> Condition {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        last => {
            conditions.extend(last);
            of(kind(Conditions { conditions }))
        }
    }
}

/// The first and the last address that are meant.
fn range(written: &str) -> Result<(IpAddr, IpAddr), &'static str> {
    let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| "it does not read as addresses");
    if let Some((network, length)) = written.split_once('/') {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse::<u32>().ok().filter(|_| digits).ok_or("its length is no number")?;
        let (first, last) = match address(network)? {
            IpAddr::V4(address) => {
                let host = 32u32.checked_sub(length).ok_or("an IPv4 address has 32 bits")?;
                let mask = u32::MAX.checked_shl(host).unwrap_or(0);
                let last = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() | !mask));
                (IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)), last)
            }
            IpAddr::V6(address) => {
                let host = 128u32.checked_sub(length).ok_or("an IPv6 address has 128 bits")?;
                let mask = u128::MAX.checked_shl(host).unwrap_or(0);
                let last = IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() | !mask));
                (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), last)
            }
        };
        return if first == address(network)? { in_order(first, last) } else { Err("it has bits beyond its length") };
    }
    match written.split_once('-') {
        Some((first, last)) => in_order(address(first)?, address(last)?),
        None => address(written).and_then(|only| in_order(only, only)),
    }
}

/// An address of IPv4 is the same however it is written.
fn in_order(first: IpAddr, last: IpAddr) -> Result<(IpAddr, IpAddr), &'static str> {
    let (first, last) = (first.to_canonical(), last.to_canonical());
    if first.is_ipv4() != last.is_ipv4() {
        return Err("its ends are of two kinds");
    }
    if first <= last { Ok((first, last)) } else { Err("its end comes before its beginning") }
}
