//! Tests that reach beyond the public names, and what they share with `tests/fuzz`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fake_disk;
mod formats;
#[cfg(all(loom, test))]
pub(crate) mod models;
pub mod properties;
mod stepped;
