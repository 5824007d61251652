//! The values of keys that a log call gives as they are. Runs on the caller's thread.
//!
//! `log` makes an `f64` of an `f32`, and its text has digits that the `f32` never had. The crate's
//! own macros hand `log` the `f64` with the shortest text that gives the same `f32`.
//!
//! Values of the types that `log` takes as they are need no value of `log`: `KeyValue` gives what
//! is stored.
//!
//! A method of `Plain` is there for floats alone; the compiler finds that of `Other` for all other
//! types, because one leads to the other.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use crate::record::{Value, shortest};

/// A value that is not handed on as an `f64`.
#[derive(Debug)]
pub struct Other<'a, T: ?Sized>(&'a T);

/// A value as the program gave it.
#[derive(Debug)]
pub struct Plain<'a, T: ?Sized>(Other<'a, T>);

/// A float. `f64` is one so that the compiler does not make an `f32` of a literal.
pub trait Float {
    /// The type of the value that `log` is given.
    type Value;
    #[doc(hidden)]
    fn value(&self) -> Self::Value;
}

impl<'a, T: ?Sized> Plain<'a, T> {
    /// Takes a value.
    #[inline]
    pub fn new(value: &'a T) -> Self {
        Self(Other(value))
    }
}

impl<T: Float> Plain<'_, T> {
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_value(&self) -> T::Value {
        self.0.0.value()
    }
}

impl<'a, T: ?Sized> Deref for Plain<'a, T> {
    type Target = Other<'a, T>;

    #[inline]
    fn deref(&self) -> &Other<'a, T> {
        &self.0
    }
}

impl<'a, T: ?Sized> Other<'a, T> {
    #[doc(hidden)]
    #[inline]
    pub fn __unfazed_value(&self) -> &'a T {
        self.0
    }
}

impl Float for f32 {
    type Value = f64;

    #[inline]
    fn value(&self) -> f64 {
        shortest(*self)
    }
}

impl Float for f64 {
    type Value = f64;

    #[inline]
    fn value(&self) -> f64 {
        *self
    }
}

impl<T: Float> Float for &T {
    type Value = T::Value;

    #[inline]
    fn value(&self) -> T::Value {
        (**self).value()
    }
}

impl<T: Float + ?Sized> Float for Box<T> {
    type Value = T::Value;

    #[inline]
    fn value(&self) -> T::Value {
        (**self).value()
    }
}

impl<T: Float + ?Sized> Float for Arc<T> {
    type Value = T::Value;

    #[inline]
    fn value(&self) -> T::Value {
        (**self).value()
    }
}

impl<T: Float> Float for Option<T> {
    type Value = Option<T::Value>;

    #[inline]
    fn value(&self) -> Option<T::Value> {
        self.as_ref().map(T::value)
    }
}

/// A type whose values `log` takes without a capture, and which are stored by their bytes.
pub trait KeyValue {
    #[doc(hidden)]
    fn value(&self) -> Value<'_>;
}

macro_rules! key_values {
    ($($type:ty = $kind:ident),* $(,)?) => {$(
        impl KeyValue for $type {
            #[inline]
            fn value(&self) -> Value<'_> {
                Value::$kind((*self).into())
            }
        }
    )*};
}

key_values! {
    i8 = I64, i16 = I64, i32 = I64, i64 = I64, i128 = I128,
    u8 = U64, u16 = U64, u32 = U64, u64 = U64, u128 = U128,
    f64 = F64, bool = Bool,
}

impl KeyValue for isize {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::I64(*self as i64)
    }
}

impl KeyValue for usize {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::U64(*self as u64)
    }
}

impl KeyValue for f32 {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::F64(shortest(*self))
    }
}

impl KeyValue for str {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::Str(self)
    }
}

impl KeyValue for String {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::Str(self)
    }
}

impl KeyValue for Cow<'_, str> {
    #[inline]
    fn value(&self) -> Value<'_> {
        Value::Str(self)
    }
}

impl KeyValue for () {
    fn value(&self) -> Value<'_> {
        Value::Null
    }
}

impl<T: KeyValue> KeyValue for Option<T> {
    #[inline]
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::value)
    }
}

macro_rules! pointers {
    ($($type:ty),*) => {$(
        impl<T: KeyValue + ?Sized> KeyValue for $type {
            #[inline]
            fn value(&self) -> Value<'_> {
                (**self).value()
            }
        }
    )*};
}

pointers!(&T, Box<T>, Arc<T>);
