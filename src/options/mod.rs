//! What a user sets: how the values of the options are written as text, and the same from a file.
//! Plain values, any thread.

#[cfg(feature = "serde")]
pub(crate) mod config;
#[cfg(all(feature = "serde", feature = "syslog", unix))]
mod daemons;
#[cfg(feature = "serde")]
mod format;
#[cfg(feature = "serde")]
mod read;
pub(crate) mod sink_output;
pub(crate) mod units;
#[cfg(feature = "serde")]
mod values;
mod words;
