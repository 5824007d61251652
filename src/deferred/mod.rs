//! The crate's own log macros: a call that stores its arguments, and has its message laid out on
//! the writer's thread. Runs on the caller's thread, except what reads the arguments back.
//!
//! Most calls need no record of `log`: those without a target of their own, from a site and a
//! thread that have logged before, where nothing adds to the record. [`AllStored`] offers them.
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

pub use self::capture::{AllStored, Width};
pub use self::plain::Plain;
pub use self::show::{DEBUG, DISPLAY, HEX, PREFIXED_HEX};
pub use self::show::{fixed, fixed_debug, left, padded, right};
pub use self::show::{zero_padded, zero_padded_hex, zero_padded_prefixed_hex};
pub use self::stored::Reader;
use crate::front::installed;
use crate::record::{Arguments, Deferred, Keys, Site};

/// One log call under way.
pub struct Call<'a> {
    site: &'static Site,
    /// Nothing if one of them cannot be stored.
    arguments: Option<&'a dyn Arguments>,
}

impl Call<'_> {
    /// Makes the record that `log`'s macros make, with these values of the site's keys, and logs
    /// it.
    #[cold]
    #[inline(never)]
    pub fn log_whole(&self, level: Level, message: fmt::Arguments<'_>, values: &[kv::Value<'_>]) {
        self.log_record(self.site.module_path, level, message, values);
    }

    /// Makes that record with a target of its own and without values, and logs it. The target is in
    /// a tuple, as `log` has it: the compiler then points at the target alone if its type is wrong.
    #[inline(never)]
    pub fn log_to(&self, (target, level): &(&str, Level), message: fmt::Arguments<'_>) {
        self.log_record(target, *level, message, &[]);
    }

    fn log_record(&self, target: &str, level: Level, message: fmt::Arguments<'_>, values: &[kv::Value<'_>]) {
        let Site { module_path, file, line, keys, .. } = self.site;
        let pairs = SitePairs { keys, values };
        let mut record = log::Record::builder();
        record.level(level).target(target).module_path_static(Some(module_path)).key_values(&pairs);
        record.file_static(Some(file)).line(Some(*line)).args(message);
        self.log(&record.build());
    }
}

/// The keys of a site with their values, as a record of `log` has them.
struct SitePairs<'a> {
    keys: Keys,
    values: &'a [kv::Value<'a>],
}

impl kv::Source for SitePairs<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.keys.iter().zip(self.values).try_for_each(|(key, value)| visitor.visit_pair((*key).into(), value.clone()))
    }

    fn count(&self) -> usize {
        self.values.len()
    }
}

/// Returns whether the program logs records of a level, as `log`'s macros ask.
#[inline(always)]
#[must_use]
pub fn is_enabled(level: Level) -> bool {
    level <= log::STATIC_MAX_LEVEL && level <= log::max_level()
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
