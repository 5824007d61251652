//! What `src/sync.rs` gives out in a model: loom's parts, made to promise what the real ones
//! promise and no more.
//!
//! Values lie in std's containers: loom runs one thread at a time and changes threads only at its
//! own operations, so what stands after one of them, up to the next, is one step with it.

use std::time::Duration;

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::Ordering;

    /// Loom knows that a `SeqCst` load may not miss a `SeqCst` store, but takes the first value for
    /// a weaker one, and orders plain stores of different threads not at all. So the first value is
    /// stored once more, and a `SeqCst` store is a swap, which is how x86 does it.
    macro_rules! atomics {
        ($($name:ident $(<$generic:ident>)?: $type:ty;)*) => {$(
            #[derive(Debug)]
            pub(crate) struct $name $(<$generic>)? (loom::sync::atomic::$name $(<$generic>)?);

            #[allow(dead_code)]
            impl $(<$generic>)? $name $(<$generic>)? {
                #[track_caller]
                pub(crate) fn new(value: $type) -> Self {
                    let this = Self(loom::sync::atomic::$name::new(value));
                    this.0.store(value, Ordering::SeqCst);
                    this
                }

                #[track_caller]
                pub(crate) fn load(&self, order: Ordering) -> $type {
                    self.0.load(order)
                }

                #[track_caller]
                pub(crate) fn store(&self, value: $type, order: Ordering) {
                    match order {
                        Ordering::SeqCst => drop(self.0.swap(value, order)),
                        _ => self.0.store(value, order),
                    }
                }

                #[track_caller]
                pub(crate) fn swap(&self, value: $type, order: Ordering) -> $type {
                    self.0.swap(value, order)
                }

                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $type,
                    new: $type,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$type, $type> {
                    self.0.compare_exchange(current, new, success, failure)
                }

                #[track_caller]
                pub(crate) fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    update: impl FnMut($type) -> Option<$type>,
                ) -> Result<$type, $type> {
                    self.0.fetch_update(success, failure, update)
                }
            }
        )*};
    }

    atomics! {
        AtomicBool: bool;
        AtomicU8: u8;
        AtomicI32: i32;
        AtomicU32: u32;
        AtomicU64: u64;
        AtomicUsize: usize;
        AtomicPtr<T>: *mut T;
    }

    macro_rules! numbers {
        ($($name:ident: $type:ty;)*) => {$(
            #[allow(dead_code)]
            impl $name {
                #[track_caller]
                pub(crate) fn fetch_add(&self, value: $type, order: Ordering) -> $type {
                    self.0.fetch_add(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_max(&self, value: $type, order: Ordering) -> $type {
                    self.0.fetch_max(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_sub(&self, value: $type, order: Ordering) -> $type {
                    self.0.fetch_sub(value, order)
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(0)
                }
            }
        )*};
    }

    numbers! {
        AtomicU64: u64;
        AtomicUsize: usize;
    }
}

pub(crate) mod thread {
    pub(crate) use loom::thread::{Builder, JoinHandle, Thread, current, spawn};

    use super::Duration;

    /// Only an `unpark` ends it.
    pub(crate) fn park_timeout(_at_most: Duration) {
        loom::thread::park();
    }

    /// Whoever sleeps waits for somebody who does not know: sleeping lets the others go on.
    pub(crate) fn sleep(_for: Duration) {
        loom::thread::yield_now();
    }
}

/// A bounded queue with the orderings of crossbeam's (`flavors/array.rs`): a sender takes its place
/// by an exchange of the tail, a receiver by one of the head, both `SeqCst`; `len`, `is_empty` and
/// a receiver that finds nothing read them `SeqCst`; a record's way from its sender to its receiver
/// is release and acquire; nothing else orders anything. That a place is taken and then filled is
/// one step here: in crossbeam whoever comes between waits for it.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex, MutexGuard};

    use loom::thread::{self, Thread};

    use super::Duration;
    use super::atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    };

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let inside = Inside { values: VecDeque::new(), is_closed: false, waits: None };
        let (head, tail) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let channel = Arc::new(Channel { capacity, head, tail, inside: Mutex::new(inside) });
        (Sender(channel.clone()), Receiver(channel))
    }

    struct Channel<T> {
        capacity: usize,
        /// How many values ever were taken out, and put in.
        head: AtomicUsize,
        tail: AtomicUsize,
        inside: Mutex<Inside<T>>,
    }

    struct Inside<T> {
        values: VecDeque<T>,
        is_closed: bool,
        /// Who sleeps in `recv_timeout`.
        waits: Option<Thread>,
    }

    impl<T> Channel<T> {
        fn inside(&self) -> MutexGuard<'_, Inside<T>> {
            self.inside.lock().unwrap()
        }

        fn len(&self) -> usize {
            let tail = self.tail.load(SeqCst);
            tail.saturating_sub(self.head.load(SeqCst))
        }
    }

    pub(crate) struct Sender<T>(Arc<Channel<T>>);

    /// The value comes back.
    #[derive(Debug)]
    pub(crate) struct Full<T>(T);

    impl<T> Full<T> {
        pub(crate) fn into_inner(self) -> T {
            self.0
        }
    }

    #[derive(Debug)]
    #[allow(dead_code)] // nobody looks what kind it was
    pub(crate) enum SendTimeoutError<T> {
        Timeout(T),
        Disconnected(T),
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, value: T) -> Result<(), Full<T>> {
            let channel = &*self.0;
            loop {
                let tail = channel.tail.load(Relaxed);
                let is_full = |head| tail.saturating_sub(head) >= channel.capacity;
                if is_full(channel.head.load(Relaxed)) && is_full(channel.head.load(SeqCst)) {
                    return Err(Full(value));
                }
                if channel.tail.compare_exchange(tail, tail + 1, SeqCst, Relaxed).is_ok() {
                    let mut inside = channel.inside();
                    inside.values.push_back(value);
                    if let Some(waits) = inside.waits.take() {
                        waits.unpark();
                    }
                    return Ok(());
                }
            }
        }

        /// Its timeout does fire, as soon as others had their turn: a blocked caller relies on it
        /// to look about.
        pub(crate) fn send_timeout(&self, value: T, _at_most: Duration) -> Result<(), SendTimeoutError<T>> {
            self.try_send(value).map_err(|full| {
                thread::yield_now();
                SendTimeoutError::Timeout(full.into_inner())
            })
        }

        pub(crate) fn send(&self, value: T) -> Result<(), Full<T>> {
            self.try_send(value)
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                return; // The model has failed, and loom is no more to be asked.
            }
            // In crossbeam a mark in the tail.
            self.0.tail.fetch_add(0, SeqCst);
            let mut inside = self.0.inside();
            inside.is_closed = true;
            if let Some(waits) = inside.waits.take() {
                waits.unpark();
            }
        }
    }

    pub(crate) struct Receiver<T>(Arc<Channel<T>>);

    /// There was nothing.
    #[derive(Debug)]
    pub(crate) struct Empty;

    #[derive(Debug)]
    pub(crate) enum RecvTimeoutError {
        Timeout,
        Disconnected,
    }

    impl<T> Receiver<T> {
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            let head = self.0.head.load(SeqCst);
            self.0.tail.load(SeqCst) == head
        }

        pub(crate) fn try_recv(&self) -> Result<T, Empty> {
            let channel = &*self.0;
            loop {
                let head = channel.head.load(Relaxed);
                if channel.tail.load(SeqCst) <= head {
                    return Err(Empty);
                }
                if channel.head.compare_exchange(head, head + 1, SeqCst, Relaxed).is_ok() {
                    return channel.inside().values.pop_front().ok_or(Empty);
                }
            }
        }

        /// Zero does not wait; anything else waits for ever.
        pub(crate) fn recv_timeout(&self, at_most: Duration) -> Result<T, RecvTimeoutError> {
            loop {
                if let Ok(value) = self.try_recv() {
                    return Ok(value);
                }
                // From here to the park it is one step.
                let mut inside = self.0.inside();
                match (inside.values.is_empty(), inside.is_closed, at_most.is_zero()) {
                    (false, ..) => continue,
                    (true, true, _) => return Err(RecvTimeoutError::Disconnected),
                    (true, false, true) => return Err(RecvTimeoutError::Timeout),
                    (true, false, false) => inside.waits = Some(thread::current()),
                }
                drop(inside);
                thread::park();
            }
        }
    }
}

