//! Values that describe themselves (`key:serde`, `key:sval`): simple ones keep their type, the
//! others become JSON. Runs on the caller's thread.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

use log::kv;
use serde_core::de::IgnoredAny;
use serde_core::ser::{self, Impossible, Serialize, Serializer};
use serde_json::ser::Formatter;

use super::body::{Body, TextWriter, Written};
use super::value::{JSON, STR, Value, shortest};

/// Pushes a value and sets its tag; `None` if there is no memory for it.
pub(super) fn push(body: &mut Body, tag: &mut u8, most: usize, value: &kv::Value<'_>) -> Option<Written> {
    let mut simple = Simple { body, tag, most, outcome: Outcome::Nothing };
    // The outcome says more than the result.
    let _ = value.serialize(&mut simple);
    match simple.outcome {
        Outcome::Pushed(written) => written,
        Outcome::Structured => Some(push_json(body, tag, most, value)),
        Outcome::Nothing => Some(push_text(body, tag, most, value)),
    }
}

/// Pushes the value as JSON. If it is too long, it is a text that ends with the mark: half an
/// object could not be parsed.
fn push_json(body: &mut Body, tag: &mut u8, most: usize, value: &kv::Value<'_>) -> Written {
    let start = body.bytes().len();
    let (mut is_json, mut is_full, mut state) = (false, false, State::default());
    let written = body.push_written(most, |text| {
        let mut writer = JsonWriter(text);
        let mut serializer = serde_json::Serializer::with_formatter(&mut writer, Compact(&mut state));
        is_json = value.serialize(&mut serializer).is_ok() && state.write_end(&mut writer).is_ok();
        is_full = text.is_full();
        Ok(())
    });
    if is_json || is_full {
        let json = body.bytes().get(start..).unwrap_or_default();
        let is_refused = state.is_refused || state.has_foreign && !is_valid(json);
        *tag = if is_full || is_refused { STR } else { JSON };
        return written;
    }
    body.cut_to(start);
    push_text(body, tag, most, value)
}

/// Pushes the text of a value that serde cannot serialize: its own `Serialize` fails, or it is one
/// of those that `sval` cannot hand on to serde, as an array of a fixed length.
fn push_text(body: &mut Body, tag: &mut u8, most: usize, value: &kv::Value<'_>) -> Written {
    *tag = STR;
    body.push_written(most, |text| write!(text, "{value}"))
}

/// Takes JSON up to the limit, and fails there: what comes after it need not be serialized.
struct JsonWriter<'a, 'b>(&'a mut TextWriter<'b>);

impl io::Write for JsonWriter<'_, '_> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(json).map_err(|_| io::ErrorKind::InvalidData)?;
        // It never fails: it swallows what is too long.
        let _ = self.0.write_str(text);
        if self.0.is_full() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(json.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Objects and lists are at most this deep. In a line they are 64 levels, the smallest limit among
/// the usual readers (.NET; Ruby has 100, serde_json 127, `jq` 256).
const DEEPEST: usize = 63;

/// Writes compact JSON, also of a `RawValue`, which has blanks and newlines where its author put
/// them. Notes what would make readers refuse the whole line.
struct Compact<'a>(&'a mut State);

#[derive(Default)]
struct State {
    depth: usize,
    /// The end of the last object or list, which is written before whatever comes after it.
    end: Option<u8>,
    /// Contains a number or raw JSON whose text comes from the value.
    has_foreign: bool,
    is_refused: bool,
}

impl State {
    fn enter(&mut self) {
        self.depth += 1;
        self.is_refused |= self.depth > DEEPEST;
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Notes the end of an object or a list. `serde_json` ends one at its beginning if its length
    /// is given as 0, and may then begin an entry all the same: `sval_nested` gives that length for
    /// each list within a structure.
    fn end(&mut self, end: u8) {
        self.leave();
        self.end = Some(end);
    }

    /// Begins an entry after a comma, or the first one of an object or a list that was ended too
    /// early.
    fn begin_entry(&mut self, is_first: bool, writer: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        if self.end.take().is_some() {
            self.enter();
            return Ok(());
        }
        if is_first { Ok(()) } else { writer.write_all(b",") }
    }

    fn write_end(&mut self, writer: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        self.end.take().map_or(Ok(()), |end| writer.write_all(&[end]))
    }

    /// Looks at a string with its quotes, a number or a word of raw JSON, which nobody has read
    /// before: a number may be beyond an `f64`, and an escape may be half of a surrogate pair.
    fn check(&mut self, token: &str) {
        self.is_refused |= match token.starts_with('"') {
            true => token.contains("\\u") && serde_json::from_str::<String>(token).is_err(),
            false => token.parse::<f64>().is_ok_and(f64::is_infinite),
        };
    }
}

impl Formatter for Compact<'_> {
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter();
        writer.write_all(b"[")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_entry(first, writer)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.write_end(writer)
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.end(b']');
        Ok(())
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter();
        writer.write_all(b"{")
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_entry(first, writer)
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.write_end(writer)
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.end(b'}');
        Ok(())
    }

    fn write_number_str<W: io::Write + ?Sized>(&mut self, writer: &mut W, number: &str) -> io::Result<()> {
        self.0.has_foreign = true;
        self.0.check(number);
        writer.write_all(number.as_bytes())
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.0.has_foreign = true;
        let mut rest = fragment.trim_start();
        while !rest.is_empty() {
            let (token, after) = rest.split_at(raw_token(rest));
            match token {
                "[" | "{" => self.0.enter(),
                "]" | "}" => self.0.leave(),
                token => self.0.check(token),
            }
            writer.write_all(token.as_bytes())?;
            rest = after.trim_start();
        }
        Ok(())
    }
}

