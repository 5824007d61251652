//! The writer's thread is started here, and its outputs are waited for. Runs on the thread that
//! sets the logger up.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::InitError;
use crate::event::Cause;
use crate::os;
use crate::queue::Pipeline;
use crate::sync::thread;
use crate::writer::{FirstAttempt, Unopened, Writer};

use super::OTHER_MEMORY;
use super::look::{Look, Looked, Missing};

/// The stack that std gives a thread unless the environment says otherwise.
const THREAD_STACK: usize = 2 << 20;
/// `init` and `build` wait at most this long for the look at the paths and for the first attempt to
/// open the outputs, together: a file system that hangs stops nobody.
const OPENED_WITHIN: Duration = Duration::from_millis(250);
/// The same where every output is required: a busy machine must not turn a sound path into an
/// error.
const REQUIRED_WITHIN: Duration = Duration::from_secs(2);

/// A thread that looks at the paths of its outputs, then waits for the word. Dropped without it,
/// the thread ends without having touched anything.
pub(crate) struct Ready {
    /// What the look found out about each output, in their order.
    looked: mpsc::Receiver<Looked>,
    word: mpsc::Sender<(os::Registration, FirstAttempt)>,
    pipeline: Arc<Pipeline>,
    thread: thread::JoinHandle<()>,
}

pub(crate) fn start(pipeline: Arc<Pipeline>, writer: Writer, look: Look) -> Result<Ready, InitError> {
    // std asks for a thread's stack politely, and for what its signal handler needs on the new
    // thread by a panic that nobody catches.
    if !os::has_memory(THREAD_STACK + OTHER_MEMORY) {
        return Err(InitError::Thread(io::ErrorKind::OutOfMemory.into()));
    }
    let (word, waits) = mpsc::channel();
    let (each, looked) = mpsc::channel();
    let thread = thread::Builder::new().name("unfazed".into()).spawn(move || {
        os::block_signals();
        look.run(&each);
        drop((each, look));
        if let Ok((registration, first_attempt)) = waits.recv() {
            writer.run(registration, first_attempt);
        }
    });
    Ok(Ready { looked, word, pipeline, thread: thread.map_err(InitError::Thread)? })
}

impl Ready {
    /// Waits until the thread has looked at the paths of its outputs, or until the time for that
    /// and for the first attempt is over: then the attempt says what is wrong.
    ///
    /// # Errors
    ///
    /// An output that can never work; then the thread has ended.
    pub(crate) fn look(self) -> Result<(Self, Deadline), InitError> {
        let deadline = Deadline(Instant::now() + OPENED_WITHIN);
        // The thread drops its end after the last output.
        while let Ok(looked) = self.looked.recv_timeout(deadline.left()) {
            if let Err(error) = looked {
                self.end();
                return Err(error);
            }
        }
        Ok((self, deadline))
    }

    /// Waits until the thread has looked at the paths of its outputs, all of which must be open in
    /// time.
    ///
    /// # Errors
    ///
    /// An output that can never work, or whose file system does not answer.
    pub(crate) fn look_at_all(self) -> Result<(Self, Files, Deadline), InitError> {
        let deadline = Deadline(Instant::now() + REQUIRED_WITHIN);
        let mut missing = Vec::new();
        for name in self.names() {
            match self.looked.recv_timeout(deadline.left()) {
                Ok(Ok(of_one)) => missing.extend(of_one),
                Ok(Err(error)) => {
                    self.end();
                    return Err(error);
                }
                // A thread that hangs in a system call ends when that returns.
                Err(error) => return Err(unanswered(&name, error)),
            }
        }
        Ok((self, Files::new(missing), deadline))
    }

    /// Ends the thread, which waits for the word.
    fn end(self) {
        drop(self.word);
        // Not one call that it has made can panic.
        let _ = self.thread.join();
    }

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
    pub(crate) fn begin_with_all_outputs(self, files: Files, deadline: Deadline) -> Result<Opened, InitError> {
        let (pipeline, names) = (self.pipeline.clone(), self.names());
        let (go_on, waits) = mpsc::channel();
        let (opening, thread) = self.let_go(Some(waits));
        let opened = Opened { go_on, pipeline, thread, files };
        match opening.wait_for(&names, deadline) {
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
    /// Waits until each output was tried, or until the deadline. Their states say what came of it.
    pub(crate) fn wait(self, deadline: Deadline) {
        // The writer drops its end after the last output.
        while self.opened.recv_timeout(deadline.left()).is_ok() {}
    }

    /// Waits until each of the named outputs is open.
    fn wait_for(&self, names: &[Arc<str>], deadline: Deadline) -> Result<(), InitError> {
        for name in names {
            match self.opened.recv_timeout(deadline.left()) {
                Ok(Ok(())) => {}
                Ok(Err(Unopened { cause, error })) => {
                    return Err(InitError::Output { output: name.to_string(), cause, error });
                }
                Err(error) => return Err(unanswered(name, error)),
            }
        }
        Ok(())
    }
}

/// When whoever sets the logger up stops waiting for the writer's thread.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Returns the error of an output for which the writer's thread has not answered.
fn unanswered(output: &str, error: mpsc::RecvTimeoutError) -> InitError {
    let error = match error {
        mpsc::RecvTimeoutError::Timeout => Some(io::ErrorKind::TimedOut.into()),
        // A defect of this crate has ended the attempt.
        mpsc::RecvTimeoutError::Disconnected => None,
    };
    InitError::Output { output: output.to_owned(), cause: Cause::Io, error }
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

impl Files {
    fn new(mut missing: Vec<Missing>) -> Self {
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
