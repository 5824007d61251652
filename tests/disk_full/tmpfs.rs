//! Cases on a small file system in memory.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use rustix::mount::MountFlags;
use unfazed::{Cause, KIB, MIB, State};

use crate::support::account::{Log, assert_accounted};
use crate::support::cases::{Case, Evidence, Needs, Outcome, part};
use crate::support::child::{self, wait_until};
use crate::support::load::{Author, Load, Pace, level, longest, memory};
use crate::support::moment::Moment;
use crate::support::place::{Filler, Place, free, remount};
use crate::support::subject::{PATIENCE, Subject};

/// The number of the author who is not one of the load.
const LONE: u32 = 99;

pub(crate) fn a_full_tmpfs_stops_the_log_quietly_and_it_resumes_by_itself(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=16m");
    // Long enough for attempts that double their distance without a limit to be far more than 2 s
    // apart.
    stops_and_resumes(&disk, Duration::from_secs(4), 0, String::new)
}

/// The whole story of a disk of about 16 MiB: health, a flood while something else fills the disk,
/// an outage, room. While the disk is full, `look` may look at it and say what it saw.
pub(crate) fn stops_and_resumes(
    disk: &Path,
    outage: Duration,
    error_reserve: u64,
    look: impl FnOnce() -> String,
) -> Outcome {
    let path = disk.join("app.log");
    let subject = Subject::start(&path, |file| file.min_free_space(0).error_reserve(error_reserve));
    let load = Load::start(4, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 20_000);
    let memory_in_health = memory();

    let filler = subject.fill_under_a_flood(&load, disk);
    subject.assert_flush_says(Cause::DiskFull);
    subject.wait_until_quiet_for(outage);
    Log::of_whole_lines(&subject.read());
    let seen = look();
    load.pace(Pace::SteadySuspended);
    wait_until(|| "calls while full".into(), PATIENCE, || load.calls(Pace::SteadySuspended) >= 20_000);
    load.pace(Pace::FloodSuspended);
    let grown = memory().saturating_sub(memory_in_health);
    assert!(grown <= 16 * MIB, "the memory grew by {grown} bytes while the disk was full");

    subject.calm_when_resumed(&load);
    let mut lone = Author::new(LONE);
    wait_for_an_attempt(&path);
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    wait_until(|| "calls after it".into(), PATIENCE, || load.calls(Pace::SteadyAgain) >= 2_000);

    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    let bytes = subject.read();
    assert_eq!(bytes.len() as u64, stats.written_bytes);
    assert_accounted(&Log::of_whole_lines(&bytes), &calls.authors, &stats, &told);
    let more = format!("{}, memory grew by {} KiB{seen}", calls.assert_no_work_while_suspended(), grown / KIB);
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more }.into()
}

/// Waits until the suspended log has tried in vain to write, which touches the file: the worst
/// moment for the fault to end. If that cannot be seen on this file system, the fault ends at any
/// moment.
fn wait_for_an_attempt(path: &Path) {
    let touched = || fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap();
    let (start, before) = (Instant::now(), touched());
    while touched() == before && start.elapsed() < Duration::from_secs(8) {
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn the_free_space_never_falls_below_the_reserve(place: &Place) -> Outcome {
    leaves_the_reserve(&place.tmpfs("size=16m"), String::new)
}

/// A disk of about 16 MiB that something else fills to nearly the reserve, and the log not beyond
/// it. While the log is suspended, `look` may look at the disk and say what it saw.
pub(crate) fn leaves_the_reserve(disk: &Path, look: impl FnOnce() -> String) -> Outcome {
    const RESERVE: u64 = 4 * MIB;

    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(RESERVE));
    let sampler = Sampler::start(disk);
    let load = Load::start(4, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 20_000);

    // The other one takes most of the room while the log is written, and stays well above the
    // reserve: the last step, whenever it is, is the logger's.
    let mut filler = Filler::new(disk.join("filler"));
    load.pace(Pace::Flood);
    filler.fill_leaving(RESERVE + MIB);
    subject.wait_until_suspended(Cause::LowSpace);
    load.pace(Pace::FloodSuspended);
    subject.assert_flush_says(Cause::LowSpace);
    subject.wait_until_given_up();
    load.pace(Pace::SteadySuspended);
    wait_until(|| "calls while low".into(), PATIENCE, || load.calls(Pace::SteadySuspended) >= 20_000);
    load.pace(Pace::FloodSuspended);
    let left = free(disk);
    let seen = look();
    assert!(left <= RESERVE + 256 * KIB, "it stopped with {left} bytes free");

    subject.calm_when_resumed(&load);
    let mut lone = Author::new(LONE);
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    let (least, samples) = sampler.stop();
    assert!(
        least >= RESERVE,
        "the free space fell to {least}, {} bytes below the reserve; while suspended it was {left}",
        RESERVE - least
    );

    let log = Log::of_whole_lines(&subject.read());
    assert_accounted(&log, &calls.authors, &stats, &told);
    let quiet =
        log.notices.iter().filter(|notice| notice.text.starts_with("logging suspended cause=low_space")).count();
    assert_eq!(quiet, 1, "one line says that it gets quiet");
    let more = format!(
        "least free {least} bytes in {samples} samples, reserve {RESERVE}{seen}; {}",
        calls.assert_no_work_while_suspended()
    );
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more }.into()
}

