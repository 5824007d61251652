//! The end of an output: its last lines. Runs on the writer's thread.

use crate::event::Cause;
use crate::sink::Command;

use super::Turn;
use super::output::Output;

impl Output {
    /// Writes the last lines. A suspended output gets one more attempt, and one for what that has
    /// cost; there is no later one.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), Cause> {
        let mut writes = self.is_suspended();
        let mut nothing_dropped = Ok(());
        if self.unreported_drops(turn).total() > 0 {
            self.check(turn);
        }
        while let Some(cause) = self.suspended() {
            let is_back = self.try_at_once(turn);
            if is_back {
                self.write_retained(turn);
            }
            if turn.records.retained(self.index) > 0 {
                nothing_dropped = Err(cause);
            }
            self.forget(turn);
            if !is_back {
                break;
            }
        }
        self.raise_resumed(turn);
        let all = self.unreported.reported() + self.unreported_drops(turn).total();
        self.lead(turn, true);
        writes |= !self.lines.is_empty();
        self.write(turn);
        let finished = self.flush(turn);
        let all_reported = if self.unreported.reported() < all { Err(Cause::Io) } else { Ok(()) };
        if writes {
            self.hear_the_last(turn);
        }
        self.command(Command::Close, turn);
        finished.and(all_reported).and(nothing_dropped)
    }

    /// Takes the news of the last lines: they may have rotated the file, or archives were deleted
    /// for them. Nothing follows that could fail.
    fn hear_the_last(&mut self, turn: &mut Turn<'_>) {
        if self.is_suspended() {
            return;
        }
        let now = turn.now;
        match self.ask(|sink| sink.check(now)) {
            Ok(health) => self.hear(health.news, turn),
            Err(refusal) => self.hear(refusal.error.news, turn),
        }
    }
}
