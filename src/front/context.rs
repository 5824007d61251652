//! What a record has next to the key-values of its log call: those of the scopes around the call,
//! and those of the logger's context. Runs on the caller's thread.

use std::fmt;

use log::kv::ToValue;

use crate::record::{KeyValueWriter, MoreKeyValues};

use super::program::{self, Question};
use super::scope;

/// A closure that adds key-values to each record.
pub(crate) type Context = Box<dyn Fn(&mut ContextFields<'_, '_>) + Send + Sync>;

/// Takes the key-values that [`Builder::context`](crate::Builder::context) adds to a record.
///
/// ```
/// let builder = unfazed::Builder::new().context(|fields| fields.add("node", 7));
/// ```
pub struct ContextFields<'a, 'b> {
    into: &'a mut KeyValueWriter<'b>,
}

impl ContextFields<'_, '_> {
    /// Adds a key-value, unless the record has this key already: from its log call, from a
    /// [`scope`](crate::scope()), or from an earlier call of this method.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// static TENANT: AtomicU32 = AtomicU32::new(0);
    ///
    /// let builder = unfazed::Builder::new().context(|fields| {
    ///     fields.add("tenant", TENANT.load(Relaxed));
    ///     fields.add("region", "eu-west-1");
    /// });
    /// ```
    pub fn add(&mut self, key: &str, value: impl ToValue) {
        if !self.into.has(key) {
            self.into.any(key, value.to_value());
        }
    }
}

impl fmt::Debug for ContextFields<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextFields").finish_non_exhaustive()
    }
}

/// What surrounds a log call.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The key-values of an event of another facade.
    pub(super) more: Option<&'a dyn MoreKeyValues>,
    pub(super) context: Option<&'a Context>,
}

impl Surroundings<'_> {
    /// Returns them as key-values that are added to those of the log call, if there are any.
    #[inline]
    pub(super) fn as_more(&self) -> Option<&dyn MoreKeyValues> {
        let are_empty = self.more.is_none() && self.context.is_none() && !scope::is_inside();
        if are_empty { None } else { Some(self) }
    }
}

impl MoreKeyValues for Surroundings<'_> {
    fn write(&self, into: &mut KeyValueWriter<'_>) {
        if let Some(more) = self.more {
            more.write(into);
        }
        if scope::is_inside() {
            scope::write(into);
        }
        if let Some(context) = self.context {
            // If the context panics, what it has added until then stays.
            let _ = program::ask(Question::Context, || context(&mut ContextFields { into }));
        }
    }
}
