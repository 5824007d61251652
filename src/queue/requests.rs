//! What the program asks of the writer: requests that want an answer, and orders that want none.
//! Any thread asks, the writer's thread answers.

use std::time::{Duration, Instant};

use crate::error::FlushError;
use crate::stats::PendingDrops;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Flushes and shutdowns that wait for the writer at the same time; one more waits for a place, up
/// to its deadline.
const MOST_REQUESTS: usize = 64;

/// Something that the writer answers. An answer that is dropped means that the writer has ended.
pub(crate) enum Request {
    /// Write what is in the queue, then answer.
    Flush(Reply),
    /// Write what is in the queue, answer, and end. The gate is shut already.
    Shutdown(Reply),
}

/// The way back to whoever asked.
pub(crate) struct Reply {
    answer: Sender<Result<(), FlushError>>,
    /// What was dropped before the call. The answer is `Ok` only if nothing was dropped after it.
    pub(crate) before: PendingDrops,
}

impl Reply {
    /// Makes the way back for an answer to a call that was made with these drops.
    pub(super) fn new(before: PendingDrops) -> (Self, Receiver<Result<(), FlushError>>) {
        let (answer, answered) = bounded(1);
        (Self { answer, before }, answered)
    }

    pub(crate) fn send(self, answer: Result<(), FlushError>) {
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(answer);
    }
}

/// Orders need no answer: nobody waits for them, none is refused, and repeated ones that the writer
/// has not seen yet are merged. Each is the number of records that the writer has to take before it
/// carries the order out, plus one; 0: not ordered.
#[derive(Default)]
pub(crate) struct Orders {
    rotate: AtomicU64,
    reopen: AtomicU64,
}

impl Orders {
    pub(crate) fn rotate(&self) -> &AtomicU64 {
        &self.rotate
    }

    pub(crate) fn reopen(&self) -> &AtomicU64 {
        &self.reopen
    }
}

pub(super) struct Requests {
    channel: (Sender<Request>, Receiver<Request>),
    orders: Orders,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { channel: bounded(MOST_REQUESTS), orders: Orders::default() }
    }

    /// Asks, and waits for the answer. `asked` runs in between.
    pub(super) fn ask(
        &self,
        (request, answered): (Request, Receiver<Result<(), FlushError>>),
        at_most: Duration,
        asked: impl FnOnce(),
    ) -> Result<(), FlushError> {
        let began = Instant::now();
        if self.channel.0.send_timeout(request, at_most).is_err() {
            return Err(FlushError::Timeout);
        }
        asked();
        match answered.recv_timeout(at_most.saturating_sub(began.elapsed())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(FlushError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(FlushError::Closed),
        }
    }

    pub(super) fn next(&self) -> Option<Request> {
        self.channel.1.try_recv().ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channel.1.is_empty()
    }

    /// Drops the requests that nobody will answer, which releases those who wait.
    pub(super) fn dismiss(&self) {
        while self.next().is_some() {}
    }

    /// Leaves an order, to be carried out when `after` records are taken.
    pub(super) fn order(&self, what: impl FnOnce(&Orders) -> &AtomicU64, after: u64) {
        // SeqCst: the writer looks at it after it has armed its bell, or it is woken.
        what(&self.orders).fetch_max(after + 1, SeqCst);
    }

    /// Takes an order out. Returns how many records the writer has to take before it carries it
    /// out.
    pub(super) fn take_order(&self, what: impl FnOnce(&Orders) -> &AtomicU64) -> Option<u64> {
        let order = what(&self.orders);
        // Every turn asks; a swap would take the cache line from the callers.
        if order.load(SeqCst) == 0 { None } else { order.swap(0, SeqCst).checked_sub(1) }
    }

    /// Puts a request in, and does not wait for the answer: for a test that is also the writer.
    #[cfg(test)]
    pub(super) fn put(&self, request: Request) {
        // Without a place for the request, the test sees that nobody answers.
        let _ = self.channel.0.try_send(request);
    }
}
