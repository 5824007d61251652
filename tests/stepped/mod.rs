//! Tests that step the writer by hand, over a disk in memory and a clock that is told: one thread, no waiting. They are part
//! of the crate's own test binary, because they reach behind the public names.

mod bench;
mod chaos;
mod counter;
mod crashes;
mod faults;
mod files;
mod invariants;
mod locks;
mod memory;
mod moved;
mod overflow;
mod requests;
mod reserve;
mod resume;
mod retained;
mod rotation;
mod scenarios;
mod sinks;
mod rate_limit;
pub(crate) mod tail;
mod threads;
mod told;
