//! What a request will owe to limits of bytes, once it is known what its bodies took: told to Envoy beside the decision, which
//! gives it back with what it has counted. Nothing has to be remembered meanwhile, and a publish or a restart in between loses
//! nothing.
//!
//! ```text
//! 1f ; 0123456789abcdef0123456789abcdef:fedcba9876543210fedcba9876543210:CAISFgoE... ; ...
//! request, then for each limit its counter, the one for want of room, and itself, a `Debt` in base64
//! ```

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use microgw_proto::limits::v1 as proto;
use prost::Message as _;

use super::{CounterKey, Level, Limit, OwnedCharge, Unit};
use crate::exchange::Balance;

/// Limits of bytes that one request can draw on: more are nobody's.
const MAX_DEBTS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Unlike any other of the process.
    pub request: u64,
    /// Of no cost yet.
    pub charges: Vec<OwnedCharge>,
}

// === impl Owed ===

impl Owed {
    /// `None`: nothing limits its bytes.
    pub fn write(request: u64, balances: &[Balance<'_>]) -> Option<String> {
        let mut bytes = balances.iter().filter(|balance| matches!(balance.limit.unit, Unit::Bytes(_))).peekable();
        bytes.peek()?;
        let mut text = String::with_capacity(256);
        // Writing to a string does not fail.
        let _ = write!(text, "{request:x}");
        for balance in bytes {
            let _ = write!(text, ";{}:{}:{}", balance.key, balance.limit.overflow, balance.limit.told.debt());
        }
        Some(text)
    }

    /// `None`: nobody of ours wrote it.
    pub fn read(text: &str) -> Option<Owed> {
        let mut parts = text.split(';');
        let request = u64::from_str_radix(parts.next()?, 16).ok()?;
        let charges = parts.take(MAX_DEBTS).map(read_charge).collect::<Option<Vec<_>>>()?;
        Some(Owed { request, charges })
    }
}

fn read_charge(text: &str) -> Option<OwnedCharge> {
    let (key, text) = text.split_once(':')?;
    let (overflow, debt) = text.split_once(':')?;
    let read = |key| Some(CounterKey(u128::from_str_radix(key, 16).ok()?));
    let (key, overflow) = (read(key)?, read(overflow)?);
    let debt = proto::Debt::decode(&*STANDARD_NO_PAD.decode(debt).ok()?).ok()?;
    let level = *Level::ALL.get(usize::try_from(debt.level).ok()?)?;
    let policy = debt.policy?;
    let limit = Limit { overflow, ..Limit::load(&policy, level, policy.limits.first()?).ok()? };
    Some(OwnedCharge { key, limit: Arc::new(limit), cost: 0 })
}

/// A limit by itself, as [`read_charge`] takes it.
pub(super) fn debt(policy: &proto::Policy, limit: &proto::Limit, level: Level) -> Box<str> {
    let alone = proto::Policy { limits: vec![*limit], groups: Vec::new(), ..policy.clone() };
    let debt = proto::Debt { level: level as u32, policy: Some(alone) };
    STANDARD_NO_PAD.encode(debt.encode_to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Charge, Directions, Micros, Spending, Table, Usage};

    fn limit(unit: proto::limit::Unit) -> Limit {
        let window = proto::limit::Window::Fixed(proto::Fixed { seconds: 60 });
        let limit = proto::Limit {
            quota: 7,
            window: Some(window),
            unit: unit.into(),
            requests_only: true,
            ..Default::default()
        };
        let policy = proto::Policy { name: "a;b:c".into(), limits: vec![limit], ..Default::default() };
        let limit = Limit::load(&policy, Level::Application, &policy.limits[0]).unwrap();
        Limit { overflow: CounterKey(77), ..limit }
    }

    /// What has no room of its own is refused once the bytes of all who have none are used up, and those are counted there.
    #[test]
    fn bytes_for_which_there_is_no_room_count_where_requests_look() {
        let (table, now) = (Table::new(1, [1, 2]), Micros::of_seconds(1_700_000_000));
        let bytes = Arc::new(limit(proto::limit::Unit::Bytes));
        let draw = |key| table.spend(&[Charge { key: CounterKey(key), limit: &bytes, cost: 0 }], now);
        let is_granted = |spending: &Spending| matches!(spending, Spending::Granted(_));
        assert!(is_granted(&draw(1)) && is_granted(&draw(2)), "the second has no room");
        let balance = Balance { limit: &bytes, key: CounterKey(2), usage: Usage::default() };
        let owed = Owed::read(&Owed::write(1, &[balance]).unwrap()).unwrap();
        let charge = OwnedCharge { cost: 7, ..owed.charges[0].clone() };
        table.add(&charge.as_charge(), now);
        assert!(!is_granted(&draw(2)) && !is_granted(&draw(3)) && is_granted(&draw(1)));
    }

    #[test]
    fn what_is_owed_comes_back() {
        let (bytes, requests) = (limit(proto::limit::Unit::Bytes), limit(proto::limit::Unit::Requests));
        let balance = |limit, key| Balance { limit, key: CounterKey(key), usage: Usage::default() };
        assert_eq!(Owed::write(1, &[balance(&requests, 1)]), None);
        let text = Owed::write(0x1f, &[balance(&bytes, u128::MAX), balance(&requests, 1), balance(&bytes, 5)]).unwrap();
        let owed = Owed::read(&text).unwrap();
        assert_eq!((owed.request, owed.charges.len()), (0x1f, 2));
        for (charge, key) in owed.charges.iter().zip([u128::MAX, 5]) {
            assert_eq!((charge.key, &*charge.limit, charge.cost), (CounterKey(key), &bytes, 0));
        }
        assert_eq!(bytes.unit, Unit::Bytes(Directions { requests: true, responses: false }));
        for wrong in ["", "x", "1;", "1;5", "1;5:", "1;5:7", "1;5:7:!", "1;5:x:", &text[..text.len() - 3]] {
            assert_eq!(Owed::read(wrong), None, "{wrong}");
        }
        assert_eq!(Owed::read("1").unwrap().charges, []);
    }
}
