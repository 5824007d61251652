//! The record on its way from the call to the line: built on the caller's stack, read on the
//! writer's thread.
//!
//! A record is one fixed slot of the queue. What belongs to the program text (module path, file, a
//! literal message) is stored by reference; everything else (a target that is not the module path,
//! the thread's name, the message, the key-values) lies one after the other in the record's own
//! bytes, and moves to the heap only when it does not fit.

mod key_values;

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use arrayvec::ArrayVec;
use log::Level;

use crate::clock::Stamp;
use crate::wanted::Wanting;

pub(crate) use key_values::{Fields, KeyValueWriter, MoreKeyValues};
pub use key_values::{KeyValues, Value};

/// The longest message that a record may have, in bytes: 64 KiB. What is longer is cut there and
/// marked.
pub(crate) const LONGEST_MESSAGE: usize = 64 * 1024;
/// What stands at the end of a message that was cut.
const CUT_MARK: &str = "...[cut]";
/// A thread's name longer than this is cut.
const LONGEST_THREAD_NAME: usize = 64;
/// What fits into the record itself; the size of the whole slot follows from it.
const INLINE: usize = 176;

// A slot of 264 bytes costs a fifth more on its way through the channel than one of 256.
const _: () = assert!(size_of::<OwnedRecord>() <= 256);

/// A record as it waits in the queue.
pub(crate) struct OwnedRecord {
    stamp: Stamp,
    module_path: Option<&'static str>,
    file: Option<&'static str>,
    body: Body,
    line: u32,
    thread: u32,
    level: u8,
    wanting: Wanting,
    parts: Parts,
}

/// What stands in the body.
#[derive(Clone, Copy, Default)]
struct Parts {
    message_len: u32,
    target_len: u16,
    name_len: u8,
    /// The target is not the module path, but stands in the body.
    own_target: bool,
    truncated: bool,
    /// The message is a whole line that some other crate has laid out.
    is_line: bool,
}

enum Body {
    /// A message without arguments, and nothing else: not copied.
    Literal(&'static str),
    /// Target, thread name, message, key-values.
    Inline(ArrayVec<u8, INLINE>),
    /// The same, when it does not fit.
    Heap(Vec<u8>),
}

/// A line of the crate's own: no place and no thread, the target `unfazed`.
pub(crate) struct Notice {
    record: OwnedRecord,
    time: SystemTime,
}

impl Notice {
    pub(crate) fn new(
        level: Level,
        time: SystemTime,
        message: fmt::Arguments<'_>,
        key_values: &[(&str, Value<'_>)],
    ) -> Self {
        let (mut body, mut parts) = (Body::Inline(ArrayVec::new_const()), Parts::default());
        body.push_message(message, &mut parts);
        let mut writer = KeyValueWriter::new(&mut body);
        for (key, value) in key_values {
            writer.pair(key, |body, tag| value.encode(body, tag));
        }
        let (stamp, level) = (Stamp::Time(time), level as u8);
        let record = OwnedRecord {
            stamp,
            module_path: Some("unfazed"),
            file: None,
            body,
            line: 0,
            thread: 0,
            level,
            wanting: Wanting::NOBODY,
            parts,
        };
        Self { record, time }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record::new(&self.record, self.time, None)
    }
}

/// Who logs: the number of the thread, and its name as long as the writer has not learnt it.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) thread: u32,
    pub(crate) name: Option<&'a str>,
}

/// What is formatted, before it is a record. The record itself is made where it is handed over, and
/// not looked at any more: each look would cost a copy of it.
pub(crate) struct Draft {
    body: Body,
    parts: Parts,
}

impl Draft {
    #[inline(always)]
    pub(crate) fn new(record: &log::Record<'_>, caller: Caller<'_>, more: Option<&dyn MoreKeyValues>) -> Self {
        let mut body = Body::Inline(ArrayVec::new_const());
        let parts = body.fill(record, caller, more);
        Self { body, parts }
    }

    /// Its message is a whole line that no format lays out.
    #[cfg(feature = "tracing")]
    pub(crate) fn into_line(mut self) -> Self {
        self.parts.is_line = true;
        self
    }

    /// The bytes that the record will hold outside its slot.
    #[inline(always)]
    pub(crate) fn spilled(&self) -> usize {
        self.body.spilled()
    }

