//! What the fuzzer of torn tails needs of this folder, and nothing else.

mod bench;
mod invariants;
pub(crate) mod tail;
