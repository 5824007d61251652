//! Which arguments are stored by their bytes, and which go by the facade. Runs on the caller's
//! thread.
//!
//! The macros ask both traits, `HoldByValue` first, by a method on one reference more: the compiler
//! takes it for the types that it is there for, and the other one for all others.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::plain::KeyValue;
use super::stored::tag;
use crate::record::{ArgumentWriter, Arguments, KeyValueWriter, Keys, Values};

/// `format_args!` panics on a greater width or precision: such a call must do so where it stands.
const MOST_WIDTH: usize = u16::MAX as usize;

/// A type whose values are stored by their bytes: the type's tag, then what it needs.
pub trait Capture: Sync {
    /// Stores the value, or says no.
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool;
}

/// Arguments or values of which it is known while the program is compiled whether they are stored.
pub trait Storable {
    /// True if all of them are stored.
    const IS_STORABLE: bool;
}

/// An argument that is written.
#[derive(Debug)]
pub struct Argument<'a, T: ?Sized>(pub &'a T);

/// An argument that is a width or a precision.
#[derive(Debug)]
pub struct Width<'a, T: ?Sized>(pub &'a T);

/// An argument that is stored when it is known that the record is wanted.
#[derive(Debug)]
pub struct Held<'a, T: ?Sized>(&'a T);

/// A width or a precision.
#[derive(Debug)]
pub struct HeldWidth<'a>(&'a usize);

/// The value of a key.
#[derive(Debug)]
pub struct ValueOf<'a, T: ?Sized>(pub &'a T);

/// The value of a key that is stored when it is known that the record is wanted.
#[derive(Debug)]
pub struct HeldValue<'a, T: ?Sized>(&'a T);

/// An argument or a value of a type that is not stored.
#[derive(Debug)]
pub struct Facade;

/// Holds what can be stored.
pub trait HoldByValue {
    /// What holds the argument until then.
    type Held;
    #[doc(hidden)]
    fn __unfazed_hold(&self) -> Self::Held;
}

/// Says of everything else that it goes by the facade.
pub trait HoldByFacade {
    #[doc(hidden)]
    fn __unfazed_hold(&self) -> Facade {
        Facade
    }
}

impl<'a, T: Capture + ?Sized> HoldByValue for &Argument<'a, T> {
    type Held = Held<'a, T>;

    #[inline]
    fn __unfazed_hold(&self) -> Held<'a, T> {
        Held(self.0)
    }
}

impl<'a> HoldByValue for &Width<'a, usize> {
    type Held = HeldWidth<'a>;

    #[inline]
    fn __unfazed_hold(&self) -> HeldWidth<'a> {
        HeldWidth(self.0)
    }
}

impl<'a, T: KeyValue + ?Sized> HoldByValue for &ValueOf<'a, T> {
    type Held = HeldValue<'a, T>;

    #[inline]
    fn __unfazed_hold(&self) -> HeldValue<'a, T> {
        HeldValue(self.0)
    }
}

impl<T: ?Sized> HoldByFacade for Argument<'_, T> {}
impl<T: ?Sized> HoldByFacade for Width<'_, T> {}
impl<T: ?Sized> HoldByFacade for ValueOf<'_, T> {}

impl<T: Capture + ?Sized> Arguments for Held<'_, T> {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        self.0.store(into)
    }
}

impl<T: Capture + ?Sized> Storable for Held<'_, T> {
    const IS_STORABLE: bool = true;
}

impl Arguments for HeldWidth<'_> {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        *self.0 <= MOST_WIDTH && self.0.store(into)
    }
}

impl Storable for HeldWidth<'_> {
    const IS_STORABLE: bool = true;
}

impl Arguments for Facade {
    fn store(&self, _: &mut ArgumentWriter<'_>) -> bool {
        false
    }
}

impl Storable for Facade {
    const IS_STORABLE: bool = false;
}

impl Arguments for () {
    fn store(&self, _: &mut ArgumentWriter<'_>) -> bool {
        true
    }
}

impl Storable for () {
    const IS_STORABLE: bool = true;
}

/// The first argument, then the others.
impl<A: Arguments, B: Arguments> Arguments for (A, B) {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        self.0.store(into) && self.1.store(into)
    }
}

impl<A: Storable, B: Storable> Storable for (A, B) {
    const IS_STORABLE: bool = A::IS_STORABLE && B::IS_STORABLE;
}

