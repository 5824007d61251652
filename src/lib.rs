//! A non-blocking, fire-and-forget backend for the [`log`] facade.
#![warn(missing_docs)]
#![doc(test(attr(deny(unused_must_use))))]

mod builder;
mod disk;
mod error;
mod event;
mod format;
mod front;
mod handle;
mod os;
mod queue;
mod record;
mod sink;
mod stats;
mod writer;

pub use builder::Builder;
pub use error::{FilterError, FlushError, InitError};
pub use event::{Cause, Event, State};
pub use format::{Format, LineBuf};
pub use front::logger::Logger;
pub use handle::Handle;
pub use queue::Overflow;
pub use record::{KeyValues, Record, Value};
pub use sink::console::Console;
pub use sink::file::{Fsync, LogFile};
pub use sink::{Batch, Health, Line, Now, Sink, WriteError};
pub use stats::{Dropped, OutputStats, Stats};

/// 1024 bytes.
pub const KIB: u64 = 1024;
/// 1024 KiB.
pub const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub const GIB: u64 = 1024 * MIB;

#[cfg(test)]
#[path = "../tests/stepped/mod.rs"]
mod stepped;
