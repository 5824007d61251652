//! What is left of a file, whatever it is: it stays as it is, and the lines of a logger that goes
//! on with it stand whole after it.
//!
//! The logger meets a write that takes only a part and one operation that fails; then it dies, and
//! another one goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bench::{Bench, PATH, Setup};
use super::invariants::{Line, assert_recovery, parse};
use crate::KIB;
use crate::sink::log_file::{FileOptions, Fsync};
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::tests::properties::Choices;

/// ENOSPC, EDQUOT, EFBIG, EIO, EAGAIN, EINTR, ENOENT, EROFS.
const ERRNOS: &[i32] = &[28, 122, 27, 5, 11, 4, 2, 30];
/// What the tail is seen and mended by.
const EYES_AND_HANDS: [Op; 5] = [Op::LastByte, Op::Len, Op::End, Op::Cut, Op::Lock];

pub(crate) fn hold(choices: &mut Choices<'_>) {
    let lives: Vec<_> = (0..1 + choices.byte() % 2).map(|_| Life::of(choices)).collect();
    let disk = FakeDisk::with_capacity(256 * KIB);
    let left = std::mem::replace(choices, Choices::new(&[])).rest();
    disk.append(PATH, left);
    let before = if left.is_empty() { Vec::new() } else { left.to_vec() };
    lives.iter().fold(before, |before, life| life.goes_on_with(&disk, before));
}

#[derive(Debug)]
struct Life {
    /// Somebody else has the lock: nothing may be cut.
    locked_by_other: bool,
    options: FileOptions,
    turns: u8,
    /// Which write takes only how many bytes.
    short: Option<(u64, usize)>,
    /// Of its first, second ... write or other operation.
    fault: Option<Fault>,
}

impl Life {
    fn of(choices: &mut Choices<'_>) -> Self {
        let ops = [
            Op::Write,
            Op::Write,
            Op::LastByte,
            Op::Len,
            Op::End,
            Op::Cut,
            Op::Lock,
            Op::Open,
            Op::CheckPath,
            Op::FreeSpace,
        ];
        let locked_by_other = choices.flag();
        let options = FileOptions {
            min_free_space: choices.one_of(&[Some(0), None]),
            error_reserve: choices.one_of(&[0, 4 * KIB]),
            fsync: choices.one_of(&[Fsync::Never, Fsync::AfterErrors]),
            ..FileOptions::default()
        };
        let turns = choices.byte() % 8;
        let short = choices.flag().then(|| {
            let len = u16::from_le_bytes([choices.byte(), choices.byte()]);
            (u64::from(choices.byte() % 8), usize::from(len % 1200))
        });
        let fault = choices.flag().then(|| Fault {
            at: u64::from(choices.byte() % 12),
            only: Some(choices.one_of(&ops)),
            forever: choices.flag(),
            errno: choices.one_of(ERRNOS),
        });
        Self { locked_by_other, options, turns, short, fault }
    }

    /// Gives back what the file holds in the end.
    fn goes_on_with(&self, disk: &FakeDisk, before: Vec<u8>) -> Vec<u8> {
        let story = format!("{self:?} after {:?}", String::from_utf8_lossy(&before));
        {
            let mut world = disk.world();
            world.locked_by_other = self.locked_by_other;
            world.reserves = self.options.error_reserve > 0;
            let writes = world.asked(Op::Write);
            world.short_once = self.short.map(|(at, len)| (writes + at, len));
            let asked = |only: Option<Op>| only.map_or(0, |op| world.asked(op));
            world.fault = self.fault.map(|fault| Fault { at: fault.at + asked(fault.only), ..fault });
            world.faulted_ops.clear();
        }
        let mut bench = Setup::new().file_with(disk, self.options.clone()).bench();
        for _ in 0..self.turns {
            bench.log_some(7);
            bench.step();
            bench.pass(Duration::from_millis(150));
            bench.step();
        }
        disk.world().short_once = None;
        assert_recovery(&mut bench, disk, &story);
        let after = disk.read(PATH);
        self.judge(&bench, &before, &after, &disk.world().faulted_ops, &story);
        after
    }

    fn judge(&self, bench: &Bench, before: &[u8], after: &[u8], faulted: &BTreeSet<Op>, story: &str) {
        let stats = bench.handle.stats();
        bench.assert_identity(story);
        let new = after.strip_prefix(before).unwrap_or_else(|| panic!("{story}: what was there is not there any more"));
        let torn = before.last().is_some_and(|byte| *byte != b'\n');
        let unseen = EYES_AND_HANDS.iter().any(|op| faulted.contains(op));
        let uncut = unseen || self.locked_by_other;
        assert!(
            !torn || new.starts_with(b"\n"),
            "{story}: glued to what was there: {:?}",
            String::from_utf8_lossy(new)
        );
        // Where it could not see how the file ends, it has made sure.
        let new = new.strip_prefix(b"\n").filter(|_| torn || unseen).unwrap_or(new);
        let parsed = parse(&[new.to_vec()]);
        parsed.assert_order(&bench.ledger, story);
        assert_eq!(parsed.records.len() as u64, stats.written, "{story}");
        assert_eq!(bench.next - stats.written, stats.dropped.total(), "{story}");
        assert_eq!(parsed.told, stats.dropped.total(), "{story}");
        assert!(parsed.fragments.len() <= usize::from(uncut), "{story}: {:?}", parsed.fragments);
        assert!(unseen || !parsed.lines.contains(&Line::Blank), "{story}: an empty line");
    }
}
