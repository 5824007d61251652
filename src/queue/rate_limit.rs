//! The limit for each location: how many records of one level and target one `file:line` may log in
//! an interval. Decided on the caller's thread, reported on the writer's.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::clock::Stamp;
use crate::record::{Caller, OwnedRecord};
use crate::sync::OnceLock;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::thread_local;
use crate::unix_time::UnixTime;
use crate::wanted::Wanting;

/// The slots, a power of two. A location that finds no free slot is not limited. All slots together
/// take 192 KiB. A model makes them again for each interleaving that it tries, so two have to do
/// there.
const CALL_SITES: usize = if cfg!(all(loom, test)) { 2 } else { 4096 };
/// A location is looked for in this many slots.
const PROBES: usize = 8;

/// How many records one location may log in each interval. May change while threads log.
pub(crate) struct Limit {
    /// In 32 bits. 0: no limit.
    records: AtomicU64,
    /// The interval's length in nanoseconds.
    per: AtomicU64,
}

impl Limit {
    pub(crate) fn new(records: u32, per: Duration) -> Arc<Self> {
        Self { records: AtomicU64::new(records.into()), per: AtomicU64::new(per.as_nanos() as u64) }.into()
    }

    /// Sets another limit. A caller that reads one number of the old limit and one of the new may
    /// misjudge one record.
    pub(crate) fn set(&self, records: u32, per: Duration) {
        self.records.store(records.into(), Relaxed);
        self.per.store(per.as_nanos() as u64, Relaxed);
    }

    /// Returns how many records a location may log; nothing if there is no limit.
    #[inline]
    fn records(&self) -> Option<u32> {
        Some(self.records.load(Relaxed) as u32).filter(|records| *records > 0)
    }

    #[inline]
    fn per(&self) -> u64 {
        self.per.load(Relaxed)
    }
}

/// Counts the records of each location, in intervals that the wall clock divides.
pub(crate) struct RateLimit {
    limit: Arc<Limit>,
    call_sites: Box<[CallSite]>,
}

#[derive(Default)]
struct CallSite {
    /// Which location this is; 0: none yet. A caller claims it once, for ever.
    key: AtomicU64,
    /// Callers: the number of the interval (32 bits), and how many records came in it (32 bits).
    interval: AtomicU64,
    /// The bits of `Suppressed`. Callers add, the writer takes out what it reports.
    suppressed: AtomicU64,
    /// Callers: the number of the interval in which the first of those was suppressed.
    suppressed_in: AtomicU64,
    /// The bits of `Suppressed` in a report whose record is in the queue or in the writer's hands.
    reported: AtomicU64,
    /// What the writer says of the location: set by the caller that claimed it, once.
    about: OnceLock<Box<About>>,
}

impl CallSite {
    /// Adds records that were suppressed, in one step: the writer never takes a record without the
    /// outputs that wanted it.
    fn suppress(&self, suppressed: Suppressed, interval: u32) {
        if self.suppressed.load(Relaxed) == 0 {
            self.suppressed_in.store(interval.into(), Relaxed);
        }
        let add = |before| Some(Suppressed::from_bits(before).and(suppressed).bits());
        // It always has a value to store. Release: the writer sees the interval, too.
        let _ = self.suppressed.fetch_update(Release, Relaxed, add);
    }

    /// Returns the number of an interval that is over.
    fn interval_before(&self) -> u32 {
        unpack(self.interval.load(Relaxed)).0.wrapping_sub(1)
    }

    fn take_suppressed(&self) -> Suppressed {
        Suppressed::from_bits(self.suppressed.swap(0, Relaxed))
    }
}

/// How many records of a location were suppressed, and which outputs with filters wanted one of
/// them.
#[derive(Clone, Copy)]
struct Suppressed {
    /// In 48 bits.
    records: u64,
    wanting: Wanting,
}

impl Suppressed {
    fn and(self, other: Self) -> Self {
        let mut wanting = self.wanting;
        wanting.insert(other.wanting);
        Self { records: self.records + other.records, wanting }
    }

    fn bits(self) -> u64 {
        self.records << Wanting::BITS | u64::from(self.wanting.bits())
    }

    fn from_bits(bits: u64) -> Self {
        Self { records: bits >> Wanting::BITS, wanting: Wanting::from_bits(bits as u16) }
    }
}

