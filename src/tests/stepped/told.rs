//! What an output has to report next to its records, and that it is told although the line that
//! should have told it did not go in.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::Level;

use super::bench::{PATH, Setup};
use crate::event::{Cause, Event, State};
use crate::front::filter_doubts::FilterDoubts;
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::rotation::Rotation;
use crate::sink::{Batch, Command, Health, News, Now, OutputSink, WriteError};
use crate::tests::fake_disk::{FakeDisk, Fault, Op};

/// Has news, and takes only so many lines of each batch.
#[derive(Clone, Default)]
struct NewsSink(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    news: Vec<News>,
    takes: Option<usize>,
    text: String,
    commands: Vec<Command>,
}

impl OutputSink for NewsSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let mut state = self.0.lock().unwrap();
        let takes = state.takes.unwrap_or(batch.len());
        for line in batch.lines().take(takes) {
            state.text.push_str(std::str::from_utf8(line.bytes()).unwrap());
        }
        if takes < batch.len() { Err(WriteError::new(takes, Cause::Io)) } else { Ok(()) }
    }

    fn check(&mut self, _now: Now) -> Result<Health, WriteError> {
        let news = std::mem::take(&mut self.0.lock().unwrap().news);
        Ok(Health { news, ..Health::default() })
    }

    fn command(&mut self, command: Command, _now: Now) -> Result<(), WriteError> {
        self.0.lock().unwrap().commands.push(command);
        Ok(())
    }
}

impl NewsSink {
    fn set(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.0.lock().unwrap());
    }

    fn text(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().text)
    }
}

#[test]
fn what_happened_to_the_file_is_told_by_the_gap_line_if_no_other_line_went_in() {
    let sink = NewsSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.step();
    for _ in 0..2 {
        sink.set(|state| {
            state.news = vec![
                News::LinesDeleted { lines: 3 },
                News::CutShort { bytes: 5 },
                News::GaveWay { path: "old".into(), bytes: 7 },
            ];
            state.takes = Some(0);
        });
        bench.log(Level::Info);
        bench.step();
        assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
        sink.set(|state| state.takes = None);
        bench.live(Duration::from_secs(3));
        let text = sink.text();
        assert!(text.ends_with(" lines_deleted=3 bytes_cut_off=5 old_files_deleted=1 old_bytes_deleted=7\n"), "{text}");
    }
    bench.log(Level::Info);
    bench.live(Duration::from_secs(3));
    assert_eq!(sink.text().lines().count(), 1, "it is told once");
}

#[test]
fn what_failed_is_told_later_if_its_line_did_not_go_in() {
    let sink = NewsSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.step();
    sink.set(|state| {
        state.news = vec![News::Failed { doing: "tidy", error: io::ErrorKind::PermissionDenied.into() }];
        state.takes = Some(0);
    });
    bench.log(Level::Info);
    bench.step();
    sink.set(|state| state.takes = None);
    bench.live(Duration::from_secs(3));
    bench.log(Level::Info);
    bench.live(Duration::from_secs(10));
    let text = sink.text();
    assert_eq!(text.matches("failed to tidy times=1 error=\"permission denied\"").count(), 1, "{text}");
    // The line is in, and the record after it is not.
    sink.set(|state| {
        state.news = vec![News::Failed { doing: "tidy", error: io::ErrorKind::PermissionDenied.into() }];
        state.takes = Some(1);
    });
    bench.log(Level::Info);
    bench.step();
    sink.set(|state| state.takes = None);
    bench.live(Duration::from_secs(20));
    bench.log(Level::Info);
    bench.live(Duration::from_secs(20));
    let text = sink.text();
    assert_eq!(text.matches("failed to tidy").count(), 1, "{text}");
}

/// One line stood for all failures since the last one: it named the last of them, and counted those
/// of all kinds. A rotation that failed was not reported if a link failed after it.
#[test]
fn each_kind_of_failure_has_a_line_with_its_own_count() {
    let sink = NewsSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.step();
    let failed = |doing| News::Failed { doing, error: io::ErrorKind::PermissionDenied.into() };
    sink.set(|state| state.news = vec![failed("rotate"), failed("tidy"), failed("rotate")]);
    bench.log(Level::Info);
    bench.live(Duration::from_secs(3));
    bench.log(Level::Info);
    bench.live(Duration::from_secs(3));
    let text = sink.text();
    for line in ["failed to rotate times=2 error=", "failed to tidy times=1 error="] {
        assert_eq!(text.matches(line).count(), 1, "{text}");
    }
    assert_eq!(text.matches("failed to").count(), 2, "{text}");
}

