//! Key-values inside a record's bytes, with the types the program gave them. Written on the
//! caller's stack, read on the writer's thread.
//!
//! One pair: tag, length of the key (2 bytes), length of the value (4 bytes), key, value. A key
//! that is in the log call's static is not copied: the tag says so, and the key's number is in the
//! place of its length. Before all others there may be a pair that is not a key-value: the file of
//! a record whose location is not part of the program text.

use std::fmt::{self, Write as _};

use log::kv::{self, VisitSource};

use super::body::{Body, TextWriter, Written, cut};
#[cfg(feature = "kv_serde")]
use super::structured;
use super::text_of;
use super::value::{self, ERROR, FILE, NULL, STR, Value};

/// The key-values of one record take at most this many bytes; a text that does not fit is cut.
const MOST_KEY_VALUES: usize = 64 * 1024;

/// The bytes that a record has beyond that, so that small pairs after a large one are not lost,
/// such as a request's number after its body.
const MOST_LATE_KEY_VALUES: usize = 8 * 1024;

/// A text takes at most this many of those bytes.
const LONGEST_LATE_TEXT: usize = 256;

/// A pair's type, the length of its key and that of its value.
const HEAD: usize = 1 + 2 + 4;

/// Added to the tag of a pair whose key has a number.
const IS_NUMBERED: u8 = 0x80;

/// A longer key is always copied to its value. All keys that are not copied are together far below
/// the limits.
const LONGEST_NUMBERED: usize = 255;

/// The path of a source file longer than this is cut.
const LONGEST_FILE: usize = 4096;

/// What a record has next to the key-values of the log call.
pub(crate) trait MoreKeyValues {
    fn write(&self, into: &mut KeyValueWriter<'_>);
}

/// The keys of a log call.
pub(crate) type Keys = &'static [&'static str];

/// Takes key-values.
pub struct KeyValueWriter<'a> {
    body: &'a mut Body,
    start: usize,
    /// The bytes of the keys that were left in the log call's static.
    numbered: usize,
    /// Something was cut or left out.
    pub(super) truncated: bool,
    /// There is no memory for more.
    full: bool,
}

impl fmt::Debug for KeyValueWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValueWriter").finish_non_exhaustive()
    }
}

impl<'a> KeyValueWriter<'a> {
    pub(super) fn new(body: &'a mut Body) -> Self {
        let start = body.bytes().len();
        Self { body, start, numbered: 0, truncated: false, full: false }
    }

    /// Continues a body that holds nothing except pairs.
    fn continued(body: &'a mut Body) -> Self {
        Self { body, start: 0, numbered: 0, truncated: false, full: false }
    }

    /// Returns the bytes of all pairs so far, as if each key were with its value.
    fn used(&self) -> usize {
        self.body.bytes().len() - self.start + self.numbered
    }

    /// Writes one pair. `value` pushes the value's bytes and sets its tag; it returns false if
    /// there is no memory.
    pub(super) fn pair(&mut self, key: &str, value: impl FnOnce(&mut Body, &mut u8) -> bool) {
        let head = self.body.bytes().len();
        let key = cut(key, u16::MAX.into());
        if self.full || self.used() + HEAD + key.len() > MOST_KEY_VALUES + MOST_LATE_KEY_VALUES {
            self.truncated = true;
            return;
        }
        let mut tag = NULL;
        // The program's code may panic while it writes the value, and may catch that.
        let half = HalfPair { body: self.body, head };
        let named = half.body.push(&[0; HEAD]) && half.body.push(key.as_bytes());
        let from = half.body.bytes().len();
        if !(named && value(half.body, &mut tag)) {
            drop(half);
            (self.truncated, self.full) = (true, true);
            return;
        }
        std::mem::forget(half);
        let len = (self.body.bytes().len() - from) as u32;
        let fields = &mut self.body.bytes_mut()[head..head + HEAD];
        fields[0] = tag;
        fields[1..3].copy_from_slice(&(key.len() as u16).to_le_bytes());
        fields[3..7].copy_from_slice(&len.to_le_bytes());
    }

    /// Writes a pair with the key's length or number, if there is room for it in the slot. Whatever
    /// fits there is far from the limits.
    #[inline(always)]
    fn fits(&mut self, tag: u8, length_or_number: usize, key: &str, value: &[u8]) -> bool {
        let [k0, k1] = (length_or_number as u16).to_le_bytes();
        let [v0, v1, v2, v3] = (value.len() as u32).to_le_bytes();
        match self.body {
            Body::Inline(inline) if !self.full && inline.remaining_capacity() >= HEAD + key.len() + value.len() => {
                inline.try_extend_from_slice(&[tag, k0, k1, v0, v1, v2, v3]).is_ok()
                    && inline.try_extend_from_slice(key.as_bytes()).is_ok()
                    && inline.try_extend_from_slice(value).is_ok()
            }
            _ => false,
        }
    }

