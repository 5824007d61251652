//! Arguments as they are read back: `Stored` has every trait of `std::fmt`, and writes what the
//! value itself would have. Runs on the writer's thread.
//!
//! The compiler has checked the traits of the values themselves at the call, so no trait is asked
//! for here that the value does not have.

use std::cmp::Ordering;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use log::Level;

/// The first byte of an argument.
pub(super) mod tag {
    pub(in super::super) const I8: u8 = 1;
    pub(in super::super) const I16: u8 = 2;
    pub(in super::super) const I32: u8 = 3;
    pub(in super::super) const I64: u8 = 4;
    pub(in super::super) const I128: u8 = 5;
    pub(in super::super) const ISIZE: u8 = 6;
    pub(in super::super) const U8: u8 = 7;
    pub(in super::super) const U16: u8 = 8;
    pub(in super::super) const U32: u8 = 9;
    pub(in super::super) const U64: u8 = 10;
    pub(in super::super) const U128: u8 = 11;
    pub(in super::super) const USIZE: u8 = 12;
    pub(in super::super) const F32: u8 = 13;
    pub(in super::super) const F64: u8 = 14;
    pub(in super::super) const BOOL: u8 = 15;
    pub(in super::super) const CHAR: u8 = 16;
    pub(in super::super) const STR: u8 = 17;
    pub(in super::super) const UNIT: u8 = 18;
    pub(in super::super) const NONE: u8 = 19;
    pub(in super::super) const SOME: u8 = 20;
    pub(in super::super) const DURATION: u8 = 21;
    pub(in super::super) const ORDERING: u8 = 22;
    pub(in super::super) const LEVEL: u8 = 23;
    pub(in super::super) const IPV4: u8 = 24;
    pub(in super::super) const IPV6: u8 = 25;
    pub(in super::super) const SOCKET_V4: u8 = 26;
    pub(in super::super) const SOCKET_V6: u8 = 27;
    pub(in super::super) const PATH: u8 = 28;
}

/// Reads the arguments of a call, one after the other.
#[derive(Debug)]
pub struct Reader<'r, 'a> {
    bytes: &'r mut &'a [u8],
}