    #[inline(always)]
    pub(crate) fn finish(
        self,
        record: &log::Record<'_>,
        stamp: Stamp,
        caller: Caller<'_>,
        wanting: Wanting,
    ) -> OwnedRecord {
        OwnedRecord {
            stamp,
            module_path: record.module_path_static(),
            file: record.file_static(),
            body: self.body,
            line: record.line().unwrap_or(0),
            thread: caller.thread,
            level: record.level() as u8,
            wanting,
            parts: self.parts,
        }
    }
}

impl OwnedRecord {
    /// Formats the message into a new record. Runs the `Display` of the caller's arguments, which
    /// may log or panic.
    pub(crate) fn capture(record: &log::Record<'_>, stamp: Stamp, caller: Caller<'_>) -> Self {
        Draft::new(record, caller, None).finish(record, stamp, caller, Wanting::NOBODY)
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

    pub(crate) fn thread(&self) -> u32 {
        self.thread
    }

    /// How many bytes of text it has, more or less: what a format lays out.
    pub(crate) fn text_len(&self) -> usize {
        let body = match &self.body {
            Body::Literal(literal) => literal.len(),
            body => body.bytes().len(),
        };
        body + self.module_path.map_or(0, str::len)
    }

    /// Whether the message is the whole line.
    pub(crate) fn is_line(&self) -> bool {
        self.parts.is_line
    }

    /// Whether the message or the key-values were cut.
    pub(crate) fn truncated(&self) -> bool {
        self.parts.truncated
    }

    /// The bytes this record holds outside its slot.
    pub(crate) fn spilled(&self) -> usize {
        self.body.spilled()
    }

    pub(crate) fn message(&self) -> &str {
        match &self.body {
            Body::Literal(literal) => literal,
            _ => self
                .text(self.parts.target_len as usize + self.parts.name_len as usize, self.parts.message_len as usize),
        }
    }

    /// The name of the thread, if this record brought it.
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
        // Only whole `str`s were pushed, each cut at a character's boundary: this cannot fail.
        self.body.bytes().get(start..start + len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    fn key_values(&self) -> KeyValues<'_> {
        self.file_and_key_values().1
    }

    fn file(&self) -> Option<&str> {
        self.file.or_else(|| self.file_and_key_values().0)
    }

    fn file_and_key_values(&self) -> (Option<&str>, KeyValues<'_>) {
        let start = match self.body {
            Body::Literal(_) => 0,
            _ => self.parts.target_len as usize + self.parts.name_len as usize + self.parts.message_len as usize,
        };
        KeyValues { bytes: self.body.bytes().get(start..).unwrap_or(&[]) }.split_file()
    }
}

impl Body {
    /// Puts in what the record has and the program text has not.
    #[inline(never)]
    fn fill(&mut self, record: &log::Record<'_>, caller: Caller<'_>, more: Option<&dyn MoreKeyValues>) -> Parts {
        let mut parts = Parts::default();
        let target = record.target();
        parts.own_target = !record.module_path_static().is_some_and(|path| same_text(path, target));
        if parts.own_target {
            let target = cut(target, u16::MAX.into());
            parts.target_len = self.push_text(target) as u16;
            parts.truncated = usize::from(parts.target_len) < target.len();
        }
        if let Some(name) = caller.name {
            parts.name_len = self.push_text(cut(name, LONGEST_THREAD_NAME)) as u8;
        }
        let key_values = record.key_values();
        // What is handed on from another facade (tracing's feature `log`) has its place in texts
        // that may go away.
        let own_file = if record.file_static().is_none() { record.file() } else { None };
        let has_key_values = key_values.count() > 0 || own_file.is_some() || more.is_some();
        let alone = !parts.own_target && parts.name_len == 0 && !has_key_values;
        match record.args().as_str() {
            Some(literal) if alone && literal.len() <= LONGEST_MESSAGE => *self = Body::Literal(literal),
            _ => self.push_message(*record.args(), &mut parts),
        }
        if has_key_values {
            let mut writer = KeyValueWriter::new(self);
            if let Some(file) = own_file {
                writer.file(file);
            }
            // The visitor never fails, and a source that does has given what it had.
            let _ = key_values.visit(&mut writer);
            if let Some(more) = more {
                more.write(&mut writer);
            }
            parts.truncated |= writer.truncated;
        }
        parts
    }

