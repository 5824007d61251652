//! Starts the writer's thread, and waits for its outputs. Runs on the thread that sets the logger
//! up; in a forked child, on that of its first log call.
//!
//! 1. The writer's thread looks at the path of each output, and sends what it finds (`Looked`).
//! 2. The thread that sets the logger up sends `GoAhead::Open`.
//! 3. The writer's thread opens the outputs, and sends the result of each.
//! 4. If all outputs are required, the other thread sends `GoAhead::Write` once they are open.
//! 5. If the sender of a go-ahead is dropped instead, the thread that waits for it ends.

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
/// How long they wait where every output is required: a busy machine must not turn a sound path
/// into an error.
const REQUIRED_WITHIN: Duration = Duration::from_secs(2);
/// These times are spent in slices of at most this length: see `TimeLeft`.
const SLICE: Duration = Duration::from_millis(10);

/// A permission that the writer's thread waits for. Without it, the thread ends.
enum GoAhead {
    /// To open the outputs, and then to write; with `and_wait` only after `Write`.
    Open { registration: os::Registration, and_wait: bool },
    /// To write.
    Write,
}

/// A thread that looks at the paths of its outputs, then waits for a go-ahead. If this is dropped
/// first, the thread ends without having touched anything.
pub(crate) struct Ready {
    /// The result of the look at each output's path, in order. Closed after the last.
    looked: mpsc::Receiver<Looked>,
    /// The result of each attempt to open an output, in order. Closed after the last.
    opened: mpsc::Receiver<Result<(), Unopened>>,
    go_ahead: mpsc::Sender<GoAhead>,
    pipeline: Arc<Pipeline>,
    thread: thread::JoinHandle<()>,
}

pub(crate) fn start(pipeline: Arc<Pipeline>, writer: Writer, look: Look) -> Result<Ready, InitError> {
    // Without memory for a thread's stack, std returns an error. Without memory for the signal
    // stack, it panics on the new thread, where nobody catches that.
    if !os::has_memory(THREAD_STACK + OTHER_MEMORY) {
        return Err(InitError::Thread(io::ErrorKind::OutOfMemory.into()));
    }
    os::stay_loaded();
    let (go_ahead, go_aheads) = mpsc::channel();
    let (look_answer, looked) = mpsc::channel();
    let (open_answer, opened) = mpsc::channel();
    let thread = thread::Builder::new().name("unfazed".into()).spawn(move || {
        os::set_up_own_thread();
        // Nobody may be waiting any more: then the first attempt to open shows what is wrong.
        look.run(|looked| drop(look_answer.send(looked)));
        drop((look, look_answer));
        if let Ok(GoAhead::Open { registration, and_wait }) = go_aheads.recv() {
            // Where all outputs are required, none is tried after one that failed, or when nobody
            // waits any more.
            let answer = Box::new(move |opened: Result<(), Unopened>| {
                let is_open = opened.is_ok();
                let is_heard = open_answer.send(opened).is_ok();
                !and_wait || is_open && is_heard
            });
            let go_ahead = Box::new(move || !and_wait || go_aheads.recv().is_ok());
            writer.run(registration, FirstAttempt { must_connect: and_wait, answer, go_ahead });
        }
    });
    Ok(Ready { looked, opened, go_ahead, pipeline, thread: thread.map_err(InitError::Thread)? })
}

impl Ready {
    /// Waits until the thread has looked at the paths of its outputs, or until the time for that
    /// and for the first attempt is over: then the attempt says what is wrong.
    ///
    /// # Errors
    ///
    /// An output that can never work; then the thread has ended.
    pub(crate) fn look(self) -> Result<(Self, TimeLeft), InitError> {
        let mut time_left = TimeLeft(OPENED_WITHIN);
        while let Ok(looked) = time_left.wait_for(&self.looked) {
            if let Err(error) = looked {
                self.end();
                return Err(error);
            }
        }
        Ok((self, time_left))
    }

    /// Waits until the thread has looked at the paths of its outputs, all of which must be open in
    /// time.
    ///
    /// # Errors
    ///
    /// An output that can never work, or whose file system does not answer.
    pub(crate) fn look_at_all(self) -> Result<(Self, Files, TimeLeft), InitError> {
        let mut time_left = TimeLeft(REQUIRED_WITHIN);
        let mut missing = Vec::new();
        for name in self.names() {
            match time_left.wait_for(&self.looked) {
                Ok(Ok(of_one)) => missing.extend(of_one),
                Ok(Err(error)) => {
                    self.end();
                    return Err(error);
                }
                // A thread that hangs in a system call ends when that returns.
                Err(error) => return Err(unanswered(&name, error)),
            }
        }
        Ok((self, Files::new(missing), time_left))
    }

    /// Ends the thread, which waits for a go-ahead.
    fn end(self) {
        drop(self.go_ahead);
        // Nothing that the thread has called can panic.
        let _ = self.thread.join();
    }

    /// Lets the thread open its outputs and write.
    pub(crate) fn begin(self) -> Opening {
        self.pipeline.set_writer(self.thread.thread().clone());
        self.open(false).0
    }

