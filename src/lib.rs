//! A non-blocking, fire-and-forget backend for the [`log`] facade that survives a full disk.
//!
//! ```no_run
//! # fn main() -> Result<(), unfazed::InitError> {
//! unfazed::Builder::new().file("app.log").init()?;
//! log::info!("hello");
//! # Ok(())
//! # }
//! ```
//!
//! # What happens on a log call
//!
//! On the calling thread: the filter (a thread remembers what it says of each module, so the number of directives costs nothing),
//! then the gate (can any output take this level now?), then the message is formatted into a record on the stack, and the record
//! goes into a bounded queue. No lock, no allocation for a message that fits its slot (about 170 bytes together with its
//! key-values), no system call in the steady state; the first ERROR, or a half-full queue, after a pause may wake the writer once.
//!
//! On the writer's thread: records are laid out as lines and handed to each output, one write per batch.
//!
//! # Every way a record can be lost
//!
//! | what happened | the counter that tells |
//! |---|---|
//! | the queue was full ([`Overflow`]) | [`Dropped::queue_full`] |
//! | no room: the reserve, a full disk, a quota, a file size limit | [`Dropped::disk_full`] |
//! | any other error of an output | [`Dropped::io_error`] |
//! | a custom format or sink panicked, or the format gave an error | [`Dropped::panicked`] |
//! | logged after [`Handle::shutdown`] or while the process exits, or not written by the deadline | [`Dropped::shutdown`] |
//! | the process was killed while records were in the queue, or retained by a suspended file | none: wait with `log::logger().flush()` before such an end |
//!
//! Whenever nothing is under way, `accepted == written + dropped.total() + pending` ([`Stats`]). Each gap is told in the log itself, as
//! a WARN record with the target `unfazed`; losses that are no gap in one merged line, at most every 5 s. A message longer than
//! 64 KiB is cut and counted in [`Stats::truncated`]. What [`Builder::rate_limit`] keeps out, as the filter does, is not accepted;
//! it is counted in [`Stats::suppressed`] and told for each place.
//!
//! # Shutdown
//!
//! Nothing has to be held. "All" means every record whose log call had returned, written within [`Builder::shutdown_timeout`] or
//! counted.
//!
//! | how the process ends | what is kept |
//! |---|---|
//! | return from `main`, `std::process::exit`, a panic | all, by an exit hook (Unix) |
//! | a panic with `panic = "abort"` | all, before the abort |
//! | `fork` | the parent's queue is written by the parent; the child's first log call starts a writer of its own for files and consoles; a [`Sink`] of the program's own and [`Builder::on_event`] stay with the parent |
//! | `abort`, SIGKILL, `_exit` | what the writer had written: it looks every millisecond while records come, every 60 to 90 ms after a pause |
//!
//! [`Handle::flush`] and `log::logger().flush()` wait until what is pending is in the operating system's hands;
//! [`Handle::shutdown`] also ends the thread; dropping a [`Logger`] made by [`Builder::build`] does the same.
//!
//! # Low disk space
//!
//! Nothing is written that would leave less free space than [`LogFile::min_free_space`]. Below it, and at any error of the file
//! ([`Cause`]), the output is suspended: records are counted and dropped, without being formatted if no output can take or keep
//! them, and no byte is written. When the cause is gone it resumes within 2 s, with a line that names cause, times and losses.
//! An output is suspended and resumed at most once a second. [`Handle::state`], [`Builder::on_event`] and [`OutputStats`] tell.
//!
//! While it is suspended an output may still take ERROR records: a file keeps [`LogFile::error_reserve`] for them, 64 KiB on the disk. And it
//! retains the newest WARN and ERROR records in memory, [`LogFile::retain`], 64 KiB: they are `pending` meanwhile, and are written behind the
//! line that tells the gap, with their own times. Older ones, and what is still there when the program ends, are dropped and counted.
//!
//! # Rotation
//!
//! [`LogFile::rotation`] says when a file is put aside ([`Rotation`]: hourly to monthly, by size, on start; [`Handle::rotate`]: on request), and
//! [`LogFile::max_files`], [`LogFile::max_total_size`] and [`LogFile::max_age`] which archives go. The active file keeps its name; `app.log` is
//! archived as `app.2026-11-21T23-59-58-0000.log`, and such names sort by age. The new file has its first line before anything is renamed, nothing
//! is ever copied or cut, and while the output is suspended nothing is renamed or deleted: so a full disk cannot cost an archive, unless
//! [`WhenLow::DeleteOldest`] was chosen. A file that somebody else renames, deletes or cuts short is followed; logrotate works in both its modes
//! ([`Handle::reopen`] for its `postrotate`).
//!
//! # Formats
//!
//! [`Format`]: text for people (the default), logfmt, and JSON lines by five maps of the fields: the crate's own, OpenTelemetry, Elastic
//! Common Schema, GELF and Google Cloud. Or a closure of the program's. In text and logfmt control characters are escaped, so that no
//! message can forge a line; key-values of [`log::kv`] reach every format, in JSON with their types.
//!
//! # What it does not do
//!
//! No network, no storing of records while an output is suspended, beyond what [`LogFile::retain`] says. One thread serves all outputs: a write
//! that hangs in the kernel (a hard NFS mount) stops the others too, though no caller.
//!
//! # Features
//!
//! - `json` (default): [`Format::json`], `otel`, `ecs`, `gelf` and `google_cloud`.
//! - `regex`: what stands behind the `/` of a filter is a regular expression instead of a substring.
//! - `gzip`: `LogFile::compress`.
//! - `serde`: `Config`, the builder's options from a file.
//!
//! # Minimum supported Rust version
//!
//! 1.95.
#![warn(missing_docs)]
#![doc(test(attr(deny(unused_must_use))))]
#![cfg_attr(fuzzing, allow(dead_code))] // a property needs only a part of what the tests share

mod builder;
#[cfg(feature = "serde")]
mod config;
mod handle;

mod clock;
mod front;
mod record;

mod queue;

mod writer;

mod format;
mod sink;

mod disk;
mod os;
mod sync;

mod error;
mod event;
mod stats;

pub use builder::Builder;
#[cfg(feature = "serde")]
pub use config::Config;
pub use error::{FilterError, FlushError, InitError};
pub use event::{Cause, Event, State};
pub use format::{Format, LineBuf};
pub use front::logger::Logger;
pub use handle::Handle;
pub use queue::Overflow;
pub use record::{KeyValues, Record, Value};
pub use sink::console::{Color, Console};
pub use sink::log_file::{Fsync, LogFile, WhenLow};
pub use sink::rotation::Rotation;
pub use sink::{Batch, Command, Health, Line, News, Now, Sink, WriteError};
pub use stats::{Dropped, OutputStats, Stats};

/// 1024 bytes.
pub const KIB: u64 = 1024;
/// 1024 KiB.
pub const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub const GIB: u64 = 1024 * MIB;

/// The README's code, compiled and run with the documentation's tests.
#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

#[cfg(test)]
#[path = "../tests/stepped/mod.rs"]
mod stepped;

#[cfg(all(fuzzing, not(test)))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
#[path = "../tests/stepped/fuzzed.rs"]
mod stepped;

#[cfg(any(test, fuzzing))]
#[path = "../tests/formats/mod.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
mod formats;

/// Not part of the public API: for `tests/fuzz`.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../tests/properties/mod.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
pub mod properties;

#[cfg(all(loom, test))]
#[path = "../tests/models/mod.rs"]
mod models;