impl<T: KeyValue + ?Sized> Storable for HeldValue<'_, T> {
    const IS_STORABLE: bool = true;
}

impl Values for () {
    fn store(&self, _: Keys, _: usize, _: &mut KeyValueWriter<'_>) {}
}

/// The first value, then the others.
impl<T: KeyValue + ?Sized, B: Values> Values for (HeldValue<'_, T>, B) {
    #[inline]
    fn store(&self, keys: Keys, number: usize, into: &mut KeyValueWriter<'_>) {
        into.numbered_value(keys, number, self.0.0.value());
        self.1.store(keys, number + 1, into);
    }
}

impl<B> Values for (Facade, B) {
    fn store(&self, _: Keys, _: usize, _: &mut KeyValueWriter<'_>) {}
}

macro_rules! numbers {
    ($($type:ty = $tag:ident),* $(,)?) => {$(
        impl Capture for $type {
            #[inline]
            fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
                into.push(tag::$tag, self.to_le_bytes())
            }
        }
    )*};
}

numbers! {
    i8 = I8, i16 = I16, i32 = I32, i64 = I64, i128 = I128, isize = ISIZE,
    u8 = U8, u16 = U16, u32 = U32, u64 = U64, u128 = U128, usize = USIZE,
    f32 = F32, f64 = F64,
}

macro_rules! non_zero {
    ($($type:ty),*) => {$(
        impl Capture for NonZero<$type> {
            #[inline]
            fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
                self.get().store(into)
            }
        }
    )*};
}

// They are written as what they hold.
non_zero!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

impl Capture for bool {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::BOOL, [u8::from(*self)])
    }
}

impl Capture for char {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::CHAR, u32::from(*self).to_le_bytes())
    }
}

impl Capture for str {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push_text(tag::STR, self)
    }
}

impl Capture for String {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        self.as_str().store(into)
    }
}

impl Capture for Cow<'_, str> {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        (**self).store(into)
    }
}

impl Capture for () {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::UNIT, [])
    }
}

impl<T: Capture> Capture for Option<T> {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        match self {
            None => into.push(tag::NONE, []),
            Some(value) => into.push(tag::SOME, []) && value.store(into),
        }
    }
}

impl Capture for Duration {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.as_secs().to_le_bytes());
        bytes[8..].copy_from_slice(&self.subsec_nanos().to_le_bytes());
        into.push(tag::DURATION, bytes)
    }
}

impl Capture for Ordering {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::ORDERING, (*self as i8).to_le_bytes())
    }
}

impl Capture for Level {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::LEVEL, [*self as u8])
    }
}

impl Capture for Ipv4Addr {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::IPV4, self.octets())
    }
}

impl Capture for Ipv6Addr {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        into.push(tag::IPV6, self.octets())
    }
}

impl Capture for IpAddr {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        match self {
            IpAddr::V4(address) => address.store(into),
            IpAddr::V6(address) => address.store(into),
        }
    }
}

impl Capture for SocketAddrV4 {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        let mut bytes = [0; 6];
        bytes[..4].copy_from_slice(&self.ip().octets());
        bytes[4..].copy_from_slice(&self.port().to_le_bytes());
        into.push(tag::SOCKET_V4, bytes)
    }
}

impl Capture for SocketAddrV6 {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        let mut bytes = [0; 26];
        bytes[..16].copy_from_slice(&self.ip().octets());
        bytes[16..18].copy_from_slice(&self.port().to_le_bytes());
        bytes[18..22].copy_from_slice(&self.flowinfo().to_le_bytes());
        bytes[22..].copy_from_slice(&self.scope_id().to_le_bytes());
        into.push(tag::SOCKET_V6, bytes)
    }
}

impl Capture for SocketAddr {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        match self {
            SocketAddr::V4(address) => address.store(into),
            SocketAddr::V6(address) => address.store(into),
        }
    }
}

macro_rules! pointers {
    ($($type:ty),*) => {$(
        impl<T: Capture + ?Sized> Capture for $type {
            #[inline]
            fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
                (**self).store(into)
            }
        }
    )*};
}

pointers!(&T, &mut T, Box<T>);

// An `Arc` is shared between threads only if what it holds may be sent to them.
impl<T: Capture + Send + ?Sized> Capture for Arc<T> {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        (**self).store(into)
    }
}
