//! [`tracing`](https://docs.rs/tracing): its events on the same queue as the records of `log`, and
//! a drop-in for `tracing_appender::non_blocking`. Needs the feature `tracing`.
//!
//! - [`layer`] makes a record of each event, with its fields, the fields of its spans, and their
//!   types. The format of each output lays it out. Records of `log` and events of `tracing` stand
//!   in one file, in one order.
//! - [`writer`] takes the lines that `tracing_subscriber::fmt` has laid out, and writes them as
//!   they are.
//!
//! ```no_run
//! let handle = unfazed::Builder::new().file("app.log").init()?;
//! unfazed::tracing::init(&handle)?;
//!
//! log::info!("a record of log");
//! tracing::info!(user = 7, "an event of tracing");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `use unfazed::*` next to the crate `tracing` makes paths such as `tracing::info!` ambiguous.
//! Import items of this crate by name instead.
//!
//! # With other layers
//!
//! [`layer`] goes onto a registry like any other layer, and filters for itself alone: what it does
//! not want still reaches the others.
//!
//! ```no_run
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! let handle = unfazed::Builder::new().file("app.log").init()?;
//! let subscriber = tracing_subscriber::registry().with(unfazed::tracing::layer(&handle));
//! tracing::subscriber::set_global_default(subscriber)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `tracing_subscriber`'s own `.init()` does the same, and with its feature `tracing-log`, which is
//! on by default, it also installs a logger for `log`. There can be only one: after
//! `Builder::init` it panics with a `SetLoggerError`. Use [`init`], or `set_global_default` as
//! above, or turn the feature off. If that logger is there first, make yours with `Builder::build`,
//! and keep the [`Logger`](crate::Logger): the records of `log` then come through the layer with
//! their own target, file and line.
//!
//! # What an event becomes
//!
//! | tracing | here |
//! |---|---|
//! | the field `message` | the message |
//! | other fields | key-values, with their types; an error with its sources |
//! | fields of the spans | key-values after those of the event, the innermost span first |
//! | the names of the spans | the key `span`, as in `request:query`; beyond 16 of them the innermost, after `...:` |
//! | target, module, file, line | the same of a record |
//!
//! A record of `log` that is logged inside of a span has none of its fields: use
//! [`scope`](crate::scope()) for what both facades should have.
//!
//! Of two fields with one name the event's own counts, then that of the innermost span, and within
//! one span the value recorded last.
//!
//! `tracing_subscriber::reload` cannot exchange the layer, nor any other that has a filter of its
//! own. What changes while the program runs is the filter.
//!
//! The filter is the logger's own: `RUST_LOG`, `Builder::level`,
//! [`Handle::set_filter`](crate::Handle::set_filter). An event or span that it does not want costs
//! what a disabled one costs in `tracing`; when the filter changes, `tracing` is notified. A span
//! that it does not want has no fields in the log. At a fork, a thread of the parent may hold a
//! lock of `tracing`. In the child a change of the filter then waits for it for 100 ms, and the
//! call sites of `tracing` keep the filter before it. `tracing` itself takes this lock for the
//! first event of a call site, which may then wait for ever in the child.

mod layer;
mod writer;

use tracing_core::dispatcher::{Dispatch, SetGlobalDefaultError, set_global_default};
use tracing_core::subscriber::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::handle::Handle;

pub use writer::{LineWriter, MakeLineWriter};

/// Makes a layer that turns the events of `tracing` into records of this logger.
///
/// It does not keep the logger alive: after the end, its records count as dropped
/// (`shutdown`). Spans cost a registry's usual price, and the bytes of their fields.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let (_logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let subscriber = tracing_subscriber::registry().with(unfazed::tracing::layer(&handle));
/// tracing::subscriber::with_default(subscriber, || {
///     let _span = tracing::info_span!("request", id = 7).entered();
///     tracing::info!(status = 200, "served"); // ... served status=200 id=7 span=request
/// });
/// assert_eq!(handle.stats().accepted, 1);
/// # Ok::<(), unfazed::InitError>(())
/// ```
pub fn layer<S>(handle: &Handle) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    layer::new(handle.core().clone())
}

/// Installs a registry with [`layer`] as the global default of `tracing`.
///
/// # Errors
///
/// There is one already.
///
/// ```no_run
/// let handle = unfazed::Builder::new().file("app.log").init()?;
/// unfazed::tracing::init(&handle)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init(handle: &Handle) -> Result<(), SetGlobalDefaultError> {
    set_global_default(Dispatch::new(tracing_subscriber::registry().with(layer(handle))))
}

/// Makes a writer for `tracing_subscriber::fmt`, in the place of `tracing_appender::non_blocking`.
/// There is no guard to keep.
///
/// Each event is one record, whose line is what `fmt` has laid out: no output adds a time or
/// escapes anything. A line of more than 64 KiB is cut and marked. It is written by the outputs
/// that want the event's level and target, whatever the filter of the logger says: `fmt` has
/// filtered already. It counts in [`Stats`](crate::Stats) like any record, and survives a full disk
/// like any record; the lines of the crate itself, as the gap line, have the format of the output.
///
/// ```
/// let (_logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let writer = unfazed::tracing::writer(&handle);
/// let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
/// tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
/// assert_eq!(handle.stats().accepted, 1);
/// # Ok::<(), unfazed::InitError>(())
/// ```
pub fn writer(handle: &Handle) -> MakeLineWriter {
    MakeLineWriter::new(handle.core().clone())
}
