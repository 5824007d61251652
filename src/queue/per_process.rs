//! Where callers find the pipeline of this process. In a forked child there is none, until the first call that needs it makes one.

use std::sync::Arc;

use crate::os::PerProcess;

use super::Queue;

pub(crate) struct PerProcessPipeline {
    queue: PerProcess<Queue>,
    renew: Box<dyn Renew>,
}

/// Makes a pipeline for a forked child, from the plan.
pub(crate) trait Renew: Send + Sync {
    fn queue(&self) -> Arc<Queue>;

    /// Starts the writer of the queue that came first; if that fails, the queue ends.
    fn start(&self, queue: &Arc<Queue>);
}

impl PerProcessPipeline {
    pub(crate) fn new(queue: Arc<Queue>, renew: Box<dyn Renew>) -> Self {
        Self { queue: PerProcess::new(queue), renew }
    }

    #[inline]
    pub(crate) fn queue(&self) -> &Queue {
        loop {
            match self.queue.get() {
                Some(queue) => return queue,
                None => self.renew(),
            }
        }
    }

    /// The queue, if this process has made one.
    pub(crate) fn existing_pipeline(&self) -> Option<&Queue> {
        self.queue.get()
    }

    #[cold]
    fn renew(&self) {
        let queue = self.renew.queue();
        if self.queue.put(&queue) {
            self.renew.start(&queue);
        }
    }
}
