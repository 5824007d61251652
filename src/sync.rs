//! How threads communicate: atomics, parking, channels, pointers that are exchanged. Any thread. In
//! a model they are those of `tests/models/parts.rs`, with which loom tries the interleavings; in
//! every other build the names below and nothing else.

#[cfg(not(target_has_atomic = "64"))]
compile_error!("unfazed counts records in 64-bit atomics, which this target does not have");

/// With `--cfg loom` alone nothing changes: a program may model itself and log to this crate.
#[cfg(not(all(loom, test)))]
mod parts {
    pub(crate) use std::sync::{OnceLock, atomic};
    pub(crate) use std::{thread, thread_local};

    /// The bounded queue between the callers and the writer.
    pub(crate) mod channel {
        pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
    }

    pub(crate) mod swap {
        pub(crate) use arc_swap::{ArcSwap, Guard};
    }

    /// An atomic that the whole process shares.
    macro_rules! process_wide {
        ($($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;)*) => {
            $($(#[$attribute])* static $name: $type = $value;)*
        };
    }
    pub(crate) use process_wide;
}

#[cfg(all(loom, test))]
use crate::tests::models::parts;

pub(crate) use parts::{OnceLock, atomic, channel, process_wide, swap, thread, thread_local};
