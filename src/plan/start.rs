//! The writer's thread is started here, and its outputs are waited for. Runs on the thread that
//! sets the logger up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::InitError;
use crate::event::Cause;
use crate::os;
use crate::queue::Pipeline;
use crate::sync::thread;
use crate::writer::{FirstAttempt, Unopened, Writer};

use super::{Destination, OTHER_MEMORY, PlannedOutput, rights};

/// The stack that std gives a thread unless the environment says otherwise.
const THREAD_STACK: usize = 2 << 20;
/// `init` and `build` wait at most this long for the first attempt to open the outputs: a file
/// system that hangs stops nobody.
const OPENED_WITHIN: Duration = Duration::from_millis(250);
/// The same where every output is required: a busy machine must not turn a sound path into an
/// error.
const REQUIRED_WITHIN: Duration = Duration::from_secs(2);

/// A thread that waits for the word. Dropped without it, the thread ends without having touched
/// anything.
pub(crate) struct Ready {
    word: mpsc::Sender<(os::Registration, FirstAttempt)>,
    pipeline: Arc<Pipeline>,
    thread: thread::JoinHandle<()>,
}

pub(crate) fn start(pipeline: Arc<Pipeline>, writer: Writer) -> Result<Ready, InitError> {
    // std asks for a thread's stack politely, and for what its signal handler needs on the new
    // thread by a panic that nobody catches.
    if !os::has_memory(THREAD_STACK + OTHER_MEMORY) {
        return Err(InitError::Thread(io::ErrorKind::OutOfMemory.into()));
    }
    let (word, waits) = mpsc::channel();
    let thread = thread::Builder::new().name("unfazed".into()).spawn(move || {
        if let Ok((registration, first_attempt)) = waits.recv() {
            writer.run(registration, first_attempt);
        }
    });
    Ok(Ready { word, pipeline, thread: thread.map_err(InitError::Thread)? })
}

impl Ready {
    /// Lets the thread open its outputs and write.
    pub(crate) fn begin(self) -> Opening {
        self.pipeline.set_writer(self.thread.thread().clone());
        self.let_go(None).0
    }

    /// Lets the thread open its outputs and no more, and waits until each of them is open.
    ///
    /// # Errors
    ///
    /// An output that cannot be opened; then the thread has ended, and what it had created is
    /// deleted.
    pub(crate) fn begin_with_all_outputs(self, files: Files) -> Result<Opened, InitError> {
        let (pipeline, names) = (self.pipeline.clone(), self.names());
        let (go_on, waits) = mpsc::channel();
        let (opening, thread) = self.let_go(Some(waits));
        let opened = Opened { go_on, pipeline, thread, files };
        match opening.wait_for(&names, REQUIRED_WITHIN) {
            Ok(()) => Ok(opened),
            Err(error) => {
                // A thread that hangs in a system call ends when that returns.
                let hangs = matches!(error, InitError::Output { ref error, .. } if is_timeout(error.as_ref()));
                opened.undo(hangs);
                Err(error)
            }
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.pipeline.counters.outputs.iter().map(|output| output.name.clone()).collect()
    }

    fn let_go(self, go_on: Option<mpsc::Receiver<()>>) -> (Opening, thread::JoinHandle<()>) {
        os::watch_forks();
        // Here, not on the new thread: the program may end before that has run at all.
        let registration = os::register_at_exit(self.pipeline.clone());
        let (each, opened) = mpsc::channel();
        // The thread waits for nothing else; it cannot be gone.
        let _ = self.word.send((registration, FirstAttempt { each, go_on }));
        (Opening { opened }, self.thread)
    }
}

/// The first attempt of the writer to open its outputs.
pub(crate) struct Opening {
    /// What became of each output, in their order.
    opened: mpsc::Receiver<Result<(), Unopened>>,
}

impl Opening {
    /// Waits until each output was tried, for at most 250 ms. Their states say what came of it.
    pub(crate) fn wait(self) {
        let deadline = Instant::now() + OPENED_WITHIN;
        // The writer drops its end after the last output.
        while self.opened.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
    }

    /// Waits until each of the named outputs is open.
    fn wait_for(&self, names: &[Arc<str>], at_most: Duration) -> Result<(), InitError> {
        let deadline = Instant::now() + at_most;
        for name in names {
            let unopened = match self.opened.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => continue,
                Ok(Err(unopened)) => unopened,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    Unopened { cause: Cause::Io, error: Some(io::ErrorKind::TimedOut.into()) }
                }
                // A defect of this crate has ended the attempt.
                Err(mpsc::RecvTimeoutError::Disconnected) => Unopened { cause: Cause::Io, error: None },
            };
            let Unopened { cause, error } = unopened;
            return Err(InitError::Output { output: name.to_string(), cause, error });
        }
        Ok(())
    }
}

fn is_timeout(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// A thread whose outputs are all open, and which waits for the word to write.
pub(crate) struct Opened {
    go_on: mpsc::Sender<()>,
    pipeline: Arc<Pipeline>,
    thread: thread::JoinHandle<()>,
    files: Files,
}

impl Opened {
    pub(crate) fn go_on(self) {
        self.pipeline.set_writer(self.thread.thread().clone());
        // It waits for nothing else.
        let _ = self.go_on.send(());
    }

    /// Ends the thread and deletes what it had created. Does not wait for a thread that hangs.
    pub(crate) fn undo(self, hangs: bool) {
        drop(self.go_on);
        if !hangs {
            // A panic of it has been caught; what it was is of no use here.
            let _ = self.thread.join();
            self.files.delete_what_is_new();
        }
    }
}

/// The files, links and directories that were not there before the outputs were opened.
pub(crate) struct Files {
    /// What lies in a directory before the directory.
    missing: Vec<Missing>,
}

/// What was not there.
struct Missing {
    path: PathBuf,
    /// To whom it is given if it is created; `None`: it stays the process's.
    owner: Option<u32>,
}

impl Files {
    pub(crate) fn look(outputs: &[PlannedOutput]) -> Self {
        let mut missing = Vec::new();
        for output in outputs {
            if let Destination::File { path, options } = &output.destination {
                let owner = rights(&options.access).owner;
                for path in options.symlink.iter().chain([path]) {
                    let ancestors = path.ancestors().take_while(|path| is_missing(path));
                    missing.extend(ancestors.map(|path| Missing { path: path.to_owned(), owner }));
                }
            }
        }
        missing.sort_by_key(|missing| std::cmp::Reverse(missing.path.components().count()));
        Self { missing }
    }

    /// Deletes empty files, links and empty directories, and nothing that holds a byte.
    fn delete_what_is_new(&self) {
        for Missing { path, owner } in &self.missing {
            // Whatever cannot be deleted stays: there is no event yet, and the `InitError` is the
            // news.
            let _ = disk::remove_empty(path, *owner);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