/// Returns the length of the first token of JSON: a sign, a string with its quotes, a number or a
/// word.
fn raw_token(json: &str) -> usize {
    let bytes = json.as_bytes();
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"[]{},:\"".contains(byte);
    let mut is_escaped = true; // the quote that begins the string
    let ends_string = |byte: &u8| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = !is_escaped && *byte == b'\\';
        ends
    };
    let end = match bytes.first() {
        Some(b'"') => bytes.iter().position(ends_string).map(|last| last + 1),
        _ => bytes.iter().position(is_end).map(|end| end.max(1)),
    };
    end.unwrap_or(bytes.len())
}

/// Returns whether this is JSON. The text of a number or of raw JSON need not be: a type may hand
/// on what it likes by the names that serde_json reserves for its own, as decimals do.
fn is_valid(json: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(json).is_ok()
}

/// What became of a value.
enum Outcome {
    /// Its `Serialize` failed, or did nothing.
    Nothing,
    Pushed(Option<Written>),
    /// It is no simple value: only JSON can hold it.
    Structured,
}

/// Takes a value that is not made of others.
struct Simple<'a> {
    body: &'a mut Body,
    tag: &'a mut u8,
    most: usize,
    outcome: Outcome,
}

impl Simple<'_> {
    fn set(&mut self, value: Value<'_>) -> Result<(), NotSimple> {
        self.outcome = Outcome::Pushed(value.encode(self.body, self.tag).then_some(Written::Whole));
        Ok(())
    }

    fn text(&mut self, text: impl fmt::Display) -> Result<(), NotSimple> {
        *self.tag = STR;
        self.outcome = Outcome::Pushed(Some(self.body.push_written(self.most, |to| write!(to, "{text}"))));
        Ok(())
    }

    fn structured<T>(&mut self) -> Result<T, NotSimple> {
        self.outcome = Outcome::Structured;
        Err(NotSimple)
    }
}

/// Ends the serialization of a value that is not simple.
#[derive(Debug)]
struct NotSimple;

impl fmt::Display for NotSimple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no simple value")
    }
}

impl Error for NotSimple {}

impl ser::Error for NotSimple {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Never = Impossible<(), NotSimple>;

/// Numbers go as they are to one of the types that a record keeps.
macro_rules! numbers {
    ($($method:ident($from:ty) => $variant:ident,)*) => {$(
        fn $method(self, value: $from) -> Result<(), NotSimple> {
            self.set(Value::$variant(value.into()))
        }
    )*};
}

impl Serializer for &mut Simple<'_> {
    type Ok = ();
    type Error = NotSimple;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    numbers! {
        serialize_bool(bool) => Bool,
        serialize_i8(i8) => I64,
        serialize_i16(i16) => I64,
        serialize_i32(i32) => I64,
        serialize_i64(i64) => I64,
        serialize_i128(i128) => I128,
        serialize_u8(u8) => U64,
        serialize_u16(u16) => U64,
        serialize_u32(u32) => U64,
        serialize_u64(u64) => U64,
        serialize_u128(u128) => U128,
        serialize_f64(f64) => F64,
    }

    fn serialize_f32(self, value: f32) -> Result<(), NotSimple> {
        self.set(Value::F64(shortest(value)))
    }

    fn serialize_char(self, value: char) -> Result<(), NotSimple> {
        self.text(value)
    }

