//! What several test targets share. Each of them uses a part of it.
#![allow(dead_code, unused_macros, unused_imports)]
#![allow(clippy::print_stdout)] // a harness prints what its cases found

#[cfg(target_os = "linux")]
pub(crate) mod account;
#[cfg(target_os = "linux")]
pub(crate) mod cases;
pub(crate) mod child;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) mod faulty;
pub(crate) mod lines;
#[cfg(target_os = "linux")]
pub(crate) mod load;
pub(crate) mod moment;
#[cfg(target_os = "linux")]
pub(crate) mod place;
#[cfg(target_os = "linux")]
pub(crate) mod subject;
#[cfg(target_os = "linux")]
pub(crate) mod terminal;
