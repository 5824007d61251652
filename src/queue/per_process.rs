//! Where callers find the pipeline of this process. In a forked child there is none, until the
//! first call that needs it makes one.

use std::sync::Arc;

use crate::os::PerProcess;

use super::Pipeline;

/// The pipeline of this process, which a forked child makes again.
pub(crate) struct PerProcessPipeline {
    pipeline: PerProcess<Pipeline>,
    /// For a child that has no memory for a pipeline of its own. It has ended, and counts what is
    /// logged. The process that made it does not use it, so that a child may.
    spare: Arc<Pipeline>,
    renew: Box<dyn Renew>,
}

/// Makes a pipeline for a forked child, from the plan.
pub(crate) trait Renew: Send + Sync {
    /// Returns nothing if there is no memory for it.
    fn pipeline(&self) -> Option<Arc<Pipeline>>;

    /// Starts the writer of a pipeline that [`pipeline`](Self::pipeline) made and this process
    /// uses; if that fails, the pipeline ends.
    fn start(&self, pipeline: &Arc<Pipeline>);
}

impl PerProcessPipeline {
    pub(crate) fn new(pipeline: Arc<Pipeline>, spare: Arc<Pipeline>, renew: Box<dyn Renew>) -> Self {
        Self { pipeline: PerProcess::new(pipeline), spare, renew }
    }

    #[inline]
    pub(crate) fn pipeline(&self) -> &Pipeline {
        loop {
            match self.pipeline.get() {
                Some(pipeline) => return pipeline,
                None => self.renew(),
            }
        }
    }

    /// Returns the pipeline, if this process has made one.
    pub(crate) fn existing_pipeline(&self) -> Option<&Pipeline> {
        self.pipeline.get()
    }

    #[cold]
    fn renew(&self) {
        let Some(pipeline) = self.renew.pipeline() else {
            // Of several threads at once, another one may have found memory.
            self.pipeline.put(&self.spare);
            return;
        };
        if self.pipeline.put(&pipeline) {
            self.renew.start(&pipeline);
        }
    }
}
