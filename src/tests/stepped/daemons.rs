//! Daemons that fail: whichever operation on the socket of a `Syslog` or a `Journald` fails, and
//! however, no record is lost uncounted, torn or written twice, and the output is back within 2 s.
//!
//! The same loop as for files: fail the n-th operation, for n = 1, 2, 3, ... until a run meets no
//! fault; once only, and from then on.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use log::Level;

use super::bench::{Bench, Setup};
use super::invariants::{Line, Parsed, parse};
use crate::sink::socket::{Connection, Destination, Framing};
use crate::sink::{Backlog, OutputSink};

const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const EPIPE: i32 = 32;
const EMSGSIZE: i32 = 90;
const ECONNREFUSED: i32 = 111;
const SECOND: Duration = Duration::from_secs(1);

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It fails with this error.
    Errno(i32),
    /// A stream takes this many bytes, and then the connection breaks.
    Part(usize),
    /// The same without the break: the rest is taken later.
    Pause(usize),
    /// The same, and then a stream takes nothing until the fault is over.
    Stall(usize),
}

/// The daemon of this thread: what it has read, and what fails.
struct Daemon {
    framing: Framing,
    /// The longest datagram.
    most: usize,
    /// What each connection has brought. Of datagrams each is one.
    read: Vec<Vec<u8>>,
    /// Operations so far.
    operations: u64,
    fault: Option<(u64, Failure)>,
    is_forever: bool,
    hits: u64,
    /// The connection with this place is broken.
    broken: Option<usize>,
    /// The daemon has closed the connection with this place: what is sent there is lost.
    closed: Option<usize>,
}

thread_local! {
    static DAEMON: RefCell<Option<Daemon>> = const { RefCell::new(None) };
}

fn with_daemon<T>(look: impl FnOnce(&mut Daemon) -> T) -> T {
    DAEMON.with_borrow_mut(|daemon| look(daemon.as_mut().expect("a daemon")))
}

impl Daemon {
    fn start(framing: Framing, most: usize) {
        DAEMON.set(Some(Self {
            framing,
            most,
            read: Vec::new(),
            operations: 0,
            fault: None,
            is_forever: false,
            hits: 0,
            broken: None,
            closed: None,
        }));
    }

    /// Counts an operation, and returns what goes wrong with it.
    fn failure(&mut self) -> Option<Failure> {
        self.operations += 1;
        let (at, failure) = self.fault?;
        let is_hit = self.operations == at || self.is_forever && self.operations > at;
        self.hits += u64::from(is_hit);
        is_hit.then_some(failure)
    }

    /// What the daemon makes of it: the whole messages, one a line, and what a broken connection
    /// has left at the end of a stream of lines.
    fn log(&self) -> Vec<u8> {
        let mut log = Vec::new();
        for read in &self.read {
            match self.framing {
                Framing::None => log.extend_from_slice(&[read, &b"\n"[..]].concat()),
                Framing::Newline => {
                    // A daemon takes what comes before the end of a connection for a message.
                    let whole = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    log.extend_from_slice(&read[..whole]);
                }
                Framing::OctetCount => {
                    let mut rest = &read[..];
                    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
                        let len: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
                        let Some(message) = rest.get(blank + 1..blank + 1 + len) else { break };
                        log.extend_from_slice(&[message, b"\n"].concat());
                        rest = &rest[blank + 1 + len..];
                    }
                }
            }
        }
        log
    }
}

/// A connection to the daemon of this thread.
struct FakeConnection {
    number: usize,
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl FakeConnection {
    fn is_broken(&self, daemon: &Daemon) -> bool {
        daemon.broken == Some(self.number)
    }
}

impl Connection for FakeConnection {
    fn connect(_: &Destination, _: usize) -> io::Result<Self> {
        with_daemon(|daemon| {
            if let Some(failure) = daemon.failure() {
                let Failure::Errno(errno) = failure else { return Err(error(ECONNREFUSED)) };
                return Err(error(errno));
            }
            if daemon.framing != Framing::None {
                daemon.read.push(Vec::new());
            }
            Ok(Self { number: daemon.read.len() })
        })
    }

