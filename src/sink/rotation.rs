//! The option that says when a file is rotated. Runs on the builder's thread; the policy itself is
//! in `file/schedule.rs`.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// An interval is at most a week.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Decides when the log file is rotated.
///
/// | | |
/// |---|---|
/// | `never()` | only on request, by `Handle::rotate`; the default |
/// | `every(6 h)` | with the first record of a new interval; the first one began with the year 1970 |
/// | `minutely()`, `hourly()`, `daily()`, `weekly()`, `monthly()` | with the first record of a new minute, hour, day, week (from Monday) or month, in UTC or in [`local_time`](Self::local_time) |
/// | `size(bytes)`, `.or_size(bytes)` | before a record that would make the file longer than this |
/// | `.on_start()` | with the first record after the start, if the file holds something |
///
/// An empty file is never rotated. Periods go by the records' own times: a batch that the writer
/// takes just after midnight is split where the day changes. After a clock goes back, records stay
/// in their file; a clock that jumps forward causes one rotation.
///
/// ```
/// use unfazed::{LogFile, MIB, Rotation};
/// # let _ =
/// LogFile::new("app.log")
///     .rotation(Rotation::daily().local_time().or_size(100 * MIB))
///     .max_files(14);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "give it to `LogFile::rotation`"]
pub struct Rotation {
    pub(crate) every: Option<Period>,
    pub(crate) size: Option<u64>,
    pub(crate) local_time: bool,
    pub(crate) on_start: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Period {
    /// Whole minutes.
    Every(Duration),
    Day,
    Week,
    Month,
}

impl Rotation {
    /// Rotates only on request, by `Handle::rotate`. The default.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::never());
    /// ```
    pub fn never() -> Self {
        Self::default()
    }

    /// Rotates with the first record of each minute: meant for trying a rotation out, not for a
    /// real log.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::minutely());
    /// ```
    pub fn minutely() -> Self {
        Self::every(MINUTE)
    }

    /// Rotates with the first record of each hour.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::hourly());
    /// ```
    pub fn hourly() -> Self {
        Self::every(60 * MINUTE)
    }

    /// Rotates with the first record of each day.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::daily());
    /// ```
    pub fn daily() -> Self {
        Self::each(Period::Day)
    }

    /// Rotates with the first record of each week, which begins on Monday (ISO 8601).
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::weekly());
    /// ```
    pub fn weekly() -> Self {
        Self::each(Period::Week)
    }

    /// Rotates with the first record of each month.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").rotation(unfazed::Rotation::monthly());
    /// ```
    pub fn monthly() -> Self {
        Self::each(Period::Month)
    }

    /// Rotates with the first record of each interval of this length: whole minutes, from 1 minute
    /// to 1 week. The intervals are counted from midnight of 1 January 1970, in UTC or in
    /// [`local_time`](Self::local_time): 6 hours begin at 00:00, 06:00, 12:00 and 18:00.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::{LogFile, Rotation};
    ///
    /// let six_hours = Duration::from_secs(6 * 3600);
    /// let file = LogFile::new("app.log").rotation(Rotation::every(six_hours));
    /// ```
    pub fn every(interval: Duration) -> Self {
        Self::each(Period::Every(interval))
    }

    /// Returns the interval if it is out of its range.
    pub(crate) fn impossible_interval(&self) -> Option<Duration> {
        let Some(Period::Every(interval)) = self.every else { return None };
        let is_whole = interval.as_secs() % 60 == 0 && interval.subsec_nanos() == 0;
        (!is_whole || !(MINUTE..=LONGEST).contains(&interval)).then_some(interval)
    }

    fn each(period: Period) -> Self {
        Self { every: Some(period), ..Self::default() }
    }

    /// Rotates before the file would be longer than this, in bytes; at least 1. Only a single
    /// record that is longer may exceed it, in a file of its own.
    ///
    /// ```
    /// use unfazed::{LogFile, MIB, Rotation};
    ///
    /// let file = LogFile::new("app.log").rotation(Rotation::size(100 * MIB)).max_files(10);
    /// ```
    #[doc(alias = "max_size")]
    pub fn size(bytes: u64) -> Self {
        Self::default().or_size(bytes)
    }

    /// Rotates also before the file would be longer than this, in bytes; at least 1.
    ///
    /// ```
    /// let rotation = unfazed::Rotation::daily().or_size(100 * unfazed::MIB);
    /// ```
    #[doc(alias = "max_size")]
    #[doc(alias = "AgeOrSize")]
    pub fn or_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Uses the days and hours of the local time zone instead of UTC (the default), also in the
    /// archives' names. The hour that a clock change repeats stays in one file.
    ///
    /// ```
    /// let rotation = unfazed::Rotation::daily().local_time();
    /// ```
    pub fn local_time(mut self) -> Self {
        self.local_time = true;
        self
    }

    /// Rotates also with the first record after the start, if the file is not empty then.
    ///
    /// ```
    /// let rotation = unfazed::Rotation::never().on_start();
    /// ```
    pub fn on_start(mut self) -> Self {
        self.on_start = true;
        self
    }
}
