//! What runs on the caller's thread: nothing in this room may wait.

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
pub(crate) mod output_filters;
pub(crate) mod logger;
pub(crate) mod installed;
pub(crate) mod panics;
