//! What a seed chooses at the start: outputs and their options, formats, queues, filters.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use log::{Level, LevelFilter};

use crate::KIB;
use crate::event::Cause;
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::log_file::{FileOptions, Fsync, LogFile, WhenLow};
use crate::sink::rotation::Rotation;
use crate::sink::{Batch, Lag, Now, OutputSink, WriteError};

pub(super) const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
pub(super) const TARGETS: [&str; 3] = ["chaos::a", "chaos::b", "other"];
/// Messages with so many dashes are what a format of the program's own fails with, and panics with.
pub(super) const FAILS: usize = 13;
pub(super) const PANICS: usize = 14;

pub(super) fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

/// True so many times in a hundred.
pub(super) fn percent(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

/// Returns the length of the whole lines: all but a fragment at the end.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Text,
    Json,
    Logfmt,
    Custom,
}

impl Layout {
    fn any(rng: &mut Rng) -> Self {
        match rng.u32(..if cfg!(feature = "json") { 6 } else { 5 }) {
            0..=2 => Layout::Text,
            3 => Layout::Logfmt,
            4 => Layout::Custom,
            _ => Layout::Json,
        }
    }

    /// Every line names the process it comes from.
    pub(super) fn format(self, process: usize) -> Format {
        let format = match self {
            Layout::Text => Format::text(),
            #[cfg(feature = "json")]
            Layout::Json => Format::json(),
            #[cfg(not(feature = "json"))]
            Layout::Json => unreachable!("it is not chosen"),
            Layout::Logfmt => Format::logfmt(),
            Layout::Custom => {
                return Format::custom(move |line, record| {
                    let dashes = record.message().bytes().filter(|byte| *byte == b'-').count();
                    write!(line, "{}|{}|{}", record.level(), record.target(), record.message())?;
                    match dashes {
                        FAILS => return Err(io::ErrorKind::Other.into()),
                        // Quietly: a panic would be printed.
                        PANICS => resume_unwind(Box::new(())),
                        _ => {}
                    }
                    write!(line, " proc={process}")?;
                    for (key, value) in record.key_values() {
                        write!(line, " {key}={value}")?;
                    }
                    writeln!(line)
                });
            }
        };
        format.field("proc", process)
    }
}

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    File {
        path: &'static str,
    },
    /// A sink of the program's own.
    Own,
}

/// One output: what all processes of a world have in common.
#[derive(Clone, Debug)]
pub(super) struct PathState {
    pub(super) kind: Kind,
    pub(super) level: LevelFilter,
    pub(super) layout: Layout,
}

pub(super) fn places(rng: &mut Rng) -> Vec<PathState> {
    let paths = ["/logs/app.log", "/logs/b", "/var/c.d.json"];
    let count = one_of(rng, &[1, 1, 1, 2, 2, 3]);
    let mut places = Vec::new();
    for path in paths.into_iter().take(count) {
        let kind = if !places.is_empty() && percent(rng, 40) { Kind::Own } else { Kind::File { path } };
        let level = one_of(rng, &[LevelFilter::Trace, LevelFilter::Trace, LevelFilter::Info, LevelFilter::Warn]);
        places.push(PathState { kind, level, layout: Layout::any(rng) });
    }
    places
}

pub(super) fn options(rng: &mut Rng) -> FileOptions {
    let size = rng.u64(200..6000);
    let mut file = LogFile::new("");
    file = file.rotation(match rng.u32(..8) {
        0..=2 => Rotation::never(),
        3 | 4 => Rotation::size(size),
        5 => Rotation::hourly(),
        6 => Rotation::daily().or_size(size),
        _ => Rotation::size(size).on_start(),
    });
    if percent(rng, 25) {
        file = file.max_files(rng.usize(1..6));
    }
    if percent(rng, 15) {
        file = file.max_total_size(rng.u64(1000..20_000));
    }
    if percent(rng, 10) {
        file = file.max_age(Duration::from_secs(rng.u64(3600..300_000)));
    }
    if percent(rng, 25) {
        file = file.when_low(WhenLow::DeleteOldest);
    }
    match rng.u32(..3) {
        0 => {}
        1 => file = file.min_free_space(0),
        _ => file = file.min_free_space(rng.u64(1..64 * KIB)),
    }
    file = file.error_reserve(one_of(rng, &[0, 4 * KIB, 64 * KIB]));
    file = file.retain(one_of(rng, &[0, 400, 4 * KIB, 64 * KIB]));
    file = file.fsync(one_of(
        rng,
        &[
            Fsync::Never,
            Fsync::Never,
            Fsync::AfterErrors,
            Fsync::Every(Duration::ZERO),
            Fsync::Every(Duration::from_secs(1)),
        ],
    ));
    if percent(rng, 10) {
        file = file.symlink("/logs/current");
    }
    let mut options = file.options;
    options.compress = percent(rng, 15);
    options
}

