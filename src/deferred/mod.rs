//! The crate's own log macros: a call that stores its arguments, and has its message laid out on
//! the writer's thread. Runs on the caller's thread, except what reads the arguments back.
//!
//! Most calls need no record of `log`: those without a target of their own, from a site and a
//! thread that have logged before, where nothing adds to the record. [`Call::log_stored`] offers
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

use log::{Level, Log, Metadata, kv};

use self::capture::Storable;
pub use self::capture::{Argument, HoldByFacade, HoldByValue, ValueOf, Width};
pub use self::plain::Plain;
pub use self::show::{debug, display, fixed, zero_padded};
pub use self::stored::Reader;
use crate::front::installed;
use crate::record::{Arguments, Deferred, Keys, Site, Values};

/// One log call under way.
pub struct Call<'a> {
    site: &'static Site,
    /// Nothing if one of them cannot be stored.
    arguments: Option<&'a dyn Arguments>,
}

impl<'a> Call<'a> {
    /// Makes the call of a site with these arguments.
    #[inline]
    pub fn new<A: Arguments + Storable>(site: &'static Site, arguments: &'a A) -> Self {
        Self { site, arguments: if A::IS_STORABLE { Some(arguments) } else { None } }
    }

    /// Logs a call that has no target, with these values of its site's keys, without the record of
    /// `log`; or says no, and has done nothing: then `log_whole` logs it.
    #[inline]
    pub fn log_stored<V: Values + Storable>(&self, level: Level, values: &V) -> bool {
        match self.arguments {
            Some(arguments) if V::IS_STORABLE => log_at(level, Deferred { site: self.site, arguments, values }),
            _ => false,
        }
    }

    /// Makes the record that `log`'s macros make, with these values of the site's keys, and logs
    /// it.
    #[cold]
    #[inline(never)]
    pub fn log_whole(&self, level: Level, message: fmt::Arguments<'_>, values: &[kv::Value<'_>]) {
        let Site { module_path, file, line, keys, .. } = self.site;
        let pairs = Pairs { keys, values };
        let mut record = log::Record::builder();
        record.level(level).target(module_path).module_path_static(Some(module_path)).key_values(&pairs);
        record.file_static(Some(file)).line(Some(*line)).args(message);
        self.log(&record.build());
    }
}

/// The keys of a site with their values, as a record of `log` has them.
struct Pairs<'a> {
    keys: Keys,
    values: &'a [kv::Value<'a>],
}

impl kv::Source for Pairs<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.keys.iter().zip(self.values).try_for_each(|(key, value)| visitor.visit_pair((*key).into(), value.clone()))
    }

    fn count(&self) -> usize {
        self.values.len()
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
            (Some(arguments), Some(core)) => core.defer(record, Deferred { site: self.site, arguments, values: &() }),
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
