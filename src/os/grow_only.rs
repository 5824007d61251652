//! A list that only grows, whose items are used again. Any thread, also in a signal handler and
//! between fork and exec: whoever goes through it takes no lock.

use std::{iter, ptr};

use crate::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};

/// All items that there ever were at the same time; none is freed or moved. Begins as a null
/// pointer.
pub(super) struct GrowOnly<T: 'static>(pub(super) AtomicPtr<Node<T>>);

pub(super) struct Node<T: 'static> {
    item: T,
    next: *mut Node<T>,
}

impl<T: Sync> GrowOnly<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static T> + use<T> {
        let mut next = self.0.load(Acquire);
        iter::from_fn(move || {
            // SAFETY: a node, once in the list, is never freed and never moved, and its `next`
            // never changes.
            let node = unsafe { next.as_ref() }?;
            next = node.next;
            Some(&node.item)
        })
    }

    /// Returns the first item that `take` has taken, or else adds one.
    pub(super) fn take(&self, take: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &'static T {
        if let Some(item) = self.iter().find(|item| take(item)) {
            return item;
        }
        let new = Box::into_raw(Box::new(Node { item: new(), next: ptr::null_mut() }));
        let mut head = self.0.load(Acquire);
        loop {
            // SAFETY: `new` is leaked and in no list yet: nobody else reads or writes it.
            unsafe { (*new).next = head };
            match self.0.compare_exchange(head, new, AcqRel, Acquire) {
                // SAFETY: leaked, hence there for ever; from here on only shared.
                Ok(_) => return unsafe { &(*new).item },
                Err(now) => head = now,
            }
        }
    }
}