    /// Lets the thread open its outputs and no more, and waits until each of them is open.
    ///
    /// # Errors
    ///
    /// An output that cannot be opened; then the thread has ended, and what it had created is
    /// deleted.
    pub(crate) fn begin_with_all_outputs(self, files: Files, time_left: TimeLeft) -> Result<Opened, InitError> {
        let (pipeline, names) = (self.pipeline.clone(), self.names());
        let (opening, go_ahead, thread) = self.open(true);
        let opened = Opened { go_ahead, pipeline, thread, files };
        match opening.wait_for(&names, time_left) {
            Ok(()) => Ok(opened),
            Err(NotOpen { error, hangs }) => {
                if hangs {
                    opened.abandon()
                } else {
                    opened.undo()
                }
                Err(error)
            }
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.pipeline.counters.outputs.iter().map(|output| output.name.clone()).collect()
    }

    fn open(self, and_wait: bool) -> (Opening, mpsc::Sender<GoAhead>, thread::JoinHandle<()>) {
        os::watch_forks();
        // Registered here and not on the new thread, because the program may end before that thread
        // runs.
        let registration = os::register_at_exit(self.pipeline.clone());
        // The thread waits for this go-ahead, so it cannot be gone.
        let _ = self.go_ahead.send(GoAhead::Open { registration, and_wait });
        (Opening { opened: self.opened }, self.go_ahead, self.thread)
    }
}

/// The first attempt of the writer to open its outputs.
pub(crate) struct Opening {
    opened: mpsc::Receiver<Result<(), Unopened>>,
}

impl Opening {
    /// Waits until each output was tried, or until the time is over. Their states say what came of
    /// it.
    pub(crate) fn wait(self, mut time_left: TimeLeft) {
        while time_left.wait_for(&self.opened).is_ok() {}
    }

    /// Waits until each of the named outputs is open.
    fn wait_for(&self, names: &[Arc<str>], mut time_left: TimeLeft) -> Result<(), NotOpen> {
        for name in names {
            match time_left.wait_for(&self.opened) {
                Ok(Ok(())) => {}
                Ok(Err(Unopened { cause, error })) => {
                    let error = InitError::Output { output: name.to_string(), cause, error };
                    return Err(NotOpen { error, hangs: false });
                }
                Err(error) => {
                    let hangs = error == mpsc::RecvTimeoutError::Timeout;
                    return Err(NotOpen { error: unanswered(name, error), hangs });
                }
            }
        }
        Ok(())
    }
}

/// An output that is not open.
struct NotOpen {
    error: InitError,
    /// The thread does not answer: it ends when its system call returns. The error alone does not
    /// show that, because a file system may also answer that its own time was over.
    hangs: bool,
}

/// How much longer the thread that sets the logger up waits for the writer's. The time is counted
/// in short slices, so that a pause of the whole process uses up one slice at most.
pub(crate) struct TimeLeft(Duration);

impl TimeLeft {
    fn wait_for<T>(&mut self, answers: &mpsc::Receiver<T>) -> Result<T, mpsc::RecvTimeoutError> {
        loop {
            let (slice, began) = (self.0.min(SLICE), Instant::now());
            let answer = answers.recv_timeout(slice);
            self.0 -= began.elapsed().min(slice);
            match answer {
                Err(mpsc::RecvTimeoutError::Timeout) if !self.0.is_zero() => {}
                answer => return answer,
            }
        }
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

/// A thread whose outputs are all open, and which waits for the go-ahead to write.
pub(crate) struct Opened {
    go_ahead: mpsc::Sender<GoAhead>,
    pipeline: Arc<Pipeline>,
    thread: thread::JoinHandle<()>,
    files: Files,
}

impl Opened {
    pub(crate) fn go_on(self) {
        self.pipeline.set_writer(self.thread.thread().clone());
        // The thread waits for this go-ahead.
        let _ = self.go_ahead.send(GoAhead::Write);
    }

    /// Ends the thread and deletes what it had created.
    pub(crate) fn undo(self) {
        drop(self.go_ahead);
        // A panic of the thread has been caught; its payload is of no use here.
        let _ = self.thread.join();
        self.files.delete_what_is_new();
    }

    /// Leaves a thread that hangs to itself: it ends when its system call returns. Deletes nothing.
    fn abandon(self) {
        drop(self.go_ahead);
    }
}

/// The files, links and directories that were not there before the outputs were opened.
pub(crate) struct Files {
    /// The content of a directory comes before the directory itself.
    missing: Vec<Missing>,
}

impl Files {
    fn new(mut missing: Vec<Missing>) -> Self {
        missing.sort_unstable_by_key(|missing| std::cmp::Reverse(missing.path.components().count()));
        Self { missing }
    }

    /// Deletes empty files, links and empty directories, and nothing that holds a byte.
    fn delete_what_is_new(&self) {
        for Missing { path, owner } in &self.missing {
            // A file that cannot be deleted stays. No event reports it, because the logger has not
            // started: the `InitError` reports the failed start.
            let _ = disk::remove_empty(path, *owner);
        }
    }
}
