//! Memory for bodies that are collected: each is bounded by its rule, and this bounds all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::{Reading, Value, families};

/// Bytes, unless said otherwise.
pub const MOST: usize = 256 << 20;

#[derive(Debug)]
pub struct Room {
    most: usize,
    held: AtomicUsize,
}

/// Part of it, which whoever holds it gives back.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

/// Shows how much is held.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<Room>);

// === impl Room ===

impl Room {
    /// For so many bytes.
    pub fn new(most: usize) -> Arc<Room> {
        Arc::new(Room { most, held: AtomicUsize::new(0) })
    }

    /// Nothing yet.
    pub(crate) fn enter(self: &Arc<Room>) -> Held {
        Held { room: Arc::clone(self), bytes: 0 }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

// === impl Held ===

impl Held {
    /// So many bytes more. `false`: there is no room for them.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.room.most);
        let has_room = self.room.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if has_room {
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        Reading::of(&families::BODY_BYTES, Value::Integer(self.0.held() as u64)).encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_hold_no_more_than_there_is_room_for() {
        let room = Room::new(10);
        let (mut one, mut other) = (room.enter(), room.enter());
        assert!(one.grow(6) && other.grow(4) && room.held() == 10);
        assert!(!one.grow(1) && one.grow(0) && !other.grow(usize::MAX));
        drop(one);
        assert_eq!(room.held(), 4);
        assert!(other.grow(6) && !other.grow(1));
        drop(other);
        assert_eq!(room.held(), 0);
    }
}