/// Watches the free space, all the time.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, u64)>,
}

impl Sampler {
    fn start(disk: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (disk, told) = (disk.to_owned(), stop.clone());
        let thread = thread::spawn(move || {
            let (mut least, mut samples) = (u64::MAX, 0);
            while !told.load(Relaxed) {
                let mut sample = free(&disk);
                if sample < least {
                    sample = settled(&disk, sample);
                }
                least = least.min(sample);
                samples += 1;
                thread::yield_now();
            }
            (least, samples)
        });
        Self { stop, thread }
    }

    /// The least free space, and how often it was looked at.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// What a sample of the free space is worth. While ext4 writes back it counts some blocks as taken
/// twice, and says for a moment that there is less room than there was before and will be after;
/// what the log takes, it keeps.
fn settled(disk: &Path, sample: u64) -> u64 {
    /// `EXT4_SUPER_MAGIC`.
    const EXT4: u64 = 0xEF53;

    let looks = if rustix::fs::statfs(disk).unwrap().f_type as u64 == EXT4 { 20 } else { 0 };
    let later = (0..looks).map(|_| {
        thread::sleep(Duration::from_millis(1));
        free(disk)
    });
    later.fold(sample, u64::max)
}

pub(crate) fn a_tmpfs_without_a_limit_is_never_low_on_space(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=0");
    assert_eq!(rustix::fs::statvfs(&disk).unwrap().f_blocks, 0, "a tmpfs without a limit says so by 0");
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(MIB));
    let load = Load::start(2, &subject.handle);
    wait_until(
        || format!("steady calls: {:?}", subject.handle.state()),
        PATIENCE,
        || {
            assert_eq!(subject.handle.state(), State::Healthy);
            load.calls(Pace::Steady) >= 20_000
        },
    );
    let calls = load.stop();
    let (stats, told) = subject.end();
    assert_eq!(stats.written, stats.accepted);
    assert_accounted(&Log::of_whole_lines(&subject.read()), &calls.authors, &stats, &told);
    Evidence { stats, longest_call: Some(calls.longest()), resumed: None, more: "never suspended".into() }.into()
}

pub(crate) fn a_start_on_a_full_disk_is_quiet_and_the_log_begins_when_there_is_room(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=4m");
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(0));
    let mut lone = Author::new(LONE);
    lone.say();
    subject.wait_until_suspended(Cause::DiskFull);
    begins_when(&subject, lone, Cause::DiskFull, || filler.remove())
}

pub(crate) fn a_start_below_the_reserve_is_quiet_and_the_log_begins_when_there_is_room(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=8m");
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill_leaving(32 * KIB);
    // The default reserve of so small a disk is 1 % of it: more than the 32 KiB that are left.
    let subject = Subject::start(&disk.join("app.log"), |file| file);
    subject.wait_until_suspended(Cause::LowSpace);
    wait_until(|| "the line that says so".into(), PATIENCE, || subject.handle.stats().outputs[0].notices == 1);
    let first = subject.read();
    let log = Log::of_whole_lines(&first);
    assert!(log.notices[0].text.starts_with("logging suspended cause=low_space"), "{log:?}");
    begins_when(&subject, Author::new(LONE), Cause::LowSpace, || filler.remove())
}

