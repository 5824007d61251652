//! Writes arguments into a message: the common ones without `std::fmt`, to the same text. Runs on
//! the writer's thread.
//!
//! A log call names one of these for each of its placeholders. A placeholder that none of them
//! writes has a closure of its own, which costs the compiler several times as much.

use std::fmt;

use super::stored::{Reader, Stored, Value};
use crate::record::{Show, TextWriter};

/// Writes the next argument as `{}` does.
pub const DISPLAY: Show = display;
/// Writes the next argument as `{:?}` does.
pub const DEBUG: Show = |arguments, text| text.write_fmt(format_args!("{:?}", Reader::new(arguments).value()));
/// Writes the next argument as `{:x}` does.
pub const HEX: Show = |arguments, text| text.write_fmt(format_args!("{:x}", Reader::new(arguments).value()));
/// Writes the next argument as `{:#x}` does.
pub const PREFIXED_HEX: Show = |arguments, text| text.write_fmt(format_args!("{:#x}", Reader::new(arguments).value()));

macro_rules! with_number {
    ($($(#[$doc:meta])* $name:ident = $format:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name<const NUMBER: usize>(arguments: &mut &[u8], text: &mut TextWriter<'_>) -> fmt::Result {
            text.write_fmt(format_args!($format, Reader::new(arguments).value()))
        }
    )*};
}

with_number! {
    /// Writes the next argument as `{:8}` does, with this width.
    padded = "{:NUMBER$}";
    /// Writes the next argument as `{:<8}` does, with this width.
    left = "{:<NUMBER$}";
    /// Writes the next argument as `{:>8}` does, with this width.
    right = "{:>NUMBER$}";
    /// Writes the next argument as `{:.1?}` does, with this precision.
    fixed_debug = "{:.NUMBER$?}";
    /// Writes the next argument as `{:08x}` does, with this width.
    zero_padded_hex = "{:0NUMBER$x}";
    /// Writes the next argument as `{:#010x}` does, with this width.
    zero_padded_prefixed_hex = "{:#0NUMBER$x}";
}

fn display(arguments: &mut &[u8], text: &mut TextWriter<'_>) -> fmt::Result {
    let mut arguments = Reader::new(arguments);
    if let Some(bytes) = arguments.text_if_next() {
        text.push(bytes);
        return Ok(());
    }
    let value = arguments.read().unwrap_or(Value::Unit);
    let mut digits = itoa::Buffer::new();
    match integer(value, &mut digits) {
        Some(digits) => text.push(digits.as_bytes()),
        None => return text.write_fmt(format_args!("{}", Stored(value))),
    }
    Ok(())
}

/// The most digits that `zero_padded` may be asked for: those of an `i128`, and its sign.
const MOST_PADDED: usize = 40;

/// Writes the next argument as `{:08}` does, with this width, at most 40.
pub fn zero_padded<const WIDTH: usize>(arguments: &mut &[u8], text: &mut TextWriter<'_>) -> fmt::Result {
    const { assert!(WIDTH <= MOST_PADDED) };
    let value = Reader::new(arguments).value();
    let mut digits = itoa::Buffer::new();
    let Some(number) = integer(value.0, &mut digits) else {
        return text.write_fmt(format_args!("{value:0WIDTH$}"));
    };
    let (sign, digits) = number.split_at(usize::from(number.starts_with('-')));
    text.push(sign.as_bytes());
    text.push(&[b'0'; MOST_PADDED][..WIDTH.saturating_sub(number.len())]);
    text.push(digits.as_bytes());
    Ok(())
}

/// Returns the digits of an integer.
#[inline(always)]
fn integer<'a>(value: Value<'_>, digits: &'a mut itoa::Buffer) -> Option<&'a str> {
    Some(match value {
        Value::I8(value) => digits.format(value),
        Value::I16(value) => digits.format(value),
        Value::I32(value) => digits.format(value),
        Value::I64(value) => digits.format(value),
        Value::I128(value) => digits.format(value),
        Value::Isize(value) => digits.format(value),
        Value::U8(value) => digits.format(value),
        Value::U16(value) => digits.format(value),
        Value::U32(value) => digits.format(value),
        Value::U64(value) => digits.format(value),
        Value::U128(value) => digits.format(value),
        Value::Usize(value) => digits.format(value),
        _ => return None,
    })
}

