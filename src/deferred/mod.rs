//! The crate's own log macros: a call that stores its arguments, and has its message laid out on
//! the writer's thread. Runs on the caller's thread, except what reads the arguments back.
//!
//! Most calls need no record of `log`: those without target and key-values, from a site and a
//! thread that have logged before, where nothing adds to the record. [`Call::log_alone`] offers
//! them.
//!
//! All others make the record that `log`'s macros make, for a logger of their own, [`Call`]. It is
//! given the record as any logger is, and has the arguments next to it. So whatever needs the
//! message on the caller's thread takes it from the record, and all else is as with the facade.

mod capture;
pub(crate) mod macros;
mod plain;
mod show;
mod stored;

use std::fmt;

use log::{Level, Log, Metadata};

use self::capture::Storable;
pub use self::capture::{Argument, HoldByFacade, HoldByValue, Width};
pub use self::plain::Plain;
pub use self::show::{debug, display, fixed};
pub use self::stored::Reader;
use crate::front::installed;
use crate::record::{Arguments, Deferred, Site};

/// One log call under way.
pub struct Call<'a> {
    site: &'static Site,
    /// Nothing if one of them cannot be stored.
    arguments: Option<&'a dyn Arguments>,
}

impl<'a> Call<'a> {
    /// Makes the call of a site with these arguments.
    #[inline]
    pub fn new<A: Storable>(site: &'static Site, arguments: &'a A) -> Self {
        Self { site, arguments: if A::IS_STORABLE { Some(arguments) } else { None } }
    }

    /// Makes the call of a site whose message has no arguments.
    #[inline]
    pub fn literal(site: &'static Site) -> Self {
        Self::new(site, &())
    }

    /// Logs a call that has neither a target nor key-values, without the record of `log`; or says
    /// no, and has done nothing: then `log_whole` logs it.
    #[inline]
    pub fn log_alone(&self, level: Level) -> bool {
        self.arguments.is_some_and(|arguments| log_at(level, Deferred { site: self.site, arguments }))
    }

    /// Makes the record that `log`'s macros make, and logs it.
    #[cold]
    #[inline(never)]
    pub fn log_whole(&self, level: Level, message: fmt::Arguments<'_>) {
        let Site { module_path, file, line, .. } = self.site;
        let mut record = log::Record::builder();
        record.level(level).target(module_path).module_path_static(Some(module_path));
        record.file_static(Some(file)).line(Some(*line)).args(message);
        self.log(&record.build());
    }
}

#[inline(never)]
fn log_at(level: Level, message: Deferred<'_>) -> bool {
    installed::get().is_some_and(|core| core.log_at(level, message))
}

impl Log for Call<'_> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        match (self.arguments, installed::get()) {
            (Some(arguments), Some(core)) => core.defer(record, Deferred { site: self.site, arguments }),
            _ => log::logger().log(record),
        }
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("site", self.site).finish_non_exhaustive()
    }
}
