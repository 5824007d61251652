//! Lets a test act as somebody else between two steps of the disk: before each name is looked at,
//! opened or changed. In every other build there is nothing here.

#[cfg(all(test, target_os = "linux", not(loom), feature = "gzip"))]
pub(crate) use hand::inherit;
#[cfg(all(test, target_os = "linux", not(loom)))]
pub(crate) use hand::set;

/// Called before each step that goes by a name.
#[inline]
pub(super) fn steps() {
    #[cfg(all(test, target_os = "linux", not(loom)))]
    hand::act();
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod hand {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex, PoisonError};

    pub(crate) type Hand = Arc<Mutex<dyn FnMut() + Send>>;

    thread_local! {
        static HAND: RefCell<Option<Hand>> = const { RefCell::new(None) };
    }

    /// From now on, or no longer, somebody acts between the steps of this thread.
    pub(crate) fn set(hand: Option<Hand>) {
        HAND.set(hand);
    }

    pub(super) fn act() {
        let hand = HAND.with_borrow(Clone::clone);
        if let Some(hand) = hand {
            hand.lock().unwrap_or_else(PoisonError::into_inner)();
        }
    }

    /// The hand of a thread, for one that it starts.
    #[cfg(feature = "gzip")]
    pub(crate) struct Inherited(Option<Hand>);

    #[cfg(feature = "gzip")]
    pub(crate) fn inherit() -> Inherited {
        Inherited(HAND.with_borrow(Clone::clone))
    }

    #[cfg(feature = "gzip")]
    impl Inherited {
        /// Somebody acts between the steps of this thread, too.
        pub(crate) fn set(self) {
            set(self.0);
        }
    }
}
