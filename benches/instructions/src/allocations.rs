//! How often a cached decision allocates: the engine as good as never, the service as often as its messages make it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::work::{self, Scenario};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)] // An allocator cannot be written without; it only counts and passes on.
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of `work`, on this thread.
pub fn of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.with(Cell::get);
    let done = work();
    (done, ALLOCATIONS.with(Cell::get) - before)
}

#[test]
fn decisions_allocate_as_little_as_they_did() {
    const DECISIONS: u32 = 100;
    for scenario in &Scenario::ALL {
        let Scenario { name, allocations, .. } = scenario;
        let measured = work::run(scenario, DECISIONS).unwrap();
        let each = measured.div_ceil(u64::from(DECISIONS));
        println!("{name}: {each}");
        assert!(each <= *allocations, "{name}: {each} allocations, and {allocations} are expected");
    }
}
