//! Callers that read the processor's counter: what times their records have in the file, on a
//! machine whose clocks are told.

use std::time::{Duration, SystemTime};

use log::Level;

use super::bench::{Bench, PATH, Setup};
use crate::clock::system::{self, Counter};
use crate::clock::{Stamp, Timeline};
use crate::sink::log_file::FileOptions;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::FakeDisk;

const HOUR: Duration = Duration::from_secs(3600);

/// A bench, and the machine that it runs on: one tick a nanosecond.
struct Machine {
    bench: Bench,
    disk: FakeDisk,
    counter: Counter,
    wall: SystemTime,
}

impl Machine {
    fn new(rotation: Rotation) -> Self {
        let disk = FakeDisk::default();
        let options = FileOptions { rotation, ..FileOptions::default() };
        let mut bench = Setup::new().file_with(&disk, options).bench();
        bench.tells_records_the_time = true;
        let counter = Counter { ticks: 5_000_000_000, steady: 1_000_000_000, each: 0 };
        let mut machine = Self { wall: bench.now.wall, bench, disk, counter };
        machine.tell();
        machine.bench.writer.keep_time(Timeline::new().unwrap());
        machine.pass(Duration::from_secs(1));
        machine
    }

    fn tell(&self) {
        system::set(Some(self.wall));
        system::set_counter(Some(self.counter));
    }

    fn pass(&mut self, time: Duration) {
        self.counter.ticks += time.as_nanos() as u64;
        self.counter.steady += time.as_nanos() as u64;
        self.wall += time;
        self.bench.pass(time);
    }

    /// The counter goes on, the steady clock does not.
    fn sleep(&mut self, time: Duration) {
        self.counter.ticks += time.as_nanos() as u64;
        self.wall += time;
        self.bench.now.wall += time;
    }

    fn log(&mut self) {
        self.tell();
        self.bench.log(Level::Info);
    }

    fn step(&mut self) {
        self.tell();
        self.bench.step();
    }

    /// The times of the records in a file, from the minutes on.
    fn times(&self, path: &str) -> Vec<String> {
        let text = String::from_utf8(self.disk.read(path)).unwrap();
        let time = |line: &str| line["2001-09-09T01:".len()..line.find('Z').unwrap()].to_owned();
        text.lines().map(time).collect()
    }

    fn counter_is_read(&self) -> bool {
        matches!(self.bench.pipeline.stamp(), Stamp::Ticks(_))
    }
}

#[test]
fn a_record_has_the_time_of_its_call() {
    let mut machine = Machine::new(Rotation::never());
    for wait in [1, 40, 6000] {
        machine.log();
        machine.pass(Duration::from_millis(wait));
        machine.log();
        machine.step();
    }
    assert!(machine.counter_is_read());
    let expected = ["46:41.000000", "46:41.001000", "46:41.001000", "46:41.041000", "46:41.041000", "46:47.041000"];
    assert_eq!(machine.times(PATH), expected);
}

#[test]
fn a_sleep_of_the_machine_shifts_no_record_and_ends_the_reading_of_the_counter() {
    let mut machine = Machine::new(Rotation::never());
    machine.log();
    machine.step();
    machine.pass(Duration::from_millis(50));
    machine.log();
    machine.pass(Duration::from_millis(10));
    machine.sleep(Duration::from_secs(600));
    machine.log();
    machine.pass(Duration::from_millis(10));
    machine.step();
    assert!(!machine.counter_is_read());
    machine.log();
    machine.step();
    assert_eq!(machine.times(PATH), ["46:41.000000", "46:41.050000", "56:41.060000", "56:41.070000"]);
}

/// The hour begins while the records wait.
#[test]
fn a_batch_is_split_at_the_hour_by_the_times_of_the_calls() {
    let mut machine = Machine::new(Rotation::hourly());
    machine.pass(Duration::from_secs(13 * 60 + 18));
    for _ in 0..3 {
        machine.log();
        machine.pass(Duration::from_millis(500));
    }
    machine.step();
    machine.pass(HOUR / 2);
    machine.step();
    let names = machine.disk.names();
    let archives: Vec<_> = names.iter().filter(|name| *name != PATH && name.ends_with(".log")).collect();
    let [archive] = archives[..] else { panic!("{archives:?}") };
    assert_eq!((machine.times(archive).len(), machine.times(PATH).len()), (2, 1));
}