pub(crate) fn exhausted_inodes_suspend_the_start_and_one_free_inode_ends_it(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=4m,nr_inodes=16");
    let mut last = None;
    for number in 0.. {
        let path = disk.join(number.to_string());
        match File::create(&path) {
            Ok(_) => last = Some(path),
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            Err(error) => panic!("use the inodes up: {error}"),
        }
    }
    let subject = Subject::start(&disk.join("app.log"), |file| file);
    subject.wait_until_suspended(Cause::DiskFull);
    begins_when(&subject, Author::new(LONE), Cause::DiskFull, || {
        let freed = Moment::now();
        fs::remove_file(last.unwrap()).unwrap();
        freed
    })
}

pub(crate) fn a_read_only_start_is_quiet_and_the_log_begins_when_the_mount_is_writable(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=4m");
    remount(&disk, MountFlags::RDONLY);
    let subject = Subject::start(&disk.join("logs/app.log"), |file| file);
    subject.wait_until_suspended(Cause::ReadOnly);
    begins_when(&subject, Author::new(LONE), Cause::ReadOnly, || {
        let lifted = Moment::now();
        remount(&disk, MountFlags::empty());
        lifted
    })
}

/// A log that begins suspended: what is logged is lost and told, until the fault is lifted, except
/// WARN and ERROR, which are retained.
fn begins_when(subject: &Subject, mut lone: Author, cause: Cause, lift: impl FnOnce() -> Moment) -> Outcome {
    for _ in 0..1000 {
        lone.say();
    }
    subject.assert_flush_says(cause);
    subject.wait_until_given_up();
    let lost = (0..lone.logged).filter(|n| level(*n) > Level::Warn).count() as u64;
    let retained = lone.logged - lost;
    assert_eq!(subject.handle.stats().pending, retained);
    let lifted = lift();
    let resumed = subject.assert_resumes(lifted, &mut lone, || subject.read());
    for _ in 0..100 {
        lone.say();
    }
    let (stats, told) = subject.end();
    assert_eq!(stats.dropped.total(), lost, "{stats:?}");
    assert_eq!(told.suspended, [cause]);
    let authors = [lone];
    let log = Log::of_whole_lines(&subject.read());
    assert_eq!(log.retained.len() as u64, retained);
    assert_accounted(&log, &authors, &stats, &told);
    let longest_call = Some(longest(&authors));
    let more = format!("began suspended by {cause:?}, {retained} records retained");
    Evidence { stats, longest_call, resumed: Some(resumed), more }.into()
}

pub(crate) fn warnings_and_errors_of_a_full_disk_stand_after_the_gap_line_with_their_own_times(
    place: &Place,
) -> Outcome {
    const CALLS: u64 = 1_000_000;
    const RETAIN: u64 = 32 * KIB;

    let disk = place.tmpfs("size=8m");
    let path = disk.join("app.log");
    let subject = Subject::start(&path, |file| file.min_free_space(0).error_reserve(0).retain(RETAIN));
    let mut lone = Author::new(LONE);
    (0..100).for_each(|_| drop(lone.say()));
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    subject.say_until_suspended(&mut lone, Cause::DiskFull);
    // More than can be retained, in any case; the newest are written.
    let memory_before = memory();
    for _ in 0..CALLS {
        lone.log(log::logger());
    }
    subject.assert_flush_says(Cause::DiskFull);
    let grown = memory().saturating_sub(memory_before);
    assert!(grown <= 4 * MIB, "the memory grew by {grown} bytes: what the queue holds and what is retained are less");
    // The flush answers at once; the queue is emptied a moment later.
    wait_until(|| "the queue is empty".into(), PATIENCE, || subject.handle.stats().pending < RETAIN / 32);
    subject.wait_until_given_up();
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    let last = lone.logged;
    (0..100).for_each(|_| drop(lone.say()));
    let (stats, told) = subject.end();

    let text = String::from_utf8(subject.read()).unwrap();
    let log = Log::of_whole_lines(text.as_bytes());
    let retained = log.retained.len() as u64;
    assert!((200..RETAIN / 32).contains(&retained), "{retained}");
    assert_accounted(&log, &[lone], &stats, &told);
    assert!(log.retained.iter().all(|(_, n)| level(*n) <= Level::Warn && *n < last), "{:?}", log.retained);
    let gap = text.lines().position(|line| line.contains("logging resumed, ")).expect("a gap line");
    let lines: Vec<_> = text.lines().skip(gap).collect();
    assert!(
        lines[1..=retained as usize].iter().all(|line| line[..26] < lines[0][..26]),
        "times of the calls: {lines:?}"
    );
    let more = format!("{retained} records retained through {CALLS} calls, memory grew by {} KiB", grown / KIB);
    Evidence { stats, longest_call: None, resumed: Some(resumed), more }.into()
}

