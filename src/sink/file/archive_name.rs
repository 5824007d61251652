//! The names of archives: pure. `app.log` becomes `app.2026-11-21T09-30-00-0000.log`. Runs on the
//! writer's thread.
//!
//! The time is that of the archive's last record, in the calendar of the rotation; the number after
//! it distinguishes what one second brings. A new name is always greater than the greatest one
//! there: so names sort by age as plain text, whatever the clock does, and none is used twice.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _};

use crate::disk::random_part::{RANDOM_LEN, is_random_part, random_part};

const TIME_LEN: usize = "2026-11-21T09-30-00".len();
const NUMBER_LEN: usize = "-0000".len();
const MOST_NUMBER: u16 = 9999;
/// From the year 0 to the year 9999: what has four digits.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

const COMPRESSED: &[u8] = b".gz";
/// Stands before and after the name of a file that is not finished.
const UNFINISHED: (&str, &str) = (".", ".new");

/// The parts of an archive's name. The greater of two names is the younger archive's; of one
/// archive, the plain form comes before the compressed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Archive {
    /// Seconds since 1970 as the calendar shows them.
    second: i64,
    number: u16,
    pub(crate) compressed: bool,
}

impl Archive {
    /// Returns the name for what was written last at `second`, where `newest` is the youngest one
    /// there is.
    pub(crate) fn after(newest: Option<Archive>, second: i64) -> Self {
        let first = Self { second: second.clamp(FIRST_SECOND, LAST_SECOND), number: 0, compressed: false };
        match newest.map(|newest| (newest, newest.next())) {
            // The last possible name has no successor; no clock of ours gave it.
            Some((newest, next)) if next <= newest => first,
            Some((_, next)) => next.max(first),
            None => first,
        }
    }

    /// Returns the name after this one. The very last one has none, and stays.
    pub(crate) fn next(self) -> Self {
        let (second, number) = match self.number {
            MOST_NUMBER => (self.second + 1, 0),
            number => (self.second, number + 1),
        };
        if second > LAST_SECOND { self } else { Self { second, number, compressed: false } }
    }

    /// Returns this archive's compressed form.
    pub(crate) fn compressed(self) -> Self {
        Self { compressed: true, ..self }
    }
}

/// Returns true if an archive of the log file `active` can have this name.
pub(crate) fn is_archive(active: &OsStr, name: &OsStr) -> bool {
    Names::new(active).parse(name).is_some()
}

/// The names that belong to one log file.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    active: OsString,
    /// `app`, of `app.log`.
    stem: OsString,
    /// `.log`; or nothing.
    suffix: OsString,
}

impl Names {
    pub(crate) fn new(active: &OsStr) -> Self {
        let path = Path::new(active);
        let stem = path.file_stem().unwrap_or(active).to_owned();
        let mut suffix = OsString::new();
        if let Some(extension) = path.extension() {
            suffix.push(".");
            suffix.push(extension);
        }
        Self { active: active.to_owned(), stem, suffix }
    }

    pub(crate) fn name(&self, archive: Archive) -> OsString {
        let time = DateTime::from_timestamp(archive.second, 0).unwrap_or_default();
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let number = archive.number;
        let mut name = self.stem.clone();
        name.push(format!(".{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}-{number:04}"));
        name.push(&self.suffix);
        if archive.compressed {
            name.push(".gz");
        }
        name
    }

    /// Returns the archive of this whole name, if we could have given it.
    pub(crate) fn parse(&self, name: &OsStr) -> Option<Archive> {
        self.parse_bytes(name.as_encoded_bytes())
    }

    /// Returns true if a name begins as those of archives do, and is as long: `parse` says whether
    /// it is one. There may be tens of thousands of names.
    pub(crate) fn looks_like_an_archive(&self, name: &OsStr) -> bool {
        let plain = self.stem.len() + 1 + TIME_LEN + NUMBER_LEN + self.suffix.len();
        let begins = name.as_encoded_bytes().starts_with(self.stem.as_encoded_bytes());
        begins && (name.len() == plain || name.len() == plain + COMPRESSED.len())
    }