    fn framing(&self) -> Framing {
        with_daemon(|daemon| daemon.framing)
    }

    fn establish(&mut self) -> io::Result<()> {
        with_daemon(|daemon| match daemon.failure() {
            _ if self.is_broken(daemon) => Err(error(EPIPE)),
            Some(Failure::Errno(errno)) => Err(error(errno)),
            Some(Failure::Part(_)) => Err(error(EPIPE)),
            Some(Failure::Pause(_)) => Err(error(EAGAIN)),
            Some(Failure::Stall(_)) | None => Ok(()),
        })
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        with_daemon(|daemon| {
            let failure = daemon.failure();
            if self.is_broken(daemon) {
                return Err(error(EPIPE));
            }
            if daemon.closed == Some(self.number) {
                return Ok(bytes.len());
            }
            if daemon.framing == Framing::None {
                return match failure {
                    Some(Failure::Errno(errno)) => Err(error(errno)),
                    Some(Failure::Part(_) | Failure::Pause(_) | Failure::Stall(_)) => Err(error(EAGAIN)),
                    None if bytes.len() > daemon.most => Err(error(EMSGSIZE)),
                    None => {
                        daemon.read.push(bytes.to_vec());
                        Ok(bytes.len())
                    }
                };
            }
            let taken = match failure {
                Some(Failure::Errno(errno)) => return Err(error(errno)),
                Some(Failure::Part(most) | Failure::Pause(most)) => most.min(bytes.len()),
                Some(Failure::Stall(most)) => {
                    if daemon.hits == 1 {
                        most.min(bytes.len())
                    } else {
                        0
                    }
                }
                None => bytes.len(),
            };
            if matches!(failure, Some(Failure::Part(_))) {
                daemon.broken = Some(self.number);
            }
            daemon.read.last_mut().expect("a connection").extend_from_slice(&bytes[..taken]);
            if taken == 0 && !bytes.is_empty() { Err(error(EAGAIN)) } else { Ok(taken) }
        })
    }

    fn hear(&self) -> io::Result<()> {
        with_daemon(|daemon| match daemon.framing {
            // It refuses none that it has taken.
            Framing::None => Ok(()),
            Framing::Newline | Framing::OctetCount => match daemon.failure() {
                _ if self.is_broken(daemon) => Err(error(EPIPE)),
                _ if daemon.closed == Some(self.number) => Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Failure::Errno(errno)) if errno != EAGAIN => Err(error(errno)),
                Some(Failure::Part(_)) => Err(error(EPIPE)),
                Some(Failure::Errno(_) | Failure::Pause(_) | Failure::Stall(_)) | None => Ok(()),
            },
        })
    }

    fn wait(&self, _: Duration) -> bool {
        false
    }

    fn pause(_: Duration) {}

    #[cfg(all(feature = "journald", target_os = "linux"))]
    fn send_by_file(&self, bytes: &[u8]) -> io::Result<()> {
        with_daemon(|daemon| match daemon.failure() {
            Some(Failure::Errno(errno)) => Err(error(errno)),
            Some(Failure::Part(_)) => Err(error(EPIPE)),
            Some(Failure::Pause(_) | Failure::Stall(_)) => Err(error(EAGAIN)),
            None => {
                daemon.read.push(bytes.to_vec());
                Ok(())
            }
        })
    }
}

fn bench(sink: impl OutputSink + 'static) -> Bench {
    let backlog = Backlog { bytes: 1 << 16, ..Backlog::default() };
    Setup::new().sink(sink).retain(1 << 16).backlog(backlog).bench()
}

fn syslog() -> Bench {
    bench(crate::sink::syslog::sink::<FakeConnection>(Destination::Unix("/dev/log".into())))
}

#[cfg(all(feature = "journald", target_os = "linux"))]
fn journald() -> Bench {
    bench(crate::sink::journald::sink::<FakeConnection>("/run/journal".into()))
}

