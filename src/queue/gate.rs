//! The gate: which levels no output can take now, and why. The writer sets it, callers read it on
//! every call.

use log::Level;

use crate::stats::DropReason;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

/// Holds, in three bits for each level, that it is open, or why it is closed. One more bit says
/// that the answer also depends on the record, because an output is suspended and an output has a
/// filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate(u32);

impl Gate {
    pub(crate) const OPEN: Gate = Gate(0);
    const BY_OUTPUT: u32 = 1 << 15;
    const SHUT: Gate = Gate::all(DropReason::Shutdown);

    const fn all(reason: DropReason) -> Gate {
        let one = reason as u32 + 1;
        Gate(one | one << 3 | one << 6 | one << 9 | one << 12)
    }

    /// Closes it for records of one level.
    pub(crate) fn close(&mut self, level: Level, reason: DropReason) {
        let shift = 3 * (level as u32 - 1);
        self.0 = self.0 & !(7 << shift) | (reason as u32 + 1) << shift;
    }

    /// Makes callers look at each output that wants their record.
    pub(crate) fn by_output(&mut self) {
        self.0 |= Gate::BY_OUTPUT;
    }

    #[inline]
    pub(super) fn is_by_output(self) -> bool {
        self.0 & Gate::BY_OUTPUT != 0
    }

    /// Returns why no output takes this level, if none does.
    #[inline]
    pub(super) fn closed_to(self, level: Level) -> Option<DropReason> {
        match self.0 >> (3 * (level as u32 - 1)) & 7 {
            0 => None,
            number => DropReason::ALL.get(number as usize - 1).copied(),
        }
    }

    pub(super) fn is_fully_open(self) -> bool {
        self.0 & !Gate::BY_OUTPUT == Gate::OPEN.0
    }
}

/// The gate in force.
pub(super) struct CurrentGate(AtomicU32);

impl CurrentGate {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(Gate::OPEN.0))
    }

    #[inline]
    pub(super) fn get(&self) -> Gate {
        // Relaxed: a record that slips through a closing gate is dropped and counted by the writer.
        Gate(self.0.load(Relaxed))
    }

    /// Sets what the outputs can take, unless the gate is shut.
    pub(super) fn set(&self, gate: Gate) {
        if self.0.load(Relaxed) == gate.0 {
            return; // Every turn asks; a write would take the cache line from the callers.
        }
        // An error means that it is shut, and stays so.
        let _ = self.0.fetch_update(SeqCst, Relaxed, |now| (now != Gate::SHUT.0).then_some(gate.0));
    }

    /// Shuts it for good. SeqCst: part of the handshake of the end.
    pub(super) fn shut(&self) {
        self.0.store(Gate::SHUT.0, SeqCst);
    }

    pub(super) fn is_shut(&self) -> bool {
        self.0.load(SeqCst) == Gate::SHUT.0
    }
}