struct About {
    level: Level,
    target: String,
    module_path: Option<&'static str>,
    file: Cow<'static, str>,
    line: u32,
}

impl RateLimit {
    pub(crate) fn new(limit: Arc<Limit>) -> Self {
        Self { limit, call_sites: (0..CALL_SITES).map(|_| CallSite::default()).collect() }
    }

    /// Returns true if there is a limit at present.
    pub(crate) fn is_on(&self) -> bool {
        self.limit.records().is_some()
    }

    /// Returns whether the record is within the limit of its location; if not, it is counted there.
    #[inline]
    pub(crate) fn admit(&self, record: &log::Record<'_>, wanting: Wanting, time: UnixTime) -> bool {
        let (Some(file), Some(line)) = (record.file(), record.line()) else { return true };
        let Some(most) = self.limit.records() else { return true };
        let known = record.file_static();
        let file_key = match known {
            // The text is static, so its address stands for it.
            Some(file) => file.as_ptr() as u64,
            None => hash(file),
        };
        // No file has a million lines. The level has the top bits. A location may be in several
        // modules (a macro's, or those of a file that is included twice), and so have several usual
        // targets; the text of each may be at several addresses.
        let place_key = file_key.rotate_left(20) ^ u64::from(line);
        let key = place_key ^ (record.level() as u64).rotate_right(3) ^ hash(record.target());
        let Some(call_site) = self.call_site(key, || About {
            level: record.level(),
            target: record.target().to_owned(),
            module_path: record.module_path_static(),
            file: known.map_or_else(|| file.to_owned().into(), Cow::Borrowed),
            line,
        }) else {
            return true;
        };
        let interval = self.interval(time);
        // Whatever the clock does, another interval is a new one.
        let counted = call_site.interval.fetch_update(Relaxed, Relaxed, |before| match unpack(before) {
            (of, _) if of != interval => Some(pack(interval, 1)),
            (_, count) if count < most => Some(pack(interval, count + 1)),
            _ => None,
        });
        if counted.is_err() {
            call_site.suppress(Suppressed { records: 1, wanting }, interval);
        }
        counted.is_ok()
    }

    /// Passes a line to `report` for each location that has suppressed records, once the interval
    /// of the first of them is over; or at once, with `all`. A line that `report` refuses is
    /// reported later. Returns true if `report` has refused none.
    pub(crate) fn report(&self, now: UnixTime, all: bool, mut report: impl FnMut(OwnedRecord) -> bool) -> bool {
        let current = self.interval(now);
        let mut refused_none = true;
        for (number, call_site) in self.call_sites.iter().enumerate() {
            if call_site.suppressed.load(Acquire) == 0 {
                continue;
            }
            let began_in = call_site.suppressed_in.load(Relaxed) as u32;
            if !all && began_in == current {
                continue;
            }
            let Some(about) = call_site.about.get() else { continue };
            // One report at a time: if its record is dropped, its count is put back.
            if call_site.reported.load(Relaxed) != 0 {
                refused_none = false;
                continue;
            }
            let suppressed = call_site.take_suppressed();
            let mut record = about.record(now, suppressed);
            record.set_reports_on(number);
            call_site.reported.store(suppressed.bits(), Relaxed);
            if !report(record) {
                call_site.reported.store(0, Relaxed);
                call_site.suppress(suppressed, began_in);
                refused_none = false;
            }
        }
        refused_none
    }

    /// Ends a report on a location: its record is written or retained, or not worth repeating.
    pub(crate) fn note_reported(&self, number: usize) {
        self.call_sites[number].reported.store(0, Relaxed);
    }

    /// Puts back what a dropped record reported on a location, for a later report.
    pub(crate) fn report_again(&self, number: usize) {
        let call_site = &self.call_sites[number];
        let reported = Suppressed::from_bits(call_site.reported.swap(0, Relaxed));
        call_site.suppress(reported, call_site.interval_before());
    }

