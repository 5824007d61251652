//! The end of an output: its last lines. Runs on the writer's thread.

use crate::event::Cause;
use crate::sink::Command;

use super::Turn;
use super::output::{Life, Output};

/// What the last attempts have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastAttempt {
    /// The output is back, and its reader has left no room for all retained lines: they get the
    /// rest of the deadline.
    Lags,
    /// There is no later attempt; with an error, retained lines were dropped.
    Done(Result<(), Cause>),
}

impl LastAttempt {
    /// Joins what two outputs have shown.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done(one), Self::Done(other)) => Self::Done(one.and(other)),
            _ => Self::Lags,
        }
    }
}

impl Output {
    /// Makes the last attempts of a suspended output: one, and one for what that has cost.
    pub(super) fn make_last_attempt(&mut self, turn: &mut Turn<'_>) -> LastAttempt {
        let mut nothing_dropped = Ok(());
        if self.unreported_drops(turn).total() > 0 {
            self.check(turn);
        }
        while let Some(cause) = self.suspended() {
            let is_back = self.try_at_once(turn);
            if is_back {
                self.write_retained(turn);
            }
            if self.is_lagging() {
                return LastAttempt::Lags;
            }
            if turn.records.retained(self.id.index) > 0 {
                nothing_dropped = Err(cause);
            }
            self.forget(turn);
            if !is_back {
                break;
            }
        }
        LastAttempt::Done(nothing_dropped)
    }

    /// Writes the last lines.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), Cause> {
        let mut writes = matches!(self.life, Life::Writing { returned: Some(_) });
        self.raise_resumed(turn);
        let all = self.unreported.reported() + self.unreported_drops(turn).total();
        self.lead(turn, true);
        writes |= !self.lines.is_empty();
        self.write(turn);
        let finished = self.flush(turn);
        let all_reported = if self.unreported.reported() < all { Err(Cause::Io) } else { Ok(()) };
        if writes && !self.is_suspended() {
            self.hear_the_last(turn);
        }
        let news = self.sink.take_news();
        self.hear(news, turn);
        self.command(Command::Close, turn);
        finished.and(all_reported)
    }

    /// Takes the news of the last lines: they may have rotated the file, or archives were deleted
    /// for them. Nothing follows that could fail.
    fn hear_the_last(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        match self.ask(|sink| sink.check(now)) {
            Ok(health) => self.hear(health.news, turn),
            Err(refusal) => self.hear(refusal.error.news, turn),
        }
    }
}