    /// Returns whether a pair with this key has been written.
    pub(crate) fn has(&self, key: &str) -> bool {
        let bytes = self.body.bytes().get(self.start..).unwrap_or(&[]);
        KeyValues::new(bytes, &[]).split_file().1.any(|(other, _)| other == key)
    }

    /// Writes a pair whose value is of any type that `log` knows.
    pub(crate) fn any(&mut self, key: &str, value: kv::Value<'_>) {
        if let Some(error) = value.to_borrowed_error() {
            return self.bounded(key, |body, tag, most| {
                *tag = ERROR;
                value::push_error(body, most, error)
            });
        }
        #[cfg(feature = "kv_serde")]
        self.bounded(key, |body, tag, most| structured::push(body, tag, most, &value));
        // The visitor never fails.
        #[cfg(not(feature = "kv_serde"))]
        let _ = value.visit(PairWriter { key, into: self });
    }

    /// Writes a pair whose value is already in the form that is stored.
    #[inline]
    pub(crate) fn value(&mut self, key: &str, value: Value<'_>) {
        if !value.encoded(|tag, bytes| self.fits(tag, key.len(), key, bytes)) {
            self.long_value(key, value);
        }
    }

    /// Writes such a pair with the key that has this number in the log call's static.
    #[inline]
    pub(crate) fn numbered_value(&mut self, keys: Keys, number: usize, value: Value<'_>) {
        let key = keys.get(number).copied().unwrap_or("");
        let may_stay = key.len() <= LONGEST_NUMBERED;
        if may_stay && value.encoded(|tag, bytes| self.fits(tag | IS_NUMBERED, number, "", bytes)) {
            self.numbered += key.len();
        } else {
            self.long_value(key, value);
        }
    }

    #[cold]
    fn long_value(&mut self, key: &str, value: Value<'_>) {
        match value {
            Value::Str(value) => self.text(key, |text| text.write_str(value)),
            value => self.pair(key, |body, tag| value.encode(body, tag)),
        }
    }

    /// Writes a pair whose value is the text that `write` gives.
    pub(crate) fn text(&mut self, key: &str, write: impl FnOnce(&mut TextWriter<'_>) -> fmt::Result) {
        self.bounded(key, |body, tag, most| {
            *tag = STR;
            Some(body.push_written(most, write))
        });
    }

    /// Writes the file of the record's location, before all key-values.
    pub(super) fn file(&mut self, file: &str) {
        self.pair("", |body, tag| {
            *tag = FILE;
            body.push(cut(file, LONGEST_FILE).as_bytes())
        });
    }

    /// Writes a pair whose value has no length of its own: `write` is given how many bytes it may
    /// push, and returns `None` if there is no memory for the value.
    fn bounded(&mut self, key: &str, write: impl FnOnce(&mut Body, &mut u8, usize) -> Option<Written>) {
        let used = self.used() + HEAD + key.len();
        let left = (MOST_KEY_VALUES + MOST_LATE_KEY_VALUES).saturating_sub(used);
        let most = MOST_KEY_VALUES.saturating_sub(used).max(LONGEST_LATE_TEXT).min(left);
        let mut written = Written::Whole;
        self.pair(key, |body, tag| match write(body, tag, most) {
            Some(value) => {
                written = value;
                true
            }
            None => false,
        });
        self.truncated |= written != Written::Whole;
        self.full |= written == Written::NoMemory;
    }
}

impl<'kvs> VisitSource<'kvs> for KeyValueWriter<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.any(key.as_str(), value);
        Ok(())
    }
}

/// Takes the types that `log` itself knows.
#[cfg(not(feature = "kv_serde"))]
struct PairWriter<'k, 'a, 'b> {
    key: &'k str,
    into: &'a mut KeyValueWriter<'b>,
}

#[cfg(not(feature = "kv_serde"))]
impl PairWriter<'_, '_, '_> {
    fn set(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.into.value(self.key, value);
        Ok(())
    }
}

