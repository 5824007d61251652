//! How much space a file may take, and when its output may resume: pure policy. Free bytes, errors
//! and times go in, verdicts come out. Runs on the writer's thread.

use std::time::{Duration, Instant};

use crate::event::Cause;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// At rest the free space is asked for this often, as others write too; while writing, before every
/// batch.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often the free space is asked for while it is low.
const ASK_EVERY_LOW: Duration = Duration::from_millis(250);
/// For this long every probe must find `resume` or more before writing resumes, unless one finds
/// `ample`.
const GOOD_FOR: Duration = Duration::from_millis(500);
/// The time between two probes while they find enough room.
const GOOD_PROBE: Duration = Duration::from_millis(100);

/// Where freed space shows only after a commit of the file system, the first commit follows this
/// long after space was seen to be low.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// Each later commit follows at least this long after the one before it.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// What the file system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It could not be asked, or has no limit, or the file takes no room: then `min_free_space` has
    /// no effect, and space is never low.
    Unknown,
    /// Bytes in all, bytes an ordinary user may still take, and the unit in which they are taken.
    Known { total: u64, free: u64, block: u64 },
}

/// The marks of one file system, in bytes of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `min_free_space`: nothing is written that would leave less.
    pub(crate) stop: u64,
    /// Below this the output is low on space.
    pub(crate) low: u64,
    /// With this it resumes after a while.
    pub(crate) resume: u64,
    /// With this it resumes at once: twice as far above `stop` as `resume` is.
    pub(crate) ample: u64,
}

impl Marks {
    /// `min_free_space`: what the user set; `None` is the default: 1 % of the file system, from 64
    /// KiB to 256 MiB, never more than an eighth of it.
    pub(crate) fn new(min_free_space: Option<u64>, total: u64) -> Self {
        let stop = min_free_space.unwrap_or_else(|| (total / 100).clamp(64 * KIB, 256 * MIB).min(total / 8));
        let low = stop.saturating_add(stop.saturating_mul(3).min(GIB));
        let half_way = stop.saturating_add(total.saturating_sub(stop) / 2);
        let resume = stop.saturating_add((stop / 2).clamp(64 * KIB, 256 * MIB)).min(half_way);
        let ample = resume.saturating_add(resume - stop);
        Self { stop, low, resume, ample }
    }
}

/// What is known about the space of one file, and what follows.
#[derive(Debug)]
pub(crate) struct Space {
    min_free_space: Option<u64>,
    known: Option<LastAnswer>,
    asked: Option<Instant>,
    /// When the file system was last to commit what was freed.
    committed: Option<Instant>,
    suspended: Option<Suspended>,
}

#[derive(Clone, Copy, Debug)]
struct LastAnswer {
    marks: Marks,
    /// Free bytes by the last answer.
    free: u64,
    block: u64,
}

#[derive(Clone, Copy, Debug)]
struct Suspended {
    /// The free space does not show when writing works again; only an attempt does.
    by_attempt: bool,
    good_since: Option<Instant>,
    /// When a probe first found too little.
    low_since: Option<Instant>,
    /// Free bytes when a write last failed for lack of them, where they were known.
    free: Option<u64>,
}

impl LastAnswer {
    /// Returns how much may be written: the free space above `stop`, less two blocks: the file may
    /// take one more than its bytes fill, and one is for the line that reports the suspension.
    fn writable(&self) -> u64 {
        match self.marks.stop {
            0 => u64::MAX,
            stop => self.free.saturating_sub(stop).saturating_sub(self.block.saturating_mul(2)),
        }
    }
}

impl Space {
    pub(crate) fn new(min_free_space: Option<u64>) -> Self {
        Self { min_free_space, known: None, asked: None, committed: None, suspended: None }
    }

    /// Takes what the file system says.
    pub(crate) fn answer(&mut self, answer: Answer, now: Instant) {
        self.asked = Some(now);
        self.known = match answer {
            Answer::Known { total, free, block } if total > 0 => {
                Some(LastAnswer { marks: Marks::new(self.min_free_space, total), free, block })
            }
            _ => None,
        };
    }

    /// Another file was opened: what was said about the one before does not hold.
    pub(crate) fn forget(&mut self) {
        self.known = None;
        self.asked = None;
    }