/// Logs in several turns, so that each operation of the socket happens in some of them.
fn use_it(bench: &mut Bench) {
    bench.log_some(3);
    bench.step();
    bench.log_padded(Level::Info, 900);
    bench.log_padded(Level::Error, 900);
    bench.log_some(3);
    bench.live(SECOND / 2);
    bench.log_some(8);
    bench.step();
    bench.live(SECOND);
    bench.log_some(2);
    bench.step();
}

/// Judges a run after its faults are over.
#[track_caller]
fn judge(bench: &mut Bench, story: &str) -> Parsed {
    with_daemon(|daemon| daemon.fault = None);
    bench.live(2 * SECOND);
    assert!(!bench.suspended(), "{story}: not back within 2 s");
    bench.log(Level::Info);
    bench.step();
    bench.live(SECOND / 2);
    let stats = bench.handle.stats();
    assert_eq!(stats.pending, 0, "{story}: {stats:?}");
    bench.assert_identity(story);
    let log = with_daemon(|daemon| daemon.log());
    let parsed = parse(&[log]);
    assert!(parsed.fragments.is_empty(), "{story}: torn: {:?}", parsed.fragments);
    let last = bench.next - 1;
    assert_eq!(parsed.records.last(), Some(&last), "{story}: the next record arrives");
    let mut once = parsed.records.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), parsed.records.len(), "{story}: a record twice");
    assert_eq!(parsed.records.len() as u64, stats.written, "{story}: written");
    assert_eq!(parsed.told, stats.dropped.total(), "{story}: the gap lines add up");
    assert_eq!(parsed.records.len() as u64 + parsed.told, bench.next, "{story}: all records");
    parsed
}

/// Fails the n-th operation of each run until there are none left. Returns how many runs met a
/// fault.
fn loop_over(framing: Framing, most: usize, failures: &[Failure], start: fn() -> Bench) -> u64 {
    let mut runs = 0;
    for failure in failures {
        for is_forever in [false, true] {
            for at in 1.. {
                Daemon::start(framing, most);
                with_daemon(|daemon| (daemon.fault, daemon.is_forever) = (Some((at, *failure)), is_forever));
                let mut bench = start();
                use_it(&mut bench);
                let story = format!("{framing:?}, {failure:?} at operation {at}, for ever: {is_forever}");
                let hits = with_daemon(|daemon| daemon.hits);
                judge(&mut bench, &story);
                if hits == 0 {
                    break;
                }
                runs += 1;
            }
        }
    }
    runs
}

const LONGEST: usize = 60_000;

#[test]
fn whichever_operation_on_a_stream_fails_every_record_is_written_whole_or_reported() {
    let mut failures = [EPIPE, ECONNREFUSED, ENOENT, EAGAIN].map(Failure::Errno).to_vec();
    failures.extend([0, 1, 2, 3, 50, 200].map(Failure::Part));
    failures.extend([0, 1, 2, 3, 50, 200].map(Failure::Pause));
    for framing in [Framing::OctetCount, Framing::Newline] {
        let runs = loop_over(framing, LONGEST, &failures, syslog);
        assert!(runs > 500, "{framing:?}: {runs} runs");
    }
}

#[test]
fn whichever_datagram_fails_every_record_is_written_or_reported() {
    let failures = [EPIPE, ECONNREFUSED, ENOENT, EAGAIN, EMSGSIZE].map(Failure::Errno);
    let runs = loop_over(Framing::None, LONGEST, &failures, syslog);
    assert!(runs > 200, "{runs} runs");
}

#[cfg(all(feature = "journald", target_os = "linux"))]
#[test]
fn whichever_entry_of_the_journal_fails_every_record_is_written_or_reported() {
    // The longer records go by a file in memory.
    let failures = [EPIPE, ECONNREFUSED, ENOENT, EAGAIN].map(Failure::Errno);
    let runs = loop_over(Framing::None, 500, &failures, journald);
    assert!(runs > 200, "{runs} runs");
}