#[test]
fn what_is_to_be_said_first_is_said_once_and_when_it_can_be() {
    let sink = NewsSink::default();
    sink.set(|state| state.takes = Some(0));
    let opening = FilterDoubts::of(["inof"]).notice();
    let mut bench = Setup { opening, ..Setup::new() }.sink(sink.clone()).bench();
    bench.log(Level::Info);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    sink.set(|state| state.takes = None);
    bench.live(Duration::from_secs(3));
    for _ in 0..2 {
        bench.log(Level::Info);
        bench.live(Duration::from_secs(3));
    }
    let text = sink.text();
    assert_eq!(text.matches("of the filter matches nothing").count(), 1, "{text}");
    assert!(
        text.lines().nth(1).is_some_and(|line| line.contains("of the filter matches nothing")),
        "after the gap line: {text}"
    );
}

#[test]
fn what_is_ordered_of_a_suspended_output_is_done_once_when_it_is_back() {
    let sink = NewsSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.step();
    sink.set(|state| state.takes = Some(0));
    bench.log(Level::Info);
    bench.step();
    for _ in 0..3 {
        bench.handle.rotate();
        bench.handle.reopen();
        bench.live(Duration::from_millis(500));
    }
    assert_eq!(sink.0.lock().unwrap().commands, []);
    sink.set(|state| state.takes = None);
    bench.live(Duration::from_secs(3));
    assert_eq!(sink.0.lock().unwrap().commands, [Command::Rotate, Command::Reopen]);
}

#[test]
fn the_error_that_suspends_is_told_as_an_event_with_what_was_being_done() {
    for (op, doing) in [(Op::Write, "write"), (Op::Open, "open"), (Op::Sync, "fsync")] {
        let disk = FakeDisk::default();
        let options = FileOptions { fsync: Fsync::Every(Duration::ZERO), ..FileOptions::default() };
        disk.world().fault = Some(Fault { at: 1, only: Some(op), forever: true, errno: 28 });
        let mut bench = Setup::new().file_with(&disk, options).bench();
        bench.log(Level::Info);
        bench.step();
        assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull), "{doing}");
        let events = bench.events.lock().unwrap();
        assert!(
            matches!(&events[..], [Event::Failed { doing: done, .. }, Event::Suspended { .. }] if *done == doing),
            "{events:?}"
        );
    }
}

#[test]
fn a_rotation_ordered_of_a_full_disk_comes_when_there_is_room() {
    let disk = FakeDisk::with_capacity(1 << 20);
    let options = FileOptions { rotation: Rotation::never(), ..FileOptions::default() };
    let mut bench = Setup::new().file_with(&disk, options).bench();
    bench.log_some(10);
    bench.step();
    disk.world().filler = 1 << 20;
    bench.log_some(10);
    bench.step();
    bench.handle.rotate();
    bench.live(Duration::from_secs(5));
    assert_eq!(disk.names(), [PATH]);
    disk.world().filler = 0;
    bench.live(Duration::from_secs(3));
    bench.log_some(1);
    bench.step();
    assert_eq!(disk.names().len(), 2, "{:?}", disk.names());
}

/// While the program runs, such a filter is as quiet as at the start: `inof` is a target's name.
#[test]
fn directives_that_match_nothing_are_reported_when_they_are_set_or_pushed() {
    let sink = NewsSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.handle.set_filter("info,my_app=debug").unwrap();
    bench.handle.set_filter("inof").unwrap();
    bench.handle.push_filter("my-app=debug").unwrap().keep();
    bench.step();
    let text = sink.text();
    assert_eq!(text.matches("of the filter matches nothing").count(), 2, "{text}");
    assert!(text.contains("the level is called `info`") && text.contains("write `my_app=debug`"), "{text}");
    bench.assert_identity("two lines of the crate itself");
}