    /// Returns whether it is time to ask although nothing is to be written: others write too.
    pub(crate) fn must_look(&self, now: Instant) -> bool {
        let every = if self.is_low() { ASK_EVERY_LOW } else { ASK_EVERY };
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every)
    }

    /// Returns how many bytes may be written now.
    pub(crate) fn writable(&self) -> u64 {
        self.known.map_or(u64::MAX, |known| known.writable())
    }

    /// Returns why `bytes` bytes will not fit, if that is known without trying.
    pub(crate) fn cannot_fit(&self, bytes: u64) -> Option<Cause> {
        let known = self.known?;
        if known.writable() < bytes {
            return Some(Cause::LowSpace);
        }
        (known.free < bytes).then_some(Cause::DiskFull)
    }

    /// Returns how many bytes have to become free before an output that was suspended for want of
    /// room may resume.
    pub(crate) fn shortfall(&self) -> u64 {
        self.known.map_or(0, |known| known.marks.resume.saturating_sub(known.free))
    }

    /// Returns whether free space alone says when to stop and when to resume.
    pub(crate) fn has_min_free_space(&self) -> bool {
        self.known.is_some_and(|known| known.marks.stop > 0)
    }

    /// Returns how many bytes can be written, as far as that is known.
    pub(crate) fn known_writable(&self) -> u64 {
        self.known.map_or(u64::MAX, |_| self.writable().min(self.free_for_certain()))
    }

    /// Returns the unit in which room is taken.
    pub(crate) fn block(&self) -> u64 {
        self.known.map_or(4096, |known| known.block.max(1))
    }

    /// Returns the free space less two blocks, as `writable` counts them; 0 if it is not known.
    pub(crate) fn free_for_certain(&self) -> u64 {
        self.known.map_or(0, |known| known.free.saturating_sub(known.block.saturating_mul(2)))
    }

    /// Returns how much has to stay free so that space gets neither low nor too little to resume.
    pub(crate) fn headroom(&self) -> u64 {
        self.known.map_or(0, |known| known.marks.low.max(known.marks.resume))
    }

    /// Returns how many bytes may be taken ahead of need: nothing when space is, or might get, low.
    pub(crate) fn preallocation_step(&self) -> u64 {
        self.known.map_or(0, |known| (known.free.saturating_sub(known.marks.low) / 64).min(MIB))
    }

    /// Returns the free bytes and `min_free_space`, if they are known.
    pub(crate) fn free_and_min_free_space(&self) -> Option<(u64, u64)> {
        self.known.map(|known| (known.free, known.marks.stop))
    }

    pub(crate) fn is_low(&self) -> bool {
        self.known.is_some_and(|known| known.marks.stop > 0 && known.free < known.marks.low)
    }

    /// Notes that a whole batch is in the file: a suspension, if there was one, is over.
    pub(crate) fn works(&mut self) {
        self.suspended = None;
    }

    /// Notes that `bytes` bytes could not be written. For `DiskFull` the caller has asked for the
    /// free space since.
    pub(crate) fn failed(&mut self, cause: Cause, bytes: u64) {
        let by_attempt = match cause {
            Cause::LowSpace => false,
            // The query says that there is room, and there is not: it is of no use in this
            // suspension.
            Cause::DiskFull => self.known.is_none_or(|known| known.marks.stop == 0) || self.writable() >= bytes,
            _ => true,
        };
        // Of another cause the free space says nothing, however much of it others give back.
        let is_space = matches!(cause, Cause::LowSpace | Cause::DiskFull);
        let free = self.known.filter(|_| is_space).map(|known| known.free);
        self.suspended = Some(Suspended { by_attempt, good_since: None, low_since: None, free });
    }

    /// Returns whether the file system is to commit, because low space lasts and more may be free
    /// than it shows.
    pub(crate) fn must_commit(&mut self, now: Instant) -> bool {
        let low_since = self.suspended.and_then(|suspended| suspended.low_since);
        low_since.is_some_and(|since| now.saturating_duration_since(since) >= COMMIT_AFTER) && self.may_commit(now)
    }

    /// Returns whether the file system may commit now; then the next commit is a while later.
    pub(crate) fn may_commit(&mut self, now: Instant) -> bool {
        let may = self.committed.is_none_or(|last| now.saturating_duration_since(last) >= COMMIT_EVERY);
        if may {
            self.committed = Some(now);
        }
        may
    }

    /// Returns whether enough to resume has become free since a write failed.
    pub(crate) fn has_recovered(&self) -> bool {
        let (Some(known), Some(Suspended { free: Some(before), .. })) = (self.known, self.suspended) else {
            return false;
        };
        let more = known.marks.resume - known.marks.stop;
        known.free >= known.marks.resume && known.free >= before.saturating_add(more)
    }

    /// Returns whether writing may be tried, as far as room goes, after the file system was asked.
    ///
    /// # Errors
    ///
    /// Not yet; with the time until the next probe, if it should differ from the usual.
    pub(crate) fn may_resume(&mut self, now: Instant) -> Result<(), Option<Duration>> {
        let Some(known) = self.known.filter(|known| known.marks.stop > 0) else { return Ok(()) };
        let Some(suspended) = &mut self.suspended else {
            // The first look at this file.
            if known.writable() > 0 {
                return Ok(());
            }
            self.failed(Cause::LowSpace, 0);
            return Err(None);
        };
        if suspended.by_attempt {
            return Ok(());
        }
        if known.free < known.marks.resume {
            suspended.good_since = None;
            suspended.low_since.get_or_insert(now);
            return Err(None);
        }
        if known.free >= known.marks.ample {
            return Ok(());
        }
        let since = *suspended.good_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= GOOD_FOR { Ok(()) } else { Err(Some(GOOD_PROBE)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    fn known(total: u64, free: u64) -> Answer {
        Answer::Known { total, free, block: BLOCK }
    }

    fn asked(min_free_space: Option<u64>, total: u64, free: u64, now: Instant) -> Space {
        let mut space = Space::new(min_free_space);
        space.answer(known(total, free), now);
        space
    }

    #[test]
    fn the_marks_follow_the_size_of_the_file_system() {
        // (total, set, stop, low, resume, ample)
        let cases = [
            (100 * GIB, None, 256 * MIB, GIB, 384 * MIB, 512 * MIB),
            (GIB, None, GIB / 100, 4 * (GIB / 100), GIB / 100 + GIB / 200, GIB / 100 + 2 * (GIB / 200)),
            (MIB, None, 64 * KIB, 256 * KIB, 128 * KIB, 192 * KIB),
            (256 * KIB, None, 32 * KIB, 128 * KIB, 96 * KIB, 160 * KIB),
            (0, None, 0, 0, 0, 0),
            (100 * GIB, Some(0), 0, 0, 64 * KIB, 128 * KIB),
            (100 * GIB, Some(10 * GIB), 10 * GIB, 11 * GIB, 10 * GIB + 256 * MIB, 10 * GIB + 512 * MIB),
            (MIB, Some(MIB - KIB), MIB - KIB, 4 * (MIB - KIB), MIB - KIB / 2, MIB),
            (MIB, Some(u64::MAX), u64::MAX, u64::MAX, u64::MAX, u64::MAX),
        ];
        for (total, min_free_space, stop, low, resume, ample) in cases {
            let marks = Marks::new(min_free_space, total);
            assert_eq!(marks, Marks { stop, low, resume, ample }, "total {total}, set {min_free_space:?}");
        }
    }

    #[test]
    fn what_is_writable_leaves_min_free_space_and_two_blocks() {
        let now = Instant::now();
        assert_eq!(asked(Some(MIB), GIB, 2 * MIB, now).writable(), MIB - 2 * BLOCK);
        assert_eq!(asked(Some(MIB), GIB, MIB + BLOCK, now).writable(), 0);
        assert_eq!(asked(Some(0), GIB, 0, now).writable(), u64::MAX);
    }

    /// The space that others freed meanwhile was taken for the end of any suspension: a file at the
    /// limit of its size opened the gate at each attempt.
    #[test]
    fn only_a_cause_of_space_is_seen_to_be_gone_by_the_free_space() {
        let now = Instant::now();
        let causes = [
            (Cause::LowSpace, true),
            (Cause::DiskFull, true),
            (Cause::Quota, false),
            (Cause::FileTooLarge, false),
            (Cause::ReadOnly, false),
            (Cause::Missing, false),
            (Cause::Io, false),
        ];
        for (cause, is_seen) in causes {
            let mut space = asked(Some(0), GIB, MIB, now);
            space.failed(cause, 100);
            assert!(!space.has_recovered(), "{cause:?}");
            space.answer(known(GIB, 2 * MIB), now);
            assert_eq!(space.has_recovered(), is_seen, "{cause:?}");
        }
    }

    #[test]
    fn an_unknown_answer_is_never_low() {
        let now = Instant::now();
        for answer in [Answer::Unknown, known(0, 0)] {
            let mut space = Space::new(Some(GIB));
            space.answer(answer, now);
            assert_eq!(space.writable(), u64::MAX);
            assert!(!space.is_low());
            assert_eq!(space.may_resume(now), Ok(()));
            space.failed(Cause::DiskFull, 1);
            assert_eq!(space.may_resume(now), Ok(()), "only an attempt shows it");
        }
    }

    #[test]
    fn at_rest_the_file_system_is_asked_every_second_and_more_often_when_low() {
        let now = Instant::now();
        let healthy = asked(Some(MIB), GIB, GIB / 2, now);
        assert!(!healthy.must_look(now + Duration::from_millis(999)));
        assert!(healthy.must_look(now + Duration::from_secs(1)));
        let low = asked(Some(MIB), GIB, 2 * MIB, now);
        assert!(low.is_low());
        assert!(!low.must_look(now + Duration::from_millis(249)));
        assert!(low.must_look(now + Duration::from_millis(250)));
        assert!(Space::new(None).must_look(now));
    }

    #[test]
    fn it_resumes_after_half_a_second_of_room_and_a_relapse_starts_again() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut space = asked(Some(MIB), GIB, MIB, start);
        space.failed(Cause::LowSpace, 1);
        let mut probe = |millis, free| {
            space.answer(known(GIB, free), at(millis));
            space.may_resume(at(millis))
        };
        let enough = MIB + 512 * KIB;
        assert_eq!(probe(50, enough - 1), Err(None));
        assert_eq!(probe(150, enough), Err(Some(GOOD_PROBE)));
        assert_eq!(probe(250, MIB), Err(None));
        assert_eq!(probe(350, enough), Err(Some(GOOD_PROBE)));
        assert_eq!(probe(800, enough), Err(Some(GOOD_PROBE)));
        assert_eq!(probe(850, enough), Ok(()));
    }

    #[test]
    fn it_resumes_at_the_first_probe_that_finds_twice_as_much_as_resume_asks() {
        let start = Instant::now();
        // (free, answer of the first probe that finds it)
        let (resume, ample) = (MIB + 512 * KIB, 2 * MIB);
        for (free, answer) in [
            (resume - 1, Err(None)),
            (resume, Err(Some(GOOD_PROBE))),
            (ample - 1, Err(Some(GOOD_PROBE))),
            (ample, Ok(())),
            (GIB, Ok(())),
        ] {
            let mut space = asked(Some(MIB), GIB, MIB, start);
            space.failed(Cause::LowSpace, 1);
            assert_eq!(space.may_resume(start), Err(None));
            space.answer(known(GIB, free), start + Duration::from_millis(100));
            assert_eq!(space.may_resume(start + Duration::from_millis(100)), answer, "{free} bytes free");
        }
    }

    #[test]
    fn a_query_that_says_room_where_there_is_none_is_not_believed_again() {
        let now = Instant::now();
        let mut space = asked(Some(MIB), GIB, GIB / 2, now);
        space.failed(Cause::DiskFull, 1000);
        assert_eq!(space.may_resume(now), Ok(()));
        let mut space = asked(Some(MIB), GIB, MIB, now);
        space.failed(Cause::DiskFull, 1000);
        assert_eq!(space.may_resume(now), Err(None));
    }

    #[test]
    fn every_cause_but_room_is_probed_by_an_attempt() {
        let now = Instant::now();
        for cause in [Cause::Quota, Cause::FileTooLarge, Cause::ReadOnly, Cause::Missing, Cause::Io] {
            let mut space = asked(Some(MIB), GIB, MIB, now);
            space.failed(cause, 1000);
            assert_eq!(space.may_resume(now), Ok(()), "{cause}");
        }
    }

    #[test]
    fn a_first_look_at_a_full_disk_does_not_wait_to_see_it_fail() {
        let now = Instant::now();
        assert_eq!(asked(Some(MIB), GIB, MIB, now).may_resume(now), Err(None));
        assert_eq!(asked(Some(MIB), GIB, 2 * MIB, now).may_resume(now), Ok(()));
        assert_eq!(asked(Some(0), GIB, 0, now).may_resume(now), Ok(()));
    }

    #[test]
    fn a_line_for_another_file_finds_no_room_below_the_reserve_or_where_nothing_is_free() {
        let now = Instant::now();
        // (min_free_space, free, bytes, why they do not fit)
        let cases = [
            (MIB, 2 * MIB, MIB - 2 * BLOCK, None),
            (MIB, 2 * MIB, MIB - 2 * BLOCK + 1, Some(Cause::LowSpace)),
            (0, 1000, 1000, None),
            (0, 1000, 1001, Some(Cause::DiskFull)),
            (0, 0, 0, None),
        ];
        for (min_free_space, free, bytes, why) in cases {
            assert_eq!(asked(Some(min_free_space), GIB, free, now).cannot_fit(bytes), why, "{bytes} of {free} bytes");
        }
        assert_eq!(Space::new(None).cannot_fit(u64::MAX), None, "not known");
    }

    #[test]
    fn low_begins_below_its_mark_and_only_where_there_is_a_min_free_space() {
        let now = Instant::now();
        assert!(!asked(Some(MIB), GIB, 4 * MIB, now).is_low());
        assert!(asked(Some(MIB), GIB, 4 * MIB - 1, now).is_low());
        assert!(!asked(Some(0), GIB, 0, now).is_low());
    }

    #[test]
    fn what_may_be_taken_ahead_of_need_follows_the_free_space() {
        let now = Instant::now();
        // (free, preallocation_step, headroom, has marks)
        let (resume, low) = (GIB / 2 + 256 * MIB, GIB / 2 + GIB);
        assert!(resume < low);
        for (free, preallocation_step) in
            [(low, 0), (low + 64 * KIB, KIB), (low + 32 * MIB, 512 * KIB), (100 * GIB, MIB)]
        {
            let space = asked(Some(GIB / 2), 200 * GIB, free, now);
            assert_eq!(
                (space.preallocation_step(), space.headroom(), space.has_min_free_space()),
                (preallocation_step, low, true),
                "{free} bytes free"
            );
        }
        let small = asked(Some(10 * KIB), GIB, MIB, now);
        assert_eq!(small.headroom(), 74 * KIB, "to resume takes more than not to be low");
        assert_eq!(small.shortfall(), 0);
        assert_eq!(asked(Some(10 * KIB), GIB, 70 * KIB, now).shortfall(), 4 * KIB);
        let without = asked(Some(0), GIB, MIB, now);
        assert!(!without.has_min_free_space());
        assert_eq!(without.block(), BLOCK);
        let mut bare = Space::new(Some(0));
        assert_eq!((bare.preallocation_step(), bare.headroom(), bare.shortfall(), bare.block()), (0, 0, 0, BLOCK));
        bare.answer(Answer::Known { total: GIB, free: GIB, block: 0 }, now);
        assert_eq!(bare.block(), 1);
        bare.answer(Answer::Known { total: GIB, free: GIB, block: 512 }, now);
        assert_eq!((bare.block(), bare.free_for_certain()), (512, GIB - 1024));
    }

    #[test]
    fn what_was_said_of_one_file_does_not_hold_for_the_next() {
        let now = Instant::now();
        let mut space = asked(Some(MIB), GIB, MIB, now);
        assert_eq!(space.writable(), 0);
        space.forget();
        assert_eq!(space.writable(), u64::MAX);
        assert!(space.must_look(now));
    }

    #[test]
    fn a_batch_that_is_in_ends_the_suspension() {
        let now = Instant::now();
        let mut space = asked(Some(MIB), GIB, 2 * MIB - 1, now);
        space.failed(Cause::LowSpace, 1);
        assert_eq!(space.may_resume(now), Err(Some(GOOD_PROBE)));
        space.works();
        assert_eq!(space.may_resume(now), Ok(()), "nothing to wait for");
    }

    #[test]
    fn a_first_look_needs_room_for_something() {
        let now = Instant::now();
        assert_eq!(asked(Some(MIB), GIB, MIB + 2 * BLOCK, now).may_resume(now), Err(None));
        assert_eq!(asked(Some(MIB), GIB, MIB + 2 * BLOCK + 1, now).may_resume(now), Ok(()));
    }
}