/// The most digits after the point that `fixed` may be asked for.
const MOST_DIGITS: usize = 9;
/// A sign, the digits of a `u64`, and a point.
const LONGEST: usize = 22;

/// Writes the next argument as `{:.2}` does, with this many digits, at most nine.
pub fn fixed<const DIGITS: usize>(arguments: &mut &[u8], text: &mut TextWriter<'_>) -> fmt::Result {
    let value = Reader::new(arguments).value();
    let float = match value.0 {
        Value::F32(value) => value.into(),
        Value::F64(value) => value,
        _ => f64::NAN,
    };
    let Some(mut rest) = rounded::<DIGITS>(float) else {
        return text.write_fmt(format_args!("{value:.DIGITS$}"));
    };
    let mut bytes = [b'0'; LONGEST];
    let mut at = LONGEST;
    let mut push = |byte| {
        at -= 1;
        bytes[at] = byte;
    };
    let mut digit = || {
        let digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        (digit, rest > 0)
    };
    if DIGITS > 0 {
        (0..DIGITS).for_each(|_| push(digit().0));
        push(b'.');
    }
    loop {
        let (digit, goes_on) = digit();
        push(digit);
        if !goes_on {
            break;
        }
    }
    if float.is_sign_negative() {
        push(b'-');
    }
    text.push(&bytes[at..]);
    Ok(())
}

/// Returns the absolute value in units of the last of `DIGITS` digits after the point, rounded as
/// `std::fmt` does: exactly, and half to even. Nothing if it is no number, or a large one.
fn rounded<const DIGITS: usize>(float: f64) -> Option<u64> {
    const { assert!(DIGITS <= MOST_DIGITS) };
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = float.to_bits();
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    // The number is `mantissa / 2^shift`.
    let (mantissa, shift) = match (bits >> FRACTION_BITS & 0x7ff) as u32 {
        0 => (fraction, 1074),
        exponent => (fraction | 1 << FRACTION_BITS, 1075_u32.checked_sub(exponent)?),
    };
    // At most 83 bits.
    let scaled = u128::from(mantissa) * u128::from(10_u64.pow(DIGITS as u32));
    match shift {
        0 => return None,
        // Less than half a unit.
        85.. => return Some(0),
        _ => {}
    }
    let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
    let whole = u64::try_from(whole).ok()?;
    let is_up = rest > half || (rest == half && whole % 2 == 1);
    whole.checked_add(is_up.into())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many numbers of each kind are compared.
    const NUMBERS: usize = 200_000;

    fn check<const DIGITS: usize>(float: f64) {
        let expected = format!("{:.DIGITS$}", float.abs());
        let Some(rounded) = rounded::<DIGITS>(float) else {
            assert!(!float.is_finite() || float.abs() >= 9e9, "{float:e} with {DIGITS} digits");
            return;
        };
        let digits = expected.bytes().filter(|byte| *byte != b'.');
        let number = digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        assert_eq!(rounded, number, "{float:e} with {DIGITS} digits: {expected}");
    }

    #[test]
    fn a_float_is_rounded_as_core_does() {
        let mut random = fastrand::Rng::with_seed(17);
        for number in 0..NUMBERS {
            let any = f64::from_bits(random.u64(..));
            let usual = (random.f64() - 0.5) * 10_f64.powi(random.i32(-8..12));
            // Half way between two of them, or next to it.
            let tie = f64::from(random.i32(..)) / f64::from(1 << random.u32(0..31));
            let next = f64::from_bits(tie.to_bits().wrapping_add(1));
            for float in [any, usual, tie, next, f64::from(usual as f32), number as f64 * 0.37] {
                check::<2>(float);
                match number % 4 {
                    0 => check::<0>(float),
                    1 => check::<1>(float),
                    2 => check::<3>(float),
                    _ => check::<9>(float),
                }
            }
        }
        for float in [0.0, -0.0, f64::MIN_POSITIVE, f64::from_bits(1), 0.5, 1.5, 2.5, 0.005, 0.015, 0.125, 0.375] {
            check::<0>(float);
            check::<2>(float);
            check::<9>(float);
        }
    }
}