    fn parse_bytes(&self, name: &[u8]) -> Option<Archive> {
        let rest = name.strip_prefix(self.stem.as_encoded_bytes())?.strip_prefix(b".")?;
        let (stamp, rest) = rest.split_at_checked(TIME_LEN + NUMBER_LEN)?;
        let compressed = match rest.strip_prefix(self.suffix.as_encoded_bytes())? {
            b"" => false,
            COMPRESSED => true,
            _ => return None,
        };
        let field = |from, to| std::str::from_utf8(&stamp[from..to]).ok()?.parse::<u32>().ok();
        let date = NaiveDate::from_ymd_opt(field(0, 4)? as i32, field(5, 7)?, field(8, 10)?)?;
        let time = date.and_hms_opt(field(11, 13)?, field(14, 16)?, field(17, 19)?)?;
        let archive = Archive { second: time.and_utc().timestamp(), number: field(20, 24)? as u16, compressed };
        // The parsing has ignored signs, and whatever is between the fields.
        (self.name(archive).as_encoded_bytes() == name).then_some(archive)
    }

    /// Returns the temporary name of the next active file.
    pub(crate) fn unfinished(&self, random: u32) -> OsString {
        unfinished(&self.active, random)
    }

    /// Returns the temporary name of a compressed archive.
    pub(crate) fn unfinished_archive(&self, archive: Archive, random: u32) -> OsString {
        unfinished(&self.name(archive), random)
    }

    /// Returns how many bytes longer than the active file's own name the longest name is that its
    /// archives get, finished or not.
    pub(crate) fn longest_addition(compress: bool) -> usize {
        let (before, after) = UNFINISHED;
        let unfinished = before.len() + RANDOM_LEN + after.len();
        let archive = ".".len() + TIME_LEN + NUMBER_LEN;
        if compress { archive + COMPRESSED.len() + unfinished } else { archive.max(unfinished) }
    }

    /// Returns the name of the active file itself.
    pub(crate) fn active(&self) -> &OsStr {
        &self.active
    }

    /// Returns whether this is the name of something that was begun and, unless it is under way,
    /// never finished.
    pub(crate) fn is_unfinished(&self, name: &OsStr) -> bool {
        let of_archive = |finished| self.parse_bytes(finished).is_some_and(|archive| archive.compressed);
        self.is_next_active(name) || self.finished(name.as_encoded_bytes()).is_some_and(of_archive)
    }

    /// Returns whether this is the name of a next active file that has not become the active one.
    pub(crate) fn is_next_active(&self, name: &OsStr) -> bool {
        self.finished(name.as_encoded_bytes()) == Some(self.active.as_encoded_bytes())
    }

    /// Returns the name that an unfinished file was to get.
    fn finished<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let (before, after) = UNFINISHED;
        let name = name.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
        let (finished, random) = name.split_at_checked(name.len().checked_sub(RANDOM_LEN)?)?;
        is_random_part(random).then_some(finished)
    }
}