pub(crate) fn another_appender_of_the_file_loses_no_byte_while_the_disk_fills(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=16m");
    let path = disk.join("app.log");
    let subject = Subject::start(&path, |file| file.min_free_space(0));
    let load = Load::start(2, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 2_000);
    let others = place.dir().join("appender");
    fs::create_dir(&others).unwrap();
    std::os::unix::fs::symlink(&path, others.join("log")).unwrap();
    let mut other = child::command(APPENDER.name, &others).spawn().unwrap();
    wait_until(|| "a line of the other one".into(), PATIENCE, || find(&subject.read(), b"other n0 ").is_some());

    let filler = subject.fill_under_a_flood(&load, &disk);
    subject.wait_until_given_up();
    // With the other one at full speed the disk would be full again before the log can resume.
    File::create(others.join("calm")).unwrap();
    wait_until(|| "the other one is calm".into(), PATIENCE, || others.join("is calm").exists());
    subject.calm_when_resumed(&load);
    let mut lone = Author::new(LONE);
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    File::create(others.join("stop")).unwrap();
    assert!(other.wait().unwrap().success());
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();

    let log = subject.read();
    let accepted = fs::read(others.join("accepted")).unwrap();
    let writes = Appended::read(&others);
    let ours = writes.assert_in_and_take_out_of(&log);
    assert_eq!(accepted.len() + ours.len(), log.len());
    // What is left is the log, as if the other one had never been there.
    let log = Log::with_fragments(&ours);
    for fragment in &log.fragments {
        assert!(fragment.is_empty() || is_torn(fragment), "a line that is neither whole nor torn: {fragment:?}");
    }
    assert_accounted(&log, &calls.authors, &stats, &told);
    let more = format!(
        "{}; the other one wrote {} bytes in {} writes, {} of them cut short; torn lines of the log that stand alone: {}",
        calls.assert_no_waits(),
        accepted.len(),
        writes.ends.len(),
        writes.short,
        log.fragments.iter().filter(|fragment| !fragment.is_empty()).count(),
    );
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more }.into()
}

pub(crate) fn a_line_that_the_disk_cuts_short_for_somebody_else_gets_nothing_glued_to_it(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=4m");
    let path = disk.join("app.log");
    let subject = Subject::start(&path, |file| file.min_free_space(0).error_reserve(0));
    let mut lone = Author::new(LONE);
    lone.say();
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    // What is left is the rest of the log's last page: record by record, until one does not fit.
    subject.say_until_suspended(&mut lone, Cause::DiskFull);
    let line = format!("other {};\n", "o".repeat(8000));
    let mut other = OpenOptions::new().append(true).open(&path).unwrap();
    let took = other.write(line.as_bytes()).unwrap();
    assert!((1..line.len()).contains(&took), "the disk took {took} of {} bytes", line.len());
    subject.wait_until_given_up();
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    let (stats, told) = subject.end();

    let log = subject.read();
    let fragment = &line.as_bytes()[..took];
    let at = find(&log, fragment).expect("what the other one wrote");
    let (ours, after) = (&log[..at], &log[at + took..]);
    let next = String::from_utf8_lossy(&after[..after.len().min(200)]);
    assert!(after.starts_with(b"\n"), "glued to the line of somebody else: {next:?}");
    let ours = [ours, &after[1..]].concat();
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&ours), &authors, &stats, &told);
    let more = format!("{took} of {} bytes of the other line are in, on a line of their own", line.len());
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}