    fn call_site(&self, key: u64, about: impl FnOnce() -> About) -> Option<&CallSite> {
        // Fibonacci hashing (Knuth).
        let first = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - CALL_SITES.ilog2());
        for probe in 0..PROBES {
            let call_site = &self.call_sites[(first as usize + probe) % CALL_SITES];
            match call_site.key.load(Relaxed) {
                0 => match call_site.key.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => {
                        // Nobody else sets it, so this waits for nobody.
                        let _ = call_site.about.set(Box::new(about()));
                        return Some(call_site);
                    }
                    Err(other) if other == key => return Some(call_site),
                    Err(_) => {}
                },
                other if other == key => return Some(call_site),
                _ => {}
            }
        }
        None
    }

    /// Returns the number of the interval.
    #[inline]
    pub(crate) fn interval(&self, time: UnixTime) -> u32 {
        let known = LATEST.with(Cell::get);
        let per = self.limit.per();
        if (known.per, known.begins <= time && time < known.ends) == (per, true) {
            return known.number;
        }
        Self::look_up_interval(time, per.max(1))
    }

    #[cold]
    fn look_up_interval(time: UnixTime, per: u64) -> u32 {
        // In 64 bits, which divide ten times faster than 128.
        let number = u64::try_from(time.to_nanos()).unwrap_or(0) / per;
        let begins = (number * per) as i64;
        if let Some(ends) = begins.checked_add_unsigned(per) {
            let [begins, ends] = [begins, ends].map(UnixTime::from_nanos);
            LATEST.with(|latest| latest.set(Interval { per, begins, ends, number: number as u32 }));
        }
        number as u32
    }
}

/// An interval that a thread has been in.
#[derive(Clone, Copy)]
struct Interval {
    /// Its length in nanoseconds.
    per: u64,
    begins: UnixTime,
    ends: UnixTime,
    number: u32,
}

thread_local! {
    /// The latest interval. Two comparisons with it replace a division, which would be most of what
    /// a call costs here. No destructor, as in `front/filter.rs`.
    static LATEST: Cell<Interval> = const {
        Cell::new(Interval { per: 0, begins: UnixTime::EPOCH, ends: UnixTime::EPOCH, number: 0 })
    };
}

impl About {
    fn record(&self, now: UnixTime, Suppressed { records: suppressed, wanting }: Suppressed) -> OwnedRecord {
        let mut record = log::Record::builder();
        record.level(self.level).target(&self.target).module_path_static(self.module_path);
        match self.file {
            Cow::Borrowed(file) => record.file_static(Some(file)),
            Cow::Owned(ref file) => record.file(Some(file)),
        };
        record.line(Some(self.line));
        let records = if suppressed == 1 { "record" } else { "records" };
        let nobody = Caller { thread: 0, name: None };
        let mut owned = OwnedRecord::capture(
            &record.args(format_args!("{suppressed} similar {records} suppressed")).build(),
            Stamp::at(now),
            nobody,
        );
        owned.set_wanting(wanting);
        owned
    }
}

/// Hashes a target, or the name of a file that is not part of the program text (FNV-1a).
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn pack(interval: u32, count: u32) -> u64 {
    u64::from(interval) << 32 | u64::from(count)
}