/// Returns the name of an unfinished file, which nobody can predict.
fn unfinished(name: &OsStr, random: u32) -> OsString {
    let mut unfinished = OsString::from(UNFINISHED.0);
    unfinished.push(name);
    unfinished.push(random_part(random));
    unfinished.push(UNFINISHED.1);
    unfinished
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn names(active: &str) -> Names {
        Names::new(OsStr::new(active))
    }

    fn second(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H-%M-%S").unwrap().and_utc().timestamp()
    }

    /// Marsaglia's xorshift64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, most: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % most
        }
    }

    #[test]
    fn names_keep_the_stem_and_the_extension() {
        let cases = [
            ("app.log", "app.2026-11-21T09-30-00-0000.log"),
            ("app", "app.2026-11-21T09-30-00-0000"),
            (".hidden", ".hidden.2026-11-21T09-30-00-0000"),
            ("a.b.json", "a.b.2026-11-21T09-30-00-0000.json"),
            ("app.", "app.2026-11-21T09-30-00-0000."),
            ("app.gz", "app.2026-11-21T09-30-00-0000.gz"),
        ];
        for (active, archive) in cases {
            let name = names(active).name(Archive::after(None, second("2026-11-21T09-30-00")));
            assert_eq!(name, archive);
            assert!(names(active).parse(&name).is_some(), "{archive}");
        }
    }

    #[test]
    fn no_name_is_longer_than_the_longest_addition_says() {
        for active in ["app.log", "app", ".hidden", "ä ö.log"] {
            let names = names(active);
            let archive = Archive::after(None, second("2026-11-21T09-30-00"));
            let unpacked = [names.name(archive), names.unfinished(1)];
            let packed = [names.name(archive.compressed()), names.unfinished_archive(archive.compressed(), u32::MAX)];
            for (compress, all) in [(false, &unpacked[..]), (true, &[unpacked.clone(), packed].concat())] {
                let longest = all.iter().map(|name| name.len()).max();
                assert_eq!(longest, Some(active.len() + Names::longest_addition(compress)), "{active}");
            }
        }
    }

    #[test]
    fn what_is_generated_parses_and_nothing_else_does() {
        let mut random = Random(0x5eed);
        for active in ["app.log", "app", ".hidden", "a.b.json", "app.gz", "ä ö.log", "app.2026-11-21T09-30-00-0000.log"]
        {
            let names = names(active);
            for _ in 0..3000 {
                let range = (LAST_SECOND - FIRST_SECOND) as u64;
                let archive = Archive {
                    second: FIRST_SECOND + random.below(range + 1) as i64,
                    number: random.below(10_000) as u16,
                    compressed: random.below(2) == 1,
                };
                let name = names.name(archive);
                assert_eq!(names.parse(&name), Some(archive), "{name:?}");
                // One byte more, one less, another one anywhere: either it is not ours, or it is a
                // name we give.
                let text = name.to_str().unwrap();
                let at = text.floor_char_boundary(random.below(text.len() as u64) as usize);
                let (before, after) = text.split_at(at);
                let mut rest = after.chars();
                rest.next();
                let other = char::from(b' ' + random.below(94) as u8);
                for changed in [
                    format!("{before}{}", rest.as_str()),
                    format!("{before}{other}{after}"),
                    format!("{before}{other}{}", rest.as_str()),
                ] {
                    if let Some(archive) = names.parse(OsStr::new(&changed)) {
                        assert_eq!(names.name(archive), OsStr::new(&changed));
                    }
                }
            }
        }
    }

    #[test]
    fn names_that_look_alike_are_not_ours() {
        let names = names("app.log");
        let strangers = [
            "",
            "app.log",
            "app.log.1",
            "app.log.gz",
            "app.2026-11-21.log",
            "app.2026-11-21T09-30-00.log",
            "app.2026-11-21T09-30-00-0000",
            "app.2026-11-21T09-30-00-0000.log.gz.gz",
            "app.2026-11-21T09-30-00-0000.log.bz2",
            "app.2026-11-21T09-30-00-000.log",
            "app.2026-11-21T09-30-00-00000.log",
            "app.2026-11-21T09-30-00-+000.log",
            "app.2026-13-21T09-30-00-0000.log",
            "app.2026-02-29T09-30-00-0000.log",
            "app.2026-11-21T09-30-60-0000.log",
            "app.+026-11-21T09-30-00-0000.log",
            "app.2026-11-21 09-30-00-0000.log",
            "Xapp.2026-11-21T09-30-00-0000.log",
            "app2.2026-11-21T09-30-00-0000.log",
            "app.2026-11-21T09-30-00-0000.log~",
            ".app.2026-11-21T09-30-00-0000.log.gz.new",
            "app.2026-11-21T09-30-00-0000-0000.log",
        ];
        for name in strangers {
            assert_eq!(names.parse(OsStr::new(name)), None, "{name}");
        }
    }

    #[test]
    fn names_sort_by_age_as_plain_text_whatever_the_clock_does() {
        let names = names("app.log");
        let mut newest = None;
        let mut last = OsString::new();
        let clock = [
            "2026-11-21T09-30-00",
            "2026-11-21T09-30-00",
            "2026-11-21T09-29-59",
            "1999-01-01T00-00-00",
            "2026-11-21T09-30-01",
            "2099-01-01T00-00-00",
            "2026-11-21T09-30-02",
            "2099-01-01T00-00-00",
        ];
        for time in clock {
            let archive = Archive::after(newest, second(time));
            assert!(newest.is_none_or(|newest| newest < archive), "{time}");
            let name = names.name(archive);
            assert!(last < name, "{last:?} {name:?}");
            (newest, last) = (Some(archive), name);
        }
        // Also after a compressed one, and over the end of a second's numbers.
        let full = Archive { second: second("2026-12-31T23-59-59"), number: MOST_NUMBER, compressed: true };
        assert_eq!(names.name(full.next()), "app.2027-01-01T00-00-00-0000.log");
        assert!(names.name(full) < names.name(full.next()));
        // What no calendar of four digits knows.
        assert_eq!(names.name(Archive::after(None, i64::MAX)), "app.9999-12-31T23-59-59-0000.log");
        assert_eq!(names.name(Archive::after(None, i64::MIN)), "app.0000-01-01T00-00-00-0000.log");
        let end = Archive { second: LAST_SECOND, number: MOST_NUMBER, compressed: false };
        assert_eq!(end.next(), end);
        let now = second("2026-11-21T09-30-00");
        let after = names.name(Archive::after(Some(end), now));
        assert_eq!(after, "app.2026-11-21T09-30-00-0000.log", "the last name ends nothing");
        let last = Archive { second: LAST_SECOND, number: 0, compressed: false };
        assert_eq!(last.next(), Archive { number: 1, ..last }, "the last second has numbers, too");
    }

    #[test]
    fn only_what_we_leave_unfinished_is_known_as_such() {
        let names = names("app.log");
        let archive = Archive::after(None, second("2026-11-21T09-30-00")).compressed();
        assert_eq!(names.unfinished(0xab), ".app.log.000000ab.new");
        assert_eq!(names.unfinished_archive(archive, 1), ".app.2026-11-21T09-30-00-0000.log.gz.00000001.new");
        for ours in [".app.log.01234567.new", ".app.2026-11-21T09-30-00-0000.log.gz.89abcdef.new"] {
            assert!(names.is_unfinished(OsStr::new(ours)), "{ours}");
        }
        for other in [
            ".app.new",
            "app.log.new",
            ".app.log",
            ".app.log.new",
            "app.log.00000000.new",
            ".app.log.0000000.new",
            ".app.log.0000000g.new",
            ".app.log.0000000A.new",
            ".app.log00000000.new",
            ".app.2026-11-21T09-30-00-0000.log.00000000.new",
            ".app.log.gz.00000000.new",
            ".00000000.new",
            ".new",
            "",
        ] {
            assert!(!names.is_unfinished(OsStr::new(other)), "{other}");
        }
    }

    /// A fuzzer found that what a kill had left of a compression stayed for ever next to a log
    /// whose name is no UTF-8.
    #[cfg(unix)]
    #[test]
    fn what_is_left_unfinished_is_known_whatever_bytes_the_name_is_made_of() {
        use std::os::unix::ffi::OsStrExt as _;

        let names = Names::new(OsStr::from_bytes(b"a\xff.log"));
        let archive = Archive::after(None, second("2026-11-21T09-30-00"));
        assert!(names.is_unfinished(&names.unfinished(7)));
        assert!(names.is_unfinished(&names.unfinished_archive(archive.compressed(), 7)));
        assert!(!names.is_unfinished(&names.unfinished_archive(archive, 7)));
        assert!(!names.is_unfinished(OsStr::from_bytes(b".a\xfe.log.00000007.new")));
    }
}
