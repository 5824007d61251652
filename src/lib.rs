//! A non-blocking, fire-and-forget backend for the [`log`](https://docs.rs/log) facade that
//! survives a full disk.
//!
//! ```no_run
//! unfazed::Builder::new().file("app.log").filter_env("RUST_LOG").init()?;
//! log::info!("hello");
//! # Ok::<(), unfazed::InitError>(())
//! ```
//!
//! No guard has to be held and nothing flushed: an exit hook writes what is pending.
//!
//! | type | purpose |
//! |---|---|
//! | [`Builder`] | sets a logger up: its outputs, filter, queue |
//! | [`LogFile`], [`Console`], [`Sink`] | the outputs: a file, standard error or output, your own |
//! | [`Format`] | how a record becomes a line: text, logfmt, JSON, your own |
//! | [`Rotation`] | when a file is rotated |
//! | [`Overflow`] | what happens when the queue is full |
//! | [`Handle`] | what a program asks of its running logger: flush, statistics, filters |
//! | [`Stats`], [`State`], [`Event`] | how the logger is doing |
//!
//! Longer pages are in [`_docs`]:
//! [formats](_docs::formats), [filters](_docs::filters), [options](_docs::config),
//! [rotation](_docs::rotation), [losing records](_docs::losing_records),
//! [shutdown](_docs::shutdown), [full disk](_docs::full_disk), [files](_docs::files),
//! [file systems](_docs::file_systems), [platforms](_docs::platforms), [outputs](_docs::outputs),
//! [context](_docs::context), [testing](_docs::testing),
//! and [migrating](_docs::migrating) from other loggers.
//!
//! # In the first hour
//!
//! - A tight loop fills the queue; records that come while it is full are dropped, and the log says
//!   how many. [`Builder::overflow`] chooses another way: see
//!   [losing records](_docs::losing_records#a-tight-loop-fills-the-queue).
//! - A path that cannot be written is silent: the output waits for it. [`Builder::require_outputs`]
//!   makes it an error, and [`Builder::on_event`] reports it while the program runs: see
//!   [full disk](_docs::full_disk#a-path-that-cannot-be-written-is-silent).
//! - `RUST_LOG=my_crate=debug` leaves all other targets at [`Builder::level`]. With
//!   `RUST_LOG=off,my_crate=debug` they log nothing: see [filters](_docs::filters).
//! - SIGTERM and SIGINT end a program at once, and no exit hook runs: see
//!   [shutdown](_docs::shutdown#sigterm-and-sigint).
//!
//! # What happens on a log call
//!
//! On the calling thread: the filter, then the gate (can any output take this level now?), then the
//! message is formatted into a record on the stack, and the record goes into a bounded queue. The
//! call takes no lock, and allocates nothing for a message that fits its slot (176 bytes together
//! with its key-values). It makes no system call, with one exception: the first ERROR or half-full
//! queue in 20 ms may wake the writer. What does not fit goes into a buffer on the heap, for which
//! nobody waits either. Buffers of up to 512 bytes are used again: the process keeps about as many
//! as were in use at once, at most 512 of them (256 KiB), and with those no call allocates. The
//! first call of a thread may allocate, because what the thread remembers is set up then. An error
//! (`err:err`) and a structured value (`user:serde`) allocate what their own code allocates.
//!
//! The crate's own macros, [`info!`] and the others, take what the macros of `log` take and log the
//! same text. They store numbers, texts and a few other types by their bytes, and leave the message
//! to the writer. Both kinds may be mixed.
//!
//! On the writer's thread: records are laid out as lines and handed to each output, one write for
//! each batch. While records come, a line is written within
//! [48 ms](_docs::shutdown#how-soon-a-record-is-written).
//!
//! # What can be dropped
//!
//! A record can be dropped if the queue is full, if an output is suspended, if a custom format or
//! sink fails, or after the shutdown. Each way has its counter in [`Stats`], and each gap is
//! reported in the log itself, by a WARN record with the target `unfazed`. At every quiet moment
//! `accepted == written + dropped.total() + pending`. See [losing records](_docs::losing_records).
//!
//! # Shutdown
//!
//! Records survive the return from `main`, [`std::process::exit`], a panic and a `fork`. They do
//! not survive SIGKILL or a signal that nobody handles, and `abort` only with
//! [`Builder::flush_on_crash`]: see [shutdown](_docs::shutdown).
//!
//! # Low disk space
//!
//! Nothing is written that would leave less free space than [`LogFile::min_free_space`]. Below it,
//! and at any error of the file, the output is suspended: records are counted and dropped, the
//! newest WARN and ERROR are retained, and nothing is written but ERROR records into the blocks
//! that are reserved for them. It resumes within 2 s of the cause going away. See [full
//! disk](_docs::full_disk).
//!
//! # Rotation
//!
//! [`LogFile::rotation`] says when a file is rotated, [`LogFile::max_files`],
//! [`LogFile::max_total_size`] and [`LogFile::max_age`] which archives are deleted. See
//! [rotation](_docs::rotation).
//!
//! # What it does not do
//!
//! Over a network it sends syslog, and nothing else. It keeps no record in memory while an output
//! is suspended, beyond what [`LogFile::retain`] and the backlog of an output say. One thread
//! serves all outputs: a write that hangs in the kernel (a hard NFS mount) stops the others too,
//! but never a caller.
//!
//! # Features
//!
//! - `json` (default): the JSON formats.
//! - `regex`: the text after the `/` of a filter is a regular expression instead of a substring.
//! - `gzip`: `LogFile::compress`.
//! - `syslog`, `journald`: the outputs `Syslog` and `Journald`, on Unix and on Linux.
//! - `tracing`: a layer for `tracing`'s events, and a writer for the lines of its `fmt`.
//! - `serde`: `Config`, the options from a file.
//! - `kv_serde`, `kv_sval`: a value that is logged as `key:serde = value` or `key:sval = value`
//!   becomes JSON.
//!
//! # Minimum supported Rust version
//!
//! 1.85; the README says when it may rise.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]
#![doc(test(attr(deny(unused_must_use))))]
#![cfg_attr(fuzzing, allow(dead_code))] // a property needs only a part of what the tests share

