//! What every format makes of records that are hard to write. Part of the crate's own test binary,
//! because the time and the thread of a record cannot be told by the public names.

#[cfg(test)]
mod any;
#[cfg(test)]
mod awkward;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod logged;
#[cfg(test)]
mod options;
#[cfg(all(test, feature = "json"))]
mod snapshots;