/// An argument that was stored.
#[derive(Clone, Copy)]
pub struct Stored<'a>(pub(super) Value<'a>);

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    Isize(isize),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    Usize(usize),
    F32(f32),
    F64(f64),
    Bool(bool),
    Char(char),
    Str(&'a str),
    Unit,
    None,
    /// The bytes of what it holds.
    Some(&'a [u8]),
    Duration(Duration),
    Ordering(Ordering),
    Level(Level),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    SocketV4(SocketAddrV4),
    SocketV6(SocketAddrV6),
    Path(&'a Path),
}

impl<'r, 'a> Reader<'r, 'a> {
    /// Reads from these bytes, and takes away what has been read.
    pub fn new(bytes: &'r mut &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns the next argument. After the last one it is `()`. Not inlined, so that the code
    /// exists once for all placeholders with flags.
    #[inline(never)]
    pub fn value(&mut self) -> Stored<'a> {
        Stored(self.read().unwrap_or(Value::Unit))
    }

    /// Returns the next argument, which is a width or a precision.
    pub fn width(&mut self) -> usize {
        match self.read() {
            Some(Value::Usize(width)) => width,
            _ => 0,
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        *self.bytes = rest;
        Some(*taken)
    }

    /// Passes over a value that is looked at later.
    #[inline(never)]
    fn skip(&mut self) -> Option<()> {
        self.read().map(drop)
    }

    /// The bytes of a text.
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take()?) as usize;
        let (text, rest) = self.bytes.split_at_checked(len)?;
        *self.bytes = rest;
        Some(text)
    }

    /// Returns the bytes of the next argument, if it is a text; otherwise it stays where it is.
    #[inline]
    pub(super) fn text_if_next(&mut self) -> Option<&'a [u8]> {
        let (&tag::STR, rest) = self.bytes.split_first()? else { return None };
        *self.bytes = rest;
        self.text()
    }

    #[inline(always)]
    pub(super) fn read(&mut self) -> Option<Value<'a>> {
        let [tag] = self.take()?;
        Some(match tag {
            tag::I8 => Value::I8(i8::from_le_bytes(self.take()?)),
            tag::I16 => Value::I16(i16::from_le_bytes(self.take()?)),
            tag::I32 => Value::I32(i32::from_le_bytes(self.take()?)),
            tag::I64 => Value::I64(i64::from_le_bytes(self.take()?)),
            tag::I128 => Value::I128(i128::from_le_bytes(self.take()?)),
            tag::ISIZE => Value::Isize(isize::from_le_bytes(self.take()?)),
            tag::U8 => Value::U8(u8::from_le_bytes(self.take()?)),
            tag::U16 => Value::U16(u16::from_le_bytes(self.take()?)),
            tag::U32 => Value::U32(u32::from_le_bytes(self.take()?)),
            tag::U64 => Value::U64(u64::from_le_bytes(self.take()?)),
            tag::U128 => Value::U128(u128::from_le_bytes(self.take()?)),
            tag::USIZE => Value::Usize(usize::from_le_bytes(self.take()?)),
            tag::F32 => Value::F32(f32::from_le_bytes(self.take()?)),
            tag::F64 => Value::F64(f64::from_le_bytes(self.take()?)),
            tag::BOOL => Value::Bool(self.take()? == [1]),
            tag::CHAR => Value::Char(char::from_u32(u32::from_le_bytes(self.take()?))?),
            tag::STR => Value::Str(std::str::from_utf8(self.text()?).ok()?),
            tag::NONE => Value::None,
            tag::SOME => {
                let inside = *self.bytes;
                self.skip()?;
                Value::Some(inside)
            }
            tag::DURATION => {
                let seconds = u64::from_le_bytes(self.take()?);
                Value::Duration(Duration::new(seconds, u32::from_le_bytes(self.take()?)))
            }
            tag::ORDERING => Value::Ordering(i8::from_le_bytes(self.take()?).cmp(&0)),
            tag::LEVEL => {
                let [level] = self.take()?;
                Value::Level(Level::iter().find(|other| *other as u8 == level)?)
            }
            tag::IPV4 => Value::Ipv4(Ipv4Addr::from(self.take::<4>()?)),
            tag::IPV6 => Value::Ipv6(Ipv6Addr::from(self.take::<16>()?)),
            tag::SOCKET_V4 => {
                let address = Ipv4Addr::from(self.take::<4>()?);
                Value::SocketV4(SocketAddrV4::new(address, u16::from_le_bytes(self.take()?)))
            }
            tag::SOCKET_V6 => {
                let address = Ipv6Addr::from(self.take::<16>()?);
                let port = u16::from_le_bytes(self.take()?);
                let flow = u32::from_le_bytes(self.take()?);
                Value::SocketV6(SocketAddrV6::new(address, port, flow, u32::from_le_bytes(self.take()?)))
            }
            tag::PATH => Value::Path(Path::new(std::str::from_utf8(self.text()?).ok()?)),
            _ => Value::Unit,
        })
    }
}

/// Implements a trait of `std::fmt` for the variants that have it.
macro_rules! has {
    ($trait:ident: $($variant:ident)*) => {
        impl fmt::$trait for Stored<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    $(Value::$variant(value) => fmt::$trait::fmt(value, f),)*
                    _ => Err(fmt::Error),
                }
            }
        }
    };
}

has!(Display: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize F32 F64 Bool Char Str Level Ipv4 Ipv6
    SocketV4 SocketV6);
has!(LowerHex: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize);
has!(UpperHex: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize);
has!(Octal: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize);
has!(Binary: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize);
has!(LowerExp: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize F32 F64);
has!(UpperExp: I8 I16 I32 I64 I128 Isize U8 U16 U32 U64 U128 Usize F32 F64);