    fn serialize_str(self, value: &str) -> Result<(), NotSimple> {
        self.text(value)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), NotSimple> {
        self.text(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), NotSimple> {
        self.structured()
    }

    fn serialize_none(self) -> Result<(), NotSimple> {
        self.set(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotSimple> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotSimple> {
        self.set(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotSimple> {
        self.set(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotSimple> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), NotSimple> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotSimple> {
        self.structured()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, NotSimple> {
        self.structured()
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never, NotSimple> {
        self.structured()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use serde_core::ser::{Error as _, SerializeMap as _, SerializeSeq as _, SerializeStruct as _};
    use serde_json::value::RawValue;

    use super::*;
    use crate::clock::Stamp;
    use crate::record::{Caller, OwnedRecord};

    /// Asserts what becomes of a value, and that the next one is there.
    fn assert_stored(value: kv::Value<'_>, expected: Value<'_>) {
        let pairs: &[(&str, kv::Value<'_>)] = &[("value", value), ("next", 1.into())];
        let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
        let nobody = Caller { thread: 7, name: None };
        let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), nobody);
        let got: Vec<_> = owned.key_values().collect();
        assert_eq!(got, [("value", expected), ("next", Value::I64(1))]);
    }

    #[test]
    fn simple_values_keep_their_type() {
        let nothing: Option<u8> = None;
        assert_stored(kv::Value::from_serde(&7_u8), Value::U64(7));
        assert_stored(kv::Value::from_serde(&-7_i32), Value::I64(-7));
        assert_stored(kv::Value::from_serde(&true), Value::Bool(true));
        assert_stored(kv::Value::from_serde(&nothing), Value::Null);
        assert_stored(kv::Value::from_serde(&"a\"b"), Value::Str("a\"b"));
        assert_stored(kv::Value::from_serde(&'c'), Value::Str("c"));
        assert_stored(kv::Value::from_debug(&[1, 2]), Value::Str("[1, 2]"));
        assert_stored(kv::Value::from_display(&"text"), Value::Str("text"));
    }

    #[test]
    fn an_f32_has_the_shortest_text_that_gives_it_back_and_an_f64_is_as_it_is() {
        let cases = [(0.1_f32, 0.1), (16.7, 16.7), (-12345.67, -12345.67), (f32::MAX, 3.4028235e38), (0.5, 0.5)];
        for (given, expected) in cases {
            assert_stored(kv::Value::from_serde(&given), Value::F64(expected));
        }
        assert_stored(kv::Value::from_serde(&f32::INFINITY), Value::F64(f64::INFINITY));
        for value in [0.10000000149011612_f64, 8191.0009765625, 0.1] {
            assert_stored(kv::Value::from_serde(&value), Value::F64(value));
            assert_stored(kv::Value::from(value), Value::F64(value));
        }
        assert_stored(kv::Value::from_serde(&[0.1_f32]), Value::Json("[0.1]"));
    }

    #[test]
    fn structured_values_become_compact_json() {
        let user = BTreeMap::from([("id", "7"), ("name", "anna b")]);
        assert_stored(kv::Value::from_serde(&user), Value::Json(r#"{"id":"7","name":"anna b"}"#));
        assert_stored(kv::Value::from_serde(&(1, "x", [true])), Value::Json(r#"[1,"x",[true]]"#));
    }

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    /// A newline between the parts became `\n` outside of a string, which is no JSON, and in
    /// OTLP/JSON a second line.
    #[test]
    fn raw_json_becomes_compact_json() {
        let value = raw("\r\n{\n\t\"a b\" : [ 1 , -2.50e+3,true\t],\"c\\\\\":\" \\\" { \u{e9} \\ud83d\\ude00\"\n} ");
        let compact = r#"{"a b":[1,-2.50e+3,true],"c\\":" \" { é \ud83d\ude00"}"#;
        assert_stored(kv::Value::from_serde(&value), Value::Json(compact));
        assert_stored(kv::Value::from_serde(&[&value]), Value::Json(&format!("[{compact}]")));
        assert_stored(kv::Value::from_serde(&raw(" \n7 ")), Value::Json("7"));
    }

    /// Readers refused the whole line for it, and whoever could choose the value could hide a line
    /// from them.
    #[test]
    fn json_that_readers_refuse_is_a_text() {
        for json in [r#"{"a":1e400}"#, "-1e400", r#"["\ud800"]"#, r#"{"\ude00\ud83d":1}"#] {
            assert_stored(kv::Value::from_serde(&raw(json)), Value::Str(json));
            assert_stored(kv::Value::from_serde(&[raw(json)]), Value::Str(&format!("[{json}]")));
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (depth, is_text) in [(DEEPEST - 1, false), (DEEPEST, false), (DEEPEST + 1, true), (120, true)] {
            let json = nested(depth);
            let stored = if is_text { Value::Str(&json) } else { Value::Json(&json) };
            assert_stored(kv::Value::from_serde(&raw(&json)), stored);
            assert_stored(kv::Value::from_serde(&serde_json::from_str::<serde_json::Value>(&json).unwrap()), stored);
        }
        let wide = format!("[{}]", ["{}", "[]"].repeat(100).join(","));
        assert_stored(kv::Value::from_serde(&raw(&wide)), Value::Json(&wide));
        let wide: serde_json::Value = serde_json::from_str(&wide).unwrap();
        assert_stored(kv::Value::from_serde(&wide), Value::Json(&wide.to_string()));
    }

    /// Another crate's type hands on its text as `serde_json::value::RawValue` does.
    #[test]
    fn raw_json_that_is_none_is_a_text() {
        struct Raw(&'static str);

        impl Serialize for Raw {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                const NAME: &str = "$serde_json::private::RawValue";
                let mut raw = serializer.serialize_struct(NAME, 1)?;
                raw.serialize_field(NAME, self.0)?;
                raw.end()
            }
        }

        assert_stored(kv::Value::from_serde(&Raw("[1.50]")), Value::Json("[1.50]"));
        for text in ["NaN", "01", "+1", "1]", "}{", "\"", "[1 2", "'a'"] {
            assert_stored(kv::Value::from_serde(&[Raw(text)]), Value::Str(&format!("[{}]", text.replace(' ', ""))));
        }
    }

    #[cfg(feature = "kv_sval")]
    #[test]
    fn values_of_sval_become_compact_json_too() {
        assert_stored(kv::Value::from_sval(&&[1, 2][..]), Value::Json("[1,2]"));
        assert_stored(kv::Value::from_sval(&[1, 2]), Value::Str("[1, 2]"));
        assert_stored(kv::Value::from_sval(&7_u8), Value::U64(7));
        assert_stored(kv::Value::from_sval(&"text"), Value::Str("text"));
    }

    /// `serde_json` made `[],1]` of a list that says that it is empty and is not, which cost the
    /// line. `sval` says so of every list within a structure.
    #[test]
    fn a_wrong_number_of_entries_costs_nothing() {
        /// Says of each list and object that this many entries come.
        struct Said(Option<usize>);

        impl Serialize for Said {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                struct Entries(Option<usize>, &'static [u8]);

                impl Serialize for Entries {
                    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                        let mut list = serializer.serialize_seq(self.0)?;
                        self.1.iter().try_for_each(|entry| list.serialize_element(entry))?;
                        list.end()
                    }
                }

                let mut object = serializer.serialize_map(self.0)?;
                for (name, entries) in [("none", &[][..]), ("one", &[1]), ("more", &[1, 2, 3])] {
                    object.serialize_entry(name, &[Entries(self.0, entries)])?;
                }
                object.end()
            }
        }

        for said in [None, Some(0), Some(1), Some(9)] {
            assert_stored(
                kv::Value::from_serde(&Said(said)),
                Value::Json(r#"{"none":[[]],"one":[[1]],"more":[[1,2,3]]}"#),
            );
        }
    }

    #[cfg(feature = "kv_sval")]
    #[test]
    fn a_list_within_a_structure_of_sval_has_its_entries() {
        let lists: &[&[u8]] = &[&[], &[1], &[1, 2]];
        assert_stored(kv::Value::from_sval(&lists), Value::Json("[[],[1],[1,2]]"));
    }

    #[test]
    fn a_structure_that_is_too_long_is_a_text_with_a_mark() {
        let list = vec!["x".repeat(1000); 100];
        let pairs: &[(&str, kv::Value<'_>)] = &[("list", kv::Value::from_serde(&list)), ("next", 1.into())];
        let record = log::Record::builder().args(format_args!("m")).key_values(&pairs).build();
        let nobody = Caller { thread: 7, name: None };
        let owned = OwnedRecord::capture(&record, Stamp::at(SystemTime::UNIX_EPOCH), nobody);
        assert!(owned.truncated());
        let got: Vec<_> = owned.key_values().map(|(_, value)| value).collect();
        let [Value::Str(text), Value::I64(1)] = got[..] else { panic!("{got:?}") };
        assert!(text.starts_with("[\"xxx") && text.ends_with("x...[cut]") && text.len() > 60_000, "{}", text.len());
    }

    /// A value whose `Serialize` gives up, after its first element or at once.
    struct Failing(bool);

    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                true => serializer.collect_seq([Some(Failing(false))]),
                false => Err(S::Error::custom("no")),
            }
        }
    }

    #[test]
    fn a_value_whose_serialize_fails_is_marked() {
        let mark = "<failed to serialize to a standard formatter>";
        assert_stored(kv::Value::from_serde(&Failing(true)), Value::Str(&format!("[Some({mark})]")));
        assert_stored(kv::Value::from_serde(&Failing(false)), Value::Str(mark));
    }
}