    fn push_message(&mut self, message: fmt::Arguments<'_>, parts: &mut Parts) {
        let start = self.bytes().len();
        let mut writer = TextWriter { body: self, start, most: LONGEST_MESSAGE, full: false };
        // An error here is the caller's `Display` giving up: what it wrote before is the message.
        let _ = writer.write_fmt(message);
        if writer.full {
            let _ = self.mark_cut(start, LONGEST_MESSAGE);
            parts.truncated = true;
        }
        parts.message_len = (self.bytes().len() - start) as u32;
    }

    /// Ends the text that begins at `start`, and has at most `most` bytes, with the mark that says
    /// that it was cut. Returns whether memory was no reason for the cut.
    fn mark_cut(&mut self, start: usize, most: usize) -> bool {
        // Where there was no memory for more, the mark goes into what there is.
        let end = (start + most).min(self.capacity());
        // A character has at most four bytes: a text that was cut for its length ends just before
        // it.
        let has_memory = self.bytes().len() + 4 > start + most;
        self.cut_to(end.saturating_sub(CUT_MARK.len()).max(start));
        // Where not even the mark fits, the count of what was cut has it.
        self.push(CUT_MARK.as_bytes()) && has_memory
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Body::Literal(_) => &[],
            Body::Inline(bytes) => bytes,
            Body::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Body::Literal(_) => &mut [],
            Body::Inline(bytes) => bytes,
            Body::Heap(bytes) => bytes,
        }
    }

    #[inline]
    fn spilled(&self) -> usize {
        match self {
            Body::Heap(bytes) => bytes.capacity(),
            Body::Literal(_) | Body::Inline(_) => 0,
        }
    }

    /// What it can hold as it is, without more memory.
    fn capacity(&self) -> usize {
        match self {
            Body::Literal(_) => 0,
            Body::Inline(bytes) => bytes.capacity(),
            Body::Heap(bytes) => bytes.capacity(),
        }
    }

    /// Adds all of it; or nothing, and says no: there is no memory. A program with none left is not
    /// ended by its log.
    #[inline]
    #[must_use]
    fn push(&mut self, more: &[u8]) -> bool {
        match self {
            Body::Inline(bytes) => bytes.try_extend_from_slice(more).is_ok() || self.spill(more),
            Body::Heap(bytes) => {
                let fits = has_room(bytes, more.len());
                if fits {
                    bytes.extend_from_slice(more);
                }
                fits
            }
            Body::Literal(_) => self.spill(more),
        }
    }

    /// Adds as much of a text as there is memory for; says how many bytes.
    #[inline]
    fn push_text(&mut self, text: &str) -> usize {
        if self.push(text.as_bytes()) { text.len() } else { self.push_what_fits(text) }
    }

    #[cold]
    fn push_what_fits(&mut self, text: &str) -> usize {
        let text = cut(text, self.capacity() - self.bytes().len());
        if self.push(text.as_bytes()) { text.len() } else { 0 }
    }

    /// Shortens it to at most `len` bytes, at a character's boundary.
    fn cut_to(&mut self, len: usize) {
        let bytes = self.bytes();
        let mut len = len.min(bytes.len());
        while len > 0 && bytes.get(len).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
            len -= 1;
        }
        match self {
            Body::Inline(bytes) => bytes.truncate(len),
            Body::Heap(bytes) => bytes.truncate(len),
            Body::Literal(_) => {}
        }
    }

    #[cold]
    fn spill(&mut self, more: &[u8]) -> bool {
        let old = self.bytes();
        let mut heap = Vec::new();
        if !has_room(&mut heap, (old.len() + more.len()).max(2 * INLINE)) {
            return false;
        }
        heap.extend_from_slice(old);
        heap.extend_from_slice(more);
        *self = Body::Heap(heap);
        true
    }
}

/// Makes room for so many bytes more, if there is memory for them.
fn has_room(bytes: &mut Vec<u8>, more: usize) -> bool {
    #[cfg(test)]
    if tests::NO_MEMORY.get() {
        return bytes.capacity() - bytes.len() >= more;
    }
    bytes.try_reserve(more).is_ok()
}

/// Takes formatted text up to a number of bytes and swallows the rest, so that no `Display` sees an
/// error of ours.
pub(crate) struct TextWriter<'a> {
    body: &'a mut Body,
    /// Where the text begins in the body.
    start: usize,
    most: usize,
    full: bool,
}

