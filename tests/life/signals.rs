//! The signal mask of the program's own code, where the writer runs it: what a program starts there
//! can be ended, and what the writer's own writes have left pending ends nobody.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use unfazed::{Batch, Builder, Event, Format, LogFile, Sink, WriteError};

use crate::harness::Case;
use crate::load::{PATIENCE, say_all, to_file};
use crate::unix::{self, PROMPTLY};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::inside("a_program_started_by_an_event_ends_at_sigterm", |place| {
            let (tell, started) = mpsc::channel();
            let file = LogFile::new(place.log()).rotation(unfazed::Rotation::size(100)).min_free_space(0);
            let on_event = move |event: &Event| {
                if matches!(event, Event::Rotated { .. }) {
                    start(&tell);
                }
            };
            let handle = Builder::new().file(file).on_event(on_event).init().unwrap();
            say_all(0, 10);
            handle.flush(PATIENCE).unwrap();
            assert_it_ends_at_sigterm(started.recv_timeout(PROMPTLY).unwrap());
        }),
        Case::inside("a_program_started_by_a_sink_ends_at_sigterm", |_| {
            let (tell, started) = mpsc::channel();
            let handle = Builder::new().sink("starts", StartSink(tell)).init().unwrap();
            say_all(0, 1);
            handle.flush(PATIENCE).unwrap();
            assert_it_ends_at_sigterm(started.recv_timeout(PROMPTLY).unwrap());
        }),
        Case::inside("a_program_started_by_a_format_ends_at_sigterm", |place| {
            let (tell, started) = mpsc::channel();
            let format = Format::custom(move |line, record| {
                start(&tell);
                writeln!(line, "{}", record.message())
            });
            let handle = to_file(LogFile::new(place.log()).format(format)).init().unwrap();
            say_all(0, 1);
            handle.flush(PATIENCE).unwrap();
            assert_it_ends_at_sigterm(started.recv_timeout(PROMPTLY).unwrap());
        }),
        // A filter is asked by whoever logs; on the writer's thread that is only code of the
        // program's own.
        Case::inside("a_program_started_by_a_filter_on_the_writers_thread_ends_at_sigterm", |place| {
            let (tell, started) = mpsc::channel();
            let wants = move |metadata: &log::Metadata<'_>| {
                if metadata.target() == "asks" {
                    start(&tell);
                }
                true
            };
            let file = LogFile::new(place.log()).rotation(unfazed::Rotation::size(100)).min_free_space(0);
            let on_event = move |event: &Event| {
                if matches!(event, Event::Rotated { .. }) {
                    log::error!(target: "asks", "on the writer's thread");
                }
            };
            let handle = Builder::new().file(file.filter_with(wants)).on_event(on_event).init().unwrap();
            say_all(0, 10);
            handle.flush(PATIENCE).unwrap();
            assert_it_ends_at_sigterm(started.recv_timeout(PROMPTLY).unwrap());
        }),
        Case::inside("a_program_started_by_the_destructor_of_a_sink_ends_at_sigterm", |_| {
            let (tell, started) = mpsc::channel();
            let (logger, handle) = Builder::new().sink("starts at its end", DropSink(tell)).build().unwrap();
            handle.shutdown(PATIENCE).unwrap();
            drop(logger);
            assert_it_ends_at_sigterm(started.recv_timeout(PROMPTLY).unwrap());
        }),
        Case::inside("a_file_that_may_not_grow_ends_no_program_that_hears_of_it", |place| {
            let (tell, told) = mpsc::channel();
            let on_event = move |event: &Event| {
                if matches!(event, Event::Suspended { .. }) {
                    tell.send(()).unwrap();
                }
            };
            unix::limit_file_size(1 << 16);
            let file = LogFile::new(place.log()).min_free_space(0).error_reserve(0);
            let handle = Builder::new().file(file).on_event(on_event).init().unwrap();
            say_all(0, 5000);
            // The write past the limit has left a SIGXFSZ to the writer's thread.
            told.recv_timeout(PROMPTLY).unwrap();
            let _ = handle.shutdown(PATIENCE);
        }),
    ]
}

/// Starts a program that ends with this one, if no signal ends it before.
fn start(tell: &Sender<Child>) {
    tell.send(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()).unwrap();
}

fn assert_it_ends_at_sigterm(mut child: Child) {
    unix::terminate(child.id());
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return assert_eq!(status.signal(), Some(libc::SIGTERM), "{status}");
        }
        if asked.elapsed() > PROMPTLY {
            child.kill().unwrap();
            panic!("SIGTERM was ignored");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a program in its first write.
struct StartSink(Sender<Child>);

impl Sink for StartSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        start(&self.0);
        Ok(())
    }
}

/// Starts a program when it is dropped.
struct DropSink(Sender<Child>);

impl Sink for DropSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Ok(())
    }
}

impl Drop for DropSink {
    fn drop(&mut self) {
        start(&self.0);
    }
}