#[cfg(not(feature = "kv_serde"))]
impl<'v> kv::VisitValue<'v> for PairWriter<'_, '_, '_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.into.text(self.key, |text| write!(text, "{value}"));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.set(Value::Null)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.set(Value::U64(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.set(Value::I64(value))
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.set(Value::U128(value))
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.set(Value::I128(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.set(Value::F64(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.set(Value::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.set(Value::Str(value))
    }
}

/// A pair that is being written. Half a pair could not be read back, so dropping it cuts it off.
struct HalfPair<'a> {
    body: &'a mut Body,
    head: usize,
}

impl Drop for HalfPair<'_> {
    fn drop(&mut self) {
        self.body.cut_to(self.head);
    }
}

/// Gives the key-values of a record, in the order in which the program gave them.
///
/// ```
/// use std::io::Write as _;
///
/// let format = unfazed::Format::custom(|line, record| {
///     write!(line, "{}", record.message())?;
///     for (key, value) in record.key_values() {
///         write!(line, " {key}={value}")?;
///     }
///     writeln!(line)
/// });
/// ```
#[derive(Clone, Debug)]
pub struct KeyValues<'a> {
    bytes: &'a [u8],
    /// The keys of the log call, for the pairs that have a number instead of a key.
    keys: Keys,
}

impl<'a> KeyValues<'a> {
    pub(super) fn new(bytes: &'a [u8], keys: Keys) -> Self {
        Self { bytes, keys }
    }

    /// Returns true if there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes out the file of the record's location, if it is there.
    #[inline]
    pub(super) fn split_file(self) -> (Option<&'a str>, Self) {
        if self.is_empty() { (None, self) } else { self.split_first() }
    }

    fn split_first(mut self) -> (Option<&'a str>, Self) {
        let all = self.clone();
        match self.next_raw() {
            Some((FILE, _, file)) => (std::str::from_utf8(file).ok(), self),
            _ => (None, all),
        }
    }

    fn next_raw(&mut self) -> Option<(u8, &'a str, &'a [u8])> {
        let (&[tag, k0, k1, v0, v1, v2, v3], rest) = self.bytes.split_first_chunk::<HEAD>()?;
        let length_or_number = usize::from(u16::from_le_bytes([k0, k1]));
        let (key, rest) = if tag & IS_NUMBERED == 0 {
            let (key, rest) = rest.split_at_checked(length_or_number)?;
            (text_of(key), rest)
        } else {
            (*self.keys.get(length_or_number)?, rest)
        };
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes([v0, v1, v2, v3]) as usize)?;
        self.bytes = rest;
        Some((tag & !IS_NUMBERED, key, value))
    }
}

impl<'a> Iterator for KeyValues<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, key, value) = self.next_raw()?;
        Some((key, Value::decode(tag, value)))
    }
}

/// Key-values on their way to a record: as many as fit its slot allocate nothing.
pub(crate) struct Pairs(Body);

impl Pairs {
    pub(crate) fn new() -> Self {
        Self(Body::new())
    }

    pub(crate) fn push(&mut self, key: &str, value: kv::Value<'_>) {
        let mut writer = KeyValueWriter::continued(&mut self.0);
        writer.any(key, value);
    }

    /// Writes those whose keys are not there yet.
    pub(crate) fn write_missing(&self, into: &mut KeyValueWriter<'_>) {
        for (key, value) in KeyValues::new(self.0.bytes(), &[]) {
            if !into.has(key) {
                into.value(key, value);
            }
        }
    }
}

/// Key-values that belong to no record: what a format writes into each line.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

impl Fields {
    pub(crate) fn push(&mut self, key: &str, value: kv::Value<'_>) {
        let mut body = Body::new();
        KeyValueWriter::new(&mut body).any(key, value);
        // If there is no memory for it, it is left out.
        if self.bytes.try_reserve(body.bytes().len()).is_ok() {
            self.bytes.extend_from_slice(body.bytes());
        }
    }

    /// Adds a field like `push`, and removes the one that had this key.
    pub(crate) fn set(&mut self, key: &str, value: kv::Value<'_>) {
        self.remove(key);
        self.push(key, value);
    }

    /// Sets all of these fields; or none, if there is no memory for them. Runs no code of the
    /// program.
    #[cfg(feature = "tracing")]
    pub(crate) fn set_all(&mut self, fields: &Fields) {
        if self.bytes.try_reserve(fields.bytes.len()).is_err() {
            return;
        }
        let mut rest = fields.pairs();
        while let Some((_, key, _)) = rest.next_raw() {
            self.remove(key);
        }
        self.bytes.extend_from_slice(&fields.bytes);
    }

    fn remove(&mut self, key: &str) {
        let mut rest = self.pairs();
        let mut at = 0;
        while let Some((_, other, value)) = rest.next_raw() {
            let end = at + HEAD + other.len() + value.len();
            if other == key {
                self.bytes.drain(at..end);
                return;
            }
            at = end;
        }
    }

    pub(crate) fn pairs(&self) -> KeyValues<'_> {
        KeyValues::new(&self.bytes, &[])
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use crate::clock::Stamp;

    use super::*;
    use crate::record::{Caller, OwnedRecord};

    const NOBODY: Caller<'static> = Caller { thread: 7, name: None };