/// Pointers that are exchanged, with acquire and release, which is less than what arc-swap gives.
pub(crate) mod swap {
    use std::ops::Deref;
    use std::sync::{Arc, Mutex};

    use super::atomic::{
        AtomicUsize,
        Ordering::{AcqRel, Acquire, Release},
    };

    pub(crate) struct Guard<T>(T);

    impl<T> Deref for Guard<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// All that was ever stored, and which of them counts.
    pub(crate) struct ArcSwap<T> {
        current: AtomicUsize,
        values: Mutex<Vec<Arc<T>>>,
    }

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self { current: AtomicUsize::new(0), values: Mutex::new(vec![Arc::new(value)]) }
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.value(self.current.load(Acquire))
        }

        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            Guard(self.load_full())
        }

        pub(crate) fn compare_and_swap(&self, old: &Arc<T>, new: Arc<T>) -> Guard<Arc<T>> {
            let (old, new) = {
                let mut values = self.values.lock().unwrap();
                values.push(new);
                (values.iter().position(|value| Arc::ptr_eq(value, old)).unwrap(), values.len() - 1)
            };
            let before = self.current.compare_exchange(old, new, AcqRel, Acquire);
            Guard(self.value(before.unwrap_or_else(|other| other)))
        }

        fn value(&self, number: usize) -> Arc<T> {
            self.values.lock().unwrap()[number].clone()
        }
    }
}

/// A value that is set once; a thread that sees it sees all that came before it was set.
pub(crate) struct OnceLock<T> {
    is_set: atomic::AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self { is_set: atomic::AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.is_set.load(atomic::Ordering::Acquire).then(|| self.value.get()).flatten()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, atomic::Ordering::Release);
        Ok(())
    }
}

/// One for each run of the model.
macro_rules! process_wide {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;)*) => {
        $(loom::lazy_static! {
            $(#[$attribute])* static ref $name: $type = $value;
        })*
    };
}
pub(crate) use process_wide;

macro_rules! local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const $value:block;) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
    };
}
pub(crate) use local as thread_local;