pub mod _docs;

mod builder;
mod options;
mod handle;
mod log_files;
mod plan;
mod watch;

mod clock;
mod unix_time;
mod zone;
mod front;
mod deferred;
mod record;

mod queue;

mod writer;

pub mod format;
pub mod sink;

mod disk;
mod os;
mod sync;
mod wanted;

#[cfg(feature = "tracing")]
pub mod tracing;

mod error;
mod event;
mod prometheus;
mod stats;

pub use builder::Builder;
pub use error::{FilterError, FlushError, InitError, ParseOptionError};
pub use event::{Cause, Event, State};
#[doc(inline)]
pub use format::Format;
#[doc(no_inline)]
pub use format::{ErrorChain, KeyValues, LineBuf, Record, TimeStyle, Value};
pub use front::context::ContextFields;
pub use front::logger::Logger;
pub use front::scope::{Scope, scope};
pub use handle::{FilterGuard, Handle};
#[cfg(feature = "serde")]
pub use options::config::Config;
pub use options::sink_output::SinkOutput;
pub use os::exit_process as exit;
pub use queue::Overflow;
pub use sink::console::{Color, Console};
#[cfg(all(feature = "journald", target_os = "linux"))]
pub use sink::journald::Journald;
pub use sink::log_file::{Fsync, LogFile, WhenLow};
pub use sink::otherwise::Otherwise;
pub use sink::rotation::Rotation;
#[cfg(all(feature = "syslog", unix))]
pub use sink::syslog::{Facility, Syslog, SyslogProtocol};
#[doc(no_inline)]
pub use sink::{Batch, Line, Now, Sink, WriteError};
pub use stats::{Dropped, OutputStats, Stats};

/// 1024 bytes.
pub const KIB: u64 = 1024;
/// 1024 KiB.
pub const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub const GIB: u64 = 1024 * MIB;

/// Not part of the public API: what the log macros expand to.
#[doc(hidden)]
pub mod __private {
    // Of the calling crate, `core` may be another one.
    pub use core::option::Option::Some;
    pub use core::{file, fmt, format_args, line, module_path, stringify};

    pub use log;
    pub use unfazed_macros::deferred;

    pub use crate::deferred::{AllStored, Call, Plain, Reader, Width, is_enabled};
    pub use crate::deferred::{DEBUG, DISPLAY, HEX, PREFIXED_HEX, fixed, fixed_debug, left, padded, right};
    pub use crate::deferred::{zero_padded, zero_padded_hex, zero_padded_prefixed_hex};
    pub use crate::record::{Piece, Site};
}

/// The README's code, compiled and run with the documentation's tests.
#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// Not part of the public API: `tests/fuzz` reaches its properties.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
pub mod tests;
