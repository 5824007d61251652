//! Tests that reach beyond the public names, and what they share with `tests/fuzz`.

#[cfg(all(any(test, fuzzing), not(loom)))]
pub(crate) mod fake_disk;
#[cfg(not(loom))]
mod formats;
#[cfg(all(loom, test))]
pub(crate) mod models;
#[cfg(not(loom))]
pub mod properties;
#[cfg(not(loom))]
mod stepped;
