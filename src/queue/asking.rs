//! The requests of the program to the writer: a flush, the shutdown, orders, and the end at the
//! exit of the process. Methods for tests are at the end.

use std::time::Duration;

use super::Pipeline;
use super::requests::{Orders, Reply, Request};
use crate::error::FlushError;
use crate::os::AtExit;
use crate::stats::PendingDrops;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sync::channel::Receiver;

impl Pipeline {
    /// Waits until all that is in the queue now is written.
    pub(crate) fn flush(&self, at_most: Duration) -> Result<(), FlushError> {
        self.ask(Request::Flush, at_most)
    }

    /// Lets no more records in, waits until those in the queue are written, and counts the ones
    /// that are not written by the deadline.
    pub(crate) fn shutdown(&self, at_most: Duration) -> Result<(), FlushError> {
        if self.on_writer() {
            return Err(FlushError::OnWriter);
        }
        self.gate.shut();
        if !self.bell.has_writer() {
            // The writer's thread never began to write, so nobody would answer.
            self.end();
            return Err(FlushError::Closed);
        }
        let answer = self.ask(Request::Shutdown, at_most);
        if answer == Err(FlushError::Timeout) {
            self.end();
        }
        answer
    }

    /// Flushes for the `log` facade.
    pub(crate) fn flush_in_time(&self) -> Result<(), FlushError> {
        self.flush(self.shutdown_timeout)
    }

    /// Ends a logger that is dropped: waits, except on the writer's own thread, which cannot wait
    /// for itself.
    pub(crate) fn end_in_time(&self) {
        if self.shutdown(self.shutdown_timeout) == Err(FlushError::OnWriter) {
            self.begin_exit();
        }
    }

    /// Makes a reply and the channel of its answer, and notes what was dropped before the call.
    pub(crate) fn stamped_reply(&self) -> (Reply, Receiver<Result<(), FlushError>>) {
        Reply::new(self.counters.pending_drops(self.slots.evictions_done()))
    }

    /// Returns the drops of pending records, including evictions that may be under way, so that an
    /// answer misses no drop that came after its request was stamped.
    pub(crate) fn pending_drops(&self) -> PendingDrops {
        self.counters.pending_drops(self.slots.evictions_begun())
    }

    fn ask(&self, request: impl FnOnce(Reply) -> Request, at_most: Duration) -> Result<(), FlushError> {
        if self.on_writer() {
            return Err(FlushError::OnWriter);
        }
        let (reply, answered) = self.stamped_reply();
        self.ask_stamped((request(reply), answered), at_most)
    }

    /// Sends a request whose reply is already stamped, and waits for the answer.
    pub(crate) fn ask_stamped(
        &self,
        request: (Request, Receiver<Result<(), FlushError>>),
        at_most: Duration,
    ) -> Result<(), FlushError> {
        self.requests.ask(request, at_most, || {
            // The pattern of `Doorbell::look`: either the writer saw the request before it ended,
            // or we see that it has ended.
            if self.is_ended() {
                self.requests.dismiss();
            }
            self.bell.wake();
        })
    }

    /// Leaves an order, to be carried out after the records that are in the queue now. The writer's
    /// own thread does not wake itself: an event callback that answers each failed order with
    /// another one would leave it no nap.
    pub(crate) fn order(&self, what: impl FnOnce(&Orders) -> &AtomicU64) {
        // The length is read first: a record that the writer takes in between is counted twice, so
        // the order never comes too early.
        let queued = self.len() as u64;
        self.requests.order(what, self.counters.writer.taken.total() + queued);
        if !self.on_writer() {
            self.bell.wake();
        }
    }

    // --- the writer's side ---

    /// Takes an order out. Returns how many records the writer has to take before it carries it
    /// out.
    pub(crate) fn take_order(&self, what: impl FnOnce(&Orders) -> &AtomicU64) -> Option<u64> {
        self.requests.take_order(what)
    }

    pub(crate) fn next_request(&self) -> Option<Request> {
        self.requests.next()
    }
}

/// Called at the end of the process: uses no lock, no channel, and nothing that may already be
/// destroyed.
impl AtExit for Pipeline {
    fn begin_exit(&self) {
        self.gate.shut();
        self.leaving.store(true, SeqCst);
        self.bell.wake();
    }

    /// On the writer's own thread (a sink that calls `exit`) there is nothing to wait for.
    fn is_done(&self) -> bool {
        self.is_ended() || self.on_writer()
    }

    fn at_most(&self) -> Duration {
        self.shutdown_timeout
    }

    fn at_most_in_crash(&self) -> Option<Duration> {
        self.flush_on_crash.then_some(self.shutdown_timeout)
    }
}

#[cfg(test)]
impl Pipeline {
    /// Sends a flush, or a shutdown without a deadline, and does not wait for the answer: for a
    /// test that is also the writer.
    pub(crate) fn ask_without_waiting(&self, shutdown: bool) -> Receiver<Result<(), FlushError>> {
        if shutdown {
            self.gate.shut();
        }
        let (reply, answered) = self.stamped_reply();
        self.send_without_waiting(shutdown, reply);
        answered
    }

    /// Sends a request whose reply is already stamped, without waiting. So a test can act between
    /// the stamp and the request.
    pub(crate) fn send_without_waiting(&self, shutdown: bool, reply: Reply) {
        let request = if shutdown { Request::Shutdown } else { Request::Flush };
        self.requests.put(request(reply));
    }

    pub(crate) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Returns how many bytes the queued records hold outside their slots, and the most they may.
    pub(crate) fn spilled(&self) -> (usize, usize) {
        self.slots.spilled()
    }
}
