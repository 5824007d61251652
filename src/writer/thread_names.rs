//! Knows the names of the threads that log. Runs on the writer's thread.
//!
//! A thread sends its name with its first record of each epoch. When the table is full, all names
//! are forgotten at once and a new epoch begins, so that the threads that still live send theirs
//! again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The names of this many threads are known at the same time.
const MOST_THREADS: usize = 1024;

/// The names of the threads that have logged in this epoch.
#[derive(Default)]
pub(super) struct ThreadNames(HashMap<u32, Box<str>, BuildHasherDefault<NumberHasher>>);

impl ThreadNames {
    /// Learns a thread's name. Returns true if all other names were forgotten for it, so that a new
    /// epoch has to begin.
    pub(super) fn learn(&mut self, thread: u32, name: &str) -> bool {
        let is_full = self.0.len() >= MOST_THREADS && !self.0.contains_key(&thread);
        if is_full {
            self.0.clear();
        }
        self.0.insert(thread, name.into());
        is_full
    }

    /// Returns the name of a thread that has sent it in this epoch.
    pub(super) fn name(&self, thread: u32) -> Option<&str> {
        self.0.get(&thread).map(AsRef::as_ref)
    }
}

/// Spreads thread numbers. This crate gives them out one after the other, so that nobody can choose
/// numbers that collide.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing (Knuth), turned so that the well mixed bits are where the table looks.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_too_many_forgets_the_others_and_begins_a_new_epoch() {
        let mut names = ThreadNames::default();
        for thread in 0..MOST_THREADS as u32 {
            assert!(!names.learn(thread, &thread.to_string()), "thread {thread}");
        }
        assert!(!names.learn(0, "another"), "a name that is known takes no place");
        assert_eq!((names.name(0), names.name(1023)), (Some("another"), Some("1023")));
        assert!(names.learn(5000, "late"));
        assert_eq!((names.name(0), names.name(5000)), (None, Some("late")));
        assert!(!names.learn(0, "again"));
        assert_eq!(names.name(0), Some("again"));
    }
}