/// The options of one process.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) capacity: usize,
    pub(super) overflow: Overflow,
    /// How many records a place of the program may log, in which time.
    pub(super) rate_limit: Option<(u32, Duration)>,
    pub(super) files: Vec<FileOptions>,
}

impl Plan {
    pub(super) fn any(rng: &mut Rng, places: &[PathState]) -> Self {
        let overflow = match rng.u32(..8) {
            0..=3 => Overflow::DropNewest,
            4 | 5 => Overflow::DropOldest,
            6 => Overflow::Block,
            _ => Overflow::BlockAtMost(Duration::ZERO),
        };
        Self {
            capacity: one_of(rng, &[1, 2, 7, 64, 200, 1024, 1024]),
            overflow,
            rate_limit: percent(rng, 30).then(|| {
                let per = one_of(rng, &[1, 70, 1000, 7000, 60_000, 3_600_000]);
                (rng.u32(1..5), Duration::from_millis(per))
            }),
            files: places.iter().map(|_| options(rng)).collect(),
        }
    }
}

/// What a filter lets through, by a second reading of its grammar.
#[derive(Clone, Debug, Default)]
pub(super) struct FilterModel {
    set: String,
    pushed: Vec<String>,
}

impl FilterModel {
    pub(super) fn any_directives(rng: &mut Rng) -> String {
        let level =
            |rng: &mut Rng| rng.choice(LevelFilter::iter().collect::<Vec<_>>()).unwrap().as_str().to_lowercase();
        match rng.u32(..8) {
            0 | 1 => "trace".into(),
            2 => level(rng),
            3 => format!("{},chaos={}", level(rng), level(rng)),
            4 => format!("chaos::b={}", level(rng)),
            5 => format!("chaos={},chaos::a={},debug", level(rng), level(rng)),
            6 => "trace/----".into(),
            _ => format!("other={},info", level(rng)),
        }
    }

    pub(super) fn set(&mut self, directives: &str) {
        self.set = directives.to_owned();
    }

    pub(super) fn push(&mut self, directives: &str) {
        self.pushed.push(directives.to_owned());
    }

    pub(super) fn pop(&mut self) {
        self.pushed.pop();
    }

    /// Whether the message has a part in it.
    pub(super) fn looks_at_messages(&self) -> bool {
        [&self.set].into_iter().chain(&self.pushed).any(|text| text.contains('/'))
    }

    pub(super) fn pushed(&self) -> usize {
        self.pushed.len()
    }

    pub(super) fn lets_through(&self, level: Level, target: &str, message: &str) -> bool {
        let mut directives = vec![("", LevelFilter::Trace)];
        let mut pattern = "";
        for text in [&self.set].into_iter().chain(&self.pushed) {
            let (levels, found) = text.split_once('/').unwrap_or((text, pattern));
            pattern = found;
            for directive in levels.split(',').filter(|directive| !directive.is_empty()) {
                let (name, level) = directive.split_once('=').unwrap_or(("", directive));
                directives.retain(|(other, _)| *other != name);
                directives.push((name, level.parse().unwrap()));
            }
        }
        let matching = directives.iter().filter(|(name, _)| target.starts_with(name));
        let (_, most) = matching.max_by_key(|(name, _)| name.len()).unwrap();
        level <= *most && message.contains(pattern)
    }
}