    #[test]
    fn a_value_that_is_too_long_is_cut_and_marked_and_small_ones_after_it_are_there() {
        for len in [65_000, 65_536, 70_000, 1_000_000] {
            let (body, other) = ("b".repeat(len), "o".repeat(1000));
            let pairs: &[(&str, kv::Value<'_>)] = &[
                ("body", (&*body).into()),
                ("other", (&*other).into()),
                ("status", 500.into()),
                ("request_id", "r-42".into()),
            ];
            let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
            let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), NOBODY);
            assert!(owned.truncated());
            let got: Vec<_> = owned.key_values().collect();
            assert_eq!(got[2..], [("status", Value::I64(500)), ("request_id", Value::Str("r-42"))], "{len}");
            let Value::Str(text) = got[0].1 else { panic!("no text: {:?}", got[0]) };
            assert!(text == body || text.ends_with("b...[cut]") && text.len() > 65_000 - 600, "{}", text.len());
            let Value::Str(text) = got[1].1 else { panic!("no text: {:?}", got[1]) };
            assert!(text.ends_with("o...[cut]"), "{text}");
        }
    }

    /// A value that gives up half-way.
    struct Failing;

    impl fmt::Display for Failing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn a_text_whose_display_fails_is_marked_and_what_follows_is_there() {
        let pairs: &[(&str, kv::Value<'_>)] = &[("bad", kv::Value::from_display(&Failing)), ("next", 1.into())];
        let owned = OwnedRecord::capture(
            &log::Record::builder().args(format_args!("a {Failing} b")).key_values(&pairs).build(),
            Stamp::at(SystemTime::UNIX_EPOCH),
            NOBODY,
        );
        assert_eq!(owned.message(), "a half...[formatting failed]");
        let got: Vec<_> = owned.key_values().collect();
        assert_eq!(got, [("bad", Value::Str("half...[formatting failed]")), ("next", Value::I64(1))]);
        assert!(!owned.truncated());
    }

    #[test]
    fn an_error_keeps_its_sources_however_many_there_are() {
        #[derive(Debug)]
        struct Circle;

        impl fmt::Display for Circle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("round")
            }
        }

        impl std::error::Error for Circle {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&Circle)
            }
        }

        let outer = std::io::Error::other(std::io::Error::other("inner"));
        let pairs: &[(&str, kv::Value<'_>)] = &[
            ("err", kv::Value::from_dyn_error(&outer)),
            ("circle", kv::Value::from_dyn_error(&Circle)),
            ("n", 1.into()),
        ];
        let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
        let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), NOBODY);
        let got: Vec<_> = owned.key_values().map(|(_, value)| value).collect();
        let [Value::Error(err), Value::Error(circle), Value::I64(1)] = got[..] else { panic!("{got:?}") };
        assert_eq!(err.to_string(), "inner", "`io::Error` shows its source as its own text");
        assert_eq!(circle.count(), 65);
        assert!(!owned.truncated());
    }

    #[test]
    fn any_number_of_pairs_has_a_bound() {
        let keys: Vec<_> = (0..3000).map(|number| format!("key-{number}")).collect();
        let text = "x".repeat(100);
        let pairs: Vec<(&str, kv::Value<'_>)> = keys.iter().map(|key| (&**key, (&*text).into())).collect();
        let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
        let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), NOBODY);
        assert!(owned.truncated());
        let bytes: usize = owned.key_values().map(|(key, value)| key.len() + value.to_string().len()).sum();
        assert!((MOST_KEY_VALUES / 2..MOST_KEY_VALUES + MOST_LATE_KEY_VALUES).contains(&bytes), "{bytes}");
    }

    #[test]
    fn key_values_keep_their_types() {
        let pairs: &[(&str, kv::Value<'_>)] = &[
            ("b", kv::Value::from(true)),
            ("i", kv::Value::from(-5i64)),
            ("u", kv::Value::from(u64::MAX)),
            ("big", kv::Value::from(i128::MIN)),
            ("f", kv::Value::from(0.5)),
            ("s", kv::Value::from("text with = and \"")),
            ("d", kv::Value::from_debug(&[1, 2])),
        ];
        let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
        let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), NOBODY);
        let got: Vec<_> = owned.key_values().collect();
        assert_eq!(
            got,
            [
                ("b", Value::Bool(true)),
                ("i", Value::I64(-5)),
                ("u", Value::U64(u64::MAX)),
                ("big", Value::I128(i128::MIN)),
                ("f", Value::F64(0.5)),
                ("s", Value::Str("text with = and \"")),
                ("d", Value::Str("[1, 2]")),
            ]
        );
        assert_eq!(owned.message(), "m");
    }
}
