//! The value of a key, with the type that the program gave it. Written on the caller's thread, read
//! on the writer's.

use std::error::Error;
use std::fmt::{self, Write as _};

use arrayvec::ArrayString;

use super::body::{Body, Written};
use super::text_of;

/// At most this many sources of an error are stored, in case they form a circle.
const MOST_SOURCES: usize = 64;
/// The bytes that hold the length of an error's message.
const LEN: usize = 4;

pub(super) const NULL: u8 = 0;
const BOOL: u8 = 1;
const I64: u8 = 2;
const U64: u8 = 3;
const I128: u8 = 4;
const U128: u8 = 5;
const F64: u8 = 6;
pub(super) const STR: u8 = 7;
pub(super) const FILE: u8 = 8;
pub(super) const ERROR: u8 = 9;
pub(super) const JSON: u8 = 10;

/// Holds the value of a key, with the type that the program gave it.
///
/// ```
/// use std::io::Write as _;
/// use unfazed::Value;
///
/// let format = unfazed::Format::custom(|line, record| {
///     for (key, value) in record.key_values() {
///         match value {
///             Value::Str(text) => write!(line, "{key}={text:?} ")?,
///             other => write!(line, "{key}={other} ")?,
///         }
///     }
///     writeln!(line)
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer of up to 64 bits.
    I64(i64),
    /// An unsigned integer of up to 64 bits.
    U64(u64),
    /// A signed integer that needs 128 bits.
    I128(i128),
    /// An unsigned integer that needs 128 bits.
    U128(u128),
    /// A floating-point number, which may be infinite or NaN.
    F64(f64),
    /// A string, or the text of anything else that implements `Display` or `Debug`.
    Str(&'a str),
    /// An error (`err:err = error`) with its sources.
    Error(ErrorChain<'a>),
    /// A structured value (`user:serde = user`, `user:sval = user`) as compact JSON: an object, an
    /// array, or what a `RawValue` of serde_json contains. Needs the feature `kv_serde` or
    /// `kv_sval`; without them it is a [`Str`](Self::Str).
    Json(&'a str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::U64(value) => value.fmt(f),
            Value::I128(value) => value.fmt(f),
            Value::U128(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
            Value::Str(value) | Value::Json(value) => value.fmt(f),
            Value::Error(chain) => chain.fmt(f),
        }
    }
}

impl<'a> Value<'a> {
    /// Hands over its tag and its bytes.
    #[inline(always)]
    pub(super) fn encoded<R>(&self, take: impl FnOnce(u8, &[u8]) -> R) -> R {
        match self {
            Value::Null => take(NULL, &[]),
            Value::Bool(value) => take(BOOL, &[u8::from(*value)]),
            Value::I64(value) => take(I64, &value.to_le_bytes()),
            Value::U64(value) => take(U64, &value.to_le_bytes()),
            Value::I128(value) => take(I128, &value.to_le_bytes()),
            Value::U128(value) => take(U128, &value.to_le_bytes()),
            Value::F64(value) => take(F64, &value.to_le_bytes()),
            Value::Str(value) => take(STR, value.as_bytes()),
            Value::Error(chain) => take(ERROR, chain.bytes),
            Value::Json(value) => take(JSON, value.as_bytes()),
        }
    }

    /// Writes its bytes and its tag. Returns false if there was no memory.
    pub(super) fn encode(&self, body: &mut Body, tag: &mut u8) -> bool {
        self.encoded(|kind, bytes| {
            *tag = kind;
            body.push(bytes)
        })
    }

    pub(super) fn decode(tag: u8, bytes: &'a [u8]) -> Self {
        fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().unwrap_or([0; N])
        }
        match tag {
            NULL => Value::Null,
            BOOL => Value::Bool(bytes == [1]),
            I64 => Value::I64(i64::from_le_bytes(number(bytes))),
            U64 => Value::U64(u64::from_le_bytes(number(bytes))),
            I128 => Value::I128(i128::from_le_bytes(number(bytes))),
            U128 => Value::U128(u128::from_le_bytes(number(bytes))),
            F64 => Value::F64(f64::from_le_bytes(number(bytes))),
            ERROR => Value::Error(ErrorChain { bytes }),
            JSON => Value::Json(text_of(bytes)),
            _ => Value::Str(text_of(bytes)),
        }
    }
}

/// Returns the `f64` with the shortest text that gives the same `f32`.
pub(crate) fn shortest(value: f32) -> f64 {
    // That text has at most 9 digits.
    let mut text = ArrayString::<32>::new();
    let written = write!(text, "{value:e}").ok();
    written.and_then(|()| text.parse().ok()).unwrap_or(value.into())
}

/// Gives the messages of an error: its own, then that of each source. `Display` writes them as one
/// text, joined by `; caused by: `.
///
/// ```
/// use std::io::Write as _;
/// use unfazed::Value;
///
/// let format = unfazed::Format::custom(|line, record| {
///     line.text(record.message());
///     for (_, value) in record.key_values() {
///         let Value::Error(chain) = value else { continue };
///         for message in chain {
///             write!(line, " <- ")?;
///             line.text(message);
///         }
///     }
///     Ok(())
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorChain<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for ErrorChain<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (len, rest) = self.bytes.split_first_chunk::<LEN>()?;
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.bytes = rest;
        Some(text_of(message))
    }
}

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, message) in self.enumerate() {
            f.write_str(if number > 0 { "; caused by: " } else { "" })?;
            f.write_str(message)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Pushes the messages of an error and of its sources, at most `most` bytes; `None` if there is no
/// memory for any.
pub(super) fn push_error(body: &mut Body, most: usize, error: &(dyn Error + 'static)) -> Option<Written> {
    let start = body.bytes().len();
    let mut source = Some(error);
    for _ in 0..=MOST_SOURCES {
        let Some(error) = source else { break };
        source = error.source();
        let at = body.bytes().len();
        let used = at - start + LEN;
        if used >= most {
            return Some(Written::Cut);
        }
        if !body.push(&[0; LEN]) {
            return (at > start).then_some(Written::NoMemory);
        }
        let written = body.push_written(most - used, |text| write!(text, "{error}"));
        let len = (body.bytes().len() - at - LEN) as u32;
        body.bytes_mut()[at..at + LEN].copy_from_slice(&len.to_le_bytes());
        if written != Written::Whole {
            return Some(written);
        }
    }
    Some(Written::Whole)
}
