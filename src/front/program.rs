//! Asks code of the program in the middle of a log call: filters of outputs, the context, and the
//! format of what is printed for a test. Runs on the caller's thread.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::thread_local;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum Question {
    Filter = 1,
    Context = 2,
    Format = 4,
}

thread_local! {
    /// The questions that are being answered. No destructor, as in `filter.rs`.
    static ASKED: Cell<u8> = const { Cell::new(0) };
}

/// Returns true while the code of the program answers this question.
pub(super) fn is_asking(question: Question) -> bool {
    ASKED.with(Cell::get) & question as u8 != 0
}

/// Returns what the code answers; nothing if it panics, or if a log call of its own asks again. A
/// panic has been reported by the panic hook.
pub(super) fn ask<T>(question: Question, code: impl FnOnce() -> T) -> Option<T> {
    if is_asking(question) {
        return None;
    }
    let before = ASKED.with(|asked| asked.replace(asked.get() | question as u8));
    // Dropping the payload of a panic could panic again.
    let answer = catch_unwind(AssertUnwindSafe(code)).map_err(std::mem::forget).ok();
    ASKED.with(|asked| asked.set(before));
    answer
}