fn unpack(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> UnixTime {
        UnixTime { second, nanos: 0 }
    }

    fn admit(rate_limit: &RateLimit, line: u32, second: i64) -> bool {
        let mut record = log::Record::builder();
        record.level(Level::Error).target("db").file_static(Some("src/db.rs")).line(Some(line));
        rate_limit.admit(&record.args(format_args!("no connection")).build(), Wanting::NOBODY, at(second))
    }

    fn reported(rate_limit: &RateLimit, second: i64, all: bool) -> Vec<String> {
        let (mut lines, mut call_sites) = (Vec::new(), Vec::new());
        rate_limit.report(at(second), all, |record| {
            call_sites.extend(record.reports_on());
            let view = crate::record::Record::new(&record, UnixTime::EPOCH, None);
            let call_site = (view.file().unwrap_or(""), view.line().unwrap_or(0));
            lines.push(format!("{} {} {call_site:?} {}", view.level(), view.target(), view.message()));
            true
        });
        call_sites.into_iter().for_each(|call_site| rate_limit.note_reported(call_site));
        lines
    }

    #[test]
    fn each_place_has_its_limit_in_each_interval() {
        let rate_limit = RateLimit::new(Limit::new(3, MINUTE));
        for interval in 0..3 {
            for line in [10, 20] {
                let admitted = (0..5).filter(|second| admit(&rate_limit, line, interval * 60 + second)).count();
                assert_eq!(admitted, 3, "line {line} in interval {interval}");
            }
        }
    }

    #[test]
    fn an_interval_that_a_thread_remembers_is_the_one_that_it_would_look_up() {
        let lengths = [Duration::from_millis(1), Duration::from_micros(999_937), MINUTE, 60 * MINUTE];
        for (first, second) in lengths.into_iter().flat_map(|first| lengths.map(|second| (first, second))) {
            let [first, second] = [first, second].map(|per| RateLimit::new(Limit::new(1, per)));
            for step in [0, 1, 999_999, 1_000_000, 999_936_999, 59_999_999_999, 60_000_000_000, 3_600_000_000_000, 1, 0]
            {
                let nanos = 1_795_253_400_000_000_000 + step;
                for rate_limit in [&first, &second, &first] {
                    let number = (nanos as u64 / rate_limit.limit.per()) as u32;
                    assert_eq!(rate_limit.interval(UnixTime::from_nanos(nanos)), number, "{nanos}");
                }
            }
        }
    }

    #[test]
    fn what_was_suppressed_is_reported_once_when_its_interval_is_over() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        for _ in 0..58 {
            admit(&rate_limit, 10, 30);
        }
        admit(&rate_limit, 20, 30);
        assert_eq!(reported(&rate_limit, 59, false), [""; 0], "the interval is not over");
        let line = r#"ERROR db ("src/db.rs", 10) 57 similar records suppressed"#;
        assert_eq!(reported(&rate_limit, 60, false), [line]);
        assert_eq!(reported(&rate_limit, 60, true), [""; 0]);
        admit(&rate_limit, 20, 60);
        admit(&rate_limit, 20, 60);
        assert_eq!(reported(&rate_limit, 61, true), [r#"ERROR db ("src/db.rs", 20) 1 similar record suppressed"#]);
    }

    /// It was reported at the end of the program, because it had always begun the next interval
    /// when the writer looked.
    #[test]
    fn a_place_that_never_stops_is_reported_in_each_interval() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        for second in 0..300 {
            (0..3).for_each(|_| _ = admit(&rate_limit, 10, second));
            let is_over = second > 0 && second % 60 == 0;
            let said = reported(&rate_limit, second, false);
            // Two of the new interval are in its line.
            let count = if second == 60 { 181 } else { 179 };
            let line = format!(r#"ERROR db ("src/db.rs", 10) {count} similar records suppressed"#);
            assert_eq!(said, if is_over { vec![line] } else { vec![] }, "second {second}");
        }
    }

    /// The modules that a macro had made had one limit, and all but the first were named after it.
    #[test]
    fn a_place_in_several_modules_has_a_limit_for_each_of_them() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        for module in ["app::alpha", "app::beta"] {
            let mut record = log::Record::builder();
            record.target(module).module_path_static(Some(module)).file_static(Some("src/app.rs")).line(Some(7));
            let record = record.args(format_args!("m")).build();
            let admit = || rate_limit.admit(&record, Wanting::NOBODY, at(0));
            assert_eq!([admit(), admit()], [true, false], "{module}");
        }
        let mut said = reported(&rate_limit, 60, false);
        said.sort();
        let line = |module| format!(r#"INFO {module} ("src/app.rs", 7) 1 similar record suppressed"#);
        assert_eq!(said, ["app::alpha", "app::beta"].map(line));
    }

    #[test]
    fn a_line_that_finds_no_slot_is_reported_later_with_what_came_since() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        admit(&rate_limit, 10, 0);
        admit(&rate_limit, 10, 0);
        rate_limit.report(at(60), false, |_| false);
        admit(&rate_limit, 10, 60);
        admit(&rate_limit, 10, 60);
        assert_eq!(reported(&rate_limit, 120, false), [r#"ERROR db ("src/db.rs", 10) 2 similar records suppressed"#]);
    }

    #[test]
    fn a_clock_that_jumps_opens_a_new_interval_and_never_closes_the_log() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        assert!(admit(&rate_limit, 10, 1_000_000));
        assert!(!admit(&rate_limit, 10, 1_000_000));
        assert!(admit(&rate_limit, 10, 0), "back");
        assert!(!admit(&rate_limit, 10, 1));
        assert!(admit(&rate_limit, 10, 9_000_000), "forward");
        assert_eq!(rate_limit.interval(at(-60)), rate_limit.interval(at(0)), "before 1970 there is one interval");
    }

    #[test]
    fn the_place_of_a_record_that_was_handed_on_has_its_limit_too() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        let admit = |file: String| {
            let record = log::Record::builder().file(Some(&file)).line(Some(7)).args(format_args!("m")).build();
            rate_limit.admit(&record, Wanting::NOBODY, at(0))
        };
        assert!(admit("src/a.rs".to_owned()));
        assert!(admit("src/b.rs".to_owned()), "another file");
        assert!(!admit("src/a.rs".to_owned()));
        assert_eq!(reported(&rate_limit, 60, false), [r#"INFO  ("src/a.rs", 7) 1 similar record suppressed"#]);
        let others = (0..1000).filter(|number| admit(format!("src/{number}/lib.rs"))).count();
        assert_eq!(others, 1000, "files that differ a little");
    }

    #[test]
    fn records_without_a_place_and_places_past_the_last_slot_are_not_limited() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        let nowhere = log::Record::builder().args(format_args!("m")).build();
        assert!((0..5).all(|_| rate_limit.admit(&nowhere, Wanting::NOBODY, at(0))));
        let first = (1..=100_000).filter(|line| admit(&rate_limit, *line, 0)).count();
        assert_eq!(first, 100_000, "each of them for the first time");
        let limited = (1..=100_000).filter(|line| !admit(&rate_limit, *line, 0)).count();
        assert!((CALL_SITES * 9 / 10..=CALL_SITES).contains(&limited), "{limited}");
    }

    /// A bridge logs everything at one location; once its first record named the others.
    #[test]
    fn a_location_with_several_levels_and_targets_has_a_limit_and_a_line_for_each() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        let admit = |level, target: &str| {
            let mut record = log::Record::builder();
            record.level(level).target(target).module_path_static(Some("bridge"));
            let record = record.file_static(Some("src/bridge.rs")).line(Some(7)).args(format_args!("m")).build();
            rate_limit.admit(&record, Wanting::NOBODY, at(0))
        };
        for target in ["access", "app", "bridge"] {
            for level in [Level::Info, Level::Error] {
                let admitted = (0..3).filter(|_| admit(level, target)).count();
                assert_eq!(admitted, 1, "{level} {target}");
            }
        }
        let mut lines = reported(&rate_limit, 60, false);
        lines.sort();
        let line = |start| format!(r#"{start} ("src/bridge.rs", 7) 2 similar records suppressed"#);
        let starts = ["ERROR access", "ERROR app", "ERROR bridge", "INFO access", "INFO app", "INFO bridge"];
        assert_eq!(lines, starts.map(line));
    }

    #[test]
    fn a_line_is_for_the_outputs_that_wanted_a_suppressed_record_and_for_no_other() {
        let rate_limit = RateLimit::new(Limit::new(1, MINUTE));
        let admit = |number| {
            let mut record = log::Record::builder();
            let record = record.file_static(Some("src/db.rs")).line(Some(7)).args(format_args!("m")).build();
            rate_limit.admit(&record, Wanting::only(number), at(0))
        };
        let report = |takes| {
            let (mut lines, mut call_sites) = (Vec::new(), Vec::new());
            rate_limit.report(at(60), true, |record| {
                call_sites.extend(record.reports_on());
                let view = crate::record::Record::new(&record, UnixTime::EPOCH, None);
                lines.push((view.message()[..1].to_owned(), record.wanting()));
                takes
            });
            call_sites.into_iter().for_each(|call_site| rate_limit.note_reported(call_site));
            lines
        };
        let both = |one, other| {
            let mut both = Wanting::only(one);
            both.insert(Wanting::only(other));
            both
        };
        assert!(admit(0));
        assert!(!admit(1) && !admit(2) && !admit(2));
        assert_eq!(report(false), [("3".to_owned(), both(1, 2))]);
        assert_eq!(report(true), [("3".to_owned(), both(1, 2))], "it found no slot before");
        assert!(!admit(15) && !admit(3));
        assert_eq!(report(true), [("2".to_owned(), both(3, 15))]);
        assert_eq!(report(true), []);
    }

    #[test]
    fn many_threads_share_the_limit_of_a_place() {
        let rate_limit = RateLimit::new(Limit::new(100, MINUTE));
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..1000).filter(|_| admit(&rate_limit, 10, 0)).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
        assert_eq!(reported(&rate_limit, 0, true), [r#"ERROR db ("src/db.rs", 10) 7900 similar records suppressed"#]);
    }
}