/// Whether this is the beginning of a line of the log.
pub(crate) fn is_torn(fragment: &str) -> bool {
    const SHAPE: &str = "2000-00-00T00:00:00.000000Z";

    let shape = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let time = fragment.get(..SHAPE.len().min(fragment.len())).unwrap_or_default();
    shape(SHAPE).starts_with(&shape(time))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// What the other appender remembers: the bytes that its writes put into the file.
struct Appended {
    bytes: Vec<u8>,
    /// Where each write ends, in these bytes and in the file.
    ends: Vec<(usize, usize)>,
    short: usize,
}

impl Appended {
    fn read(dir: &Path) -> Self {
        let bytes = fs::read(dir.join("accepted")).unwrap();
        let ends = fs::read_to_string(dir.join("ends")).unwrap();
        let ends = ends.lines().map(|line| line.split_once(' ').unwrap());
        let ends: Vec<(usize, usize)> = ends.map(|(own, file)| (own.parse().unwrap(), file.parse().unwrap())).collect();
        assert_eq!(ends.last().map(|(own, _)| *own), Some(bytes.len()));
        let short = ends.iter().filter(|(own, _)| bytes[own - 1] != b'\n').count();
        Self { bytes, ends, short }
    }

    /// Asserts that each write is in the log as it was accepted, where it was put; returns what is
    /// in the log without them. A write that was cut short may be one character, which only its
    /// place distinguishes from those of the log.
    fn assert_in_and_take_out_of(&self, log: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        let (mut at, mut start) = (0, 0);
        for (own, file) in &self.ends {
            let wrote = &self.bytes[start..*own];
            let begin = file - wrote.len();
            assert!(begin >= at && log.len() >= *file, "{begin} to {file} of {}, after {at}", log.len());
            let found = String::from_utf8_lossy(&log[begin..*file]);
            assert_eq!(found, String::from_utf8_lossy(wrote), "lost or changed at {begin}");
            rest.extend_from_slice(&log[at..begin]);
            (at, start) = (*file, *own);
        }
        rest.extend_from_slice(&log[at..]);
        rest
    }
}

pub(crate) const APPENDER: Case = part("appender", Needs::Nothing, appender);

/// The other appender, a process of its own: whole lines, one write(2) each, without a look at
/// anybody's locks.
fn appender(place: &Place) -> Outcome {
    let dir = place.dir();
    let mut file = OpenOptions::new().append(true).open(dir.join("log")).unwrap();
    let (mut accepted, mut ends) = (Vec::new(), String::new());
    let mut whole = true;
    let mut calm = false;
    for n in 0_u64.. {
        if n % 64 == 0 || calm {
            if dir.join("stop").exists() {
                break;
            }
            if !calm && dir.join("calm").exists() {
                calm = true;
                File::create(dir.join("is calm")).unwrap();
            }
            if calm {
                thread::sleep(Duration::from_millis(1));
            }
        }
        // After a write that was cut short the next line begins on a line of its own.
        let line = format!("{}other n{n} {};\n", if whole { "" } else { "\n" }, "o".repeat((n % 40) as usize));
        match file.write(line.as_bytes()) {
            Ok(0) => {}
            Ok(bytes) => {
                accepted.extend_from_slice(&line.as_bytes()[..bytes]);
                // An append leaves the offset at its end.
                ends.push_str(&format!("{} {}\n", accepted.len(), file.stream_position().unwrap()));
                whole = bytes == line.len();
            }
            Err(error) if error.kind() == ErrorKind::StorageFull => {}
            Err(error) => panic!("append to the log: {error}"),
        }
    }
    fs::write(dir.join("accepted"), &accepted).unwrap();
    fs::write(dir.join("ends"), ends).unwrap();
    Outcome::Holds(String::new())
}
