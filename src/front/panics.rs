//! The panic hook of `Builder::log_panics`. Runs on the thread that panics.

use std::panic::{self, PanicHookInfo};
use std::sync::Weak;
use std::thread;

use log::Level;

use super::logger::Core;

/// From now on every panic becomes an ERROR record of this logger, as long as it lives; then the hook that was there before runs.
pub(crate) fn install(core: Weak<Core>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(core) = core.upgrade() {
            tell(&core, info);
        }
        before(info);
    }));
}

fn tell(core: &Core, info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a value that is no text");
    let mut record = log::Record::builder();
    record.level(Level::Error).target("panic");
    match info.location() {
        Some(at) => core.log(
            &record.line(Some(at.line())).args(format_args!("thread '{name}' panicked at {at}: {message}")).build(),
        ),
        None => core.log(&record.args(format_args!("thread '{name}' panicked: {message}")).build()),
    }
}