impl fmt::Write for TextWriter<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Whatever fits into the slot is far from the limit.
        let fits = match self.body {
            Body::Inline(bytes) => bytes.try_extend_from_slice(text.as_bytes()).is_ok(),
            _ => false,
        };
        if !fits {
            self.write_long(text);
        }
        Ok(())
    }
}

impl TextWriter<'_> {
    #[cold]
    fn write_long(&mut self, text: &str) {
        if self.full {
            return;
        }
        let left = self.most.saturating_sub(self.body.bytes().len() - self.start);
        self.full = self.body.push_text(cut(text, left)) < text.len();
    }
}

/// Two texts from the program itself are mostly one and the same.
#[inline]
fn same_text(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}

fn cut(text: &str, most: usize) -> &str {
    // A character has at most four bytes.
    let most = most.min(text.len());
    let end = (most.saturating_sub(3)..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

pub(crate) fn level_of(number: u8) -> Level {
    match number {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    }
}

/// Shows a record to a format, on the writer's thread.
///
/// ```
/// use std::io::Write as _;
///
/// let format = unfazed::Format::custom(|line, record| {
///     let thread = record.thread_name().unwrap_or("-");
///     writeln!(line, "{} [{thread}] {}", record.level(), record.message())
/// });
/// ```
#[derive(Clone, Copy)]
pub struct Record<'a> {
    owned: &'a OwnedRecord,
    time: SystemTime,
    thread_name: Option<&'a str>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(owned: &'a OwnedRecord, time: SystemTime, thread_name: Option<&'a str>) -> Self {
        Self { owned, time, thread_name }
    }

    /// When the program logged it, by the wall clock. Where the kernel keeps its time by the
    /// processor's counter (Linux on x86-64, mostly) the caller reads only that; should the clock
    /// be set while the record waits in the queue, its time is the new clock's.
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// Returns the level.
    pub fn level(&self) -> Level {
        self.owned.level()
    }

    /// Returns the target: the module path unless the program named another.
    pub fn target(&self) -> &'a str {
        self.owned.target()
    }

    /// The module that logged it; `None` where the program did not say, or handed the record on
    /// from elsewhere: then the target mostly says it.
    pub fn module_path(&self) -> Option<&'a str> {
        self.owned.module_path
    }

    /// Returns the source file of the log call; `None` where the program did not say.
    pub fn file(&self) -> Option<&'a str> {
        self.owned.file()
    }

    /// Returns the line of the log call in its file, counted from 1; `None` where the program did
    /// not say.
    pub fn line(&self) -> Option<u32> {
        (self.owned.line > 0).then_some(self.owned.line)
    }

    /// The number of the thread that logged it, counted from 1 in the order of first log calls; 0
    /// for the crate's own lines.
    pub fn thread_number(&self) -> u32 {
        self.owned.thread
    }

    /// Returns the name of the thread that logged it; `None` if it has none.
    pub fn thread_name(&self) -> Option<&'a str> {
        self.thread_name
    }

    /// Whether the message is the whole line, which no format lays out.
    pub(crate) fn is_line(&self) -> bool {
        self.owned.is_line()
    }

    /// How many bytes of text a format has to lay out.
    pub(crate) fn text_len(&self) -> usize {
        self.owned.text_len()
    }

    /// Returns the message, without its key-values; at most 64 KiB.
    pub fn message(&self) -> &'a str {
        self.owned.message()
    }

    /// Returns the key-values.
    pub fn key_values(&self) -> KeyValues<'a> {
        self.owned.key_values()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("level", &self.level())
            .field("target", &self.target())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Memory beyond what there is cannot be had.
        pub(super) static NO_MEMORY: Cell<bool> = const { Cell::new(false) };
    }

    const STAMP: Stamp = Stamp::Time(SystemTime::UNIX_EPOCH);
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
    fn the_place_of_a_record_that_was_handed_on_stays_next_to_its_key_values() {
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
    fn a_message_that_is_too_long_is_cut_at_a_character_and_marked() {
        let text = "ä".repeat(LONGEST_MESSAGE);
        let owned = captured(format_args!("x{text}"), "a::b", NOBODY);
        assert!(owned.truncated());
        assert!(owned.message().len() <= LONGEST_MESSAGE);
        assert!(owned.message().ends_with("ä...[cut]"));
    }
}
