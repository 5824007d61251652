//! `Backlog`: what waits in memory for the slow reader of a stream, and how long.

use std::time::Duration;

use crate::error::BadOption;

/// The options of a stream whose reader is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// The most bytes of lines that wait.
    pub(crate) bytes: u64,
    /// A reader that has taken nothing for this long suspends the output.
    pub(crate) patience: Duration,
}

const MOST_BYTES: u64 = 1 << 30;
const LONGEST_PATIENCE: Duration = Duration::from_secs(3600);

impl Default for Backlog {
    fn default() -> Self {
        Self { bytes: 1 << 20, patience: Duration::from_secs(5) }
    }
}

impl Backlog {
    /// Checks that the options are in their ranges.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        if self.bytes > MOST_BYTES {
            return Err(BadOption::new("backlog", self.bytes.to_string(), "at most 1 GiB"));
        }
        if self.patience > LONGEST_PATIENCE {
            return Err(BadOption::new("patience", format!("{:?}", self.patience), "at most 1 hour"));
        }
        Ok(())
    }
}