impl fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::I8(value) => fmt::Debug::fmt(value, f),
            Value::I16(value) => fmt::Debug::fmt(value, f),
            Value::I32(value) => fmt::Debug::fmt(value, f),
            Value::I64(value) => fmt::Debug::fmt(value, f),
            Value::I128(value) => fmt::Debug::fmt(value, f),
            Value::Isize(value) => fmt::Debug::fmt(value, f),
            Value::U8(value) => fmt::Debug::fmt(value, f),
            Value::U16(value) => fmt::Debug::fmt(value, f),
            Value::U32(value) => fmt::Debug::fmt(value, f),
            Value::U64(value) => fmt::Debug::fmt(value, f),
            Value::U128(value) => fmt::Debug::fmt(value, f),
            Value::Usize(value) => fmt::Debug::fmt(value, f),
            Value::F32(value) => fmt::Debug::fmt(value, f),
            Value::F64(value) => fmt::Debug::fmt(value, f),
            Value::Bool(value) => fmt::Debug::fmt(value, f),
            Value::Char(value) => fmt::Debug::fmt(value, f),
            Value::Str(value) => fmt::Debug::fmt(value, f),
            Value::Unit => fmt::Debug::fmt(&(), f),
            Value::None => fmt::Debug::fmt(&None::<()>, f),
            &Value::Some(mut inside) => fmt::Debug::fmt(&Some(Reader::new(&mut inside).value()), f),
            Value::Duration(value) => fmt::Debug::fmt(value, f),
            Value::Ordering(value) => fmt::Debug::fmt(value, f),
            Value::Level(value) => fmt::Debug::fmt(value, f),
            Value::Ipv4(value) => fmt::Debug::fmt(value, f),
            Value::Ipv6(value) => fmt::Debug::fmt(value, f),
            Value::SocketV4(value) => fmt::Debug::fmt(value, f),
            Value::SocketV6(value) => fmt::Debug::fmt(value, f),
            Value::Path(value) => fmt::Debug::fmt(value, f),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::ffi::OsString;
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::deferred::{DEBUG, DISPLAY, HEX, PREFIXED_HEX, Width, fixed, fixed_debug, left, padded, right};
    use crate::deferred::{zero_padded, zero_padded_hex, zero_padded_prefixed_hex};
    use crate::record::{Arguments, Deferred, Messages, OwnedRecord, Piece, Site};
    use crate::wanted::Wanting;

    /// Returns the message of a record with these arguments, and whether it was cut.
    fn laid_out(site: &'static Site, arguments: &dyn Arguments) -> (String, bool) {
        let record = log::Record::builder().target("t").args(format_args!("by the facade")).build();
        let mut owned = OwnedRecord::empty(&record, Stamp::at(SystemTime::UNIX_EPOCH), 7, Wanting::NOBODY);
        owned.fill_deferred(&record, None, None, Deferred { site, arguments, values: &() });
        let mut messages = Messages::default();
        let (message, is_cut) = messages.of(&owned);
        (String::from_utf8_lossy(message).into_owned(), is_cut || owned.truncated())
    }

    macro_rules! site {
        ($show:expr) => {
            Site::new("", "", 0, &[Piece { text: "", show: $show }], "")
        };
    }

    /// Checks that the message of a site is this text. A function, because the compiler takes long
    /// for hundreds of these in one.
    fn assert_laid_out(site: &'static Site, arguments: &dyn Arguments, expected: fmt::Arguments<'_>, literal: &str) {
        assert_eq!(laid_out(site, arguments), (expected.to_string(), false), "{literal}");
    }

    /// Has each literal laid out with a value that was stored; the text is that of `format!`.
    macro_rules! check {
        ($value:expr, $($literal:literal)*) => {{
            let value = $value;
            $({
                static SITE: Site = site!(|bytes, text| {
                    let value = Reader::new(bytes).value();
                    text.write_fmt(format_args!($literal, value))
                });
                assert_laid_out(&SITE, &(&value, ()), format_args!($literal, value), $literal);
            })*
        }};
    }

    /// Checks what writes a value without `std::fmt`.
    macro_rules! check_shown {
        ($value:expr, $($show:expr => $literal:literal),*) => {{
            let value = $value;
            $({
                static SITE: Site = site!($show);
                assert_laid_out(&SITE, &(&value, ()), format_args!($literal, value), $literal);
            })*
        }};
    }

    macro_rules! check_integer {
        ($($value:expr),*) => {$(check_shown!(
            $value, DISPLAY => "{}", DEBUG => "{:?}", HEX => "{:x}", PREFIXED_HEX => "{:#x}", fixed::<2> => "{:.2}",
            zero_padded::<1> => "{:01}", zero_padded::<8> => "{:08}", zero_padded::<40> => "{:040}",
            zero_padded_hex::<2> => "{:02x}", zero_padded_prefixed_hex::<18> => "{:#018x}",
            padded::<7> => "{:7}", left::<5> => "{:<5}", right::<12> => "{:>12}"
        ); check!(
            $value, "{}" "{:?}" "{:#?}" "{:x}" "{:#X}" "{:o}" "{:#b}" "{:#018x}" "{:+}" "{:>12}|" "{:<5}|" "{:^+9}|"
            "{:e}" "{:E}" "{:08}" "{:x?}" "{:#06X?}"
        );)*};
    }

    macro_rules! check_float {
        ($($value:expr),*) => {$(check_shown!(
            $value, DISPLAY => "{}", DEBUG => "{:?}", fixed::<0> => "{:.0}", fixed::<1> => "{:.1}", fixed::<2> => "{:.2}",
            fixed::<9> => "{:.9}", zero_padded::<12> => "{:012}", fixed_debug::<3> => "{:.3?}", left::<20> => "{:<20}"
        ); check!(
            $value, "{}" "{:?}" "{:#?}" "{:.0}" "{:.1}" "{:.2}" "{:.9}" "{:.17}" "{:+.3}" "{:e}" "{:E}" "{:.3e}"
            "{:>20}|" "{:020.5}" "{:<9.1}|" "{:.3?}"
        );)*};
    }

    proptest! {
        #[test]
        fn a_number_is_laid_out_as_it_would_have_been(
            a in any::<i8>(), b in any::<i16>(), c in any::<i32>(), d in any::<i64>(), e in any::<i128>(),
            bits in any::<u64>(), f in any::<f64>(),
        ) {
            check_integer!(a, b, c, d, e, d as isize);
            check_integer!(a as u8, b as u16, c as u32, d as u64, e as u128, d as usize);
            check_float!(f, f as f32, f64::from_bits(bits), f32::from_bits(bits as u32), c as f64 / 100.0);
        }

        #[test]
        fn any_other_value_is_laid_out_as_it_would_have_been(
            text in any::<String>(), letter in any::<char>(), yes in any::<bool>(), number in any::<Option<i16>>(),
            duration in any::<Duration>(), address in any::<SocketAddr>(), inner in any::<Option<Option<String>>>(),
        ) {
            check!(text.clone(), "{}" "{:?}" "{:#?}" "{:.3}|" "{:>9}|" "{:ß^9.2}|" "{:<20?}|");
            check!(text.as_str(), "{}" "{:?}");
            check_shown!(text.as_str(), DISPLAY => "{}", DEBUG => "{:?}", fixed::<3> => "{:.3}");
            check_shown!(text.as_str(), zero_padded::<9> => "{:09}", left::<9> => "{:<9}", right::<9> => "{:>9}");
            check_shown!(letter, DISPLAY => "{}", fixed::<0> => "{:.0}", zero_padded::<3> => "{:03}");
            check_shown!(address, DISPLAY => "{}", zero_padded::<25> => "{:025}");
            check!(letter, "{}" "{:?}" "{:>5}|" "{:.0}|");
            check!(yes, "{}" "{:?}" "{:>7}|" "{:.2}|");
            check!(number, "{:?}" "{:#?}" "{:+05?}" "{:x?}");
            check!(inner.clone(), "{:?}" "{:#?}");
            check_shown!(duration, fixed_debug::<2> => "{:.2?}");
            check!(duration, "{:?}" "{:.2?}" "{:>20?}|" "{:+?}");
            check!(address, "{}" "{:?}" "{:>50}|");
            check!(address.ip(), "{}" "{:?}" "{:>50}|" "{:<5?}|");
            check!(number.cmp(&Some(0)), "{:?}" "{:>9?}|");
            check!(PathBuf::from(&text), "{:?}" "{:#?}" "{:>30?}|" "{:.2?}");
            check!(Some(OsString::from(&text)), "{:?}" "{:#?}");
        }

        #[test]
        fn a_width_is_what_it_was(value in any::<i32>(), width in 0..300_usize, precision in 0..20_usize) {
            static SITE: Site = site!(|bytes, text| {
                let mut arguments = Reader::new(bytes);
                let (width, precision, value) = (arguments.width(), arguments.width(), arguments.value());
                text.write_fmt(format_args!("{0:>1$} {0:.2$}", value, width, precision))
            });
            let value = f64::from(value) / 8.0;
            let arguments = (Width(&width), (Width(&precision), (&value, ())));
            let expected = format!("{0:>1$} {0:.2$}", value, width, precision);
            prop_assert_eq!(laid_out(&SITE, &arguments), (expected, false));
        }
    }

    #[test]
    fn what_cannot_be_stored_is_laid_out_at_once() {
        static SITE: Site = site!(|_, text| text.write_fmt(format_args!("from what was stored")));
        let (long, wide) = ("x".repeat(64 * 1024), usize::from(u16::MAX) + 1);
        for (text, width, expected) in
            [("short", 5, "from what was stored"), (&*long, 5, "by the facade"), ("short", wide, "by the facade")]
        {
            let arguments = (text, (Width(&width), ()));
            assert_eq!(laid_out(&SITE, &arguments), (expected.to_owned(), false));
        }
    }

    #[test]
    fn a_record_that_is_made_at_its_site_takes_what_can_be_stored_and_no_more() {
        const LONG: &str = match std::str::from_utf8(&[b'x'; 64 * 1024 + 1]) {
            Ok(text) => text,
            Err(_) => "",
        };
        static LONGER: Site = Site::new("m", "f", 7, &[], LONG);
        static LITERAL: Site = Site::new("m", "f", 7, &[], "a literal");
        static SHOWN: Site = Site::new("m", "f", 7, &[Piece { text: "shown: ", show: DISPLAY }], "");
        let stamp = Stamp::at(SystemTime::UNIX_EPOCH);
        let message = |owned: &OwnedRecord| String::from_utf8_lossy(Messages::default().of(owned).0).into_owned();
        let text = |site: &'static Site, text: &str| {
            let mut owned = OwnedRecord::at_site(log::Level::Info, stamp, 1, site);
            let arguments = (text, ());
            let is_stored = owned.store(Deferred { site, arguments: &arguments, values: &() });
            is_stored.then(|| message(&owned))
        };
        assert_eq!(LITERAL.lone_literal(), Some("a literal"));
        let owned = OwnedRecord::of_literal(log::Level::Info, stamp, 1, &LITERAL, "a literal");
        assert_eq!((message(&owned), text(&LITERAL, "")), ("a literal".to_owned(), Some("a literal".to_owned())));
        assert_eq!(text(&SHOWN, "a text"), Some("shown: a text".to_owned()));
        assert_eq!(text(&SHOWN, &LONG[..300]), Some(format!("shown: {}", &LONG[..300])));
        assert_eq!((LONGER.lone_literal(), text(&SHOWN, LONG)), (None, None), "too long");
        let cut = text(&LONGER, "").expect("cut where it is laid out");
        assert!(cut.len() == 64 * 1024 && cut.ends_with("x...[cut]"), "{}", cut.len());
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_and_marked_as_with_the_facade() {
        static SITE: Site = site!(|bytes, text| {
            let value = Reader::new(bytes).value();
            text.write_fmt(format_args!("{value:>60000}{value:>60000}"))
        });
        let (message, is_cut) = laid_out(&SITE, &("ä", ()));
        assert!(is_cut && message.len() == 64 * 1024 && message.ends_with(" ...[cut]"), "{}", message.len());
    }

    #[test]
    fn bytes_that_are_no_arguments_are_read_without_a_panic() {
        for first in 0..=u8::MAX {
            for len in 0..40 {
                let bytes: Vec<u8> = std::iter::once(first).chain(std::iter::repeat_n(0xE2, len)).collect();
                let mut rest = &*bytes;
                let mut reader = Reader::new(&mut rest);
                let _ = (format!("{:?}", reader.value()), reader.width());
            }
        }
    }
}