#[test]
fn a_daemon_that_takes_nothing_for_a_while_lags_and_costs_no_record() {
    for framing in [Framing::None, Framing::Newline, Framing::OctetCount] {
        Daemon::start(framing, LONGEST);
        let mut bench = syslog();
        bench.log_some(4);
        bench.step();
        let at = with_daemon(|daemon| daemon.operations + 1);
        with_daemon(|daemon| (daemon.fault, daemon.is_forever) = (Some((at, Failure::Errno(EAGAIN))), true));
        for _ in 0..4 {
            bench.log_some(8);
            bench.live(SECOND / 2);
            assert!(!bench.suspended(), "{framing:?}: it only waits");
        }
        let parsed = judge(&mut bench, "it goes on");
        assert_eq!((parsed.told, bench.suspensions()), (0, (0, 0)), "{framing:?}");
    }
}

#[test]
fn a_daemon_that_comes_back_gets_one_gap_line_before_what_was_retained() {
    Daemon::start(Framing::OctetCount, LONGEST);
    let mut bench = syslog();
    bench.log_some(4);
    bench.step();
    with_daemon(|daemon| (daemon.fault, daemon.is_forever) = (Some((1, Failure::Errno(ECONNREFUSED))), true));
    bench.log_some(8);
    bench.live(SECOND);
    assert!(bench.suspended());
    let parsed = judge(&mut bench, "back");
    assert_eq!(parsed.gaps, 1);
    let gap = parsed.lines.iter().position(|line| matches!(line, Line::Gap)).unwrap();
    assert_eq!(gap, 4, "{:?}", parsed.lines);
    assert!(parsed.lines.len() > 5, "WARN and ERROR follow it");
}

#[test]
fn a_daemon_that_has_closed_a_stream_costs_no_record_and_one_that_closes_each_gets_each() {
    for framing in [Framing::Newline, Framing::OctetCount] {
        Daemon::start(framing, LONGEST);
        let mut bench = syslog();
        for _ in 0..4 {
            bench.log_some(2);
            bench.step();
            // Every connection there has been so far.
            with_daemon(|daemon| daemon.closed = Some(daemon.read.len()));
        }
        let parsed = judge(&mut bench, "closed each time");
        assert_eq!((parsed.told, bench.suspensions()), (0, (0, 0)), "{framing:?}");
    }
}

#[test]
fn a_look_at_the_daemon_is_one_operation_for_each_batch() {
    Daemon::start(Framing::OctetCount, LONGEST);
    let mut bench = syslog();
    bench.log_some(1);
    bench.step();
    let before = with_daemon(|daemon| daemon.operations);
    bench.log_some(8);
    bench.step();
    let operations = with_daemon(|daemon| daemon.operations) - before;
    // Each message is an operation to send, and one to look whether the connection is there.
    assert_eq!(operations, 1 + 2 * 8);
}

#[test]
fn a_message_of_which_a_part_is_sent_is_pending_until_its_last_byte_is_taken() {
    for framing in [Framing::Newline, Framing::OctetCount] {
        for ends in [false, true] {
            Daemon::start(framing, LONGEST);
            let mut bench = syslog();
            bench.log(Level::Info);
            bench.step();
            // It is looked at, it is connected, and then it takes ten bytes and nothing more.
            let at = with_daemon(|daemon| daemon.operations) + 3;
            with_daemon(|daemon| (daemon.fault, daemon.is_forever) = (Some((at, Failure::Stall(10))), true));
            bench.log(Level::Info);
            bench.live(SECOND / 2);
            let stats = bench.handle.stats();
            assert_eq!((stats.written, stats.pending), (1, 1), "{framing:?}: {stats:?}");
            if ends {
                // The whole message comes again by a new connection, and no part of it twice.
                with_daemon(|daemon| daemon.broken = Some(daemon.read.len()));
            }
            judge(&mut bench, "its rest is taken");
        }
    }
}
