//! The panic hook of `Builder::log_panics`. Runs on the thread that panics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::panic::{self, PanicHookInfo};
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use log::Level;
use log::kv;

use crate::error::FlushError;
use crate::queue::Pipeline;

use super::logger::Core;

/// Makes every panic an ERROR record of this logger, as long as the logger lives; then the hook
/// that was there before runs.
///
/// A hook cannot know whether the panic will end the process: one that starts while another
/// unwinds, or in a destructor of a thread-local, or in a function that C has called, aborts it. So
/// each waits until the writer has what was logged so far.
pub(crate) fn install(core: Weak<Core>) {
    let before = panic::take_hook();
    let wait = Wait::default();
    panic::set_hook(Box::new(move |info| {
        if let Some(core) = core.upgrade() {
            record(&core, info);
            wait.for_writer(core.per_process().pipeline());
        }
        before(info);
    }));
}

/// The number of records that the writer had taken when a wait for it was in vain, plus one; 0: no
/// wait was.
#[derive(Default)]
struct Wait(AtomicU64);

impl Wait {
    /// Waits until what was logged so far is written, for at most `Builder::shutdown_timeout`. A
    /// writer that has taken nothing since a wait in vain hangs in an output. Another wait would be
    /// in vain as well, for every panic that the program catches.
    fn for_writer(&self, pipeline: &Pipeline) {
        let taken = || pipeline.counters.writer.taken.total() + 1;
        if self.0.load(Relaxed) != taken() && pipeline.flush_in_time() == Err(FlushError::Timeout) {
            self.0.store(taken(), Relaxed);
        }
    }
}

fn record(core: &Core, info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a value that is not text");
    let backtrace = Backtrace::capture();
    let pairs = [("backtrace", kv::Value::from_display(&backtrace))];
    // Only if the environment asks for one.
    let pairs: &[(&str, kv::Value<'_>)] = match backtrace.status() {
        BacktraceStatus::Captured => &pairs,
        _ => &[],
    };
    let log = |message: fmt::Arguments<'_>| {
        let mut record = log::Record::builder();
        record.level(Level::Error).target("panic").key_values(&pairs);
        record.file(info.location().map(|at| at.file())).line(info.location().map(|at| at.line()));
        core.log(&record.args(message).build(), None);
    };
    match info.location() {
        Some(at) => log(format_args!("thread '{name}' panicked at {at}: {message}")),
        None => log(format_args!("thread '{name}' panicked: {message}")),
    }
}