/// What the rate limit lets through, by a second reading of its rule: each place may log so many
/// records in each interval of the wall clock, and whatever another interval is, it is a new one.
#[derive(Debug, Default)]
pub(super) struct RateLimitModel {
    places: BTreeMap<(Level, &'static str), Limited>,
}

#[derive(Debug, Default)]
struct Limited {
    interval: u128,
    admitted: u32,
    suppressed: u64,
}

impl RateLimitModel {
    pub(super) fn admits(&mut self, limit: (u32, Duration), at: (Level, &'static str), time: SystemTime) -> bool {
        let interval = time.duration_since(UNIX_EPOCH).unwrap().as_nanos() / limit.1.as_nanos();
        let place = self.places.entry(at).or_default();
        if place.interval != interval {
            (place.interval, place.admitted) = (interval, 0);
        }
        let admits = place.admitted < limit.0;
        if admits {
            place.admitted += 1;
        } else {
            place.suppressed += 1;
        }
        admits
    }

    pub(super) fn suppressed_at(&self, level: Level, target: &str) -> u64 {
        let places = self.places.iter().filter(|((of, at), _)| (*of, *at) == (level, target));
        places.map(|(_, place)| place.suppressed).sum()
    }

    pub(super) fn suppressed(&self) -> u64 {
        self.places.values().map(|place| place.suppressed).sum()
    }
}

/// A sink of the program's own: keeps what it takes, and fails or panics as often as it was told.
/// It may also lag, as a stream does: it then takes a part of a line, whose rest it writes first.
pub(super) struct FlakySink {
    pub(super) kept: Arc<Mutex<Vec<u8>>>,
    /// So many times in a hundred.
    pub(super) fails: Arc<Mutex<u32>>,
    pub(super) lags: bool,
    pub(super) rest: Vec<u8>,
    pub(super) rng: Rng,
}

impl OutputSink for FlakySink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        if !percent(&mut self.rng, *self.fails.lock().unwrap()) {
            self.kept.lock().unwrap().append(&mut self.rest);
            self.kept.lock().unwrap().extend_from_slice(batch.bytes());
            return Ok(());
        }
        if self.lags && percent(&mut self.rng, 40) {
            return Err(self.lag(batch));
        }
        // Then it takes back what it has of a line.
        let broke_off = self.break_off();
        if percent(&mut self.rng, 30) {
            resume_unwind(Box::new(()));
        }
        let takes = if broke_off { 0 } else { self.rng.usize(..=batch.len()) };
        batch.lines().take(takes).for_each(|line| self.kept.lock().unwrap().extend_from_slice(line.bytes()));
        Err(WriteError::new(takes, one_of(&mut self.rng, &[Cause::Io, Cause::DiskFull, Cause::Missing])))
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.attempt()?;
        self.kept.lock().unwrap().append(&mut self.rest);
        Ok(())
    }

    fn retry(&mut self, _now: Now) -> Result<(), WriteError> {
        self.attempt()
    }
}

impl FlakySink {
    fn lag(&mut self, batch: &Batch<'_>) -> WriteError {
        if !self.rest.is_empty() && percent(&mut self.rng, 50) {
            return WriteError::lagging(0, Lag::default());
        }
        self.kept.lock().unwrap().append(&mut self.rest);
        let takes = self.rng.usize(..=batch.bytes().len());
        let (lines, end) = batch.whole_lines_in(takes);
        // A report that breaks off goes with the reader.
        let is_report =
            batch.lines().nth(lines).is_some_and(|line| line.bytes().windows(7).any(|word| word == b"unfazed"));
        let takes = if is_report { end } else { takes };
        self.kept.lock().unwrap().extend_from_slice(&batch.bytes()[..takes]);
        let begun = takes > end;
        if begun {
            let whole = batch.ends().nth(lines).unwrap();
            self.rest = batch.bytes()[takes..whole].to_vec();
        }
        WriteError::lagging(lines, Lag { begun, took_some: true })
    }

    /// Returns true if there was a part of a line.
    fn break_off(&mut self) -> bool {
        let has_part = !std::mem::take(&mut self.rest).is_empty();
        if has_part {
            let mut kept = self.kept.lock().unwrap();
            let end = whole_lines(&kept);
            kept.truncate(end);
        }
        has_part
    }

    fn attempt(&mut self) -> Result<(), WriteError> {
        if !percent(&mut self.rng, *self.fails.lock().unwrap()) {
            return Ok(());
        }
        self.break_off();
        Err(WriteError::new(0, Cause::Io))
    }
}
