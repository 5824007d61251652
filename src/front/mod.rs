//! What runs on the caller's thread. A log call does not wait here, except in `captured.rs`, which
//! is for tests. A flush, the panic hook and a change of the filter may wait, for a limited time.

mod directives;
mod program;

pub(crate) mod context;
pub(crate) mod scope;

pub(crate) mod captured;
pub(crate) mod filter;
#[cfg(feature = "tracing")]
mod interest;
mod filter_advice;
pub(crate) mod filter_doubts;
mod grammar;
pub(crate) mod output_filters;
pub(crate) mod logger;
pub(crate) mod installed;
pub(crate) mod panics;
