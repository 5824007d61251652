//! Tests that step the writer by hand, over a disk in memory and a clock that is told: one thread,
//! no waiting. They are part of the crate's own test binary, because they reach beyond the public
//! names.

mod bench;
#[cfg(test)]
mod births;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod counter;
#[cfg(test)]
mod crashes;
#[cfg(all(test, feature = "syslog", unix))]
mod daemons;
#[cfg(test)]
mod exchanged;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod gap_line;
#[cfg(test)]
mod hands;
mod invariants;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod late;
mod locks;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod overflow;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod reserve;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod routed;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod streams;
pub(crate) mod tail;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod told;
