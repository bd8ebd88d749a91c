//! For logs that could come as often as somebody likes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::now;

/// Says yes at most once a second.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: AtomicU64,
}

impl Seldom {
    pub(crate) fn now(&self) -> bool {
        let now = now().0;
        self.last.swap(now, Ordering::Relaxed) != now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_one_kind_come_once_a_second() {
        let seldom = Seldom::default();
        assert!(seldom.now());
        let second = now();
        let again = seldom.now();
        assert!(!again || now() != second);
    }
}
