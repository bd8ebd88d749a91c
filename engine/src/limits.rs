//! How much callers may use: which limits a request draws on, and by which counters.

mod calendar;
mod caller;
mod choice;
mod condition;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cost;
mod counter;
mod custom;
mod denial;
mod interest;
mod key;
pub mod lease;
mod limit;
mod loader;
mod owed;
mod plan;
mod request;
mod secret;
mod spending;
mod table;
mod tiers;
mod told;

pub use calendar::Calendar;
pub(crate) use caller::{Caller, Voucher, Vouchers};
pub(crate) use interest::Interest;
pub use key::CounterKey;
pub use limit::{Algorithm, Directions, Level, Limit, Mode, OnFailure, Sharing, Unit};
pub(crate) use loader::Loader;
pub use microgw_expressions::Expression;
pub use owed::Owed;
pub(crate) use plan::{Charges, Plan};
pub(crate) use request::Request;
pub use spending::{Charge, Draft, OwnedCharge, Spending, Usage, Usages};
pub use table::Table;
pub use told::Told;

/// Told of a tier that a credential or a store names and the project does not declare.
pub(crate) type UnknownTier<'a> = dyn FnMut(Level, &str) + 'a;

/// Microseconds since 1970, UTC; or a number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

// === impl Micros ===

impl Micros {
    pub const SECOND: Micros = Micros(1_000_000);
    /// In the year 2255: what is later is taken for it, so that no sum of times overflows.
    pub const LATEST: Micros = Micros(1 << 53);
    /// How long to wait for what never comes.
    pub const NEVER: Micros = Micros(u64::MAX);

    pub fn of_seconds(seconds: u64) -> Micros {
        Micros(seconds.saturating_mul(Micros::SECOND.0))
    }

    /// Rounded up: whoever waits that long has waited long enough.
    pub fn whole_seconds(self) -> u64 {
        self.0.div_ceil(Micros::SECOND.0)
    }

    #[must_use]
    pub fn saturating_sub(self, other: Micros) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }

    #[must_use]
    pub fn saturating_add(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0))
    }
}
