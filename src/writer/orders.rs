//! What changes a running writer from outside: the orders of the program, and a configuration file.
//! Runs on the writer's thread.

use std::io;

use crate::os::ProgramSignals;
use crate::queue::rate_limit::RateLimit;
use crate::sink::{News, Now};
use crate::watch::NotFollowed;

use super::Writer;
use super::guard::guarded;

impl Writer {
    /// Carries out what the program ordered, once the records before it are written.
    pub(super) fn carry_out_orders(&mut self, now: Now) {
        if self.orders.is_empty() {
            return;
        }
        let taken = self.pipeline.counters.writer.taken.total();
        // Some of the records before an order may have been evicted.
        let all = self.pipeline.len() == 0;
        for (command, due) in std::mem::take(&mut self.orders) {
            if all || due <= taken {
                self.each(now, |output, turn| output.command(command, turn));
            } else {
                self.orders.push((command, due));
            }
        }
        self.publish_gate();
    }

    /// Returns how many records may be taken before an order is due.
    pub(super) fn before_the_next_order(&self) -> usize {
        let taken = self.pipeline.counters.writer.taken.total();
        let left = self.orders.iter().map(|(_, due)| due.saturating_sub(taken)).min();
        left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX).max(1)
    }

    /// Looks whether the configuration file has changed, and reports a bad one on every output.
    pub(super) fn follow_configuration(&mut self, now: Now) {
        let Some(watch) = &mut self.watch else { return };
        let Some(found) = watch.look(now.monotonic) else { return };
        let signals = ProgramSignals::new();
        let followed = guarded(|| watch.follow(&found));
        watch.learn(found);
        drop(signals);
        if self.pipeline.rate_limit().is_some_and(RateLimit::is_on) {
            self.pipeline.read_counter(false);
        }
        let panicked = |_| {
            let error = io::Error::other("the code that reads it panicked");
            Err(NotFollowed { doing: "follow the configuration", error })
        };
        let NotFollowed { doing, error } = match followed.unwrap_or_else(panicked) {
            Ok(notice) => {
                // The interval may be another one: what the old one suppressed is reported now.
                self.suppression.reported_in = None;
                self.suppression.not_before = None;
                notice.into_iter().for_each(|notice| _ = self.pipeline.offer_own(notice.into()));
                return;
            }
            Err(not_followed) => not_followed,
        };
        self.each(now, |output, turn| {
            if !output.stands_in() {
                let error = io::Error::new(error.kind(), error.to_string());
                output.hear(vec![News::Failed { doing, error }], turn);
            }
        });
    }
}
