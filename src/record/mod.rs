//! The record on its way from the call to the line: built on the caller's stack, read on the
//! writer's thread.
//!
//! A record is one fixed slot of the queue. What belongs to the program text (module path, file, a
//! literal message) is stored by reference; everything else (a target that is not the module path,
//! the thread's name, the message, the key-values) lies one after the other in the record's own
//! bytes, and moves to a buffer on the heap only when it does not fit. In place of the message
//! there may be the arguments of the call, from which the writer lays it out.

mod arguments;
mod body;
mod buffer;
mod key_values;
#[cfg(feature = "kv_serde")]
mod structured;
mod value;
mod view;

use std::fmt;
use std::time::SystemTime;

use log::Level;

use crate::clock::Stamp;
use crate::unix_time::UnixTime;
use crate::wanted::Wanting;

pub(crate) use arguments::{ArgumentWriter, Arguments, Deferred, Messages, Show, Values};
pub use arguments::{Piece, Site};
use body::{Body, LONGEST_MESSAGE, Written, cut};
pub(crate) use body::{CUT_MARK, TextWriter};
pub(crate) use buffer::POOLED;
pub use key_values::KeyValues;
pub(crate) use key_values::{Fields, KeyValueWriter, Keys, MoreKeyValues, Pairs};
pub(crate) use value::shortest;
pub use value::{ErrorChain, Value};
pub use view::Record;

/// A thread's name longer than this is cut.
const LONGEST_THREAD_NAME: usize = 64;
/// The longest text among the key-values of a notice, in bytes. An error may quote a whole
/// configuration file, and a notice that is too long for what is free suspends its output.
const LONGEST_NOTICE_TEXT: usize = 4096;
// A slot of 264 bytes costs a fifth more on its way through the channel than one of 256.
const _: () = assert!(size_of::<OwnedRecord>() <= 256);

/// A record as it waits in the queue.
pub(crate) struct OwnedRecord {
    stamp: Stamp,
    module_path: Option<&'static str>,
    location: Location,
    body: Body,
    line: u32,
    thread: u32,
    level: u8,
    wanting: Wanting,
    parts: Parts,
}

