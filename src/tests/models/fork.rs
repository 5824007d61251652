//! What threads of a forked child put in place of what they did not inherit.

use std::ptr;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::os::{CloseInChild, PerProcess, in_child};
use crate::sync::atomic::AtomicI32;

use super::check;

/// A value that is written before it is put in: loom fails the model if somebody sees it and not
/// what is in it.
struct Made(UnsafeCell<i32>);

// SAFETY: written only by its maker, before anybody else has it; loom fails the model if that is
// not so.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

impl Made {
    fn by(maker: i32) -> Self {
        let made = Self(UnsafeCell::new(-1));
        // SAFETY: nobody else has it.
        made.0.with_mut(|place| unsafe { *place = maker });
        made
    }

    fn maker(&self) -> i32 {
        // SAFETY: nobody writes any more.
        self.0.with(|place| unsafe { *place })
    }
}

#[test]
fn loom_of_several_threads_in_a_child_one_puts_its_value_and_all_get_it() {
    check(5, || {
        let inherited = Arc::new(Made::by(0));
        let per_process = Arc::new(PerProcess::new(inherited.clone()));
        in_child();
        assert!(per_process.get().is_none());
        let threads = [1, 2].map(|number| {
            let per_process = per_process.clone();
            thread::spawn(move || {
                let mine = Arc::new(Made::by(number));
                let put = per_process.put(&mine);
                let got = per_process.get().unwrap().maker();
                assert!(!put || got == number, "what was put in stays in");
                (put, got)
            })
        });
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        assert!(one.0 != other.0, "one of the two puts in its own");
        assert_eq!(one.1, other.1);
        drop(per_process);
        assert_eq!(Arc::strong_count(&inherited), 2, "the parent's stays as it was, leaked");
    });
}

#[test]
fn loom_two_descriptors_never_share_a_cell() {
    check(5, || {
        // One is free for both of them to find.
        drop(CloseInChild::new(1_000_000, false));
        let threads = [1_000_000, 1_000_001].map(|fd| {
            thread::spawn(move || {
                let cell = CloseInChild::new(fd, false);
                let place: *const AtomicI32 = cell.cell;
                (cell, place as usize)
            })
        });
        let [(one, first), (other, second)] = threads.map(|thread| thread.join().unwrap());
        assert_ne!(first, second);
        assert!(!ptr::eq(one.cell, other.cell));
    });
}
