//! Which arguments are stored by their bytes, and which go by the facade. Runs on the caller's
//! thread.
//!
//! The macros log a call by a method of [`AllStored`], which has it for the types alone that are
//! stored. For others the compiler finds that of [`MessageStored`], or of [`NothingStored`],
//! because one leads to the next. So it searches once for each call, not for each argument.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::plain::KeyValue;
use super::stored::tag;
use super::{Call, log_at};
use crate::record::{ArgumentWriter, Arguments, Deferred, KeyValueWriter, Keys, Site, Values};

/// `format_args!` panics on a greater width or precision: such a call must do so where it stands.
const MOST_WIDTH: usize = u16::MAX as usize;

/// A type whose values are stored by their bytes: the type's tag, then what it needs. Any thread
/// may have them, so that an `Arc` of them may be shared.
pub trait Capture: Send + Sync {
    /// Stores the value. Returns false if it cannot be stored.
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool;
}

/// A call with its arguments and values, each the first of a pair whose second has the others.
#[derive(Debug)]
pub struct AllStored<'a, A, V> {
    message: MessageStored<'a, A>,
    values: &'a V,
}

/// A call whose values go by the facade.
#[derive(Debug)]
pub struct MessageStored<'a, A> {
    site: NothingStored,
    arguments: &'a A,
}

/// A call that goes by the facade.
#[derive(Debug)]
pub struct NothingStored(&'static Site);

impl<'a, A, V> AllStored<'a, A, V> {
    /// Makes the call of a site.
    #[inline]
    pub fn new(site: &'static Site, arguments: &'a A, values: &'a V) -> Self {
        Self { message: MessageStored { site: NothingStored(site), arguments }, values }
    }
}

impl<'a, A: Arguments, V: Values> AllStored<'a, A, V> {
    /// Logs a call that has no target without the record of `log`; or does nothing and returns the
    /// call, for `log_whole`.
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_log(&self, level: Level) -> Option<Call<'a>> {
        let call = self.message.__unfazed_call();
        let message = Deferred { site: call.site, arguments: self.message.arguments, values: self.values };
        if log_at(level, message) { None } else { Some(call) }
    }
}

impl<'a, A: Arguments> MessageStored<'a, A> {
    /// Returns the call, for `log_whole`.
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_log(&self, _: Level) -> Option<Call<'a>> {
        Some(self.__unfazed_call())
    }

    /// Returns the call with its arguments.
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_call(&self) -> Call<'a> {
        Call { site: self.site.0, arguments: Some(self.arguments) }
    }
}

impl NothingStored {
    /// Returns the call, for `log_whole`.
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_log(&self, _: Level) -> Option<Call<'static>> {
        Some(self.__unfazed_call())
    }

    /// Returns the call without its arguments.
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_call(&self) -> Call<'static> {
        Call { site: self.0, arguments: None }
    }
}

impl<'a, A, V> Deref for AllStored<'a, A, V> {
    type Target = MessageStored<'a, A>;

    #[inline]
    fn deref(&self) -> &MessageStored<'a, A> {
        &self.message
    }
}

impl<A> Deref for MessageStored<'_, A> {
    type Target = NothingStored;

    #[inline]
    fn deref(&self) -> &NothingStored {
        &self.site
    }
}

/// An argument that is a width or a precision.
#[derive(Debug)]
pub struct Width<'a, T: ?Sized>(pub &'a T);

impl Arguments for () {
    fn store(&self, _: &mut ArgumentWriter<'_>) -> bool {
        true
    }
}

/// The first argument, then the others.
impl<T: Capture + ?Sized, A: Arguments> Arguments for (&T, A) {
    #[inline]
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        self.0.store(into) && self.1.store(into)
    }
}

impl<A: Arguments> Arguments for (Width<'_, usize>, A) {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        *self.0.0 <= MOST_WIDTH && self.0.0.store(into) && self.1.store(into)
    }
}

impl Values for () {
    fn store(&self, _: Keys, _: usize, _: &mut KeyValueWriter<'_>) {}
}

/// The first value, then the others.
impl<T: KeyValue + ?Sized, V: Values> Values for (&T, V) {
    #[inline]
    fn store(&self, keys: Keys, number: usize, into: &mut KeyValueWriter<'_>) {
        into.numbered_value(keys, number, self.0.value());
        self.1.store(keys, number + 1, into);
    }
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

// Only `{:?}` writes them, which the compiler checks at the call. A path that is not UTF-8 goes by
// the facade, because not every system can make a path from its bytes.
impl Capture for OsStr {
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
        self.to_str().is_some_and(|text| into.push_text(tag::PATH, text))
    }
}

macro_rules! paths {
    ($($type:ty),*) => {$(
        impl Capture for $type {
            fn store(&self, into: &mut ArgumentWriter<'_>) -> bool {
                AsRef::<OsStr>::as_ref(self).store(into)
            }
        }
    )*};
}

paths!(OsString, Path, PathBuf);

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

pointers!(&T, &mut T, Arc<T>, Box<T>);