/// Where the program logs a record, and whether its body has the message or the arguments.
#[derive(Clone, Copy)]
enum Location {
    /// The file, with the message in the body. An empty name means that the program gave none.
    File(&'static str),
    /// The log call, with the arguments in the body.
    Site(&'static Site),
}

/// What the body holds.
#[derive(Clone, Copy, Default)]
struct Parts {
    /// How long the message is, or how long the arguments are.
    message_len: u32,
    target_len: u16,
    name_len: u8,
    /// The target is not the module path, but is in the body.
    own_target: bool,
    truncated: bool,
    /// The message is a whole line that some other crate has laid out.
    is_line: bool,
    /// The location of which this is the rate limit's report, counted from 1; 0: it is no report.
    reports_on: u16,
}

impl Parts {
    fn push_message(&mut self, body: &mut Body, message: fmt::Arguments<'_>) {
        let start = body.bytes().len();
        self.truncated |= body.push_written(LONGEST_MESSAGE, |text| text.write_fmt(message)) != Written::Whole;
        self.message_len = (body.bytes().len() - start) as u32;
    }
}

/// A line of the crate's own: no location and no thread, the target `unfazed`.
pub(crate) struct Notice {
    record: OwnedRecord,
    time: UnixTime,
}

impl Notice {
    pub(crate) fn new(
        level: Level,
        time: SystemTime,
        message: fmt::Arguments<'_>,
        key_values: &[(&str, Value<'_>)],
    ) -> Self {
        let (mut body, mut parts) = (Body::new(), Parts::default());
        parts.push_message(&mut body, message);
        let mut writer = KeyValueWriter::new(&mut body);
        for (key, value) in key_values {
            let text = match value {
                Value::Str(text) if text.len() > LONGEST_NOTICE_TEXT => {
                    [cut(text, LONGEST_NOTICE_TEXT), CUT_MARK].concat()
                }
                _ => String::new(),
            };
            let value = if text.is_empty() { *value } else { Value::Str(&text) };
            writer.pair(key, |body, tag| value.encode(body, tag));
        }
        let (stamp, level) = (Stamp::at(time), level as u8);
        let record = OwnedRecord {
            stamp,
            module_path: Some("unfazed"),
            location: Location::File(""),
            body,
            line: 0,
            thread: 0,
            level,
            wanting: Wanting::NOBODY,
            parts,
        };
        Self { record, time: time.into() }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record::new(&self.record, self.time, None)
    }
}

/// A line that goes through the queue: to every output that takes its level.
impl From<Notice> for OwnedRecord {
    fn from(notice: Notice) -> Self {
        Self { wanting: Wanting::EVERYBODY, ..notice.record }
    }
}

/// Who logs: the number of the thread, and its name as long as the writer has not learnt it.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) thread: u32,
    pub(crate) name: Option<&'a str>,
}

impl OwnedRecord {
    /// Formats the message into a new record. Runs the `Display` of the caller's arguments, which
    /// may log or panic.
    pub(crate) fn capture(record: &log::Record<'_>, stamp: Stamp, caller: Caller<'_>) -> Self {
        let mut owned = Self::empty(record, stamp, caller.thread, Wanting::NOBODY);
        owned.fill(record, caller.name, None);
        owned
    }

    /// Makes the record of a call with this literal for a message, and nothing else. Does not begin
    /// with `at_site`, because the compiler would make that record first.
    #[inline(always)]
    pub(crate) fn of_literal(
        level: Level,
        stamp: Stamp,
        thread: u32,
        site: &'static Site,
        literal: &'static str,
    ) -> Self {
        Self {
            stamp,
            module_path: Some(site.module_path),
            location: Location::File(site.file),
            body: Body::Literal(literal),
            line: site.line,
            thread,
            level: level as u8,
            wanting: Wanting::NOBODY,
            parts: Parts::default(),
        }
    }

    /// Makes the record of a call that has a site, arguments and values of keys, and nothing else.
    /// `store` adds the arguments and values.
    #[inline(always)]
    pub(crate) fn at_site(level: Level, stamp: Stamp, thread: u32, site: &'static Site) -> Self {
        Self {
            stamp,
            module_path: Some(site.module_path),
            location: Location::Site(site),
            body: Body::new(),
            line: site.line,
            thread,
            level: level as u8,
            wanting: Wanting::NOBODY,
            parts: Parts::default(),
        }
    }

    /// Stores the arguments and values of a record that has none. Returns false if the arguments
    /// cannot be stored.
    #[inline(always)]
    pub(crate) fn store(&mut self, message: Deferred<'_>) -> bool {
        if message.site.literal().is_none() {
            if !arguments::store(&mut self.body, message.arguments) {
                return false;
            }
            self.parts.message_len = self.body.bytes().len() as u32;
        }
        if !message.site.keys.is_empty() {
            let mut writer = KeyValueWriter::new(&mut self.body);
            message.values.store(message.site.keys, 0, &mut writer);
            self.parts.truncated = writer.truncated;
        }
        true
    }

    /// Makes a record that holds only what belongs to the program text.
    #[inline]
    pub(crate) fn empty(record: &log::Record<'_>, stamp: Stamp, thread: u32, wanting: Wanting) -> Self {
        Self {
            stamp,
            module_path: record.module_path_static(),
            location: Location::File(record.file_static().unwrap_or("")),
            body: Body::new(),
            line: record.line().unwrap_or(0),
            thread,
            level: record.level() as u8,
            wanting,
            parts: Parts::default(),
        }
    }

    /// Frees what it holds on the heap.
    #[inline]
    pub(crate) fn free(&mut self) {
        if let Body::Heap(_) = self.body {
            self.body = Body::new();
        }
    }

    /// Adds what is not part of the program text. Formats the message, which runs the `Display` of
    /// the caller's arguments; that may log or panic.
    #[inline(never)]
    pub(crate) fn fill(&mut self, record: &log::Record<'_>, name: Option<&str>, more: Option<&dyn MoreKeyValues>) {
        self.fill_with(record, name, more, |owned, alone| owned.push_message(record, alone));
    }

    /// Adds what `fill` adds, with the arguments in place of the message, unless they cannot be
    /// stored.
    #[inline(never)]
    pub(crate) fn fill_deferred(
        &mut self,
        record: &log::Record<'_>,
        name: Option<&str>,
        more: Option<&dyn MoreKeyValues>,
        message: Deferred<'_>,
    ) {
        self.fill_with(record, name, more, |owned, alone| {
            let start = owned.body.bytes().len();
            if arguments::store(&mut owned.body, message.arguments) {
                owned.parts.message_len = (owned.body.bytes().len() - start) as u32;
                owned.location = Location::Site(message.site);
            } else {
                owned.push_message(record, alone);
            }
        });
    }

    #[inline(always)]
    fn push_message(&mut self, record: &log::Record<'_>, alone: bool) {
        match record.args().as_str() {
            Some(literal) if alone && literal.len() <= LONGEST_MESSAGE => self.body = Body::Literal(literal),
            _ => self.parts.push_message(&mut self.body, *record.args()),
        }
    }

    /// Adds everything. `message` adds the message; its flag says that the record has nothing else.
    #[inline(always)]
    fn fill_with(
        &mut self,
        record: &log::Record<'_>,
        name: Option<&str>,
        more: Option<&dyn MoreKeyValues>,
        message: impl FnOnce(&mut Self, bool),
    ) {
        let target = record.target();
        self.parts.own_target = !self.module_path.is_some_and(|path| same_text(path, target));
        if self.parts.own_target {
            let target = cut(target, u16::MAX.into());
            self.parts.target_len = self.body.push_text(target) as u16;
            self.parts.truncated = usize::from(self.parts.target_len) < target.len();
        }
        if let Some(name) = name {
            self.parts.name_len = self.body.push_text(cut(name, LONGEST_THREAD_NAME)) as u8;
        }
        let key_values = record.key_values();
        // A record that comes from another facade (tracing's feature `log`) has its location in
        // texts that may go away.
        let own_file = if record.file_static().is_none() { record.file() } else { None };
        let has_key_values = key_values.count() > 0 || own_file.is_some() || more.is_some();
        let alone = !self.parts.own_target && self.parts.name_len == 0 && !has_key_values;
        message(self, alone);
        if has_key_values {
            let mut writer = KeyValueWriter::new(&mut self.body);
            if let Some(file) = own_file {
                writer.file(file);
            }
            // The visitor never fails, and a source that does has given what it had.
            let _ = key_values.visit(&mut writer);
            if let Some(more) = more {
                more.write(&mut writer);
            }
            self.parts.truncated |= writer.truncated;
        }
    }

    /// Says that the message is a whole line that no format lays out.
    #[cfg(feature = "tracing")]
    pub(crate) fn set_line(&mut self) {
        self.parts.is_line = true;
    }

    /// Marks the record as the rate limit's report on this location.
    pub(crate) fn set_reports_on(&mut self, call_site: usize) {
        self.parts.reports_on = call_site as u16 + 1;
    }

    /// Returns the location of which this record is the rate limit's report.
    pub(crate) fn reports_on(&self) -> Option<usize> {
        usize::from(self.parts.reports_on).checked_sub(1)
    }

    /// Returns the outputs with filters of their own that want it.
    pub(crate) fn wanting(&self) -> Wanting {
        self.wanting
    }

    /// Says which outputs with filters want it, now that the message is known.
    pub(crate) fn set_wanting(&mut self, wanting: Wanting) {
        self.wanting = wanting;
    }

    pub(crate) fn level(&self) -> Level {
        level_of(self.level)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Sets another time.
    pub(crate) fn set_stamp(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    pub(crate) fn thread(&self) -> u32 {
        self.thread
    }

    /// Returns about how many bytes of text a format lays out for it, with a message of this
    /// length.
    pub(crate) fn text_len(&self, message: usize) -> usize {
        let keys = match self.location {
            Location::File(_) => 0,
            Location::Site(site) => site.keys_len,
        };
        let others = keys + self.body.bytes().len().saturating_sub(self.parts.message_len as usize);
        others + message + self.module_path.map_or(0, str::len)
    }

    /// Returns whether the message is the whole line.
    pub(crate) fn is_line(&self) -> bool {
        self.parts.is_line
    }

    /// Returns whether the message or the key-values were cut.
    pub(crate) fn truncated(&self) -> bool {
        self.parts.truncated
    }

    /// Returns the bytes this record holds outside its slot.
    pub(crate) fn spilled(&self) -> usize {
        self.body.spilled()
    }

    /// Returns the message, if it has been laid out.
    pub(crate) fn message(&self) -> &str {
        text_of(self.message_bytes())
    }

    /// Returns the bytes of the message, if it has been laid out.
    fn message_bytes(&self) -> &[u8] {
        match (self.location, &self.body) {
            (Location::Site(_), _) => &[],
            (_, Body::Literal(literal)) => literal.as_bytes(),
            _ => self.message_or_arguments(),
        }
    }

    /// Returns the bytes of the message in the body, or those of the arguments in its place.
    fn message_or_arguments(&self) -> &[u8] {
        let start = self.parts.target_len as usize + self.parts.name_len as usize;
        self.body.bytes().get(start..start + self.parts.message_len as usize).unwrap_or(&[])
    }

    /// Returns the name of the thread, if this record brought it.
    pub(crate) fn thread_name(&self) -> Option<&str> {
        (self.parts.name_len > 0).then(|| self.text(self.parts.target_len as usize, self.parts.name_len as usize))
    }

    fn target(&self) -> &str {
        if self.parts.own_target {
            self.text(0, self.parts.target_len as usize)
        } else {
            self.module_path.unwrap_or("")
        }
    }

    fn text(&self, start: usize, len: usize) -> &str {
        text_of(self.body.bytes().get(start..start + len).unwrap_or(&[]))
    }

    #[inline]
    fn key_values(&self) -> KeyValues<'_> {
        self.file_and_key_values().1
    }

    fn file(&self) -> Option<&str> {
        match self.location {
            Location::File("") => self.file_and_key_values().0,
            Location::File(file) => Some(file),
            Location::Site(site) => Some(site.file),
        }
    }

    #[inline]
    fn file_and_key_values(&self) -> (Option<&str>, KeyValues<'_>) {
        let start = match self.body {
            Body::Literal(_) => 0,
            _ => self.parts.target_len as usize + self.parts.name_len as usize + self.parts.message_len as usize,
        };
        let keys = match self.location {
            Location::File(_) => &[],
            Location::Site(site) => site.keys,
        };
        KeyValues::new(self.body.bytes().get(start..).unwrap_or(&[]), keys).split_file()
    }
}

/// Returns the text of these bytes, of which only whole `str`s were pushed, each cut at a
/// character's boundary: this cannot fail.
pub(crate) fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// Compares two texts: their addresses first, because equal texts of the program mostly have one.
#[inline]
fn same_text(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}

/// Returns the level with this number, as `level as u8` gives it.
pub(crate) fn level_of(number: u8) -> Level {
    match number {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::body::INLINE;
    use super::*;

    thread_local! {
        /// Memory beyond what there is cannot be had.
        pub(super) static NO_MEMORY: Cell<bool> = const { Cell::new(false) };
    }

    const STAMP: Stamp = Stamp::Nanos(0);
    const NOBODY: Caller<'static> = Caller { thread: 7, name: None };

    fn captured(args: fmt::Arguments<'_>, target: &str, caller: Caller<'_>) -> OwnedRecord {
        let record = log::Record::builder()
            .args(args)
            .level(Level::Warn)
            .target(target)
            .module_path_static(Some("a::b"))
            .file_static(Some("b.rs"))
            .line(Some(3))
            .build();
        OwnedRecord::capture(&record, STAMP, caller)
    }

    #[test]
    fn a_record_gives_back_what_went_in() {
        let name = Caller { thread: 7, name: Some("worker") };
        let owned = captured(format_args!("{} and {}", 1, "zwei"), "other", name);
        assert_eq!(owned.message(), "1 and zwei");
        assert_eq!(owned.target(), "other");
        assert_eq!(owned.thread_name(), Some("worker"));
        assert_eq!(owned.spilled(), 0);
        let view = Record::new(&owned, SystemTime::UNIX_EPOCH, None);
        assert_eq!((view.level(), view.line(), view.file()), (Level::Warn, Some(3), Some("b.rs")));
        assert_eq!(view.thread_number(), 7);
        assert_eq!(view.key_values().count(), 0);
    }

    #[test]
    fn the_location_of_a_record_that_was_handed_on_stays_next_to_its_key_values() {
        let pairs: &[(&str, i32)] = &[("", 1), ("n", 2)];
        for (file, pairs) in [("/src/über.rs", &[] as &[(&str, i32)]), ("/src/über.rs", pairs), ("", pairs)] {
            let file = file.to_owned();
            let mut record = log::Record::builder();
            record.file(Some(&file)).line(Some(7)).key_values(&pairs).target("t").args(format_args!("m"));
            let owned = OwnedRecord::capture(&record.build(), STAMP, NOBODY);
            let view = Record::new(&owned, SystemTime::UNIX_EPOCH, None);
            assert_eq!((view.file(), view.line(), view.message()), (Some(&*file), Some(7), "m"));
            let got: Vec<_> = view.key_values().map(|(key, _)| key).collect();
            assert_eq!(got, pairs.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            assert!(!owned.truncated());
        }
        let far = "d/".repeat(100_000);
        let record = log::Record::builder().file(Some(&far)).args(format_args!("m")).key_values(&("k", 1)).build();
        let owned = OwnedRecord::capture(&record, STAMP, NOBODY);
        assert_eq!(Record::new(&owned, SystemTime::UNIX_EPOCH, None).file(), Some(&far[..4096]));
        assert_eq!(owned.key_values().count(), 1);
    }

    #[test]
    fn a_literal_message_is_not_copied() {
        let literal = "nothing to format";
        let owned = captured(format_args!("nothing to format"), "a::b", NOBODY);
        assert_eq!(owned.message(), literal);
        assert!(matches!(owned.body, Body::Literal(_)));
    }

    #[test]
    fn a_message_of_any_length_comes_back_whole_up_to_the_limit() {
        for len in [0, 1, INLINE - 1, INLINE, INLINE + 1, 1000, LONGEST_MESSAGE - CUT_MARK.len() + 1, LONGEST_MESSAGE] {
            let text = "x".repeat(len);
            let owned = captured(format_args!("{text}"), "a::b", NOBODY);
            assert_eq!(owned.message(), text);
            assert!(!owned.truncated());
        }
    }

    #[test]
    fn a_message_without_memory_for_it_is_cut_to_its_slot_and_marked() {
        NO_MEMORY.set(true);
        let name = Caller { thread: 7, name: Some("worker") };
        for target in [0, 1, 100, 160, INLINE - 7, INLINE, 300] {
            let target = "ä".repeat(target / 2);
            let text = "ä".repeat(INLINE);
            let owned = captured(format_args!("{text} and {}", "more"), &target, name);
            assert!(owned.truncated());
            assert_eq!(owned.spilled(), 0);
            assert!(target.starts_with(owned.target()));
            assert!(owned.thread_name().is_none_or(|name| "worker".starts_with(name)));
            let stored = owned.message().strip_suffix(CUT_MARK).unwrap_or(owned.message());
            assert!(text.starts_with(stored), "{stored:?}");
        }
        let owned = captured(format_args!("{:200}", ""), "a::b", NOBODY);
        assert_eq!(owned.message(), format!("{}{CUT_MARK}", " ".repeat(INLINE - CUT_MARK.len())));
    }

    #[test]
    fn key_values_without_memory_for_them_are_left_out_whole() {
        NO_MEMORY.set(true);
        let pairs: &[(&str, log::kv::Value<'_>)] =
            &[("first", 1.into()), ("second", i128::MIN.into()), ("third", "text".into()), ("last", true.into())];
        let wanted = ["first", "second", "third", "last"];
        let mut all_stored = 0;
        for len in 0..INLINE + 10 {
            let text = "x".repeat(len);
            let args = format_args!("{text}");
            let record = log::Record::builder().args(args).module_path_static(Some("")).key_values(&pairs).build();
            let owned = OwnedRecord::capture(&record, STAMP, NOBODY);
            let stored: Vec<_> = owned.key_values().map(|(key, _)| key).collect();
            assert!(wanted.starts_with(&stored), "after {len} bytes: {stored:?}");
            // Of a text there may be the beginning.
            let text_is_whole = owned.key_values().any(|pair| pair == ("third", Value::Str("text")));
            assert_eq!(owned.truncated(), len > INLINE || stored.len() < wanted.len() || !text_is_whole);
            all_stored += usize::from(!owned.truncated());
            assert!(owned.message().starts_with(&text[..len.min(INLINE - CUT_MARK.len())]));
        }
        assert!(all_stored > 50, "{all_stored}");
    }

    #[test]
    fn values_of_a_call_without_memory_for_them_are_left_out_and_those_with_memory_keep_their_keys() {
        struct Numbers;

        impl Arguments for Numbers {
            fn store(&self, _: &mut ArgumentWriter<'_>) -> bool {
                true
            }
        }

        impl Values for Numbers {
            fn store(&self, keys: Keys, _: usize, into: &mut KeyValueWriter<'_>) {
                let values = [Value::U64(0), Value::Str(TEXT), Value::U64(2), Value::Null];
                values.into_iter().enumerate().for_each(|(number, value)| into.numbered_value(keys, number, value));
            }
        }

        /// Leaves no room for a number after it.
        const TEXT: &str = match std::str::from_utf8(&[b'x'; INLINE - 25]) {
            Ok(text) => text,
            Err(_) => "",
        };
        static SITE: Site = Site::new("a::b", "b.rs", 3, &[], "m").with_keys(&["zero", "one", "two", "nothing"]);
        let stored = || {
            let mut owned = OwnedRecord::at_site(Level::Info, STAMP, 7, &SITE);
            let message = Deferred { site: &SITE, arguments: &Numbers, values: &Numbers };
            assert!(owned.store(message));
            owned
        };
        let all =
            [("zero", Value::U64(0)), ("one", Value::Str(TEXT)), ("two", Value::U64(2)), ("nothing", Value::Null)];
        let owned = stored();
        assert_eq!(owned.key_values().collect::<Vec<_>>(), all);
        assert_eq!((owned.file(), owned.truncated(), owned.spilled() > 0), (Some("b.rs"), false, true));
        let keys_len: usize = all.iter().map(|(key, _)| key.len()).sum();
        assert!(owned.text_len(0) >= owned.body.bytes().len() + keys_len, "a line has room for the keys");
        NO_MEMORY.set(true);
        let owned = stored();
        let got = owned.key_values().collect::<Vec<_>>();
        assert!(owned.truncated() && owned.spilled() == 0);
        assert_eq!(got, all[..2]);
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_at_a_character_and_marked() {
        let text = "ä".repeat(LONGEST_MESSAGE);
        let owned = captured(format_args!("x{text}"), "a::b", NOBODY);
        assert!(owned.truncated());
        assert!(owned.message().len() <= LONGEST_MESSAGE);
        assert!(owned.message().ends_with("ä...[cut]"));
    }
}
